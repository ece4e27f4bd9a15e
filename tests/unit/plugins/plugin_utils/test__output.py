# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""On a terminal, long lines are folded between words; everywhere else a line stays a line."""

from __future__ import annotations

import pytest
from ansible_collections.liveml.vsphere.plugins.plugin_utils import _output
from ansible_collections.liveml.vsphere.plugins.plugin_utils._output import folded, say

LONG = "  The training stopped, and nothing continued it while it was watched."
COMMAND = "  To continue: ansible-playbook liveml.vsphere.evacuate_host -e evacuate_host_name=esx-05.example.com"
PATH = "  Report: /srv/" + "a-very-long-name/" * 4 + "report.html"


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("", [""]),
        ("  short", ["  short"]),
        (LONG, ["  The training stopped, and nothing", "    continued it while it was watched."]),
        (COMMAND, [COMMAND]),
        (PATH, ["  Report:", "    " + PATH.split()[1]]),
    ],
)
def test_a_line_is_folded_between_words(line: str, lines: list[str]) -> None:
    assert folded(line, 40) == lines


@pytest.mark.parametrize("terminal", [True, False])
def test_only_a_terminal_gets_folded_lines(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(_output, "_TERMINAL", terminal)
    monkeypatch.setattr(_output.display, "columns", 40)
    monkeypatch.setattr(_output.display, "display", shown.append)
    say(LONG)
    assert len(shown) == (2 if terminal else 1)
