# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""DRS of the lab's cluster, as its administrator sees it."""

from __future__ import annotations

from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.client import Endpoint, connected
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import DrsOverride
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.inventory import read_drs_overrides, read_estate

from tests.labs import Lab


def administrator(lab: Lab) -> Endpoint:
    """The lab's vCenter with the login of its administrator."""
    vcenter = lab.answer["vcenter"]
    return Endpoint(vcenter["host"], vcenter["user"], vcenter["password"], vcenter["port"], ca_path=vcenter["ca_file"])


def drs_overrides(lab: Lab) -> dict[str, DrsOverride]:
    """The overrides of DRS in the lab's only cluster, by VM MoID."""
    with connected(administrator(lab)) as client:
        (cluster,) = {host.cluster for host in read_estate(client).hosts.values()}
        return dict(read_drs_overrides(client, cluster) or {})
