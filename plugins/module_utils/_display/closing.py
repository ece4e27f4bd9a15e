# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The last lines of a playbook: what was moved, how the host is, the verdict of each experiment, and what to do next. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .._core.advice import FAILURES, GOOD, VERDICT_WORDS, Failure, do_of, failure_of_error, reason_of, seen_of, title_of
from .._core.untrusted import printable
from .._core.wording import HA, fitted, is_restarted, listed, local_moment, plural
from .._experiments.model import WORST_FIRST, worst
from .preview import NOT_ASKED, partly_searched_text, preview

Row = Mapping[str, Any]
MAX_LINES = 10
MAX_WHY = 400  # characters of a reason
MAX_BAD = 2  # of which each has a line with what to do; the report has all
MAX_PLACES = 4  # hosts that are named with the number of VMs that moved there
# What these mean is said by the line above them.
NO_MOVES = "No VM had to move."
_TOLD = (
    Failure.CANNOT_LEAVE,
    Failure.PLAN_REFUSED,
    Failure.OPTION,
    Failure.ERROR,
    Failure.NOT_MOVED,
    Failure.NOT_HOME,
    Failure.INTERRUPTED,
    Failure.MAINTENANCE,
)
# Of these it is not known what an earlier process did, or does.


def closing_lines(
    moved: Row,
    *,
    subject: str,
    failed: bool,
    host: str = "",
    stays: Sequence[str] = (),
    report: str = "",
    command: str = "",
    again: str = "",
    others: str = "",
    goal: str = "",
    steps: Mapping[str, Row] | None = None,
    ended: str = "",
    check: bool = False,
) -> list[str]:
    """The lines from the result of ``vm_migrate``, which is empty if it was not called.

    ``host`` is a line about the host as it was observed, ``stays`` names VMs that were not to be moved, ``command`` is what to type
    after a success, ``again`` the command of this call, ``others`` the command that moves only what can leave, and
    ``goal`` what the playbook does after the moves. The ``experiments``, ``unobserved`` and ``partly_searched`` of ``evidence_report``
    may replace those of ``vm_migrate``. ``steps`` are the results of other modules: ``plan``, ``maintenance``, ``home`` and ``evidence``. ``ended`` is
    when (ISO 8601, UTC). In check mode (``check``), the lines are about what the plan would do.
    """
    steps = steps or {}
    if check and not failed:
        return [
            printable(line)
            for line in preview(steps.get("plan", {}), moved, subject=subject, stays=stays, goal=goal, command=again)
        ]
    at = f" at {local_moment(ended)}" if ended else ""
    failure = failures(moved, steps)[0] if failed else None
    first = [f"{subject} {_outcome(moved, failure)}{at}{_cause(moved, failure)}. {_moves(moved, steps)}"]
    first += [host] if host else []
    last = [*unobserved_text(moved.get("unobserved") or {}, others=bool(moved.get("experiments")))]
    last += partly_searched_text(moved.get("partly_searched") or {})
    last += _what_to_do(moved, steps, failure, again=again, others=others, goal=goal) if failure else []
    last += [f"Report: {report}"] if report else []
    last += [f"Run again: {again}"] if again and failure and failure is not Failure.OPTION else []
    last += [command] if command and not failed else []
    lines = [*first, *_experiments(moved, MAX_LINES - len(first) - len(last)), *last]
    return [printable(line) for line in lines]


def _outcome(moved: Row, failure: Failure | None) -> str:
    """How it ended. Without a run, nothing was started."""
    if failure is None:
        return "succeeded"
    return "failed" if "moves" in moved or moved.get("run_id") else "was not started"


def _cause(moved: Row, failure: Failure | None) -> str:
    """The verdict that made the run fail."""
    bad = [str(each["verdict"]) for each in moved.get("experiments") or () if each["verdict"] not in GOOD]
    if failure is not Failure.INTERRUPTED or not bad:
        return ""
    count = bad.count(verdict := str(worst(bad)))
    return f", because {'an experiment' if count == 1 else f'{count} experiments'} {VERDICT_WORDS[verdict][count > 1]}"


def _what_to_do(
    moved: Row, steps: Mapping[str, Row], failure: Failure, *, again: str, others: str, goal: str
) -> Iterator[str]:
    """Why it failed, and what to do next, which begins with a verb."""
    why = list(_why(moved, steps))
    advice = FAILURES[failure]
    if failure is Failure.NOT_MOVED and moved.get("msg"):
        why = [fitted(str(moved["msg"]), MAX_WHY)]
    if failure not in _TOLD or (not why and failure is Failure.ERROR):
        why = [" ".join([*why[:1], advice.means]), *why[1:]]
    yield from (f"Why: {line}" for line in why)
    left = _left(moved, goal) if failure is Failure.INTERRUPTED else ""
    yield f"Next: {advice.do}{left}"
    if failure is Failure.CANNOT_LEAVE and others:
        yield from _without_blocked(steps.get("plan", {}), others)
    if failure is Failure.OPTION:
        yield from _corrected(steps, again)


def _without_blocked(plan: Row, command: str) -> Iterator[str]:
    """The command that moves what can leave, and what the host cannot do then."""
    names = listed([refusal["vm_name"] for refusal in plan.get("refusals") or () if refusal["blocking"]])
    if count := len(plan.get("moves") or ()):
        only = "Or move only the other VM" if count == 1 else f"Or move only the other {count} VMs"
        yield f"{only}; the host cannot enter maintenance mode while {names} is on it:"
        yield f"  {command}"


def _left(moved: Row, goal: str) -> str:
    """What another call does."""
    names = [m["vm"] for m in moved.get("moves") or () if not m["back"] and m["result"] not in ("moved", "gone")]
    if names:
        return f" That is to move {listed(names)}{f', and then {goal}' if goal else ''}."
    return f" That is only {goal}; no VM is left to move." if goal else " No VM is left to move."


def _corrected(steps: Mapping[str, Row], again: str) -> Iterator[str]:
    """The command with each name that may be meant, if the name of the host or VM was the error, and the command ends with it."""
    wrong = next((step for step in steps.values() if step.get("failed") and step.get("option") in ("host", "vms")), {})
    found = re.search(r"Did you mean (.+?)\? ", str(wrong.get("msg", "")))
    begin, equals, value = again.rpartition("=")
    for name in found[1].split(" or ") if found and equals and " " not in value else ():
        if not re.search(r"[^\w./-]", name):
            yield f"If you mean {name}: {begin}={name}"


def _why(moved: Row, steps: Mapping[str, Row]) -> Iterator[str]:
    """Why a step failed, or which VMs cannot leave, so that nobody has to look for it above."""
    plan = steps.get("plan", {})
    ended = [step for step in (plan, moved) if _ended_by_error(step)]
    ended += [steps[name] for name in ("maintenance", "home", "evidence") if steps.get(name, {}).get("failed")]
    yield from (fitted(str(step["msg"]), MAX_WHY) for step in ended[:1] if step.get("msg"))
    blocked = [refusal for refusal in plan.get("refusals") or () if refusal["blocking"]] if not moved else []
    yield from (fitted(refusal["text"], MAX_WHY) for refusal in blocked[:MAX_BAD])
    if len(blocked) > MAX_BAD:
        yield f"{listed([refusal['vm_name'] for refusal in blocked[MAX_BAD:]])} cannot leave either."


def failures(moved: Row, steps: Mapping[str, Row]) -> list[Failure]:
    """How the playbook failed, the cause before its consequences."""
    plan, maintenance = steps.get("plan", {}), steps.get("maintenance", {})
    before = [maintenance] if maintenance.get("failed") and not moved else []  # a restore begins with it
    found = [_failure_of(step) for step in (*before, plan, moved) if _ended_by_error(step)]
    moves = moved.get("moves") or ()
    back = any(move["back"] for move in moves)
    left = any(move["result"] not in ("moved", "gone") for move in moves if not move["back"])
    left = left or bool(moved.get("left_behind"))  # also a VM that was moved back
    more = {
        Failure.CANNOT_LEAVE: not moved and any(refusal["blocking"] for refusal in plan.get("refusals") or ()),
        Failure.ROLLED_BACK: back,
        Failure.INTERRUPTED: bool(moved.get("interrupted")),
        Failure.NOT_MOVED: left and not back,
        Failure.GONE: any(move["result"] == "gone" for move in moves),
        Failure.RESTARTED: any(map(_is_restarted, moves)) or bool(moved.get("restarted")),
        Failure.MAINTENANCE: bool(maintenance.get("failed")),
        Failure.NOT_HOME: bool(steps.get("home", {}).get("failed")),
        Failure.EVIDENCE: bool(steps.get("evidence", {}).get("failed")),
    }
    found += [failure for failure, applies in more.items() if applies]
    return found or [Failure.ERROR]


def _failure_of(step: Row) -> Failure:
    failure = failure_of_error(str(step.get("error", "")))
    return Failure.ERROR if failure is Failure.OPTION and step.get("run_id") else failure  # a run had begun


def _ended_by_error(step: Row) -> bool:
    """Whether a module ended before it could return what it did."""
    return bool(step.get("failed")) and "moves" not in step


def _moves(moved: Row, steps: Mapping[str, Row]) -> str:
    """How many VMs moved and where to, and how many of them before this call."""
    if "module_stdout" in moved or moved.get("unreachable"):  # Ansible says so of a process that died
        return "It is not known whether this call moved a VM: its process ended without an answer."
    if "moves" not in moved and not moved.get("run_id"):
        return "This call moved no VM."
    plan = steps.get("plan", {})
    text = moves_text(moved, frozenset(move["vm"] for move in plan.get("moves") or ()))
    held = [refusal["vm_name"] for refusal in plan.get("refusals") or () if refusal["blocking"]]
    if not held:
        return text
    return f"{'No VM was moved.' if text == NO_MOVES else text} Could not move: {listed(held)}."


def moves_text(result: Row, planned: frozenset[str] | None = None) -> str:
    """How many VMs moved, where to, and which did not. ``planned`` are VMs (MoIDs) that the call of a resumed run had to move."""
    if "moves" not in result:  # the module failed in its run
        return "The report says which VMs moved."
    moves = result["moves"]
    outbound = [move for move in moves if not move["back"]]
    if not outbound:
        return NO_MOVES
    restarted = [move["vm"] for move in outbound if _is_restarted(move)]
    moved = [move for move in outbound if move["result"] == "moved" and not _is_restarted(move)]
    left = [move["vm"] for move in outbound if move["result"] not in ("moved", "gone")]
    gone = [move["vm"] for move in outbound if move["result"] == "gone"]
    back = [move["vm"] for move in moves if move["back"] and move["result"] == "moved"]
    earlier = sum(move["moid"] not in planned for move in moved) if planned is not None and result.get("resumed") else 0
    when = f" ({earlier} earlier, {len(moved) - earlier} now)" if earlier else ""
    parts = [f"{len(moved)} of {plural(len(outbound), 'VM')} moved{when}{'' if back else _places(moved)}."]
    parts += [f"Restarted by {HA}: {listed(restarted)}."] if restarted else []
    again = [name for name in result.get("restarted") or () if name not in restarted]
    parts += [f"Restarted during the run: {listed(again)}."] if again else []
    parts += [f"Not moved: {listed(left)}."] if left else []
    parts += [f"No longer in vCenter: {listed(gone)}."] if gone else []
    parts += [f"Moved back: {listed(back)}."] if back else []
    return " ".join(parts)


def _is_restarted(move: Row) -> bool:
    return is_restarted(move["result"], move.get("by"))


def _places(moved: Sequence[Row]) -> str:
    """Where VMs arrived: ``: 6 on esx-04, 4 on esx-06``. Moves of files alone have no new host."""
    hosts = Counter(move["target"] for move in moved if move.get("target") not in (None, "", move.get("source")))
    if sum(hosts.values()) < len(moved) or not moved:
        return ""
    if len(hosts) == 1:
        return f" to {next(iter(hosts))}"
    places = [f"{count} to {host}" for host, count in sorted(hosts.items())]
    return f": {listed(places, MAX_PLACES)}" if len(places) <= MAX_PLACES else f" to {len(places)} hosts"


def _experiments(moved: Row, room: int) -> Iterator[str]:
    """A line for each experiment, the worst first, and for the worst ones also what to do; at most ``room`` lines."""
    experiments = moved.get("experiments") or ()
    # By MoID, because two VMs may have one name.
    hosts = {m.get("moid", m["vm"]): m.get("target") for m in moved.get("moves") or () if m["result"] == "moved"}
    ordered = sorted(experiments, key=lambda each: (WORST_FIRST.index(each["verdict"]), title_of(each)))
    lines: list[list[str]] = []
    for number, each in enumerate(ordered):
        bad = each["verdict"] not in GOOD
        owner = f"Owner: {each['owner']}." if each.get("owner") and bad else ""
        place = f" (now on {host})" if bad and (host := hosts.get(each["vm"].get("moid", each["vm"]["name"]))) else ""
        said = (f"{title_of(each)}{place}: {each['verdict']}.", owner, seen_of(each), reason_of(each))
        own = [" ".join(filter(None, said))]
        own += [f"  What its owner has to do: {do_of(each)}"] if bad and number < MAX_BAD else []
        lines.append(own)
    shown = len(lines)
    while shown and sum(map(len, lines[:shown])) + (shown < len(lines)) > room:
        shown -= 1
    yield from (line for own in lines[:shown] for line in own)
    more = ordered[shown:]
    if more:
        good = sum(each["verdict"] in GOOD for each in more)
        yield f"{plural(len(more), 'more experiment')}, {good} of them uninterrupted or completed: see the report."


def unobserved_text(unobserved: Mapping[str, str], *, others: bool) -> Iterator[str]:
    """In how many VMs no experiment was observed, and what that means. ``others``: in other VMs there was one."""
    count = len(unobserved)
    if unobserved and set(unobserved.values()) == {NOT_ASKED}:
        yield "Experiments were not looked for, because experiments.enabled is false. So none was watched."
    elif count:
        rest = "the other VM" if count == 1 else f"the other {count} VMs"
        vms = rest if others else plural(count, "VM")
        yield f"In {vms} no experiment was found. If one runs there, it was not watched."
