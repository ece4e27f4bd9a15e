# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One process at a time works for a host, and nobody waits for one that is gone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput, RunBusy
from ansible_collections.liveml.vsphere.plugins.module_utils._run import locks
from ansible_collections.liveml.vsphere.plugins.module_utils._run.locks import between_runs, holder_of, run_lock

KEY = "u.host-5"


class Waiting:
    """A clock that runs as fast as it is asked to sleep, and what the waiting process says."""

    def __init__(self, release: object = None, after: float = 0.0) -> None:
        self.now, self.said, self.slept = 100.0, list[str](), list[float]()
        self._release, self._after = release, after

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        if callable(self._release) and self.now >= 100.0 + self._after:
            self._release()

    def hear(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Waiting:
    clock = Waiting()
    monkeypatch.setattr(locks, "time", clock)
    return clock


def test_the_second_process_is_refused_with_the_number_of_the_first(state: Path, waiting: Waiting) -> None:
    with run_lock(state, KEY, timeout=0):
        assert holder_of(state, KEY) == os.getpid()
        with pytest.raises(RunBusy, match=f"Process {os.getpid()} carries out a run"), run_lock(state, KEY, timeout=0):
            pass
        with run_lock(state, "u.host-6", timeout=0):  # another host
            pass
    assert holder_of(state, KEY) is None
    assert waiting.slept == []


def test_a_lock_ends_with_an_error_as_well(state: Path) -> None:
    with pytest.raises(ZeroDivisionError), run_lock(state, KEY, timeout=0):
        raise ZeroDivisionError
    with run_lock(state, KEY, timeout=0):
        pass


def test_nobody_waits_longer_than_the_timeout_and_says_so_once(state: Path, waiting: Waiting) -> None:
    with (
        run_lock(state, KEY, timeout=0),
        pytest.raises(RunBusy),
        run_lock(state, KEY, timeout=1.0, waiting=waiting.hear),
    ):
        pass
    assert 1.0 <= sum(waiting.slept) <= 1.2
    assert waiting.said == [
        f"process {os.getpid()} still carries out a run for this host; waiting for its moves in flight"
    ]


def test_the_lock_is_taken_as_soon_as_it_is_free(state: Path, waiting: Waiting) -> None:
    first = run_lock(state, KEY, timeout=0)
    first.__enter__()
    waiting._release, waiting._after = lambda: first.__exit__(None, None, None), 3.0
    with run_lock(state, KEY, timeout=60.0, waiting=waiting.hear):
        assert sum(waiting.slept) == pytest.approx(3.0, abs=0.3)
    assert len(waiting.said) == 1


def test_the_number_of_an_earlier_holder_is_replaced_as_a_whole(state: Path) -> None:
    path = state / "locks" / f"{KEY}.lock"
    path.write_text(json.dumps({"pid": 123456789012}) + " " * 50)
    path.chmod(0o600)
    with run_lock(state, KEY, timeout=0):
        assert json.loads(path.read_text()) == {"pid": os.getpid()}
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "{}", "\0" * 20, '{"pid": "x"}'])
def test_a_holder_without_a_readable_number_still_holds(state: Path, waiting: Waiting, text: str) -> None:
    """Its disk was full, or it has only begun."""
    with run_lock(state, KEY, timeout=0):
        (state / "locks" / f"{KEY}.lock").write_text(text)
        assert holder_of(state, KEY) == 0
        with pytest.raises(RunBusy), run_lock(state, KEY, timeout=0):
            pass


def test_between_runs_creates_nothing_and_lets_others_read(state: Path, tmp_path: Path) -> None:
    with between_runs(state, KEY, timeout=0, waiting=print):
        pass
    assert list((state / "locks").iterdir()) == []
    with between_runs(tmp_path / "missing", KEY, timeout=0, waiting=print):
        pass
    assert not (tmp_path / "missing").exists()
    with run_lock(state, KEY, timeout=0):
        pass
    with between_runs(state, KEY, timeout=0, waiting=print), between_runs(state, KEY, timeout=0, waiting=print):
        assert holder_of(state, KEY) is None, "who only looks carries out no run"
        with pytest.raises(RunBusy), run_lock(state, KEY, timeout=0):
            pass
    with run_lock(state, KEY, timeout=0):
        pass


def test_between_runs_waits_for_the_run_in_progress(state: Path, waiting: Waiting) -> None:
    wait = between_runs(state, KEY, timeout=0.5, waiting=waiting.hear)
    with run_lock(state, KEY, timeout=0), pytest.raises(RunBusy), wait:
        pass
    assert len(waiting.said) == 1
    assert sum(waiting.slept) >= 0.5


def test_looking_for_the_holder_of_a_lock_that_nobody_ever_took(state: Path) -> None:
    assert holder_of(state, KEY) is None
    assert list((state / "locks").iterdir()) == []


def test_a_lock_that_cannot_be_opened_is_an_error_of_the_option(state: Path) -> None:
    (state / "locks" / f"{KEY}.lock").mkdir()
    for attempt in (run_lock(state, KEY, timeout=0), between_runs(state, KEY, timeout=0, waiting=print)):
        with pytest.raises(InvalidInput, match="locks"), attempt:
            pass
    with pytest.raises(InvalidInput, match="locks"):
        holder_of(state, KEY)
