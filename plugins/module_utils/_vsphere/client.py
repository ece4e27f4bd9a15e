# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The only file that connects to vCenter: one session, logged in again when vCenter forgot it."""

from __future__ import annotations

import http.client
import ssl
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, TypeVar

from .._core.errors import ConnectError, LoginRefused
from .faults import short, translated

PYVMOMI_ERROR: str | None = None

try:
    from pyVim.connect import Disconnect, SmartConnect
    from pyVmomi import vim, vmodl
except ImportError:
    PYVMOMI_ERROR = traceback.format_exc()

T = TypeVar("T")
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
    """A logged-in session; ``renewed`` counts logins, so that users of it know when filters and views died."""

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
        """Do one call; log in again once when the session expired. Raises CallFailed or PermissionMissing."""
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
        """A new session on the same stub, so that references made before stay good. Raises ConnectError."""
        with _told(self._connection):
            self._content.sessionManager.Login(self._connection.user, self._connection.password, None)
        self.renewed += 1

    def close(self) -> None:
        """Log out; a session that is gone already is no error."""
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
    with _told(connection):
        return SmartConnect(
            host=connection.host,
            port=connection.port,
            user=connection.user,
            pwd=connection.password,
            sslContext=_tls(connection),
            httpConnectionTimeout=_TIMEOUT_SECONDS,
        )


@contextmanager
def _told(connection: Endpoint) -> Iterator[None]:
    """What goes wrong while logging in, as ConnectError."""
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
            f"{place} knows {connection.user}, who has no permission there",
            hint="Give the user a role, for example by the playbook liveml.vsphere.create_role",
            option="username",
        ) from error
    except ssl.SSLCertVerificationError as error:
        raise ConnectError(
            f"The certificate of {place} cannot be verified ({error.verify_message})",
            hint="Give the CA's certificate in ca_path (SSL_CERT_FILE); validate_certs=false turns verification off",
            option="ca_path",
        ) from error
    except (OSError, http.client.HTTPException, vmodl.MethodFault) as error:
        raise ConnectError(
            f"{place} cannot be reached ({short(error)})",
            hint="Check hostname and port (VMWARE_HOST, VMWARE_PORT) and the network between",
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
            hint="Give a PEM file in ca_path (SSL_CERT_FILE)",
            option="ca_path",
        ) from error
