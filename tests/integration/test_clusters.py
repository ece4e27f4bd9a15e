# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real H2O-3 cluster of two nodes in two VMs is one experiment, whichever of its VMs moves."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.discovery import Providers
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import EXPERIMENT_OPTIONS
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.client import Endpoint, connected
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import VmState
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.session import VcenterSession

from tests.labs import ROOT, Lab, RunModule, running_lab
from tests.measuring import Measured

pytestmark = pytest.mark.alone

LEADER, FOLLOWER = "ML-cpu-vm-01", "ML-cpu-vm-05"
STUN = 1.5
OPTIONS = {"baseline": 1, "settle_timeout": 60}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two of seven VMs hold the nodes of one cluster; the first one was given the training."""
    topology = yaml.safe_load((ROOT / "lab" / "topologies" / "small.yml").read_text())
    node = {"heap_mb": 1024, "threads": 1, "nice": 10, "cloud": "vision"}
    for vm in topology["vms"]:
        if vm["name"] in (LEADER, FOLLOWER):
            train = {"train": {"algorithm": "gbm", "ntrees": 100_000}} if vm["name"] == LEADER else {}
            vm |= {"h2o3": node | train, "stun_seconds": STUN}
    path = tmp_path_factory.mktemp("topology") / "two.yml"
    path.write_text(yaml.safe_dump(topology))
    with running_lab("--topology", str(path)) as running:
        yield running


class Runs:
    """Moves single VMs of the lab."""

    def __init__(self, lab: Lab, run_module: RunModule, state_dir: Path) -> None:
        self.lab, self.run_module, self.state_dir = lab, run_module, str(state_dir)

    def move(self, vm: str, **options: Any) -> tuple[dict[str, Any], float]:
        """The result of ``vm_migrate`` and the true freeze."""
        plan = self.run_module("migration_plan", self.lab, vms=[vm], policy="other_only", state_dir=self.state_dir)
        result = self.run_module(
            "vm_migrate", self.lab, plan=plan["plan"], state_dir=self.state_dir, experiments={**OPTIONS, **options}
        )
        return result, self.lab.get("state")["moves"][-1]["freeze_seconds"]

    def evidence(self) -> dict[str, Any]:
        written = self.run_module("evidence_report", state_dir=self.state_dir)
        return dict(json.loads(Path(written["evidence_path"]).read_text()))


@pytest.fixture
def runs(lab: Lab, run_module: RunModule, tmp_path: Path) -> Runs:
    return Runs(lab, run_module, tmp_path)


def holds(stall: dict[str, Any], true: float, measured: Measured) -> None:
    """The stated interval contains the true freeze."""
    assert true <= stall["high"]
    with measured():
        assert stall["low"] <= true, (stall, true)


@pytest.mark.parametrize(
    ("moving", "resting"), [(FOLLOWER, LEADER), pytest.param(LEADER, FOLLOWER, marks=pytest.mark.thorough)]
)
def test_the_experiment_stalls_as_long_as_the_node_that_moves(
    runs: Runs, measured: Measured, moving: str, resting: str
) -> None:
    result, true = runs.move(moving, cluster_vms=["ML-*"])
    assert "msg" not in result, result["msg"]
    (judged,) = result["experiments"]
    assert (judged["vms"], judged["verdict"]) == ([moving, resting], "uninterrupted")
    holds(judged["longest_stall"], true, measured)
    assert [told["vms"] for told in result["owners"]["vision"]] == [[moving, resting]]

    evidence = runs.evidence()
    (experiment,) = evidence["experiments"]
    frozen, other = experiment["members"]
    holds(frozen["longest_stall"], true, measured)
    # The other node kept the question for the job waiting, and answered for itself.
    with measured():
        assert other["longest_stall"]["high"] < STUN, "only the frozen node has a long stall"
    assert re.search(
        rf" in {moving}, {resting} \(cluster .*\): no restart; same process, same job", evidence["statements"][0]
    )


def test_an_unwatched_node_leaves_the_experiment_unproved(runs: Runs) -> None:
    result, _true = runs.move(FOLLOWER)
    assert "msg" not in result, "what is not known harms nobody"
    (judged,) = result["experiments"]
    assert (judged["verdict"], judged["identity"]) == ("unknown", "proven")
    assert "1 of 2 nodes of vision-" in judged["detail"]


def test_nodes_are_found_by_the_addresses_they_name(lab: Lab) -> None:
    """In the lab all nodes are 127.0.0.1 to each other; a VM of that address is one that is asked."""
    env = lab.env
    endpoint = Endpoint(env["VMWARE_HOST"], env["VMWARE_USER"], env["VMWARE_PASSWORD"], int(env["VMWARE_PORT"]),
                        ca_path=env["SSL_CERT_FILE"])  # fmt: skip
    with connected(endpoint) as client:
        estate = VcenterSession(client).estate()
    by_name = {vm.name: vm for vm in estate.vms.values()}
    leader, follower = by_name[LEADER], by_name[FOLLOWER]
    settings = {name: option.get("default") for name, option in EXPERIMENT_OPTIONS.items()}
    settings["allowed_networks"] = ["127.0.0.0/8"]
    settings["addresses"] = {FOLLOWER: follower.guest_address}
    alone = Providers(settings).discover(estate, (leader.moid,)).experiments
    assert [e.vm_name for e in alone] == [LEADER]
    renamed = replace(estate, vms={**estate.vms, follower.moid: replace(follower, guest_address="127.0.0.1")})
    both = Providers(settings).discover(renamed, (leader.moid,)).experiments
    assert [e.vm_name for e in both] == [LEADER, FOLLOWER]
    assert both[0].id == both[1].id
    # Nodes may start in the same millisecond. So each is asked for its own identity.
    assert [e.process for e in both] == [identity(leader), identity(follower)]


def identity(vm: VmState) -> str:
    """The time at which the server in a VM started, in milliseconds, which it names in each answer."""
    with urllib.request.urlopen(f"http://{vm.guest_address}:54321/3/Ping", timeout=30) as answer:
        return str(answer.headers["X-h2o-cluster-id"])


def test_a_killed_node_is_a_lost_experiment(runs: Runs, lab: Lab, run_module: RunModule) -> None:
    runs.move(LEADER, cluster_vms=[FOLLOWER])
    lab.post(f"guests/{FOLLOWER}", action="kill")
    gone = run_module("experiment_wait", state_dir=runs.state_dir, wait_timeout=60)
    assert f" in {LEADER}, {FOLLOWER} (cluster " in gone["msg"]
    assert "): lost" in gone["msg"]
    assert f"{FOLLOWER}: port " in gone["msg"]
