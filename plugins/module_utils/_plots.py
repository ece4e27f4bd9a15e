# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can change at any time.

"""The timeline: every move as a bar, each experiment's progress under it, as SVG by matplotlib."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import datetime
from typing import Any

# Okabe and Ito's palette, which colour-blind readers can tell apart.
MOVE, STALL, CURVE, TEXT = "#0072b2", "#d55e00", "#009e73", "#222222"


def timeline_svg(evidence: Mapping[str, Any], width: float = 9.0) -> str:
    """An SVG element; ``width`` in inches (9 for a desktop, 4 for a phone). Raises ImportError without matplotlib."""
    import matplotlib  # noqa: PLC0415 - heavy, and only reports need it
    from matplotlib.figure import Figure  # noqa: PLC0415

    moves, experiments = evidence["moves"], evidence["experiments"]
    heights = [0.5 + 0.24 * max(1, len(moves)), *[1.7] * len(experiments)]
    with matplotlib.rc_context({"svg.hashsalt": "liveml", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(width, sum(heights) + 0.6), layout="constrained", facecolor="white")
        axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        bars = _draw_moves(axes[0], moves, evidence["run"]["started"])
        for axis, experiment in zip(axes[1:], experiments, strict=True):
            _draw_experiment(axis, experiment, bars.get(experiment["vm"]))
        axes[-1].set_xlabel("seconds since the run began")
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


def _draw_moves(axis: Any, moves: list[dict[str, Any]], origin: str) -> dict[str, tuple[float, float]]:
    bars = {}
    for row, move in enumerate(moves):
        if move["started"] is None:
            continue
        start = _seconds(origin, move["started"])
        end = _seconds(origin, move["finished"] or move["started"])
        bars[move["vm"]] = (start, end)
        axis.barh(
            row, max(end - start, 0.05), left=start, height=0.6, color=MOVE if move["result"] == "moved" else STALL
        )
        if move["switched_over"]:
            axis.plot([_seconds(origin, move["switched_over"])] * 2, [row - 0.4, row + 0.4], color=TEXT, linewidth=1.5)
    axis.set_yticks(
        range(len(moves)), [move["vm"] for move in moves], fontsize=7 if len(moves) > 16 else 9, parse_math=False
    )
    axis.set_ylim(len(moves) - 0.4, -0.6)
    axis.set_title("Moves (black mark: switched over)", fontsize=9, loc="left")
    return bars


def _draw_experiment(axis: Any, experiment: Mapping[str, Any], moved: tuple[float, float] | None) -> None:
    if moved is not None:
        axis.axvspan(*moved, color=MOVE, alpha=0.15, linewidth=0)
    points = experiment["curve"]
    axis.plot([p[0] for p in points], [100 * p[1] for p in points], color=CURVE, linewidth=1.5)
    stall = experiment["longest_stall"]
    if stall is not None and experiment["stall_at"] is not None:
        start = experiment["stall_at"]
        axis.axvspan(start, start + stall["seconds"], color=STALL, alpha=0.8, linewidth=0)
        axis.annotate(
            f"stall {stall['seconds']:.2f} s", (start, axis.get_ylim()[1]), color=STALL, va="top", ha="right",
            xytext=(-4, -2), textcoords="offset points",
        )  # fmt: skip
    axis.set_ylabel("progress, %")
    axis.set_title(f"{experiment['vm']}: {experiment['description'][:60]}", fontsize=9, loc="left", parse_math=False)
    axis.margins(x=0.02)


def _seconds(origin: str, at: str) -> float:
    return (datetime.fromisoformat(at) - datetime.fromisoformat(origin)).total_seconds()
