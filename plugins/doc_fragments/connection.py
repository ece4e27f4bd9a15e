# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """How vCenter is reached."""

    DOCUMENTATION = r"""
requirements:
  - pyVmomi >= 8.0.3.0.1
options:
  hostname:
    description:
      - Name or address of vCenter. The environment variable E(VMWARE_HOST) is used when it is not given.
    type: str
    required: true
  username:
    description:
      - User who logs in. The environment variable E(VMWARE_USER) is used when it is not given.
    type: str
    required: true
  password:
    description:
      - The user's password. The environment variable E(VMWARE_PASSWORD) is used when it is not given.
    type: str
    required: true
  port:
    description:
      - Port of vCenter. The environment variable E(VMWARE_PORT) is used when it is not given.
    type: int
    default: 443
  validate_certs:
    description:
      - Whether vCenter's certificate is verified. The environment variable E(VMWARE_VALIDATE_CERTS) is used when it is
        not given.
    type: bool
    default: true
  ca_path:
    description:
      - PEM file of the CA that signed vCenter's certificate; the system's CAs by default. The environment variable
        E(SSL_CERT_FILE) is used when it is not given.
    type: path
"""
