# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gives the module of the same name its login from variables."""

from __future__ import annotations

from ansible_collections.liveml.vsphere.plugins.plugin_utils._vcenter_action import VcenterAction


class ActionModule(VcenterAction):
    """See VcenterAction."""
