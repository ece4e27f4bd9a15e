# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`make live`: a real guest with a real training moves by real live migrations, and what the collection states is true."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Verdict

from benchmarks.live_moves import AWAY, HOME, SOURCE, VM
from tests.labs import play
from tests.live.real import EVERYTHING, Real, real_lab
from tests.measuring import until

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(
        not EVERYTHING, reason="only a sample of the moves of real VMs is run; make live runs all of them"
    ),
]
EXPERIMENTS = {"h2o3": False, "sources": [SOURCE]}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    with real_lab(tmp_path_factory.mktemp("live"), others=1, dirty_mb_s=5) as real:
        yield real
        assert real.metric("memory_errors_total") == 0, "the hypervisor lost memory"


def evidence(state_dir: Path, purpose: str) -> dict:
    folder = max((state_dir / "runs").glob(f"*-{purpose}-*"))
    return json.loads((folder / "evidence.json").read_text())


def test_the_playbooks_evacuate_and_restore_a_host_with_a_real_vm(real: Real, tmp_path: Path) -> None:
    steps = real.steps()
    for purpose, host in (("evacuate", AWAY), ("restore", HOME)):
        variables = {f"{purpose}_host_name": HOME, f"{purpose}_host_experiments": EXPERIMENTS}
        out = play(f"{purpose}_host", real.lab, tmp_path, **variables)
        assert out.returncode == 0, out.stdout
        assert real.state()["host"] == host
        document = evidence(tmp_path, purpose)
        (experiment,) = document["experiments"]
        assert f"{VM} by {real.state()['guest']['hypervisor']}, live migration" in document["vcenter"]["product"]
        assert (experiment["vm"], experiment["verdict"]) == (VM, "uninterrupted")
        assert experiment["progress_after"] >= experiment["progress_before"]
        assert real.truth().passes >= 2, "memory was copied again while the training ran"
    assert real.steps() > steps


@pytest.mark.parametrize("hold", [0.05, 0.5, 2.0, 4.0])
def test_a_freeze_is_judged(real: Real, hold: float) -> None:
    before = real.metric("process_start_time_seconds"), real.steps()
    watched = real.judged(hold, f"hold-{hold}")
    judgement, truth = watched.judgement, watched.truth
    print(f"held {hold} s: {truth}, stated {judgement.longest_stall}, {judgement.verdict.value}")
    assert truth.freeze >= hold
    assert judgement.longest_stall is not None
    assert judgement.longest_stall.low <= truth.longest, (truth, judgement.longest_stall)
    assert truth.freeze <= judgement.longest_stall.high, (truth, judgement.longest_stall)
    assert judgement.verdict is Verdict.UNINTERRUPTED, (truth, judgement)
    assert real.metric("process_start_time_seconds") == before[0]
    assert real.steps() > before[1]


def trains_on_at(real: Real, host: str) -> None:
    """The VM is there, and its training answers and makes steps."""
    assert real.state()["host"] == host
    assert real.state()["guest"]["state"] == "running"
    steps = real.steps()
    until(lambda: real.steps() > steps)


def in_mid_copy(real: Real) -> int:
    """Start a move over a slow link; return its place in the lab's list when memory is being copied."""
    real.lab.post("link", mbit=100)
    number = real.begin_move(AWAY if real.state()["host"] == HOME else HOME)
    until(lambda: real.lab.get("state")["moves"][number]["started"])
    time.sleep(2)
    assert not real.lab.get("state")["moves"][number]["finished"]
    return number


def test_a_target_that_dies_in_mid_copy_leaves_the_vm_at_the_source(real: Real) -> None:
    home = real.state()
    number = in_mid_copy(real)
    real.lab.post(f"guests/{VM}", action="kill_target")
    record = real.end_of(number)
    real.lab.post("link", mbit=10_000)
    assert (record["result"], record["error"]) == ("error", "GenericVmConfigFault")
    assert record["freeze_seconds"] is None, "the VM was never stopped"
    trains_on_at(real, home["host"])
    assert real.state()["guest"]["pid"] == home["guest"]["pid"]


def test_a_target_that_dies_in_the_switch_over_brings_the_vm_back(real: Real) -> None:
    home = real.state()
    real.lab.post(f"guests/{VM}", action="hold", seconds=1.5)
    number = real.begin_move(AWAY if home["host"] == HOME else HOME)
    until(lambda: real.state()["guest"]["beat_seconds_ago"] > 0.7)
    real.lab.post(f"guests/{VM}", action="kill_target")
    record = real.end_of(number)
    assert record["result"] == "error"
    assert record["freeze_seconds"] > 0.7, "it stood still, and the lab says so"
    trains_on_at(real, home["host"])


def test_a_cancelled_evacuation_leaves_the_vm_training_at_the_source(real: Real, tmp_path: Path) -> None:
    host = real.state()["host"]
    real.lab.post("link", mbit=50)
    variables = {
        "evacuate_host_name": host,
        "evacuate_host_experiments": EXPERIMENTS,
        "evacuate_host_timeout_floor": 1.0,
        "evacuate_host_timeout_per_gib": 8.0,
        "evacuate_host_retries": 0,
    }
    out = play("evacuate_host", real.lab, tmp_path, **variables)
    real.lab.post("link", mbit=10_000)
    assert out.returncode != 0, "a move that takes too long is cancelled"
    move = next(m for m in real.lab.get("state")["moves"][::-1] if m["vm"] == VM)
    assert move["result"] == "cancelled", move
    trains_on_at(real, host)
    (experiment,) = evidence(tmp_path, "evacuate")["experiments"]
    assert (experiment["vm"], experiment["verdict"]) == (VM, "uninterrupted")


def test_a_frozen_or_dead_vm_stays_on_one_side(real: Real) -> None:
    host = real.state()["host"]
    other = AWAY if host == HOME else HOME
    real.lab.post(f"guests/{VM}", action="freeze")
    assert real.end_of(real.begin_move(other))["result"] == "error"
    real.lab.post(f"guests/{VM}", action="thaw")
    trains_on_at(real, host)
    number = in_mid_copy(real)
    real.lab.post(f"vms/{VM}", action="power_off")
    record = real.end_of(number)
    real.lab.post("link", mbit=10_000)
    assert (record["result"], real.state()["host"], real.state()["guest"]["state"]) == ("error", host, "dead")
    assert real.end_of(real.begin_move(other))["result"] == "success", "a VM that is off is moved without its memory"
    assert real.state()["host"] == other
    real.lab.post(f"vms/{VM}", action="power_on")
    real.lab.post(f"guests/{VM}", action="restart")
    until(lambda: "steps" in real.state()["guest"])
    trains_on_at(real, other)
