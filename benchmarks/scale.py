# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long the plan of one host takes in a vCenter with thousands of VMs, and with how many calls.

The peer is a program that reads the properties of each VM by itself, as scripts with pyVmomi do. It reads a sample of the VMs in the
same lab, right after the collection has read all of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import yaml
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.client import Client, Endpoint, connected
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.session import VcenterSession
from ansible_collections.liveml.vsphere.plugins.modules import migration_plan
from pyVmomi import vim

from benchmarks.report import Report
from lab.control import Control

ROOT = Path(__file__).resolve().parent.parent
SIZES = ((1, 10, 100), (2, 100, 1000), (20, 1000, 10_000))  # clusters, hosts, VMs
HOST = "fleet-esx-0001"
USUAL_ROUNDS = 1
SAMPLE = 200  # VMs that the peer reads
READ = ("name", "config", "summary", "runtime", "guest", "parent", "resourcePool", "datastore", "network", "recentTask")
MAX_PLAN_SECONDS = 60.0  # of the largest size


@dataclass(frozen=True)
class Cost:
    """Seconds that passed, processor seconds of this process, and calls that vCenter answered."""

    seconds: float
    cpu: float
    calls: int


@contextmanager
def fleet(clusters: int, hosts: int, vms: int) -> Iterator[tuple[Control, Endpoint, float]]:
    """A lab of that size without guests: its control API, its vCenter, and the seconds that its start took."""
    topology = {
        "datastores": [{"name": "shared", "type": "vsan", "capacity_gb": 4_000_000, "free_gb": 2_000_000}],
        "networks": [{"name": "ml-network"}],
        "defaults": {
            "host": {"cores": 64, "mhz": 2600, "memory_gb": 1024},
            "vm": {"memory_gb": 32, "cpus": 8, "datastores": ["shared"], "networks": ["ml-network"]},
        },
        "fleet": {"clusters": clusters, "hosts": hosts, "vms": vms},
    }
    with tempfile.TemporaryDirectory(prefix="liveml-scale-") as folder:
        path, state = Path(folder) / "topology.yml", f"{folder}/lab"
        path.write_text(yaml.safe_dump(topology), encoding="utf-8")
        command, began = [sys.executable, "-m", "lab"], time.monotonic()
        options = ["--topology", str(path), "--drs", "full", "--no-guests", "--state", state]
        up = subprocess.run([*command, "up", *options], cwd=ROOT, capture_output=True, text=True, check=True)
        started = time.monotonic() - began
        try:
            answer = json.loads(up.stdout)
            login = answer["vcenter"]
            endpoint = Endpoint(
                login["host"], login["user"], login["password"], login["port"], ca_path=login["ca_file"]
            )
            yield Control(answer["control"]), endpoint, started
        finally:
            subprocess.run([*command, "down", "--state", state], cwd=ROOT, capture_output=True, check=False)


def cost_of(lab: Control, work: Callable[[], object]) -> Cost:
    """What a piece of work costs."""
    lab.post("calls/reset")
    began, cpu = time.monotonic(), time.process_time()
    work()
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    return Cost(seconds, cpu, sum(lab.get("calls").values()))


def plan_of(session: VcenterSession, state: Path) -> dict[str, Any]:
    """The plan of one host, as the module makes it."""
    given = {name: option.get("default") for name, option in migration_plan.SPEC.items()}
    module = SimpleNamespace(
        params={**given, "host": HOST, "state_dir": str(state)}, check_mode=False, warn=lambda _text: None
    )
    return migration_plan.body(cast(AnsibleModule, module), session)


def read_one_by_one(client: Client) -> None:
    """The peer: the properties of each VM of a sample, each by a call of its own."""
    content = client.content
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    for vm in view.view[:SAMPLE]:
        for name in READ:
            getattr(vm, name)
    view.DestroyView()


def run(report: Report, rounds: int) -> None:
    """Each size in a lab of its own."""
    for clusters, hosts, vms in SIZES:
        with fleet(clusters, hosts, vms) as (lab, endpoint, started), connected(endpoint) as client:
            report.figure("scale_lab_start_s", round(started, 1), "s", vms=vms, hosts=hosts)
            session = VcenterSession(client)
            for number in range(1, rounds + 1):
                tell(report, lab, client, session, hosts=hosts, vms=vms)
                report.say(f"{vms} VMs, round {number} of {rounds}")


def tell(report: Report, lab: Control, client: Client, session: VcenterSession, *, hosts: int, vms: int) -> None:
    """The figures of one round."""
    size: dict[str, Any] = {"vms": vms, "hosts": hosts}
    estate = cost_of(lab, session.estate)
    with tempfile.TemporaryDirectory(prefix="liveml-scale-state-") as folder:
        plan = cost_of(lab, lambda: check_plan(plan_of(session, Path(folder)), vms // hosts))
    peer = cost_of(lab, lambda: read_one_by_one(client))
    sample = min(SAMPLE, vms)
    largest = vms == SIZES[-1][-1]
    report.figure(
        "scale_estate_s", round(estate.seconds, 2), "s", cpu_s=round(estate.cpu, 2), calls=estate.calls, **size
    )
    report.figure(
        "scale_plan_s", round(plan.seconds, 2), "s", cpu_s=round(plan.cpu, 2), calls=plan.calls,
        promised=("<=", MAX_PLAN_SECONDS) if largest else None, **size,
    )  # fmt: skip
    report.figure("scale_peer_ms_per_vm", round(1000 * peer.seconds / sample, 2), "ms", sample=sample, **size)
    report.figure("scale_ms_per_vm", round(1000 * estate.seconds / vms, 2), "ms", **size)
    report.figure("scale_time_ratio", round(peer.seconds / sample / (estate.seconds / vms), 1), "", **size)
    report.figure("scale_calls_ratio", round(peer.calls / sample / (estate.calls / vms), 1), "", **size)


def check_plan(result: dict[str, Any], moves: int) -> None:
    """A plan of something else would be no measurement."""
    if len(result["moves"]) != moves:
        raise RuntimeError(f"the plan has {len(result['moves'])} moves, not {moves}: {result['refusals'][:1]}")
