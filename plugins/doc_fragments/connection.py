# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """How to connect to vCenter."""

    DOCUMENTATION = r"""
requirements:
  - pyVmomi >= 8.0.3.0.1
options:
  hostname:
    description:
      - Name or address of vCenter, for example V(vcenter.example.com).
      - The URL of a page of vCenter means the same, for example V(https://vcenter.example.com/ui/). A port in it counts if O(port) is not set.
      - If it is not set, the variable C(liveml_vsphere_hostname) is used, or else the environment variable E(VMWARE_HOST).
    type: str
    required: true
  username:
    description:
      - User for the login, for example V(automation@vsphere.local).
      - If it is not set, the variable C(liveml_vsphere_username) is used, or else the environment variable E(VMWARE_USER).
    type: str
    required: true
  password:
    description:
      - Password of the user.
      - If it is not set, the variable C(liveml_vsphere_password) is used, or else the environment variable E(VMWARE_PASSWORD).
    type: str
    required: true
  port:
    description:
      - Port of vCenter.
      - If it is not set, the variable C(liveml_vsphere_port) is used, or else the environment variable E(VMWARE_PORT).
    type: int
    default: 443
  validate_certs:
    description:
      - Whether to verify the certificate of vCenter.
      - If it is not set, the variable C(liveml_vsphere_validate_certs) is used, or else the environment variable E(VMWARE_VALIDATE_CERTS).
    type: bool
    default: true
  ca_path:
    description:
      - PEM file with the CA that signed the certificate of vCenter.
      - If it is not set, the variable C(liveml_vsphere_ca_path) is used, or else the environment variable E(SSL_CERT_FILE), or else the
        CAs of the system.
    type: path
  vcenter_patience:
    description:
      - Maximum time, in seconds, without an answer of vCenter, after which the module fails. Until then each call is repeated, and a
        session that has ended is renewed. A restart of vCenter takes several minutes.
      - The time begins with the first call that gets no answer, and ends with the next answer, whatever is called in between. If the
        playbook is interrupted, the module waits for at most 10 seconds.
      - A call that must not be made twice, for example the start of a move, is not repeated blindly. The module looks whether it was
        carried out.
      - Before vCenter has answered once, the module waits at most 20 seconds, because the address may be wrong.
      - If it is not set, the variable C(liveml_vsphere_vcenter_patience) is used, or else the environment variable
        E(LIVEML_VSPHERE_VCENTER_PATIENCE).
    type: float
    default: 300.0
"""
