# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A recording shows what the terminal showed, once, and without waiting."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from scripts.recording import (
    LAST_FRAME,
    MAX_PAUSE,
    Frame,
    Line,
    Screen,
    Written,
    film_of,
    frames_of,
    last_screen,
    record,
    still_of,
)


def text_of(line: Line) -> str:
    return "".join(text for text, _colour in line)


def shown(text: str, rows: int = 10, columns: int = 20) -> list[str]:
    screen = Screen(columns)
    screen.write(text)
    return [text_of(line) for line in screen.lines(rows)]


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        ("one\r\ntwo\r\n", ["one", "two"]),
        ("one\r\n\r\ntwo", ["one", "", "two"]),
        ("bar 1\r\nbar 2\r\n\r\x1b[2A\x1b[Jline\r\nbar 3\r\n", ["line", "bar 3"]),
        ("abc\rX", ["Xbc"]),
        ("abc\r\x1b[KX", ["X"]),
        ("a\x1b[0;32mb\x1b[0mc", ["abc"]),
        ("\x1b[?25l\x1b(Bsome\x1b[1A", ["some"]),
        ("→ 17 %", ["→ 17 %"]),
        ("x" * 25, ["x" * 20, "x" * 5]),
        ("\n".join("abcdefghijkl"), list("cdefghijkl")),
    ],
)
def test_the_screen_shows_what_a_terminal_shows(written: str, lines: list[str]) -> None:
    assert shown(written.replace("\n", "\r\n").replace("\r\r", "\r")) == lines


def test_colours_are_kept() -> None:
    screen = Screen(20)
    screen.write("a\x1b[0;32mok\x1b[0mb\x1b[1;91mbad")
    assert screen.lines(1) == ((("a", -1), ("ok", 2), ("b", -1), ("bad", 1)),)


def test_pauses_are_cut_and_what_comes_at_once_is_one_frame() -> None:
    written = [Written(0.0, "a\r\n"), Written(0.01, "b\r\n"), Written(60.0, "c\r\n"), Written(60.02, "d\r\n")]
    frames = frames_of(written, 20, 10)
    assert [[text_of(line) for line in frame.lines] for frame in frames] == [["a", "b"], ["a", "b", "c", "d"]]
    assert [frame.seconds for frame in frames] == [MAX_PAUSE, LAST_FRAME]


def test_the_film_is_valid_and_each_line_is_in_it_once() -> None:
    first: Line = (("<run> & ", -1), ("ok", 2))
    svg = film_of([Frame(1.0, (first,)), Frame(3.0, (first, (), (("end", -1),)))], 20, 3, "A <run>")
    root = ElementTree.fromstring(svg)
    name = "{http://www.w3.org/2000/svg}"
    assert [each.text for each in root.iter(f"{name}title")] == ["A <run>"]
    assert [each.get("id") for each in root.iter(f"{name}text")] == ["l0", "l2"]
    assert len(list(root.iter(f"{name}use"))) == 3
    assert re.findall(r"([\d.]+)%\{transform:translateY\(-(\d+)px\)", svg) == [("0.000", "0"), ("25.000", "78")]
    assert "animation:film 4.00s step-end infinite" in svg
    assert "prefers-reduced-motion" in svg


def test_a_command_is_recorded_on_a_terminal_of_the_size(tmp_path: Path) -> None:
    code = "import os, sys; print(os.get_terminal_size().columns, sys.stdout.isatty(), 'é→')"
    written = record([sys.executable, "-c", code], os.environ, tmp_path, 77, 20)
    assert "".join(each.text for each in written) == "77 True é→\r\n"
    with pytest.raises(subprocess.CalledProcessError):
        record([sys.executable, "-c", "raise SystemExit(3)"], os.environ, tmp_path, 77, 20)


def test_what_is_typed_reaches_the_command_as_from_a_keyboard(tmp_path: Path) -> None:
    # One long sleep may begin just after the signal, and then lasts to its end.
    code = "import time\nprint('ready', flush=True)\nfor _ in range(6000):\n    time.sleep(0.01)"
    typed = ["\x03"]
    written = record(
        [sys.executable, "-c", code],
        os.environ,
        tmp_path,
        77,
        20,
        react=lambda text: typed.pop() if typed and "ready" in text else "",
        fails=True,
    )
    said = "".join(each.text for each in written)
    assert "^C" in said
    assert "KeyboardInterrupt" in said


def test_a_still_has_each_line_where_the_terminal_has_it() -> None:
    lines = last_screen([Written(0.0, "a\r\n\x1b[0;31mred <b>\x1b[0m\r\n"), Written(9.0, "$ ")], 20, 2)
    root = ElementTree.fromstring(still_of(lines, 20, "The end"))
    name = "{http://www.w3.org/2000/svg}"
    texts = list(root.iter(f"{name}text"))
    assert ["".join(each.itertext()) for each in texts] == ["red <b>", "$ "]
    assert int(texts[1].get("y", "0")) - int(texts[0].get("y", "0")) == 18
    assert "@keyframes" not in still_of(lines, 20, "The end")
