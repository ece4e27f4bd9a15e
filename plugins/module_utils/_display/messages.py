# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Notification messages: before VMs move, after a stall or an interruption, and at the end. Pure.

A hook may name owners, or its ``to`` may map owners to recipients. Then a message has only the experiments of these owners, and
nothing about other VMs, and owners without an experiment get no message. How a message is sent: ``deliveries.py``.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .._core.advice import GOOD, VERDICT_WORDS, VERDICTS, do_of, means_of, reason_of, seen_of, title_of
from .._core.untrusted import printable, printable_data
from .._core.wording import experiment_name, percent, plural
from .._experiments.model import WORST_FIRST, worst
from .closing import moves_text, unobserved_text
from .preview import partly_searched_text

EVENTS = ("before", "stall", "after")
HARMED = ("stalled", "restarted", "lost", "failed")
Experiment = Mapping[str, Any]
Hook = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class About:
    """What messages are about. ``subject`` is what happens, such as ``Evacuation of esx-05``.

    ``failure`` says why it failed, ``notes`` are sentences about VMs, ``command`` is what to type next, and ``result`` is that of
    the run's module. ``report`` is the path of the report on ``controller``, and ``excerpts`` has the path of each owner's part of it.
    While the run is ``under_way``, it has no end.
    """

    subject: str
    failure: str = ""
    report: str = ""
    controller: str = ""
    command: str = ""
    notes: tuple[str, ...] = ()
    result: Mapping[str, Any] = field(default_factory=dict)
    under_way: bool = False
    excerpts: Mapping[str, str] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        """ID of the run, "" without one."""
        return str(self.result.get("run_id") or "")

    def printable(self) -> About:
        """The same without characters that do not show."""
        return replace(
            self,
            subject=printable(self.subject),
            failure=printable(self.failure),
            report=printable(self.report),
            controller=printable(self.controller),
            command=printable(self.command),
            notes=tuple(printable_data(self.notes)),
            result=printable_data(self.result),
        )


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the hook at a place in the list of hooks. It has no setting of the hook that may be secret.

    ``report`` is the path of the report, ``excerpts`` are those of the parts that its owners may see, and ``report_url`` where
    people find it, each "" if there is none; ``report_text`` is the sentence about it for those who do not get the file.
    ``whole``: it is about all experiments.
    """

    hook: int
    kind: str
    event: str
    to: tuple[str, ...]
    subject: str
    text: str
    experiments: tuple[dict[str, Any], ...]
    run_id: str
    report: str
    excerpts: tuple[str, ...]
    report_url: str
    report_text: str
    whole: bool
    reported: tuple[dict[str, Any], ...]

    @property
    def label(self) -> str:
        """The message in a few words, for the person who looks at the run."""
        whom = f" to {', '.join(self.to)}" if self.to else ""
        return printable(f"{self.kind}{whom} ({self.event})")


def messages(
    hooks: Iterable[Hook],
    event: str,
    experiments: Iterable[Experiment],
    about: About,
) -> list[Message]:
    """The messages of an event, in the order of the hooks.

    ``experiments`` come from ``experiment_info`` (event ``before``), or from the journal, ``vm_migrate`` or ``evidence_report`` (later).
    The result's ``reported`` says which messages about a stall were sent while the run was under way; they are not made again.
    """
    reported = [tuple(sorted(each.items())) for each in about.result.get("reported") or ()]
    about = about.printable()
    seen = merge_nodes(printable_data(list(experiments)))
    found: list[Message] = []
    for place, hook in enumerate(hooks):
        if event in (hook.get("when") or EVENTS):
            concerned = [
                each
                for each in seen
                if event != "stall"
                or (each.get("verdict") in HARMED and tuple(sorted(_mark(place, each).items())) not in reported)
            ]
            if concerned or event != "stall":
                found += _messages_of_hook(place, hook, event, concerned, about)
    return found


def merge_nodes(experiments: Iterable[Experiment]) -> list[dict[str, Any]]:
    """One entry per experiment, with all its VMs: ``experiment_info`` returns one per node of a cluster."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for each in experiments:
        vms = list(each.get("vms") or [each.get("vm_name") or each["vm"]["name"]])
        place = each.get("cluster") or vms[0]
        known = found.setdefault((each["provider"], each["id"], place), {**each, "vms": []})
        known["vms"] += [vm for vm in vms if vm not in known["vms"]]
    return list(found.values())


def _mark(place: int, experiment: Experiment) -> dict[str, Any]:
    """What a message to the hook at a place says of an experiment: a later one with the same mark says nothing new."""
    vm = experiment.get("vm")
    where = experiment.get("cluster") or (vm["moid"] if isinstance(vm, Mapping) else vm)
    return {"hook": place, "where": where, "id": experiment["id"], "verdict": experiment.get("verdict") or ""}


def _messages_of_hook(
    place: int, hook: Hook, event: str, concerned: Sequence[Experiment], about: About
) -> Iterator[Message]:
    to = hook.get("to")
    recipients = to if isinstance(to, Mapping) else {"": to}
    for owner, recipient in recipients.items():
        patterns = [owner] if owner else list(hook.get("owners") or [])
        listed = [each for each in concerned if not patterns or _is_owned(each, patterns)]
        if listed or not patterns:
            whole = not patterns
            url = str(hook.get("report_url") or "").replace("{run_id}", about.run_id)
            yield Message(
                hook=place,
                kind=hook["kind"],
                event=event,
                to=(recipient,) if isinstance(recipient, str) else tuple(map(str, recipient or ())),
                subject=_subject(event, listed, about),
                text=_text(event, listed, about, whole=whole),
                experiments=tuple(_facts(each) for each in listed),
                run_id=about.run_id,
                report=about.report,
                excerpts=() if whole else _excerpts(listed, about),
                report_url=printable(url) if about.report else "",
                report_text=_report_text(about, url, whole=whole),
                whole=whole,
                reported=tuple(_mark(place, each) for each in listed),
            )


def _excerpts(experiments: Sequence[Experiment], about: About) -> tuple[str, ...]:
    """The parts of the report for the owners of these experiments."""
    owners = sorted({str(each.get("owner") or "") for each in experiments})
    return tuple(about.excerpts[owner] for owner in owners if owner in about.excerpts)


def _is_owned(experiment: Experiment, patterns: Sequence[str]) -> bool:
    owner = experiment.get("owner") or ""
    return any(fnmatch.fnmatchcase(owner, pattern) for pattern in patterns)


def _subject(event: str, experiments: Sequence[Experiment], about: About) -> str:
    if event == "before":
        return f"{about.subject}: experiments will move"
    bad = [each for each in experiments if each["verdict"] not in GOOD]
    ended = {"stall": "", "after": "failed" if about.failure else "done"}[event]
    return f"{about.subject}: {', '.join(filter(None, (ended, _worst_text(bad))))}"


def _worst_text(bad: Sequence[Experiment]) -> str:
    """``2 experiments were lost``, of the worst verdict; a single experiment is named."""
    if not bad:
        return ""
    verdict = str(worst(each["verdict"] for each in bad))
    own = [each for each in bad if each["verdict"] == verdict]
    if len(own) > 1:
        return f"{len(own)} experiments {VERDICT_WORDS[verdict][1]}"
    return f"{experiment_name(own[0].get('description') or '', own[0]['id'])} {VERDICT_WORDS[verdict][0]}"


def _text(event: str, experiments: Sequence[Experiment], about: About, *, whole: bool) -> str:
    """The message without its sentence about the report. Paragraphs that say nothing are left out."""
    if event == "before":
        begin = [
            f"{about.subject} begins. These experiments train in VMs that will move by live vMotion. You do not have to do anything.",
            "Each experiment is watched during the move. It will pause for a moment when vMotion switches over.",
        ]
    elif event == "stall":
        begin = [f"{about.subject} {'is still under way' if about.under_way else 'has ended'}."]
    else:
        moved = f" {moves_text(about.result)}" if whole and "moves" in about.result else ""
        begin = [f"{about.subject} {'failed' if about.failure else 'is done'}.{moved}"]
        begin += [about.failure] if about.failure and whole else []
    missing = about.result.get("unobserved") or {}
    unobserved = list(unobserved_text(missing, others=bool(experiments))) if whole and event == "after" else []
    if whole and event == "after":
        unobserved += partly_searched_text(about.result.get("partly_searched") or {})
    paragraphs = [begin, *_experiments(experiments, event), unobserved]
    if not experiments and not unobserved:
        paragraphs.append(["No experiment was observed in the VMs."])
    if whole and event == "after":
        paragraphs += [[f"- {note}" for note in about.notes if note], [about.command]]
    return "\n\n".join("\n".join(filter(None, lines)) for lines in paragraphs if any(lines)) + "\n"


def _experiments(experiments: Sequence[Experiment], event: str) -> Iterator[list[str]]:
    """Paragraphs about the experiments: one for each verdict, the worst first, with what it means and what to do."""
    ordered = sorted(experiments, key=title_of)
    if event == "before":
        yield [f"- {title_of(each)}{_owner(each)}: {percent(each.get('progress'))}" for each in ordered]
        return
    for verdict in WORST_FIRST:
        own = [each for each in ordered if each["verdict"] == verdict]
        if own:
            yield [_heading(verdict, len(own)), *(line for each in own for line in _lines(each))]


def _heading(verdict: str, count: int) -> str:
    """What a verdict means; also what to do if that is the same for each experiment."""
    advice = VERDICTS[verdict]
    do = f" {advice.do}" if verdict in GOOD else ""
    return f"{plural(count, 'experiment')} {VERDICT_WORDS[verdict][count > 1]}. {advice.means}{do}"


def _lines(experiment: Experiment) -> list[str]:
    """What was seen of an experiment, and what to do about it."""
    seen = " ".join(filter(None, (seen_of(experiment), reason_of(experiment))))
    lines = [f"- {title_of(experiment)}{_owner(experiment)}: {seen}"]
    return lines if experiment["verdict"] in GOOD else [*lines, f"  What to do: {do_of(experiment)}"]


def _owner(experiment: Experiment) -> str:
    return f" (owner {experiment['owner']})" if experiment.get("owner") else ""


def _facts(experiment: Experiment) -> dict[str, Any]:
    """The facts of an experiment that a webhook gets. Addresses of servers are left out."""
    known = ("provider", "id", "owner", "vms", "verdict", "longest_stall", "detail", "description")
    facts = {"title": title_of(experiment), **{key: experiment[key] for key in known if key in experiment}}
    if "verdict" not in experiment:
        return facts
    return {**facts, "means": means_of(experiment), "seen": seen_of(experiment), "what_to_do": do_of(experiment)}


def _report_text(about: About, url: str, *, whole: bool) -> str:
    """Where the report is, for somebody who may have no access to the controller."""
    if not about.report:
        return ""
    if url:
        return f"Report: {printable(url)}"
    if not whole:
        return f"The people who operate the hosts have the report of the run {about.run_id}."
    return f"The report is on {about.controller or 'the controller'}: {about.report}"
