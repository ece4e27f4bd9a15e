# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a person sees of a run: bars on a terminal, plain lines in a pipe, and every transition once in both."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path

from ansible_collections.liveml.vsphere.plugins.module_utils._display.lines import line
from ansible_collections.liveml.vsphere.plugins.module_utils._run.journal import read_journal
from ansible_collections.liveml.vsphere.plugins.plugin_utils._output import folded

from tests.labs import ROOT, play, playbook_command, playbook_environment, running_lab
from tests.measuring import PATIENCE

HOST = "esx-01"
COLUMNS = 160


def on_a_terminal(command: list[str], environment: dict[str, str], look: Callable[[], None]) -> str:
    """Everything a command writes to a terminal of ``COLUMNS`` by 40; ``look`` is called whenever it has written."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux's end of file on a terminal
            break
        if not part:
            break
        written += part
        look()
    os.close(ours)
    assert process.wait(timeout=PATIENCE) == 0, written.decode()
    return written.decode()


def left_standing(written: str) -> list[str]:
    """The lines that stand on the terminal in the end; the plugin erases its block by going up and clearing."""
    lines = [""]
    for part in re.split(r"(\r\x1b\[\d+A\x1b\[J|\n)", written):
        if part == "\n":
            lines.append("")
        elif erased := re.fullmatch(r"\r\x1b\[(\d+)A\x1b\[J", part):
            del lines[-1 - int(erased[1]) :]
            lines.append("")
        else:
            lines[-1] += part.replace("\r", "")
    return lines


def transitions(state_dir: Path, purpose: str) -> list[str]:
    """The lines that the journal's transitions must have made. An event of progress is not a transition."""
    journal = read_journal(max((state_dir / "runs").glob(f"*-{purpose}-*")) / "journal.jsonl")
    told = [line(entry) for entry in journal.entries if not entry.event.volatile]
    return [f"  {text}" for text in told if text is not None]


def test_a_terminal_has_bars_and_a_pipe_has_plain_lines(tmp_path: Path) -> None:
    with running_lab(
        "--no-guests", "--drs", "full", "--topology", "lab/topologies/small.yml", "--time-scale", "0.3"
    ) as lab:
        command = playbook_command("evacuate_host", tmp_path, evacuate_host_name=HOST)
        pages: dict[str, str] = {}

        def look() -> None:
            """Keep each page that is there meanwhile, by its headline."""
            for path in tmp_path.glob("runs/*/report.html"):
                page = path.read_text(encoding="utf-8")
                pages[re.sub("<[^>]+>", "", page.partition("<strong>")[2].partition("</strong>")[0])] = page

        written = on_a_terminal(command, {**playbook_environment(lab), "TERM": "xterm"}, look)
        under_way = [page for headline, page in pages.items() if headline.startswith("Under way")]
        assert under_way, pages.keys()
        assert all('http-equiv="refresh"' in page for page in under_way)
        [report] = tmp_path.glob("runs/*/report.html")
        assert f"live page: {report}" in "".join(left_standing(written))
        assert "http-equiv" not in report.read_text(encoding="utf-8"), "the report does not refresh"
        assert re.search(r"ML-cpu-vm-01 +█+░+ +\d+ % → esx-0\d", written), "a bar for the move"
        assert re.search(r"of 3 moved \(\d+ % of the work\), 3 moving, about \d+ s left", written)
        standing = left_standing(written)
        assert not [text for text in standing if "█" in text or "░" in text]
        expected = [part for told in transitions(tmp_path, "evacuate") for part in folded(told, COLUMNS - 1)]
        assert [text for text in standing if text in expected] == expected

        out = play("restore_host", lab, tmp_path, restore_host_name=HOST)
        assert out.returncode == 0, out.stdout
        assert "\x1b" not in out.stdout
        assert "█" not in out.stdout
        expected = transitions(tmp_path, "restore")
        assert [text for text in out.stdout.splitlines() if text in expected] == expected
        assert not re.search(r"moving \d+ %", out.stdout)
