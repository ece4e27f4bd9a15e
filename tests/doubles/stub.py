# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A vCenter behind pyVmomi's stub: objects with properties by path, and scripted answers of methods.

The code under test builds real pyVmomi calls, and pyVmomi checks their arguments. Nothing is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere import client as subject
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.client import Client, Endpoint
from pyVmomi import vim, vmodl

from tests.doubles.run import Clock

Missing = vmodl.query.PropertyCollector.MissingProperty


def clock_of(module: Any, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which a module waits."""
    clock = Clock()
    monkeypatch.setattr(module.time, "monotonic", clock)
    monkeypatch.setattr(module.time, "sleep", clock.sleep)
    return clock


class Server:
    """``answers`` are by method: a value, an error to raise, or a function of the object and its arguments.

    ``calls`` are the methods that were called, each with the MoID and the arguments. ``broken`` are errors that the next calls of a
    method raise first.
    """

    cookie = 'vmware_soap_session="key"; Path=/'

    def __init__(self, uuid: str = "1111aaaa") -> None:
        self.objects: dict[str, tuple[Any, dict[str, Any], frozenset[str]]] = {}
        self.answers: dict[str, Any] = {
            "CreateContainerView": vim.view.ContainerView("view", self),
            "DestroyView": None,
            "Login": None,
            "RetrievePropertiesEx": self._retrieve,
            "ContinueRetrievePropertiesEx": lambda _collector, token: self._page(int(token)),
        }
        self.broken: dict[str, list[Exception]] = {}
        self.calls: list[tuple[str, str, list[Any]]] = []
        self.fields: dict[tuple[str, str], Any] = {}  # properties that are read one by one, by MoID and name
        self._found: list[Any] = []
        self._most = 0
        about = vim.AboutInfo(
            name="VMware vCenter Server", fullName="VMware vCenter Server 8.0.3", version="8.0.3", instanceUuid=uuid,
            vendor="", build="", osType="", productLineId="", apiType="", apiVersion="",
        )  # fmt: skip
        self.content = SimpleNamespace(
            about=about,
            rootFolder=vim.Folder("group-d1", self),
            viewManager=vim.view.ViewManager("ViewManager", self),
            propertyCollector=vmodl.query.PropertyCollector("propertyCollector", self),
            sessionManager=vim.SessionManager("SessionManager", self),
            authorizationManager=vim.AuthorizationManager("AuthorizationManager", self),
            customFieldsManager=vim.CustomFieldsManager("CustomFieldsManager", self),
            eventManager=vim.event.EventManager("EventManager", self),
            extensionManager=vim.ExtensionManager("ExtensionManager", self),
            searchIndex=vim.SearchIndex("SearchIndex", self),
            storageResourceManager=vim.StorageResourceManager("StorageResourceManager", self),
            vmProvisioningChecker=vim.vm.check.ProvisioningChecker("ProvisioningChecker", self),
            guestOperationsManager=SimpleNamespace(
                processManager=vim.vm.guest.ProcessManager("guestOperationsProcessManager", self)
            ),
        )

    def client(self, patience: float = 300.0) -> Client:
        """A session with this vCenter."""
        instance = SimpleNamespace(RetrieveContent=lambda: self.content, _stub=self)
        with patch.object(subject, "SmartConnect", lambda **_login: instance):
            return Client(Endpoint("vc", "user", "password", validate_certs=False), patience)

    def add(
        self, kind: Any, moid: str, properties: Mapping[str, Any] | None = None, unreadable: Iterable[str] = ()
    ) -> Any:
        """An object with these properties; vCenter does not show the unreadable ones. Returns its reference."""
        reference = kind(moid, self)
        self.objects[moid] = (reference, dict(properties or {}), frozenset(unreadable))
        return reference

    def asked(self, method: str) -> list[list[Any]]:
        """The arguments of each call of a method."""
        return [arguments for name, _moid, arguments in self.calls if name == method]

    def InvokeMethod(self, managed: Any, info: Any, arguments: list[Any]) -> Any:
        """What pyVmomi calls instead of sending a method."""
        self.calls.append((info.wsdlName, managed._moId, list(arguments)))
        if self.broken.get(info.wsdlName):
            raise self.broken[info.wsdlName].pop(0)
        answer = self.answers[info.wsdlName]
        if isinstance(answer, Exception):
            raise answer
        return answer(managed, *arguments) if isinstance(answer, Callable) else answer  # type: ignore[arg-type]

    def InvokeAccessor(self, managed: Any, info: Any) -> Any:
        """What pyVmomi calls to read one property."""
        self.calls.append((info.name, managed._moId, []))
        found = self.fields[managed._moId, info.name]
        if isinstance(found, Exception):
            raise found
        return found

    def _retrieve(self, _collector: Any, specs: list[Any], options: Any) -> Any:
        (spec,) = specs
        paths = {each.type: each.pathSet for each in spec.propSet}
        wanted = [each.obj for each in spec.objectSet if not each.skip]
        if any(each.skip for each in spec.objectSet):  # what the view contains
            wanted = [reference for reference, _values, _unreadable in self.objects.values()]
        self._most = options.maxObjects
        self._found = [
            found for each in wanted if (found := self._content(each, paths, spec.reportMissingObjectsInResults))
        ]
        return self._page(0)

    def _content(self, reference: Any, paths: Mapping[Any, list[str]], report: bool) -> Any:
        if reference._moId not in self.objects:
            if not report:
                raise vmodl.fault.ManagedObjectNotFound(obj=reference)
            gone = Missing(path="", fault=vmodl.fault.ManagedObjectNotFound(obj=reference))
            return SimpleNamespace(obj=reference, propSet=[], missingSet=[gone])
        known, values, unreadable = self.objects[reference._moId]
        names = {name for kind, names in paths.items() if isinstance(known, kind) for name in names}
        if not any(isinstance(known, kind) for kind in paths):
            return None
        denied = [Missing(path=name, fault=vim.fault.NoPermission()) for name in sorted(names & unreadable)]
        shown = [
            SimpleNamespace(name=name, val=value)
            for name, value in values.items()
            if name in names - unreadable and value is not None
        ]
        return SimpleNamespace(obj=known, propSet=shown, missingSet=denied)

    def _page(self, begin: int) -> Any:
        end = begin + self._most
        token = str(end) if end < len(self._found) else None
        return SimpleNamespace(objects=self._found[begin:end], token=token)
