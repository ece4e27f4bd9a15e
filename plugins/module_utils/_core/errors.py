# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Errors an operator can act on. Every message says what happened and what to do next.

Verbs raise; only a module's ``main()`` turns a :class:`VsphereError` into ``fail_json``.
"""

from __future__ import annotations


class VsphereError(Exception):
    """Base of all errors of this collection.

    ``hint`` is the remedy in one sentence, ``option`` the module option to look at (or ``None``), ``run_id`` the run that
    the error ended, if it ended one.
    """

    run_id = ""

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
    """An option's value cannot be used; ``option`` names it."""


class ConnectError(VsphereError):
    """vCenter cannot be reached or its certificate not verified."""


class LoginRefused(ConnectError):
    """vCenter refused the login: to ask again is in vain, and may lock the account."""


class NotFound(VsphereError):
    """A host, VM or experiment of that name does not exist."""


class Ambiguous(VsphereError):
    """A name fits more than one object; ``candidates`` are MoIDs to choose from."""

    def __init__(self, message: str, *, candidates: tuple[str, ...], hint: str = "", option: str | None = None) -> None:
        super().__init__(message, hint=hint, option=option)
        self.candidates = candidates


class PermissionMissing(VsphereError):
    """vCenter refuses a call; ``privilege`` is the missing privilege id (for example ``Host.Config.Maintenance``)."""

    def __init__(self, message: str, *, privilege: str, hint: str = "", option: str | None = None) -> None:
        super().__init__(message, hint=hint, option=option)
        self.privilege = privilege


class CallFailed(VsphereError):
    """A vSphere call raised a fault; ``fault`` is the class name of the fault (``InvalidState``)."""

    def __init__(self, message: str, *, fault: str, hint: str = "", option: str | None = None) -> None:
        super().__init__(message, hint=hint, option=option)
        self.fault = fault


class TaskTimeout(VsphereError):
    """A wait ended before its condition came true; ``last_state`` is what was seen last."""

    def __init__(self, message: str, *, last_state: str, hint: str = "", option: str | None = None) -> None:
        super().__init__(message, hint=hint, option=option)
        self.last_state = last_state


class PlanRefused(VsphereError):
    """A plan may not be carried out (it drifted, or holds refusals that block the job)."""


class RunBusy(VsphereError):
    """Another live process carries out a run for the same host."""


class ExperimentError(VsphereError):
    """An experiment server cannot be used as configured (never raised for a mere missed answer)."""
