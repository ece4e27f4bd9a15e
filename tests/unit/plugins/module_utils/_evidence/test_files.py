# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of a run's evidence: only those that change are written, and only their owner can read them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence import files

from tests.builders.journals import made_evidence

NAMES = [files.JSON, files.MARKDOWN, files.HTML]


def test_files_are_written_once(tmp_path: Path) -> None:
    evidence = made_evidence(1)
    changes = files.write_files(tmp_path, evidence, check_mode=False)
    assert [change.path.name for change in changes] == NAMES
    assert {change.before for change in changes} == {""}
    assert all(change.path.read_text() == change.after for change in changes)
    assert json.loads((tmp_path / files.JSON).read_text()) == evidence
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
    assert files.write_files(tmp_path, evidence, check_mode=False) == []


def test_only_the_file_that_differs_is_replaced(tmp_path: Path) -> None:
    evidence = made_evidence(1)
    files.write_files(tmp_path, evidence, check_mode=False)
    (tmp_path / files.MARKDOWN).write_text("old")
    [change] = files.write_files(tmp_path, evidence, check_mode=False)
    assert (change.path.name, change.before) == (files.MARKDOWN, "old")


def test_check_mode_writes_nothing(tmp_path: Path) -> None:
    changes = files.write_files(tmp_path, made_evidence(1), check_mode=True)
    assert [change.path.name for change in changes] == NAMES
    assert list(tmp_path.iterdir()) == []


def test_the_json_is_written_even_if_the_plot_library_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_evidence: object) -> str:
        raise ImportError("No module named 'matplotlib'")

    monkeypatch.setattr(files, "render_html", missing)
    with pytest.raises(ImportError):
        files.write_files(tmp_path, made_evidence(1), check_mode=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == [files.JSON, files.MARKDOWN]
