# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can change at any time.

"""Argument specs that several modules share."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import env_fallback

CONNECTION_SPEC: dict[str, Any] = {
    "hostname": {"type": "str", "required": True, "fallback": (env_fallback, ["VMWARE_HOST"])},
    "username": {"type": "str", "required": True, "fallback": (env_fallback, ["VMWARE_USER"])},
    "password": {"type": "str", "required": True, "no_log": True, "fallback": (env_fallback, ["VMWARE_PASSWORD"])},
    "port": {"type": "int", "default": 443, "fallback": (env_fallback, ["VMWARE_PORT"])},
    "validate_certs": {"type": "bool", "default": True, "fallback": (env_fallback, ["VMWARE_VALIDATE_CERTS"])},
    "ca_path": {"type": "path", "fallback": (env_fallback, ["SSL_CERT_FILE"])},
}

STATE_DIR_SPEC: dict[str, Any] = {"state_dir": {"type": "path", "default": "~/.local/state/liveml.vsphere"}}

EXPERIMENT_OPTIONS: dict[str, Any] = {
    "enabled": {"type": "bool", "default": True},
    "ports": {"type": "list", "elements": "int", "default": [54321]},
    "addresses": {"type": "dict", "default": {}},
    "use_tls": {"type": "bool", "default": False},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
    "username": {"type": "str", "fallback": (env_fallback, ["H2O_USERNAME"])},
    "password": {"type": "str", "no_log": True, "fallback": (env_fallback, ["H2O_PASSWORD"])},
    "allowed_networks": {"type": "list", "elements": "str", "default": []},
    "stall_budget": {"type": "float", "default": 5.0},
    "settle_timeout": {"type": "float", "default": 60.0},
    "baseline": {"type": "float", "default": 3.0},
}

EXPERIMENT_SPEC: dict[str, Any] = {
    "experiments": {"type": "dict", "default": {}, "apply_defaults": True, "options": EXPERIMENT_OPTIONS}
}
