# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The figures: a bar for each move at its place in time, the curve with its move and its stall, colours by name."""

from __future__ import annotations

import re
import warnings
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core import wording
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence import plots

from tests.builders.journals import made_evidence


def groups(svg: str, name: str) -> list[ET.Element]:
    root = ET.fromstring(svg)
    return [element for element in root.iter() if element.get("class") == name]


def ends(group: ET.Element) -> tuple[float, float]:
    """Least and greatest horizontal coordinate of a drawn shape."""
    path = next(element for element in group.iter() if element.tag.endswith("path"))
    across = [float(x) for x in re.findall(r"[ML] ([\d.]+) ", path.get("d", ""))]
    return min(across), max(across)


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter() if element.tag.endswith("text")]


@pytest.mark.parametrize(("moves", "figures"), [(1, 1), (8, 1), (32, 1), (33, 2), (64, 2)])
@pytest.mark.parametrize("width", [plots.WIDE, plots.NARROW])
def test_each_move_has_its_bar(moves: int, figures: int, width: float) -> None:
    evidence = made_evidence(moves)
    svgs = plots.timelines(evidence, width)
    assert len(svgs) == figures
    for name in ("bar", "predicted", "switch"):
        assert sum(len(groups(svg, name)) for svg in svgs) == moves
    assert sum(text.startswith("ML-cpu-vm-") for svg in svgs for text in texts(svg)) == moves


def test_bars_are_where_their_moves_were() -> None:
    evidence = made_evidence(9)
    (svg,) = plots.timelines(evidence, plots.WIDE)
    bars = [ends(group) for group in groups(svg, "bar")]
    origin = evidence["run"]["started"]
    times = [(plots._since(origin, m["started"]), plots._since(origin, m["finished"])) for m in evidence["moves"]]
    scale = (bars[0][1] - bars[0][0]) / (times[0][1] - times[0][0])
    zero = bars[0][0] - scale * times[0][0]
    for bar, time in zip(bars, times, strict=True):
        assert bar == pytest.approx([zero + scale * t for t in time], abs=0.2)
    predicted = [ends(group) for group in groups(svg, "predicted")]
    for line, move in zip(predicted, evidence["moves"], strict=True):
        assert line[1] - line[0] == pytest.approx(scale * move["predicted_seconds"], abs=0.2)


@pytest.mark.parametrize("result", ["timed_out", "failed", "not_started"])
def test_what_did_not_arrive_says_so_in_words(result: str) -> None:
    evidence = made_evidence(3, result=result)
    (svg,) = plots.timelines(evidence, plots.NARROW)
    assert result.replace("_", " ") in texts(svg)
    hollow = [group for group in groups(svg, "bar") if "fill: none" in ET.tostring(group).decode()]
    assert len(hollow) == 1


def test_a_move_that_never_began_has_a_row_and_no_bar() -> None:
    evidence = made_evidence(2)
    evidence["moves"][1].update(started=None, finished=None, switched_over=None, result="not_started")
    (svg,) = plots.timelines(evidence, plots.WIDE)
    assert len(groups(svg, "bar")) == 1
    assert {"ML-cpu-vm-00", "ML-cpu-vm-01", "not started"} <= set(texts(svg))


def test_a_run_without_moves_draws_without_fault() -> None:
    evidence = {**made_evidence(1, []), "moves": []}
    assert len(plots.timelines(evidence, plots.WIDE)) == 1


def test_the_curve_shows_progress_move_and_stall() -> None:
    evidence = made_evidence(1)
    experiment = evidence["experiments"][0]
    svg = plots.curve(evidence, experiment, plots.WIDE)
    (line,), (move,), (stall,) = (groups(svg, name) for name in ("curve", "move", "stall"))
    assert len(groups(svg, "stall-mark")) == 1
    assert "stall 0.50 s" in texts(svg)
    first, last = ends(line)
    scale = (last - first) / (experiment["curve"][-1][0] - experiment["curve"][0][0])
    ((start, end),) = experiment["moving"]
    assert ends(move) == pytest.approx((first + scale * start, first + scale * end), abs=0.3)
    at = first + scale * experiment["stall_at"]
    assert ends(stall) == pytest.approx((at, at + scale * 0.5), abs=0.3)


@pytest.mark.parametrize("change", [{"longest_stall": None}, {"stall_at": None}])
def test_no_stall_is_marked_where_none_was_found(change: dict[str, Any]) -> None:
    evidence = made_evidence(1)
    svg = plots.curve(evidence, {**evidence["experiments"][0], **change}, plots.SMALL)
    assert groups(svg, "stall") == groups(svg, "stall-mark") == []


def test_without_progress_the_figure_says_so() -> None:
    evidence = made_evidence(1)
    svg = plots.curve(evidence, {**evidence["experiments"][0], "curve": []}, plots.SMALL)
    assert "no progress was sampled" in texts(svg)
    assert groups(svg, "curve") == []


def test_every_colour_is_one_of_the_page_and_no_id_is_used_twice() -> None:
    evidence = made_evidence(8, ["uninterrupted", "failed"], result="failed")
    svgs = [svg for width in (plots.WIDE, plots.NARROW) for svg in plots.timelines(evidence, width)]
    svgs += [plots.curve(evidence, experiment, plots.SMALL) for experiment in evidence["experiments"]]
    text = "".join(svgs)
    painted = re.findall(r"(?:fill|stroke|color)[:=] ?\"?([^;\"]+)", text)
    assert {colour for colour in painted if colour != "none" and not colour.startswith("var(--")} == set()
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert "font-family" not in text


@pytest.mark.parametrize("name", ["<b>&$x$\\", "実験-機械学習-訓練サーバー-04", "W" * 80])
def test_any_name_is_drawn_as_it_is(name: str) -> None:
    evidence = made_evidence(1)
    evidence["moves"][0]["vm"] = name
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (svg,) = plots.timelines(evidence, plots.NARROW)
    assert wording.fitted(name, 15) in texts(svg)
    assert len(wording.fitted(name, 15)) <= 15


@pytest.mark.parametrize(("seconds", "unit"), [(200, "seconds"), (3000, "minutes"), (90000, "hours")])
def test_the_time_axis_has_a_fitting_unit(seconds: int, unit: str) -> None:
    evidence = made_evidence(1)
    evidence["experiments"][0]["curve"] = [[0.0, 0.1], [float(seconds), 0.9]]
    svg = plots.curve(evidence, evidence["experiments"][0], plots.SMALL)
    assert f"{unit} since the run began" in texts(svg)
