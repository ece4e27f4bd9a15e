# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report in a real browser: at a desk, on a phone, in the dark and on paper, for 1, 8 and 64 moves."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.advice import VERDICTS
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.report import MAX_CURVES, render_html
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from tests.browser.chromium import MODES, PAPER, Mode, opened
from tests.builders.journals import made_evidence

INSPECT = (Path(__file__).parent / "inspect.js").read_text()
MIXED = ["uninterrupted", "completed", "stalled", "restarted", "failed", "unknown", "lost", "uninterrupted"]
LONG = "wissenschaftliches-rechenzentrum-experiment-vm-with-a-name-as-long-as-vcenter-allows-it"
RUNS = {
    "1": {"moves": 1},
    "8": {"moves": 8, "verdicts": MIXED},
    "64": {"moves": 64, "verdicts": MIXED * 8, "result": "timed_out"},
    "none": {"moves": 2, "verdicts": []},
    "long names": {"moves": 3, "verdicts": MIXED[3:5], "prefix": LONG},
}
TABLET = Mode(768)
EVERY_MODE = (*MODES[:-1], TABLET, Mode(768, "dark"), Mode(PAPER, "light", "print"), MODES[-1])
# Curves that have points and a stall that stood out.
MARKED = {"uninterrupted", "completed", "stalled", "unknown"}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    paths = {name: folder / f"{name.replace(' ', '-')}.html" for name in RUNS}
    for name, path in paths.items():
        path.write_text(render_html(made_evidence(**RUNS[name])), encoding="utf-8")
    return paths


@pytest.fixture(scope="module")
def of_verdict(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The report of a run with one experiment, by its verdict."""
    folder = tmp_path_factory.mktemp("verdicts")

    @cache
    def written(verdict: str) -> Path:
        path = folder / f"{verdict}.html"
        path.write_text(render_html(made_evidence(2, [verdict])), encoding="utf-8")
        return path

    return written


@pytest.fixture(scope="module")
def look(browser: Browser, reports: dict[str, Path]) -> Callable[[str, Mode], dict[str, Any]]:
    """What can be seen of a report in a mode. Each report is opened once per mode."""

    @cache
    def looked(name: str, mode: Mode) -> dict[str, Any]:
        with opened(browser, reports[name], mode) as (page, asked):
            return {**page.evaluate(INSPECT), "asked": asked}

    return looked


Look = Callable[[str, Mode], dict[str, Any]]


@pytest.mark.parametrize(("name", "mode"), [*itertools.product(RUNS, MODES), ("8", TABLET)], ids=str)
def test_everything_can_be_read(look: Look, name: str, mode: Mode) -> None:
    assert_readable(look(name, mode), mode, min_texts=1 if name == "none" else 100)


def assert_readable(seen: dict[str, Any], mode: Mode, min_texts: int = 50) -> None:
    """All text is in the window or on the page, large and distinct enough, and nothing was requested."""
    assert seen["asked"] == [], "the page requests nothing"
    assert seen["width"] == seen["viewport"] == mode.width, "nothing is wider than the window"
    texts = seen["texts"]
    assert len(texts) >= min_texts
    lost = [t for t in texts if t["area"] <= 0 or t["left"] < -0.5 or t["right"] > mode.width + 0.5]
    assert lost == [], "all text is within the window"
    assert [t for t in texts if t["contrast"] < 4.5] == [], "WCAG 2.2, AA"
    min_size = {"screen": 10.8, "print": 8.5}[mode.media]
    assert [t for t in texts if t["size"] < min_size] == []
    dark = mode.scheme == "dark" and mode.media == "screen"
    assert (seen["background"] == "rgb(18, 22, 27)") == dark, "paper is white"


@pytest.mark.thorough
@pytest.mark.parametrize("mode", EVERY_MODE, ids=lambda mode: f"{mode}-{mode.scheme}")
@pytest.mark.parametrize("verdict", VERDICTS)
def test_the_report_of_each_verdict_can_be_read_everywhere(
    browser: Browser, of_verdict: Callable[[str], Path], verdict: str, mode: Mode
) -> None:
    with opened(browser, of_verdict(verdict), mode) as (page, asked):
        assert_readable({**page.evaluate(INSPECT), "asked": asked}, mode)
        found = Axe().run(page)
        said = page.inner_text("body")
    assert found.response["passes"], "axe really looked"
    assert found.violations_count == 0, found.generate_report()
    assert verdict == "failed" or VERDICTS[verdict].means in said


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("name", RUNS)
def test_the_figures_show_each_move_and_the_worst_curves(look: Look, name: str, mode: Mode) -> None:
    figures = look(name, mode)["figures"]
    moves, verdicts = RUNS[name]["moves"], RUNS[name].get("verdicts", ["uninterrupted"])
    assert sum(figure["bars"] for figure in figures) == moves, "one size of the timeline is shown, whole"
    assert sum(figure["bars"] > 0 for figure in figures) == (2 if moves > 32 else 1)
    assert sum(figure["curves"] for figure in figures) == min(len(verdicts), MAX_CURVES)
    if len(verdicts) <= MAX_CURVES:
        assert sum(figure["marks"] for figure in figures) == sum(verdict in MARKED for verdict in verdicts)
    assert all(figure["width"] > 250 and figure["height"] > 40 for figure in figures)
    painted = {colour for figure in figures for colour in figure["colours"]}
    light = {"rgb(0, 96, 168)", "rgb(179, 60, 0)", "rgb(0, 105, 79)", "rgb(154, 51, 0)", "rgb(0, 85, 63)"}
    dark = {"rgb(92, 179, 245)", "rgb(255, 157, 108)", "rgb(86, 212, 164)"}
    assert painted
    assert painted <= (dark if mode.scheme == "dark" and mode.media == "screen" else light)


@pytest.mark.parametrize(("name", "max_pages"), [("1", 3), ("8", 7), ("64", 19), ("none", 2)])
def test_it_prints_on_so_many_pages(browser: Browser, reports: dict[str, Path], name: str, max_pages: int) -> None:
    with opened(browser, reports[name], MODES[-1]) as (page, _asked):
        document = page.pdf(prefer_css_page_size=True, format="A4")
    pages = len(re.findall(rb"/Type\s*/Page\b(?!s)", document))
    assert 1 <= pages <= max_pages


@pytest.mark.parametrize("mode", [MODES[0], MODES[3]], ids=str)
@pytest.mark.parametrize("name", ["1", "8", "none"])
def test_axe_finds_nothing(browser: Browser, reports: dict[str, Path], name: str, mode: Mode) -> None:
    with opened(browser, reports[name], mode) as (page, _asked):
        found = Axe().run(page)
    assert found.response["passes"], "axe really looked"
    assert found.violations_count == 0, found.generate_report()
