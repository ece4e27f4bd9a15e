# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The name that a person meant comes first."""

from __future__ import annotations

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.similar import similar_names

HOSTS = [f"esx-{number:02}" for number in range(1, 13)]
FULL = [f"{host}.ml.example.com" for host in HOSTS]
VMS = [f"ML-cpu-vm-{number:02}" for number in range(1, 31)]
ADDRESSES = ["10.2.0.11", "10.2.0.12", "10.2.0.21"]


@pytest.mark.parametrize(
    ("written", "known", "meant"),
    [
        ("esx-50", HOSTS, ["esx-05"]),  # swapped digits
        ("ex-s05", HOSTS, ["esx-05"]),
        ("esx-50.ml.example.com", FULL, ["esx-05.ml.example.com"]),
        ("esx-50", FULL, ["esx-05.ml.example.com"]),
        ("esx-50.ml.example.com", HOSTS, ["esx-05"]),
        ("ML-cpu-vm-60", VMS, ["ML-cpu-vm-06"]),
        ("10.2.0.1.1", ADDRESSES[:1], ["10.2.0.11"]),
        ("ESX-05", HOSTS, ["esx-05"]),  # case, and short names
        (" esx-05 ", HOSTS, ["esx-05"]),
        ("esx-05", FULL, ["esx-05.ml.example.com"]),
        ("esx-05.other.org", FULL, ["esx-05.ml.example.com"]),
        ("esx5", HOSTS, ["esx-05"]),  # separators and leading zeros
        ("esx-5", HOSTS, ["esx-05"]),
        ("esx_05", HOSTS, ["esx-05"]),
        ("esx 005", HOSTS, ["esx-05"]),
        ("esx05.ml.example.com", FULL, ["esx-05.ml.example.com"]),
        ("MLcpuVM4", VMS, ["ML-cpu-vm-04"]),
        ("10.2.0.012", ADDRESSES, ["10.2.0.12"]),
    ],
)
def test_a_usual_slip_finds_the_one_name(written: str, known: list[str], meant: list[str]) -> None:
    assert similar_names(written, known) == meant


@pytest.mark.parametrize(
    ("written", "known", "first"),
    [
        ("esx-O5", HOSTS, "esx-05"),
        ("esc-05", HOSTS, "esx-05"),
        ("esx-055", HOSTS, "esx-05"),
        ("host-05", HOSTS, "esx-05"),
        ("ML-cpu-vm-44", VMS, "ML-cpu-vm-04"),
        ("ML-gpu-vm-17", VMS, "ML-cpu-vm-17"),
        ("10.2.0.1I", ADDRESSES, "10.2.0.11"),
    ],
)
def test_the_most_similar_name_comes_first_and_at_most_three_are_shown(
    written: str, known: list[str], first: str
) -> None:
    found = similar_names(written, known)
    assert found[0] == first
    assert len(found) <= 3


@pytest.mark.parametrize("written", ["10.9.9.9", "database", "", "---", "."])
def test_a_name_that_resembles_none_gets_none(written: str) -> None:
    assert similar_names(written, [*HOSTS, *ADDRESSES, *VMS]) == []


def test_no_name_is_known() -> None:
    assert similar_names("esx-05", []) == []


def test_separators_between_numbers_count() -> None:
    assert similar_names("10.2.01.1", ["10.20.1.1", "10.2.1.1"]) == ["10.2.1.1"]
