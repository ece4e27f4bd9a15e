# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can change at any time.

"""Who reads what Ansible prints."""

from __future__ import annotations

import re

from ansible import constants

# Standard output of these callbacks is for a program, which a line between would confuse.
_MACHINE_READABLE = re.compile(r"json|xml|junit|logstash|\btap\b|null", re.IGNORECASE)


def is_for_a_program() -> bool:
    """Whether a program reads standard output, by the name of the callback."""
    return _MACHINE_READABLE.search(str(constants.DEFAULT_STDOUT_CALLBACK)) is not None
