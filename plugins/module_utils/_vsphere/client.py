# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connects to vCenter, and logs in again when the session has ended. No other file connects."""

from __future__ import annotations

import http.client
import ssl
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, TypeVar
from xml.parsers.expat import ExpatError

from .._core.errors import CallFailed, ConnectError, LoginRefused, PermissionMissing
from .._core.untrusted import text

PYVMOMI_ERROR: str | None = None

try:
    from pyVim.connect import Disconnect, SmartConnect
    from pyVmomi import vim, vmodl
except ImportError:
    PYVMOMI_ERROR = traceback.format_exc()

T = TypeVar("T")
PATIENCE_SECONDS = 60.0  # without any answer, until a connection counts as broken
_TIMEOUT_SECONDS = 90


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where vCenter is and who logs in."""

    host: str
    user: str
    password: str = field(repr=False)
    port: int = 443
    validate_certs: bool = True
    ca_path: str | None = None


class Client:
    """A logged-in session. ``renewed`` counts new logins: filters and views end with their session."""

    def __init__(self, connection: Endpoint) -> None:
        self._connection = connection
        self.renewed = 0
        self._instance = _log_in(connection)
        self._content = self._instance.RetrieveContent()

    @property
    def content(self) -> Any:
        """The ServiceContent."""
        return self._content

    def reference(self, kind: str, moid: str) -> Any:
        """The managed object of a class (``VirtualMachine``, ``alarm.Alarm``) and MoID; nothing is read."""
        return attrgetter(kind)(vim)(moid, self._instance._stub)

    def call(self, what: str, action: Callable[[], T]) -> T:
        """Make one call, and log in again once if the session has expired. Raises CallFailed, PermissionMissing or ConnectError."""
        try:
            return action()
        except vim.fault.NotAuthenticated:
            self._log_in_again()
        except Exception as error:
            raise translated(what, error) from error
        try:
            return action()
        except Exception as error:
            raise translated(what, error) from error

    def _log_in_again(self) -> None:
        """Start a new session on the same stub, so that earlier references stay valid. Raises ConnectError."""
        with _as_connect_error(self._connection):
            self._content.sessionManager.Login(self._connection.user, self._connection.password, None)
        self.renewed += 1

    def close(self) -> None:
        """Log out. A session that has ended already is not an error."""
        with suppress(vmodl.MethodFault, OSError, http.client.HTTPException):
            Disconnect(self._instance)


@contextmanager
def connected(connection: Endpoint) -> Iterator[Client]:
    """A client for the time of the context."""
    client = Client(connection)
    try:
        yield client
    finally:
        client.close()


def _log_in(connection: Endpoint) -> Any:
    with _as_connect_error(connection):
        return SmartConnect(
            host=connection.host,
            port=connection.port,
            user=connection.user,
            pwd=connection.password,
            sslContext=_tls(connection),
            httpConnectionTimeout=_TIMEOUT_SECONDS,
        )


@contextmanager
def _as_connect_error(connection: Endpoint) -> Iterator[None]:
    """Raise whatever goes wrong during the login as ConnectError."""
    place = f"vCenter {connection.host}:{connection.port}"
    try:
        yield
    except vim.fault.InvalidLogin as error:
        raise LoginRefused(
            f"{place} refused the login of {connection.user}",
            hint="Check username and password (VMWARE_USER, VMWARE_PASSWORD)",
            option="password",
        ) from error
    except vim.fault.NoPermission as error:
        raise LoginRefused(
            f"{connection.user} can log in to {place} but has no permissions there",
            hint="Give the user a role, for example with the playbook liveml.vsphere.create_role",
            option="username",
        ) from error
    except ssl.SSLCertVerificationError as error:
        raise ConnectError(
            f"The certificate of {place} cannot be verified ({error.verify_message})",
            hint="Set ca_path (SSL_CERT_FILE) to the certificate of the CA; validate_certs=false turns verification off",
            option="ca_path",
        ) from error
    except (OSError, http.client.HTTPException, vmodl.MethodFault) as error:
        raise ConnectError(
            f"{place} cannot be reached ({short(error)})",
            hint="Check hostname and port (VMWARE_HOST, VMWARE_PORT) and the network",
            option="hostname",
        ) from error


def _tls(connection: Endpoint) -> ssl.SSLContext:
    if not connection.validate_certs:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        return ssl.create_default_context(cafile=connection.ca_path)
    except (OSError, ssl.SSLError) as error:
        raise ConnectError(
            f"The CA file {connection.ca_path} cannot be used ({short(error)})",
            hint="Set ca_path (SSL_CERT_FILE) to a PEM file",
            option="ca_path",
        ) from error


def translated(what: str, error: Exception) -> Exception:
    """A vSphere fault or broken connection as one of our errors; anything else is a bug and stays as it is."""
    if isinstance(error, vim.fault.NoPermission):
        privilege = str(error.privilegeId)
        return PermissionMissing(
            f"The vCenter user is not allowed to {what}", privilege=privilege, hint=f"Grant the privilege {privilege}"
        )
    if isinstance(error, vmodl.MethodFault):
        name = type(error).__name__.rsplit(".", 1)[-1]
        return CallFailed(f"vCenter could not {what}: {name} ({short(error)})", fault=name)
    if isinstance(error, (OSError, http.client.HTTPException, ExpatError)):  # a proxy may answer in its own words
        return ConnectError(f"The connection to vCenter was lost ({short(error)})", hint="Run the same playbook again")
    return error


def short(error: BaseException) -> str:
    """An error's message on one line, at most 200 characters."""
    message = getattr(error, "msg", None) or str(error) or type(error).__name__
    return text(" ".join(str(message).split()))


def patiently(read: Callable[[], T], patience: float = PATIENCE_SECONDS) -> T:
    """Read again while the connection is lost: moves continue in the meantime, and only the host of their VMs counts.

    Raises ConnectError after ``patience`` seconds; LoginRefused at once.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return read()
        except LoginRefused:
            raise
        except ConnectError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(min(1.0, patience / 10))
