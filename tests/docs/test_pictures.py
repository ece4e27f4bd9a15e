# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pictures of the documentation are shown, show nothing of the machine that made them, and are not old."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import pytest

from scripts.screens import SHOWN
from scripts.screenshots import FILM, IMAGES, MADE, shown_now
from tests.docs.pages import pages
from tests.labs import ROOT

SVG = "{http://www.w3.org/2000/svg}"
SCREENS = {name: IMAGES / f"screen-{name}.svg" for name in SHOWN}


def text_of(name: str) -> str:
    """What a screen says, with folded lines as one."""
    root = ElementTree.fromstring(SCREENS[name].read_text(encoding="utf-8"))
    lines = ["".join(each.itertext()) for each in root.iter(f"{SVG}text")]
    return re.sub(r"\s+", " ", " ".join(lines))


def test_each_picture_is_shown_with_a_text_for_those_who_do_not_see_it() -> None:
    texts = "".join(page.read_text(encoding="utf-8") for page in [*pages(), ROOT / "docs" / "report.md"])
    shown = set(re.findall(r"images/([\w.-]+)", texts))
    assert {path.name for path in IMAGES.iterdir()} - {MADE.name} == shown
    for rst in (ROOT / "docs" / "docsite" / "rst").glob("*.rst"):
        text = rst.read_text(encoding="utf-8")
        assert len(re.findall(r"^\.\. image::", text, re.MULTILINE)) == len(
            re.findall(r"^   :alt: .{20}", text, re.MULTILINE)
        )


@pytest.mark.parametrize("path", [FILM, *SCREENS.values()], ids=lambda path: path.name)
def test_a_terminal_shows_nothing_of_the_machine(path: object) -> None:
    text = path.read_text(encoding="utf-8")  # type: ignore[attr-defined]
    ElementTree.fromstring(text)
    assert not re.search(r"/(tmp|work|root|home)/", text)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("success", ["Evacuation of esx-05 succeeded at", "10 of 10 VMs moved: ", "esx-05 is in maintenance mode. On it: 0 VMs running, 1 powered off (ML-cpu-vm-15).", "uninterrupted",
                     "Report: ~/", "After the repair, to end the maintenance mode and bring the VMs home: ansible-playbook"]),
        ("failure", ["Evacuation of esx-05 failed at", "because an experiment was lost.", ": lost. Owner: forecasting. ", "last seen at", "What its owner has to do: ", "Run again: "]),
        ("interruption", ["was interrupted.", "In flight: ", "Not begun: ", "stays fenced", "were not cancelled", "See how far these moves are: ", "Either continue (waits for these moves, at most 10 minutes): ", "or lift the fence and bring the VMs back (waits likewise): "]),
        ("resumed", ["Evacuation of esx-05 succeeded at", "(9 earlier, 1 now)", "In the other 9 VMs no experiment was found"]),
        ("check_mode", ["Check mode: Evacuation of esx-05 would move 10 VMs", "1 experiment in 1 of 10 VMs: ", "To do it: "]),
        ("restore", ["Restore of esx-05 succeeded at", "10 of 10 VMs moved to esx-05.", "esx-05 is in service: "]),
        ("nothing_to_do", ["No VM had to move.", "esx-05 is in maintenance mode. On it: 0 VMs running"]),
        ("cannot_leave", ["was not started at", "This call moved no VM.", "Why: ML-cpu-vm-09 stays", "Change what keeps the VM there", "esx-01 is in service: DRS and people may place VMs on it.", "Or move only the other VM; "]),
        ("unknown_host", ["Why: vCenter has no host named esx-50. Did you mean esx-05?", "If you mean esx-05: ansible-playbook "]),
    ],
)  # fmt: skip
def test_a_last_screen_says_what_happened_and_what_to_type(name: str, words: list[str]) -> None:
    said = text_of(name)
    assert [each for each in words if each not in said] == []


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["report", "terminal"])
def test_no_picture_is_older_than_what_it_shows(kind: str) -> None:
    assert json.loads(MADE.read_text(encoding="utf-8"))[kind] == shown_now()[kind], "run make screenshots"
