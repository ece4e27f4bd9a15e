# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Blocks of guest addresses: claimed by one lab at a time, and released with its last process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import addresses
from lab.addresses import API_PORT, BLOCK_COUNT, BLOCK_SIZE, Claim, address_at, claim_addresses, port_offset
from lab.errors import LabError

# Far from the blocks of labs on this machine, and of other runs of these tests.
FAR = 256 * (100 + os.getpid() % 100)
CLAIM_PORT = 61_999


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Look for blocks elsewhere."""
    monkeypatch.setattr(addresses, "address_at", lambda position: address_at(position + FAR))
    # Ports that no connection of another program gets by chance.
    monkeypatch.setattr(addresses, "port_offset", lambda address: 62_007 - API_PORT)
    monkeypatch.setattr(addresses, "CLAIM_PORT", CLAIM_PORT)
    yield


def test_first_lab_has_its_numbers() -> None:
    claim = Claim(0)
    assert claim.address(4) == "127.0.1.4"
    assert Claim(BLOCK_SIZE).address(4) == "127.0.1.36"
    assert Claim(8 * BLOCK_SIZE).address(31) == "127.0.2.31"


@given(st.sets(st.integers(0, BLOCK_SIZE * BLOCK_COUNT - 1), min_size=2, max_size=2))
def test_second_ports_differ_and_are_not_ephemeral(positions: set[int]) -> None:
    ports = {API_PORT + port_offset(address_at(position)) for position in positions}
    assert len(ports) == 2
    assert all(60999 < port < 65536 for port in ports)


@pytest.mark.usefixtures("far")
def test_two_claims_never_overlap() -> None:
    first, second = claim_addresses([1, 31]), claim_addresses([1, 31])
    try:
        assert (first.first, second.first) == (0, BLOCK_SIZE)
        first.close()
        third = claim_addresses([5])
        assert third.first == 0
        third.close()
    finally:
        second.close()


@pytest.mark.usefixtures("far")
def test_big_labs_take_blocks_in_a_row() -> None:
    with socket.socket() as other:
        other.bind((address_at(FAR + BLOCK_SIZE), CLAIM_PORT))
        claim = claim_addresses([1, 40])
        assert (claim.first, len(claim.sockets)) == (2 * BLOCK_SIZE, 2)
        claim.close()
    claim = claim_addresses([1, 40])
    assert claim.first == 0, "what a failed attempt took must have been given back"
    claim.close()


@pytest.mark.usefixtures("far")
def test_a_foreign_listener_on_a_guest_address_moves_the_lab() -> None:
    with socket.create_server((address_at(FAR + 4), API_PORT)):
        claim = claim_addresses([4])
        assert claim.first == BLOCK_SIZE
        claim.close()
        claim = claim_addresses([5])
        assert claim.first == 0
        claim.close()


@pytest.mark.usefixtures("far")
def test_a_lab_with_real_vms_needs_their_ports_too() -> None:
    with socket.create_server((address_at(FAR + 4), 9100)):
        claims = [claim_addresses([4]), claim_addresses([4], [API_PORT, 9100])]
        assert [claim.first for claim in claims] == [0, BLOCK_SIZE]
        for claim in claims:
            claim.close()


@pytest.mark.usefixtures("far")
def test_a_child_keeps_the_claim() -> None:
    claim = claim_addresses([1])
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=claim.fds())
    try:
        claim.close()
        second = claim_addresses([1])
        assert second.first == BLOCK_SIZE
        second.close()
    finally:
        child.communicate(b"\n")
    third = claim_addresses([1])
    assert third.first == 0
    third.close()


@pytest.mark.usefixtures("far")
def test_none_free_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "BLOCK_COUNT", 1)
    claim = claim_addresses([1])
    with pytest.raises(LabError, match="no guest addresses are free"):
        claim_addresses([1])
    claim.close()
