# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lease of a host keeps two controllers apart, ends by itself, and is nobody's obstacle without the privilege."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import (
    CallFailed,
    ConnectError,
    PermissionMissing,
    RunBusy,
    VsphereError,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import SlotLimits
from ansible_collections.liveml.vsphere.plugins.module_utils._run import lease as lease_module
from ansible_collections.liveml.vsphere.plugins.module_utils._run.lease import (
    RENEW_SECONDS,
    SECONDS,
    HostLease,
    owner_of,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import Rules
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import runs_of, state_path
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Maintenance
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.lease_attribute import (
    Lease,
    decode_lease,
    encode_lease,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.estates import host
from tests.doubles.run import run
from tests.doubles.vcenter import SOURCE, World

NOW = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)


class Place(World):
    """A vCenter with a clock that the test turns."""

    def __init__(self) -> None:
        super().__init__(2)
        self.now = NOW
        self.broken = False
        self.reads: list[VsphereError | None] = []  # how the next reads of a lease end
        self.writes: list[VsphereError | None] = []

    def time(self) -> datetime:
        return self.now

    def clock(self) -> float:
        return (self.now - NOW).total_seconds()

    def lease(self, host: str) -> Lease | None:
        if self.broken:
            raise ConnectError("vCenter does not answer")
        if self.reads and (error := self.reads.pop(0)) is not None:
            raise error
        return super().lease(host)

    def set_lease(self, host: str, lease: Lease | None) -> bool:
        if self.writes and (error := self.writes.pop(0)) is not None:
            raise error
        return super().set_lease(host, lease)

    def of(self, owner: str, sleep: Callable[[float], None] = lambda _seconds: None) -> HostLease:
        return HostLease(
            self,  # type: ignore[arg-type]
            host(1), lambda: owner, clock=self.clock, sleep=sleep,
        )  # fmt: skip


def test_a_rival_is_refused_until_the_lease_is_given_back() -> None:
    place = Place()
    first, second = place.of("a"), place.of("b")
    first.take()
    with pytest.raises(
        RunBusy, match=r"Another controller .* run for esx-1\. Its lease ends at 2026-01-31 09:10:00 UTC"
    ):
        second.take()
    first.release()
    assert place.leases == {"host-1": None}
    second.take()


def test_a_lease_ends_by_itself_and_its_own_controller_takes_it_again() -> None:
    place = Place()
    place.of("a").take()
    place.of("a").take()
    place.now += timedelta(seconds=SECONDS - 1)
    with pytest.raises(RunBusy):
        place.of("b").take()
    place.now += timedelta(seconds=1)
    place.of("b").take()


def test_of_two_that_read_at_the_same_time_the_last_writer_has_it() -> None:
    place = Place()
    rival = place.of("b")
    taken = []

    def both(_seconds: float) -> None:
        if not taken:
            taken.append(rival)
            place.leases["host-1"] = None  # as the rival read it
            rival.take()

    with pytest.raises(RunBusy):
        place.of("a", both).take()
    assert rival.kept()


def test_it_is_renewed_in_time_and_a_rival_that_took_it_over_ends_the_run() -> None:
    place = Place()
    mine = place.of("a")
    mine.take()
    for _turn in range(10):
        place.now += timedelta(seconds=RENEW_SECONDS)
        assert mine.kept()
    assert place.leases["host-1"] is not None
    assert place.leases["host-1"].until == place.now + timedelta(seconds=SECONDS)
    place.broken = True
    place.now += timedelta(seconds=RENEW_SECONDS)
    assert mine.kept(), "vCenter is away, and nobody can take it"
    place.broken = False
    place.leases["host-1"] = Lease("b", "other", place.now + timedelta(seconds=SECONDS))
    place.now += timedelta(seconds=RENEW_SECONDS)
    assert not mine.kept()
    mine.release()
    assert place.leases["host-1"].owner == "b", "what belongs to another controller is left alone"


def test_without_the_privilege_there_is_no_lease_and_no_obstacle() -> None:
    place = Place()
    place.may_set_attributes = False
    mine = place.of("a")
    with mine.held():
        assert mine.kept()
    assert place.leases == {}
    nothing = HostLease(place, None, lambda: "a")  # type: ignore[arg-type]
    with nothing.held():
        assert nothing.kept()


FAULT = CallFailed("vCenter could not read the lease of the host: SystemError", fault="SystemError")


@pytest.mark.parametrize("reads", [[FAULT], [None, FAULT]])
@pytest.mark.parametrize("has_rival", [True, False])
def test_a_lease_that_could_not_be_read_is_not_taken_for_free(
    reads: list[VsphereError | None], has_rival: bool
) -> None:
    place = Place()
    rival = Lease("b", "other", NOW + timedelta(minutes=9)) if has_rival else None
    place.leases["host-1"], place.reads = rival, list(reads)
    with pytest.raises(VsphereError, match="this call moved no VM"):
        place.of("a").take()
    assert not has_rival or place.leases["host-1"] == rival


def test_a_lease_that_could_not_be_written_is_not_held() -> None:
    place = Place()
    place.writes = [FAULT]
    with pytest.raises(
        CallFailed, match=r"It is not known whether another controller carries out a run for esx-1 .*SystemError"
    ):
        place.of("a").take()


def test_who_may_not_read_a_lease_writes_none() -> None:
    place = Place()
    rival = Lease("b", "other", NOW + timedelta(minutes=9))
    place.leases["host-1"], place.reads = rival, [PermissionMissing("no", privilege="System.Read")]
    with (mine := place.of("a")).held():
        assert mine.kept()
    assert place.leases["host-1"] == rival


@pytest.mark.parametrize("fails", ["reads", "writes"])
def test_a_lease_that_ended_because_it_could_not_be_renewed_starts_no_further_move(fails: str) -> None:
    place = Place()
    mine = place.of("a")
    mine.take()
    setattr(place, fails, [FAULT] * 4)
    kept = []
    for _turn in range(5):
        place.now += timedelta(seconds=RENEW_SECONDS)
        kept.append(mine.kept())
    assert kept == [True, True, True, False, True], "it was written for four turns, and is written again in the fifth"


def test_a_lease_that_may_not_be_renewed_any_more_ends() -> None:
    place = Place()
    mine = place.of("a")
    mine.take()
    place.may_set_attributes = False  # somebody has taken the privilege away
    kept = []
    for _turn in range(5):
        place.now += timedelta(seconds=RENEW_SECONDS)
        kept.append(mine.kept())
    assert kept == [True, True, True, False, False]


def test_a_run_is_refused_before_it_changes_anything_and_gives_the_lease_back(tmp_path: Path) -> None:
    world, state = World(3), state_path(str(tmp_path))
    rival = Lease("b", "other.example.com", datetime.now(UTC) + timedelta(seconds=60))
    world.leases[SOURCE] = rival
    with pytest.raises(RunBusy, match=r"other\.example\.com"):
        run(world, state)
    assert (world.moves, runs_of(state, "uuid"), list((state / "runs").iterdir())) == ([], [], [])
    world.leases[SOURCE] = None
    assert run(world, state).failures == ()
    assert world.leases == {SOURCE: None}


@pytest.mark.parametrize("roll_back", [False, True])
@pytest.mark.parametrize("moves", [1, 5])
def test_a_run_leaves_everything_to_the_controller_that_took_its_lease_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int, roll_back: bool
) -> None:
    """It starts no move, brings nothing back, lifts no fence, and can be resumed. Not only the first look counts."""
    monkeypatch.setattr(lease_module, "RENEW_SECONDS", 0.0)
    rival = Lease("b", "other.example.com", datetime.now(UTC) + timedelta(seconds=SECONDS))

    class TakenOver(World):
        def relocate(self, *arguments: Any, **options: Any) -> str:
            self.leases[SOURCE] = rival
            return super().relocate(*arguments, **options)

    world, state = TakenOver(moves), state_path(str(tmp_path))
    report = run(world, state, rules=Rules(slots=SlotLimits(per_host=1), retries=0, roll_back=roll_back))
    assert [(source, target) for _vm, source, target in world.moves] == [(SOURCE, "host-2")]
    assert report.outcome.interrupted
    assert "the run was interrupted" in report.outcome.stopped
    assert world.maintenance is Maintenance.ENTERING
    assert world.leases[SOURCE] == rival
    assert [each.finished for each in runs_of(state, "uuid")] == [False]


def test_the_owner_is_the_state_directory(tmp_path: Path) -> None:
    one, other = state_path(str(tmp_path / "a")), state_path(str(tmp_path / "b"))
    assert owner_of(one) == owner_of(one) != owner_of(other)
    assert (one / "controller").stat().st_mode & 0o077 == 0


@given(st.text(max_size=30), st.text(max_size=30), st.datetimes(timezones=st.just(UTC)))
def test_a_lease_is_read_as_it_was_written(owner: str, name: str, until: datetime) -> None:
    found = decode_lease(encode_lease(Lease(owner, name, until)))
    assert found is not None
    assert found.until == until.replace(microsecond=0)


@given(st.text(max_size=50) | st.sampled_from(["{}", "[]", '{"o":1,"n":2,"u":"2026"}', '{"o":"","n":"","u":"x"}']))
def test_other_text_is_no_lease(text: str) -> None:
    assert decode_lease(text) is None or text.startswith("{")


def test_a_lease_is_not_written_again_before_its_time() -> None:
    place = Place()
    mine = place.of("a")
    mine.take()
    written = place.leases["host-1"]
    place.now += timedelta(seconds=RENEW_SECONDS - 0.001)
    assert mine.kept()
    assert place.leases["host-1"] == written
    place.now += timedelta(seconds=0.001)
    assert mine.kept()
    assert place.leases["host-1"] != written


def test_a_lease_survives_several_attempts_that_fail() -> None:
    assert RENEW_SECONDS * 3 <= SECONDS


def test_a_lease_that_could_not_be_renewed_is_sure_until_it_ends() -> None:
    place = Place()
    mine = place.of("a")
    mine.take()
    place.broken = True
    for seconds, kept in ((RENEW_SECONDS, True), (SECONDS - 1, True), (SECONDS + RENEW_SECONDS, False)):
        place.now = NOW + timedelta(seconds=seconds)
        assert mine.kept() is kept


def test_nothing_is_given_back_that_was_not_taken() -> None:
    place = Place()
    other = Lease("b", "other", NOW - timedelta(seconds=1))
    place.leases["host-1"] = other
    place.of("a").release()
    assert place.leases["host-1"] == other
    HostLease(place, None, lambda: "a").release()  # type: ignore[arg-type]
    mine = place.of("a")
    mine.take()
    mine.release()
    assert place.leases["host-1"] is None
    place.leases["host-1"] = other
    mine.release()
    assert place.leases["host-1"] == other, "once is enough"


def test_a_lease_is_given_back_after_an_error_too() -> None:
    place = Place()
    with pytest.raises(ZeroDivisionError), place.of("a").held():
        assert place.leases["host-1"] is not None
        raise ZeroDivisionError
    assert place.leases["host-1"] is None
