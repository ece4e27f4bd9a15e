# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The error that the lab raises on purpose, and its progress lines."""

from __future__ import annotations

import sys


class LabError(Exception):
    """Something that the caller can correct; the text says what happened and what to do."""


def say(text: str) -> None:
    """Print a progress line to stderr; stdout is for the JSON answer."""
    print(f"lab: {text}", file=sys.stderr, flush=True)
