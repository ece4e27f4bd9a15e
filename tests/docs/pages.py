# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands in the documentation: found in its pages, and run as one shell session a page."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.labs import ROOT

DOCSITE = ROOT / "docs" / "docsite"
BLOCK = re.compile(
    r"^```(?P<fence>console|shell)\n(?P<fenced>.*?)^```$"
    r"|^\.\. code-block:: (?P<directive>console|shell)\n\n(?P<indented>(?:   [^\n]*\n|\n)+)",
    re.MULTILINE | re.DOTALL,
)
HERE_DOCUMENT = re.compile(r"<<'?(\w+)'?")
MARK = "@@ "


@dataclass(frozen=True, slots=True)
class Command:
    """What a reader types, perhaps on several lines, and the lines that the page shows as its answer."""

    text: str
    shown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended; ``printed`` is standard output and error together."""

    command: Command
    code: int
    printed: str


def pages() -> list[Path]:
    """The docsite in the order of its table of contents, then README, which is a short form of it."""
    sections = yaml.safe_load((DOCSITE / "extra-docs.yml").read_text())["sections"]
    names = [name for section in sections for name in section["toctree"]]
    return [*(DOCSITE / "rst" / f"{name}.rst" for name in names), ROOT / "README.md"]


def commands(page: str) -> list[Command]:
    """The commands of a page in the order of reading. In ``console`` a ``$`` marks commands between their answers."""
    found: list[Command] = []
    for match in BLOCK.finditer(page):
        block = match["fenced"] or re.sub(r"^   ", "", match["indented"] or "", flags=re.MULTILINE)
        lines = block.strip("\n").split("\n")
        console = "console" in (match["fence"], match["directive"])
        found += _of_block(lines, prompted=console and any(line.startswith("$ ") for line in lines))
    return found


def _of_block(lines: list[str], *, prompted: bool) -> Iterator[Command]:
    rest = iter(lines)
    text, shown = "", []
    for line in rest:
        if prompted and not line.startswith("$ "):
            shown.append(line)
            continue
        if text:
            yield Command(text, tuple(shown))
        text, shown = _whole(line.removeprefix("$ ") if prompted else line, rest), []
    if text:
        yield Command(text, tuple(shown))


def _whole(line: str, rest: Iterator[str]) -> str:
    """A command with the lines that belong to it: after a backslash, or of a here-document."""
    text = line
    while text.endswith("\\"):
        text += "\n" + next(rest)
    here = HERE_DOCUMENT.search(line)
    while here and not text.endswith(f"\n{here[1]}"):
        text += "\n" + next(rest)
    return text


def run(
    script: list[Command], prelude: str, folder: Path, environment: Mapping[str, str], seconds: float
) -> list[Outcome]:
    """Run commands one after the other in one shell, so that what one exports holds for the next."""
    lines = [prelude]
    for number, command in enumerate(script):
        lines += [f"echo '{MARK}{number}'", command.text, f'echo "{MARK}{number} $?"']
    path = folder / ".page.sh"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    outcome = subprocess.run(
        ["bash", str(path)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    return [_outcome(number, command, outcome.stdout) for number, command in enumerate(script)]


def _outcome(number: int, command: Command, printed: str) -> Outcome:
    found = re.search(rf"^{MARK}{number}\n(.*?)^{MARK}{number} (\d+)$", printed, re.MULTILINE | re.DOTALL)
    return Outcome(command, int(found[2]), found[1]) if found else Outcome(command, -1, printed)


def missing(outcome: Outcome) -> list[str]:
    """Lines that the page shows and that were not printed, whatever their numbers, times and names of runs."""
    printed = _plain(outcome.printed)
    return [line for line in outcome.command.shown if line.strip(" .") and _plain(line) not in printed]


def _plain(text: str) -> str:
    return re.sub(r"\d+", "0", text)
