# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The live page in a real browser: it follows the run without a hand, and stops when the report is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence import live_page
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.index import Row, render_index
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.live import heard
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.live_page import Moment, render_live
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.report import render_html
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.so_far import Seen
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from tests.browser.chromium import MODES, Mode, opened
from tests.builders.journals import entries, made_evidence, made_run

INSPECT = (Path(__file__).parent / "inspect.js").read_text()
REFRESH = 0.5  # seconds, so that the test is short
LONG = "wissenschaftliches-rechenzentrum-experiment-vm-with-a-name-as-long-as-vcenter-allows-it"


def page_after(seconds: float, prefix: str = "ML-cpu-vm") -> str:
    """The page of an evacuation of ten VMs, so many seconds after its begin."""
    events, _samples = made_run(10, ["uninterrupted", "stalled", "unknown", "restarted"], prefix=prefix)
    run = heard([entry for entry in entries(events) if entry.mono <= 1000 + seconds])
    watched = [Seen(e, 0.43, 0.05, 0.41, 12.0, "answered", False, True) for e in run.experiments.values()]
    return "".join(render_live(run, watched, Moment("2026-01-31T09:01:00.000Z")))


def replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_it_refreshes_until_the_report_is_there(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: bool
) -> None:
    monkeypatch.setattr(live_page, "REFRESH_SECONDS", REFRESH if script else 1)  # browsers round the tag's seconds down
    path = tmp_path / "report.html"
    replace(path, page_after(2))
    with opened(browser, path, MODES[0], script=script) as (page, asked):
        page.get_by_text("Under way: being prepared").wait_for()
        replace(path, page_after(30))
        page.get_by_text("1 of 10 VMs moved, 8 moving").wait_for()
        hold = page.get_by_label("Do not refresh this page")
        assert hold.is_visible() is script, "who cannot stop it is not offered to"
        if script:
            hold.check()
            replace(path, page_after(45))
            page.wait_for_timeout(3000 * REFRESH)
            page.get_by_text("1 of 10 VMs moved, 8 moving").wait_for()
            hold.uncheck()
        replace(path, render_html(made_evidence(1)))
        page.locator("#integrity").wait_for()
        replace(path, page_after(45))
        page.wait_for_timeout(3000 * REFRESH)
        assert page.locator("#integrity").is_visible(), "a report stays as it is"
        assert asked == []


PAGES = {
    "live": lambda: page_after(45),
    "live, long names": lambda: page_after(45, LONG),
    "index": lambda: index_of(""),
    "index, long names": lambda: index_of(LONG),
}


def index_of(prefix: str) -> str:
    """The index of an evacuation, its restore, and a folder that is not a run."""
    known = {"result": "failed", "verdict": "stalled", "verdicts": {"stalled": 1, "uninterrupted": 7}, "page": "report.html",
             "stall": {"seconds": 7.5, "low": 7.4, "high": 7.6}, "host": f"{prefix}esx-05", "vcenter": "vc"}  # fmt: skip
    day = {"started": "2026-01-31T09:00:00.000Z", "finished": "2026-01-31T09:30:00.000Z"}
    rows = [
        Row(f"20260131T090000Z-{purpose}-esx-05-7f3a", f"{purpose} {prefix}esx-05", purpose=purpose, **day, **known)
        for purpose in ("evacuate", "restore")
    ]
    return render_index(
        [*rows, Row(f"{prefix}lost+found", "lost+found", problem="it has no journal")], [f"{prefix}older"]
    )


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        (name, mode)
        for name in PAGES
        for mode in ((Mode(390),) if "long" in name else (Mode(1280), Mode(390, "dark"), Mode(768)))
    ],
    ids=str,
)
def test_everything_can_be_read_and_axe_finds_nothing(browser: Browser, tmp_path: Path, name: str, mode: Mode) -> None:
    path = tmp_path / "report.html"
    replace(path, PAGES[name]())
    with opened(browser, path, mode) as (page, asked):
        if name.startswith("live"):
            page.get_by_label("Do not refresh this page").check()  # a refresh would end what looks at the page
        seen = page.evaluate(INSPECT)
        found = Axe().run(page) if mode.width != 768 and "long" not in name else None
    assert asked == []
    assert seen["width"] == seen["viewport"] == mode.width, "nothing is wider than the window"
    lost = [t for t in seen["texts"] if t["area"] <= 0 or t["left"] < -0.5 or t["right"] > mode.width + 0.5]
    assert lost == [], "all text is within the window"
    assert [t for t in seen["texts"] if t["contrast"] < 4.5] == [], "WCAG 2.2, AA"
    if found is not None:
        assert found.response["passes"], "axe really looked"
        assert found.violations_count == 0, found.generate_report()
