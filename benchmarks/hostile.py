# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether any input ends a module with a traceback, lets it hang, or takes the memory of the controller.

Inputs are generated: options of every module, plans, journals, requests, objects of vCenter, and answers of the servers that
every provider asks. Each must give one message at most. At the end, 16 servers at a time attack with answers that cost much.
"""

from __future__ import annotations

import io
import itertools
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ansible.module_utils import basic
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import CallFailed
from ansible_collections.liveml.vsphere.plugins.module_utils._core.untrusted import values_in
from ansible_collections.liveml.vsphere.plugins.module_utils._display.deliveries import delivery, without_secrets
from ansible_collections.liveml.vsphere.plugins.module_utils._display.messages import About, messages
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.discovery import Providers
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers import prometheus, tensorboard
from ansible_collections.liveml.vsphere.plugins.module_utils._module import vcenter_entry
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import SOURCE_OPTIONS
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.codec import plan_id_of
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere import inventory
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    Datastore,
    Estate,
    Network,
    Power,
    VcenterInfo,
    VmState,
)
from ansible_collections.liveml.vsphere.plugins.plugin_utils._hooks import typed_hooks
from ansible_collections.liveml.vsphere.plugins.plugin_utils._options import options_of as options_of_role
from ansible_collections.liveml.vsphere.plugins.plugin_utils._options import value_of
from ansible_collections.liveml.vsphere.plugins.plugin_utils._variables import complaints, public_roles
from ansible_collections.liveml.vsphere.plugins.plugin_utils._variables import options_of as written_options_of
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from benchmarks.report import Report
from benchmarks.subjects import SETTINGS

USUAL_INPUTS = 1000
MAX_SECONDS = 10.0
MAX_RSS_MIB = 100
GUESTS = 16
LOCAL = {"evidence_report", "experiment_wait", "maintenance_request", "model_export", "run_index", "run_info"}
MODULES = (
    *sorted(LOCAL),
    "experiment_info",
    "host_info",
    "host_maintenance",
    "migration_plan",
    "placement",
    "vm_migrate",
    "vm_witness",
)
NASTY = ["", " ", "\n", "x\nFAKE: done\r", "\x1b[2J\x9b\u202e\u2066\u200b", "\0", "\ud800", "../../etc/passwd", "a..b", "a" * 300, '"} or {x="', "{{ 7 * 7 }}", "{vm.__class__}", "<script>", "'; drop", "$(id)", "--help", "localhost", "::1]", "[" * 5000, "9" * 5000, "ü" * 90, "null", "-1", "1e999"]  # fmt: skip
TEXT = st.sampled_from(NASTY) | st.text(max_size=20)
NUMBER = st.sampled_from([0, -1, 1, 2**31, 2**63, -(2**70), 10**400, 0.5, -0.0, 1e308, float("inf"), float("nan")])
SCALAR = st.none() | st.booleans() | NUMBER | TEXT
JSON = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)
ADDRESS = (
    st.sampled_from(["127.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "x", "", "fd00:ec2::254", "0.0.0.0"])
    | TEXT
)


@dataclass
class Findings:
    """What went wrong, and how many inputs there were."""

    inputs: int = 0
    by_kind: Counter[str] = field(default_factory=Counter)
    tracebacks: list[str] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)  # inputs with more than one message, or with none


Case = tuple[
    str, Callable[[], Any]
]  # what is tried, and how: it raises, or returns its message ("" if nothing is wrong)


# objects of vCenter


@st.composite
def rows(draw: st.DrawFn) -> Estate:
    """An estate as it is made from properties whose texts and numbers vCenter does not vouch for."""
    size = st.integers(-(2**40), 2**40) | st.none()
    empty: dict[str, Any] = {kind: {} for kind in inventory.PATHS}
    hosts = {}
    for number in range(draw(st.integers(1, 3))):
        row = {
            "name": draw(TEXT), "runtime.connectionState": "connected", "hardware.memorySize": draw(size),
            "summary.hardware.numCpuCores": draw(size), "summary.hardware.cpuMhz": draw(size),
            "config.vsanHostConfig.faultDomainInfo.name": draw(TEXT | st.none()),
        }  # fmt: skip
        hosts[f"host-{number}"] = inventory._host(
            f"host-{number}", inventory.Row(row), {"": inventory.Row({"name": draw(TEXT)})}, empty, {}, {}
        )
    vms = {}
    for number in range(draw(st.integers(0, 4))):
        moid = f"vm-{number}"
        row = {
            "name": draw(TEXT), "runtime.powerState": "poweredOn", "guest.ipAddress": draw(ADDRESS),
            "summary.config.memorySizeMB": draw(size), "summary.config.numCpu": draw(size),
            "summary.config.guestFullName": draw(TEXT),
        }  # fmt: skip
        known = inventory._vm(moid, inventory.Row(row), empty, {})
        attributes = {"liveml_home": draw(TEXT | JSON.map(json.dumps)), "owner": draw(TEXT)}
        vms[moid] = known.__class__(
            **{**_fields(known), "host": draw(st.sampled_from([*hosts, "host-9"])), "attributes": attributes}
        )
    stores = {"ds": Datastore("ds", draw(TEXT), frozenset(hosts))}
    info = VcenterInfo(draw(TEXT), "uuid", draw(TEXT), False)
    return Estate(info, hosts, vms, stores, {"net": Network("net", draw(TEXT))})


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


class Vcenter:
    """Answers with an estate; every other call fails."""

    def __init__(self, estate: Estate) -> None:
        self._estate = estate

    def estate(self, **_options: Any) -> Estate:
        """The estate."""
        return self._estate

    def devices(self, estate: Estate, _vms: Any) -> Estate:
        """The estate without devices."""
        return estate

    def __getattr__(self, name: str) -> Any:
        def fail(*_arguments: Any, **_options: Any) -> Any:
            raise CallFailed(f"vCenter could not {name}", fault="RuntimeFault")

        return fail


# modules


def called(name: str, arguments: Mapping[str, Any], estate: Estate | None = None, *, check: bool = True) -> str:
    """Run a module in this process with a vCenter of that estate; returns its message. Raises AssertionError without one."""

    @contextmanager
    def connected(*_arguments: Any, **_options: Any) -> Iterator[None]:
        yield

    login = {} if name in LOCAL else {"hostname": "127.0.0.1", "username": "u", "password": "p"}
    payload = json.dumps({"ANSIBLE_MODULE_ARGS": {**login, **arguments, "_ansible_check_mode": check}}, default=str)
    printed = io.StringIO()
    with ExitStack() as stack:
        stack.enter_context(patch.object(basic, "_ANSIBLE_ARGS", payload.encode("utf-8", "replace")))
        stack.enter_context(patch.object(basic, "_ANSIBLE_PROFILE", "legacy", create=True))
        stack.enter_context(patch.object(vcenter_entry, "connected", connected))
        stack.enter_context(patch.object(vcenter_entry, "VcenterSession", lambda _client: Vcenter(estate or NOWHERE)))
        stack.enter_context(redirect_stdout(printed))
        stack.enter_context(redirect_stderr(io.StringIO()))
        module = import_module(f"ansible_collections.liveml.vsphere.plugins.modules.{name}")
        try:
            module.main()
        except SystemExit:
            pass
    result = json.loads(printed.getvalue())  # exactly one answer
    message = result.get("msg", "")
    if result.get("failed") and not (isinstance(message, str) and message.strip()):
        raise AssertionError(f"{name} failed without a message")
    return message if isinstance(message, str) else ""


NOWHERE = Estate(VcenterInfo("vc", "uuid", "8.0", False), {}, {}, {}, {})


def options_of(spec: Mapping[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A few options of a module, each with any value or one of its type."""
    if not spec:
        return st.just({})
    return st.dictionaries(st.sampled_from(sorted(spec)), JSON, max_size=3).flatmap(
        lambda chosen: st.fixed_dictionaries(
            {name: st.one_of(st.just(value), typed(spec[name])) for name, value in chosen.items()}
        )
    )


def typed(option: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """A value of an option's type, which the module must judge itself."""
    kind = option.get("type", "str")
    if "options" in option:
        inside = options_of(option["options"])
        return st.lists(inside, max_size=2) if kind == "list" else inside
    if option.get("choices"):
        return st.sampled_from(option["choices"])
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "int": st.sampled_from([0, -1, 1, 99999999]), "float": NUMBER, "bool": st.booleans(), "path": TEXT,
        "dict": st.dictionaries(TEXT, SCALAR, max_size=2), "list": st.lists(TEXT, max_size=3),
    }  # fmt: skip
    return kinds.get(kind, TEXT)


@st.composite
def module_cases(draw: st.DrawFn, folder: Path) -> Case:
    """Any options of any module."""
    name = draw(st.sampled_from(MODULES))
    module = import_module(f"ansible_collections.liveml.vsphere.plugins.modules.{name}")
    needed: dict[str, Any] = {
        "host_maintenance": {"host": "host-0", "state": "fenced"}, "model_export": {"dest": str(folder / "dest")},
        "vm_migrate": {"plan": plan_of({})}, "maintenance_request": {"path": str(folder / "request.yml")},
        "migration_plan": {"host": "host-0"}, "experiment_info": {"host": "host-0"}, "placement": {"host": "host-0"},
        "vm_witness": {"host": "host-0", "window": 1.0},
    }.get(name, {})  # fmt: skip
    spec = {
        key: option
        for key, option in getattr(module, "SPEC", {}).items()
        if key not in ("controller_pid", "wait_timeout")
    }
    local = {"state_dir": str(folder)} if "state_dir" in spec else {}
    hurry = {"wait_timeout": 0} if "wait_timeout" in getattr(module, "SPEC", {}) else {}
    arguments = {**local, **needed, **draw(options_of(spec)), **hurry}
    experiments = arguments.get("experiments")
    if isinstance(experiments, dict):
        sources = experiments.get("sources")
        if isinstance(sources, list):  # programs of the operator may do what they like
            experiments["sources"] = [s for s in sources if not (isinstance(s, dict) and s.get("provider") == "exec")]
    if name in ("experiment_wait", "model_export"):
        arguments["state_dir"] = str(folder)
    estate = draw(rows())
    return f"options of {name}", lambda: called(name, arguments, estate)


# plans, journals, requests


def plan_of(changes: Mapping[str, Any]) -> dict[str, Any]:
    """A plan with changes, and an id that fits to them if one can be made."""
    move = {
        "number": 1, "vm": "vm-0", "vm_name": "ml", "source": "host-0", "source_name": "a", "target": "host-1",
        "target_name": "b", "memory_bytes": 1, "predicted_seconds": 1.0,
    }  # fmt: skip
    info = {"name": "vc", "instance_uuid": "uuid", "version": "8", "simulated": False}
    data: dict[str, Any] = {"plan_id": "x", "vcenter": info, "moves": [move], "refusals": [], "settled": []}
    data |= {key: value for key, value in changes.items() if key in data}
    data["moves"] = (
        [{**move, **{k: v for k, v in changes.items() if k in move}}] if data["moves"] == [move] else data["moves"]
    )
    return data


@st.composite
def plan_cases(draw: st.DrawFn, _folder: Path) -> Case:
    """A plan that somebody edited, also with the id of its content."""
    from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import VsphereError  # noqa: PLC0415
    from ansible_collections.liveml.vsphere.plugins.module_utils._plan.codec import plan_from_dict  # noqa: PLC0415

    keys = [
        "vcenter",
        "moves",
        "refusals",
        "settled",
        "plan_id",
        "number",
        "vm",
        "target",
        "memory_bytes",
        "why",
        "task",
    ]
    data = plan_of(draw(st.dictionaries(st.sampled_from(keys), JSON, max_size=2)))
    estate = draw(rows())

    def use() -> str:
        try:
            plan_from_dict(data)
        except VsphereError as error:
            if "does not match" in str(error) or "id" in str(error):
                data["plan_id"] = _fitting_id(data)
        return called("vm_migrate", {"plan": data}, estate)

    return "plan", use


def _fitting_id(data: dict[str, Any]) -> str:
    from ansible_collections.liveml.vsphere.plugins.module_utils._core.codec import decoded  # noqa: PLC0415
    from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import Plan  # noqa: PLC0415

    try:
        return plan_id_of(decoded(Plan, data))
    except Exception:  # such a plan has no id
        return "x"


BEGIN = {
    "seq": 1, "prev": "0" * 64, "at": "2026-01-31T09:00:00.000Z", "mono": 1.0, "event": "run_started", "run_id": "r",
    "purpose": "evacuate", "key": "uuid.host-0", "plan_id": "p", "host": {"moid": "host-0", "name": "a"},
    "vcenter": {"name": "vc", "instance_uuid": "uuid", "version": "8", "simulated": False},
}  # fmt: skip


@st.composite
def journal_cases(draw: st.DrawFn, folder: Path) -> Case:
    """A journal with lines that no run wrote."""
    line = st.one_of(
        st.dictionaries(
            st.sampled_from([*BEGIN, "vm", "experiment", "verdict", "result", "format"]), JSON, max_size=4
        ).map(lambda changes: json.dumps({**BEGIN, **changes}, default=str).encode("utf-8", "replace")),
        st.binary(max_size=30),
        JSON.map(lambda value: json.dumps(value).encode()),
        st.just(b"[" * 50_000),
    )
    data = b"\n".join(draw(st.lists(line, max_size=4))) + draw(st.sampled_from([b"", b"\n"]))
    name = draw(
        st.sampled_from(
            [
                "evidence_report",
                "migration_plan",
                "placement",
                "experiment_wait",
                "model_export",
                "run_index",
                "run_info",
            ]
        )
    )
    estate = draw(rows())

    def use() -> str:
        with tempfile.TemporaryDirectory(dir=folder) as state:
            run = Path(state) / "runs" / "20260131T090000Z-evacuate-a-0000"
            run.mkdir(parents=True)
            (run / "journal.jsonl").write_bytes(data)
            (run / "samples.jsonl").write_bytes(data)
            more = {"model_export": {"dest": f"{state}/dest"}, "experiment_wait": {"wait_timeout": 0}}.get(name, {})
            host = {} if name in LOCAL else {"host": "host-0"}
            return called(
                name, {"state_dir": state, **host, **more}, estate, check=name not in ("evidence_report", "run_index")
            )

    return f"journal read by {name}", use


@st.composite
def artifact_cases(draw: st.DrawFn, folder: Path) -> Case:
    """An artifact of another job that somebody edited."""
    usual = {
        "vm": {"moid": "vm-0", "name": "ml"}, "provider": "h2o3", "id": "j", "process": "1", "url": "http://127.0.0.1:1",
        "description": "", "cluster": "", "nodes": [], "metric": "m", "exact_id": "", "source": "",
    }  # fmt: skip
    changes = draw(
        st.dictionaries(st.sampled_from(sorted(usual)), JSON | ADDRESS.map("http://{}:1".format), max_size=2)
    )
    listed = draw(st.just([{**usual, **changes}]) | JSON)
    artifact = {"version": draw(st.just(1) | SCALAR), "experiments": listed}
    arguments = {"state_dir": str(folder), "artifact": artifact, "wait_timeout": 0}
    return "artifact", lambda: called("experiment_wait", arguments)


@st.composite
def request_cases(draw: st.DrawFn, folder: Path) -> Case:
    """A request of anybody who may write to the repository."""
    keys = ["host", "fault_domain", "action", "window", "policy", "limits", "approval", "reason", "version", "kind"]
    document = st.dictionaries(st.sampled_from(keys), JSON, max_size=5).map(
        lambda value: json.dumps(value, default=str).encode()
    )
    data = draw(
        st.one_of(
            document,
            st.binary(max_size=60),
            st.sampled_from([b"[" * 9000, b"&a [*a]", b"a: &x [*x, *x]", b"!!python/object:x {}"]),
        )
    )
    plan = draw(
        st.one_of(st.binary(max_size=20), st.just(b"[" * 50_000), JSON.map(lambda value: json.dumps(value).encode()))
    )

    def use() -> str:
        (folder / "request.yml").write_bytes(data)
        (folder / "request.plan.json").write_bytes(plan)
        return called("maintenance_request", {"path": str(folder / "request.yml")})

    return "request", use


# servers


PATHS: dict[str, Any] = {
    "/3/Cloud": {"__meta": {"schema_name": "CloudV3"}, "cloud_name": "c", "nodes": []},
    "/3/Jobs": {"jobs": [{"key": {"name": "j"}, "dest": {"name": "m", "type": "Key<Model>"}, "status": "RUNNING", "progress": 0.1}]},
    "/3/Models": {"models": [{"algo": "gbm", "parameters": []}]},
    "experiments/search": {"experiments": [{"experiment_id": "1"}]},
    "runs/search": {"runs": [{"info": {"run_id": "r", "status": "RUNNING"}, "data": {"metrics": [{"key": "loss", "step": 1, "timestamp": 1}]}}]},
    "/data/environment": {"debug": {"flags": {"reload_interval": 1}}},
    "scalars/tags": {"ml": {"loss": {}}},
    "scalars/scalars": [[1.0, 1, 0.5]],
    "status/config": {"status": "success", "data": {"yaml": "scrape_interval: 1s"}},
    "/query": {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "5"]}]}},
}  # fmt: skip
HEADERS = {"x-h2o-cluster-id": "1", "x-h2o-build-project-version": "3.46"}


def server(answer: Callable[[str], tuple[int, Any]]) -> Any:
    """A server on this machine that answers paths; closed by ``shutdown``."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer  # noqa: PLC0415

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body = answer(self.path)
            data = body if isinstance(body, bytes) else json.dumps(body, default=str).encode("utf-8", "replace")
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            for name, value in HEADERS.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_POST = do_OPTIONS = do_GET

        def log_message(self, *_arguments: object) -> None:
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
    return made


SOURCES = ("h2o3", "mlflow", "tensorboard", "prometheus metric", "prometheus query", "exec")


def look(source: str, port: int, name: str = "ml", command: list[str] | None = None) -> str:
    """What a source finds in a VM whose server is at that port."""
    usual = {key: option.get("default") for key, option in SOURCE_OPTIONS.items()}
    provider, _space, what = source.partition(" ")
    chosen = {"provider": provider, "url": f"http://{{address}}:{port}", "advance_timeout": 0.1, "flush_seconds": 0.0}
    chosen |= {what: "m" if what == "metric" else 'm{vm="{vm}"}'} if what else {}
    chosen |= {"command": command} if command else {}
    options = {"h2o3": source == "h2o3", "ports": [port], "sources": [] if source == "h2o3" else [usual | chosen]}
    machine = VmState("vm-0", name, "u", "host-0", Power.ON, 1, guest_address="127.0.0.1", cpus=2)
    with ExitStack() as stack:
        for module in (prometheus, tensorboard):  # an honest guest may need a minute; that is said, and no hang
            stack.enter_context(patch.object(module, "GUEST_WAIT", 0.1))
        (seen,) = Providers(SETTINGS | {"require_checkpoint": "warn"} | options).observe([machine])
    return seen.detail


@st.composite
def answer_cases(draw: st.DrawFn, folder: Path) -> Case:
    """Answers of a server in a VM that differ a little, or wholly, from those of a usual one."""
    source, name = draw(st.sampled_from(SOURCES)), draw(TEXT)
    wrong = draw(st.dictionaries(st.sampled_from(sorted(PATHS)), JSON | st.binary(max_size=40), max_size=2))
    page = draw(
        st.one_of(
            st.just(b'm 1\nm{a="b"} 2\n'),
            st.binary(max_size=60),
            TEXT.map(lambda t: f"m{{a={t}}} 1".encode("utf-8", "replace")),
        )
    )
    status = draw(st.sampled_from([200, 200, 200, 401, 404, 500, 302]))
    line = draw(st.one_of(st.binary(max_size=40), JSON.map(lambda value: json.dumps(value).encode())))
    shape = draw(st.integers(0, 3))

    def answer(path: str) -> tuple[int, Any]:
        for part, usual in PATHS.items():
            if part in path:
                value = wrong.get(part, usual)
                return status, within(usual, value, shape)
        return status, page

    def use() -> str:
        if source == "exec":
            (folder / "line").write_bytes(line)
            return look(source, 1, name, ["/bin/sh", "-c", f"read question; cat {folder}/line; echo"])
        made = server(answer)
        try:
            return look(source, made.server_port, name)
        finally:
            made.shutdown()
            made.server_close()

    return f"answers of {source}", use


def within(usual: Any, value: Any, depth: int) -> Any:
    """The value in place of a usual one, or somewhere inside of it."""
    if depth == 0 or value is usual or not isinstance(usual, (dict, list)) or not usual:
        return value
    if isinstance(usual, list):
        return [within(usual[0], value, depth - 1)]
    key = sorted(usual)[depth % len(usual)]
    return {**usual, key: within(usual[key], value, depth - 1)}


# roles


@st.composite
def role_cases(draw: st.DrawFn, _folder: Path) -> Case:
    """Any value of any option of a role, and names that no role has."""
    role = draw(st.sampled_from(public_roles()))
    option = draw(st.sampled_from(options_of_role(role) or options_of_role("evacuate_host")))
    given, name = draw(JSON), f"{role}_{draw(TEXT)}"

    def use() -> str:
        complaints([name], [role])
        try:
            value_of(option, given)
        except ValueError as error:
            if not str(error).strip():
                raise AssertionError(f"{option.variable} was refused without a message") from error
            return str(error)
        return ""

    return f"options of role {role}", use


@st.composite
def hook_cases(draw: st.DrawFn, _folder: Path) -> Case:
    """Any hook for messages, about an experiment whose names a guest chose."""
    keys = sorted(options_of_hook())
    usual = {"kind": draw(st.sampled_from(["mail", "slack", "teams", "webhook"])), "url": "https://x/", "token": "t"}
    hook = usual | draw(st.dictionaries(st.sampled_from(keys), JSON, max_size=3))
    hooks = draw(st.just([hook]) | JSON)
    name, verdict = draw(TEXT), draw(st.sampled_from(["lost", "uninterrupted"]))
    seen = {
        "provider": "h2o3",
        "id": name,
        "owner": draw(TEXT),
        "vms": [name],
        "verdict": verdict,
        "longest_stall": None,
    }
    why = draw(TEXT)

    def use() -> str:
        try:
            checked = typed_hooks(hooks)
        except ValueError as error:
            if not str(error).strip():
                raise AssertionError("a hook was refused without a message") from error
            return str(error)
        for message in messages(checked, "after", [seen], About(name, failure=why, result={"run_id": "r"})):
            made = delivery(checked[message.hook], message)
            json.dumps(made.arguments)
            without_secrets(checked[message.hook], f"{made.arguments}{why}")
        return ""

    return "hooks", use


def options_of_hook() -> Mapping[str, Any]:
    """The options of a hook by name."""
    found: Mapping[str, Any] = written_options_of("notify")["notify_hooks"]["options"]
    return found


CASES = (module_cases, plan_cases, journal_cases, artifact_cases, request_cases, answer_cases, role_cases, hook_cases)


def tried(inputs: int, number: int, say: Callable[[str], None] = lambda _text: None) -> Findings:
    """Try so many inputs of every kind; the same ``number`` gives the same inputs."""
    found = Findings()
    import_module("matplotlib.pyplot")  # its first import may build a list of fonts
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)

        @seed(number)
        @settings(
            max_examples=inputs, database=None, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(st.one_of(*(kind(folder) for kind in CASES)))
        def each(case: Case) -> None:
            if found.inputs >= inputs:
                return
            try_one(case, found)
            if found.inputs % 100 == 0:
                say(f"{found.inputs} inputs")

        each()
    return found


def try_one(case: Case, found: Findings) -> None:
    """Try one input and note what went wrong."""
    kind, use = case
    found.inputs += 1
    found.by_kind[kind] += 1
    began = time.monotonic()
    try:
        message = use()
        if "Traceback (most recent" in message:
            found.tracebacks.append(f"{kind}: {message[-200:]}")
        if "\n" in message.strip() and kind != "request":
            found.other.append(f"{kind}: {message[:200]!r}")
    except AssertionError as error:
        found.other.append(f"{kind}: {error}")
    except json.JSONDecodeError as error:
        found.other.append(f"{kind}: not one answer ({error})")
    except Exception as error:  # whatever a user would see as a traceback
        import traceback  # noqa: PLC0415

        place = traceback.extract_tb(error.__traceback__)[-1]
        found.tracebacks.append(
            f"{kind}: {type(error).__name__} {str(error)[:100]!r} at {place.filename}:{place.lineno}"
        )
    if time.monotonic() - began > MAX_SECONDS:
        found.hangs.append(f"{kind}: {time.monotonic() - began:.1f} s")


# attacks that cost memory and time

MIB = 1 << 20


def endless(kind: str, entry: str) -> Callable[[str], bytes]:
    """A list of MLflow without end: each page has other entries, as many as an answer may have, and names a next page.

    ``#`` in the entry is its number.
    """
    many = min(900_000 // len(entry), 18_000 // values_in(entry.encode()))
    page = ",".join(entry.replace("#", f"{{0}}-{number}") for number in range(many)).replace("{{0}}", "{0}")
    numbers = itertools.count()
    one = b'{"experiments":[{"experiment_id":"1"}]}'

    def answer(path: str) -> bytes:
        if f"{kind}/search" not in path:
            return one if "experiments/search" in path else b'{"runs":[]}'
        number = f"{next(numbers)}"
        return f'{{"{kind}":[{page.replace("{0}", number)}],"next_page_token":"{number}"}}'.encode()

    return answer


ATTACKS: Mapping[str, tuple[str, Callable[[], bytes | Callable[[str], bytes]]]] = {
    "16 MB of [] as the cloud": ("h2o3", lambda: b"[" + b"[]," * (5 * MIB) + b"0]"),
    "1 MB of [] as the cloud": ("h2o3", lambda: b"[" + b"[]," * (MIB // 4) + b"0]"),
    "900 kB of [ as the cloud": ("h2o3", lambda: b"[" * 900_000),
    "3 million lines of one series": ("prometheus metric", lambda: b"m 1\n" * 3_000_000),
    "lines of 60 kB with labels": ("prometheus metric", lambda: (b"m{" + b'a="b",' * 10_000 + b"} 1\n") * 200),
    "12 MB in one line": ("prometheus metric", lambda: b"m{" + b'a="b",' * (2 * MIB)),
    "100,000 experiments": ("mlflow", lambda: b'{"experiments":[' + b'{"experiment_id":"1"},' * 700_000 + b"{}]}"),
    "runs without end": (
        "mlflow",
        lambda: endless(
            "runs",
            '{"info":{"run_id":"#"},"data":{"tags":[{"key":"liveml.vm","value":"ml"}],"metrics":['
            + ",".join(f'{{"key":"{key}","step":1,"timestamp":1}}' for key in "abcdefgh")
            + "]}}",
        ),
    ),
    "runs with long names without end": (
        "mlflow",
        lambda: endless(
            "runs",
            '{"info":{"run_id":"'
            + "r" * 4000
            + '#"},"data":{"tags":[{"key":"liveml.vm","value":"ml"}],"metrics":[{"key":"'
            + "k" * 4000
            + '#","step":1,"timestamp":1}]}}',
        ),
    ),
    "experiments without end": ("mlflow", lambda: endless("experiments", '{"experiment_id":"' + "e" * 40 + '#"}')),
    "100,000 runs": (
        "tensorboard",
        lambda: b'{"debug":0' + b"".join(b',"r%d":{"t":1}' % n for n in range(200_000)) + b"}",
    ),
}


def attack(report: Report) -> tuple[float, float]:
    """The memory in MiB that 16 hostile guests take at most, and the seconds that the slowest attack lasts."""
    most, longest = 0.0, 0.0
    for name in ATTACKS:
        out = subprocess.run(
            [sys.executable, "-m", "benchmarks.hostile", name], capture_output=True, text=True, timeout=300, check=False
        )
        try:
            figures = json.loads(out.stdout.splitlines()[-1])
        except (IndexError, ValueError):
            report.say(f"{name}: {out.stderr[-300:]}")
            return 1e9, 1e9
        report.trial("hostile_attack_rss_mib", figures["rss_mib"], "MiB", attack=name, seconds=figures["seconds"])
        report.say(f"{name}: {figures['rss_mib']:.0f} MiB, {figures['seconds']:.1f} s; {figures['detail'][:90]}")
        most, longest = max(most, figures["rss_mib"]), max(longest, figures["seconds"])
    return most, longest


def attacked(name: str) -> dict[str, Any]:
    """Look into 16 VMs at a time whose servers attack; in a process of its own, because memory is not given back."""
    source = ATTACKS[name][0]
    child, port = _attacker(name)
    try:
        look(source, 1)  # loads what is loaded later
        before = _memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
        began = time.monotonic()
        details: list[str] = []
        threads = [threading.Thread(target=lambda: details.append(look(source, port))) for _ in range(GUESTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {
            "rss_mib": (_memory("VmHWM") - before) / 1024,
            "seconds": time.monotonic() - began,
            "detail": details[0],
        }
    finally:
        child.kill()
        child.wait()


def _attacker(name: str) -> tuple[subprocess.Popen[str], int]:
    """A process that serves an attack, and its port."""
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.hostile", name, "serve"], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    return child, int(child.stdout.readline())


def _memory(field_name: str) -> int:
    """A figure of this process in KiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field_name}:"):
            return int(line.split()[1])
    return 0


def run(report: Report, inputs: int) -> None:
    """Try the inputs, then the attacks."""
    found = tried(inputs, 1, report.say)
    for problem in (*found.tracebacks[:20], *found.hangs[:20], *found.other[:20]):
        report.say(problem)
    most, longest = attack(report)
    report.figure(
        "hostile_inputs", found.inputs, "inputs", promised=(">=", inputs), kinds=dict(sorted(found.by_kind.items()))
    )
    report.figure("hostile_tracebacks", len(found.tracebacks), "inputs", promised=("<=", 0))
    report.figure(
        "hostile_messages", len(found.other), "inputs", promised=("<=", 0), meaning="inputs without exactly one message"
    )
    report.figure(
        "hostile_hangs",
        len(found.hangs) + (longest > 6 * MAX_SECONDS),
        "inputs",
        promised=("<=", 0),
        longest_attack_s=round(longest, 1),
    )
    report.figure("hostile_rss_mib", round(most, 1), "MiB", promised=("<=", MAX_RSS_MIB), guests=GUESTS)


def main(arguments: list[str]) -> None:
    """One attack, or the server of one."""
    name, *serve = arguments
    if not serve:
        print(json.dumps(attacked(name)))
        return
    body = ATTACKS[name][1]()
    made = server(lambda path: (200, body if isinstance(body, bytes) else body(path)))
    print(made.server_port, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])
