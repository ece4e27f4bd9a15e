# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bad input of the lab's two APIs: each gets one clear error, and the lab and its H2O-3 server keep running."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim

from lab.paths import TOPOLOGIES
from lab.simulator_client import check_answers
from tests.labs import Lab, running_lab

SERVED = "ML-cpu-vm-01"  # the VM with a server
PLAIN = "ML-cpu-vm-02"
PATHS = (
    "calls/reset",
    "faults",
    "hosts/esx-01",
    "hosts/esx-01/alarm",
    f"guests/{SERVED}",
    f"guests/{PLAIN}",
    f"vms/{PLAIN}",
    "drs",
    "link",
    "tasks",
    "wan",
    "certificate",
    "sessions/expire",
    "shutdown",
)
ENTER = "EnterMaintenanceMode_Task"
READS = ("state", "calls", "privileges")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The small topology with an idle H2O-3 server in one VM."""
    topology = yaml.safe_load((TOPOLOGIES / "small.yml").read_text(encoding="utf-8"))
    topology["vms"][0]["h2o3"] = {"heap_mb": 256, "threads": 1}
    path = tmp_path_factory.mktemp("topology") / "served.yml"
    path.write_text(yaml.safe_dump(topology), encoding="utf-8")
    with running_lab("--topology", str(path)) as running:
        yield running


def ask(lab: Lab, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    """Status and JSON answer of one request."""
    address = urllib.parse.urlsplit(lab.answer["control"])
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=20)
    try:
        connection.request(method, f"/v1/{path}", body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()


def check_goes_on(lab: Lab, pid: int) -> None:
    """The vSphere API, the control API and the server answer, and the server is the same process as before."""
    check_answers(lab.answer)
    served = lab.get("state")["vms"][SERVED]
    assert served["guest"] == {"state": "running", "pid": pid}
    connection = http.client.HTTPConnection(served["guest_address"], 54321, timeout=20)
    connection.request("GET", "/3/Cloud")
    assert connection.getresponse().status == 200
    connection.close()


def server_pid(lab: Lab) -> int:
    return int(lab.get("state")["vms"][SERVED]["guest"]["pid"])


def message(answer: Any) -> str:
    """The error of an answer, which has nothing else."""
    assert set(answer) == {"error"}
    text = answer["error"]
    assert text
    assert isinstance(text, str)
    assert "\n" not in text
    return text


BAD: list[tuple[str, dict[str, Any] | bytes, int, str]] = [
    ("faults", b"", 400, "vm is missing; it must be a text of 1 to 80 printable characters, for example {"),
    ("faults", b"{", 400, "the body is not a JSON object; send one such as {"),
    ("faults", b"\xff\xfe", 400, "the body is not a JSON object"),
    ("faults", b'{"vm": 1} {"vm": 2}', 400, "the body is not a JSON object"),
    ("faults", b"[]", 400, "the body is not a JSON object"),
    ("faults", b"null", 400, "the body is not a JSON object"),
    ("faults", b"[" * 50_000, 400, "the body is not a JSON object"),
    (
        "faults",
        b'{"vm": "' + b"x" * 70_000 + b'"}',
        413,
        "the body has more than 65536 bytes; send a JSON object such as",
    ),
    ("faults", {"vm": 7, "fault": "NoPermission"}, 400, "vm must be a text of 1 to 80 printable characters, not 7"),
    (
        "faults",
        {"vm": None, "fault": "NoPermission"},
        400,
        "vm must be a text of 1 to 80 printable characters, not null",
    ),
    ("faults", {"vm": "x" * 81, "fault": "NoPermission"}, 400, "vm must be a text of 1 to 80 printable characters"),
    ("faults", {"vm": "nobody", "fault": "NoPermission"}, 404, 'no VM "nobody"; GET /v1/state lists the VMs'),
    ("faults", {"vm": PLAIN}, 400, "fault is missing; it must be a text"),
    ("faults", {"vm": PLAIN, "fault": "Nonsense"}, 400, 'fault is "Nonsense", which is not a fault class of vSphere'),
    (
        "faults",
        {"vm": PLAIN, "fault": "NoPermission", "times": -3},
        400,
        "times must be a whole number from 1 to 10000",
    ),
    ("faults", {"vm": PLAIN, "fault": "NoPermission", "times": 0}, 400, "times must be a whole number from 1 to 10000"),
    (
        "faults",
        {"vm": PLAIN, "fault": "NoPermission", "times": 1.5},
        400,
        "times must be a whole number from 1 to 10000",
    ),
    ("faults", {"vm": PLAIN, "fault": "NoPermission", "times": 10**12}, 400, "times must be a whole number from 1"),
    ("faults", b'{"vm": "ML-cpu-vm-02", "fault": "NoPermission", "times": 1e999}', 400, "times must be a whole number"),
    (
        "faults",
        {"vm": PLAIN, "fault": "NoPermission", "time": 2},
        400,
        'unknown field "time" in this request; it takes',
    ),
    ("calls/reset", {"method": "Login"}, 400, 'unknown field "method" in this request; it takes no field'),
    ("hosts/esx-99", {"connection": "connected"}, 404, 'no host "esx-99" (the path); GET /v1/state lists the hosts'),
    ("hosts/esx-01", {"connection": "away"}, 400, 'connection must be one of connected, disconnected, not "away"'),
    ("hosts/esx-01", {}, 400, "connection is missing; it must be one of connected, disconnected, for example {"),
    ("hosts/esx-01/fail", {}, 400, "seconds is missing; it must be a number above 0 and up to 3600"),
    ("hosts/esx-99/fail", {"seconds": 1}, 404, 'no host "esx-99" (the path); GET /v1/state lists the hosts'),
    ("calls/fail", {"call": "SetField", "how": "late"}, 400, "seconds is missing; it must be a number above 0"),
    ("calls/fail", {"call": "SetField", "how": "lost", "seconds": 1}, 400, 'unknown field "seconds"'),
    (
        "tasks",
        {"call": "Login", "how": "slow", "seconds": 1},
        400,
        "call must be one of ReconfigureComputeResource_Task",
    ),
    ("tasks", {"call": ENTER, "how": "fails", "seconds": 1}, 400, "fault is missing; it must be a text"),
    ("tasks", {"call": ENTER, "how": "fails", "seconds": 1, "fault": "Nonsense"}, 400, 'fault is "Nonsense", which is'),
    (
        "tasks",
        {"call": "ReconfigureComputeResource_Task", "how": "cancelled", "seconds": 1},
        400,
        "nobody can cancel a task of ReconfigureComputeResource_Task; use one of EnterMaintenanceMode_Task",
    ),
    ("hosts/esx-01/alarm", {"alarm": "purple"}, 400, 'alarm must be one of green, yellow, red, not "purple"'),
    ("hosts/esx-01/alarm", {"alarm": "red", "times": 10**9}, 400, "times must be a whole number from 1 to 10000"),
    ("hosts/esx-99/alarm", {"alarm": "red"}, 404, 'no host "esx-99"'),
    (f"guests/{SERVED}", {"action": "explode"}, 400, "action must be one of kill, restart, freeze, thaw, stun"),
    (f"guests/{SERVED}", {"action": ["kill"]}, 400, "action must be one of kill, restart, freeze, thaw, stun"),
    (f"guests/{SERVED}", {"action": "stun"}, 400, "seconds is missing; it must be a number above 0 and up to 3600"),
    (f"guests/{SERVED}", {"action": "stun", "seconds": -1}, 400, "seconds must be a number above 0 and up to 3600"),
    (f"guests/{SERVED}", {"action": "stun", "seconds": 1e300}, 400, "seconds must be a number above 0 and up to 3600"),
    (f"guests/{SERVED}", {"action": "stun", "seconds": "1"}, 400, "seconds must be a number above 0 and up to 3600"),
    (f"guests/{SERVED}", {"action": "freeze", "seconds": 1}, 400, 'unknown field "seconds"'),
    (
        f"guests/{PLAIN}",
        {"action": "kill"},
        409,
        f"VM {PLAIN} runs no server; choose one with h2o3 or qemu in the topology",
    ),
    ("guests/nobody", {"action": "kill"}, 404, 'no VM "nobody"'),
    ("guests/%00", {"action": "kill"}, 404, 'no VM "\\x00"'),
    (f"vms/{PLAIN}", {"action": "clone"}, 400, "action must be one of power_off, power_on, delete, move, rename"),
    (f"vms/{PLAIN}", {"action": "move"}, 400, "target is missing; it must be a text"),
    (f"vms/{PLAIN}", {"action": "move", "target": "esx-99"}, 404, 'no host "esx-99" (target)'),
    (f"vms/{PLAIN}", {"action": "move", "target": "esx-02", "instant": "yes"}, 400, "instant must be true or false"),
    (f"vms/{PLAIN}", {"action": "rename"}, 400, "name is missing"),
    (f"vms/{PLAIN}", {"action": "rename", "name": "a\nb"}, 400, "name must be a text of 1 to 80 printable characters"),
    (f"vms/{PLAIN}", {"action": "delete", "target": "esx-02"}, 400, 'unknown field "target"'),
    ("vms/nobody", {"action": "delete"}, 404, 'no VM "nobody"'),
    ("link", {"mbit": 0}, 400, "mbit must be a whole number from 1 to 100000000, not 0"),
    ("link", {"mbit": -1}, 400, "mbit must be a whole number from 1 to 100000000, not -1"),
    ("link", {"mbit": 2**64}, 400, "mbit must be a whole number from 1 to 100000000"),
    ("link", {"mbit": True}, 400, "mbit must be a whole number from 1 to 100000000, not true"),
    ("link", {"MBIT": 1000}, 400, "mbit is missing"),
    ("link", {"mbit": 1000, "vcenter": "moon"}, 404, 'no vCenter "moon"; use one of: vcenter.lab'),
    ("link", {"mbit": 1000, "vcenter": 1}, 400, "vcenter must be a text of 1 to 80 printable characters, not 1"),
    ("wan", {"state": "up"}, 409, "vCenter vcenter.lab has no line to itself; name another one in vcenter"),
    ("wan", {"state": "broken"}, 400, 'state must be one of up, down, not "broken"'),
    ("wan", {"mbit": 0.5}, 400, "mbit must be a whole number from 1 to 100000000, not 0.5"),
    ("wan", {"latency_ms": -1}, 400, "latency_ms must be a number above 0 and up to 60000, not -1"),
    ("wan", {"latency": 1}, 400, 'unknown field "latency" in this request; it takes state, mbit, latency_ms'),
    ("sessions/expire", {"session": "x"}, 400, 'unknown field "session"'),
    ("drs", {"host": "esx-01"}, 400, 'unknown field "host" in this request; it takes no field'),
    ("drs", {}, 409, "DRS is off; choose manual, partial or full for drs in the topology"),
    ("shutdown", {"now": True}, 400, 'unknown field "now"'),
    ("shutdown", b"now", 400, "the body is not a JSON object"),
    ("nothing", {}, 404, 'no request POST "/v1/nothing"; use one of: GET /v1/state, '),
    ("", {}, 404, 'no request POST "/v1/"'),
    ("hosts//alarm", {"alarm": "red"}, 404, 'no request POST "/v1/hosts//alarm"'),
    ("../v1/link", {"mbit": 1000}, 404, 'no request POST "/v1/../v1/link"'),
]


@pytest.mark.parametrize(("path", "body", "status", "words"), BAD)
def test_bad_input_is_named_and_changes_nothing(
    lab: Lab, path: str, body: dict[str, Any] | bytes, status: int, words: str
) -> None:
    before, pid = lab.get("state"), server_pid(lab)
    seen, answer = ask(lab, "POST", path, body if isinstance(body, bytes) else json.dumps(body).encode())
    assert (seen, words in message(answer)) == (status, True), answer
    assert lab.get("state") == before
    check_goes_on(lab, pid)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "NONSENSE"])
@pytest.mark.parametrize("path", PATHS)
def test_an_action_is_posted(lab: Lab, method: str, path: str) -> None:
    status, answer = ask(lab, method, path)
    assert status == 405
    assert message(answer).endswith(f"does not answer {method}; use POST")


@pytest.mark.parametrize("path", READS)
def test_what_is_read_cannot_be_posted(lab: Lab, path: str) -> None:
    status, answer = ask(lab, "POST", path, b"{}")
    assert (status, message(answer)) == (405, f"/v1/{path} does not answer POST; use GET")


FIELDS = ("vm", "fault", "times", "connection", "alarm", "action", "seconds", "target", "instant", "name", "mbit")
WORDS = (PLAIN, "esx-02", "NoPermission", "red", "connected", "move", "power_off", "power_on", "rename", "stun", "thaw")
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(WORDS)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), VALUES, max_size=5)
BODIES = (
    st.binary(max_size=60)
    | VALUES.map(lambda value: json.dumps(value).encode())
    | OBJECTS.map(lambda value: json.dumps(value).encode())
)
NAMED = st.builds(
    lambda kind, name, rest: f"{kind}/{urllib.parse.quote(name, safe='')}{rest}",
    st.sampled_from(("hosts", "guests", "vms")),
    st.text(max_size=30),
    st.sampled_from(("", "/alarm", "/")),
)


def is_accepted_shutdown(path: str, body: bytes) -> bool:
    """Whether the lab is asked to end: the one correct request that this test must not send."""
    try:
        return path == "shutdown" and json.loads(body or b"{}") == {}
    except ValueError:
        return False


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(tuple(path for path in PATHS if SERVED not in path)) | NAMED, body=BODIES)
def test_any_json_leaves_the_lab_running(lab: Lab, path: str, body: bytes) -> None:
    if is_accepted_shutdown(path, body):
        return
    status, answer = ask(lab, "POST", path, body)
    assert status == 200 or 400 <= status < 500, answer
    assert answer == {"ok": True} if status == 200 else message(answer)


def test_the_lab_goes_on_after_all_of_it(lab: Lab) -> None:
    check_goes_on(lab, server_pid(lab))
    assert len(lab.get("state")["vms"]) == 7


@pytest.mark.parametrize(
    "text",
    [
        b"nonsense\r\n\r\n",
        b"POST /v1/link HTTP/1.1\r\n\r\n",
        b"POST /v1/link HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/link HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b'POST /v1/link HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n{"mbit": 1',
    ],
)
def test_a_broken_request_harms_only_itself(lab: Lab, text: bytes) -> None:
    pid = server_pid(lab)
    address = urllib.parse.urlsplit(lab.answer["control"])
    with socket.create_connection((str(address.hostname), address.port or 0), timeout=20) as broken:
        broken.sendall(text)
        broken.shutdown(socket.SHUT_WR)
        assert broken.recv(1000).startswith(b"HTTP/1.1 400 ")
    check_goes_on(lab, pid)


def test_a_panic_in_a_task_of_the_simulator_fails_the_task_alone(lab: Lab) -> None:
    """The simulator changes properties of a VM by these keys, and does not check their types."""
    pid, vcenter = server_pid(lab), lab.answer["vcenter"]
    connection = SmartConnect(
        host=vcenter["host"],
        port=vcenter["port"],
        user=vcenter["user"],
        pwd=vcenter["password"],
        sslContext=ssl.create_default_context(cafile=vcenter["ca_file"]),
    )
    try:
        vm = vim.VirtualMachine(lab.get("state")["vms"][PLAIN]["moid"], connection._stub)
        outcomes = {}
        for key in ("note", "SET.summary.quickStats.overallCpuUsage"):
            option = vim.option.OptionValue(key=key, value="text")
            task = vm.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=[option]))
            while task.info.state not in ("success", "error"):
                pass
            outcomes[key] = (task.info.state, getattr(task.info.error, "reason", None))
    finally:
        Disconnect(connection)
    assert outcomes == {
        "note": ("success", None),
        "SET.summary.quickStats.overallCpuUsage": ("error", "internal error of the simulator, see vcenter.log"),
    }
    check_goes_on(lab, pid)
