# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nobody else can have put a link, a pipe or a whole folder where runs are kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._core.files import replace_file
from ansible_collections.liveml.vsphere.plugins.module_utils._core.own_files import (
    check_own_folder,
    open_own,
    read_own,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.integrity import earlier_evidence
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.samples import SampleLog, read_samples
from ansible_collections.liveml.vsphere.plugins.module_utils._run.home_records import CLEARED, clear_homes
from ansible_collections.liveml.vsphere.plugins.module_utils._run.journal import Journal, read_journal
from ansible_collections.liveml.vsphere.plugins.module_utils._run.locks import between_runs, run_lock
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import run_folders, state_path, state_to_read
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.home_attribute import Home

IS_ROOT = os.geteuid() == 0


def lock(state: Path) -> None:
    with run_lock(state, "key", timeout=0.1):
        pass


def shared_lock(state: Path) -> None:
    with between_runs(state, "key", timeout=0.1, waiting=lambda _text: None):
        pass


def cleared(state: Path) -> None:
    clear_homes(state, "uuid", [Home("vm-1", "host-1", "esx-1", "host-2", "esx-2", "run", "now")])


@pytest.mark.parametrize(
    ("place", "use"),
    [
        ("locks/key.lock", lock),
        ("locks/key.lock", shared_lock),
        (CLEARED, cleared),
        ("runs/a/samples.jsonl", lambda state: SampleLog(state / "runs/a/samples.jsonl")),
        ("runs/a/samples.jsonl", lambda state: read_samples(state / "runs/a/samples.jsonl")),
        ("runs/a/journal.jsonl", lambda state: Journal(state / "runs/a/journal.jsonl")),
        ("runs/a/evidence.json", lambda state: earlier_evidence(state / "runs/a/evidence.json")),
    ],
)
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_link_or_a_pipe_is_not_followed(tmp_path: Path, place: str, use: Callable[[Path], object], kind: str) -> None:
    state = state_path(str(tmp_path / "state"))
    (state / "runs/a").mkdir()
    precious = tmp_path / "precious"
    precious.write_text("precious")
    if kind == "link":
        (state / place).symlink_to(precious)
    else:
        os.mkfifo(state / place)
    with pytest.raises(Exception, match="is a link or a device") as caught:
        use(state)
    assert type(caught.value).__name__ in ("InvalidInput", "JournalUnreadable")
    assert precious.read_text() == "precious"


def test_a_journal_that_is_a_link_stops_only_its_own_run(tmp_path: Path) -> None:
    state = state_path(str(tmp_path / "state"))
    (state / "runs/a").mkdir()
    (state / "runs/a/journal.jsonl").symlink_to("/etc/passwd")
    assert "is a link or a device" in read_journal(state / "runs/a/journal.jsonl").problem
    (state / "runs/b").symlink_to("/etc")
    assert [folder.name for folder in run_folders(state)] == ["a"]


def test_the_new_evidence_replaces_a_link_and_not_what_it_points_to(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "evidence.json.new").symlink_to(precious)
    replace_file(tmp_path / "evidence.json", b"evidence")
    assert (precious.read_text(), (tmp_path / "evidence.json").read_text()) == ("precious", "evidence")


@pytest.mark.parametrize("folder", ["", "runs", "locks"])
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o707])
def test_a_folder_that_everybody_can_write_is_refused(tmp_path: Path, folder: str, mode: int) -> None:
    state = state_path(str(tmp_path / "state"))
    (state / folder).chmod(mode)
    for use in (state_path, state_to_read):
        with pytest.raises(InvalidInput, match=r"everybody can write .*Set state_dir to a folder"):
            use(str(state))


@pytest.mark.skipif(not IS_ROOT, reason="only root can give a folder away")
@pytest.mark.parametrize("folder", ["", "runs", "locks"])
def test_a_folder_of_another_user_is_refused(tmp_path: Path, folder: str) -> None:
    state = state_path(str(tmp_path / "state"))
    os.chown(state / folder, 65534, 0)
    with pytest.raises(InvalidInput, match="belongs to the user with number 65534"):
        state_path(str(state))


@pytest.mark.skipif(not IS_ROOT, reason="only root can give a folder away")
@pytest.mark.parametrize(
    ("user", "group", "mode", "refused"),
    [
        (0, 0, 0o775, False),  # an image for an arbitrary user, who is in the group root
        (0, 0, 0o2770, False),
        (0, 4242, 0o770, True),  # a group of several people
        (0, 4242, 0o750, False),
        (65534, 0, 0o700, True),
    ],
)
def test_who_counts_as_another(tmp_path: Path, user: int, group: int, mode: int, refused: bool) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    os.chown(folder, user, group)
    folder.chmod(mode)
    if refused:
        with pytest.raises(InvalidInput):
            check_own_folder(folder, "state_dir")
    else:
        check_own_folder(folder, "state_dir")


def test_a_folder_in_tmp_is_used_but_not_in_one_where_everybody_can_rename_it(tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    (parent / "state").mkdir(parents=True)
    parent.chmod(0o1777)
    check_own_folder(parent / "state", "state_dir")
    parent.chmod(0o777)
    with pytest.raises(InvalidInput, match="everybody can write"):
        check_own_folder(parent / "state", "state_dir")


@pytest.mark.skipif(not IS_ROOT, reason="only root can make a link of somebody else")
def test_a_folder_behind_a_link_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    check_own_folder(tmp_path / "link", "state_dir")
    os.chown(tmp_path / "link", 65534, 65534, follow_symlinks=False)
    with pytest.raises(InvalidInput, match="65534"):
        check_own_folder(tmp_path / "link", "state_dir")


def test_a_missing_folder_is_nobodys(tmp_path: Path) -> None:
    check_own_folder(tmp_path / "missing", "state_dir")
    with pytest.raises(FileNotFoundError):
        read_own(tmp_path / "missing")
    os.close(open_own(tmp_path / "new", os.O_WRONLY | os.O_CREAT))
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
