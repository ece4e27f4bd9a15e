# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Words that the card "Plain English" in CONTRIBUTING.md forbids, as far as a list of patterns can find them.

``python -m tests.lint.english PATH...`` checks some files and folders.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.labs import ROOT


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern, the remedy, and a sentence before and after the remedy. A space in a pattern is any white space."""

    pattern: str
    remedy: str
    wrong: str
    right: str

    @property
    def regex(self) -> re.Pattern[str]:
        """The compiled pattern; a sentence may continue on the next line."""
        return re.compile(self.pattern.replace(" ", r"\s+"), re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Finding:
    """Words in a file that a rule forbids."""

    path: Path
    line: int
    words: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.words!r}: {self.remedy}"


PERIOD = (
    "second|minute|hour|day|host|vm|move|line|step|trial|window|question|source|length|experiment|node|page|processor"
)
RULES = (
    Rule(
        r"(?<!\S)(?!\W*there\b)\S+ (?:is|are|was|were) no (?!longer\b|more than\b|later than\b)",
        'say "is not a ..." or "has no ..."',
        "That is no host.",
        "That is not a host.",
    ),
    Rule(
        r"\b(?:tell|tells|telling|told)\b",
        "say, report, return, show or distinguish",
        "The answer tells the progress.",
        "The answer shows the progress.",
    ),
    Rule(r"\bshall\b", "say must, or use the present tense", "Others shall not wait.", "Others must not wait."),
    Rule(
        r"(?-i:\b(?:[Hh]e|[Hh]is|him|[Ss]he|hers)\b)",
        "say they or their",
        "An operator and his host.",
        "Operators and their hosts.",
    ),
    Rule(
        rf"\b(?:once|twice|times|steps|questions|samples|freezes|calls|ms|hz|\d+) an? (?:{PERIOD})\b",
        "say per",
        "It asks 5 times a second.",
        "It asks 5 times per second.",
    ),
    Rule(
        r"\b(?:an?|one) (?:json )?(?:line|thread|row|object|session|task) an? (?:step|experiment|move|fate|trial|vm|host)\b",
        "say per, or for each",
        "It writes a line a step.",
        "It writes one line per step.",
    ),
    Rule(r"\bof both\b(?! \w)", "say of the two", "It says which of both.", "It says which of the two."),
    Rule(r"\bthe least\b(?!-| used\b)", "say the minimum or the lowest", "The least rate.", "The lowest rate."),
    Rule(
        r"\bhand(?:s|ed|ing)? (?:\w+ ){0,3}(?:over|on)\b(?! the other)",
        "say pass, publish or return",
        "Jobs hand the id on.",
        "Jobs pass the id to later jobs.",
    ),
    Rule(r"\bforg[eo]t(?:s|ten|ting)?\b", "say reset, discard or delete", "Forget the run.", "Reset the results."),
    Rule(
        r"\b(?:go|goes|going|went|gone) on\b(?! (?:top|the|an?|one|its|standard|another)\b)",
        "say continue or resume",
        "A killed run goes on.",
        "A killed run is resumed.",
    ),
    Rule(
        r"\b(?:take|takes|took|taken|taking) up\b",
        "say resume or follow",
        "It takes up the moves.",
        "It follows the moves.",
    ),
    Rule(r"\b(?:came|comes?) to harm\b|\bharmed\b", "say interrupted", "It came to harm.", "It was interrupted."),
    Rule(r"\bwhat bec[ao]me(?:s)? of\b", "say the outcome of", "What became of it.", "The outcome of it."),
    Rule(r"\bend(?:s|ed)? well\b", "say succeed", "The run ended well.", "The run succeeded."),
    Rule(r"\bmend(?:s|ed|ing)?\b", "say fix or correct", "Mend the pattern.", "Correct the pattern."),
    Rule(
        r"\b(?:holds?|held) (?:the|its|their) (?:truth|true)\b",
        "say contain",
        "The interval holds the true length.",
        "The interval contains the true length.",
    ),
    Rule(
        r"\bstands? (?:in|there|under|below|beside|above)\b(?! for\b)",
        "say is",
        "The reason stands in the report.",
        "The reason is in the report.",
    ),
    Rule(
        r"\b(?:whatever|than|from|fits?|against) the present\b",
        "say the current state or now",
        "The plan no longer fits the present.",
        "The plan is out of date.",
    ),
    Rule(
        r"\b(?!there )\w+ is none\b",
        'say "is not one" or "does not exist"',
        "A log without steps is none.",
        "A log without steps is not a training.",
    ),
    Rule(r"\bgives none\b", 'say "does not ..." or "returns nothing"', "It gives none.", "It returns nothing."),
    Rule(
        r"\bwhere (?:none\b|(?:it|that|this|there) (?:is|are|was) (?:no|not|none)\b)",
        "say if or when",
        "Where none is set, it fails.",
        "If none is set, it fails.",
    ),
    Rule(
        r"\b(?:anew|amid|thence|whence|hitherto|thereof|therein|wherein|lest|for ever)\b",
        "use the everyday word: again, during, from there, so that ... not, forever",
        "It is started anew.",
        "It is started again.",
    ),
    Rule(r"\bneed not\b", "say does not have to", "It need not wait.", "It does not have to wait."),
    Rule(r"\bwhoever\b", "say anybody who", "Whoever reads it.", "Anybody who reads it."),
    Rule(r"\bto be had\b|\b(?:is|are) to be \w", "say must or can", "It is to be set.", "It must be set."),
)
EVERY = re.compile("|".join(f"(?:{rule.regex.pattern})" for rule in RULES), re.IGNORECASE)

INLINE = re.compile(r"``[^`]+``|`[^`\n]+`|\{\{.*?\}\}", re.DOTALL)
FENCE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^( *)\.\. code-block::.*\n(?:\1 +.*\n|\n)+", re.MULTILINE)
GO = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:[^\"\\\n]|\\.)*\"|`[^`]*`", re.DOTALL)
HIDDEN = "\0"


def _hide(text: str) -> str:
    """The same length and lines, with no word to find."""
    return re.sub(r"\S", HIDDEN, text)


def _prose_of_python(text: str) -> str:
    """Comments and strings in their places, everything else hidden."""
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    kept, end = [], 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in kinds:
            begin = starts[token.start[0] - 1] + token.start[1]
            kept.append(_hide(text[end:begin]))
            end = starts[token.end[0] - 1] + token.end[1]
            kept.append(re.sub(r"^#+", " ", text[begin:end]))
    return "".join([*kept, _hide(text[end:])])


def _prose_of_go(text: str) -> str:
    kept, end = [], 0
    for found in GO.finditer(text):
        kept += [_hide(text[end : found.start()]), re.sub(r"^//", "  ", found[0])]
        end = found.end()
    return "".join([*kept, _hide(text[end:])])


def prose(suffix: str, text: str) -> str:
    """What is read by people in a file; code is hidden, so that lines and columns stay."""
    if suffix == ".py":
        text = _prose_of_python(text)
    elif suffix == ".go":
        text = _prose_of_go(text)
    elif suffix in {".md", ".rst"}:
        text = BLOCK.sub(lambda found: _hide(found[0]), FENCE.sub(lambda found: _hide(found[0]), text))
    elif suffix in {".yml", ".yaml", ""}:
        text = re.sub(r"^( *)#", r"\1 ", text, flags=re.MULTILINE)
    return INLINE.sub(lambda found: _hide(found[0]), text)


def findings(path: Path, text: str) -> Iterator[Finding]:
    """What the rules find in a file."""
    if not EVERY.search(re.sub(r"\n *(?:#|//)", "\n", text)):
        return  # most files: faster than to look for comments and strings first
    words = prose(path.suffix, text)
    for rule in RULES:
        for found in rule.regex.finditer(words):
            line = words.count("\n", 0, found.start()) + 1
            yield Finding(path, line, " ".join(found[0].replace(HIDDEN, "").split()), rule.remedy)


SUFFIXES = {".rst", ".md", ".yml", ".yaml", ".py", ".go", ".j2", ".json", ".toml", ".cfg", ".in"}
# Not ours, made from other files that are checked, or about the words themselves.
EXEMPT = re.compile(
    r"COPYING|CHANGELOG\.md|requirements/.*|changelogs/changelog\.yaml|lab/topologies/.*|tests/lint/(?:test_)?english\.py"
)


def tracked() -> list[Path]:
    """The files of the checkout that have prose, relative to its root."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    paths = [Path(name) for name in listing.split("\0") if name and not EXEMPT.fullmatch(name)]
    return [path for path in paths if (path.suffix in SUFFIXES or path.name == "Makefile") and (ROOT / path).is_file()]


def check(paths: Iterable[Path]) -> Iterator[Finding]:
    """The findings in files of the checkout."""
    for path in paths:
        yield from findings(path, (ROOT / path).read_text(encoding="utf-8", errors="replace"))


def main() -> None:
    """Print the findings below the paths of the command line."""
    chosen = [Path(argument).resolve().relative_to(ROOT) for argument in sys.argv[1:]]
    found = [*check(path for path in tracked() if any(path.is_relative_to(folder) for folder in chosen))]
    print(*found, f"{len(found)} findings", sep="\n")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
