# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What a module supports: check mode, diff mode, idempotence and the action group."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Whether the module can run in check mode, and predict whether it would change something without changing it.
  diff_mode:
    description: Whether the module returns in diff mode what it changed, or what it would change in check mode.
  idempotent:
    description: Whether a second task with the same options changes nothing.
  action_group:
    description: Use C(group/liveml.vsphere.all) in C(module_defaults) to set defaults for all modules of the collection.
    support: full
    membership:
      - liveml.vsphere.all
"""

    INFO_MODULE = r"""
attributes:
  check_mode:
    support: full
    details: The module only reads.
  diff_mode:
    support: N/A
    details: The module only reads.
  idempotent:
    support: full
    details: The module only reads.
"""
