# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal survives a crash at any byte, and its fold shows how far a run got."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import (
    InvalidInput,
    JournalUnreadable,
    RunBusy,
    StateUnwritable,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run import journal as _journal
from ansible_collections.liveml.vsphere.plugins.module_utils._run.home_records import journal_homes
from ansible_collections.liveml.vsphere.plugins.module_utils._run.journal import HEAD, Journal, Reading, read_journal
from ansible_collections.liveml.vsphere.plugins.module_utils._run.locks import run_lock
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import MoveResult, Purpose, run_key
from ansible_collections.liveml.vsphere.plugins.module_utils._run.state import replay
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import (
    moves_in_flight,
    new_run,
    runs_of,
    state_path,
    unfinished_run,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.journals import EXAMPLES, entries, journal_rows, write_event, write_run


def test_file_is_private_and_numbered(tmp_path: Path) -> None:
    path = write_run(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [event["seq"] for event in journal_rows(path)] == list(range(1, 8))


@given(cut=st.integers(min_value=0, max_value=2000))
def test_a_journal_cut_anywhere_is_read_and_continued(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = write_run(tmp_path_factory.mktemp("run"))
    whole = journal_rows(path)
    (path.parent / HEAD).unlink()  # a killed process has not kept the end
    os.truncate(path, min(cut, path.stat().st_size))
    kept = journal_rows(path)
    assert kept == whole[: len(kept)]
    if len(kept) == len(whole):
        with pytest.raises(JournalUnreadable, match="its run has ended"):
            Journal(path)
        return
    journal = Journal(path)
    write_event(journal, "run_resumed" if kept else "run_started", plan_id="p2")
    journal.close()
    again = journal_rows(path)
    assert again[:-1] == kept
    assert again[-1]["seq"] == len(kept) + 1


def test_listener_hears_what_is_on_disk(tmp_path: Path) -> None:
    heard = []
    journal = Journal(tmp_path / "journal.jsonl", lambda entry: heard.append((entry, len(journal_rows(journal.path)))))
    write_event(journal, "run_started")
    journal.close()
    assert [(entry.event.kind, lines) for entry, lines in heard] == [("run_started", 1)]


@pytest.mark.parametrize(
    ("upto", "in_flight", "finished"), [(3, False, False), (4, True, False), (5, True, False), (6, False, False)]
)
def test_replay_tells_how_far_a_killed_run_got(tmp_path: Path, upto: int, in_flight: bool, finished: bool) -> None:
    run = replay(read_journal(write_run(tmp_path, upto=upto)).entries)
    assert run is not None
    assert (bool(run.in_flight), run.finished) == (in_flight, finished)
    assert [home.host for home in run.homes] == ["host-5"]


def test_replay_of_a_finished_run(tmp_path: Path) -> None:
    run = replay(read_journal(write_run(tmp_path)).entries)
    assert run is not None
    assert run.finished
    assert run.moves["vm-4"].result is MoveResult.MOVED


def test_replay_of_nothing() -> None:
    assert replay([]) is None
    assert replay(entries([{"event": "planned"}])) is None


def test_unfinished_run_is_found_by_key_and_purpose(tmp_path: Path) -> None:
    state = state_path(str(tmp_path / "state"))
    folder = new_run(state, Purpose.EVACUATE, "esx 05/../x")
    assert folder.parent == state / "runs"
    write_run(folder, upto=5)
    assert moves_in_flight(runs_of(state, "uuid")) == {"vm-4": ("host-6", "task-9")}
    assert moves_in_flight(runs_of(state, "other")) == {}
    assert journal_homes(state, "uuid")["vm-4"].host_name == "esx-05"
    found = unfinished_run(state, "uuid.host-5", Purpose.EVACUATE, "esx-05")
    assert found is not None
    assert found[0] == folder
    assert unfinished_run(state, "uuid.host-5", Purpose.RESTORE, "esx-05") is None
    assert unfinished_run(state, "uuid.host-7", Purpose.EVACUATE, "esx-07") is None


@pytest.mark.parametrize(("brought_to", "left"), [("host-5", set()), ("host-6", {"vm-4"})])
def test_a_restore_clears_the_home_that_it_brought_the_vm_to(tmp_path: Path, brought_to: str, left: set[str]) -> None:
    state = state_path(str(tmp_path))
    for name in ("20260101T000000Z-evacuate", "20260102T000000Z-evacuate"):
        (state / "runs" / name).mkdir()
        write_run(state / "runs" / name)
    (state / "runs" / "20260103T000000Z-restore").mkdir()
    restore = Journal(state / "runs" / "20260103T000000Z-restore" / "journal.jsonl")
    write_event(restore, "run_started", run_id="r3", plan_id="p3", purpose="restore", key="uuid.host-5")
    vm, source = {"moid": "vm-4", "name": "ml-4"}, {"moid": "host-7", "name": "esx-07"}
    move = {"number": 1, "vm": vm, "source": source, "target": {"moid": brought_to, "name": brought_to}}
    write_event(restore, "planned", **move)
    write_event(restore, "move_finished", **move, result="moved", error=None, host=brought_to)
    restore.close()
    assert journal_homes(state, "uuid").keys() == left


def test_finished_run_is_not_resumed(tmp_path: Path) -> None:
    state = state_path(str(tmp_path))
    write_run(new_run(state, Purpose.EVACUATE, "esx-05"))
    assert unfinished_run(state, "uuid.host-5", Purpose.EVACUATE, "esx-05") is None


def test_state_dir_that_cannot_be_made_names_the_option(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="state_dir") as caught:
        state_path(str(tmp_path / "file"))
    assert caught.value.option == "state_dir"


def test_lock_admits_one_process(tmp_path: Path) -> None:
    state = state_path(str(tmp_path))
    key = run_key("uuid", "host-5")
    told: list[str] = []
    with run_lock(state, key, timeout=0):
        with pytest.raises(RunBusy, match=str(os.getpid())), run_lock(state, key, timeout=0.1, waiting=told.append):
            pass
        with run_lock(state, run_key("uuid", "host-6"), timeout=0):
            pass
    with run_lock(state, key, timeout=0):
        pass
    assert len(told) == 1


def written(path: Path, count: int) -> None:
    journal = Journal(path)
    for number in range(count):
        write_event(journal, "planned" if journal.begun else "run_started", number=number)
    journal.close()


def test_a_journal_s_lines_follow_from_each_other_also_over_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    written(path, 3)
    with path.open("ab") as stream:
        stream.write(b'{"seq": 4, "torn')
    assert len(read_journal(path).entries) == 3
    written(path, 2)
    chain = read_journal(path)
    assert (len(chain.entries), chain.broken_at) == (5, None)
    assert chain.head == hashlib.sha256(path.read_bytes().splitlines()[-1]).hexdigest()


@given(
    line=st.integers(0, 5),
    change=st.sampled_from(["edit", "drop", "swap", "insert", "rewrite", "zeros"]),
    killed=st.booleans(),
)
def test_no_change_of_a_journal_goes_unnoticed(
    line: int, change: str, killed: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Also if its process was killed, so that nothing was kept of its end: only a last line can be torn."""
    path = tmp_path_factory.mktemp("chain") / "journal.jsonl"
    written(path, 7)
    if killed:
        (path.parent / HEAD).unlink()
    lines = path.read_bytes().splitlines(keepends=True)
    if change == "edit":
        lines[line] = lines[line].replace(b'"event": "', b'"event": "x')
    elif change == "drop":
        del lines[line]
    elif change == "swap":
        lines[line], lines[line + 1] = lines[line + 1], lines[line]
    elif change == "insert":
        lines.insert(line, lines[line])
    elif change == "zeros":  # as a crash of a file system leaves them
        lines[line] = b"\0" * len(lines[line])
    else:
        lines[line] = b"nonsense\n"
    changed = b"".join(lines)
    path.write_bytes(changed)
    chain = read_journal(path)
    assert chain.broken_at is not None
    assert line + 1 <= chain.broken_at <= line + 2
    assert chain.why
    with pytest.raises(JournalUnreadable):
        Journal(path)
    assert path.read_bytes() == changed


def test_threads_write_one_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _journal._write_all

    def slowly(fd: int, data: bytes) -> None:
        time.sleep(0.001)  # the other thread gets its chance between a line's hash and its way to the disk
        whole(fd, data)

    monkeypatch.setattr(_journal, "_write_all", slowly)
    heard: list[int] = []
    journal = Journal(tmp_path / "journal.jsonl", lambda entry: heard.append(entry.seq))
    write_event(journal, "run_started")
    with ThreadPoolExecutor(4) as threads:
        for number in range(40):
            threads.submit(write_event, journal, "experiment_progress", progress=number / 40)
    journal.close()
    chain = read_journal(journal.path)
    assert (len(chain.entries), chain.broken_at) == (41, None)
    assert heard == list(range(1, 42))


def kinds(path: Path) -> list[str]:
    return [entry.event.kind for entry in read_journal(path).entries]


BYTES = st.binary(min_size=1, max_size=60) | st.just(b"\0" * 40) | st.just(b"\n") | st.just(b"{}\n")


@given(
    change=st.sampled_from(
        ["flip", "cut", "truncate", "insert", "overwrite", "line out", "line in", "line twice", "empty"]
    ),
    place=st.floats(0, 1),
    length=st.integers(1, 600),
    data=BYTES,
    file=st.sampled_from(["journal.jsonl", HEAD]),
)
def test_damage_of_a_finished_journal_is_found_or_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, change: str, place: float, length: int, data: bytes, file: str
) -> None:
    """Whatever happens to the bytes of either file; and a finished run is never resumed, nor its journal changed."""
    state = state_path(str(tmp_path_factory.mktemp("state")))
    journal = write_run(new_run(state, Purpose.EVACUATE, "esx-05"))
    before = read_journal(journal)
    path = journal.parent / file
    damage(path, change, place, length, data)
    changed = path.read_bytes()
    after = read_journal(journal)
    assert after.problem or (after.entries, after.finished) == (before.entries, True)
    try:
        resumed = unfinished_run(state, "uuid.host-5", Purpose.EVACUATE, "esx-05")
    except JournalUnreadable as error:
        assert str(journal) in str(error)
        resumed = None
    assert resumed is None
    with pytest.raises(JournalUnreadable):
        Journal(journal)
    assert path.read_bytes() == changed


def damage(path: Path, change: str, place: float, length: int, data: bytes) -> None:
    whole = path.read_bytes()
    at = min(int(place * len(whole)), len(whole) - 1)
    lines = whole.splitlines(keepends=True)
    line = min(int(place * len(lines)), len(lines) - 1)
    flipped = bytes([whole[at] ^ (1 + length % 255)])
    path.write_bytes(
        {
            "flip": whole[:at] + flipped + whole[at + 1 :],
            "cut": whole[:at] + whole[at + length :],
            "truncate": whole[:at],
            "insert": whole[:at] + data + whole[at:],
            "overwrite": whole[:at] + data + whole[at + len(data) :],
            "line out": b"".join(lines[:line] + lines[line + 1 :]),
            "line in": b"".join([*lines[:line], data.rstrip(b"\n") + b"\n", *lines[line:]]),
            "line twice": b"".join([*lines[:line], lines[line], *lines[line:]]),
            "empty": b"",
        }[change]
    )


@pytest.mark.parametrize("lost", [0, 1])
def test_without_its_kept_head_a_journal_is_read_as_far_as_it_goes(tmp_path: Path, lost: int) -> None:
    """Then nothing vouches for the end, and nothing says that it does."""
    path = write_run(tmp_path)
    assert read_journal(path).end_kept
    (tmp_path / HEAD).unlink()
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) - lost])
    reading = read_journal(path)
    assert (reading.problem, reading.finished, reading.end_kept) == ("", True, False)


@pytest.mark.parametrize("later", [HEAD, "samples.jsonl", "evidence.json"])
def test_a_journal_that_was_emptied_or_deleted_is_damaged(tmp_path: Path, later: str) -> None:
    path = write_run(tmp_path)
    (tmp_path / HEAD).rename(tmp_path / later)
    for harm in (lambda: path.write_bytes(b""), path.unlink):
        harm()
        assert "line 1 is damaged (it is missing" in read_journal(path).problem


def test_a_journal_that_never_began_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    assert read_journal(path) == Reading()
    path.write_bytes(b'{"seq": 1, "torn')
    assert (read_journal(path).problem, read_journal(path).entries) == ("", ())


def test_the_head_is_kept_when_the_run_begins_and_when_its_journal_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"

    def kept() -> dict[str, Any]:
        return dict(json.loads((tmp_path / HEAD).read_text()))

    journal = Journal(path)
    assert not (tmp_path / HEAD).exists()
    write_event(journal, "run_started")
    assert (kept()["lines"], kept()["finished"]) == (1, False)
    write_event(journal, "planned")
    assert kept()["lines"] == 1
    journal.close()
    assert kept() == {"lines": 2, "sha256": read_journal(path).head, "finished": False}
    journal = Journal(path)
    write_event(journal, "run_finished")
    journal.close()
    assert kept() == {"lines": 3, "sha256": read_journal(path).head, "finished": True}
    assert (tmp_path / HEAD).stat().st_mode & 0o777 == 0o600


def test_an_event_that_cannot_be_written_is_the_last_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written of it is cut off; when there is room again, another process continues without a hole."""
    whole = _journal._write_all

    def full(fd: int, data: bytes) -> None:
        whole(fd, data[:20])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    heard: list[str] = []
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, lambda entry: heard.append(entry.event.kind))
    write_event(journal, "run_started")
    before = path.read_bytes()
    monkeypatch.setattr(_journal, "_write_all", full)
    with pytest.raises(StateUnwritable, match=r"No space left on device.*Make room on its disk.*is resumed"):
        write_event(journal, "planned")
    monkeypatch.setattr(_journal, "_write_all", whole)
    with pytest.raises(StateUnwritable):
        write_event(journal, "planned")
    assert (path.read_bytes(), heard) == (before, ["run_started"])
    journal.close()
    again = Journal(path)
    write_event(again, "run_resumed")
    again.close()
    assert (kinds(path), read_journal(path).problem) == (["run_started", "run_resumed"], "")


START = {"event": "run_started", "key": "u.host-5"}
FINISHED = {"event": "run_finished"}


def chained(*events: dict[str, Any]) -> bytes:
    """The lines of a journal with these events. A field of an event that is given counts, also ``seq`` and ``prev``."""
    lines, prev = [], "0" * 64
    for number, event in enumerate(events, 1):
        clock = {"at": "2026-01-31T09:00:00.000Z", "mono": 1.0}
        row = {"seq": number, "prev": prev, **clock, **EXAMPLES.get(event.get("event", ""), {}), **event}
        lines.append(json.dumps({key: value for key, value in row.items() if value != "left out"}).encode())
        prev = hashlib.sha256(lines[-1]).hexdigest()
    return b"".join(line + b"\n" for line in lines)


def reading_of(folder: Path, data: bytes, **head: Any) -> Reading:
    path = folder / "journal.jsonl"
    path.write_bytes(data)
    if head:
        (folder / HEAD).write_text(json.dumps(head))
    for file in folder.iterdir():
        file.chmod(0o600)
    return read_journal(path)


PLANNED = {"event": "planned"}


@pytest.mark.parametrize(
    ("events", "rest", "broken_at", "why"),
    [
        ([START, {**PLANNED, "seq": 5}], b"", 2, "its number is 5, not 2"),
        ([START, PLANNED, {**PLANNED, "seq": 2}], b"", 3, "its number is 2, not 3"),
        ([START, {**PLANNED, "prev": "0" * 64}], b"", 2, "it does not follow from the line before"),
        ([{**START, "prev": "left out"}], b"", 1, "it does not follow from the line before"),
        ([START, {"event": "left out"}], b"", 2, "it is not an event"),
        ([START, {**PLANNED, "seq": "left out"}], b"", 2, "it is not an event"),
        ([START, {**PLANNED, "number": "one"}], b"", 2, "MovePlanned.number is not of type int"),
        ([START, FINISHED, PLANNED], b"", 3, "it stands after the end of the run"),
        ([START, FINISHED], b'{"torn', 3, "it stands after the end of the run"),
        ([START], b"[]\n", 2, "it is not an event"),
        ([START], b"[" * 99999 + b"\n", 2, "it is not an event"),
    ],
)
def test_what_is_wrong_with_which_line(
    tmp_path: Path, events: list[dict[str, Any]], rest: bytes, broken_at: int, why: str
) -> None:
    reading = reading_of(tmp_path, chained(*events) + rest)
    assert (reading.broken_at, reading.why) == (broken_at, why)
    assert reading.problem == f"line {broken_at} is damaged ({why})"
    assert len(reading.entries) == len(reading.sha256s) == broken_at - 1
    assert not reading.end_kept


@pytest.mark.parametrize(
    ("first", "broken_at", "key", "why"),
    [
        (b'{"event": "coffee_made", "key": "k"}\n', 1, "k", "it does not begin with the start of a run"),
        (b'{"event": "run_started", "format": 2, "key": 7}\n', None, None, "its format is 2, and this version of"),
        (b'{"event": "planned", "format": 2}\n', 1, None, "it does not begin with the start of a run"),
        (b"nonsense\n", 1, None, "it does not begin with the start of a run"),
    ],
)
def test_a_file_that_is_not_a_journal_of_this_version(
    tmp_path: Path, first: bytes, broken_at: int | None, key: str | None, why: str
) -> None:
    reading = reading_of(tmp_path, first)
    assert (reading.broken_at, reading.key, reading.entries) == (broken_at, key, ())
    assert reading.why == reading.problem
    assert reading.why.startswith(why)


THREE = chained(START, PLANNED, PLANNED)
SHA = [hashlib.sha256(line).hexdigest() for line in THREE.splitlines()]


@pytest.mark.parametrize(
    ("lines", "sha256", "finished", "broken_at", "why"),
    [
        (3, SHA[2], False, None, ""),
        (2, SHA[1], False, None, ""),
        (0, "0" * 64, False, None, ""),
        (4, SHA[2], False, 4, "it is missing: the journal had 4 lines"),
        (3, SHA[1], False, 3, "its SHA-256 is not the one in journal.head"),
        (2, SHA[2], False, 2, "its SHA-256 is not the one in journal.head"),
        (2, SHA[1], True, 3, "it stands after the end of the run"),
        (3, SHA[2], True, None, ""),
    ],
)
def test_the_head_vouches_for_the_lines_up_to_its_own(
    tmp_path: Path, lines: int, sha256: str, finished: bool, broken_at: int | None, why: str
) -> None:
    reading = reading_of(tmp_path, THREE, lines=lines, sha256=sha256, finished=finished)
    assert (reading.broken_at, reading.why) == (broken_at, why)
    assert len(reading.entries) == (3 if broken_at is None else min(broken_at - 1, 3))
    assert reading.end_kept is (lines == 3 and not why)


@pytest.mark.parametrize("text", ["", "nonsense", "[]", '{"lines": 3}', "[" * 9999])
def test_a_head_that_cannot_be_read_vouches_for_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / HEAD).write_text(text)
    reading = reading_of(tmp_path, THREE)
    assert reading.why.startswith("journal.head beside it is damaged")
    assert reading.problem == reading.why
    assert len(reading.entries) == 3


def test_a_whole_last_line_without_its_newline_counts_and_gets_it(tmp_path: Path) -> None:
    reading = reading_of(tmp_path, THREE[:-1])
    assert (len(reading.entries), reading.problem, reading.rest) == (3, "", b"")
    Journal(tmp_path / "journal.jsonl").close()
    assert (tmp_path / "journal.jsonl").read_bytes() == THREE
    torn = reading_of(tmp_path, THREE[:-3])
    assert (len(torn.entries), torn.rest) == (2, THREE[:-3].splitlines()[2])


def test_only_an_event_that_may_be_lost_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    assert not journal.begun
    write_event(journal, "run_started")
    assert journal.begun
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    for kind, count in (("planned", 1), ("move_progress", 1), ("experiment_progress", 1), ("move_submitting", 2)):
        write_event(journal, kind)
        assert len(synced) == count, kind
    journal.close()


def test_a_journal_that_nothing_was_written_to_has_no_head(tmp_path: Path) -> None:
    Journal(tmp_path / "journal.jsonl").close()
    assert not (tmp_path / HEAD).exists()
    assert (tmp_path / "journal.jsonl").read_bytes() == b""


def test_an_entry_has_the_time_of_both_clocks(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    before, mono = datetime.now(UTC), time.monotonic()
    write_event(journal, "run_started")
    journal.close()
    (row,) = journal_rows(journal.path)
    assert row["at"].endswith("Z")
    assert 0 <= (datetime.fromisoformat(row["at"]) - before).total_seconds() + 0.001 < 5
    assert 0 <= row["mono"] - mono + 0.000001 < 5
