# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One question to a guest, asked again on fresh connections until the first answer.

A frozen VM loses packets. TCP sends them again only after about 0.25, 0.45, 0.9, 1.7 and 3.4 s, so one patient question
is answered up to twice as late as the VM continues. A fresh connection is an independent question: it is answered if the
VM runs at that time. While none is accepted, a new one is tried 50 times per second, which costs the guest nothing.
"""

from __future__ import annotations

import http.client
import selectors
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from .connection import Line, is_whole, tcp_info

PATIENCE = 0.12  # seconds before a question is asked again; more at a server that usually takes longer
KNOCK_SECONDS = 0.02  # between two connections that are not accepted
AGAIN_SECONDS = 0.05  # between two that are accepted, but not answered
KNOCK_SHARE, AGAIN_SHARE = 1 / 200, 1 / 50  # of a long wait: then both are rarer
CONFIRM_SECONDS, MAX_CONFIRM_SECONDS = (
    0.1,
    0.5,
)  # in which the other questions are answered as well, if they have been with the guest
LOOK_SECONDS = 0.5  # after which a wait looks whether somebody stopped it
MAX_ASKED = 32  # fresh connections with a question at once

LOST = (OSError, http.client.HTTPException)


@dataclass(frozen=True, slots=True)
class Wait:
    """What was learned while a question waited. All times are monotonic.

    ``sent``: when it was sent first. ``received``: when the answer had arrived; ``exact`` if the kernel reports that
    time, which no delay of this process changes. ``resent``: TCP may have sent the question or the answer again, so that
    the answer came later than the guest continued. ``unheard``: when the last question was asked that is lost, although
    others were answered. ``again``: when the last question was asked that was answered, if it is not the first.
    ``deaf``: when the last connection was tried that the guest's kernel did not accept; ``awake``: when it accepted one
    after that; ``deaf_since``: when the first one was tried of all those that it did not accept until ``deaf``. ``full``:
    before that it accepted connections that were not answered, so that the queue of a server that stands still may be full.
    """

    sent: float
    received: float
    exact: bool
    resent: bool
    unheard: float | None = None
    again: float | None = None
    deaf: float | None = None
    awake: float | None = None
    deaf_since: float | None = None
    full: bool = False


@dataclass
class Asking:
    """One question and its lines. ``first`` is the patient one; ``fresh`` opens another, ``None`` forbids it."""

    request: bytes
    first: Line
    fresh: Callable[[], Line] | None
    patience: float  # seconds before the question is asked again
    until: float  # monotonic time at which waiting for an answer ends
    max_bytes: int
    is_stopped: Callable[[], bool]  # whether nobody waits any more
    _further: list[Line] = field(default_factory=list)  # open lines, the oldest first
    _begun: list[float] = field(default_factory=list)  # when each further line was begun
    _not_accepted: list[float] = field(default_factory=list)  # when lines were begun that were given up
    _accepted: Line | None = None  # the first further line that was accepted after these
    _heard_until: float = 0.0  # when a line was accepted before these

    def __post_init__(self) -> None:
        known = tcp_info(self.first.socket)
        self._resent_before = known.resent if known is not None else None

    @property
    def lines(self) -> list[Line]:
        """All open lines."""
        return [self.first, *self._further]

    def first_answer(self) -> Line:
        """The line with the first whole answer; without further lines, with the first bytes of it.

        A freeze may cut an answer. So the question is asked again until one is whole. Raises OSError or HTTPException if
        the first line is lost, and TimeoutError. Then further lines are closed.
        """
        try:
            while True:
                for line in self._wait():
                    if self._advance(line) and self._suffices(line):
                        return line
                self._give_up_deaf()
                if self.fresh is not None and time.monotonic() >= self._next_at():
                    self._ask_again(self.fresh)
        except BaseException:
            self.close()
            raise

    def _suffices(self, line: Line) -> bool:
        return self.fresh is None or line.ended or len(line.data) > self.max_bytes or is_whole(line.data)

    def learned(self, winner: Line) -> Wait:
        """What the wait showed, after the whole answer was read on ``winner``. Then all other lines are closed."""
        now, known = time.monotonic(), tcp_info(winner.socket)
        received = now - known.since_data if known is not None else now
        sent = self.first.begun if self.first.asked is None else self.first.asked
        others = self._answered_as_well(winner, received) if self._begun else []
        deaf_since, deaf, awake = self._deafness(winner, received)
        cut = received - (winner.heard or now) > PATIENCE  # then the server's kernel sent the rest again
        wait = Wait(
            sent,
            max(sent, received),
            exact=known is not None,
            resent=cut or (winner is self.first and not others and self._may_be_late()),
            unheard=self._unheard(winner, sent, received, others),
            again=self._last_answered(winner, received, others),
            deaf=deaf,
            awake=awake,
            deaf_since=deaf_since,
            full=deaf is not None and self._heard_until > 0,
        )
        self.close(winner)
        return wait

    def close(self, keep: Line | None = None) -> None:
        """Close all lines but one."""
        for line in self.lines:
            if line is not keep:
                line.close()
        self._further.clear()

    def _answered_as_well(self, winner: Line, received: float) -> list[Line]:
        """The other lines that are answered soon, too: they were with the guest. The rest is lost, or a proxy keeps it."""
        waiting = [line for line in self.lines if line is not winner and line.asked is not None]
        answered: list[Line] = []
        took = 0.0 if winner is self.first else received - winner.begun
        end = time.monotonic() + min(max(CONFIRM_SECONDS, 2 * took), MAX_CONFIRM_SECONDS)
        while waiting and (left := end - time.monotonic()) > 0:
            for line in _ready(waiting, left):
                try:
                    if not line.advance(self.request):
                        continue
                    answered.append(line)
                except LOST:
                    pass  # a server that gives up the rest, or a proxy
                waiting.remove(line)
        return answered

    def _last_answered(self, winner: Line, received: float, others: Sequence[Line]) -> float | None:
        """When the last question was asked that was answered. One that was asked after ``received`` was not part of the wait."""
        begun = [line.begun for line in others if line is not self.first and line.begun <= received]
        if winner is not self.first:
            begun.append(min(winner.begun, received))  # the kernel reports milliseconds
        return max(begun, default=None)

    def _unheard(self, winner: Line, sent: float, received: float, others: Sequence[Line]) -> float | None:
        """When the last question was asked that is lost, although it had time to be answered before ``received``."""
        patient = winner is self.first
        if patient and not others:
            return None  # a proxy or a firewall may have kept all others
        fair = received - AGAIN_SECONDS
        if not patient and self._begun[0] > fair:
            return sent
        lost = [line.begun for line in self._further if line.asked is not None and line not in (winner, *others)]
        lost += [] if patient else self._missed(winner.begun)
        return max((begun for begun in lost if begun <= fair), default=None)

    def _missed(self, before: float) -> list[float]:
        """When lines were begun that were not accepted, although one was that was begun at ``before``."""
        waiting = [line.begun for line in self._further if line.connected is None]
        return [begun for begun in (*self._not_accepted, *waiting) if begun < before]

    def _deafness(self, winner: Line, received: float) -> tuple[float | None, float | None, float | None]:
        """From when and until when the guest's kernel accepted nothing, and from when it did; ``None`` if not known."""
        if self._accepted is not None:
            missed, awake = self._missed(self._accepted.begun), self._accepted.connected
        elif winner is self.first and self._not_accepted and self._accepts():
            missed, awake = self._not_accepted, received
        else:
            missed, awake = [], None
        together = [begun for begun in missed if begun >= self._heard_until]
        if not together:
            return None, None, None
        # That a connection was accepted may be noticed late; the kernel's time of the answer is exact.
        return min(together), max(together), None if awake is None else min(awake, received)

    def _may_be_late(self) -> bool:
        """Whether TCP sent the first question again, or a proxy may have done so."""
        if any(line.asked is not None for line in self._further):
            return True
        known = tcp_info(self.first.socket)
        return self._resent_before is None or known is None or known.resent > self._resent_before

    def _advance(self, line: Line) -> bool:
        """Whether more of an answer was read. A further line that is refused or lost is closed."""
        try:
            more = line.advance(self.request)
        except LOST:
            if line is self.first:
                raise
            self._drop(line)
            return False
        if line is not self.first and self._accepted is None:
            self._accepted = line
        return more

    def _wait(self) -> list[Line]:
        """The lines that can continue, after a wait until the next question is due."""
        now = time.monotonic()
        if self.is_stopped():
            raise TimeoutError("nobody waits for the answer any more")
        if now >= self.until:
            raise TimeoutError("no answer in time")
        due = now + LOOK_SECONDS if self.fresh is None else min(now + LOOK_SECONDS, self._next_at())
        return _ready(self.lines, due - now)

    def _next_at(self) -> float:
        """When the question is asked again."""
        if not self._begun:
            return self.first.begun + self.patience
        latest = self._further[-1] if self._further else None
        waited = self._begun[-1] - self.first.begun
        if latest is not None and latest.connected is not None:
            return latest.connected + max(AGAIN_SECONDS, AGAIN_SHARE * waited)
        return self._begun[-1] + max(KNOCK_SECONDS, KNOCK_SHARE * waited)

    def _ask_again(self, fresh: Callable[[], Line]) -> None:
        asked = [line for line in self._further if line.connected is not None]
        if len(asked) >= MAX_ASKED:
            self._drop(asked[1])  # the oldest one shows later whether the guest has got it
        try:
            line = fresh()
        except LOST:
            self._begun.append(time.monotonic())  # there is no way to the guest; try again at the usual time
        else:
            self._begun.append(line.begun)
            self._further.append(line)

    def _give_up_deaf(self) -> None:
        """Close the lines that were not accepted in time."""
        limit, now = self._usual_accept(), time.monotonic()
        late = [line for line in self._further if line.connected is None and now - line.begun > limit]
        accepted = _ready(late, 0) if late else []
        for line in late:
            if line not in accepted:
                self._drop(line)
                self._not_accepted.append(line.begun)
                if self._accepted is not None and self._accepted.begun < line.begun:
                    self._heard_until = self._accepted.connected or self._accepted.begun
                    self._accepted = None

    def _usual_accept(self) -> float:
        """Seconds in which an accepted connection is made: at least two round trips.

        Of a connection that is still being made, the kernel reports one second.
        """
        known = tcp_info(self.first.socket) if self.first.connected is not None else None
        return max(KNOCK_SECONDS, 2 * known.round_trip) if known is not None else self.patience

    def _accepts(self) -> bool:
        """Whether a connection is accepted now: only then those before it show a deaf guest, and not a firewall."""
        if self.fresh is None:
            return False
        try:
            self._further.append(self.fresh())
        except LOST:
            return False
        waiting = [line for line in self._further if line.connected is None]
        ready = _ready(waiting, 2 * self._usual_accept())
        return any(line.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 for line in ready)

    def _drop(self, line: Line) -> None:
        line.close()
        self._further.remove(line)


def _ready(lines: Iterable[Line], seconds: float) -> list[Line]:
    """The lines that can continue, after ``seconds`` at most."""
    with selectors.DefaultSelector() as selector:
        for line in lines:
            selector.register(line.socket, selectors.EVENT_WRITE if line.wants_write else selectors.EVENT_READ, line)
        return [key.data for key, _events in selector.select(max(0.0, seconds))]
