# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can change at any time.

"""Who reads what Ansible prints, and how a line is shown to them."""

from __future__ import annotations

import os
import re
import sys
import textwrap

from ansible import constants
from ansible.utils.display import Display

display = Display()

# Standard output of these callbacks is for a program, which a line between would confuse.
_MACHINE_READABLE = re.compile(r"json|xml|junit|logstash|\btap\b|null", re.IGNORECASE)


def is_for_a_program() -> bool:
    """Whether a program reads standard output, by the name of the callback."""
    return _MACHINE_READABLE.search(str(constants.DEFAULT_STDOUT_CALLBACK)) is not None


def is_a_terminal() -> bool:
    """Whether a person sees standard output as it is written. AWX's runner gives Ansible a terminal, and stores each line."""
    return "AWX_ISOLATED_DATA_DIR" not in os.environ and sys.stdout.isatty()


# Ansible loads this file before it starts the task's process, in which the terminal is no longer known.
_TERMINAL = is_a_terminal()


def say(line: str) -> None:
    """Display a line on the controller, and fold it on a terminal."""
    for part in folded(line, display.columns) if _TERMINAL else [line]:
        display.display(part)


def folded(line: str, columns: int) -> list[str]:
    """A line as lines that are not longer than the terminal, divided between words. A command stays whole, so that it can be copied."""
    if len(line) <= columns or "ansible-playbook " in line:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.wrap(
        line.strip(),
        columns,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
