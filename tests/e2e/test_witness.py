# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook witnesses while the lab's DRS and a person move VMs with real trainings, which are really frozen."""

from __future__ import annotations

import contextlib
import json
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import vim

from tests.doubles.trainings import EXAMPLE, TRAINING
from tests.labs import ROOT, Lab, play, playbook_command, playbook_environment, running_lab
from tests.measuring import Measured, until

pytestmark = pytest.mark.long

HOST = "esx-01"
VMS = tuple(f"ML-cpu-vm-0{n}" for n in range(1, 7))
FREEZE = 0.8  # seconds; the training writes 50 steps per second


@contextlib.contextmanager
def witness_lab(folder: Path) -> Iterator[Lab]:
    """The small topology with fully automated DRS and all six VMs on one host."""
    topology = yaml.safe_load((ROOT / "lab" / "topologies" / "small.yml").read_text(encoding="utf-8"))
    topology["clusters"][0] |= {"drs": "full", "drs_interval": 0}
    by_name = {vm["name"]: {**vm, "host": HOST} for vm in topology["vms"]}
    topology["vms"] = [{**by_name[name], "power": "on", "memory_gb": 4} for name in VMS]
    path = folder / "witness.yml"
    path.write_text(yaml.safe_dump(topology), encoding="utf-8")
    with running_lab("--no-guests", "--time-scale", "0.3", "--topology", str(path)) as lab:
        yield lab


class Trainings:
    """A training for each VM. Whenever the lab switches a VM over, its training is stopped; ``frozen`` is how long it was."""

    def __init__(self, folder: Path, lab: Lab) -> None:
        self._lab = lab
        self.frozen: dict[str, list[float]] = {name: [] for name in VMS}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        for name in VMS:
            log = folder / name / "net.jsonl"
            log.parent.mkdir(parents=True)
            self.processes[name] = subprocess.Popen([sys.executable, "-c", TRAINING, str(log), "vision"])
            until(log.exists)
        program = [sys.executable, str(EXAMPLE), str(folder)]
        source = {"provider": "exec", "command": program, "signal": "changes"}
        self.experiments = {"h2o3": False, "baseline": 1.0, "sources": [source]}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._freeze_at_switches, daemon=True)
        self._thread.start()

    def _freeze_at_switches(self) -> None:
        known: set[int] = set()
        freezing = []
        while not self._over.wait(0.05):
            for number, move in enumerate(self._lab.get("state")["moves"]):
                if number not in known and move["started"] is not None:
                    known.add(number)
                    freezing.append(threading.Thread(target=self._freeze, args=(move["vm"],), daemon=True))
                    freezing[-1].start()
        for thread in freezing:
            thread.join()

    def _freeze(self, vm: str) -> None:
        time.sleep(0.5)
        self.processes[vm].send_signal(signal.SIGSTOP)
        began = time.monotonic()
        time.sleep(FREEZE)
        self.frozen[vm].append(time.monotonic() - began)
        self.processes[vm].send_signal(signal.SIGCONT)

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        for process in self.processes.values():
            process.kill()
            process.wait()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with witness_lab(tmp_path) as lab:
        yield lab


@pytest.fixture
def trainings(lab: Lab, tmp_path: Path) -> Iterator[Trainings]:
    found = Trainings(tmp_path / "logs", lab)
    yield found
    found.close()


@contextlib.contextmanager
def witnessing(lab: Lab, state: Path, **variables: object) -> Iterator[subprocess.Popen[str]]:
    """The playbook with the login of a user who may not enter maintenance mode; it has opened its window."""
    restricted = lab.answer["restricted"]
    login = {"liveml_vsphere_username": restricted["user"], "liveml_vsphere_password": restricted["password"]}
    process = subprocess.Popen(
        playbook_command("witness", state, **login, **variables),
        cwd=ROOT,
        env=playbook_environment(lab),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        until(lambda: process.poll() is not None or "window_opened" in journal(state))
        assert process.poll() is None, process.communicate()[0]
        yield process
    finally:
        process.kill()
        process.wait()


def journal(state: Path) -> str:
    return "".join(path.read_text() for path in state.glob("runs/*/journal.jsonl"))


def evidence(state: Path) -> dict[str, Any]:
    (path,) = state.glob("runs/*-witness-*/evidence.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@contextlib.contextmanager
def maintained(lab: Lab, name: str) -> Iterator[None]:
    """A host in maintenance mode, as another program puts it there; DRS empties it. It comes back at the end."""
    vcenter = lab.answer["vcenter"]
    context = ssl.create_default_context(cafile=vcenter["ca_file"])
    where = {"host": vcenter["host"], "port": vcenter["port"], "sslContext": context}
    connection = SmartConnect(user=vcenter["user"], pwd=vcenter["password"], **where)
    try:
        content = connection.RetrieveContent()
        hosts = content.viewManager.CreateContainerView(content.rootFolder, [vim.HostSystem], True).view
        (host,) = (each for each in hosts if each.name == name)
        WaitForTask(host.EnterMaintenanceMode_Task(timeout=0, evacuatePoweredOffVms=False))
        yield
        WaitForTask(host.ExitMaintenanceMode_Task(0))
    finally:
        Disconnect(connection)


def moved(lab: Lab, count: int) -> None:
    """Wait until so many moves have ended."""
    until(lambda: sum(move["finished"] is not None for move in lab.get("state")["moves"]) >= count)


def seen(state: Path, count: int) -> None:
    until(lambda: journal(state).count('"move_finished"') >= count)


def test_moves_of_drs_and_of_a_person_are_proved(
    lab: Lab, trainings: Trainings, tmp_path: Path, measured: Measured
) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    with witnessing(
        lab,
        state,
        witness_host=HOST,
        witness_window=300,
        witness_until="returned",
        witness_experiments=trainings.experiments,
    ) as process:
        for name, target in zip(VMS[:3], ("esx-02", "esx-03", "esx-04"), strict=True):
            lab.post(f"vms/{name}", action="move", target=target)
        seen(state, 3)
        with maintained(lab, HOST):
            moved(lab, 6)
            lab.post(f"vms/{VMS[0]}", action="move", target="esx-03")
            seen(state, 7)
            until(lambda: '"maintenance_seen"' in journal(state))  # the witness looks at it every few seconds
        output, _error = process.communicate(timeout=120)
    assert process.returncode == 0, output
    document = evidence(state)
    truth = sorted((m["vm"], m["source"], m["target"], m["by"]) for m in lab.get("state")["moves"])
    assert sorted((m["vm"], m["source"], m["target"], m["by"]) for m in document["moves"]) == truth
    assert len(truth) == 7
    assert sum(by == "DRS" for *_move, by in truth) == 3
    assert {m["result"] for m in document["moves"]} == {"moved"}
    assert document["overall"]["statement"].endswith("7 moves of 6 VMs seen.")
    assert "esx-01 was seen in maintenance mode" in document["fence"]
    assert "esx-01 was seen out of maintenance mode" in document["fence"]
    assert document["noticed"] == [], "vCenter's events name the moves that were seen, and no others"
    assert [len(e["moving"]) for e in sorted(document["experiments"], key=lambda e: e["vm"])] == [2, 1, 1, 1, 1, 1]
    with measured():
        assert [e["verdict"] for e in document["experiments"]] == ["uninterrupted"] * 6, document["statements"]
        for experiment in document["experiments"]:
            stall, frozen = experiment["longest_stall"], trainings.frozen[experiment["vm"]]
            assert stall["low"] <= max(frozen) <= stall["high"], (experiment["vm"], stall, frozen)
    required = lab.get("privileges")[lab.answer["restricted"]["user"]]
    assert {each for each in required if not each.startswith("System.")} == set(), "it only reads"


def test_an_interrupted_witness_has_whole_evidence(lab: Lab, trainings: Trainings, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    with witnessing(
        lab, state, witness_vms=list(VMS[:2]), witness_window=600, witness_experiments=trainings.experiments
    ) as process:
        lab.post(f"vms/{VMS[0]}", action="move", target="esx-02")
        seen(state, 1)
        until(lambda: '"verdict"' in journal(state))
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        until(lambda: '"run_finished"' in journal(state))
        assert time.monotonic() - began < 30
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible"), "localhost", "-m", "liveml.vsphere.evidence_report", "-a",
         f"state_dir={state}"],
        cwd=ROOT, env=playbook_environment(lab), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    document = evidence(state)
    assert document["run"]["window"]["cut"] == "the witness was interrupted"
    assert document["overall"]["statement"].startswith("The window was cut after ")
    assert document["journal"]["samples_as_sealed"] is True
    assert {e["vm"]: e["verdict"] for e in document["experiments"]}[VMS[0]] == "uninterrupted"


def test_check_mode_says_what_would_be_watched(lab: Lab, tmp_path: Path) -> None:
    done = play("witness", lab, tmp_path / "state", "--check", witness_cluster="ML-cluster", witness_window=600)
    assert done.returncode == 0, done.stdout
    assert f"{VMS[0]} on {HOST}: no experiment observed" in done.stdout
    assert not list(tmp_path.glob("state/runs/*"))
    wrong = play("witness", lab, tmp_path / "state", witness_window=600)
    assert "none of cluster, host and vms is set" in wrong.stdout
