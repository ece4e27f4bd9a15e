# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of storage policies. The policy service may be down, or refuse, while vCenter answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import (
    CallFailed,
    ConnectError,
    PermissionMissing,
    VsphereError,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Estate, Part, StoragePolicies
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.policies import read_policies
from pyVmomi import pbm, vmodl

from tests.builders.estates import estate, host, vm
from tests.builders.storage import store
from tests.doubles.stub import Server

DISKS = (Part(0, "files", "ds-1", 1), Part(2000, "Hard disk 1", "ds-1", 1))


class Service:
    """vCenter's policy service: ``names`` are by id, ``of`` by key of a VM or disk, ``fitting`` are datastores by id."""

    def __init__(self, names: dict[str, str], of: dict[str, str | None], fitting: dict[str, str]) -> None:
        self.server = Server()
        self.names, self.of, self.fitting = names, of, fitting
        self.server.answers |= {
            "PbmRetrieveServiceContent": SimpleNamespace(
                profileManager=pbm.profile.ProfileManager("pm", self.server),
                placementSolver=pbm.placement.PlacementSolver("ps", self.server),
            ),
            "PbmQueryProfile": lambda *_a: [pbm.profile.ProfileId(uniqueId=each) for each in names],
            "PbmRetrieveContent": lambda _m, ids: [
                SimpleNamespace(profileId=each, name=names[each.uniqueId]) for each in ids
            ],
            "PbmQueryAssociatedProfiles": lambda _m, refs: [self.associated(each) for each in refs],
            "PbmCheckCompatibility": self.compatible,
        }

    def associated(self, ref: Any) -> Any:
        policy = self.of.get(ref.key, "")
        assert ref.objectType == ("virtualDiskId" if ":" in ref.key else "virtualMachine")
        ids = [SimpleNamespace(uniqueId=policy)] if policy else []
        return SimpleNamespace(object=ref, profileId=ids, fault=vmodl.MethodFault() if policy is None else None)

    def compatible(self, _solver: Any, hubs: list[Any], profile: Any) -> list[Any]:
        fits = self.fitting.get(profile.uniqueId, "").split()
        return [SimpleNamespace(hub=hub, error=[] if hub.hubId in fits else [vmodl.MethodFault()]) for hub in hubs]

    def read(self, world: Estate, vms: list[str], wanted: str = "") -> StoragePolicies:
        client = self.server.client()
        client._policies = pbm.ServiceInstance("ServiceInstance", self.server)
        return read_policies(client, world, vms, wanted)


def world(*numbers: int) -> Estate:
    vms = [vm(number, parts=DISKS) for number in numbers or (1,)]
    return estate([host(1)], vms, datastores={each: store(each, "1") for each in ("ds-2", "ds-1")})


def test_the_policies_of_a_vm_and_the_datastores_that_fit_them() -> None:
    service = Service(
        {"p1": "Gold", "p2": "Silver", "p3": "Unused"},
        {"vm-1": "p1", "vm-1:2000": "p2"},
        {"p1": "ds-1", "p2": "ds-1 ds-2"},
    )
    found = service.read(world(), ["vm-1", "vm-1", "gone"])
    assert found.names == {"p1": "Gold", "p2": "Silver", "p3": "Unused"}
    assert found.of_vms == {"vm-1": {0: "p1", 2000: "p2"}}
    assert found.fitting == {"p1": {"ds-1"}, "p2": {"ds-1", "ds-2"}}
    assert found.why_unknown == ""


def test_a_part_without_a_policy_has_none_and_one_that_is_not_said_is_unknown() -> None:
    found = Service({"p1": "Gold"}, {"vm-1": "", "vm-1:2000": None}, {}).read(world(), ["vm-1"])
    assert (found.of("vm-1", 0), found.of("vm-1", 2000)) == ("", None)
    assert found.fitting == {}


def test_an_answer_about_something_else_is_ignored() -> None:
    service = Service({}, {}, {})
    service.associated = lambda ref: SimpleNamespace(  # type: ignore[method-assign]
        object=SimpleNamespace(key=f"{ref.key}9"), profileId=[], fault=None
    )
    assert service.read(world(), ["vm-1"]).of_vms == {"vm-1": {}}


def test_the_datastores_of_a_wanted_policy_are_known_although_no_vm_has_it() -> None:
    found = Service({"p1": "Gold", "p2": "Silver"}, {}, {"p1": "ds-2", "p2": "ds-1"}).read(world(), ["vm-1"], "Gold")
    assert found.fitting == {"p1": {"ds-2"}}


def test_without_policies_or_datastores_nothing_further_is_asked() -> None:
    service = Service({}, {}, {})
    bare = estate([host(1)], [vm(1)], datastores={})
    assert service.read(bare, ["vm-1"]).of_vms == {"vm-1": {}}
    named = Service({"p1": "Gold"}, {}, {})
    assert named.read(bare, [], "Gold").fitting == {"p1": frozenset()}
    asked = {method for method, _moid, _arguments in service.server.calls + named.server.calls}
    assert not asked & {"PbmCheckCompatibility", "PbmQueryAssociatedProfiles"}


def test_many_vms_are_asked_about_in_several_questions_and_none_is_left_out() -> None:
    numbers = range(1, 502)
    service = Service({}, {"vm-500:2000": "p1"}, {})
    found = service.read(world(*numbers), [f"vm-{number}" for number in numbers])
    assert len(found.of_vms) == 501
    assert all(parts.keys() == {0, 2000} for parts in found.of_vms.values())
    assert found.of("vm-500", 2000) == "p1"
    assert len(service.server.asked("PbmQueryAssociatedProfiles")) == 3


UNAVAILABLE = ConnectionResetError("reset")


@pytest.mark.parametrize("failures", [1, 2])
def test_a_service_that_does_not_answer_is_asked_again(failures: int) -> None:
    service = Service({"p1": "Gold"}, {}, {})
    service.server.broken["PbmQueryProfile"] = [UNAVAILABLE] * failures
    assert service.read(world(), ["vm-1"]).names == {"p1": "Gold"}


def test_a_service_that_never_answers_makes_the_policies_unknown_and_says_why() -> None:
    service = Service({"p1": "Gold"}, {}, {})
    service.server.answers["PbmQueryProfile"] = UNAVAILABLE
    found = service.read(world(), ["vm-1"])
    assert found.names == {}
    assert "does not answer" in found.why_unknown
    assert "vmware-sps" in found.why_unknown
    assert ".." not in found.why_unknown
    assert len(service.server.asked("PbmQueryProfile")) == 3


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (UNAVAILABLE, ConnectError),
        (vmodl.fault.NotSupported(), CallFailed),
        (vmodl.fault.SecurityError(), PermissionMissing),
    ],
)
def test_a_policy_that_somebody_wants_must_be_readable(error: Exception, kind: type[VsphereError]) -> None:
    service = Service({"p1": "Gold"}, {}, {})
    service.server.answers["PbmQueryProfile"] = error
    service.server.fields["SessionManager", "currentSession"] = object()
    with pytest.raises(kind) as caught:
        service.read(world(), ["vm-1"], "Gold")
    assert caught.value.option == "storage_policy"


def test_a_fault_without_a_hint_is_said_as_it_is() -> None:
    service = Service({"p1": "Gold"}, {}, {})
    service.server.answers["PbmQueryProfile"] = vmodl.fault.NotSupported(msg="No policies here.")
    found = service.read(world(), ["vm-1"])
    assert found.why_unknown.endswith("NotSupported (No policies here.)")
