# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Notification messages: before VMs move, after a stall or an interruption, and at the end. Pure.

A hook may name owners, or its ``to`` may map owners to recipients. Then a message lists only the experiments of the owner,
and owners without an experiment get no message.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._core.untrusted import printable, printable_data
from .._core.wording import percent, stall_text

EVENTS = ("before", "stall", "after")
HARMED = ("stalled", "restarted", "lost", "failed")
Experiment = Mapping[str, Any]


def messages(
    hooks: Iterable[Mapping[str, Any]],
    event: str,
    experiments: Iterable[Experiment],
    *,
    subject: str,
    failure: str = "",
    report: str = "",
    notes: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """The messages of an event: ``hook`` (its place in ``hooks``), ``kind``, ``to``, ``subject``, ``text``, ``experiments``,
    ``report`` and ``label``. They contain no other setting of the hook: Ansible keeps what a task loops over, and hooks have secrets.

    ``experiments`` come from ``experiment_info`` (event ``before``) or ``vm_migrate`` (later). ``failure`` says why the run
    failed. ``notes`` are sentences about VMs, only for recipients who get all experiments.
    """
    seen = merge_nodes(printable_data(list(experiments)))
    concerned = [e for e in seen if event != "stall" or e.get("verdict") in HARMED]
    subject, failure, notes = printable(subject), printable(failure), printable_data(list(notes))
    if event == "stall" and not concerned:
        return []
    found = []
    for place, hook in enumerate(hooks):
        if event in (hook.get("when") or EVENTS):
            own = _messages_of_hook(hook, event, concerned, subject, failure, report, notes)
            found += [{"hook": place, **message} for message in own]
    return found


def merge_nodes(experiments: Iterable[Experiment]) -> list[dict[str, Any]]:
    """One entry per experiment, with all its VMs: ``experiment_info`` returns one per node of a cluster."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for each in experiments:
        vms = list(each.get("vms") or [each["vm_name"]])
        place = each.get("cluster") or vms[0]
        known = found.setdefault((each["provider"], each["id"], place), {**each, "vms": []})
        known["vms"] += [vm for vm in vms if vm not in known["vms"]]
    return list(found.values())


def _messages_of_hook(
    hook: Mapping[str, Any],
    event: str,
    concerned: Sequence[Experiment],
    subject: str,
    failure: str,
    report: str,
    notes: Sequence[str],
) -> list[dict[str, Any]]:
    to = hook.get("to")
    recipients = to if isinstance(to, Mapping) else {"": to}
    found = []
    for owner, recipient in recipients.items():
        patterns = [owner] if owner else list(hook.get("owners") or [])
        listed = [e for e in concerned if not patterns or _is_owned(e, patterns)]
        if patterns and not listed:
            continue
        whom = f" to {_recipient_text(recipient)}" if recipient else ""
        found.append(
            {
                "kind": hook["kind"],
                "to": [recipient] if isinstance(recipient, str) else list(recipient or []),
                "event": event,
                "subject": _subject(event, subject, failure),
                "text": _text(event, listed, subject, failure, report, () if patterns else notes),
                "experiments": [_facts(e) for e in listed],
                "report": report,
                "label": f"{hook['kind']}{whom} ({event})",
            }
        )
    return found


def _recipient_text(recipient: Any) -> str:
    return recipient if isinstance(recipient, str) else ", ".join(map(str, recipient))


def _is_owned(experiment: Experiment, patterns: Sequence[str]) -> bool:
    owner = experiment.get("owner") or ""
    return any(fnmatch.fnmatchcase(owner, pattern) for pattern in patterns)


def _subject(event: str, subject: str, failure: str) -> str:
    if event == "after":
        return f"{subject}: {'failed' if failure else 'done'}"
    return f"{subject}: {'experiments will move' if event == 'before' else 'an experiment was interrupted'}"


def _text(
    event: str,
    experiments: Sequence[Experiment],
    subject: str,
    failure: str,
    report: str,
    notes: Sequence[str],
) -> str:
    lines = {
        "before": [
            f"{subject} begins. These experiments train in VMs that will move by live vMotion. You do not have to do anything.",
            "Each experiment is watched during the move. It will pause for a moment when vMotion switches over.",
        ],
        "stall": [f"{subject}: these experiments stalled for longer than allowed, were restarted, lost or failed."],
        "after": [f"{subject} {'failed' if failure else 'is done'}."],
    }[event]
    by_owner: dict[str, list[str]] = {}
    for each in experiments:
        by_owner.setdefault(each.get("owner") or "not known", []).append(_sentence(each))
    for owner, sentences in sorted(by_owner.items()):
        lines += ["", f"Owner {owner}:", *(f"- {sentence}" for sentence in sentences)]
    if not experiments:
        lines += ["", "No experiment was observed in the VMs."]
    if notes and event == "after":
        lines += ["", *(f"- {note}" for note in notes)]
    if failure and event != "before":
        lines += ["", failure]
    if report:
        lines += ["", f"Report: {report}"]
    return "\n".join(lines) + "\n"


def _sentence(experiment: Experiment) -> str:
    vms = ", ".join(experiment["vms"])
    if "verdict" not in experiment:
        return f"{vms}: {experiment.get('description') or experiment['id']}, {percent(experiment.get('progress'))}"
    detail = f" ({experiment['detail']})" if experiment.get("detail") else ""
    return f"{vms}: {experiment['verdict']}, {stall_text(experiment.get('longest_stall'))}{detail}"


def _facts(experiment: Experiment) -> dict[str, Any]:
    """The facts of an experiment that a webhook gets. Addresses of servers are left out."""
    known = ("provider", "id", "owner", "vms", "verdict", "longest_stall", "detail", "description")
    return {key: experiment[key] for key in known if key in experiment}
