# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names that a person may have meant. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher

MAX_NAMES = 3


def similar_names(written: str, known: Iterable[str], *, min_ratio: float = 0.6) -> list[str]:
    """Up to three of the known names, the most probable one first; none if none is similar.

    Only names with the smallest kind of difference are returned. The kinds are, in this order: case, or a short host name for a
    full one; separators and leading zeros (``esx5`` for ``esx-05``); the order of characters (``esx-50``); everything else, where a
    name must be as similar as ``min_ratio``, from 0 to 1.
    """
    names = sorted(set(known))
    for key in (spellings, _plain, _characters):
        same = [name for name in names if key(name) & key(written)]
        if same:
            return same[:MAX_NAMES]
    ranked = sorted((-_ratio(written, name, min_ratio), -_in_place(written, name), name) for name in names)
    return [name for ratio, _place, name in ranked if -ratio >= min_ratio][:MAX_NAMES]


def spellings(name: str) -> frozenset[str]:
    """A name without case, and its first label if it is a host name of several (not an IP address)."""
    folded = name.strip().casefold()
    first = folded.partition(".")[0]
    return frozenset({folded} if not first or first.isdecimal() else {folded, first})


def _plain(name: str) -> frozenset[str]:
    """The spellings without separators, except those between two numbers (as in an IP address), and without leading zeros."""
    found = (re.sub(r"(?<=\d)[\W_]+(?=\d)", ".", spelling) for spelling in spellings(name))
    joined = (re.sub(r"(?!\.)[\W_]+|(?<!\d)\.|\.(?!\d)", "", spelling) for spelling in found)
    return frozenset(re.sub(r"(?<!\d)0+(?=\d)", "", spelling) for spelling in joined) - {""}


def _characters(name: str) -> frozenset[str]:
    """The spellings with their characters sorted."""
    return frozenset("".join(sorted(spelling)) for spelling in spellings(name))


def _ratio(written: str, name: str, min_ratio: float) -> float:
    """How similar two names are, from 0 to 1; 0 if that is below ``min_ratio``, which is found out faster."""
    pairs = [SequenceMatcher(None, one, other) for one in spellings(written) for other in spellings(name)]
    return max(
        (pair.ratio() for pair in pairs if pair.real_quick_ratio() >= min_ratio and pair.quick_ratio() >= min_ratio),
        default=0.0,
    )


def _in_place(written: str, name: str) -> int:
    """How many characters are the same at the same place: this decides between names with the same ratio."""
    return sum(one == other for one, other in zip(written.casefold(), name.casefold(), strict=False))
