# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures as SVG by matplotlib: the timeline of the moves, and an experiment's progress with its move and its stall.

Colours are drawn as the light ones and then named as the page's CSS variables, so that the page's dark mode and
print style reach into the figures. Text stays text.
"""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from .summary import shared_names, shown

Evidence = Mapping[str, Any]

# Light colours, contrast at least 4.5:1 on white; the page defines a dark value for each name.
COLOURS = {
    "text": "#1f2328",
    "grid": "#c9d1d9",
    "move": "#0060a8",
    "stall": "#b33c00",
    "curve": "#00694f",
    "soft": "#57606a",
}
WIDE, NARROW, SMALL = 8.6, 4.2, 4.6  # inches: a desktop's width, a phone's, a third of a desktop's
MOST_ROWS = 32  # moves in one figure: more would not fit on a printed page
_UNITS = ((300, 1, "seconds"), (3 * 3600, 60, "minutes"), (float("inf"), 3600, "hours"))
_MARK = 0.76  # height of a stall's mark in its axes
_MARGINS = (0.15, 0.42)  # inches right of and below the axes


def timelines(evidence: Evidence, width: float) -> list[str]:
    """The moves as bars, at most ``MOST_ROWS`` to a figure, all on the same time axis.

    Raises ImportError without matplotlib.
    """
    moves = evidence["moves"]
    parts = max(1, -(-len(moves) // MOST_ROWS))
    size = max(1, -(-len(moves) // parts))
    return [_timeline(evidence, moves[start : start + size], width) for start in range(0, max(1, len(moves)), size)]


def run_seconds(evidence: Evidence) -> float:
    """Seconds from the run's beginning to the last thing known of it."""
    origin = evidence["run"]["started"]
    known = [evidence["run"]["finished"], *(m[k] for m in evidence["moves"] for k in ("started", "finished"))]
    times = [_since(origin, at) for at in known if at is not None]
    curves = [float(point[0]) for experiment in evidence["experiments"] for point in experiment["curve"][-1:]]
    return max([*times, *curves, 0.1])


def axis_seconds(evidence: Evidence) -> float:
    """Where the time axis ends: the run, and what was predicted beyond it as far as that does not dwarf the run."""
    origin, end = evidence["run"]["started"], run_seconds(evidence)
    predicted = [
        _since(origin, m["started"]) + m["predicted_seconds"]
        for m in evidence["moves"]
        if m["started"] is not None and m["predicted_seconds"] is not None
    ]
    return max(end, min(max(predicted, default=0.0), 1.25 * end))


def curve(evidence: Evidence, experiment: Mapping[str, Any], width: float) -> str:
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
        # Room above the curve for the words that name the shade and the mark.
        axis.set_ylim(low, low + max(high - low, 0.1) * 1.5)
        ticks = MaxNLocator(4).tick_values(low, min(high, 100))
        axis.set_yticks([tick for tick in ticks if low <= tick <= min(high, 100)])
        axis.set_ylabel("progress, %", color=COLOURS["text"])
        for start, end in experiment["moving"]:
            _draw_move(axis, start / divisor, (run_seconds(evidence) if end is None else end) / divisor)
        _draw_stall(axis, experiment, divisor)
    return svg()


def shortened(name: str, most: int) -> str:
    """A name of at most ``most`` characters: its middle is left out, because names differ at their ends."""
    if len(name) <= most:
        return name
    tail = most // 2
    return f"{name[: most - tail - 1]}…{name[-tail:]}"


def _left(evidence: Evidence, width: float) -> float:
    """Inches for the names of the VMs; the same for every figure across the page, so that their times line up."""
    shared = shared_names(evidence)
    widest = max([_columns(_name(move, width, shared)) for move in evidence["moves"]], default=4)
    return min(0.2 + 0.085 * widest, 0.5 * width)


def _columns(name: str) -> float:
    """About how many average characters wide a name is; the page's font is not known here."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in name)
    return len(name) + wide + 0.4 * sum(character.isupper() for character in name)


def _name(move: Mapping[str, Any], width: float, shared: frozenset[str]) -> str:
    return shortened(shown(move["vm"], move["moid"], shared), 28 if width == WIDE else 15)


def _timeline(evidence: Evidence, moves: Sequence[Mapping[str, Any]], width: float) -> str:
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


def _draw_bar(axis: Any, row: int, move: Mapping[str, Any], origin: str, end: float, divisor: float) -> None:
    """Measured as a bar, predicted as a line under it; what did not arrive is hollow and says so in words."""
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
        # Within a long bar, which is hollow; else beside it, on the side where there is room.
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


def _draw_stall(axis: Any, experiment: Mapping[str, Any], divisor: float) -> None:
    stall = experiment["longest_stall"]
    if stall is None or experiment["stall_at"] is None:
        return
    start, length = experiment["stall_at"] / divisor, stall["seconds"] / divisor
    axis.axvspan(start, start + length, color=COLOURS["stall"], alpha=0.35, linewidth=0, gid="stall")
    # A stall may be narrower than a pixel; the mark is not.
    middle, across = start + length / 2, axis.get_xaxis_transform()
    axis.plot([middle] * 2, [0, _MARK], color=COLOURS["stall"], lw=1.2, transform=across)
    axis.plot([middle], [_MARK], marker="v", ms=6, color=COLOURS["stall"], transform=across, gid="stall-mark")
    late = middle > sum(axis.get_xlim()) / 2
    axis.annotate(
        f"stall {stall['seconds']:.2f} s", (middle, _MARK), (-7 if late else 7, 0), xycoords=across, va="center",
        textcoords="offset points", ha="right" if late else "left", color=COLOURS["stall"],
    )  # fmt: skip


def _axis(figure: Any, width: float, height: float, *, left: float, top: float) -> Any:
    """Axes with margins in inches, so that text of another font than matplotlib's still fits."""
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
    """Set the time axis for a run of ``end`` seconds; the number of seconds in its unit."""
    divisor, unit = next((d, name) for limit, d, name in _UNITS if end <= limit)
    axis.set_xlim(0, 1.03 * end / divisor)
    axis.set_xlabel(f"{unit} since the run began", color=COLOURS["text"])
    axis.locator_params(axis="both", nbins=5)
    return divisor


@contextmanager
def _figure(width: float, height: float, salt: str) -> Iterator[tuple[Any, Callable[[], str]]]:
    """A figure, and what gives its SVG once the block is left. The salt keeps ids of figures on one page apart."""
    import matplotlib  # noqa: PLC0415 - heavy, and only reports need it
    from matplotlib.figure import Figure  # noqa: PLC0415

    text: list[str] = []
    # On the page every figure's text comes out at 11 to 15 px.
    size = {WIDE: 8.5, NARROW: 9.5, SMALL: 10.5}[width]
    style = {"svg.hashsalt": salt, "svg.fonttype": "none", "font.size": size}
    with matplotlib.rc_context(style), warnings.catch_warnings():
        # Text stays text, so it does not matter which characters matplotlib's own font lacks.
        warnings.filterwarnings("ignore", r"Glyph \d+", UserWarning)
        figure = Figure(figsize=(width, height))
        figure.patch.set_visible(False)
        yield figure, lambda: text[0]
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text.append(_for_the_page(stream.getvalue()))


def _for_the_page(svg: str) -> str:
    """The bare element: groups named by what they show, colours and fonts left to the page."""
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
