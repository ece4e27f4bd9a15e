# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connects to vCenter, and logs in again when the session has ended. No other file connects."""

from __future__ import annotations

import hashlib
import http.client
import random
import socket
import ssl
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, TypeVar
from xml.parsers.expat import ExpatError

from .._core.errors import CallFailed, ConnectError, LoginRefused, PermissionMissing
from .._core.untrusted import text
from .address import HTTPS_PORT

PYVMOMI_ERROR: str | None = None
# Services that nothing here asks, each with its own address. pyVmomi reads their types whenever it is imported, a quarter of its
# time, and goes without those that it does not find.
UNASKED = tuple(f"pyVmomi._typeinfo_{service}" for service in ("eam", "sms", "vsanhealth", "vslm"))


@contextmanager
def missing(modules: Iterable[str]) -> Iterator[None]:
    """Let these modules not be found, unless they are imported already."""
    hidden = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is how Python notes that a module is missing
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


try:
    with missing(UNASKED):
        from pyVim.connect import Disconnect, SmartConnect
        from pyVmomi import SoapStubAdapter, pbm, vim, vmodl
except ImportError:
    PYVMOMI_ERROR = traceback.format_exc()

T = TypeVar("T")
PATIENCE_SECONDS = 300.0  # without any answer, until the connection counts as lost
FIRST_PATIENCE_SECONDS = 20.0  # the same, before vCenter has answered once
NOTICE_SECONDS = 10.0  # without any answer, until the user is informed
INTERRUPTED_SECONDS = 10.0  # without any answer, until a run that was asked to stop ends
MAX_REFUSALS = 3  # of a login that was accepted before; vCenter locks an account after five
FIRST_REFUSALS = 2  # of another one: vCenter 8 now and then refuses a login that is right (issue 1100 of pyVmomi)
_MIN_PAUSE, _MAX_PAUSE = 0.5, 10.0
_MIN_NAP_SECONDS, _NAP_SECONDS = 1e-6, 1.0  # a pause consists of naps, so that an interruption is noticed
_TIMEOUT_SECONDS = 90
VIEW_POLICIES = "StorageProfile.View"  # that every call of the policy service needs
_SECURITY = "SecurityError"
_NO_SESSION = "vCenter ended the session or the answer again and again"
_NO_SESSION_HINT = "Check vCenter's limits for sessions, and what is between it and this machine"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where vCenter is and who logs in. ``within`` is the option that contains the login, "" if the module's own options do."""

    host: str
    user: str
    password: str = field(repr=False)
    port: int = 443
    validate_certs: bool = True
    ca_path: str | None = None
    within: str = ""

    @property
    def place(self) -> str:
        """The server for people."""
        return f"vCenter {self.host_in_url}:{self.port}"

    @property
    def host_in_url(self) -> str:
        """The name or address as URLs have it."""
        return f"[{self.host}]" if ":" in self.host else self.host

    def named(self, option: str, variable: str) -> str:
        """An option of the login for people."""
        return f"{self.within}.{option}" if self.within else f"{option} ({variable})"

    def option(self, name: str) -> str:
        """The module's option that has to be corrected."""
        return self.within or name


class NoAnswer(ConnectError):
    """vCenter did not answer; another attempt may succeed."""


class ReadBroken(Exception):
    """A read of several calls cannot be continued. ``Client.whole`` begins it again."""


class SessionEnded(ReadBroken):
    """The same, because the session has ended. vCenter does not always say that with a fault: it may leave out what was asked."""


class Client:
    """A logged-in session, and the only policy for broken connections.

    ``patience``: seconds without any answer until the connection counts as lost, whatever was called meanwhile. ``renewed``
    counts new logins: filters, views and pages end with their session.
    """

    def __init__(self, connection: Endpoint, patience: float = PATIENCE_SECONDS) -> None:
        self._connection = connection
        self.renewed = 0
        self.silence = Silence(patience)
        self._instance = _first_login(connection, patience)
        self._content = self.call("read the service content", self._instance.RetrieveContent)
        self._policies: Any = None

    @property
    def content(self) -> Any:
        """The ServiceContent."""
        return self._content

    @property
    def address(self) -> str:
        """The name or address of the server, with its port if that is not the usual one."""
        server = self._connection
        return server.host if server.port == HTTPS_PORT else f"{server.host_in_url}:{server.port}"

    def reference(self, kind: str, moid: str) -> Any:
        """The managed object of a class (``VirtualMachine``, ``alarm.Alarm``) and MoID; nothing is read."""
        return attrgetter(kind)(vim)(moid, self._instance._stub)

    def reference_abroad(self, kind: str, moid: str) -> Any:
        """The same for a call to another vCenter: the reference names this one."""
        return attrgetter(kind)(vim)(moid, self._instance._stub, self._content.about.instanceUuid)

    def locator(self) -> Any:
        """A ``ServiceLocator``: how another vCenter reaches this one, logs in, and knows its certificate. Raises ConnectError."""
        server = self._connection
        login = vim.ServiceLocator.NamePassword(username=server.user, password=server.password)
        return vim.ServiceLocator(
            instanceUuid=self._content.about.instanceUuid,
            url=f"https://{server.host_in_url}:{server.port}",
            credential=login,
            sslThumbprint=self.thumbprint(),
        )

    def thumbprint(self) -> str:
        """SHA-1 of the certificate that a connection of this session accepted, ``AB:CD:...``, as vCenter writes it.

        Raises ConnectError.
        """
        certificate = self.call("read the certificate", self._certificate)
        digest = hashlib.sha1(certificate, usedforsecurity=False).hexdigest().upper()
        return ":".join(digest[place : place + 2] for place in range(0, len(digest), 2))

    @property
    def verifies(self) -> bool:
        """Whether the certificate of the server is verified."""
        return self._connection.validate_certs

    def _certificate(self) -> bytes:
        """The server's certificate (DER), as it is on a connection that the session uses."""
        stub = self._instance._stub
        connection = stub.GetConnection()
        try:
            if connection.sock is None:  # the server closed it meanwhile
                connection.connect()
            return bytes(connection.sock.getpeercert(binary_form=True))
        finally:
            stub.ReturnConnection(connection)

    def policy_service(self) -> Any:
        """The ``ServiceInstance`` of the policy service (SPBM). Its objects are for :meth:`ask_policies`."""
        if self._policies is None:
            self._policies = pbm.ServiceInstance("ServiceInstance", _policy_stub(self._connection))
        return self._policies

    def ask_policies(self, what: str, question: Callable[[], T]) -> T:
        """Make one call of the policy service, whose calls name the session of the vSphere API in their header. Raises as :meth:`call`.

        The service can be down while vCenter answers, so the patience of :meth:`call` is not for it. To pyVmomi, a missing privilege
        and a session that has ended are the same fault here: ``SecurityError``, the class above both.
        """
        stub = self.policy_service()._stub

        def ask() -> T:
            stub.requestContext = {"vcSessionCookie": _session_key(self._instance._stub.cookie)}
            try:
                return question()
            except AttributeError as error:
                # pyVmomi reads a NoPermission of this service as its class SecurityError, which does not have the fault's fields.
                raise vmodl.fault.SecurityError from error

        try:
            return self.call(what, ask, once=True)
        except CallFailed as error:
            if error.fault != _SECURITY:
                raise
        if self.call("read the session", lambda: self._content.sessionManager.currentSession) is None:
            self.renew()
        try:
            return self.call(what, ask, once=True)
        except CallFailed as error:
            if error.fault != _SECURITY:
                raise
            raise PermissionMissing(
                f"The vCenter user is not allowed to {what}",
                privilege=VIEW_POLICIES,
                hint=f"Grant the privilege {VIEW_POLICIES} on the vCenter",
            ) from error

    def call(self, what: str, action: Callable[[], T], *, once: bool = False) -> T:
        """Make one call; log in again if the session has ended; repeat a call that got no answer, until it gets one.

        ``once`` is for calls that must not be carried out twice: without an answer they raise ConnectError at once, and the
        caller has to look whether the call was carried out. Raises CallFailed, PermissionMissing or ConnectError.
        """
        refused = 0
        while True:
            try:
                answer = action()
            except vim.fault.NotAuthenticated as error:
                refused += 1
                if refused > MAX_REFUSALS:
                    raise ConnectError(_NO_SESSION, hint=_NO_SESSION_HINT) from error
                self.renew()
            except Exception as error:
                problem = translated(what, error)
                if not isinstance(problem, ConnectError):
                    self.silence.end()  # a fault is an answer too
                    raise problem from error
                if once:
                    self.silence.begin()
                    raise problem from error
                self.silence.bear(problem)
            else:
                self.silence.end()
                return answer

    def whole(self, read: Callable[[], T]) -> T:
        """Make a read of several calls; from its beginning if the session ended meanwhile. Raises what ``call`` raises."""
        for _attempt in range(MAX_REFUSALS):
            logins = self.renewed
            try:
                return read()
            except SessionEnded:
                if self.renewed == logins:
                    self.renew()
            except ReadBroken:
                pass
            except CallFailed:
                if self.renewed == logins:
                    raise
        raise ConnectError(_NO_SESSION, hint=_NO_SESSION_HINT)

    def renew(self) -> None:
        """Start a new session on the same stub, so that earlier references stay valid. Raises ConnectError.

        A vCenter that has just started may refuse a login that it accepted before. It also refuses one in a session that has not
        ended, although it has just answered as if it had: then what was read is read again in this session.
        """
        refused = 0
        while True:
            try:
                with _as_connect_error(self._connection):
                    self._content.sessionManager.Login(self._connection.user, self._connection.password, None)
            except LoginRefused as error:
                refused += 1
                self.silence.end()  # a refusal is an answer too
                lives = self._is_logged_in()
                if refused >= MAX_REFUSALS and not lives:
                    raise
                self.silence.bear(error)
                if lives:
                    break
            except ConnectError as error:
                self.silence.bear(error)
            else:
                break
        self.silence.end()
        self.renewed += 1

    def _is_logged_in(self) -> bool:
        """Whether the session is seen to live; without an answer it is not seen."""
        try:
            return self._content.sessionManager.currentSession is not None
        except Exception as error:
            if translated("read the session", error) is error:
                raise
            return False

    def close(self) -> None:
        """Log out. A session that has ended already is not an error."""
        with suppress(vmodl.MethodFault, OSError, http.client.HTTPException):
            Disconnect(self._instance)


class Silence:
    """The time during which vCenter does not answer: how long to wait before each attempt, and when to give up.

    It begins with the first attempt that fails after an answer, and lasts until the next answer, over all calls in between.
    ``tell`` gets its seconds, first after ``NOTICE_SECONDS``; and then once 0.0, when vCenter answers again. While
    ``interrupted`` returns true, the patience is ``INTERRUPTED_SECONDS`` at most.
    """

    def __init__(
        self,
        patience: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.tell: Callable[[float], None] = lambda _seconds: None
        self.interrupted: Callable[[], bool] = lambda: False
        self._patience, self._clock, self._sleep = patience, clock, sleep
        self._began: float | None = None
        self._pause = _MIN_PAUSE
        self._told = False

    def begin(self) -> float:
        """An attempt got no answer. Returns the seconds since the first one that got none."""
        now = self._clock()
        if self._began is None:
            self._began = now
        return now - self._began

    def bear(self, problem: ConnectError, most: float = _MAX_PAUSE) -> None:
        """Wait before the next attempt, each time up to twice as long, but at most ``most`` seconds.

        Raises ``problem`` if the patience is used up.
        """
        silent = self.begin()
        if silent >= self._limit():
            raise problem
        if silent >= NOTICE_SECONDS:
            self._told = True
            self.tell(silent)
        # Jitter keeps several controllers from asking a vCenter that starts at the same moments.
        pause = min(self._pause * random.uniform(0.5, 1.0), most)
        while pause > 0 and (left := self._limit() - self.begin()) > 0:
            nap = min(pause, max(left, _MIN_NAP_SECONDS), _NAP_SECONDS)
            self._sleep(nap)
            pause -= nap
        self._pause = min(2 * self._pause, _MAX_PAUSE)

    def _limit(self) -> float:
        return min(self._patience, INTERRUPTED_SECONDS) if self.interrupted() else self._patience

    def end(self) -> None:
        """vCenter has answered."""
        told = self._told
        self._began, self._pause, self._told = None, _MIN_PAUSE, False
        if told:
            self.tell(0.0)


@contextmanager
def connected(connection: Endpoint, patience: float = PATIENCE_SECONDS) -> Iterator[Client]:
    """A client for the time of the context."""
    client = Client(connection, patience)
    try:
        yield client
    finally:
        client.close()


def _first_login(connection: Endpoint, patience: float) -> Any:
    """Log in. A vCenter that has never answered may be starting, but its address is more likely to be wrong.

    So the patience is shorter than later in the session, and fewer refusals are borne.
    """
    silence, refused = Silence(min(patience, FIRST_PATIENCE_SECONDS)), 0
    while True:
        try:
            return _log_in(connection)
        except LoginRefused as error:
            refused += 1
            if refused >= FIRST_REFUSALS or not isinstance(error.__cause__, vim.fault.InvalidLogin):
                raise
            silence.bear(error)
        except NoAnswer as error:
            silence.bear(error)


def _log_in(connection: Endpoint) -> Any:
    with _as_connect_error(connection), _default_timeout():
        return SmartConnect(
            host=connection.host,
            port=connection.port,
            user=connection.user,
            pwd=connection.password,
            sslContext=_tls(connection),
            httpConnectionTimeout=_TIMEOUT_SECONDS,
        )


def _policy_stub(connection: Endpoint) -> Any:
    return SoapStubAdapter(
        host=connection.host,
        port=connection.port,
        path="/pbm/sdk",
        version="pbm.version.version2",
        sslContext=_tls(connection),
        httpConnectionTimeout=_TIMEOUT_SECONDS,
    )


def _session_key(cookie: str) -> str:
    """The key of a session in its cookie, ``vmware_soap_session="KEY"; Path=/``."""
    return cookie.partition("=")[2].partition(";")[0].strip().strip('"')


@contextmanager
def _as_connect_error(connection: Endpoint) -> Iterator[None]:
    """Raise whatever goes wrong during the login as ConnectError."""
    place, named, option = connection.place, connection.named, connection.option
    try:
        yield
    except vim.fault.InvalidLogin as error:
        raise LoginRefused(
            f"{place} refused the login of {connection.user}",
            hint=f"Check {named('username', 'VMWARE_USER')} and {named('password', 'VMWARE_PASSWORD')}",
            option=option("password"),
        ) from error
    except vim.fault.NoPermission as error:
        raise LoginRefused(
            f"{connection.user} can log in to {place} but has no permissions there",
            hint="Give the user a role, for example with the playbook liveml.vsphere.create_role",
            option=option("username"),
        ) from error
    except ssl.SSLCertVerificationError as error:
        raise ConnectError(
            f"The certificate of {place} cannot be verified ({error.verify_message})",
            hint=f"Set {named('ca_path', 'SSL_CERT_FILE')} to the certificate of the CA; validate_certs=false turns verification off",
            option=option("ca_path"),
        ) from error
    except Exception as error:
        if not _is_no_answer(error) and not isinstance(error, vmodl.MethodFault):
            raise
        kind = ConnectError if isinstance(error, socket.gaierror) else NoAnswer
        raise kind(
            f"{place} cannot be reached ({short(error)})",
            hint=f"Check {named('hostname', 'VMWARE_HOST')}, {named('port', 'VMWARE_PORT')} and the network",
            option=option("hostname"),
        ) from error


def _is_no_answer(error: Exception) -> bool:
    """Whether the connection failed, or a proxy answered in its own words. pyVmomi raises a bare Exception for a wrong status."""
    return isinstance(error, (OSError, http.client.HTTPException, ExpatError)) or error.__class__ is Exception


@contextmanager
def _default_timeout() -> Iterator[None]:
    """pyVmomi asks for the versions of the API on a connection without a timeout of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


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
            hint=f"Set {connection.named('ca_path', 'SSL_CERT_FILE')} to a PEM file",
            option=connection.option("ca_path"),
        ) from error


def translated(what: str, error: Exception) -> Exception:
    """A vSphere fault or broken connection as one of our errors; anything else is a bug and stays as it is."""
    if isinstance(error, vim.fault.NoPermission):
        privileges = missing_privileges(error)
        return PermissionMissing(
            f"The vCenter user is not allowed to {what}",
            privilege=privileges,
            hint=f"Grant the privilege {privileges}"
            if privileges
            else "vCenter does not say which privilege is missing",
        )
    if isinstance(error, vmodl.MethodFault):
        name = fault_name(error)
        return CallFailed(f"vCenter could not {what}: {name} ({short(error)})", fault=name)
    if _is_no_answer(error):
        return ConnectError(f"The connection to vCenter was lost ({short(error)})", hint="Run the same playbook again")
    return error


def fault_name(error: Any) -> str:
    """The class name of a fault, ``InvalidState``."""
    return type(error).__name__.rsplit(".", 1)[-1]


def missing_privileges(error: Any) -> str:
    """The privileges that a ``NoPermission`` names, comma-separated; "" if it names none.

    Since vSphere 8 they are in ``missingPrivileges``, and ``privilegeId`` may be unset.
    """
    missing = [p for entity in getattr(error, "missingPrivileges", None) or () for p in entity.privilegeIds or ()]
    named = missing or ([error.privilegeId] if error.privilegeId else [])
    return ", ".join(sorted({str(privilege) for privilege in named}))


def short(error: BaseException) -> str:
    """An error's message on one line, at most 200 characters."""
    message = getattr(error, "msg", None) or str(error) or type(error).__name__
    return text(" ".join(str(message).split()))
