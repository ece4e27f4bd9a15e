# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one error the lab raises on purpose, and the one way to tell how far it got."""

from __future__ import annotations

import sys


class LabError(Exception):
    """Something the caller can act on; the text says what happened and the remedy."""


def say(text: str) -> None:
    """Print one progress line. stdout is kept for the JSON answer."""
    print(f"lab: {text}", file=sys.stderr, flush=True)
