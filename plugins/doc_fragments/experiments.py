# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """How experiments are found and watched."""

    DOCUMENTATION = r"""
options:
  experiments:
    description:
      - How experiments are found and watched.
    type: dict
    default: {}
    suboptions:
      enabled:
        description: Whether VMs are looked into at all.
        type: bool
        default: true
      ports:
        description: Ports on which H2O-3 servers listen.
        type: list
        elements: int
        default: [54321]
      addresses:
        description: Address by VM name, where the guest does not report the right one.
        type: dict
        default: {}
      use_tls:
        description: Whether the servers speak TLS.
        type: bool
        default: false
      validate_certs:
        description: Whether the servers' certificates are verified.
        type: bool
        default: true
      ca_path:
        description: PEM file of the CA that signed the servers' certificates.
        type: path
      username:
        description: User of the servers' basic authentication. The environment variable E(H2O_USERNAME) is used when it is not given.
        type: str
      password:
        description: Password of that user. The environment variable E(H2O_PASSWORD) is used when it is not given.
        type: str
      allowed_networks:
        description:
          - Networks in which guests may be asked. Credentials are sent to an address that a guest reports only when it is
            within one of them.
        type: list
        elements: str
        default: []
      stall_budget:
        description: Seconds that an experiment may stall before its verdict is V(stalled).
        type: float
        default: 5.0
      settle_timeout:
        description: Seconds to wait after a move for progress.
        type: float
        default: 60.0
      baseline:
        description: Seconds of undisturbed sampling before the first move.
        type: float
        default: 3.0
"""
