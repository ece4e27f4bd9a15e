# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sources of experiments, and what is found through them in one VM."""

from __future__ import annotations

from typing import Any

from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.discovery import Observation, Providers
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import EXPERIMENT_OPTIONS, SOURCE_OPTIONS
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Power, VmState

VM = VmState("vm-1", "ML-1", "uuid", "host-1", Power.ON, 1 << 30, guest_address="127.0.0.1")


def settings(provider: str, **changes: Any) -> dict[str, Any]:
    """The settings of a source, with the defaults of the options."""
    defaults = {name: option.get("default") for name, option in SOURCE_OPTIONS.items()}
    vms = ["ML-1"] if provider in ("prometheus", "driverless_ai") else []
    return defaults | {"provider": provider, "advance_timeout": 1.0, "vms": vms} | changes


def providers(*sources: dict[str, Any], **options: Any) -> Providers:
    """All providers of a run; without H2O-3."""
    usual = {name: option.get("default") for name, option in EXPERIMENT_OPTIONS.items()}
    of_tests = {"h2o3": False, "sources": list(sources), "allowed_networks": ["127.0.0.0/8"]}
    return Providers(usual | of_tests | options)


def observed(*sources: dict[str, Any], **options: Any) -> Observation:
    """What the sources find in ``VM``."""
    (seen,) = providers(*sources, **options).observe([VM])
    return seen
