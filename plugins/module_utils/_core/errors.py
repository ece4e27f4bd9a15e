# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Errors that an operator can act on. Each says what happened and what to do next.

Only the entry of a module turns a :class:`VsphereError` into ``fail_json``.
"""

from __future__ import annotations


class VsphereError(Exception):
    """Base of all errors of this collection.

    ``hint`` is the remedy in one sentence. ``option`` is the module option to correct, or ``None``. ``run_id`` is the run that
    the error ended, or empty. ``fenced``: the host was fenced before the error, or may have been, and was not seen in service
    again. ``fence_unknown``: vCenter did not show whether it is fenced.
    """

    run_id = ""
    fenced = False
    fence_unknown = False

    def __init__(self, message: str, *, hint: str = "", option: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.option = option

    def __str__(self) -> str:
        parts = [self.message.rstrip(".") + "."]
        if self.hint:
            parts.append(self.hint.rstrip(".") + ".")
        return " ".join(parts)


class InvalidInput(VsphereError):
    """An option has a value that cannot be used. ``option`` names it."""


class ConnectError(VsphereError):
    """vCenter cannot be reached, or its certificate cannot be verified."""


class LoginRefused(ConnectError):
    """vCenter refused the login. Do not repeat it: that may lock the account."""


class NotFound(VsphereError):
    """A host, VM, fault domain, run or experiment does not exist."""


class Ambiguous(VsphereError):
    """A name fits several objects. ``candidates`` are their MoIDs."""

    def __init__(self, message: str, *, candidates: tuple[str, ...], hint: str = "", option: str | None = None) -> None:
        super().__init__(message, hint=hint, option=option)
        self.candidates = candidates


class PermissionMissing(VsphereError):
    """The user may not do this. ``privilege`` is the ID of the missing privilege, for example ``Host.Config.Maintenance``."""

    def __init__(self, message: str, *, privilege: str, hint: str = "", option: str | None = None) -> None:
        super().__init__(message, hint=hint, option=option)
        self.privilege = privilege


class CallFailed(VsphereError):
    """A call of the vSphere API failed. ``fault`` is the class name of the fault, for example ``InvalidState``."""

    def __init__(self, message: str, *, fault: str, hint: str = "", option: str | None = None) -> None:
        super().__init__(message, hint=hint, option=option)
        self.fault = fault


class TaskTimeout(VsphereError):
    """The time to wait is over. ``last_state`` is the state that was seen last."""

    def __init__(self, message: str, *, last_state: str, hint: str = "", option: str | None = None) -> None:
        super().__init__(message, hint=hint, option=option)
        self.last_state = last_state


class PlanRefused(VsphereError):
    """A plan must not be carried out: it drifted, or it is not the approved one."""


class JournalUnreadable(VsphereError):
    """A run's journal is damaged, foreign, or written by a newer version of the collection."""


class StateUnwritable(VsphereError):
    """Journal or samples cannot be written any more: the disk is full, or became read-only."""


class RunBusy(VsphereError):
    """Another process carries out a run for the same host."""


class ExperimentError(VsphereError):
    """An experiment server cannot be used as configured. A missed answer alone does not raise this."""
