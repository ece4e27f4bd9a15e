# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The version of the collection, as in ``galaxy.yml``, which a module cannot read on the machine where it runs."""

from __future__ import annotations

VERSION = "0.1.0"
