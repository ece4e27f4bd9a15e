# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``python -m benchmarks.page``: the documentation's page of figures, made from ``benchmarks/results``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.paths import ROOT

RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "docsite" / "rst" / "explanation_figures.rst"
VERDICTS = ("uninterrupted", "stalled", "restarted", "lost", "failed", "completed", "unknown")
PROVIDERS = {
    "exec": "``exec``, a log of steps",
    "exporter": "``prometheus``, an exporter in the training",
    "mlflow": "``mlflow``",
    "prometheus": "``prometheus``, a query of the server",
    "tensorboard": "``tensorboard``",
}
Line = Mapping[str, Any]


def read_results(folder: Path = RESULTS) -> list[Line]:
    """Every figure of every file."""
    files = sorted(folder.glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


class Figures:
    """Figures by name and by the other keys of their lines."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = list(lines)

    def of(self, name: str, **keys: Any) -> list[Line]:
        """The lines of a figure with all of ``keys``; ``None`` means that the key is missing."""
        named = [line for line in self._lines if line["figure"] == name]
        return [line for line in named if all(line.get(key) == value for key, value in keys.items())]

    def one(self, name: str, **keys: Any) -> Any:
        """The value of the only line. Raises ValueError if there are none or several."""
        (line,) = self.of(name, **keys)
        return line["value"]


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A list-table of reStructuredText."""
    cells = [f"   {'*' if column == 0 else ' '} - {cell}" for row in (head, *rows) for column, cell in enumerate(row)]
    return "\n".join([".. list-table::", "   :header-rows: 1", "", *(cell.rstrip() for cell in cells)])


def errors(figures: Figures, key: str, title: str) -> str:
    """Median and 95th percentile of the error by length or by algorithm."""
    p95 = [line for line in figures.of("stall_p95_error_ms") if key in line]
    rows = [
        (line[key], line["trials"], figures.one("stall_median_error_ms", **{key: line[key]}), line["value"])
        for line in p95
    ]
    return table((title, "freezes", "median error, ms", "95th percentile, ms"), rows)


def matrix(figures: Figures) -> str:
    """Verdicts by fate; the right ones are in bold."""
    rows = [
        [line["fate"], line["value"], *(_cell(line, verdict) for verdict in VERDICTS)]
        for line in figures.of("verdict_matrix")
    ]
    return table(("fate", "runs", *VERDICTS), rows)


def _cell(line: Line, verdict: str) -> str:
    count = str(line["verdicts"].get(verdict, "" if verdict not in line["true"] else 0))
    return f"**{count}**" if verdict in line["true"] else count


def stalls(figures: Figures) -> str:
    """How exactly stalls are measured."""
    one = figures.one
    cluster = figures.of("stall_cluster_p95_error_ms")[0]
    return f"""\
Stalls
------

Servers were frozen {one("stall_trials")} times and asked 30 times per second. The error is the estimated minus the true length.

- The interval contained the true length in {one("stall_contained_percent"):g} % of the freezes, and {one("stall_unseen")} freezes were missed.
- In {one("stall_false_minutes"):g} minutes without a freeze {one("stall_false_claims")} stalls were reported.
- The median error is {one("stall_median_error_ms", length_s=None, algorithm=None)} ms, and 95 % of the errors are at most \
{one("stall_p95_error_ms", length_s=None, algorithm=None)} ms.
- The true length itself is known to {one("stall_truth_doubt_p95_ms"):.0f} ms in 95 % of the freezes.

{errors(figures, "length_s", "length, s")}

{errors(figures, "algorithm", "algorithm")}

In a cluster of two nodes one node was frozen {cluster["trials"]} times. 95 % of the errors are at most {cluster["value"]} ms, the interval
contained the true length in {one("stall_cluster_contained_percent"):g} % of the freezes, and {one("stall_cluster_unseen")} freezes were missed.
"""


WHOLE: Mapping[str, Any] = {"guest": None, "network": None, "dirty": None}
LIVE_GROUPS = (
    ("all moves", WHOLE),
    ("guest with a Python training", {"guest": "light"}),
    ("guest with H2O-3", {"guest": "h2o"}),
    ("switch in user space", {"network": "switch"}),
    ("bridge of the kernel", {"network": "bridge"}),
    ("guest that writes little memory", {"dirty": False}),
    ("guest that writes much memory", {"dirty": True}),
)


def live(figures: Figures) -> str:
    """How exactly stalls are measured when a hypervisor moves VMs."""

    def row(title: str, keys: Mapping[str, Any]) -> Sequence[Any]:
        one = [
            figures.one(f"live_{name}", **keys) for name in ("moves", "contained_percent", "patient_contained_percent")
        ]
        errors = [
            figures.one(f"live_{name}_ms", **keys)
            for name in ("p95_error", "width_p95", "freeze_width_p95", "patient_p95_error")
        ]
        return (title, one[0], f"{one[1]:g} %", *errors[:3], f"{one[2]:.0f} %", errors[3])

    one = figures.one
    rows = [row(title, keys) for title, keys in LIVE_GROUPS if figures.of("live_contained_percent", **keys)]
    head = (
        "moves",
        "number",
        "truth in interval",
        "error, ms",
        "width, ms",
        "width of the freeze, ms",
        "one question: truth in interval",
        "one question: error, ms",
    )
    left = [
        f"The {line['network']} was not measured: {line['skipped']}."
        for line in figures.of("live_moves")
        if "skipped" in line
    ]
    return f"""\
Real live migrations
--------------------

A real VM with a training was moved by {one("live_moves", **WHOLE)} live migrations of QEMU, with switch-overs of 0.05 to 4 seconds
(:ref:`ansible_collections.liveml.vsphere.docsite.explanation_live`). The truth is an interval: the training stood still at least from the
hypervisor's event STOP to its event RESUME, and at most as long as it wrote nothing to its serial line. An interval is right if it is not
above the one and not below the other. The error is the distance of the estimate from that truth. The freeze of the VM has an interval of
its own. It contained the exact freeze in {one("live_freeze_contained_percent", **WHOLE):g} % of the moves. Errors and widths are 95th percentiles.

{table(head, rows)}

The intervals are wider than the promised 200 ms. The truth is wider itself: the training wrote nothing for up to
{one("live_truth_width_p95_ms", **WHOLE):.0f} ms longer than the freeze (95th percentile), and an interval that holds for certain must leave out neither.
It ends with the first answer: an emulated server answers 0.1 to 0.5 seconds after its VM runs again, and whether its training worked
meanwhile cannot be seen from outside. The interval of a freeze is the widest if no question was lost, because then nothing shows when the
VM stood still.

"One question" is the usual way: one patient question on one kept connection, over the same moves. It takes the time until TCP sends a
lost packet again for the freeze.

- Number of wrong verdicts: {one("live_wrong_verdicts", **WHOLE)}. This includes each ``unknown`` of a move within the budget: \
{one("live_unknown_below_budget", **WHOLE)}.
- The processor of the VMs is emulated, so a guest that has just arrived is slow for a moment. The median load of the machine was \
{one("live_load", **WHOLE)} processes on {one("live_processors")} processors.
{chr(10).join(["", *left, ""]) if left else ""}"""


def providers(figures: Figures) -> str:
    """How exactly stalls are measured with other providers."""
    one = figures.one
    names = [line["source"] for line in figures.of("provider_stall_trials")]
    rows = [
        (
            PROVIDERS[name],
            one("provider_stall_trials", source=name),
            one("provider_resolution_ms", source=name),
            one("provider_stall_median_error_ms", source=name),
            one("provider_stall_p95_error_ms", source=name),
            f"{one('provider_stall_contained_percent', source=name):g} %",
            one("provider_stall_alarms", source=name),
        )
        for name in names
    ]
    left = [
        f"{PROVIDERS[line['source']]}: {line['skipped']}." for line in figures.of("provider_stall") if "skipped" in line
    ]
    head = (
        "source",
        "freezes",
        "resolution, ms",
        "median error, ms",
        "95th percentile, ms",
        "true length in interval",
        "false alarms",
    )
    return f"""\
Other providers
---------------

A TensorFlow training logs ten steps per second to each source and is frozen for a known time. The resolution is the one in the evidence:
the longest gap in undisturbed operation (median of the runs).

{table(head, rows)}

{" ".join(["Not measured:", *left]) if left else "All sources were measured."}
"""


def verdicts(figures: Figures) -> str:
    """Whether verdicts are right."""
    return f"""\
Verdicts
--------

Each of {figures.one("verdict_runs")} watched trainings met a random fate; {figures.one("verdict_wrong")} verdicts were wrong. The verdicts that
are right for a fate are in bold.

{matrix(figures)}
"""


def watching(figures: Figures) -> str:
    """The cost of many experiments for the controller."""
    one = figures.one
    return f"""\
Cost for the controller
-----------------------

One process watched {figures.of("watch_min_hz")[0]["experiments"]} experiments and asked each at least {one("watch_min_hz")} times per second.
A question took {one("watch_cpu_ms")} ms of the controller's processor. That is {one("watch_cpu_ratio")} times what the official client of H2O-3
took for the same question.
"""


def probing(figures: Figures) -> str:
    """The cost of questions for a training."""
    rows = [
        (f"{line['hz']:g} Hz", f"{line['value']} %", f"{line['low']} to {line['high']} %", line["blocks"])
        for line in figures.of("probing_effect_percent")
    ]
    return f"""\
Cost for the training
---------------------

The table shows how much slower a training was while it was asked. Its server had one processor for both training and answers. An experiment
is asked up to 32 times per second while its VM moves, and 5 times per second before and after. All experiments in a VM together are asked at most
15 times per second per processor, so the table shows one experiment on one processor.

{table(("asked at", "slower by", "95 % confidence", "blocks"), rows)}

The first questions make a server compile the code that answers. That took at most {figures.one("probing_once_seconds")} seconds of its
processor, once.
"""


# The section for each suite, by a figure that the suite measures.
SECTIONS: Mapping[str, Callable[[Figures], str]] = {
    "stall_trials": stalls,
    "live_contained_percent": live,
    "provider_stall_trials": providers,
    "verdict_runs": verdicts,
    "watch_min_hz": watching,
    "probing_effect_percent": probing,
}


def page_of(lines: Iterable[Line]) -> str:
    """The page, with a section for each suite that was run."""
    figures = Figures(lines)
    sections = "\n".join(section(figures) for name, section in SECTIONS.items() if figures.of(name))
    return f"""\
.. Written by ``make figures`` from ``benchmarks/results``.

.. _ansible_collections.liveml.vsphere.docsite.explanation_figures:

Accuracy of the stall measurement
=================================

Real H2O-3 servers train on 336,776 flights, on a machine with two processors. The collection's own code finds, watches and judges them. A
freeze is SIGSTOP and SIGCONT of the server's process. ``benchmarks/README.md`` of the repository says how to repeat the measurements.

{sections}"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page_of(read_results()), encoding="utf-8")


if __name__ == "__main__":
    main()
