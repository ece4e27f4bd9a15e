# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finding and starting Chromium, and opening a report in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
# The browser itself must not request anything either.
QUIET = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PAPER = 688  # CSS pixels between the margins of A4
TALL = 900


def find_chromium() -> str | None:
    """Path of this machine's Chromium."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def running_chromium(path: str) -> Iterator[Browser]:
    """A headless Chromium with a profile of its own; as root it runs without sandbox."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET), chromium_sandbox=False)
        try:
            yield browser
        finally:
            browser.close()


@dataclass(frozen=True, slots=True)
class Mode:
    """How a page is viewed: ``width`` in CSS pixels, ``scheme`` light or dark, ``media`` screen or print."""

    width: int
    scheme: str = "light"
    media: str = "screen"

    def __str__(self) -> str:
        return "print" if self.media == "print" else f"{self.width}-{self.scheme}"


MODES = (Mode(1280), Mode(1280, "dark"), Mode(390), Mode(390, "dark"), Mode(PAPER, "dark", "print"))


@contextmanager
def opened(browser: Browser, report: Path, mode: Mode, *, script: bool = True) -> Iterator[tuple[Page, list[str]]]:
    """A report as a page, and every other address that it requested. Such requests are blocked."""
    context = browser.new_context(
        viewport={"width": mode.width, "height": TALL},
        color_scheme="dark" if mode.scheme == "dark" else "light",
        java_script_enabled=script,
    )
    try:
        page, asked = context.new_page(), []

        def decide(route: object) -> None:
            address = route.request.url  # type: ignore[attr-defined]
            if address == report.as_uri():
                route.continue_()  # type: ignore[attr-defined]
            else:
                asked.append(address)
                route.abort()  # type: ignore[attr-defined]

        page.route("**/*", decide)
        page.emulate_media(media="print" if mode.media == "print" else "screen")
        page.goto(report.as_uri())
        yield page, asked
    finally:
        context.close()
