# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a session sees a VM: under another MoID too, and unknown is not gone."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere import session
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Estate, Power
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.news import PlacementUpdate
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.session import VcenterSession

from tests.builders.estates import INFO, vm


class SearchedClient:
    """A client whose vCenter knows MoIDs by instance UUID."""

    renewed = 0

    def __init__(self, by_uuid: dict[str, str]) -> None:
        self.content = SimpleNamespace(
            searchIndex=SimpleNamespace(
                FindByUuid=lambda _entity, uuid, *_options: (
                    SimpleNamespace(_moId=by_uuid[uuid]) if uuid in by_uuid else None
                )
            )
        )

    def call(self, _what: str, action: Callable[[], Any], *, once: bool = False) -> Any:
        return action()


def session_that_shows(
    monkeypatch: pytest.MonkeyPatch, rows: dict[str, dict[str, Any]], by_uuid: dict[str, str]
) -> VcenterSession:
    """A session that has read the estate of ``vm-1``, and now sees these rows."""

    client = SearchedClient(by_uuid)
    monkeypatch.setattr(session, "read_placement", lambda _client, vms: {vm: rows[vm] for vm in vms if vm in rows})
    monkeypatch.setattr(session, "read_estate", lambda *_arguments, **_options: Estate(INFO, {}, vms={"vm-1": vm(1)}))
    vsphere = VcenterSession(client)  # type: ignore[arg-type]
    vsphere.estate()
    return vsphere


def on(host: str) -> dict[str, Any]:
    return {"runtime.host": SimpleNamespace(_moId=host), "runtime.powerState": "poweredOn"}


def test_a_vm_that_was_registered_anew_is_found_by_its_instance_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    vsphere = session_that_shows(monkeypatch, {"vm-77": on("host-4")}, {vm(1).instance_uuid: "vm-77"})
    assert vsphere.placement(["vm-1"]) == {"vm-1": PlacementUpdate("vm-1", "host-4", Power.ON)}


@pytest.mark.parametrize("known", [True, False])
def test_a_vm_that_vcenter_has_under_no_id_is_gone(monkeypatch: pytest.MonkeyPatch, known: bool) -> None:
    vsphere = session_that_shows(monkeypatch, {}, {vm(1).instance_uuid: "vm-1"} if known else {})
    assert vsphere.placement(["vm-1", "vm-9"]) == {n: PlacementUpdate(n, None) for n in ("vm-1", "vm-9")}


def test_a_host_that_vcenter_does_not_show_is_unknown_and_the_vm_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    vsphere = session_that_shows(monkeypatch, {"vm-1": {"runtime.powerState": "poweredOn"}}, {})
    seen = vsphere.placement(["vm-1"])["vm-1"]
    assert (seen.host, seen.power) == (None, Power.ON)
    assert "does not say on which host vm-1 is" in seen.unknown
