# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each verdict and each failure means for the training, and what to do next. Pure.

The last lines of a playbook, report, Markdown and the artifact take their sentences from here. An experiment is given
as a row, as ``vm_migrate`` returns it. ``evidence_report`` adds what only the samples show: ``description``, ``watched_seconds``,
``stall_budget``, ``recoverable`` and ``recovery``, ``names_process``, and ``last_seen``, ``fell_to`` and ``latest``, which are
progress at a time: before it went back, after that, and at the end. ``reached`` is when the progress of ``latest`` was seen first, and
``quiet_seconds`` for how long no progress was sampled at the end. ``since_move`` is in words how long after the begin of its move it was last
seen to work, ``lost_seconds`` how long the work took that is done again, and ``error`` what its server says of its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .standing import (
    ALL_DONE,
    AS_USUAL,
    JOB_GONE,
    JOB_IS,
    JOB_UNKNOWN,
    NO_ANSWER,
    REFUSES,
    UNREADABLE,
    at_text,
    facts_of,
    has_reason,
)
from .wording import at_most, experiment_name, fitted, percent, seconds, stall_text

Row = Mapping[str, Any]
GOOD = ("uninterrupted", "completed")


@dataclass(frozen=True, slots=True)
class Advice:
    """What something means for the training, and what to do next."""

    means: str
    do: str

    @property
    def text(self) -> str:
        """Both."""
        return f"{self.means} {self.do}"


VERDICTS: Mapping[str, Advice] = {
    "uninterrupted": Advice(
        "The training continued, and no progress was lost.",
        "You do not have to do anything.",
    ),
    "completed": Advice(
        "The training ran to its end while it was watched.",
        "Fetch its result as usual. You do not have to do anything else.",
    ),
    "stalled": Advice(
        "The training stood still for longer than allowed. No restart and no loss of progress was seen.",
        "Do not start it again. Check that it still makes progress, and that scripts that wait for it still run.",
    ),
    "restarted": Advice(
        "The training did not continue as it was.",
        "Let it run. Compare your newest checkpoint with the progress that the training shows when you look: only if the checkpoint is "
        "further, stop the training and start it again from it.",
    ),
    "lost": Advice(
        "The training stopped, and nothing continued it while it was watched. Whether the move was the cause is not known.",
        "Make sure that its process is gone. Then start it again, from a checkpoint if it has one.",
    ),
    "failed": Advice(
        "The training ended with an error or was cancelled, as its server reports. Whether the move was the cause is not known.",
        "Read the error in its log and remove the cause. Then start it again, from a checkpoint if it has one.",
    ),
    "unknown": Advice(
        "It is not known whether the training was interrupted.",
        "Look at the training twice, a minute apart. If it makes progress, let it run. If not, stop it and start it again, from a checkpoint "
        "if it has one. If you cannot reach it either, call the operators.",
    ),
}
# Of one experiment, and of several.
VERDICT_WORDS: Mapping[str, tuple[str, str]] = {
    "lost": ("was lost", "were lost"),
    "failed": ("failed", "failed"),
    "restarted": ("was restarted", "were restarted"),
    "stalled": ("stalled beyond the budget", "stalled beyond the budget"),
    "unknown": ("could not be judged", "could not be judged"),
    "completed": ("ran to completion", "ran to completion"),
    "uninterrupted": ("was uninterrupted", "were uninterrupted"),
}
NO_EXPERIMENT = Advice(
    "No experiment was observed, so nothing is known about trainings in these VMs.",
    "If you train in one of them, check your training yourself, and give the operator the address of its server.",
)
_IF_ALIVE = "If it makes progress, let it run."
_CHECKPOINT = ", from a checkpoint if it has one"
_PROCESS_GONE = "Make sure that its process is gone. Then start it again"
_START = {
    REFUSES: "Start it again: make sure that its old process is gone, start a server first, and then the training",
    JOB_UNKNOWN: "Start it again on the server that answers now",
}
_ALL_STEPS = (
    "All its steps are done. Look whether its result is there, and whether it still writes it. Only if neither is so, start it again, "
    "from a checkpoint if it has one."
)
_STATES = {
    "FAILED": "ended with an error (FAILED)",
    "CANCELLED": "was cancelled (CANCELLED)",
    "CANCEL_PENDING": "is being cancelled (CANCEL_PENDING)",
}
_LAST_QUESTION = {
    NO_ANSWER: NO_ANSWER,
    REFUSES: "at the end, its server's port refused connections",
    UNREADABLE: "the last answer could not be used",
    JOB_GONE: "at the end, its server no longer knew the job",
}
MAX_ERROR = 160  # characters of what a server says of the end of a job


class Failure(StrEnum):
    """A way in which a run can fail."""

    CANNOT_LEAVE = "a VM cannot leave"
    PLAN_REFUSED = "the plan was refused"
    OPTION = "an option does not fit"
    BUSY = "another run works for the host"
    CONNECTION = "vCenter cannot be used"
    LOGIN = "vCenter refused the login"
    STATE = "the journal cannot be written"
    ERROR = "an error"
    NOT_MOVED = "VMs were not moved"
    GONE = "a VM is no longer in vCenter"
    RESTARTED = "a VM was restarted"
    ROLLED_BACK = "the run was rolled back"
    INTERRUPTED = "the verdict of an experiment"
    MAINTENANCE = "maintenance mode was not entered"
    FENCE = "the fence could not be lifted"
    NOT_HOME = "not every VM is home"
    EVIDENCE = "the evidence could not be written"
    CHANGED = "the record was changed"
    UNFINISHED = "the run has not ended"


_AGAIN = "Then run the same command again"
FAILURES: Mapping[Failure, Advice] = {
    Failure.CANNOT_LEAVE: Advice(
        "A VM cannot leave, and the others were not moved without it.",
        f"Change what keeps the VM there, as the line above says. {_AGAIN}.",
    ),
    Failure.PLAN_REFUSED: Advice(
        "The plan was refused. The message above says why.",
        f"Remove the reason. {_AGAIN}; where plans are approved, have the new plan approved first.",
    ),
    Failure.OPTION: Advice(
        "Nothing was changed, because an option does not fit.",
        "Correct the option that the message names, and run the command again.",
    ),
    Failure.BUSY: Advice(
        "Another process works for the same host or VM.",
        f"Wait until it has ended; ansible-playbook liveml.vsphere.status shows it. {_AGAIN}.",
    ),
    Failure.CONNECTION: Advice(
        "vCenter could not be used. Trainings continue without it; a move that had begun may still end.",
        f"Restore the connection. {_AGAIN}: it continues where it stopped.",
    ),
    Failure.LOGIN: Advice(
        "vCenter refused the login. Trainings continue without it.",
        f"Correct user and password first, because more attempts may lock the account. {_AGAIN}.",
    ),
    Failure.STATE: Advice(
        "The journal could not be written, so no further move was started.",
        f"Make room in the state directory, or correct its permissions. {_AGAIN}: it continues where it stopped.",
    ),
    Failure.ERROR: Advice(
        "An error ended this call. The message above says what went wrong.",
        f"Correct it. {_AGAIN}: it continues where it stopped.",
    ),
    Failure.NOT_MOVED: Advice(
        "Some VMs were not moved. The verdicts say how their trainings are.",
        f"Remove the reasons that the report names. {_AGAIN}: it moves only what is left.",
    ),
    Failure.GONE: Advice(
        "A VM is no longer in vCenter, so nothing is known about a training in it.",
        "Find out who deleted or unregistered it, or moved it to another vCenter.",
    ),
    Failure.RESTARTED: Advice(
        "A VM was restarted: vSphere HA does that if a host fails. What ran in the VM has ended.",
        f"Find out who restarted it, or why the host failed, and start in the VM what does not start by itself. {_AGAIN}: it does what is left.",
    ),
    Failure.ROLLED_BACK: Advice(
        "The run failed and moved VMs back to where it had found them.",
        f"Remove the cause. {_AGAIN}.",
    ),
    Failure.INTERRUPTED: Advice(
        "The verdict of an experiment makes the run fail. The line of the experiment says which.",
        "Inform its owner. Do not wait for that, but run the same command again now: it does what is left.",
    ),
    Failure.MAINTENANCE: Advice(
        "The moves are done, but the host did not enter maintenance mode.",
        f"Remove what prevents it, as the message above says. {_AGAIN}.",
    ),
    Failure.FENCE: Advice(
        "The fence of the host was not seen to be lifted. While it is there, no VM can move to the host.",
        "Take the host out of maintenance mode in vCenter, or run the restore of the host.",
    ),
    Failure.NOT_HOME: Advice(
        "Some VMs are not home. The verdicts say how their trainings are.",
        f"Remove the reasons above. {_AGAIN}: it moves only what is left.",
    ),
    Failure.EVIDENCE: Advice(
        "The evidence could not be written, signed or verified, so do not rely on it as a proof.",
        "Read above why. The journal is still in the folder of the run.",
    ),
    Failure.CHANGED: Advice(
        "The record was changed after the run, so it does not prove anything about a training.",
        "Keep its folder as it is, find out who changed it, and check the trainings themselves.",
    ),
    Failure.UNFINISHED: Advice(
        "The run was interrupted and has not ended. Moves may still be in flight.",
        "Run the same command again: it continues the run, and moves only what is left.",
    ),
}
# By the class of the error with which a module fails.
_OF_ERRORS = {
    "Ambiguous": Failure.OPTION,
    "NotFound": Failure.OPTION,
    "PlanRefused": Failure.PLAN_REFUSED,
    "RunBusy": Failure.BUSY,
    "ConnectError": Failure.CONNECTION,
    "LoginRefused": Failure.LOGIN,
    "StateUnwritable": Failure.STATE,
}


def failure_of_error(error: str) -> Failure:
    """The failure of a module that failed with an error of this class."""
    return _OF_ERRORS.get(error, Failure.ERROR)


def title_of(row: Row) -> str:
    """Name and place of an experiment, ``GBM gbm_1 in ML-cpu-vm-04``."""
    vms = list(row.get("vms") or [row["vm"]["name"] if isinstance(row.get("vm"), Mapping) else row["vm_name"]])
    cluster = f" (cluster {row['cluster']})" if row.get("cluster") else ""
    return f"{experiment_name(row.get('description') or '', row['id'])} in {', '.join(vms)}{cluster}"


def stall_of(row: Row) -> str:
    """The longest stall of an experiment, beside the time that it was watched."""
    return stall_text(row.get("longest_stall"), row.get("watched_seconds"), row.get("watched_after_move"))


def reason_of(row: Row) -> str:
    """What led to a verdict that is not good, as a sentence; "" if nothing more is known."""
    # It may begin with the name of a VM, whose first letter must stay as it is.
    return f"What was seen: {row['detail']}." if row.get("detail") and row["verdict"] not in GOOD else ""


def means_of(row: Row) -> str:
    """What the verdict means for the training, with what its server reports of its end."""
    means = VERDICTS[row["verdict"]].means
    state = next((words for status, words in _STATES.items() if f"{JOB_IS}{status}" in _parts(row)), "")
    if row["verdict"] != "failed" or not state:
        return means
    return means.replace("ended with an error or was cancelled", state)


def seen_of(row: Row) -> str:
    """What was seen of an experiment, beyond its verdict; whether it is alive and what was lost come first if it is not well."""
    facts = [] if row["verdict"] in GOOD else [f"{name}: {fact}." for name, fact in facts_of(row)]
    return " ".join(filter(None, (*facts, more_of(row))))


def more_of(row: Row) -> str:
    """What was seen of an experiment beyond the facts, and with all that is proven although the verdict is not good."""
    sentences = {
        "stalled": _stalled,
        "restarted": _restarted,
        "lost": _ended,
        "failed": _failed,
        "unknown": _unknown,
    }.get(row["verdict"], _continued)
    return " ".join(sentences(row))


def do_of(row: Row) -> str:
    """What to do about an experiment."""
    recoverable, recovery = row.get("recoverable"), row.get("recovery") or ""
    where = f" ({recovery})" if recovery else ""
    done = row["verdict"] == "unknown" and any(has_reason(row.get("detail"), why) for why in (ALL_DONE, AS_USUAL))
    text = _ALL_STEPS if done else VERDICTS[row["verdict"]].do
    text = text.replace(
        _PROCESS_GONE, next((do for end, do in _START.items() if has_reason(row.get("detail"), end)), _PROCESS_GONE)
    )
    if (row.get("last_seen") or {}).get("progress"):
        further = f"If it is further than {percent(row['last_seen']['progress'])}, or makes progress, let it run."
        text = text.replace(_IF_ALIVE, further)
    if recoverable == "no":
        return text.replace(_CHECKPOINT, " from the beginning")
    if recoverable == "yes":
        text = text.replace(_CHECKPOINT, f" from its newest checkpoint, if there is one{where}")
        return text.replace("your newest checkpoint", f"your newest checkpoint{where}")
    return text


def _parts(row: Row) -> list[str]:
    """The parts of the reason of a verdict."""
    return str(row.get("detail") or "").split("; ")


def _continued(row: Row) -> Iterator[str]:
    progress = _progress(row)
    yield f"{_stall_sentence(row)}{f', progress {progress}' if progress else ''}."
    if row.get("unwatched_seconds"):
        yield f"It was not watched for {seconds(row['unwatched_seconds'])}: a stall in that time would not have been seen."


def _stalled(row: Row) -> Iterator[str]:
    budget, progress = row.get("stall_budget"), _progress(row)
    yield f"{_stall_sentence(row)}{'' if budget is None else f'; {seconds(budget)} were allowed'}."
    if progress and row.get("progress_claim") == "proven":
        yield f"It continued after that: progress {progress}."
    elif progress:
        yield f"Progress {progress}."


def _restarted(row: Row) -> Iterator[str]:
    seen, later, latest = row.get("last_seen"), row.get("fell_to"), row.get("latest")
    if seen and later:
        works = latest is not None and latest["progress"] > later["progress"]
        between = f"the work from {percent(later['progress'])} to {percent(seen['progress'])}"
        work = f"{between} is done again" if works else f"{between} was lost"
        yield f"It was seen at {at_text(seen)}, and later at {at_text(later)}: {work}."


def _ended(row: Row) -> Iterator[str]:
    if has_reason(row.get("detail"), REFUSES):
        yield "No server listens at its port any more, and no error of the job was reported."
    elif has_reason(row.get("detail"), JOB_UNKNOWN):
        yield "Its server was replaced: only another process answers."
    yield from _since_move(row, "was last seen")


def _failed(row: Row) -> Iterator[str]:
    """Its server may answer long after the job has failed, so the last time that it was seen says nothing."""
    yield from _since_move(row, "stopped")
    if row.get("error"):
        yield f'Its server answers, and says of the job: "{fitted(" ".join(row["error"].split()), MAX_ERROR)}".'


def _since_move(row: Row, what: str) -> Iterator[str]:
    if row.get("since_move"):
        yield f"It {what} {row['since_move']}."


def _unknown(row: Row) -> Iterator[str]:
    yield from _proven(row)
    stall, gap, quiet = row.get("longest_stall"), row.get("unwatched_seconds") or 0.0, row.get("quiet_seconds")
    if stall:
        yield f"{'Before it was last seen' if quiet else 'While it was watched'}, it stood still for at most {at_most(stall['high'])} s."
    if gap:
        yield f"It was not watched for {seconds(gap)}, and may have stood still for as long as that."
    if quiet:
        why = next((f": {words}" for end, words in _LAST_QUESTION.items() if has_reason(row.get("detail"), end)), "")
        yield f"No answer showed its progress in the {seconds(quiet)} after that{why}."


def _proven(row: Row) -> Iterator[str]:
    known = row.get("names_process", True)
    same = "every answer came from the same process and job" if known else "it is the same record of its tracker"
    proven = [same] if row.get("identity") == "proven" else []
    if row.get("progress_claim") == "proven":
        proven.append(f"its progress continued{f', {_progress(row)}' if _progress(row) else ''}")
    if proven:
        yield f"Proven all the same: {', and '.join(proven)}."
    elif row.get("latest") and not row.get("fell_to") and _progress(row):
        yield f"Until it was last seen, its progress was {_progress(row)}, and never went back. About the time after that, nothing is proven."
    else:
        yield "Nothing is proven."


def _stall_sentence(row: Row) -> str:
    text = stall_of(row)
    return text[:1].upper() + text[1:]


def _progress(row: Row) -> str:
    """Progress before and after, ``12 % → 40 %``; empty unless both are known."""
    before, after = row.get("progress_before"), row.get("progress_after")
    return "" if before is None or after is None else f"{percent(before)} → {percent(after)}"
