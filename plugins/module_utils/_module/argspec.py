# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The argument specs that several modules share."""

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
    "vcenter_patience": {
        "type": "float",
        "default": 300.0,
        "fallback": (env_fallback, ["LIVEML_VSPHERE_VCENTER_PATIENCE"]),
    },
}

# The login of another vCenter. It has no variables of the environment: those are of the first one.
OTHER_VCENTER_OPTIONS: dict[str, Any] = {
    "hostname": {"type": "str", "required": True},
    "username": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "port": {"type": "int", "default": 443},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
}

DESTINATION_VCENTER_SPEC: dict[str, Any] = {"destination_vcenter": {"type": "dict", "options": OTHER_VCENTER_OPTIONS}}

STATE_DIR_SPEC: dict[str, Any] = {"state_dir": {"type": "path", "default": "~/.local/state/liveml.vsphere"}}
_TLS_OPTIONS: dict[str, Any] = {
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path"},
}

SOURCE_OPTIONS: dict[str, Any] = {
    "provider": {
        "type": "str",
        "required": True,
        "choices": ["driverless_ai", "exec", "mlflow", "prometheus", "tensorboard"],
    },
    "vms": {"type": "list", "elements": "str", "default": []},
    "url": {"type": "str"},
    "command": {"type": "list", "elements": "str"},
    "metric": {"type": "str"},
    "query": {"type": "str"},
    "total_steps": {"type": "int"},
    "signal": {"type": "str", "choices": ["answers", "changes"], "default": "answers"},
    "flush_seconds": {"type": "float", "default": 120.0},
    "advance_timeout": {"type": "float", "default": 15.0},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "token": {"type": "str", "no_log": True},
    **_TLS_OPTIONS,
}

EXPERIMENT_OPTIONS: dict[str, Any] = {
    "enabled": {"type": "bool", "default": True},
    "h2o3": {"type": "bool", "default": True},
    "ports": {"type": "list", "elements": "int", "default": [54321]},
    "addresses": {"type": "dict", "default": {}},
    "context_path": {"type": "str"},
    "use_tls": {"type": "bool", "default": False},
    "username": {"type": "str", "fallback": (env_fallback, ["H2O_USERNAME"])},
    "password": {"type": "str", "no_log": True, "fallback": (env_fallback, ["H2O_PASSWORD"])},
    **_TLS_OPTIONS,
    "cluster_vms": {"type": "list", "elements": "str", "default": []},
    "allowed_networks": {
        "type": "list",
        "elements": "str",
        "default": [],
        "fallback": (env_fallback, ["LIVEML_VSPHERE_ALLOWED_NETWORKS"]),
    },
    "owners": {"type": "dict", "default": {}},
    "owner_attribute": {"type": "str", "default": "owner"},
    "sources": {"type": "list", "elements": "dict", "default": [], "options": SOURCE_OPTIONS},
    "guest_username": {"type": "str"},
    "guest_password": {"type": "str", "no_log": True},
    "guest_process": {"type": "str"},
    "guest_vms": {"type": "list", "elements": "str"},
    "require_checkpoint": {"type": "str", "choices": ["never", "warn", "refuse"], "default": "never"},
    "stall_budget": {"type": "float", "default": 5.0},
    "settle_timeout": {"type": "float", "default": 60.0},
    "baseline": {"type": "float", "default": 3.0},
}

EXPERIMENT_SPEC: dict[str, Any] = {
    "experiments": {
        "type": "dict",
        "default": {},
        "apply_defaults": True,
        "options": EXPERIMENT_OPTIONS,
        "required_together": [["guest_username", "guest_password", "guest_process", "guest_vms"]],
    }
}
