# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures as SVG by matplotlib: the timeline of the moves, and an experiment's progress with its move and its stall.

Figures are drawn in the light colours. Then each colour is replaced by a CSS variable of the page, so that the page's dark mode
and print style also apply to the figures. Text stays text.
"""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from .._core.wording import fitted
from .model import Evidence, Experiment, Move
from .summary import display_name, moving_windows, shared_names

# Light colours with a contrast of at least 4.5:1 on white. The page defines a dark value for each name.
COLOURS = {
    "text": "#1f2328",
    "grid": "#c9d1d9",
    "move": "#0060a8",
    "stall": "#b33c00",
    "curve": "#00694f",
    "soft": "#57606a",
}
WIDE, NARROW, SMALL = 8.6, 4.2, 4.6  # inches: a desktop's width, a phone's, a third of a desktop's
MAX_ROWS = 32  # moves in one figure: more would not fit on a printed page
_UNITS = ((300, 1, "seconds"), (3 * 3600, 60, "minutes"), (float("inf"), 3600, "hours"))
_MARK = 0.76  # height of a stall's mark in its axes
_MARGINS = (0.15, 0.42)  # inches right of and below the axes


def timelines(evidence: Evidence, width: float) -> list[str]:
    """The moves as bars, at most ``MAX_ROWS`` per figure, all on the same time axis.

    Raises ImportError without matplotlib.
    """
    moves = evidence["moves"]
    parts = max(1, -(-len(moves) // MAX_ROWS))
    size = max(1, -(-len(moves) // parts))
    return [_timeline(evidence, moves[start : start + size], width) for start in range(0, max(1, len(moves)), size)]


def run_seconds(evidence: Evidence) -> float:
    """Seconds from the beginning of the run to the last time that is known about it."""
    origin = evidence["run"]["started"]
    known = [evidence["run"]["finished"]]
    known += [at for move in evidence["moves"] for at in (move["started"], move["finished"])]
    times = [_since(origin, at) for at in known if at is not None]
    curves = [point[0] for experiment in evidence["experiments"] for point in experiment["curve"][-1:]]
    return max([*times, *curves, 0.1])


def axis_seconds(evidence: Evidence) -> float:
    """The end of the time axis: that of the run, or of a prediction that lies up to 25 % later."""
    origin, end = evidence["run"]["started"], run_seconds(evidence)
    predicted = [
        _since(origin, m["started"]) + m["predicted_seconds"]
        for m in evidence["moves"]
        if m["started"] is not None and m["predicted_seconds"] is not None
    ]
    return max(end, min(max(predicted, default=0.0), 1.25 * end))


def curve(evidence: Evidence, experiment: Experiment, width: float) -> str:
    """Progress over time, the move shaded, the longest stall marked. Raises ImportError without matplotlib."""
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - heavy, and only reports need it

    with _figure(width, 2.0, f"curve {experiment['moid']} {experiment['id']}") as (figure, svg):
        axis = _axis(figure, width, 2.0, left=0.55 if width == SMALL else _left(evidence, width), top=0.12)
        divisor = _time_axis(axis, axis_seconds(evidence))
        points = experiment["curve"]
        if points:
            axis.plot(
                [p[0] / divisor for p in points],
                [100 * p[1] for p in points],
                color=COLOURS["curve"],
                lw=1.8,
                gid="curve",
            )
        else:
            axis.text(0.5, 0.4, "no progress was sampled", transform=axis.transAxes, ha="center", color=COLOURS["soft"])
        low, high = axis.get_ylim() if points else (0.0, 100.0)
        # Room above the curve for the labels of the shaded area and of the mark.
        axis.set_ylim(low, low + max(high - low, 0.1) * 1.5)
        ticks = MaxNLocator(4).tick_values(low, min(high, 100))
        axis.set_yticks([tick for tick in ticks if low <= tick <= min(high, 100)])
        axis.set_ylabel("progress (%)", color=COLOURS["text"])
        for start, end in moving_windows(experiment):
            _draw_move(axis, start / divisor, (run_seconds(evidence) if end is None else end) / divisor)
        _draw_stall(axis, experiment, divisor)
    return svg()


def _left(evidence: Evidence, width: float) -> float:
    """Inches for the names of the VMs. It is the same for every figure of full width, so that their times line up."""
    shared = shared_names(evidence)
    widest = max([_columns(_name(move, width, shared)) for move in evidence["moves"]], default=4)
    return min(0.2 + 0.085 * widest, 0.5 * width)


def _columns(name: str) -> float:
    """Approximate width of a name in average characters; the page's font is not known here."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in name)
    return len(name) + wide + 0.4 * sum(character.isupper() for character in name)


def _name(move: Move, width: float, shared: frozenset[str]) -> str:
    return fitted(display_name(move["vm"], move["moid"], shared), 28 if width == WIDE else 15)


def _timeline(evidence: Evidence, moves: Sequence[Move], width: float) -> str:
    end = axis_seconds(evidence)
    height = 0.62 + 0.26 * max(1, len(moves))
    with _figure(width, height, f"timeline {width} {moves[0]['moid'] if moves else ''}") as (figure, svg):
        axis = _axis(figure, width, height, left=_left(evidence, width), top=0.1)
        divisor = _time_axis(axis, end)
        origin, shared = evidence["run"]["started"], shared_names(evidence)
        for row, move in enumerate(moves):
            _draw_bar(axis, row, move, origin, end, divisor)
        axis.set_yticks(range(len(moves)), [_name(move, width, shared) for move in moves], parse_math=False)
        axis.set_ylim(max(1, len(moves)) - 0.35, -0.65)
        axis.tick_params(axis="y", length=0)
    return svg()


def _draw_bar(axis: Any, row: int, move: Move, origin: str, end: float, divisor: float) -> None:
    """A bar for the measured time, a line under it for the prediction. The bar of a VM that did not arrive is hollow and labelled."""
    words = "" if move["result"] == "moved" else move["result"].replace("_", " ")
    start = stop = 0.0
    if move["started"] is not None:
        start = _since(origin, move["started"])
        stop = end if move["finished"] is None else max(_since(origin, move["finished"]), start + end / 500)
        arrived = move["result"] == "moved"
        colour = COLOURS["move"] if arrived else COLOURS["stall"]
        axis.barh(
            row - 0.06, (stop - start) / divisor, left=start / divisor, height=0.5, fill=arrived, color=colour,
            edgecolor=colour, linewidth=1.2, gid="bar",
        )  # fmt: skip
        if move["predicted_seconds"] is not None:
            until = start + move["predicted_seconds"]
            axis.plot(
                [start / divisor, until / divisor], [row + 0.33] * 2, color=COLOURS["soft"], lw=2.2,
                solid_capstyle="butt", gid="predicted",
            )  # fmt: skip
    if move["switched_over"] is not None:
        at = _since(origin, move["switched_over"]) / divisor
        axis.plot([at, at], [row - 0.42, row + 0.3], color=COLOURS["text"], lw=2, solid_capstyle="butt", gid="switch")
    if words:
        # Inside a long bar, which is hollow; else beside it, on the side that has room.
        left = stop - start > 0.3 * end or stop <= 0.7 * end
        at = start if stop - start > 0.3 * end or not left else stop
        axis.annotate(
            words, (at / divisor, row - 0.06), (4 if left else -4, 0), textcoords="offset points",
            ha="left" if left else "right", va="center", color=COLOURS["stall"],
        )  # fmt: skip


def _draw_move(axis: Any, start: float, end: float) -> None:
    axis.axvspan(start, end, color=COLOURS["move"], alpha=0.14, linewidth=0, gid="move")
    late = start > 0.6 * axis.get_xlim()[1]
    axis.annotate(
        "moving", (start, 1), (-4 if late else 4, -2), xycoords=axis.get_xaxis_transform(), va="top",
        textcoords="offset points", ha="right" if late else "left", color=COLOURS["move"],
    )  # fmt: skip


def _draw_stall(axis: Any, experiment: Experiment, divisor: float) -> None:
    stall = experiment["longest_stall"]
    if stall is None or experiment["stall_at"] is None:
        return
    start, length = experiment["stall_at"] / divisor, stall["seconds"] / divisor
    axis.axvspan(start, start + length, color=COLOURS["stall"], alpha=0.35, linewidth=0, gid="stall")
    # A stall may be narrower than a pixel, so a mark shows where it is.
    middle, across = start + length / 2, axis.get_xaxis_transform()
    axis.plot([middle] * 2, [0, _MARK], color=COLOURS["stall"], lw=1.2, transform=across)
    axis.plot([middle], [_MARK], marker="v", ms=6, color=COLOURS["stall"], transform=across, gid="stall-mark")
    late = middle > sum(axis.get_xlim()) / 2
    axis.annotate(
        f"stall {stall['seconds']:.2f} s", (middle, _MARK), (-7 if late else 7, 0), xycoords=across, va="center",
        textcoords="offset points", ha="right" if late else "left", color=COLOURS["stall"],
    )  # fmt: skip


def _axis(figure: Any, width: float, height: float, *, left: float, top: float) -> Any:
    """Axes with margins in inches, so that text fits even if the page has a wider font than matplotlib."""
    right, bottom = _MARGINS
    axis = figure.add_axes(
        (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    )
    axis.patch.set_visible(False)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axis.spines[side].set_color(COLOURS["grid"])
    axis.tick_params(color=COLOURS["grid"], labelcolor=COLOURS["text"])
    axis.grid(axis="x", color=COLOURS["grid"], lw=0.6)
    axis.set_axisbelow(True)
    return axis


def _time_axis(axis: Any, end: float) -> float:
    """Set the time axis for a run of ``end`` seconds. Returns the number of seconds in its unit."""
    divisor, unit = next((d, name) for limit, d, name in _UNITS if end <= limit)
    axis.set_xlim(0, 1.03 * end / divisor)
    axis.set_xlabel(f"{unit} since the run began", color=COLOURS["text"])
    axis.locator_params(axis="both", nbins=5)
    return divisor


@contextmanager
def _figure(width: float, height: float, salt: str) -> Iterator[tuple[Any, Callable[[], str]]]:
    """A figure, and a function that returns its SVG after the block. The salt makes ids differ between figures of a page."""
    import matplotlib  # noqa: PLC0415 - heavy, and only reports need it
    from matplotlib.figure import Figure  # noqa: PLC0415

    text: list[str] = []
    # On the page, the text of every figure is 11 to 15 px high.
    size = {WIDE: 8.5, NARROW: 9.5, SMALL: 10.5}[width]
    style = {"svg.hashsalt": salt, "svg.fonttype": "none", "font.size": size}
    with matplotlib.rc_context(style), warnings.catch_warnings():
        # Text stays text, so it does not matter if matplotlib's own font lacks a character.
        warnings.filterwarnings("ignore", r"Glyph \d+", UserWarning)
        figure = Figure(figsize=(width, height))
        figure.patch.set_visible(False)
        yield figure, lambda: text[0]
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text.append(_for_the_page(stream.getvalue()))


def _for_the_page(svg: str) -> str:
    """Only the svg element. Classes name what a group shows; colours and fonts come from the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<style.*?</style>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r' id="[\w.]+_\d+"', "", svg)
    svg = re.sub(r'<g id="([a-z-]+)">', r'<g class="\1">', svg)
    svg = re.sub(r" font-family: [^;\"]+;", "", svg)
    svg = re.sub(r' transform="rotate\(-0 [^"]*"', "", svg)
    for name, colour in COLOURS.items():
        svg = re.sub(rf"(fill|stroke): {colour}", rf"\1: var(--{name}, {colour})", svg)
    return re.sub(r"\n\s*", "\n", svg)


def _since(origin: str, at: str) -> float:
    return (datetime.fromisoformat(at) - datetime.fromisoformat(origin)).total_seconds()
