# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the module of the same name, and shows its progress while it works, as the action of vm_migrate does."""

from __future__ import annotations

from ansible_collections.liveml.vsphere.plugins.action.vm_migrate import ActionModule as LiveAction


class ActionModule(LiveAction):
    """See the action of vm_migrate."""
