# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people read is in plain English, as far as a list of words can check it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lint.english import RULES, Rule, check, findings, tracked


def test_every_file_is_in_plain_english() -> None:
    found = [str(finding) for finding in check(tracked())]
    assert found == [], "\n" + "\n".join(found)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.wrong)
def test_a_rule_finds_the_wrong_sentence_only(rule: Rule) -> None:
    assert [finding.remedy for finding in findings(Path("a.md"), rule.wrong)] == [rule.remedy]
    assert list(findings(Path("a.md"), rule.right)) == []


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.py", 'told = 1\n\n\ndef told() -> None:\n    """It is told."""\n', 5),
        ("a.py", "x = f'{told} was told'\n", 1),
        ("a.py", "told = 1  # This is\n# no host.\n", 1),
        ("a.go", 'told := "x"\n// It is told.\n', 2),
        ("a.yml", "name: x\n# This is\n# no host.\n", 2),
        ("a.md", "There is no lab.\n`x` is no lab.\n", 2),
        ("a.md", "`told`\n\n```console\ntold\n```\n\nIt is told.\n", 7),
        ("a.rst", "``told``\n\n.. code-block:: shell\n\n   told\n\nIt is told.\n", 7),
    ],
)
def test_only_prose_is_checked_and_the_line_is_right(name: str, text: str, line: int) -> None:
    assert [finding.line for finding in findings(Path(name), text)] == [line]
