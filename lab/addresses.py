# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Guest addresses: blocks of 32 loopback addresses, each held by one lab for as long as one of its processes lives.

VM number N answers on 127.0.1.N in the first lab, and at the same offset of the next free block in the next lab. A
socket that is bound to the first address of a block, and never listens, claims the block: the kernel makes the claim
atomic between the labs of all users, and releases it with the last process that inherited the socket.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field

from lab.errors import LabError

BLOCK_SIZE = 32
BLOCK_COUNT = 64  # 127.0.1.0 .. 127.0.8.255
API_PORT = 54321
CLAIM_PORT = 54320
# H2O's second port lives on 127.0.0.1 for all guests; these offsets put it above Linux' ephemeral ports (60999),
# where no outgoing connection can occupy it.
FIRST_PORT_OFFSET = 6700


def address_at(position: int) -> str:
    """The loopback address at a position counted from 127.0.1.0."""
    return f"127.0.{1 + position // 256}.{position % 256}"


def port_offset(address: str) -> int:
    """Offset from the API port to the port that H2O uses on 127.0.0.1; differs for every guest of every lab."""
    third, fourth = (int(part) for part in address.split(".")[2:])
    return FIRST_PORT_OFFSET + (third - 1) * 256 + fourth


@dataclass
class Claim:
    """The addresses of one lab. ``close`` releases them unless a child process inherited the sockets."""

    first: int
    sockets: list[socket.socket] = field(default_factory=list)

    def address(self, number: int) -> str:
        """The guest address of VM number ``number``."""
        return address_at(self.first + number)

    def fds(self) -> list[int]:
        """Descriptors that the lab's process must inherit."""
        return [held.fileno() for held in self.sockets]

    def close(self) -> None:
        """Close the sockets of this process."""
        for held in self.sockets:
            held.close()
        self.sockets.clear()


def bind(address: str, port: int, *, reuse: bool) -> socket.socket | None:
    """Bind a TCP socket; None if the address is in use."""
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if reuse:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        held.bind((address, port))
    except OSError as error:
        held.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise LabError(
            f"cannot bind {address}:{port}: {error}; the lab needs 127.0.0.0/8 on the loopback interface"
        ) from error
    return held


def is_free(address: str, port: int) -> bool:
    """Whether a server could listen there now."""
    # SO_REUSEADDR as a server sets it: only a listener is in the way, not the remains of closed connections.
    held = bind(address, port, reuse=True)
    if held is None:
        return False
    held.close()
    return True


def claim_blocks(
    first_block: int, count: int, numbers: Iterable[int], ports: Iterable[int] = (API_PORT,)
) -> Claim | None:
    """Claim ``count`` blocks in a row; None if one is claimed, or another program listens on a guest address."""
    claim = Claim(first_block * BLOCK_SIZE)
    with contextlib.ExitStack() as undo:
        undo.callback(claim.close)
        for block in range(first_block, first_block + count):
            held = bind(address_at(block * BLOCK_SIZE), CLAIM_PORT, reuse=False)
            if held is None:
                return None
            claim.sockets.append(held)
        for number in numbers:
            address = claim.address(number)
            needed = [(address, port) for port in ports]
            if not all(is_free(*place) for place in (*needed, ("127.0.0.1", API_PORT + port_offset(address)))):
                return None
        undo.pop_all()
    return claim


def claim_addresses(numbers: list[int], ports: Iterable[int] = (API_PORT,)) -> Claim:
    """Claim the first free blocks in a row that hold all VM numbers, with all ``ports`` free on each guest address.

    Raises:
        LabError: no such blocks are free.
    """
    count = max(numbers, default=0) // BLOCK_SIZE + 1
    for first in range(BLOCK_COUNT - count + 1):
        claim = claim_blocks(first, count, numbers, ports)
        if claim is not None:
            return claim
    raise LabError(
        f"no guest addresses are free: in every block of 127.0.1.0 to 127.0.8.255 a program listens on port {' or '.join(map(str, ports))};"
        " stop that program (a server on 0.0.0.0 occupies all blocks), or stop other labs"
    )
