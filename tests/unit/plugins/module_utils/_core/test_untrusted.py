# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Texts of strangers are shown as text only, and every value has the promised type."""

from __future__ import annotations

import unicodedata

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.untrusted import (
    printable,
    printable_data,
    shortened,
    text,
)
from hypothesis import given
from hypothesis import strategies as st

HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")  # categories of Unicode that are not shown, or change what is


@given(st.text())
def test_no_character_that_is_hidden_or_moves_others_is_shown(name: str) -> None:
    shown = printable(name)
    assert len(shown) == len(name)
    assert not [c for c in shown if unicodedata.category(c) in HIDDEN]
    assert printable(shown) == shown
    assert not [c for c in text(name) + shortened(name) if unicodedata.category(c) in HIDDEN]


@pytest.mark.parametrize(
    "hidden",
    ["\n", "\r", "\t", "\0", "\x1b", "\x7f", "\x9b", "\u2028", "\u202e", "\u2066", "\u200b", "\ufeff", "\ud800"],
)
def test_what_a_terminal_or_a_browser_would_obey_becomes_a_space(hidden: str) -> None:
    assert printable(f"a{hidden}b") == "a b"
    assert printable_data({f"k{hidden}": [{"x": f"v{hidden}"}, 1, None]}) == {"k ": [{"x": "v "}, 1, None]}


@pytest.mark.parametrize("name", ["ML-cpu-vm-04", "Schulung äöü", "学習 機", "😀"])
def test_names_in_any_language_stay_as_they_are(name: str) -> None:
    assert printable(name) == shortened(name) == name


@given(st.text(max_size=300), st.text(max_size=300))
def test_names_that_differ_stay_different_when_they_are_shown(one: str, other: str) -> None:
    assert (shortened(one) == shortened(other)) == (one == other)
