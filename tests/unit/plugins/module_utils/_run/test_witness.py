# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A whole window, from the lock to the evidence, while a scripted somebody moves VMs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import CallFailed, ConnectError, RunBusy
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.document import evidence_of
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.report import render_html, render_markdown, title
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Verdict
from ansible_collections.liveml.vsphere.plugins.module_utils._run.journal import read_journal, utc_now
from ansible_collections.liveml.vsphere.plugins.module_utils._run.locks import run_lock
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import WitnessReport, WitnessRequest
from ansible_collections.liveml.vsphere.plugins.module_utils._run.sight import PATIENCE
from ansible_collections.liveml.vsphere.plugins.module_utils._run.sightings import LOOK_SECONDS, VM_DELETED
from ansible_collections.liveml.vsphere.plugins.module_utils._run.state import replay
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import moves_in_flight, runs_of
from ansible_collections.liveml.vsphere.plugins.module_utils._run.witness import (
    INTERRUPTED,
    harms_of,
    shortfalls_of,
    witness,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.news import PlacementUpdate
from jsonschema import validate

from tests.builders.estates import INFO
from tests.builders.journals import INTACT
from tests.doubles.elsewhere import Elsewhere, Step, arrives, ends, nothing, starts
from tests.doubles.run import Clock, Watching

SCHEMA = json.loads((Path(__file__).parents[5] / "docs/schema/evidence-1.0.json").read_text())
VMS = ("vm-1", "vm-2")


def witnessed(
    there: Elsewhere,
    state: Path,
    watching: Watching | None = None,
    *,
    seconds: float = 6,
    interrupted: Callable[[], bool] = lambda: False,
    select: Callable[[Any], tuple[str, ...]] = lambda _estate: VMS,
    **options: Any,
) -> WitnessReport:
    for folder in ("runs", "locks"):
        (state / folder).mkdir(exist_ok=True)
    clock = Clock()
    return witness(
        there,  # type: ignore[arg-type]
        watching or Watching("vm-1", "vm-2", verdict=Verdict.UNINTERRUPTED),  # type: ignore[arg-type]
        WitnessRequest(INFO, "ml", VMS, ("host-1", "host-2"), seconds, state, **options),
        there.estate(),
        select=select,
        listener=lambda _entry: None,
        interrupted=interrupted,
        clock=clock,
        sleep=clock.sleep,
    )


def evidence(report: WitnessReport) -> dict[str, Any]:
    entries = read_journal(report.folder / "journal.jsonl").entries
    document: dict[str, Any] = evidence_of(entries, {}, INTACT)  # type: ignore[assignment,arg-type]
    validate(document, SCHEMA)
    render_html(document)  # type: ignore[arg-type]
    return document


def test_every_move_in_the_window_is_evidence_with_who_moved_it(tmp_path: Path) -> None:
    there = Elsewhere(
        starts("vm-1", "task-1"), arrives("vm-1", "host-3"), nothing, arrives("vm-2", "host-3", by="ada"),
        starts("vm-1", "task-2"), arrives("vm-1", "host-2", by="ada"),
    )  # fmt: skip
    report = witnessed(there, tmp_path)
    assert not shortfalls_of(report)
    document = evidence(report)
    by_number = sorted(document["moves"], key=lambda move: move["number"])
    assert [(m["vm"], m["source"], m["target"], m["result"], m["by"]) for m in by_number] == [
        ("ml-1", "esx-1", "esx-3", "moved", "DRS"),
        ("ml-2", "esx-2", "esx-3", "moved", "ada"),
        ("ml-1", "esx-3", "esx-2", "moved", "ada"),
    ]
    assert {p["host"]: (p["before"], p["after"]) for p in document["placement"]} == {
        "esx-1": (["ml-1"], []), "esx-2": (["ml-2"], ["ml-1"]), "esx-3": ([], ["ml-2"]),
    }  # fmt: skip
    assert document["overall"]["verdict"] == "uninterrupted"
    assert document["overall"]["statement"].endswith("3 moves of 2 VMs seen.")
    assert title(document) == "Witness of ml"  # type: ignore[arg-type]
    assert document["left_behind"] == []
    assert "Part of the window" not in [gap["what"] for gap in document["gaps"]]


def test_a_witness_is_no_run_that_moves(tmp_path: Path) -> None:
    """What it leaves behind, ended or killed, changes no later plan, home or resume."""
    report = witnessed(Elsewhere(starts("vm-1", "task-1"), arrives("vm-1", "host-3")), tmp_path)
    assert report.folder.name.split("-")[1] == "witness"
    state = replay(read_journal(report.folder / "journal.jsonl").entries)
    assert state is not None
    assert (state.finished, dict(state.moves), state.homes) == (True, {}, ())
    assert moves_in_flight(runs_of(tmp_path, "uuid")) == {}


def test_an_interruption_ends_the_window_and_is_said(tmp_path: Path) -> None:
    asked = iter([False, False, True])
    there = Elsewhere(starts("vm-1", "task-1"))
    report = witnessed(there, tmp_path, seconds=600, interrupted=lambda: next(asked, True))
    assert report.cut == INTERRUPTED
    assert shortfalls_of(report) == (f"the window was cut after {report.seconds:.0f} s: {INTERRUPTED}",)
    verdicts = {j.experiment.vm: (j.verdict, j.stall) for j in report.judgements}
    assert verdicts == {"vm-1": (Verdict.UNKNOWN, "unknown"), "vm-2": (Verdict.UNINTERRUPTED, "proven")}
    document = evidence(report)
    assert document["run"]["result"] == "failed"
    assert document["run"]["window"]["cut"] == INTERRUPTED
    assert f"of 600 s: {INTERRUPTED}." in document["overall"]["statement"]
    assert document["moves"][0]["result"] == "unfinished"
    gaps = {gap["what"] for gap in document["gaps"]}
    assert gaps >= {"What else happened during the window", "Where the VM is"}
    assert "The window was cut" in render_markdown(document)  # type: ignore[arg-type]


def test_a_vcenter_that_answers_no_more_cuts_the_window(tmp_path: Path) -> None:
    def fail(_there: Elsewhere) -> None:
        raise ConnectError("vCenter did not answer for 300 s", hint="Look at it")

    report = witnessed(Elsewhere(nothing, fail), tmp_path, seconds=600)
    assert report.cut == "vCenter did not answer for 300 s"
    assert evidence(report)["run"]["result"] == "failed"


@pytest.mark.parametrize(("failures", "cut"), [(1, ""), (2, ""), (999, "vCenter could not read the inventory")])
def test_a_read_that_fails_is_repeated_before_it_cuts_the_window(tmp_path: Path, failures: int, cut: str) -> None:
    def fail(_there: Elsewhere) -> None:
        raise CallFailed("vCenter could not read the inventory", fault="SystemError")

    report = witnessed(Elsewhere(nothing, *[fail] * failures, arrives("vm-1", "host-2")), tmp_path, seconds=600)
    assert report.cut == cut
    assert [str(end.result) for end in report.ended] == ([] if cut else ["moved"])
    assert report.seconds < 600 + 3 * LOOK_SECONDS
    assert (report.seconds >= PATIENCE) or not cut


def test_a_move_in_flight_when_the_window_ends_is_seen_through(tmp_path: Path) -> None:
    steps: list[Step] = [nothing, nothing, starts("vm-1", "task-1"), *[nothing] * 5, arrives("vm-1", "host-2")]
    report = witnessed(Elsewhere(*steps), tmp_path, seconds=3 * LOOK_SECONDS)
    assert [str(end.result) for end in report.ended] == ["moved"]
    assert not shortfalls_of(report)


def test_a_vm_that_is_restarted_in_the_window_makes_the_witness_fail(tmp_path: Path) -> None:
    def restarts(there: Elsewhere) -> None:
        there.booted["vm-1"] = utc_now()

    there = Elsewhere(nothing, restarts, arrives("vm-2", "host-3", by="vSphere HA"))
    there.booted = dict.fromkeys(("vm-1", "vm-2"), "2026-01-01T00:00:00.000Z")
    report = witnessed(there, tmp_path, Watching())
    assert harms_of(report) == (
        "vSphere HA restarted ml-2 on esx-3, because its host, network or storage had failed",
        "ml-1 was powered on again during the run, so that what ran in it has ended",
    )
    assert not shortfalls_of(report)
    document = evidence(report)
    assert document["run"]["result"] == "failed"
    assert document["overall"]["statement"].endswith("0 moves of 1 VM seen. Restarted by vSphere HA: ml-2.")


def test_a_vm_that_is_deleted_in_the_window_is_named(tmp_path: Path) -> None:
    report = witnessed(Elsewhere(nothing, lambda there: there.at.pop("vm-2")), tmp_path)
    assert report.noticed == {"ml-2": (VM_DELETED,)}
    assert 6 <= report.seconds < 6 + 3 * LOOK_SECONDS


def test_a_vm_whose_host_is_hidden_in_the_window_is_named_once_and_not_called_deleted(tmp_path: Path) -> None:
    class Hiding(Elsewhere):
        def placement(self, vms: Iterable[str]) -> dict[str, PlacementUpdate]:
            seen = super().placement(vms)
            hidden = {"vm-2": PlacementUpdate("vm-2", None, unknown="vCenter does not say it")}
            return seen | (hidden if not self.steps and "vm-2" in seen else {})

    report = witnessed(Hiding(nothing, nothing), tmp_path)
    assert report.noticed == {"ml-2": ("vCenter does not say it",)}
    assert not report.ended


def test_what_comes_in_the_window_is_named(tmp_path: Path) -> None:
    there = Elsewhere(lambda there: there.at.update({"vm-3": "host-1"}))

    class Later(Watching):
        asked = 0

        def discover(self, estate: Any, vms: tuple[str, ...]) -> Any:
            self.asked += 1
            self.harmed = ("vm-1",) if self.asked == 1 else ("vm-1", "vm-2", "vm-3")
            return super().discover(estate, vms)

    report = witnessed(there, tmp_path, Later(verdict=Verdict.UNINTERRUPTED), select=lambda estate: tuple(estate.vms))
    began = "the experiment began during the window, and was not watched: job"
    assert report.noticed == {
        "ml-2": (began,),
        "ml-3": ("the VM came during the window, and was not watched", began),
    }
    gaps = {gap["why"]: gap["vms"] for gap in evidence(report)["gaps"] if gap["what"] == "Part of the window"}
    assert gaps == {began: ["ml-2", "ml-3"], "the VM came during the window, and was not watched": ["ml-3"]}


def test_a_move_that_only_the_events_name_is_said(tmp_path: Path) -> None:
    def there_and_away(there: Elsewhere) -> None:
        arrives("vm-1", "host-2")(there)
        arrives("vm-1", "host-3")(there)

    report = witnessed(Elsewhere(there_and_away, arrives("vm-2", "host-1")), tmp_path)
    assert len(report.ended) == 2
    assert report.noticed == {"ml-1": ("vCenter's events name 2 moves of the VM; seen: 1",)}


def test_the_window_ends_when_every_host_came_back(tmp_path: Path) -> None:
    def maintained(inside: bool) -> Step:
        return lambda there: there.maintenance.update({"host-1": inside, "host-2": inside})

    steps = [maintained(True), *[nothing] * 6, maintained(False)]
    report = witnessed(Elsewhere(*steps), tmp_path, seconds=600, until_returned=True)
    assert report.seconds < 30
    assert not shortfalls_of(report)
    assert "esx-1 was seen in maintenance mode at " in evidence(report)["fence"]

    late = witnessed(Elsewhere(maintained(True)), tmp_path, until_returned=True)
    assert shortfalls_of(late) == tuple(
        f"{name} was not seen to enter maintenance mode and come back" for name in ("esx-1", "esx-2")
    )
    assert evidence(late)["run"]["result"] == "failed"


def test_one_process_at_a_time_witnesses_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    (tmp_path / "locks").mkdir()
    key = WitnessRequest(INFO, "ml", VMS, (), 1, tmp_path).key
    with run_lock(tmp_path, key, timeout=1), pytest.raises(RunBusy):
        witnessed(Elsewhere(), tmp_path)


def test_a_witness_ends_with_the_figures_of_what_it_saw_and_leaves_nothing_behind(tmp_path: Path) -> None:
    there = Elsewhere(
        starts("vm-1", "task-1"), arrives("vm-1", "host-3"), starts("vm-2", "task-2"), ends("vm-2", "task-2", state="error"), nothing,
        arrives("vm-1", "host-2"),
    )  # fmt: skip
    report = witnessed(there, tmp_path, seconds=8)
    assert 8 <= report.seconds < 9.5
    last = read_journal(report.folder / "journal.jsonl").entries[-1].event.to_json()
    assert (last["moved"], last["failed"], last["left_behind"]) == (2, 1, 0)


def test_a_vm_whose_host_vcenter_never_shows_is_named(tmp_path: Path) -> None:
    """Its moves cannot be seen, which is not the same as that it did not move."""
    there = Elsewhere()
    there.placement = lambda vms: {  # type: ignore[method-assign]
        vm: PlacementUpdate(vm, None, unknown="its host is hidden") if vm == "vm-1" else PlacementUpdate(vm, "host-2")
        for vm in vms
    }
    report = witnessed(there, tmp_path)
    assert report.noticed == {"ml-1": ("its host is hidden",)}
    assert [row["detail"] for row in evidence(report)["noticed"]] == ["its host is hidden"]
