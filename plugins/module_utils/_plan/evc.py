# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a host offers the processor generation that a VM needs since it was powered on (EVC mode). Pure.

``VirtualMachine.runtime.minRequiredEVCModeKey`` is what the VM needs. A host offers the mode of its cluster
(``HostSystem.summary.currentEVCModeKey``); without EVC, at least ``maxEVCModeKey``. vCenter orders the modes of a vendor
by ``EVCMode.vendorTier`` in ``ServiceInstance.capability.supportedEVCMode``, which is large: their order does not change, so it
stands here. A mode that is not here is unknown, and vCenter's own check of the move decides.
"""

from __future__ import annotations

# By vendor, each with the oldest first. AMD's modes before Bulldozer have features that later ones lack, so they have no order.
GENERATIONS = {
    "intel": (
        "merom", "penryn", "nehalem", "westmere", "sandybridge", "ivybridge", "haswell", "broadwell", "skylake", "cascadelake",
        "icelake", "sapphirerapids",
    ),
    "amd": ("bulldozer", "piledriver", "steamroller", "zen", "zen2", "zen3", "zen4"),
}  # fmt: skip
_ORDER = {f"{vendor}-{name}": (vendor, n) for vendor, names in GENERATIONS.items() for n, name in enumerate(names)}


def lacks_mode(offered: str, needed: str) -> bool:
    """Whether a host that offers a mode (key) surely lacks what another mode needs: it is older, or of another vendor."""
    if offered not in _ORDER or needed not in _ORDER:
        return False
    (vendor, generation), (other, least) = _ORDER[offered], _ORDER[needed]
    return vendor != other or generation < least
