# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The last lines of a playbook: what was moved, how the host is, the verdict of each experiment, and what to do next. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .._core.advice import FAILURES, GOOD, Failure, do_of, failure_of_error, reason_of, seen_of, title_of
from .._core.untrusted import printable
from .._core.wording import fitted, local_moment, plural
from .._experiments.model import WORST_FIRST
from .estimate import duration_text

Row = Mapping[str, Any]
MAX_LINES = 10
MAX_WHY = 400  # characters of a reason
MAX_SLOTS = 8  # vMotions of a host at a time, by vCenter's own limit
MAX_BAD = 2  # of which each has a line with what to do; the report has all


def closing_lines(
    moved: Row,
    *,
    subject: str,
    failed: bool,
    host: str = "",
    stays: Sequence[str] = (),
    report: str = "",
    command: str = "",
    steps: Mapping[str, Row] | None = None,
    ended: str = "",
    check: bool = False,
) -> list[str]:
    """The lines from the result of ``vm_migrate``, which is empty if it was not called.

    ``host`` is a sentence about the host as it was observed, ``stays`` names VMs that were not to be moved, and ``command`` is
    what to type next. The ``experiments`` and ``unobserved`` of ``evidence_report`` may replace those of ``vm_migrate``.
    ``steps`` are the results of other modules: ``plan``, ``maintenance``, ``home`` and ``evidence``. ``ended`` is when (ISO 8601, UTC).
    In check mode (``check``), the lines are about what the plan would do.
    """
    if check and not failed:
        plan = (steps or {}).get("plan", {})
        return [printable(line) for line in _preview(plan, subject=subject, stays=stays, command=command)]
    at = f" at {local_moment(ended)}" if ended else ""
    first = [f"{subject} {'failed' if failed else 'succeeded'}{at}. {moves_text(moved)}"]
    first += [f"{host}{f' Still on it, powered off: {_list(stays)}.' if stays else ''}"] if host else []
    failure = failures(moved, steps or {})[0] if failed else None
    last = [*_why(moved, steps or {}), f"Next: {FAILURES[failure].text}"] if failure else []
    last += [f"Report: {report}"] if report else []
    last += [command] if command and failure is not Failure.OPTION else []
    last = [*unobserved_text(moved.get("unobserved") or {}, others=bool(moved.get("experiments"))), *last]
    lines = [*first, *_experiments(moved.get("experiments") or (), MAX_LINES - len(first) - len(last)), *last]
    return [printable(line) for line in lines]


def _preview(plan: Row, *, subject: str, stays: Sequence[str], command: str) -> Iterator[str]:
    """What a plan, as ``migration_plan`` returned it, would do."""
    moves = plan.get("moves") or ()
    if not moves:
        yield f"Check mode: {subject} would move no VM."
        return
    memory = sum(move["memory_bytes"] for move in moves) / 2**30
    at_least = duration_text(_shortest([move["predicted_seconds"] for move in moves]))
    yield (
        f"Check mode: {subject} would move {plural(len(moves), 'VM')} with {memory:.0f} GiB of memory, in {at_least} or more. "
        "Nothing was moved or fenced."
    )
    targets = Counter((move["target_name"], move["target_fault_domain"]) for move in moves)
    places = [
        f"{count} to {host}{f' ({domain})' if domain else ''}" for (host, domain), count in sorted(targets.items())
    ]
    others = f" Stays, powered off: {_list(stays)}." if stays else ""
    yield f"Targets: {_list(places)}.{others}"
    blocked = [refusal["vm_name"] for refusal in plan.get("refusals") or () if refusal["blocking"]]
    if blocked:
        yield f"Cannot move: {_list(blocked)}."
    if command:
        yield f"To do it: {command}"


def _shortest(durations: Sequence[float]) -> float:
    """Seconds that moves take at least: each alone on the link, and as many at a time as a host permits."""
    return max(*durations, sum(durations) / MAX_SLOTS)


def _why(moved: Row, steps: Mapping[str, Row]) -> Iterator[str]:
    """Why a step failed, or which VMs cannot leave, so that nobody has to look for it above."""
    plan = steps.get("plan", {})
    ended = [step for step in (plan, moved) if _ended_by_error(step)]
    ended += [steps[name] for name in ("maintenance", "home", "evidence") if steps.get(name, {}).get("failed")]
    yield from (f"Why: {fitted(str(step['msg']), MAX_WHY)}" for step in ended[:1] if step.get("msg"))
    blocked = [refusal for refusal in plan.get("refusals") or () if refusal["blocking"]] if not moved else []
    yield from (f"Why: {fitted(refusal['text'], MAX_WHY)}" for refusal in blocked[:MAX_BAD])
    if len(blocked) > MAX_BAD:
        yield f"Cannot leave either: {_list([refusal['vm_name'] for refusal in blocked[MAX_BAD:]])}."


def failures(moved: Row, steps: Mapping[str, Row]) -> list[Failure]:
    """How the playbook failed, the cause before its consequences."""
    plan = steps.get("plan", {})
    found = [_failure_of(step) for step in (plan, moved) if _ended_by_error(step)]
    moves = moved.get("moves") or ()
    back = any(move["back"] for move in moves)
    left = any(move["result"] not in ("moved", "gone") for move in moves if not move["back"])
    more = {
        Failure.CANNOT_LEAVE: not moved and any(refusal["blocking"] for refusal in plan.get("refusals") or ()),
        Failure.ROLLED_BACK: back,
        Failure.INTERRUPTED: bool(moved.get("interrupted")),
        Failure.NOT_MOVED: left and not back,
        Failure.GONE: any(move["result"] == "gone" for move in moves),
        Failure.MAINTENANCE: bool(steps.get("maintenance", {}).get("failed")),
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


def moves_text(result: Row) -> str:
    """How many VMs moved, and which did not."""
    if "moves" not in result:  # the module was not called, failed before its run, or failed in it
        return "The report says which VMs moved." if result.get("run_id") else "This call moved no VM."
    moves = result["moves"]
    outbound = [move for move in moves if not move["back"]]
    if not outbound:
        return "No VM had to move."
    moved = sum(move["result"] == "moved" for move in outbound)
    left = [move["vm"] for move in outbound if move["result"] not in ("moved", "gone")]
    gone = [move["vm"] for move in outbound if move["result"] == "gone"]
    back = [move["vm"] for move in moves if move["back"] and move["result"] == "moved"]
    parts = [f"{moved} of {plural(len(outbound), 'VM')} moved."]
    parts += [f"Not moved: {_list(left)}."] if left else []
    parts += [f"No longer existing: {_list(gone)}."] if gone else []
    parts += [f"Moved back: {_list(back)}."] if back else []
    return " ".join(parts)


def _experiments(experiments: Sequence[Row], room: int) -> Iterator[str]:
    """A line for each experiment, the worst first, and for the worst ones also what to do; at most ``room`` lines."""
    ordered = sorted(experiments, key=lambda each: (WORST_FIRST.index(each["verdict"]), title_of(each)))
    lines: list[list[str]] = []
    for number, each in enumerate(ordered):
        owner = f"Owner: {each['owner']}." if each.get("owner") and each["verdict"] not in GOOD else ""
        said = (f"{title_of(each)}: {each['verdict']}.", owner, seen_of(each), reason_of(each))
        own = [" ".join(filter(None, said))]
        own += [f"  What to do: {do_of(each)}"] if each["verdict"] not in GOOD and number < MAX_BAD else []
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
    if count:
        rest = "the other VM" if count == 1 else f"the other {count} VMs"
        vms = rest if others else plural(count, "VM")
        yield f"In {vms} no experiment was found. If one runs there, it was not watched."


def _list(names: Sequence[str]) -> str:
    """Names, at most ten of them."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
