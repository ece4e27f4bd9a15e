# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evidence of damaged runs: a failure that names the place, and nothing good is lost."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._run.journal import HEAD, Journal
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import Purpose
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import new_run, state_path

from tests.builders.journals import write_event, write_run
from tests.labs import RunModule

SIGNED = ("evidence.json", "evidence.json.sig")
Report = Callable[..., dict[str, Any]]


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return write_run(new_run(state_path(str(tmp_path / "state")), Purpose.EVACUATE, "esx-05")).parent


@pytest.fixture
def report(run_module: RunModule, run_folder: Path) -> Report:
    return lambda **options: run_module("evidence_report", state_dir=str(run_folder.parents[1]), **options)


@pytest.fixture
def key(tmp_path: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    return str(tmp_path / "key")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def edit_last_line(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"result": "success"', b'"result": "failed"'))


def cut_two_lines(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))


def cut_in_a_line(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def destroy_first_line(path: Path) -> None:
    path.write_bytes(b"#" + path.read_bytes()[1:])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def delete(path: Path) -> None:
    path.unlink()


def nul_block(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0" * 512)


def edit_middle(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"event": "planned"', b'"event": "Planned"'))


HARMS = {
    edit_last_line: "line 7",
    cut_two_lines: "line 6",
    cut_in_a_line: "line 7",
    destroy_first_line: "does not begin with the start of a run",
    empty: "line 1",
    delete: "line 1",
    nul_block: "line 8",
    edit_middle: "line 3",
}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("witness", ["journal.head", "evidence.json"])
def test_damage_fails_with_its_place_and_the_signed_document_stays(
    harm: Callable[[Path], None], witness: str, report: Report, run_folder: Path, key: str
) -> None:
    """Also with a signing key, and if only the document knows the end of the journal."""
    assert "msg" not in report(signing_key=key)
    if witness != HEAD:
        (run_folder / HEAD).unlink()
    harm(run_folder / "journal.jsonl")
    before = contents(run_folder)
    for options in ({"purpose": "evacuate"}, {"host": "esx-05"}, {"run_id": run_folder.name}, {"signing_key": key}):
        told = report(**options)
        assert told["failed"]
        assert str(run_folder) in told["msg"]
        assert HARMS[harm] in told["msg"]
    after = contents(run_folder)
    assert {name: after[name] for name in SIGNED} == {name: before[name] for name in SIGNED}
    assert after.get("journal.jsonl") == before.get("journal.jsonl")


@pytest.mark.parametrize("harm", [destroy_first_line, empty, delete])
def test_an_older_run_is_not_reported_instead_and_other_hosts_are(
    harm: Callable[[Path], None], report: Report, run_folder: Path
) -> None:
    state = run_folder.parents[1]
    for host, moid in (("esx-05", "host-5"), ("esx-07", "host-7")):
        folder = new_run(state, Purpose.EVACUATE, host)
        older = folder.with_name(f"20200101T000000Z-evacuate-{host}-0000")
        folder.rename(older)
        journal = Journal(older / "journal.jsonl")
        write_event(journal, "run_started", key=f"u.{moid}", host={"moid": moid, "name": host})
        write_event(journal, "run_finished")
        journal.close()
    harm(run_folder / "journal.jsonl")
    for options in ({}, {"purpose": "evacuate"}, {"host": "esx-05"}, {"host": "host-5"}):
        assert str(run_folder) in report(**options)["msg"]
    for options in ({"host": "esx-07"}, {"host": "host-7"}):
        assert report(**options)["artifact"]["host"] == "esx-07"
    assert report(purpose="restore")["msg"] == "no run yet"


def test_a_run_that_was_resumed_keeps_its_earlier_signed_document(
    run_module: RunModule, tmp_path: Path, key: str
) -> None:
    folder = write_run(new_run(state_path(str(tmp_path / "state")), Purpose.EVACUATE, "esx-05"), upto=5).parent
    options = {"state_dir": str(tmp_path / "state"), "signing_key": key}
    assert run_module("evidence_report", **options)["artifact"]["result"] == "unfinished"
    before = contents(folder)
    journal = Journal(folder / "journal.jsonl")
    write_event(journal, "run_resumed")
    write_event(journal, "run_finished")
    journal.close()
    told = run_module("evidence_report", **options)
    assert (told["artifact"]["result"], told["changed"]) == ("success", True)
    after = contents(folder)
    lines = json.loads(before["evidence.json"])["journal"]["events"]
    assert after[f"evidence-{lines}.json"] == before["evidence.json"]
    assert after[f"evidence-{lines}.json.sig"] == before["evidence.json.sig"]
    assert run_module("evidence_report", **options)["changed"] is False


def test_a_signature_that_does_not_fit_fails_unless_it_is_made_anew(report: Report, run_folder: Path, key: str) -> None:
    report()
    (run_folder / "evidence.json.sig").write_text("garbage, newer than the document")
    assert "is not the signature of this file" in report()["msg"]
    assert report(signing_key=key)["changed"]
    assert report(signing_key=key)["changed"] is False
    assert "msg" not in report()


def test_an_edited_document_is_made_anew_and_its_signature_fits_again(
    report: Report, run_folder: Path, key: str
) -> None:
    report(signing_key=key)
    good = (run_folder / "evidence.json").read_text()
    (run_folder / "evidence.json").write_text(good.replace('"result": "success"', '"result": "failed"'))
    told = report()
    assert told["changed"]
    assert "msg" not in told
    assert (run_folder / "evidence.json").read_text() == good


def test_evidence_that_cannot_be_written_says_so_and_leaves_nothing(
    report: Report, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    told = report()
    assert "evidence.json cannot be written: No space left on device. Set state_dir" in told["msg"]
    assert sorted(contents(run_folder)) == ["journal.head", "journal.jsonl"]


def test_the_index_of_all_runs_follows_the_report_and_cannot_hinder_it(report: Report, run_folder: Path) -> None:
    index = run_folder.parents[1] / "index.html"
    (index / "a folder is in its place").mkdir(parents=True)
    written = report()
    assert (written["changed"], written["index_path"]) == (True, "")
    assert "The index of all runs could not be written" in str(written["warnings"])
    (index / "a folder is in its place").rmdir()
    index.rmdir()
    written = report()
    assert (written["changed"], written["index_path"]) == (False, str(index)), "the evidence is as it was"
    assert f'href="runs/{run_folder.name}/report.html"' in index.read_text()
