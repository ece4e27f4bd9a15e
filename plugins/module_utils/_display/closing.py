# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The last lines of a playbook: what was moved, how the host is, the verdict of each experiment, and what to do next. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .._core.untrusted import printable
from .._core.wording import plural, stall_text
from .._experiments.model import WORST_FIRST

Row = Mapping[str, Any]
MAX_EXPERIMENTS = 5  # of which each has a line; the report has all
GOOD = ("uninterrupted", "completed")


def closing_lines(
    moved: Row,
    *,
    subject: str,
    failed: bool,
    host: str = "",
    stays: Sequence[str] = (),
    report: str = "",
    command: str = "",
) -> list[str]:
    """The lines from the result of ``vm_migrate``, which is empty if it was not called.

    ``host`` is a sentence about the host as it was observed, ``stays`` names VMs that were not to be moved, and ``command`` is
    what to type next.
    """
    lines = [f"{subject} {'failed' if failed else 'succeeded'}. {moves_text(moved)}"]
    lines += [f"{host}{f' Still on it, powered off: {_list(stays)}.' if stays else ''}"] if host else []
    lines += _experiments(moved.get("experiments") or ())
    lines += unobserved_text(moved.get("unobserved") or {})
    lines += [f"Report: {report}"] if report else []
    lines += [command] if command else []
    return [printable(line) for line in lines]


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


def _experiments(experiments: Sequence[Row]) -> Iterator[str]:
    """A line for each experiment, the worst first."""
    ordered = sorted(experiments, key=lambda each: (WORST_FIRST.index(each["verdict"]), each["vm"]["name"]))
    for each in ordered[:MAX_EXPERIMENTS]:
        where = ", ".join(each.get("vms") or [each["vm"]["name"]])
        detail = f" ({each['detail']})" if each.get("detail") and each["verdict"] not in GOOD else ""
        yield f"Experiment in {where}: {each['verdict']}, {stall_text(each['longest_stall'])}{detail}"
    more = ordered[MAX_EXPERIMENTS:]
    if more:
        good = sum(each["verdict"] in GOOD for each in more)
        yield f"{plural(len(more), 'more experiment')}, {good} of them uninterrupted or completed: see the report."


def unobserved_text(details: Mapping[str, str]) -> Iterator[str]:
    """In how many VMs no experiment was observed."""
    if details:
        yield f"No experiment was observed in {plural(len(details), 'VM')}, so nothing is proven about these."


def _list(names: Sequence[str]) -> str:
    """Names, at most ten of them."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
