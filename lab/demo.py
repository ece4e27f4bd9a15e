# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The demonstration: evacuate and restore a host of the lab while a real H2O-3 server trains in one of its VMs.

Where QEMU can be obtained, a real VM with a real training moves among the others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped, unused-ignore]

from lab.errors import LabError
from lab.live.machine import MEMORY_MB, LiveSpec, equip
from lab.live.training import SOURCE
from lab.paths import DEFAULT_TOPOLOGY, cache_dir

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
HOST = "esx-05"
REAL_VM = "ML-live-vm-29"
RUNS = ROOT / ".lab" / "demo-evidence"


def main() -> int:
    """Start the lab, evacuate, restore, wait for the experiment, print where the evidence is; always stop the lab."""
    with tempfile.TemporaryDirectory(prefix="liveml-demo-") as folder:
        state = Path(folder) / "lab"
        try:
            return demonstrate(state, topology(Path(folder) / "topology.yml"))
        finally:
            run_lab("down", state)


def topology(path: Path) -> Path | None:
    """Write the lab's own topology with a real VM on the host to ``path``; None if real VMs cannot run here."""
    say("Preparing a real VM (a minute the first time)")
    try:
        hypervisor = equip(cache_dir(), LiveSpec("light", MEMORY_MB["light"])).hypervisor
    except LabError as error:
        print(f"No real VM moves in this demonstration: {error}", flush=True)
        return None
    path.write_text(yaml.safe_dump(with_real_vm(yaml.safe_load(DEFAULT_TOPOLOGY.read_text(encoding="utf-8")))))
    print(f"{REAL_VM} on {HOST} is real: a live migration by {hypervisor.name} moves it", flush=True)
    return path


def with_real_vm(document: dict[str, Any]) -> dict[str, Any]:
    """The topology with one more VM on the host, which is real."""
    real = {"name": REAL_VM, "host": HOST, "memory_gb": 1, "cpus": 1, "cpu_used_mhz": 2600, "qemu": {"run": "light"}}
    return {**document, "vms": [*document["vms"], real]}


def demonstrate(state: Path, chosen: Path | None) -> int:
    """The steps; the exit code is the one of the first step that fails."""
    say(
        "Starting the lab: a simulated vCenter with nine hosts and fully automated DRS, and a real H2O-3 server that trains in "
        "ML-cpu-vm-04"
    )
    up = json.loads(run_lab("up", state, "--drs", "full", *(["--topology", str(chosen)] if chosen else [])))
    watched = {"sources": [{**SOURCE, "vms": [REAL_VM]}]} if chosen else {}
    for text, playbook, variables in (
        (
            f"Evacuating {HOST}",
            "evacuate_host",
            {"evacuate_host_name": HOST, "evacuate_host_experiments": watched},
        ),
        (f"{HOST} after the evacuation", None, {}),
        # Its real VM is not watched: the last step waits for the end of all experiments of this run.
        (f"Bringing the VMs home to {HOST}", "restore_host", {"restore_host_name": HOST}),
        (f"{HOST} after the restore", None, {}),
        (
            "Waiting for the experiment to finish",
            "verify_experiments",
            {"verify_experiments_until": "finished", "verify_experiments_wait_timeout": 900},
        ),
    ):
        say(text)
        if playbook == "verify_experiments" and chosen:
            # Its training never ends, and would take a processor from the one that does.
            post(f"{up['control']}/v1/vms/{REAL_VM}", {"action": "power_off"})
        if playbook is None:
            print_host(up)
        elif code := play(playbook, variables, up["env"]):
            return code
    print_summary()
    return 0


def play(playbook: str, variables: dict[str, Any], env: dict[str, str]) -> int:
    """Run a playbook as a user would."""
    extra = json.dumps({"liveml_vsphere_state_dir": str(RUNS), **variables})
    command = [str(BIN / "ansible-playbook"), f"liveml.vsphere.{playbook}", "-e", extra]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, check=False).returncode


def post(url: str, body: dict[str, Any]) -> None:
    """Ask the lab to do something."""
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()), timeout=10).close()


def run_lab(verb: str, state: Path, *options: str) -> str:
    """Run ``python -m lab up|down``; return its standard output."""
    command = [sys.executable, "-m", "lab", verb, "--state", str(state), *options]
    outcome = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if outcome.returncode:
        sys.exit(f"`python -m lab {verb}` failed; see above.")
    return outcome.stdout


def print_host(up: dict[str, Any]) -> None:
    """Print what the lab itself knows about the host: its state and its powered-on VMs."""
    with urllib.request.urlopen(f"{up['control']}/v1/state", timeout=10) as answer:
        state = json.load(answer)
    host = state["hosts"][HOST]
    running = sorted(name for name in host["vms"] or [] if state["vms"][name]["power"] == "poweredOn")
    print(
        f"maintenance: {host['maintenance']}; max moves from or to the host at the same time: {host['slots']['peak']}"
    )
    print(f"powered-on VMs: {', '.join(running) or 'none, the host is empty'}", flush=True)


def print_summary() -> None:
    """Print the summary of both runs, and where their evidence is."""
    say("Summary")
    paths = []
    for purpose in ("evacuate", "restore"):
        folder = max((RUNS / "runs").glob(f"*-{purpose}-*"))
        evidence = json.loads((folder / "evidence.json").read_text())
        moved = sum(move["result"] == "moved" for move in evidence["moves"])
        print(f"{purpose:<9} {moved} of {len(evidence['moves'])} VMs moved, run {evidence['run']['result']}")
        for statement in evidence["statements"]:
            print(f"{'':<9} {statement}")
        paths += [f"evidence: {folder / 'evidence.json'}", f"report: {folder / 'report.html'}"]
    print("\n".join(["", *paths]), flush=True)


def say(text: str) -> None:
    """Print a heading with the time."""
    print(f"\n=== {time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
