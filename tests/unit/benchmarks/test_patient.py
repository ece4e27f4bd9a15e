# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The patient question: what it states of a freeze, and of a packet that TCP sent again late."""

from __future__ import annotations

import pytest

from benchmarks.patient import Answered, stated


def asked(waits: list[float]) -> list[Answered]:
    """Questions at ten per second that waited so long."""
    answers, at = [], 0.0
    for wait in waits:
        answers.append(Answered(at, at + wait))
        at += max(0.1, wait + 0.1)
    return answers


USUAL = [0.01] * 30


def test_a_question_that_waits_through_a_freeze_gives_its_length() -> None:
    found = stated(asked([*USUAL, 1.01, *USUAL]), 0.0)
    assert found is not None
    assert (round(found.low, 3), round(found.high, 3)) == (0.955, 1.12)
    assert found.seconds == pytest.approx(1.05)


def test_what_tcp_waited_is_taken_for_the_freeze() -> None:
    found = stated(asked([*USUAL, 1.99, *USUAL]), 0.0)
    assert found is not None
    assert found.low > 1.9, "although the guest may have stood still for 1 s only"


def test_a_short_wait_is_no_claim_and_earlier_ones_do_not_count() -> None:
    found = stated(asked([*USUAL, 0.2, *USUAL]), 0.0)
    assert found is not None
    assert found.low == 0
    answers = asked([*USUAL, 1.01, *USUAL])
    later = stated(answers, answers[31].received)
    assert later is not None
    assert later.high < 0.2
    assert stated(answers[:1], 0.0) is None
    assert stated(answers, answers[-1].received) is None
