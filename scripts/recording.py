# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A recording of a terminal as SVG: ``record`` a command, then ``film_of`` what it wrote, or ``still_of`` what it showed last.

The film is a strip of frames, of which the style sheet shows one at a time, so that it also moves where scripts are not allowed. A reader
who wants no motion sees the last frame. The screen understands what the collection and Ansible write: colours, carriage returns, and
going up and clearing for the bars.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

MAX_PAUSE = 1.0  # seconds; a frame that was shown for longer is cut
MIN_FRAME = 0.25  # seconds; what changes sooner is in the next frame
LAST_FRAME = 8.0  # seconds
CELL, LINE, MARGIN, SIZE = 8.4, 18, 12, 14  # pixels: width and height of a character, and the size of the font
COLOURS = ("#8b949e", "#ff7b72", "#7ee787", "#e3b341", "#79c0ff", "#d2a8ff", "#76e3ea", "#f0f6fc")
BACK, FORE = "#0d1117", "#e6edf3"
_CODE = re.compile(r"\x1b\[([\d;?]*)([A-Za-z])|\x1b[()][A-Z0-9]|\r|\n|\t|[^\x1b\r\n\t]+|\x1b")

Piece = tuple[str, int]  # text, and its colour from 0; -1 is the usual one
Line = tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """What a command wrote, and when, in seconds since its start."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Frame:
    """What the terminal showed for some seconds."""

    seconds: float
    lines: tuple[Line, ...]


def record(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    columns: int,
    rows: int,
    *,
    react: Callable[[str], str] = lambda _text: "",
    fails: bool = False,
) -> list[Written]:
    """Run a command on a terminal of this size; ``react`` returns what a person types when they see a text.

    Raises CalledProcessError if it fails, or with ``fails`` if it does not.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=dict(environment),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=_take_terminal,  # noqa: PLW1509  # one thread; Ctrl-C then reaches it as it does for a person
    )
    os.close(theirs)
    found, rest = [], b""
    while part := _read(ours):
        # A chunk may end within a character.
        text = (rest + part).decode(errors="ignore")
        rest = (rest + part)[len(text.encode()) :]
        found.append(Written(time.monotonic() - began, text))
        os.write(ours, react(text).encode())
    os.close(ours)
    if bool(process.wait()) != fails:
        raise subprocess.CalledProcessError(process.returncode, command, "".join(each.text for each in found))
    return found


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the background of a shell ignores it


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux's end of file on a terminal
        return b""


class Screen:
    """The lines of a terminal. A longer line continues in the next one."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._cells: list[list[tuple[str, int]]] = [[]]
        self._row = self._column = 0
        self._colour = -1

    def write(self, text: str) -> None:
        """Do what a terminal does with this text."""
        for code in _CODE.finditer(text):
            if code[2]:
                self._control(code[1], code[2])
            elif code[0] == "\r":
                self._column = 0
            elif code[0] == "\n":
                self._down()
            elif not code[0].startswith("\x1b"):
                self._put(code[0].replace("\t", " " * 8))

    def lines(self, rows: int) -> tuple[Line, ...]:
        """The last lines, as pieces of one colour."""
        cells = self._cells if self._cells[-1] else self._cells[:-1]
        return tuple(_pieces(line) for line in cells[-rows:])

    def _control(self, numbers: str, kind: str) -> None:
        number = numbers.partition(";")[0]
        first = int(number) if number.isdigit() else 0
        if kind == "A":
            self._row = max(0, self._row - max(1, first))
        elif kind == "J" and not first:
            del self._cells[self._row + 1 :]
            del self._cells[self._row][self._column :]
        elif kind == "K" and not first:
            del self._cells[self._row][self._column :]
        elif kind == "m":
            self._paint(numbers)

    def _paint(self, numbers: str) -> None:
        for number in (int(each or 0) for each in numbers.split(";")):
            if number in (0, 39):
                self._colour = -1
            elif 30 <= number <= 37 or 90 <= number <= 97:
                self._colour = number % 10

    def _down(self) -> None:
        self._row, self._column = self._row + 1, 0
        if self._row == len(self._cells):
            self._cells.append([])

    def _put(self, text: str) -> None:
        for character in text:
            if self._column == self._columns:
                self._down()
            line = self._cells[self._row]
            line += [(" ", -1)] * (self._column - len(line))
            line[self._column : self._column + 1] = [(character, self._colour)]
            self._column += 1


def _pieces(cells: list[tuple[str, int]]) -> Line:
    found: list[Piece] = []
    for character, colour in cells:
        if found and found[-1][1] == colour:
            found[-1] = (found[-1][0] + character, colour)
        else:
            found.append((character, colour))
    return tuple(found)


def frames_of(written: Iterable[Written], columns: int, rows: int) -> list[Frame]:
    """The frames of a recording, without long pauses."""
    screen, found = Screen(columns), []
    waiting: tuple[Line, ...] = ()
    began = 0.0
    for each in written:
        if waiting and each.at - began >= MIN_FRAME:
            found.append(Frame(round(min(each.at - began, MAX_PAUSE), 2), waiting))
            began = each.at
        screen.write(each.text)
        waiting = screen.lines(rows)
    return [*found, Frame(LAST_FRAME, waiting)]


def film_of(frames: Sequence[Frame], columns: int, rows: int, title: str) -> str:
    """The animated SVG. Each different line is in it once."""
    width, height = _size(columns, rows)
    known: dict[Line, str] = {}
    for frame in frames:
        for line in frame.lines:
            known.setdefault(line, f"l{len(known)}")
    drawn = "".join(f'<text id="{name}">{_spans(line)}</text>' for line, name in known.items() if line)
    film = "".join(
        f'<g transform="translate(0 {number * height})">{_uses(frame, known)}</g>'
        for number, frame in enumerate(frames)
    )
    total = sum(frame.seconds for frame in frames)
    last = f"transform:translateY(-{(len(frames) - 1) * height}px)"
    motion = (
        f"@keyframes film{{{''.join(_steps(frames, height, total))}}}"
        f"#film{{{last};animation:film {total:.2f}s step-end infinite}}"
        f"@media(prefers-reduced-motion:reduce){{#film{{animation:none}}}}"
    )
    return _svg(width, height, title, motion, f"<defs>{drawn}</defs>", f'<g id="film">{film}</g>')


def still_of(lines: Sequence[Line], columns: int, title: str) -> str:
    """The SVG of lines, which does not move."""
    width, height = _size(columns, len(lines))
    drawn = "".join(
        f'<text x="{MARGIN}" y="{_baseline(number)}">{_spans(line)}</text>' for number, line in enumerate(lines) if line
    )
    return _svg(width, height, title, "", "", drawn)


def last_screen(written: Iterable[Written], columns: int, rows: int) -> tuple[Line, ...]:
    """The lines that a terminal shows at the end."""
    screen = Screen(columns)
    for each in written:
        screen.write(each.text)
    return screen.lines(rows)


def _size(columns: int, rows: int) -> tuple[int, int]:
    return round(columns * CELL) + 2 * MARGIN, rows * LINE + 2 * MARGIN


def _svg(width: int, height: int, title: str, style: str, defs: str, body: str) -> str:
    """``body`` on the background of a terminal."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"'
        f' aria-labelledby="title"><title id="title">{escape(title)}</title>'
        f"<style>text{{font:{SIZE}px ui-monospace,Consolas,Menlo,monospace;fill:{FORE};white-space:pre}}"
        f"{''.join(f'.c{number}{{fill:{colour}}}' for number, colour in enumerate(COLOURS))}{style}</style>"
        f'{defs}<rect width="{width}" height="{height}" rx="6" fill="{BACK}"/>{body}</svg>\n'
    )


def _baseline(number: int) -> int:
    """Where a line stands, in pixels from the top."""
    return MARGIN + LINE * (number + 1) - 4


def _spans(line: Line) -> str:
    return "".join(
        f'<tspan class="c{colour}">{escape(text)}</tspan>' if colour >= 0 else escape(text) for text, colour in line
    )


def _uses(frame: Frame, known: Mapping[Line, str]) -> str:
    return "".join(
        f'<use href="#{known[line]}" x="{MARGIN}" y="{_baseline(number)}"/>'
        for number, line in enumerate(frame.lines)
        if line
    )


def _steps(frames: Sequence[Frame], height: int, total: float) -> Iterator[str]:
    at = 0.0
    for number, frame in enumerate(frames):
        yield f"{100 * at / total:.3f}%{{transform:translateY(-{number * height}px)}}"
        at += frame.seconds
