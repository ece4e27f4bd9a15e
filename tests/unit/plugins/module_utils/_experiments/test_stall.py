# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each bound of a stall, in figures that a reader can add up.

A server is asked 10 times per second at 0.0, 0.1, 0.2, ... and answers after 10 ms. The silence follows the answer of
10.0, which arrives at 10.01; the next question is sent at 10.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Capabilities, Sample, Stall
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.stall import (
    Finding,
    Quiet,
    Silence,
    longest_silence,
    longest_stall,
    quiets,
    resolution,
    silences,
    usual_quiet,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.watch import off_beat
from hypothesis import given
from hypothesis import strategies as st

CHANGES = Capabilities("run", "changes")


def near(value: float) -> object:
    return pytest.approx(value, abs=1e-9)


def at(sent: float, wait: float = 0.01, **more: object) -> Sample:
    return Sample(sent, sent + wait, "answered", "100", "RUNNING", **more)  # type: ignore[arg-type]


def asked(first: int, count: int, wait: float = 0.01) -> list[Sample]:
    """Answers to ``count`` questions from ``first`` tenths of a second on."""
    return [at(n / 10, wait) for n in range(first, first + count)]


def around(*middle: Sample, after: float = 20.0) -> list[Sample]:
    """Undisturbed answers from 0 to 10 s, the given samples, undisturbed answers again."""
    return [*asked(0, 101), *middle, *asked(round(after * 10), 101)]


def the_silence(*middle: Sample, after: float = 20.0, **more: object) -> Silence:
    """The longest one of the silences around ``middle``."""
    found = longest_silence(silences(around(*middle, after=after), **more))  # type: ignore[arg-type]
    assert found is not None
    return found


# --- an answer that comes late


def test_a_question_that_waits_through_a_freeze_gives_both_bounds() -> None:
    """Sent at 10.1, answered at 12.0: it waited 1.9 s, of which 10 ms are usual and 0.1 s are margin."""
    silence = the_silence(at(10.1, 1.9))
    assert (silence.start, silence.end) == (near(10.01), near(12.0))
    assert silence.low == near(1.9 - 0.01 - 0.15)
    assert silence.high == near(12.0 - 10.0)
    assert silence.evidence == near(1.89)
    # It began between the answer of 10.01 and the question of 10.1, and ended 10 ms before the answer.
    assert silence.seconds == near(11.99 - 10.055)
    assert (silence.stands_out, silence.claimed) == (True, True)
    assert silence.freeze == (0.0, 0.0, near(2.0))


def test_a_stall_is_reported_at_the_last_answer_before_it() -> None:
    finding = longest_stall(around(at(10.1, 1.9), after=12.1))
    assert finding is not None
    # The late answer was asked at 10.1, so all until the next one, of 12.11, may have been a second stall.
    assert finding.stall == Stall(near(1.935), near(1.74), near(2.01), near(10.01))  # type: ignore[arg-type]
    assert finding.since == near(10.01)
    assert finding.freeze == Stall(near(0.05), 0.0, near(2.01), None)  # type: ignore[arg-type]
    assert finding.note == ""


@pytest.mark.parametrize(("wait", "stands_out"), [(0.259, False), (0.261, True)])
def test_a_question_stands_out_if_it_waits_a_quarter_of_a_second_longer_than_others(
    wait: float, stands_out: bool
) -> None:
    silence = the_silence(at(10.1, wait), after=10.5)
    assert (silence.stands_out, silence.claimed) == (stands_out, stands_out)
    assert silence.low == near(wait - 0.16 if stands_out else 0.0)
    assert silence.evidence == near(wait - 0.01)
    assert silence.seconds == near(10.1 + wait - 0.01 - 10.055)
    assert silence.high == near(0.1 + wait)
    assert silence.freeze == (near(0.0), 0.0, near(0.1 + wait)) or not stands_out


def test_a_short_silence_is_no_freeze_that_was_seen() -> None:
    silence = the_silence(at(10.1, 0.2), after=10.5)
    assert silence.freeze == (near(0.235), 0.0, near(0.3))


@pytest.mark.parametrize(("wait", "stands_out"), [(0.81, False), (0.82, True)])
def test_on_a_busy_machine_a_question_must_wait_twice_as_long_as_the_slow_ones(wait: float, stands_out: bool) -> None:
    """Five answers out of 200 wait 0.41 s, 0.4 s more than usual: that is the wait of the slowest 1 %."""
    busy = [replace(s, received=s.sent + 0.41) if n in range(50, 55) else s for n, s in enumerate(asked(0, 101))]
    found = silences([*busy, at(20.0, wait), *asked(210, 100)], [(10.05, 19.9)])
    assert found[-100].start == near(20.0 + wait)
    found = silences([*busy, at(10.1, wait), *asked(110, 100)])
    silence = next(s for s in found if s.start == near(10.01))
    assert silence.stands_out is stands_out
    # The margin is what the slow ones wait longer.
    assert silence.low == near(wait - 0.01 - 0.4 if stands_out else 0.0)


@pytest.mark.parametrize(("away", "stands_out"), [(29.0, False), (31.0, True)])
def test_only_questions_near_a_silence_show_what_is_usual(away: float, stands_out: bool) -> None:
    """Answers were slow for one second, 30 s before or 30 s after."""
    for sign in (-1, 1):
        samples = [at(n / 10, 0.41 if abs(n / 10 - (50 + sign * away)) < 0.5 else 0.01) for n in range(500)]
        samples.append(at(50.0, 0.6))
        samples += [at(n / 10, 0.41 if abs(n / 10 - (50 + sign * away)) < 0.5 else 0.01) for n in range(507, 1000)]
        assert [s.stands_out for s in silences(samples) if s.end == near(50.6)] == [stands_out]


def test_the_delay_of_the_watch_itself_is_not_the_servers() -> None:
    """Of 1.9 s, the watching process stood still for 0.5 s."""
    silence = the_silence(at(10.1, 1.9, late=0.5))
    assert silence.low == near(1.9 - 0.5 - 0.01 - 0.15)
    assert silence.high == near(2.0)
    assert silence.evidence == near(1.39)
    assert silence.seconds == near(1.935 - 0.5)


def test_no_estimate_is_negative() -> None:
    """Answers take 200 ms, and one takes 10 ms, less than the others."""
    found = silences([*[at(n * 0.22, 0.2) for n in range(20)], at(20 * 0.22, 0.01)])
    assert found[-1].seconds == 0.0


def test_a_watch_that_stood_still_saw_no_stall() -> None:
    silence = the_silence(at(10.1, 1.9, late=1.7))
    assert (silence.low, silence.stands_out, silence.claimed) == (0.0, False, False)
    assert silence.high == near(2.0)


def test_the_estimate_is_never_less_than_the_lower_bound_or_more_than_the_upper_one() -> None:
    silence = the_silence(at(10.02, 1.0, late=0.5), after=11.1)
    assert silence.low <= silence.seconds <= silence.high
    silence = the_silence(at(10.1, 0.27, late=0.269), after=10.5)
    assert silence.seconds >= 0.0


# --- questions of their own: lost, answered, knocks


def test_an_answer_to_a_question_that_was_sent_again_proves_a_third_of_its_wait() -> None:
    silence = the_silence(at(10.1, 1.9, resent=True))
    assert silence.low == near(1.9 / 3 - 0.15)
    assert silence.high == near(2.0)


def test_the_last_lost_question_is_the_lower_bound() -> None:
    """A question of 11.5 was not answered, one after it was, at 11.7: TCP sent the first again at 12.0."""
    silence = the_silence(at(10.1, 1.9, resent=True, unheard=11.5))
    assert silence.low == near(11.5 - 10.1 - 0.15)
    assert silence.seconds == near((11.5 + 12.0 - 0.01) / 2 - 10.055)
    assert silence.freeze == (0.0, 0.0, near(2.0))


@pytest.mark.parametrize(("again", "ended"), [(11.89, 12.0 - 0.01), (11.95, (11.5 + 12.0 - 0.01) / 2)])
def test_a_question_that_the_guest_kept_was_answered_as_soon_as_it_continued(again: float, ended: float) -> None:
    """A busy server answers late what it was asked at 11.5. A question that is answered at once was asked after the freeze."""
    silence = the_silence(at(10.1, 1.9, unheard=11.5, again=again))
    assert silence.seconds == near(ended - 10.055)
    assert silence.low == near(11.5 - 10.1 - 0.15)


def test_the_delay_of_the_watch_shifts_the_begin_of_a_lost_question() -> None:
    assert the_silence(at(10.1, 1.9, late=0.2, unheard=11.5)).low == near(11.5 - 10.3 - 0.15)
    assert the_silence(at(10.1, 1.9, late=0.2, deaf=11.5, awake=11.6)).low == near(11.5 - 10.3 - 0.15 - 0.35)


def test_knocks_give_the_freeze_of_the_whole_vm() -> None:
    """The kernel accepted no connection at 11.5, and one at 11.6."""
    silence = the_silence(at(10.1, 1.9, unheard=11.4, deaf=11.5, awake=11.6))
    assert silence.low == near(11.5 - 10.1 - 0.15 - 0.35)
    assert silence.seconds == near(11.55 - 10.055)
    assert silence.high == near(2.0)
    assert silence.freeze == (near(11.55 - 10.055), near(0.9), near(11.6 - 10.0))


@pytest.mark.parametrize(("again", "ended"), [(10.4, 12.0 - 0.01), (11.99, 11.9)])
def test_a_full_queue_of_a_server_is_no_freeze_of_the_vm(again: float, ended: float) -> None:
    """The kernel accepted connections until 10.5. What it accepted is answered as soon as the server continues."""
    silence = the_silence(at(10.1, 1.9, again=again, deaf_since=10.5, deaf=11.8, awake=12.0, full=True))
    assert silence.freeze == (0.0, 0.0, near(2.0))
    assert silence.seconds == near(ended - 10.055)
    assert silence.low == near(11.8 - 10.1 - 0.15 - 0.35)


def test_a_full_queue_of_a_busy_server_does_not_stand_out() -> None:
    """Some others wait 0.7 s: a kernel that accepts nothing for 0.5 s shows no freeze if the queue may be full."""
    busy = [at(float(n), 0.7 if n % 3 == 0 else 0.2) for n in range(20)]
    for full in (False, True):
        last = at(20.0, 1.0, full=full, deaf_since=20.3, deaf=20.8, awake=20.9)
        assert silences([*busy, last])[-1].stands_out is not full


def test_a_network_that_finds_a_moved_vm_late_is_no_freeze() -> None:
    """A freeze of 0.06 s, after which no packet arrived for 0.32 s, was stated as at least 0.38 s."""
    silence = the_silence(at(10.1, 0.48, deaf_since=10.12, deaf=10.5, awake=10.53))
    assert silence.low <= 0.06
    assert silence.high >= 0.38


def the_silence_by_the_clock(lag: float, last: Sample, after: float = 20.0, *, process: str = "100") -> Silence:
    """As ``the_silence``; every answer shows the guest's clock in its middle, which lags since the silence."""
    samples = [
        replace(s, clock=1000.0 + (s.sent + s.received) / 2 - (lag if s.received > 10.02 else 0.0))
        if s.sent != last.sent
        else replace(s, process=process)
        for s in around(last, after=after)
    ]
    found = longest_silence(silences([replace(s, process=process) if s.sent > 10.02 else s for s in samples]))
    assert found is not None
    return found


def test_a_guests_clock_shows_what_of_a_silence_was_a_freeze() -> None:
    """It lags 0.06 s after a silence of the network of 0.38 s: answers take 10 ms, and clocks drift by 10 ms at most."""
    late = at(10.1, 0.48, deaf_since=10.12, deaf=10.5, awake=10.53)
    silence = the_silence_by_the_clock(0.06, late, after=10.6)
    assert (silence.low, silence.seconds) == (near(0.06 - 2 * 0.005 - 0.01), near(0.06))
    silence = the_silence_by_the_clock(0.3, late, after=10.6)
    assert (silence.low, silence.seconds) == (near(0.3 - 2 * 0.005 - 0.01), near(0.3))
    silence = the_silence_by_the_clock(1.3, at(10.1, 1.9, deaf_since=10.15, deaf=11.5, awake=11.6), after=12.1)
    assert (silence.low, silence.seconds) == (near(1.28), near(1.3))
    assert silence.freeze == (near(1.3), near(1.28), near(1.6))


def after_a_move(
    start: float, freeze: float, path: float, wake: float, ahead: Callable[[float], float], *, coarse: bool = False
) -> list[Sample]:
    """The samples of a VM that is frozen from ``start`` on, then not found for ``path`` s, and whose server answers ``wake`` s later.

    ``ahead`` says by how much the guest's clock is ahead of the controller's at a time. ``coarse``: it shows whole seconds.
    """
    every = 1 / off_beat(10.0, 1.0) if coarse else 0.1

    def answer(sent: float, received: float, **more: float) -> Sample:
        clock = received - 0.003
        shown = 1000.0 + clock + ahead(clock)
        shown, step = (math.floor(shown), 1.0) if coarse else (shown, 0.0)
        return replace(at(sent, received - sent, **more), clock=shown, clock_step=step)

    found = [answer(n * every, n * every + 0.006) for n in range(int(start / every))]
    sent = len(found) * every
    reached = start + freeze + path
    received = max(reached + wake, sent) + 0.006
    knocks = [knock for n in range(1000) if (knock := sent + 0.12 + n * 0.02) < reached]
    heard = {"deaf_since": knocks[0], "deaf": knocks[-1], "awake": knocks[-1] + 0.021} if knocks else {}
    found.append(answer(sent, max(received, knocks[-1] + 0.022 if knocks else 0.0), **heard))
    again = found[-1].received + 0.03
    return [*found, *(answer(again + n * every, again + n * every + 0.006) for n in range(80))]


@given(
    start=st.floats(6, 7),
    freeze=st.floats(0.03, 6),
    late=st.floats(0, 0.31),
    share=st.floats(0, 1),
    corrected=st.one_of(st.none(), st.floats(0, 8)),
    partly=st.floats(0, 1.5),
    coarse=st.booleans(),
)
def test_bounds_hold_a_freeze_whatever_the_guests_clock_shows(
    start: float, freeze: float, late: float, share: float, corrected: float | None, partly: float, coarse: bool
) -> None:
    """The clock stands still with its VM, and somebody may set it forward at any time after that, or by too much."""
    end = start + freeze

    def ahead(time: float) -> float:
        stood = min(max(0.0, time - start), freeze)
        return partly * freeze - stood if corrected is not None and time >= end + corrected else -stood

    path, wake = share * late, (1 - share) * late
    if corrected is not None or coarse:
        wake = min(wake, 0.06)  # then nothing shows that the whole VM stood still
    found = longest_silence(silences(after_a_move(start, freeze, path, wake, ahead, coarse=coarse)))
    assert found is not None
    assert found.low <= freeze <= found.high
    assert found.low <= found.seconds <= found.high
    if corrected is None and path > 0.15:
        assert freeze - found.low < 0.2 or found.low == 0


def with_a_coarse_clock(lag: float, last: Sample, after: float) -> Silence:
    """As ``the_silence``, of a server whose clock shows whole seconds and lags since the silence."""
    samples = [
        replace(s, clock=math.floor((s.sent + s.received) / 2 - (lag if s.received > 10.02 else 0.0)), clock_step=1.0)
        for s in around(last, after=after)
    ]
    found = longest_silence(silences(samples))
    assert found is not None
    return found


def test_a_clock_in_whole_seconds_shows_the_least_of_a_freeze_and_leaves_the_estimate() -> None:
    """Answers every 0.1 s show it to 0.1 s before and after. The kernel was silent for 1.35 s, and 0.35 are the network's."""
    late = at(10.1, 1.9, deaf_since=10.15, deaf=11.5, awake=11.6)
    silence, usual = with_a_coarse_clock(1.3, late, after=12.1), the_silence(late, after=12.1)
    assert usual.low == near(11.5 - 10.15 - 0.35)
    assert 1.07 < silence.low < 1.3
    assert 1.3 <= silence.seconds < 1.53, "no longer than the clock may have stood still"
    small = at(10.1, 1.9, deaf_since=10.15, deaf=11.5, awake=11.6)
    assert with_a_coarse_clock(1.45, small, after=12.1).seconds == usual.seconds, "the kernel shows that better"


def test_a_clock_in_whole_seconds_that_may_not_lag_shows_nothing() -> None:
    """A server that answers late in a VM that runs: a lag of up to 0.1 s would make that a freeze with a late server."""
    late = at(10.1, 1.9)
    assert with_a_coarse_clock(0.0, late, after=12.1) == the_silence(late, after=12.1)
    assert with_a_coarse_clock(0.04, late, after=12.1) == the_silence(late, after=12.1)
    assert with_a_coarse_clock(0.5, late, after=12.1).low == near(1.89 - 0.4), "the whole VM stood still"


@pytest.mark.parametrize("lag", [0.0, -0.5, 0.5])
def test_a_clock_that_was_corrected_takes_nothing_from_the_bounds(lag: float) -> None:
    late = at(10.1, 1.9, deaf_since=10.15, deaf=11.5, awake=11.6)
    assert the_silence_by_the_clock(lag, late, after=12.1) == the_silence(late, after=12.1)


def test_a_clock_that_was_set_back_makes_no_freeze_longer_than_the_kernel_was_deaf() -> None:
    late = at(10.1, 1.9, deaf_since=10.15, deaf=11.5, awake=11.6)
    silence = the_silence_by_the_clock(3600.0, late, after=12.1)
    assert (silence.low, silence.seconds) == (near(11.5 - 10.1), near(11.55 - 10.055))
    heard = the_silence_by_the_clock(3600.0, at(10.1, 1.9), after=12.1)
    assert (heard.low, heard.seconds) == (near(1.89 - 0.4), near(11.99 - 10.055)), "its kernel answered"


def test_a_server_that_answers_late_after_a_freeze_was_not_still_all_the_time() -> None:
    """A freeze of 0.06 s, after which the training continued at once, and the server answered 0.3 s later."""
    silence = the_silence_by_the_clock(0.06, at(10.1, 0.36), after=10.6)
    assert (silence.low, silence.seconds, silence.high) == (0.0, near(0.06), near(0.46))
    silence = the_silence_by_the_clock(0.06, at(10.1, 0.2), after=10.5)
    assert (silence.low, silence.seconds, silence.freeze) == (0.0, near(0.06), (near(0.06), 0.0, near(0.3)))
    silence = the_silence_by_the_clock(0.06, at(10.1, 1.9), after=12.1)
    assert (silence.low, silence.seconds) == (near(1.89 - 0.4), near(11.99 - 10.055)), (
        "it stood still after the freeze, too"
    )


def test_a_clock_that_hardly_lags_shows_no_freeze() -> None:
    silence = the_silence_by_the_clock(0.019, at(10.1, 1.9), after=12.1)
    assert silence == the_silence(at(10.1, 1.9), after=12.1)
    assert the_silence_by_the_clock(0.021, at(10.1, 1.9), after=12.1).low == near(1.89 - 0.4)


def test_clocks_of_two_processes_are_not_compared() -> None:
    late = at(10.1, 1.9, deaf_since=10.15, deaf=11.5, awake=11.6)
    assert the_silence_by_the_clock(1.3, late, after=12.1, process="200").low == near(11.5 - 10.15 - 0.35)


def test_only_clocks_near_a_silence_are_compared() -> None:
    """A clock that runs slow by a tenth lags 0.5 s after 5 s, but not because of a freeze. Clocks up to 5 s away count."""
    late = at(10.1, 1.9, deaf_since=10.15, deaf=11.5, awake=11.6)
    seldom = [
        replace(s, clock=s.received - (1.3 if s.sent > 10.0 else 0.0)) if s.sent < 6.0 or s.sent > 16.0 else s
        for s in around(late, after=12.1)
    ]
    found = longest_silence(silences(seldom))
    assert found is not None
    assert found.seconds == near(1.3)
    clocks = [replace(s, clock=s.received) if s.sent < 4.9 or s.sent > 17.1 else s for s in around(late, after=12.1)]
    assert longest_silence(silences(clocks)) == the_silence(late, after=12.1)


def slow(*late: Sample) -> Silence:
    """The silence of 10.0 to 12.0 at a busy server: every tenth question waits 1 s."""
    busy = [at(n / 10, 1.0 if n % 10 == 5 else 0.01) for n in range(100)]
    found = [s for s in silences([*busy, at(10.0), *late, *asked(200, 50)]) if s.end == near(12.0)]
    return found[0]


def test_a_busy_server_takes_nothing_from_the_time_in_which_its_kernel_accepted_nothing() -> None:
    """Its slow questions are a margin of 0.99 s, but no connection was accepted from 10.3 to 11.5."""
    assert slow(at(10.1, 1.9, deaf=11.5, awake=11.6)).low == 0
    silence = slow(at(10.1, 1.9, deaf_since=10.3, deaf=11.5, awake=11.6))
    assert silence.low == near(11.5 - 10.3 - 0.35)
    assert (silence.stands_out, silence.claimed) == (True, True)
    assert slow(at(10.1, 1.9, late=0.2, deaf_since=10.3, deaf=11.5, awake=11.6)).low == near(11.5 - 10.3 - 0.2 - 0.35)
    assert slow(at(10.1, 1.9, deaf_since=10.3, deaf=11.5)).low == 0, "nobody knows whether it accepts others"


def test_some_lost_connections_make_no_stall_of_a_busy_server() -> None:
    silence = slow(at(10.1, 1.9, deaf_since=11.25, deaf=11.5, awake=11.6))
    assert (silence.low, silence.stands_out, silence.claimed) == (0.0, False, False)


def test_the_longer_one_of_two_proofs_counts() -> None:
    assert the_silence(at(10.1, 1.9, deaf_since=10.3, deaf=11.5, awake=11.6)).low == near(11.5 - 10.1 - 0.15 - 0.35)
    assert the_silence(at(10.1, 1.9, deaf_since=10.15, deaf=11.5, awake=11.6)).low == near(11.5 - 10.15 - 0.35)


@pytest.mark.parametrize("one", [{"deaf": 11.5}, {"awake": 11.6}])
def test_one_knock_alone_bounds_nothing(one: dict[str, float]) -> None:
    silence = the_silence(at(10.1, 1.9, **one))
    assert silence.low == near(1.9 - 0.01 - 0.15)
    assert silence.seconds == near(11.99 - 10.055)


def test_an_answer_to_a_later_question_moves_the_begin_of_the_next_silence() -> None:
    """The answer of 10.0 was followed by one of 10.05 on another connection."""
    samples = [*asked(0, 100), at(10.0, again=10.05), at(10.1, 1.9), *asked(130, 50)]
    silence = longest_silence(silences(samples))
    assert silence is not None
    assert silence.high == near(12.0 - 10.05)


def test_a_question_before_the_last_answer_begins_no_silence_before_it() -> None:
    """Two connections: the question of 10.29 was sent before the answer of 10.0 had arrived at 10.3."""
    samples = [*asked(0, 100), at(10.0, 0.3), at(10.29, 1.71), *asked(130, 50)]
    silence = next(s for s in silences(samples) if s.end == near(12.0))
    assert silence.seconds == near(11.99 - 10.3)


def test_several_questions_without_an_answer_are_one_silence() -> None:
    """Silent until 11.1, silent until 12.2, answered at 13.0: only the last question proves how long at least."""
    lost = [Sample(10.1, 11.1, "silent"), Sample(11.2, 12.2, "silent")]
    silence = the_silence(*lost, at(12.3, 0.7))
    assert (silence.start, silence.end) == (near(10.01), near(13.0))
    assert silence.high == near(3.0)
    assert silence.low == near(0.7 - 0.01 - 0.15)
    assert silence.evidence == near(2.9 - 0.01)


def test_the_delays_of_all_questions_of_a_silence_count_once() -> None:
    lost = [Sample(10.1, 11.1, "silent", late=0.25), Sample(11.2, 12.2, "silent", late=0.5)]
    silence = the_silence(*lost, at(12.3, 0.7, late=0.125))
    assert silence.evidence == near(2.9 - 0.01 - 0.875)
    assert silence.seconds == near(12.99 - 0.875 - 10.055)


@pytest.mark.parametrize(("outcome", "low"), [("refused", 0.0), ("invalid", 0.0), ("silent", 5.0 - 0.01 - 0.15)])
def test_what_ends_a_watch_without_an_answer(outcome: str, low: float) -> None:
    """A refused connection ends the wait as an answer does, but proves nothing of a stall."""
    samples = [*asked(0, 101), Sample(10.1, 15.1, outcome)]
    silence = silences(samples)[-1]
    assert (silence.start, silence.end) == (near(10.01), near(15.1))
    assert silence.low == near(low)
    assert silence.high == near(5.1)


def test_an_unknown_job_is_an_answer_of_the_server() -> None:
    samples = [*asked(0, 101), Sample(10.1, 12.0, "job_missing"), *asked(121, 20)]
    silence = longest_silence(silences(samples))
    assert silence is not None
    assert silence.low == near(1.9 - 0.01 - 0.15)


def test_silences_are_all_pairs_of_answers_that_were_watched() -> None:
    samples = asked(0, 6)
    assert [(s.start, s.end) for s in silences(samples)] == [
        (near(n / 10 + 0.01), near(n / 10 + 0.11)) for n in range(5)
    ]
    assert [s.start for s in silences(samples, [(0.25, 0.3)])] == [near(x) for x in (0.01, 0.11, 0.31, 0.41)]
    # A window that only touches hides nothing.
    edge = [Sample(0.0, 1.0, "answered"), Sample(1.5, 2.0, "answered")]
    assert len(silences(edge, [(2.0, 3.0)])) == 1
    assert len(silences(edge, [(0.0, 1.0)])) == 1
    assert len(silences(edge, [(1.9, 3.0)])) == 0


def test_without_an_answer_nothing_is_known() -> None:
    assert silences([]) == []
    assert silences([Sample(0.0, 1.0, "silent")]) == []
    assert longest_stall([Sample(0.0, 1.0, "silent"), Sample(1.0, 2.0, "refused")]) is None
    assert longest_stall([at(0.0)]) is None
    assert resolution([at(0.0)]) is None


# --- work that continued


def training(outage: tuple[float, float], done: float, *, rate: float = 10.0, field: str = "step") -> list[Sample]:
    """10 steps per second, one outage from 10.1 in which ``done`` steps were done, and the question after it."""
    begin, end = outage
    before = [at(n / 10, **{field: n / 10 * rate}) for n in range(101)]
    first = before[-1].step if field == "step" else before[-1].progress
    assert first is not None
    late = at(begin, end - begin, **{field: first + done})
    after = [at(end + n / 10, **{field: first + done + n / 10 * rate}) for n in range(1, 101)]
    return [*before, late, *after]


def test_a_training_that_stood_still_leaves_the_bounds_alone() -> None:
    silence = longest_silence(silences(training((10.1, 15.1), 0.0)))
    assert silence is not None
    assert silence.low == near(5.0 - 0.01 - 0.15)
    assert (silence.evidence, silence.claimed) == (near(4.99), True)


@pytest.mark.parametrize("field", ["step", "progress"])
def test_work_in_a_silence_shows_that_the_network_was_silent(field: str) -> None:
    """50 steps in 5 s, as always: the training did not stand still, and nothing is claimed."""
    rate = 10.0 if field == "step" else 0.001
    silence = longest_silence(silences(training((10.1, 15.1), 5 * rate, rate=rate, field=field)))
    assert silence is not None
    # From the answer of 10.0 to that of 15.2 (sent, received 15.21): 51 steps. One may be the largest single change;
    # 1.5 times the usual rate may be caught up in the 5.21 s that are not the 4.84 s of the stall.
    worked = (51 - 1 - 1.5 * 10 * (5.21 - 4.84)) / 10
    assert silence.evidence == near(4.99 - worked)
    assert silence.low == 0.0
    assert silence.stands_out is True
    assert silence.seconds == near(15.09 - 10.055 - worked)
    assert silence.claimed is (4.99 - worked > 0.25)
    assert silence.high == near(5.1)


def test_a_job_that_ends_early_hides_no_work_in_a_silence() -> None:
    """It stops at 0.02 of what it might do, is called done, and does nothing for as long as it is still asked."""
    samples = training((10.1, 15.1), 0.005, rate=0.001, field="progress")
    alone = longest_silence(silences(samples))
    ended = [replace(at(25.2 + n / 10, progress=1.0), status="DONE") for n in range(100)]
    silence = longest_silence(silences([*samples, *ended]))
    assert silence is not None
    assert alone is not None
    assert silence.low == 0.0
    assert silence.evidence == near(alone.evidence)


def later(seconds: float, steps: float, samples: Sequence[Sample]) -> list[Sample]:
    """The same samples at another time, of a training that is ahead."""
    return [replace(at(s.sent + seconds, s.waited, step=(s.step or 0.0) + steps), status=s.status) for s in samples]


def test_a_network_that_is_silent_twice_makes_no_stall() -> None:
    """The work of the one outage is not taken for a single change, which would hide that of the other."""
    once = training((10.1, 15.1), 50.0)
    twice = silences([*once, *later(25.3, 252.0, once[1:])])
    assert sum(silence.stands_out for silence in twice) == 2
    assert [silence.low for silence in twice if silence.stands_out] == [0.0, 0.0]


def test_work_that_is_only_seen_between_distant_answers_may_be_a_single_change() -> None:
    """Answers come in threes, and each first one shows 10 more steps. So does the one after the silence."""
    before = [at(n + late, step=10.0 * n) for n in range(10) for late in (0.0, 0.1, 0.2)]
    silence = silences(
        [*before, at(10.0, step=100.0), *(at(n, 5.0 if n < 11 else 0.01, step=110.0) for n in (10.1, 15.2, 15.3))]
    )[-3]
    assert silence.low == near(5.0 - 0.01 - 0.15)


def test_a_large_change_between_distant_answers_is_a_single_change() -> None:
    """What exceeds the usual rate there may happen in the silence, too."""
    before = later(-20.0, 0.0, training((10.1, 15.1), 150.0))
    samples = [*before, at(5.4, 5.0, step=402.0), *(at(10.5 + n / 10, step=403.0 + n) for n in range(50))]
    (first, second) = [silence for silence in silences(samples) if silence.stands_out]
    assert (first.low, second.low) == (0.0, near(5.0 - 0.01 - 0.15))


def test_a_little_work_is_taken_off_the_lower_bound_twice() -> None:
    """7 steps after 5 s: 0.045 s of work more than could be caught up."""
    silence = longest_silence(silences(training((10.1, 15.1), 6.0)))
    assert silence is not None
    worked = (7 - 1 - 1.5 * 10 * (5.21 - 4.84)) / 10
    assert worked == near(0.045)
    assert silence.low == near(5.0 - 0.01 - 0.15 - 2 * worked)
    assert silence.evidence == near(4.99 - worked)
    assert silence.claimed is True


def test_progress_that_follows_the_clock_is_no_work_in_a_silence() -> None:
    silence = longest_silence(silences(training((10.1, 15.1), 50.0), clock_progress=True))
    assert silence is not None
    assert silence.low == near(5.0 - 0.01 - 0.15)


@pytest.mark.parametrize(("changes", "known"), [(2, False), (3, True)])
def test_a_rate_needs_three_changes(changes: int, known: bool) -> None:
    steps = [float(max(0, n - 20 + changes)) for n in range(21)]
    samples = [at(n / 10, step=step) for n, step in enumerate(steps)]
    samples += [at(2.1, 5.0, step=steps[-1] + 100)]
    samples += [at(n / 10, step=steps[-1] + 100) for n in range(72, 90)]
    silence = longest_silence(silences(samples))
    assert silence is not None
    assert (silence.low == 0.0) is known


def test_a_rate_of_half_a_second_is_a_rate() -> None:
    samples = [at(n / 10, step=float(n)) for n in range(6)]
    samples += [at(0.6, 5.0, step=1000.0), at(5.7, step=1001.0)]
    silence = longest_silence(silences(samples))
    assert silence is not None
    assert silence.low == 0.0


def test_an_answer_without_a_step_is_no_work_and_takes_none_back() -> None:
    samples = [replace(s, step=None) if s.sent in (3.0, 17.1) else s for s in training((10.1, 15.1), 6.0)]
    silence = longest_silence(silences(samples))
    assert silence is not None
    # Two steps are not seen beside each of these answers: 196 steps in 10 and 9.9 s.
    rate = 195 / 19.9
    worked = (7 - 1 - 1.5 * rate * (5.21 - 4.84)) / rate
    assert silence.low == near(4.84 - 2 * worked)


def test_steps_that_go_back_are_no_work() -> None:
    silence = longest_silence(silences(training((10.1, 15.1), -50.0)))
    assert silence is not None
    assert silence.low == near(5.0 - 0.01 - 0.15)


def test_a_silence_at_the_end_shows_no_work() -> None:
    samples = training((10.1, 15.1), 50.0)[:102]
    silence = silences(samples)[-1]
    assert silence.low == near(5.0 - 0.01 - 0.15)


# --- the whole watch


def test_the_bounds_are_the_widest_of_all_silences() -> None:
    samples = [*asked(0, 101), at(10.1, 1.9), *asked(121, 80), Sample(20.1, 20.2, "refused"), at(23.0), *asked(231, 20)]
    finding = longest_stall(samples)
    assert finding is not None
    # The refused connections lasted longer, but only the first silence proves a stall.
    assert finding.stall.low == near(1.74)
    assert finding.stall.high == near(23.01 - 20.0)
    assert finding.stall.seconds == near(23.0 - 20.055)
    assert finding.since == near(20.01)
    assert finding.stall.at == near(20.01)
    assert finding.freeze == Stall(near(0.05), 0.0, near(3.01), None)  # type: ignore[arg-type]


def test_nothing_is_known_before_the_first_answer() -> None:
    samples = [Sample(-3.0, -2.0, "silent"), Sample(-2.0, -1.0, "refused"), *asked(0, 50)]
    finding = longest_stall(samples)
    assert finding is not None
    assert finding.stall.high == near(3.01)
    assert finding.stall.low == 0.0
    assert (finding.stall.at, finding.since) == (None, None)
    undisturbed = longest_stall(asked(0, 50))
    assert undisturbed is not None
    assert undisturbed.stall.high == near(0.11)


SILENT_WATCHES = (
    [Sample(60.0, 75.0, "silent"), Sample(75.0, 90.0, "silent"), *asked(901, 50)],
    [Sample(60.0, 75.0, "silent"), Sample(75.0, 90.0, "silent"), *asked(1001, 50)],
    [*asked(594, 6), Sample(60.0, 75.0, "silent"), Sample(75.0, 89.91, "silent"), *asked(1001, 50)],
)


@pytest.mark.parametrize(("watch", "cuts"), [(0, [60.0]), (1, [60.0, 100.1]), (2, [59.4, 100.1])])
def test_nothing_is_known_where_nobody_answered_at_an_end_of_a_later_watch(watch: int, cuts: list[float]) -> None:
    """A run was killed, and nobody answered the next one at first, or at all, or before it was killed, too."""
    samples = [*asked(0, 50), *SILENT_WATCHES[watch]]
    unwatched = [(max(s.received for s in samples if s.received < cut), cut) for cut in cuts]
    finding = longest_stall(samples, unwatched)
    assert finding is not None and finding.freeze is not None
    assert (finding.stall.low, finding.freeze.low) == (0.0, 0.0)
    assert (finding.stall.high, finding.freeze.high) == (near([30.11, 30.0, 30.01][watch]),) * 2


def test_a_wait_for_the_first_answer_before_the_begin_of_a_measurement_does_not_count() -> None:
    finding = longest_stall([Sample(-3.0, -2.0, "silent"), Sample(-2.0, -1.0, "silent"), *asked(0, 50)], since=2.0)
    assert finding is not None
    assert finding.stall.high == near(0.11)
    within = longest_stall([Sample(-3.0, -2.0, "silent"), Sample(-2.0, -1.0, "silent"), *asked(0, 50)], since=-1.0)
    assert within is not None
    assert within.stall.high == near(1.01)


@pytest.mark.parametrize(
    ("since", "stall"),
    [
        (9.0, (1.935, 1.74, 2.01, 10.01)),
        (10.1, (1.9, 1.74, 2.01, 10.01)),
        (11.5, (0.5, 0.5, 0.61, 10.01)),
    ],
)
def test_only_the_time_after_the_begin_of_a_measurement_counts(since: float, stall: tuple[float, ...]) -> None:
    finding = longest_stall(around(at(10.1, 1.9), after=12.1), since=since)
    assert finding is not None
    found = finding.stall
    assert (found.seconds, found.low, found.high, found.at) == tuple(near(x) for x in stall)
    assert finding.freeze is not None
    assert finding.freeze.high == near(min(2.01, 12.11 - since))


def test_a_stall_before_the_begin_of_a_measurement_does_not_count() -> None:
    finding = longest_stall(around(at(10.1, 1.9), after=12.1), since=12.005)
    assert finding is not None
    assert (finding.stall.low, finding.stall.at, finding.since) == (0.0, None, None)
    assert finding.stall.high == near(0.11)
    assert longest_stall(around(at(10.1, 1.9), after=12.1), since=100.0) is None


def test_a_stall_that_ends_when_a_measurement_begins_does_not_count() -> None:
    late = at(10.1, 1.9)
    finding = longest_stall(around(late, after=12.1), since=late.received)
    assert finding is not None
    assert (finding.stall.low, finding.stall.at, finding.since) == (0.0, None, None)
    assert finding.stall.seconds > 0, "it is another one"


def test_a_freeze_is_cut_at_the_begin_of_a_measurement() -> None:
    samples = around(at(10.1, 1.9, deaf=11.5, awake=11.6), after=12.1)
    whole, part = longest_stall(samples), longest_stall(samples, since=11.0)
    assert whole is not None
    assert whole.freeze == Stall(near(1.495), near(0.9), near(2.01), near(10.01))  # type: ignore[arg-type]
    assert part is not None
    assert part.freeze == Stall(near(1.0), near(0.9), near(1.11), near(10.01))  # type: ignore[arg-type]


def test_the_longest_freeze_is_the_one_with_the_highest_lower_bound() -> None:
    first, second = at(10.1, 1.9, deaf=10.9, awake=11.6), at(20.1, 1.9, deaf=21.2, awake=21.3)
    finding = longest_stall([*asked(0, 101), first, *asked(121, 80), second, *asked(221, 50)])
    assert finding is not None
    # Asleep at 20.1 to 21.2, awake at 21.3; the first freeze may have been longer.
    assert finding.freeze == Stall(near(21.25 - 20.055), near(1.1 - 0.15 - 0.35), near(2.01), near(20.01))  # type: ignore[arg-type]


def test_the_resolution_is_the_widest_gap_beside_the_longest_silence() -> None:
    samples = [*asked(0, 51), at(5.1, 0.15), *asked(53, 48), at(10.1, 1.9), *asked(121, 50)]
    # Neither the longest silence nor the one that follows its answer: the next answer is that of 12.1, at 12.11.
    assert resolution(samples) == near(0.25)
    assert resolution(asked(0, 2)) == near(0.11)
    assert resolution([*asked(0, 2), at(0.2, 3.0), at(3.3)]) == near(0.11)


# --- signal: changes


def steps(*changes: float, until: float, hz: float = 10.0, first: float = 0.0, status: str = "RUNNING") -> list[Sample]:
    """A server that always answers; the step grows at each of the given times."""
    count = round((until - first) * hz)
    times = [first + n / hz for n in range(count + 1)]
    return [
        Sample(t, t + 0.01, "answered", "run", status, step=float(sum(c <= t + 1e-6 for c in changes))) for t in times
    ]


def test_a_quiet_is_between_the_questions_that_enclose_its_changes() -> None:
    found = quiets(steps(1.0, 3.0, until=4.0), 0.0)
    assert [(q.start, q.end, q.low, q.high, q.whole) for q in found] == [
        # Nothing is known of what was before the first answer; it was the old step still at 0.9.
        (near(0.01), near(1.01), near(0.89), near(1.01), False),
        # A whole step: seen at 1.01, still seen by the question of 2.9; changed after 0.9 and before 3.01.
        (near(1.01), near(3.01), near(1.89), near(2.11), True),
        (near(3.01), near(4.01), near(0.99), near(1.11), False),
    ]


def test_old_answers_widen_a_quiet_at_both_ends() -> None:
    found = quiets(steps(1.0, 3.0, until=4.0), 0.5)
    assert (found[1].low, found[1].high) == (near(1.39), near(2.61))
    assert quiets(steps(1.0, 3.0, until=4.0), 5.0)[1].low == 0.0


def test_questions_without_an_answer_widen_the_first_and_the_last_quiet() -> None:
    samples = [Sample(-5.0, -1.0, "silent"), *steps(1.0, until=2.0), Sample(2.1, 7.1, "silent")]
    first, last = quiets(samples, 0.0)
    assert (first.low, first.high) == (near(0.89), near(1.01 + 5.0))
    assert (last.low, last.high) == (near(0.99), near(7.1 - 0.9))


def test_a_watch_without_any_answer_is_one_quiet_of_which_nothing_is_known() -> None:
    lost = [Sample(5.0, 6.0, "silent"), Sample(6.0, 8.0, "silent"), Sample(8.0, 12.0, "silent")]
    assert quiets(lost, 0.5) == [Quiet(5.0, 12.0, 0.0, 7.0, whole=False)]


def test_the_second_question_may_show_a_change() -> None:
    first, second = quiets([at(0.0, step=1), at(0.1, step=2), at(0.2, step=2)], 0.0)
    assert (first.high, second.low, second.high) == (near(0.11), near(0.09), near(0.21))


def quiet(high: float, whole: bool = True) -> Quiet:
    return Quiet(0.0, high, 0.0, high, whole)


@pytest.mark.parametrize(
    ("others", "usual"),
    [
        ([], float("inf")),
        ([quiet(9.0, False)], float("inf")),
        ([quiet(2.0)], 2.0 * 11),  # 1 + 10 / 1
        ([quiet(2.0)] * 5, 2.0 * 3),
        ([quiet(2.0)] * 20, 2.0 * 1.5),
        ([*[quiet(1.0)] * 99, quiet(3.0)], 3.0 * 1.1),  # 3 times the median is not heavy
        ([*[quiet(1.0)] * 99, quiet(3.01)], 3.01 * 2),
        ([*[quiet(1.0)] * 100, quiet(9.0, False)], 9.0 * 2),  # part of a step, so a whole one may be as long
    ],
)
def test_how_long_a_step_may_take_follows_from_the_others(others: list[Quiet], usual: float) -> None:
    assert usual_quiet(others) == near(usual)


def regular(gap: float, *, at_step: int = 50, count: int = 100) -> list[Sample]:
    """A step each second, but one takes ``gap`` seconds longer."""
    times = [float(n) if n <= at_step else n + gap for n in range(1, count + 1)]
    return steps(*times, until=times[-1] + 0.5)


def test_a_step_that_takes_longer_than_others_explain_is_a_stall() -> None:
    finding = longest_stall(regular(10.0, count=1200), capabilities=CHANGES)
    assert finding is not None
    # The step of 11 s: low 10.89, high 11.11. 1198 others of up to 1.11 s, so one may take 1.11 * (1 + 10 / 1198) s.
    low = 10.89 - 1.11 * (1 + 10 / 1198)
    assert finding.stall == Stall(near((11.11 + low) / 2), near(low), near(11.11), near(50.01))  # type: ignore[arg-type]
    assert finding.since == near(50.01)
    assert finding.note == "compared with 1198 other steps of up to 1.11 s"
    assert finding.freeze is None


@pytest.mark.parametrize("seconds", [2.0, 12.0, 15.0, 40.0])
def test_a_rare_checkpoint_is_not_a_stall_if_little_is_known(seconds: float) -> None:
    for samples in (regular(seconds, count=120), regular(seconds, at_step=20, count=120)):
        finding = longest_stall(samples, capabilities=CHANGES)
        assert finding is not None
        assert (finding.stall.low, finding.since) == (0.0, None)
        assert finding.stall.high >= seconds


def test_a_training_that_does_not_continue_stands_still() -> None:
    finding = longest_stall(regular(0.0, count=50)[:-1] + steps(until=60.0, first=50.0), capabilities=CHANGES)
    assert finding is not None
    assert finding.stall.low > 5


@pytest.mark.parametrize("since", [None, 55.0, 70.0, 90.0])
def test_only_a_quiet_time_after_the_move_began_counts(since: float | None) -> None:
    """A step of 11 s from 50 to 61 s; what is before the move shows what is usual."""
    finding = longest_stall(regular(10.0, count=1200), capabilities=CHANGES, since=since)
    assert finding is not None
    if since is None or since < 61:
        assert finding.stall.high == near(11.11 if since is None else 61.01 - since)
        assert finding.stall.low <= finding.stall.high
    else:
        assert (finding.stall.low, finding.stall.high) == (0.0, near(1.11))
        assert finding.note.endswith("other steps of up to 11.11 s")
    assert longest_stall(regular(10.0), capabilities=CHANGES, since=10_000.0) is None


def test_a_step_as_long_as_others_is_no_stall() -> None:
    finding = longest_stall(regular(0.0), capabilities=CHANGES)
    assert finding is not None
    assert (finding.stall.low, finding.stall.at, finding.since) == (0.0, None, None)
    assert finding.stall.high == near(1.11)
    assert finding.stall.seconds == near(1.11 / 2)


def test_without_any_sample_nothing_is_known() -> None:
    assert longest_stall([], capabilities=CHANGES) is None
    assert resolution([], capabilities=CHANGES) is None


def test_without_any_change_nothing_is_known() -> None:
    assert longest_stall(steps(until=50.0), capabilities=CHANGES) is None
    assert resolution(steps(until=50.0), capabilities=CHANGES) is None


def test_freshness_is_the_providers() -> None:
    finding = longest_stall(regular(10.0), capabilities=replace(CHANGES, freshness=0.5))
    assert finding is not None
    assert finding.stall.high == near(11.61)


@pytest.mark.parametrize("status", ["DONE", "FAILED"])
def test_what_follows_a_reported_end_is_no_quiet_time(status: str) -> None:
    samples = steps(*range(1, 41), until=45.0)
    ended = [
        *samples,
        *[replace(samples[-1], sent=45 + n / 10, received=45.01 + n / 10, status=status) for n in range(1, 900)],
    ]
    finding = longest_stall(ended, capabilities=CHANGES)
    assert finding is not None
    assert finding.stall.low == 0.0
    assert finding.stall.high == near(45.11 - 39.9)
    assert finding.note == "compared with 39 other steps of up to 1.11 s"
    unknown = [replace(s, status=None) if s.sent > 45 else s for s in ended]
    stalled = longest_stall(unknown, capabilities=CHANGES)
    assert stalled is not None
    assert stalled.stall.low > 80


def test_a_time_without_a_watch_is_no_quiet_time() -> None:
    first, second = steps(*range(1, 21), until=20.5), steps(*range(1, 21), first=100.0, until=110.0)
    second = [replace(s, step=50.0 + n // 10) for n, s in enumerate(second)]
    finding = longest_stall([*first, *second], [(20.51, 100.0)], capabilities=CHANGES)
    assert finding is not None
    assert finding.stall.high == near(1.11)
    assert finding.note.startswith("compared with 27 other steps")
    # A change in neither part is not a change between them.
    quiet_parts = [*steps(until=5.0), *[replace(s, step=9.0) for s in steps(first=50.0, until=55.0)]]
    assert longest_stall(quiet_parts, [(5.01, 50.0)], capabilities=CHANGES) is None
    # A gap in which the watch continued is part of a step: the change seen at 100.0 may have been at 20.5 already.
    lasting = longest_stall([*first, *second], capabilities=CHANGES)
    assert lasting is not None
    assert lasting.stall.high == near(101.01 - 20.5)


def test_the_resolution_of_changes_is_the_longest_other_step() -> None:
    assert resolution(regular(10.0), capabilities=CHANGES) == near(1.11)
    # Only parts of steps beside the longest: the longest itself.
    assert resolution(steps(1.0, 3.0, until=4.0), capabilities=CHANGES) == near(2.11)


def test_any_figure_that_changes_is_a_change() -> None:
    for field, values in (("step", (1.0, 2.0)), ("progress", (0.1, 0.2)), ("detail", ("a", "b"))):
        samples = [at(n / 10, **{field: values[n >= 10]}) for n in range(21)]
        assert len(quiets(samples, 0.0)) == 2


def test_a_finding_of_a_late_answer_claims_nothing() -> None:
    finding = longest_stall(around(at(10.1, 0.2), after=10.5))
    assert finding == Finding(
        Stall(near(0.235), 0.0, near(0.41), None), None, "", Stall(near(0.235), 0.0, near(0.41), None)
    )  # type: ignore[arg-type]


@pytest.mark.parametrize("place", ["before", "after"])
def test_only_delays_within_a_silence_are_taken_off(place: str) -> None:
    samples = around(at(10.1, 1.9), after=12.1)
    index = 100 if place == "before" else 102
    samples[index] = replace(samples[index], late=0.005)
    silence = longest_silence(silences(samples))
    assert silence is not None
    assert silence.evidence == near(1.89)


def test_a_silence_full_of_work_is_not_claimed() -> None:
    finding = longest_stall(training((10.1, 15.1), 60.0))
    assert finding is not None
    assert finding.stall.low == 0.0
    full = next(s for s in silences(training((10.1, 15.1), 60.0)) if s.end == near(15.1))
    assert (full.evidence, full.stands_out, full.claimed, full.seconds) == (0.0, True, False, 0.0)
    assert finding.since == near(10.01)
    assert finding.stall.at is None


def test_steps_of_only_one_side_are_no_work() -> None:
    samples = [replace(s, step=None) if s.sent > 10 else s for s in training((10.1, 15.1), 50.0)]
    silence = longest_silence(silences(samples))
    assert silence is not None
    assert silence.low == near(5.0 - 0.01 - 0.15)


def test_a_measurement_that_begins_in_a_freeze_keeps_what_is_left_of_it() -> None:
    samples = around(at(10.1, 1.9, deaf=11.5, awake=11.6), after=12.1)
    finding = longest_stall(samples, since=10.2)
    assert finding is not None
    assert finding.freeze == Stall(near(1.495), near(0.9), near(1.91), near(10.01))  # type: ignore[arg-type]


def test_one_lost_question_at_the_begin_is_time_of_which_nothing_is_known() -> None:
    finding = longest_stall([Sample(-3.0, -2.9, "silent"), *asked(0, 50)])
    assert finding is not None
    assert finding.stall.high == near(3.01)


def test_a_watch_may_break_after_its_first_sample() -> None:
    samples = [at(0.0, step=0), *[replace(s, step=50.0 + n // 10) for n, s in enumerate(steps(first=60.0, until=80.0))]]
    finding = longest_stall(samples, [(0.01, 60.0)], capabilities=CHANGES)
    assert finding is not None
    assert finding.stall.high == near(1.11)
