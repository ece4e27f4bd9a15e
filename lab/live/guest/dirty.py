# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write to memory all the time, inside a real VM, so that pre-copy must send it again: ``dirty.py MB MB_PER_SECOND``.

What it wrote one round ago must still be there. A page that is not counts as an error: then the hypervisor lost memory.
"""

from __future__ import annotations

import sys
import time

PAGE = 4096
ROUNDS_PER_SECOND = 50
ERRORS = "/tmp/memory_errors"


def main() -> None:
    """Write one byte into each page of a piece, 50 pieces per second."""
    megabytes, rate = int(sys.argv[1]), int(sys.argv[2])
    pages = max(1, rate * 256 // ROUNDS_PER_SECOND)
    pieces = max(1, (megabytes << 20) // (pages * PAGE))
    ballast = bytearray(pieces * pages * PAGE)
    number = errors = 0
    while True:
        start = number % pieces * pages * PAGE
        piece = memoryview(ballast)[start : start + pages * PAGE : PAGE]
        if number >= pieces:
            before = bytes([(number - pieces) % 251 + 1])
            wrong = pages - bytes(piece).count(before)
            if wrong:
                errors += wrong
                with open(ERRORS, "w") as file:
                    file.write(str(errors))
        piece[:] = bytes([number % 251 + 1]) * pages
        number += 1
        time.sleep(1 / ROUNDS_PER_SECOND)


if __name__ == "__main__":
    main()
