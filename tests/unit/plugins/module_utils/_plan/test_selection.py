# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an operator writes means exactly one object, or is an error that helps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unicodedata import normalize

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import (
    Ambiguous,
    CallFailed,
    InvalidInput,
    NotFound,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import PlanRequest
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.planner import make_plan
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.selection import (
    Witnessed,
    check_fault_domains,
    display_name,
    find_cluster,
    find_datastores,
    find_fault_domain,
    find_host,
    find_vm,
    find_vms,
    find_witnessed,
    select_vms,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import (
    FAULT_DOMAIN,
    PLACE,
    Connection,
    Estate,
    Pool,
    Power,
    unescaped,
)

from tests.builders.estates import estate, host, vm
from tests.builders.storage import store
from tests.builders.storage import world as world_of_stores

TWO_DATACENTERS = estate(
    [host(1, name="esx-05.example.com", cluster_name="ML"), host(2, name="10.2.0.11")],
    [
        replace(vm(1), name="train", folder="ml/vision", datacenter="DC0"),
        replace(vm(2), name="train", folder="ml", datacenter="DC1"),
        replace(vm(3), name="base/gpu 50%", folder="proj/x", datacenter="DC0"),
        replace(vm(4), name="top", folder="", datacenter="DC0", attributes={"Owner": "Alice", "tier": "5"}),
    ],
)


def test_a_text_that_is_one_vms_moid_and_another_ones_name_is_ambiguous() -> None:
    world = estate([host(1)], [replace(vm(55), name="vm-58"), vm(58)])
    with pytest.raises(Ambiguous, match="is the MoID of one object and the name of another") as caught:
        find_vm(world, "vm-58")
    assert set(caught.value.candidates) == {"vm-55", "vm-58"}
    assert find_vm(world, "/dc/vm/ml-58").moid == "vm-58"
    assert find_vm(world, "vm-55").name == "vm-58"


def test_a_text_that_is_one_hosts_moid_and_another_ones_name_is_ambiguous() -> None:
    world = estate([host(1, name="host-2"), host(2)], [])
    with pytest.raises(Ambiguous):
        find_host(world, "host-2")
    assert find_host(world, "/dc/host/c/host-2").moid == "host-1"


@pytest.mark.parametrize(
    ("text", "moid"),
    [
        ("/DC0/vm/ml/vision/train", "vm-1"),
        ("/DC1/vm/ml/train", "vm-2"),
        ("/DC0/vm/top", "vm-4"),
        ("base/gpu 50%", "vm-3"),
        ("base%2fgpu 50%25", "vm-3"),
        ("/DC0/vm/proj/x/base%2Fgpu 50%25", "vm-3"),
        ("vm-2", "vm-2"),
    ],
)
def test_a_vm_is_found_by_path_escaped_name_and_moid(text: str, moid: str) -> None:
    assert find_vm(TWO_DATACENTERS, text).moid == moid


def test_twins_are_told_apart_by_their_paths() -> None:
    with pytest.raises(Ambiguous) as caught:
        find_vm(TWO_DATACENTERS, "train")
    assert "/DC0/vm/ml/vision/train" in str(caught.value)
    assert "/DC1/vm/ml/train" in str(caught.value)


@pytest.mark.parametrize(
    ("folder", "moids"),
    [
        ("ml", {"vm-1", "vm-2"}),
        ("/DC0/vm/ml", {"vm-1"}),
        ("/DC1/vm/ml/", {"vm-2"}),
        ("/DC0/vm", {"vm-1", "vm-3", "vm-4"}),
        ("proj%2fx", {"vm-3"}),
        ("ml/vision", {"vm-1"}),
    ],
)
def test_folders_select_in_every_datacenter_or_in_one(folder: str, moids: set[str]) -> None:
    assert set(select_vms(TWO_DATACENTERS, folders=[folder])) == moids


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ({"patterns": ["trian*"]}, "No VM has a name that fits the pattern trian\\*. Did you mean train"),
        ({"patterns": ["train", "nothing-*"]}, "nothing-"),
        ({"folders": ["m"]}, "No VM is in the folder m. "),
        ({"folders": ["/DC2/vm/ml"]}, "/DC2/vm/ml"),
        ({"folders": ["nosuch"]}, "No VM is in the folder nosuch"),
        ({"attributes": {"owner": "x"}}, "No VM has a custom attribute named owner. Did you mean Owner"),
        (
            {"attributes": {"Owner": "Alise"}},
            "No VM has the custom attribute Owner with the value Alise. Did you mean Alice",
        ),
    ],
)
def test_a_criterion_that_fits_nothing_is_an_error(wanted: dict[str, Any], text: str) -> None:
    with pytest.raises(NotFound, match=text):
        select_vms(TWO_DATACENTERS, **wanted)


def test_a_pattern_that_fits_vms_of_another_host_selects_none_here() -> None:
    assert select_vms(TWO_DATACENTERS, host="host-2", patterns=["train"]) == ()


@pytest.mark.parametrize("text", ["ESX-05.EXAMPLE.COM", "esx-05", "Esx-05.Example.Com", "esx-05.other.org"])
def test_another_spelling_of_a_host_gets_a_hint(text: str) -> None:
    with pytest.raises(NotFound, match=r"Did you mean esx-05\.example\.com"):
        find_host(TWO_DATACENTERS, text)


def test_a_name_of_another_kind_says_what_it_is() -> None:
    world = estate([host(1, name="esx-05", fault_domain="az-1"), host(2, name="esx-06", fault_domain="az-1")], [vm(1)])
    with pytest.raises(
        NotFound, match=r"az-1 is a fault domain\. Set host to the name of one host in it, for example esx-05"
    ):
        find_host(world, "az-1")
    with pytest.raises(
        NotFound, match=r"esx-06 is an ESXi host\. Set fault_domain to the name of its fault domain, az-1"
    ):
        find_fault_domain(world, "esx-06")
    with pytest.raises(NotFound, match=r"esx-05 is an ESXi host\. Set vms to the name of a VM"):
        find_vm(world, "esx-05")
    with pytest.raises(NotFound, match=r"No host is in a fault domain named az-2\. Did you mean az-1"):
        find_fault_domain(world, "az-2")


@pytest.mark.parametrize(("written", "meant"), [("esx-50", "esx-05"), ("esx5", "esx-05"), ("ESX-06", "esx-06")])
def test_the_host_that_was_meant_is_suggested(written: str, meant: str) -> None:
    with pytest.raises(NotFound, match=f"Did you mean {meant}[?] Correct host"):
        find_host(estate([host(1, name="esx-05"), host(2, name="esx-06")], []), written)


def test_the_first_number_of_an_address_is_no_short_name() -> None:
    with pytest.raises(NotFound) as caught:
        find_host(TWO_DATACENTERS, "10.9.9.9")
    assert "Did you mean" not in str(caught.value)


def test_a_map_of_fault_domains_with_an_unknown_host_is_an_error() -> None:
    check_fault_domains(TWO_DATACENTERS, ["10.2.0.11"])
    with pytest.raises(NotFound, match=r"which fault_domains mentions\. Did you mean 10\.2\.0\.11"):
        check_fault_domains(TWO_DATACENTERS, ["10.2.0.1I"])


@pytest.mark.parametrize(
    ("name", "plain"),
    [("a%2fb", "a/b"), ("a%5Cb", "a\\b"), ("100%25", "100%"), ("%252f", "%2f"), ("plain", "plain")],
)
def test_names_are_shown_as_people_write_them(name: str, plain: str) -> None:
    assert unescaped(name) == plain


@pytest.mark.parametrize(("attributes", "moids"), [({"Owner": "Alice"}, ("vm-4",)), ({"tier": 5}, ("vm-4",))])
def test_attributes_select_by_text_also_if_yaml_reads_a_number(
    attributes: dict[str, Any], moids: tuple[str, ...]
) -> None:
    assert select_vms(TWO_DATACENTERS, attributes=attributes) == moids


@pytest.mark.parametrize("glob", ["base/*", "base%2f*", "base%2F*%25", "base?gpu 50%"])
def test_a_pattern_fits_names_as_people_or_vcenter_write_them(glob: str) -> None:
    assert select_vms(TWO_DATACENTERS, patterns=[glob]) == ("vm-3",)


COMPOSED, DECOMPOSED = "Zürich-gpu", normalize("NFD", "Zürich-gpu")


@pytest.mark.parametrize(("stored", "typed"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED), (COMPOSED, COMPOSED)])
def test_an_accent_may_be_a_second_character(stored: str, typed: str) -> None:
    world = estate([host(1, name=f"{stored}-host")], [vm(1, name=stored, folder=f"ml/{stored}")])
    assert find_vm(world, typed).moid == "vm-1"
    assert find_vm(world, f"/dc/vm/ml/{typed}/{typed}").moid == "vm-1"
    assert find_host(world, f"{typed}-host").moid == "host-1"
    assert select_vms(world, patterns=[f"{typed[:-3]}*"]) == ("vm-1",)
    assert select_vms(world, folders=[f"ml/{typed}"]) == ("vm-1",)


def test_two_names_that_look_the_same_are_told_apart() -> None:
    world = estate([host(1)], [vm(1, name=COMPOSED), vm(2, name=DECOMPOSED)])
    assert find_vm(world, COMPOSED).moid == "vm-1"
    assert find_vm(world, DECOMPOSED).moid == "vm-2"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("10.2.0.11", r"vCenter shows the host 10\.2\.0\.11 as esx-05\.example\.com\. Set host to that name"),
        ("esx-06.example.com", r"vCenter shows the host esx-06\.example\.com as 10\.2\.0\.12\. Set host to that name"),
        ("ESX-06", r"vCenter shows the host ESX-06 as 10\.2\.0\.12"),
        ("esx-05", r"Did you mean esx-05\.example\.com"),
        ("10.2.0.99", r"Set host to the name of a host|Did you mean 10\.2\.0\.12"),
        ("/DC/host/wrong/esx-05.example.com", r"Did you mean /dc/host/c/esx-05\.example\.com"),
        ("c", r"c is a cluster\. Set host to the name of one host in it"),
    ],
)
def test_an_address_or_dns_name_of_a_host_gets_a_hint(text: str, hint: str) -> None:
    world = estate(
        [
            host(1, name="esx-05.example.com", aliases=frozenset({"10.2.0.11"})),
            host(2, name="10.2.0.12", aliases=frozenset({"esx-06", "esx-06.example.com"})),
        ],
        [],
    )
    with pytest.raises(NotFound, match=hint):
        find_host(world, text)
    if "shows" in hint:
        with pytest.raises(NotFound, match=hint.replace("Set host", "Set fault_domains")):
            check_fault_domains(world, [text])


def test_an_address_of_a_guest_and_a_wrong_path_get_a_hint() -> None:
    world = estate([host(1)], [vm(1, guest_address="10.0.0.7", folder="ml"), vm(2, folder="ml")])
    with pytest.raises(
        NotFound, match=r"10\.0\.0\.7 is the address of the guest of ml-1\. Set vms to the name of the VM"
    ):
        find_vm(world, "10.0.0.7")
    with pytest.raises(NotFound, match=r"Did you mean /dc/vm/ml/ml-2\? Correct vms"):
        find_vm(world, "/dc/vm/nlp/ml-2")
    with pytest.raises(NotFound, match=r"Did you mean ml-2\? Correct vms"):
        find_vm(world, "/dc/vm/ml/ML-2")


def test_two_swapped_digits_suggest_the_name_that_was_meant() -> None:
    world = estate([host(n) for n in (12, 21, 22, 31)], [])
    with pytest.raises(NotFound) as caught:
        find_host(world, "esx-13", option="destination")
    assert str(caught.value) == "vCenter has no host named esx-13. Did you mean esx-31? Correct destination."


def test_names_must_mean_one_object() -> None:
    world = estate([host(1), host(2)], [vm(1), replace(vm(2), name="ml-1", folder="ml/vision"), vm(3, on=2)])
    with pytest.raises(Ambiguous, match="vm-2 \\(/dc/vm/ml/vision/ml-1\\)"):
        find_vm(world, "ml-1")
    with pytest.raises(NotFound, match="Did you mean ml-3"):
        find_vm(world, "ml-33")
    with pytest.raises(NotFound, match="is a virtual machine"):
        find_host(world, "ml-3")
    with pytest.raises(NotFound, match="is an ESXi host"):
        find_vm(world, "esx-1")
    assert find_host(world, "host-2").name == "esx-2"
    assert select_vms(world, patterns=["ml-[23]"]) == ("vm-3",)
    assert select_vms(world, folders=["ml"]) == ("vm-2",)
    assert select_vms(world, host="host-2") == ("vm-3",)
    with pytest.raises(NotFound, match="No VM has a custom attribute named owner"):
        select_vms(world, attributes={"owner": "x"})


def test_datastores_are_found_by_name_moid_and_cluster() -> None:
    stores = [store("a", "1", cluster="gold"), store("b", "1", cluster="gold"), store("c", "1", cluster="name-a")]
    here = world_of_stores(stores)
    assert find_datastores(here, "name-b") == {"b"}
    assert find_datastores(here, "c") == {"c"}
    assert find_datastores(here, "gold") == {"a", "b"}
    with pytest.raises(Ambiguous, match="A datastore and a datastore cluster are named name-a"):
        find_datastores(here, "name-a")
    with pytest.raises(NotFound) as missing:
        find_datastores(here, "golt")
    assert "gold" in missing.value.hint
    with pytest.raises(InvalidInput):
        find_datastores(here, "")


CLUSTERS = estate(
    [
        host(1, cluster="c-1", cluster_name="ml"),
        host(2, cluster="c-1", cluster_name="ml"),
        host(3, cluster="c-2", cluster_name="ml", datacenter="dc2"),
        host(4, cluster="c-3", cluster_name="web", name="a-first"),
        host(5, cluster="c-3", cluster_name="web", name="Z-last"),
        host(6, cluster="", cluster_name=""),
    ],
    [vm(1), vm(2, on=2), vm(3, on=2, power=Power.OFF), vm(4, on=4, name="ml-1")],
)


@pytest.mark.parametrize(
    ("text", "moid", "hosts"),
    [
        ("web", "c-3", ("host-5", "host-4")),
        ("c-1", "c-1", ("host-1", "host-2")),
        ("/dc2/host/ml", "c-2", ("host-3",)),
        ("/dc/host/ml", "c-1", ("host-1", "host-2")),
    ],
)
def test_a_cluster_is_found_with_its_hosts_in_the_order_of_their_names(
    text: str, moid: str, hosts: tuple[str, ...]
) -> None:
    found = find_cluster(CLUSTERS, text)
    assert (found.moid, found.hosts) == (moid, hosts)


def test_a_cluster_that_is_not_one_gets_a_hint() -> None:
    with pytest.raises(Ambiguous, match="2 clusters are named ml") as twins:
        find_cluster(CLUSTERS, "ml")
    assert "the MoID or the path of one of them: c-1 (/dc/host/ml), c-2 (/dc2/host/ml)" in str(twins.value)
    with pytest.raises(NotFound, match=r"vCenter has no cluster named wbe\. Did you mean web"):
        find_cluster(CLUSTERS, "wbe")
    with pytest.raises(InvalidInput, match="cluster is empty"):
        find_cluster(CLUSTERS, "")


def test_twins_in_one_folder_are_told_apart_by_their_moids_alone() -> None:
    """Names of VMs are unique in a folder, those of hosts that vCenter shows twice are not."""
    with pytest.raises(Ambiguous) as caught:
        find_host(estate([host(1, name="esx"), host(2, name="esx")], []), "esx")
    assert "Set host to the MoID of one of them" in caught.value.hint


def test_a_moid_that_is_also_the_name_of_a_twin_leaves_no_way_but_another_name() -> None:
    world = estate([host(1), host(2)], [vm(1, name="vm-2"), vm(2, name="vm-2")])
    with pytest.raises(Ambiguous) as caught:
        find_vm(world, "vm-2")
    assert "Set vms to a name that no MoID has of one of them" in caught.value.hint


def test_each_name_that_does_not_fit_is_reported_at_once() -> None:
    with pytest.raises(NotFound) as missing:
        find_vms(CLUSTERS, ["ml-2", "web-1", "ml-33"])
    assert missing.value.message == "vCenter has no VM named web-1; vCenter has no VM named ml-33"
    with pytest.raises(Ambiguous) as twins:
        find_vms(CLUSTERS, ["web-1", "ml-1"])
    assert twins.value.candidates == ("vm-1", "vm-4")
    assert "no VM named web-1; 2 VMs are named ml-1" in twins.value.message
    assert [each.moid for each in find_vms(CLUSTERS, ["ml-3", "vm-1"])] == ["vm-3", "vm-1"]


def test_a_vm_is_shown_with_its_moid_only_if_another_one_has_its_name() -> None:
    assert [display_name(CLUSTERS, moid) for moid in ("vm-1", "vm-2")] == ["ml-1 (vm-1)", "ml-2"]


def test_a_vm_must_fit_every_criterion() -> None:
    one, other = vm(1, attributes={"owner": "a", "tier": "1"}), vm(2, on=2, attributes={"owner": "a", "tier": "2"})
    world = estate([host(1), host(2)], [one, replace(other, folder="ml"), vm(3, on=2)])
    assert select_vms(world) == ("vm-1", "vm-2", "vm-3")
    assert select_vms(world, attributes={"owner": "a"}) == ("vm-1", "vm-2")
    assert select_vms(world, attributes={"owner": "a", "tier": "2"}) == ("vm-2",)
    assert select_vms(world, names=["ml-1", "ml-3"], host="host-2") == ("vm-3",)
    assert select_vms(world, patterns=["ml-1", "ml-2"], folders=["ml"]) == ("vm-2",)
    assert select_vms(world, names=["ml-1"], attributes={"tier": "1"}, host="host-2") == ()


@pytest.mark.parametrize("place", [None, "host-1"])
@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ({"names": ["train-1"], "patterns": ["train-2"]}, "No VM fits everything in vms and patterns"),
        ({"patterns": ["train-1"], "folders": ["ml"]}, "No VM fits everything in patterns and folders"),
        ({"attributes": {"owner": "a", "tier": "2"}}, "No VM fits everything in attributes"),
    ],
)
def test_criteria_that_no_vm_fits_together_are_an_error(wanted: dict[str, Any], text: str, place: str | None) -> None:
    one, two = vm(1, name="train-1", attributes={"owner": "a"}), vm(2, name="train-2", attributes={"tier": "2"})
    with pytest.raises(NotFound, match=text):
        select_vms(estate([host(1)], [one, replace(two, folder="ml")]), host=place, **wanted)


def test_vms_with_one_name_are_selected_in_the_order_of_their_moids() -> None:
    world = estate([host(1)], [vm(2, name="b"), vm(1, name="b"), vm(3, name="a")])
    assert select_vms(world) == ("vm-3", "vm-1", "vm-2")


@pytest.mark.parametrize(
    ("folder", "moids"),
    [
        ("/DC0/vm/ml", ("vm-1",)),
        ("/ml/vm/old", ("vm-2",)),
        ("ml/vm/old", ("vm-3",)),
        ("vm", ("vm-4",)),
    ],
)
def test_a_folder_is_a_whole_path_only_if_it_begins_as_one(folder: str, moids: tuple[str, ...]) -> None:
    """``/ml/vm/old`` is in the data centre ml; without the first slash it is a folder of every data centre."""
    vms = [
        vm(1, folder="ml", datacenter="DC0"),
        vm(2, folder="old", datacenter="ml"),
        vm(3, folder="ml/vm/old", datacenter="DC1"),
        vm(4, folder="vm", datacenter="DC2"),
    ]
    assert select_vms(estate([host(1)], vms), folders=[folder]) == moids


def test_a_host_whose_fault_domain_is_hidden_may_be_in_any() -> None:
    hidden = {"host-2": frozenset({FAULT_DOMAIN}), "host-3": frozenset({FAULT_DOMAIN})}
    world = estate(
        [host(1, "az"), host(2, None), host(3, "other")], [], unreadable=hidden
    )  # the map names that of host 3
    with pytest.raises(CallFailed, match=r"does not show the fault domain of esx-2, which may be az") as caught:
        find_fault_domain(world, "az")
    assert caught.value.option == "fault_domains"
    with pytest.raises(NotFound):
        find_fault_domain(world, "nowhere")


@pytest.mark.parametrize(
    ("away", "known"),
    [
        ({"connection": Connection.NOT_RESPONDING, "shows_config": False}, False),
        ({"connection": Connection.DISCONNECTED, "shows_config": False, "fault_domain": "b"}, True),  # the map names it
        ({"connection": Connection.DISCONNECTED}, True),  # vCenter has the configuration, and it has no fault domain
    ],
)
def test_a_disconnected_host_without_a_configuration_may_be_in_any_fault_domain(
    away: dict[str, Any], known: bool
) -> None:
    world = estate([host(1, "az"), host(2, **{"domain": None, **away})], [])
    if known:
        assert [each.moid for each in find_fault_domain(world, "az")] == ["host-1"]
        return
    with pytest.raises(CallFailed, match="does not show the fault domain of esx-2, which may be az") as caught:
        find_fault_domain(world, "az")
    assert caught.value.hint == "Connect the host to vCenter again, or name its fault domain in fault_domains"


def test_a_fault_domain_has_its_hosts_in_the_order_of_their_names() -> None:
    world = estate([host(3, "az"), host(1, "az"), host(2, None), host(4, "b")], [])
    assert [each.moid for each in find_fault_domain(world, "az")] == ["host-1", "host-3"]
    with pytest.raises(NotFound, match="Set fault_domain to the name of a fault domain"):
        find_fault_domain(world, "somewhere")
    with pytest.raises(NotFound, match=r"No host is in a fault domain named esx-2\. Set fault_domain"):
        find_fault_domain(world, "esx-2")  # a host without a domain
    with pytest.raises(InvalidInput, match="fault_domain is empty"):
        find_fault_domain(world, "")


def test_a_name_that_two_hosts_are_known_by_gets_no_hint_of_one_of_them() -> None:
    shared = frozenset({"10.0.0.9"})
    with pytest.raises(NotFound) as caught:
        find_host(estate([host(1, aliases=shared), host(2, aliases=shared)], []), "10.0.0.9")
    assert "shows" not in caught.value.hint


def test_a_witness_watches_a_cluster_a_host_or_vms() -> None:
    none: dict[str, Any] = {"cluster": None, "host": None, "vms": ()}
    web = find_witnessed(CLUSTERS, **{**none, "cluster": "web"})
    assert web == Witnessed("web", ("host-5", "host-4"))
    one = find_witnessed(CLUSTERS, **{**none, "host": "esx-2"})
    assert one == Witnessed("esx-2", ("host-2",))
    assert one.vms(CLUSTERS) == ("vm-2",), "a VM that is powered off trains nothing"
    named = find_witnessed(CLUSTERS, **{**none, "vms": ("ml-3", "vm-1")})
    assert (named.name, named.named) == ("ml-3, ml-1", ("vm-3", "vm-1"))
    assert named.vms(CLUSTERS) == ("vm-1", "vm-3")


def test_a_witness_of_a_host_watches_what_may_run_there() -> None:
    """A VM of which vCenter does not show the host or the power state may be the one whose training somebody is going to move."""
    vms = [
        vm(1), vm(2, on=2), vm(3, host="", power=Power.UNKNOWN), vm(4, power=Power.UNKNOWN), vm(5, power=Power.OFF),
        vm(6, on=2, power=Power.UNKNOWN), vm(7, host="", power=Power.OFF),
    ]  # fmt: skip
    lost = {
        "vm-3": frozenset({PLACE, "runtime.powerState"}),
        "vm-4": frozenset({"runtime.powerState"}),
        "vm-7": frozenset({PLACE}),
    }
    assert Witnessed("esx-1", ("host-1",)).vms(estate([host(1), host(2)], vms, unreadable=lost)) == (
        "vm-1",
        "vm-3",
        "vm-4",
    )


@pytest.mark.parametrize("typed", ["a%2fb", "a/b"])
def test_a_datastore_is_found_as_vcenter_or_people_write_it(typed: str) -> None:
    assert find_datastores(world_of_stores([replace(store("q", "1"), name="a/b"), store("r", "1")]), typed) == {"q"}


def hidden(path: str, **changes: Any) -> Estate:
    """Two VMs, of the first of which vCenter does not show one property."""
    lost = replace(vm(1), **changes)
    return estate(
        [host(1), host(2)], [lost, vm(2, on=2, name="top", folder="ml")], unreadable={"vm-1": frozenset({path})}
    )


@pytest.mark.parametrize(
    ("world", "criteria"),
    [
        (hidden("runtime.host", host=""), {"host": "host-1"}),
        (hidden("runtime.host", host="", power=Power.OFF), {"host": "host-1"}),
        (hidden("guest.ipAddress", host=""), {"host": "host-1"}),  # it runs, so it is somewhere
        (hidden("name", name="vm-1"), {"host": "host-1", "patterns": ["*"]}),
        (hidden("parent"), {"host": "host-1", "folders": ["ml"]}),
        (hidden("parentVApp"), {"host": "host-1", "folders": ["ml"]}),
    ],
)
def test_a_vm_that_vcenter_does_not_show_to_fit_or_not_is_refused_by_name(
    world: Estate, criteria: dict[str, Any]
) -> None:
    selected = select_vms(world, **criteria)
    assert selected == ("vm-1",)
    plan = make_plan(world, PlanRequest(selected))
    checks = {reason.check for refusal in plan.refusals for reason in refusal.reasons}
    off = world.vms["vm-1"].power is Power.OFF
    assert checks == ({"unreadable", "not_powered_on"} if off else {"unreadable"})
    assert plan.refusals[0].blocking is not off


@pytest.mark.parametrize("path", ["customValue", "availableField"])
def test_a_vm_whose_attributes_vcenter_does_not_show_may_have_the_wanted_one(path: str) -> None:
    world = hidden(path)
    world = replace(world, vms={**world.vms, "vm-2": vm(2, on=2, attributes={"Owner": "Alice"})})
    assert set(select_vms(world, attributes={"Owner": "Alice"})) == {"vm-1", "vm-2"}


@pytest.mark.parametrize(
    "world",
    [
        estate([host(1), host(2)], [replace(vm(1), host="", power=Power.OFF)]),  # powered off and registered on no host
        replace(hidden("runtime.host", host="", pool="p"), pools={"p": Pool("p", "ML", "other")}),
        hidden("runtime.host", host="", moid="vm-1@there"),
        hidden("runtime.host", host="", pool="p@there"),
    ],
)
def test_a_vm_without_a_host_that_is_elsewhere_for_sure_is_not_selected(world: Estate) -> None:
    lost = next(each for each in world.vms.values() if not each.host)
    if world.unreadable:
        world = replace(world, unreadable={lost.moid: frozenset({"runtime.host"})})
    assert select_vms(world, host="host-1") == ()


@pytest.mark.parametrize("cluster", ["c", ""])  # the pool's cluster may be hidden as well
def test_a_vm_in_the_cluster_whose_host_vcenter_does_not_show_is_selected(cluster: str) -> None:
    world = replace(hidden("runtime.host", host="", pool="p"), pools={"p": Pool("p", "ML", cluster)})
    assert select_vms(world, host="host-1") == ("vm-1",)
