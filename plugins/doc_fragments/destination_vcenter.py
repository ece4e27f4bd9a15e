# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The login of the other vCenter."""

    DOCUMENTATION = r"""
options:
  destination_vcenter:
    description:
      - Login of another vCenter to which VMs move, or in which they are found to be brought home. Both vCenters are then one estate, with
        one plan and one run.
      - The vCenter that a VM leaves gets this login for the move, and logs in with it. It trusts the certificate that this
        connection saw.
      - The option O(hostname) and its siblings always name the vCenter of the hosts that are evacuated or restored.
    type: dict
    suboptions:
      hostname:
        description:
          - Name or address of the other vCenter, or the URL of one of its pages.
        type: str
        required: true
      username:
        description:
          - User for the login.
        type: str
        required: true
      password:
        description:
          - Password of the user.
        type: str
        required: true
      port:
        description:
          - Port of the other vCenter.
        type: int
        default: 443
      validate_certs:
        description:
          - Whether to verify its certificate. If not, the plan says which certificate the moves trust.
        type: bool
        default: true
      ca_path:
        description:
          - PEM file with the CA that signed its certificate. If it is not set, the CAs of the system count.
        type: path
"""
