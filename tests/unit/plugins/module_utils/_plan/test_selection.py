# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an operator writes means exactly one object, or is an error that helps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unicodedata import normalize

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import Ambiguous, NotFound
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.selection import (
    check_fault_domains,
    find_fault_domain,
    find_host,
    find_vm,
    select_vms,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import unescaped

from tests.builders.estates import estate, host, vm

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
