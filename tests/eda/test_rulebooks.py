# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rulebooks under real ansible-rulebook: twenty events of one fault start one launch, and nothing moves."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.doubles.controller import SHIPPED, controller
from tests.labs import ROOT, Lab, play, running_lab
from tests.measuring import PATIENCE

RULEBOOKS = ROOT / "extensions/eda/rulebooks"
TOKEN = "token-of-the-webhook"
BURST = 20
INSTANCE = "i-0123456789abcdef0"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running_lab("--no-guests", "--topology", str(ROOT / "lab/topologies/small.yml")) as small:
        yield small


class Running:
    """A rulebook at work."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, port: int, certificate: Path) -> None:
        self._process, self._log, self._port = process, log, port
        self._tls = ssl.create_default_context(cafile=str(certificate))

    @property
    def output(self) -> str:
        return self._log.read_text()

    def wait_for(self, met: Callable[[], bool], seconds: float = PATIENCE) -> None:
        deadline = time.monotonic() + seconds
        while not met():
            assert self._process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.2)

    def post(self, body: object, token: str = TOKEN) -> int:
        """Post to the webhook; the status of the answer."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"https://127.0.0.1:{self._port}/", json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=60, context=self._tls) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            return error.code

    def listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1):
            return True
        return False


def certificate(folder: Path) -> dict[str, str]:
    """A certificate of the webhook for this machine, and its key."""
    files = {"certfile": str(folder / "tls.crt"), "keyfile": str(folder / "tls.key")}
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", files["certfile"], "-keyout", files["keyfile"]]
    subprocess.run(command, check=True, capture_output=True)
    return files


@contextlib.contextmanager
def rulebook(name: str, lab: Lab, folder: Path, url: str = "", **variables: object) -> Iterator[Running]:
    """Run a shipped rulebook with the shipped variables, changed where the test needs it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = {**SHIPPED, "listen": "127.0.0.1", "port": port, "interval": 1, **certificate(folder), **variables}
    (folder / "vars.yml").write_text(yaml.safe_dump(given))
    (folder / "inventory.yml").write_text("all: {hosts: {localhost: {ansible_connection: local}}}\n")
    binary = Path(sys.executable).parent
    command = [str(binary / "ansible-rulebook"), "--rulebook", str(RULEBOOKS / f"{name}.yml"), "-i", "inventory.yml"]
    command += ["--vars", "vars.yml", "--env-vars", "EDA_WEBHOOK_TOKEN"]
    if url:
        command += ["--controller-url", url, "--controller-token", "controller-token"]
    environment = {**os.environ, **lab.env, "NO_COLOR": "1", "PATH": f"{binary}{os.pathsep}{os.environ['PATH']}"}
    environment |= {"EDA_WEBHOOK_TOKEN": TOKEN, "EDA_JOB_TEMPLATE_REFRESH_DELAY": "0.2", "TZ": "Asia/Kolkata"}
    environment |= {"ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv/collections")}
    log = folder / f"{name}.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=stream, stderr=subprocess.STDOUT)
        try:
            yield Running(process, log, port, folder / "tls.crt")
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE)


def unmoved(lab: Lab) -> bool:
    state = lab.get("state")
    return state["moves"] == [] and {host["maintenance"] for host in state["hosts"].values()} == {"normal"}


def alert(host: str, status: str = "firing", **labels: str) -> dict[str, Any]:
    return {"status": status, "labels": {"liveml_vsphere": "hardware", "host": host, **labels}}


def health(status: str = "open", entity: str = INSTANCE, **change: object) -> dict[str, Any]:
    detail = {"service": "EC2", "eventTypeCategory": "scheduledChange", "statusCode": status}
    entities = [{"entityValue": entity, **change}]
    return {"source": "aws.health", "detail": {**detail, "affectedEntities": entities}}


def burst_of_alarms(running: Running, lab: Lab) -> None:
    """Twenty events of vCenter's hardware alarm on esx-01, between others that do not count."""
    lab.post("calls/reset")
    running.wait_for(lambda: lab.get("calls").get("CreateCollectorForEvents", 0) > 0)
    lab.post("hosts/esx-02/alarm", alarm="yellow", times=2)
    lab.post("hosts/esx-01/alarm", alarm="red", times=BURST)


def burst_of_alerts(running: Running, lab: Lab) -> None:
    """Twenty alerts about esx-01, and some that are not to be heard."""
    running.wait_for(running.listens)
    lab.post("hosts/esx-01/alarm", alarm="red")
    finding = {"liveml_vsphere_hardware": {"host": "esx-01", "confirmed": True}}
    assert running.post({"alerts": [alert("esx-01")]}, token="wrong") == 401
    unheard = [
        alert("{{ lookup('pipe', 'reboot') }}"), alert("esx-01\n"), alert("esx-01\nx"), alert("esx-01", "resolved"), alert("esx-01", liveml_vsphere="disk"),
        {**finding, "meta": {"source": {"name": "run_job_template", "type": "internal"}}},
    ]  # fmt: skip
    assert running.post({"alerts": unheard}) == running.post({"payload": finding, **finding}) == 200
    for number in range(0, BURST, 2):
        assert running.post({"alerts": [alert("esx-01", n=str(number)), alert("esx-01", n=str(number + 1))]}) == 200


def burst_of_health_events(running: Running, lab: Lab) -> None:
    """Twenty events of AWS Health about an instance, and some that are not to be heard."""
    running.wait_for(running.listens)
    finding = {"liveml_vsphere_hardware": {"host": "esx-01", "confirmed": True}}
    assert running.post(health("closed")) == running.post(health(entity="vol-1", **finding)) == 200
    for _number in range(BURST):
        assert running.post(health()) == 200


Burst = Callable[[Running, Lab], None]
CASES = {
    "vcenter_events": (burst_of_alarms, "esx-01", "alarm"),
    "alertmanager": (burst_of_alerts, "esx-01", "alarm"),
    "aws_health": (burst_of_health_events, INSTANCE, "none"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "vcenter_events" else [pytest.mark.thorough]) for name in CASES]
)
def test_a_burst_starts_one_check_and_one_workflow(lab: Lab, tmp_path: Path, name: str) -> None:
    burst, host, condition = CASES[name]
    confirmed = name != "alertmanager"
    with controller(confirmed=confirmed) as (url, launches), rulebook(name, lab, tmp_path, url) as running:
        burst(running, lab)
        running.wait_for(lambda: len(launches) >= 1 + confirmed)
        time.sleep(2)
    check = (SHIPPED["check_template"], {"hardware_event_host": host, "hardware_event_condition": condition})
    workflow = (SHIPPED["workflow"], {"evacuate_host_name": host})
    assert launches == [check, *([workflow] if confirmed else [])]
    assert unmoved(lab)


def test_a_rack_that_dies_is_one_decision(lab: Lab, tmp_path: Path) -> None:
    hosts = [f"esx-{number:02}" for number in range(1, 41)]
    with controller(confirmed=True) as (url, launches), rulebook("alertmanager", lab, tmp_path, url) as running:
        running.wait_for(running.listens)
        assert running.post({"alerts": [alert(host) for host in hosts]}) == 200
        running.wait_for(lambda: len(launches) >= len(hosts) + 1)
        time.sleep(2)
    checks = [given["hardware_event_host"] for name, given in launches if name == SHIPPED["check_template"]]
    assert sorted(checks) == hosts, "each host is checked"
    assert [name for name, _given in launches].count(SHIPPED["workflow"]) == 1
    assert unmoved(lab)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "vcenter_events" else [pytest.mark.thorough]) for name in CASES]
)
def test_a_burst_is_checked_in_vcenter_and_planned_once_without_awx(lab: Lab, tmp_path: Path, name: str) -> None:
    burst, _host, condition = CASES[name]
    with rulebook(f"{name}_without_awx", lab, tmp_path, aliases={INSTANCE: "esx-01"}) as running:
        burst(running, lab)
        running.wait_for(lambda: "PLAY RECAP" in running.output)
        time.sleep(2)
        output = running.output
    assert output.count("PLAY [Check a hardware event") == 1
    assert condition == "none" or "esx-01 shows Host hardware fan status" in output
    assert "ML-cpu-vm-01: esx-01 → esx-02" in output
    assert "failed=0" in output
    assert unmoved(lab)


def test_both_rulebooks_of_a_source_hear_the_same() -> None:
    for name in CASES:
        [with_awx], [without] = (
            yaml.safe_load((RULEBOOKS / f"{name}{end}.yml").read_text()) for end in ("", "_without_awx")
        )
        first, other = with_awx["rules"][0], without["rules"][0]
        assert (first["condition"], first["throttle"]) == (other["condition"], other["throttle"])
        checks = [first["action"]["run_job_template"], other["action"]["run_playbook"]]
        assert all(check["retries"] * check["delay"] >= 300 for check in checks), "one failure loses no event"
        assert "retries" not in with_awx["rules"][1]["action"]["run_workflow_template"], (
            "a denied approval is not retried"
        )
        filters = with_awx["sources"][0].get("filters", [])
        assert filters == [] or filters[0]["eda.builtin.event_splitter"].pop("extras") == {"origin": "webhook"}
        assert with_awx["sources"] == without["sources"]
        assert without["execution_strategy"] == "sequential", "one playbook at a time"
        [limit] = with_awx["rules"][1]["throttle"]["group_by_attributes"]
        assert limit == "event.liveml_vsphere_hardware.confirmed", "the same for all hosts"


def test_an_event_that_vcenter_does_not_confirm_is_left_alone(lab: Lab, tmp_path: Path) -> None:
    cases = (
        ({"hardware_event_host": "esx-03"}, 0, "esx-03 shows no such alarm now: no evacuation is begun"),
        ({"hardware_event_host": "i-0a", "hardware_event_condition": "none"}, 2, "vCenter has no host named i-0a"),
    )
    for variables, code, sentence in cases:
        out = play("hardware_event", lab, tmp_path, **variables)
        assert (out.returncode, sentence in out.stdout + out.stderr) == (code, True), out.stdout
        assert "plan | Choose a target" not in out.stdout
    assert unmoved(lab)


@pytest.mark.thorough
def test_only_who_asks_for_it_gets_an_evacuation_without_approval(lab: Lab, tmp_path: Path) -> None:
    lab.post("hosts/esx-04/alarm", alarm="red")
    assert play("hardware_event", lab, tmp_path, hardware_event_host="esx-04").returncode == 0
    assert unmoved(lab)
    asked = {"hardware_event_host": "esx-04", "hardware_event_action": "evacuate"}
    assert play("hardware_event", lab, tmp_path, **asked).returncode == 0
    assert lab.on("esx-04") == set()
    out = play("hardware_event", lab, tmp_path, **asked)
    assert "maintenance in: no evacuation is begun" in out.stdout
