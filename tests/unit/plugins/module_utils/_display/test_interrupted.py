# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The last lines of an interrupted playbook, for each way in which a run may stand."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.liveml.vsphere.plugins.module_utils._display.interrupted import last_lines
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Verdict
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import Purpose
from ansible_collections.liveml.vsphere.plugins.module_utils._run.overview import RunOverview, RunStatus, Tally

COMMAND = "ansible-playbook liveml.vsphere.evacuate_host -e evacuate_host_name=esx-05"
RUN = RunOverview(
    run_id="r1", purpose=Purpose.EVACUATE, subject="Evacuation of esx-05", host="esx-05", status=RunStatus.RUNNING,
    result="unfinished", started="2026-01-31T09:00:00.000Z", ended=None, vms=10, moved=2, stopping=True, silent=0.0,
    in_flight=("ML-1", "ML-2"), waiting=("ML-9",), left_behind=(), restarted=(), experiments=(), fenced=True, fence_unknown=False, pinned=("ML-1", "ML-2", "ML-3"), pid=4711, command=COMMAND,
)  # fmt: skip
BACK = "ansible-playbook liveml.vsphere.restore_host -e restore_host_name=esx-05"
STATUS = "See how things stand: ansible-playbook liveml.vsphere.status"
FENCED = "esx-05 is fenced by this run, and stays fenced: no VM can be placed on it."
PAGE = "/runs/r1/report.html"


def test_a_run_that_goes_on() -> None:
    found = (Tally("ML-1", "GBM gbm_1", None, 0.12), Tally("ML-2", "GBM gbm_2", Verdict.UNINTERRUPTED, 0.5))
    assert last_lines([(replace(RUN, experiments=found), PAGE)]) == [
        "Evacuation of esx-05 was interrupted. 2 of 10 moves are done, and no other starts.",
        "In flight: ML-1, ML-2. These moves were not cancelled: vCenter finishes them. Not begun: ML-9.",
        FENCED,
        "Excluded from DRS until the run is resumed: ML-1, ML-2, ML-3.",
        "Experiments, as last seen: GBM gbm_1 in ML-1 at 12 %.",
        "Process 4711 on this machine watches the experiments until these moves have ended, also if this terminal is closed.",
        f"Live page: {PAGE}",
        "See how far these moves are: ansible-playbook liveml.vsphere.status",
        f"Either continue (waits for these moves, at most 10 minutes): {COMMAND}",
        f"or lift the fence and bring the VMs back (waits likewise): {BACK}",
    ]


def test_a_process_that_has_not_answered_is_not_said_to_have_stopped() -> None:
    first = last_lines([(replace(RUN, stopping=False), "")])[0]
    assert first == (
        "Evacuation of esx-05 was interrupted. 2 of 10 moves are done, and its process was asked to start no other."
    )


def test_while_vcenter_does_not_answer_what_is_in_flight_is_unknown() -> None:
    lines = last_lines([(replace(RUN, silent=34.6), "")])
    assert (
        lines[1]
        == "Unknown: vCenter did not answer for 35 s. In flight when it last answered: ML-1, ML-2. Not begun: ML-9."
    )
    assert lines[4] == "Process 4711 ends in a few seconds unless vCenter answers."
    ended = last_lines([(replace(RUN, silent=34.6, status=RunStatus.INTERRUPTED, pid=None), "")])
    assert ended[1] == lines[1]
    assert ended[4] == "No process watches the experiments."


def test_before_a_run_all_four_things_are_said() -> None:
    assert last_lines([]) == [
        "The playbook was interrupted before its run began. No move is in flight, it has not fenced a host, and no process "
        "watches. To continue, run the same command again.",
        STATUS,
    ]


def test_a_run_whose_process_has_ended() -> None:
    ended = replace(RUN, status=RunStatus.INTERRUPTED, in_flight=(), waiting=(), fenced=False, pinned=(), pid=None)
    assert last_lines([(ended, "")])[1:] == [
        "No move is in flight.",
        "This run has not fenced esx-05. How it is now was not read.",
        "No process watches the experiments.",
        STATUS,
        f"Either continue: {COMMAND}",
        f"or bring the VMs back: {BACK}",
    ]


def test_a_fence_whose_end_was_not_seen_is_unknown() -> None:
    for fenced in (True, False):
        lines = last_lines([(replace(RUN, fenced=fenced, fence_unknown=True), "")])
        assert [line for line in lines if "fenced" in line] == [
            "Whether esx-05 is fenced is unknown: this run has begun to fence it or to lift its fence, and has not seen the end."
        ]
    assert not any("fenced" in line for line in last_lines([(replace(RUN, host="", fence_unknown=True), "")]))


def test_a_move_of_vms_fences_nothing_and_a_witness_has_no_command() -> None:
    lines = last_lines([(replace(RUN, host="", command="", fenced=False, pid=0), "")])
    assert not any("fenced" in line or "continue" in line for line in lines)
    assert any(line.startswith("The process of the run on this machine watches the experiments") for line in lines)
    move = replace(RUN, host="", purpose=Purpose.MIGRATE, in_flight=(), status=RunStatus.INTERRUPTED)
    assert last_lines([(move, "")])[-1] == f"Continue: {COMMAND}"


def test_a_run_that_had_ended_is_told_as_it_ended() -> None:
    ended = replace(
        RUN, status=RunStatus.FINISHED, result="success", ended="2026-01-31T09:12:31.000Z", moved=10, pinned=()
    )
    first, *middle, last, status = last_lines([(replace(ended, in_flight=()), "")])
    assert first == (
        "Evacuation of esx-05: succeeded at 2026-01-31 09:12:31 UTC. 10 of 10 VMs moved. The playbook was interrupted after that."
    )
    assert middle == [
        "No move is in flight, and no process watches the experiments: their verdicts are reached.",
        FENCED,
    ]
    assert (last, status) == (f"To finish it: {COMMAND}", STATUS)
