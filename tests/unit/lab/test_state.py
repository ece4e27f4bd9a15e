# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state folder: private, locked by one command at a time, and never a folder of somebody else."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.state import (
    MARKER,
    Marker,
    is_lab_folder,
    locked_folder,
    read_marker,
    remove,
    tail,
    write_marker,
    write_private,
)

LAB = Marker(1, 2, {"guests": True})


def test_marker_round_trip(tmp_path: Path) -> None:
    assert read_marker(tmp_path) is None
    write_marker(tmp_path, LAB)
    assert read_marker(tmp_path) == LAB
    assert (tmp_path / MARKER).stat().st_mode & 0o777 == 0o600


def test_a_broken_marker_is_one_error(tmp_path: Path) -> None:
    (tmp_path / MARKER).write_text("{", encoding="utf-8")
    with pytest.raises(LabError, match=r"lab.json cannot be read"):
        read_marker(tmp_path)


def test_only_empty_folders_and_labs_are_ours(tmp_path: Path) -> None:
    assert is_lab_folder(tmp_path)
    (tmp_path / "thesis.tex").write_text("x", encoding="utf-8")
    assert not is_lab_folder(tmp_path)
    write_marker(tmp_path, LAB)
    assert is_lab_folder(tmp_path)


def test_remove_does_not_follow_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_text("x", encoding="utf-8")
    state = tmp_path / "state"
    (state / "guests").mkdir(parents=True)
    (state / "link").symlink_to(outside)
    remove(state)
    assert not state.exists()
    assert (outside / "f").exists()


def test_one_command_at_a_time(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with locked_folder(state, 1, create=True) as exists:
        assert exists
        assert state.stat().st_mode & 0o777 == 0o700
        with (
            pytest.raises(LabError, match="another lab command has been using"),
            locked_folder(state, 0.1, create=False),
        ):
            pass
    with locked_folder(state, 0.1, create=False) as exists:
        assert exists


def test_who_waited_while_the_folder_was_removed_gets_a_new_one(tmp_path: Path) -> None:
    state = tmp_path / "state"
    got: list[bool] = []

    def second() -> None:
        with locked_folder(state, 5, create=True):
            got.append(state.is_dir())

    with locked_folder(state, 1, create=True):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        remove(state)
    thread.join(5)
    assert got == [True]


def test_nothing_to_hold(tmp_path: Path) -> None:
    with locked_folder(tmp_path / "none", 1, create=False) as exists:
        assert not exists
    assert not (tmp_path / "none").exists()


def test_a_file_is_not_a_state_folder(tmp_path: Path) -> None:
    write_private(tmp_path / "file", "x")
    for create in (True, False):
        with pytest.raises(LabError, match="is not a folder"), locked_folder(tmp_path / "file", 1, create=create):
            pass


def test_tail_is_capped(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"first\n" + b"x\n" * 50_000 + b"last \xff")
    lines = tail(log, 3).splitlines()
    assert lines == ["x", "x", "last �"]
    assert tail(tmp_path / "none") == ""
