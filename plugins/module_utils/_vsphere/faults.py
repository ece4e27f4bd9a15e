# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the faults of vSphere mean for a run."""

from __future__ import annotations

import http.client
from xml.parsers.expat import ExpatError

from .._core.errors import (
    CallFailed,
    ConnectError,
    PermissionMissing,
)

try:
    from pyVmomi import vim, vmodl
except ImportError:
    pass


# Faults that pass by themselves (facts of vSphere: network glitch, lock held by another operation).
TRANSIENT_FAULTS = frozenset(
    {
        "TaskInProgress",
        "ConcurrentAccess",
        "Timedout",
        "HostCommunication",
        "HostNotReachable",
        "VMotionLinkDown",
        "MigrationNotReady",
    }
)


def translated(what: str, error: Exception) -> Exception:
    """A vSphere fault or broken connection as our error; anything else is a bug and stays as it is."""
    if isinstance(error, vim.fault.NoPermission):
        privilege = str(error.privilegeId)
        return PermissionMissing(
            f"The user may not {what}", privilege=privilege, hint=f"Grant the privilege {privilege}"
        )
    if isinstance(error, vmodl.MethodFault):
        name = type(error).__name__.rsplit(".", 1)[-1]
        return CallFailed(f"vCenter could not {what}: {name} ({short(error)})", fault=name)
    if isinstance(error, (OSError, http.client.HTTPException, ExpatError)):  # a proxy may answer in its own words
        return ConnectError(f"The connection to vCenter broke ({short(error)})", hint="Run the same playbook again")
    return error


def short(error: BaseException) -> str:
    text = getattr(error, "msg", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:200]
