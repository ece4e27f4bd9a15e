# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Owners hear about their experiments by mail, Slack and webhook, and only about their own."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.messages import Post, content
from tests.doubles.trainings import EXAMPLE, TRAINING
from tests.labs import ROOT, Lab, play, running_lab
from tests.measuring import until

pytestmark = pytest.mark.long

SLACK = "T0/B0/x0"
SMALL = ROOT / "lab" / "topologies" / "small.yml"


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    post = Post(tmp_path)
    yield post
    post.close()


@contextlib.contextmanager
def trainings(folder: Path, owners: dict[str, str]) -> Iterator[tuple[dict[str, Any], list[subprocess.Popen[bytes]]]]:
    """Trainings that name their owner, which vCenter does not; yields the option ``experiments``, and the trainings."""
    running = []
    try:
        for vm, owner in owners.items():
            log = folder / vm / "net.jsonl"
            log.parent.mkdir(parents=True)
            running.append(subprocess.Popen([sys.executable, "-c", TRAINING, str(log), owner]))
            while not log.exists():
                time.sleep(0.02)
        program = [sys.executable, str(EXAMPLE), str(folder)]
        source = {"provider": "exec", "command": program, "signal": "changes"}
        yield {"h2o3": False, "baseline": 1.0, "sources": [source]}, running
    finally:
        for process in running:
            process.kill()
            process.wait()


@contextlib.contextmanager
def stalled(lab: Lab, running: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """The trainings stand still from the begin of the next move on. A pause that ends could be that of a checkpoint."""
    known = len(lab.get("state")["moves"])

    def stand_still() -> None:
        until(lambda: len(lab.get("state")["moves"]) > known)
        for process in running:
            process.send_signal(signal.SIGSTOP)

    thread = threading.Thread(target=stand_still, daemon=True)
    thread.start()
    yield
    thread.join()
    for process in running:
        process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running_lab("--no-guests", "--drs", "full", "--time-scale", "0.3", "--topology", str(SMALL)) as lab:
        yield lab


def test_owners_are_told_before_at_harm_and_after(
    lab: Lab, post: Post, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{post.web}")
    owners = ["vision", "fraud"]
    people = {"vision": "vision@example.com", "fraud": "fraud@example.com", "nobody": "nobody@example.com"}
    mail = {"kind": "mail", "host": "127.0.0.1", "port": post.smtp, "from": "vsphere@example.com"}
    hooks = [
        {**mail, "to": people},
        {**mail, "to": ["ops@example.com"], "when": ["after"]},
        {"kind": "slack", "token": SLACK, "when": ["stall"], "validate_certs": False},
        {"kind": "webhook", "url": f"http://127.0.0.1:{post.web}/all", "headers": {"Authorization": "Bearer b-secret"}},
        {"kind": "webhook", "url": f"http://127.0.0.1:{post.web}/theirs", "owners": ["vis*"]},
        {"kind": "webhook", "url": "http://127.0.0.1:1/closed", "when": ["after"]},
        {"kind": "teams", "url": f"http://127.0.0.1:{post.web}/teams", "when": ["after"]},
        {
            "kind": "webhook",
            "url": f"http://127.0.0.1:{post.web}/api/now/table/incident",
            "when": ["stall"],
            "format": "servicenow",
            "username": "snow",
            "password": "c-secret",
            "fields": {"urgency": "2"},
        },
    ]
    running_vms = ["ML-cpu-vm-01", "ML-cpu-vm-02"]
    with trainings(tmp_path / "logs", dict(zip(running_vms, owners, strict=True))) as (experiments, running):
        out = play(
            "evacuate_host", lab, tmp_path, evacuate_host_name="esx-01", evacuate_host_notify=hooks,
            liveml_vsphere_metrics_path=str(tmp_path / "liveml.prom"),
            evacuate_host_experiments=experiments,
        )  # fmt: skip
        assert out.returncode == 0, out.stdout
        assert "NOT SENT: webhook (after)" in out.stdout, "a failed message is reported, and the play continues"
        theirs = [people[owner] for owner in owners]
        assert [to for to, _message in post.mail] == [*theirs, *theirs, "ops@example.com"]
        before, after, whole = (post.mail[number][1] for number in (0, 2, 4))
        assert before["Subject"] == "Evacuation of esx-01: experiments will move"
        assert "net in ML-cpu-vm-01 (owner vision): " in content(before)
        assert "ML-cpu-vm-02" not in content(before) + content(after), "others are none of their business"
        assert after["Subject"] == "Evacuation of esx-01: done"
        assert "1 experiment was uninterrupted. The training continued, and no progress was lost." in content(after)
        assert "net in ML-cpu-vm-01 (owner vision): Longest stall" in content(after)
        assert re.search(r"watched for \d[^,]* s, .*progress ", content(after)), (
            "the evidence knows for how long it was watched"
        )
        assert content(after).rstrip().endswith("The part of the report about your experiments is attached.")
        (part,) = after.iter_attachments()
        assert part.get_filename() == "report-of-vision.html"
        assert b"ML-cpu-vm-01" in part.get_content()
        assert b"ML-cpu-vm-02" not in part.get_content(), "the whole report shows the experiments of all owners"
        assert str(tmp_path) not in content(after), "a path on the controller is of no use to them"
        assert "Evacuation of esx-01 is done. 3 of 3 VMs moved" in content(whole)
        assert "esx-01 is in maintenance mode." in content(whole)
        assert "After the repair, to end the maintenance mode and bring the VMs home: ansible-playbook" in content(
            whole
        )
        assert content(whole).rstrip().endswith("The report is attached.")
        (report,) = whole.iter_attachments()
        assert report.get_filename() == "report.html"
        assert report.get_content() == next(tmp_path.glob("runs/*/report.html")).read_bytes()
        told = {(path, body["event"]): body for path, _headers, body in post.http if "event" in body}
        (card,) = [body for path, _headers, body in post.http if path == "/teams"]
        assert "Evacuation of esx-01: done" in str(card["attachments"][0]["content"]["body"][0])
        assert set(told) == {(path, event) for path in ("/all", "/theirs") for event in ("before", "after")}
        assert sorted(e["owner"] for e in told["/all", "after"]["experiments"]) == ["fraud", "vision"]
        assert [e["verdict"] for e in told["/theirs", "after"]["experiments"]] == ["uninterrupted"]
        assert post.http[0][1]["Authorization"] == "Bearer b-secret"

        assert (
            'liveml_vsphere_last_run_success{purpose="evacuate",host="esx-01"' in (tmp_path / "liveml.prom").read_text()
        )

        post.mail.clear()
        post.http.clear()
        with stalled(lab, running):
            out = play(
                "restore_host", lab, tmp_path, restore_host_name="esx-01", restore_host_notify=hooks,
                restore_host_experiments=experiments, restore_host_stall_budget=1.0, restore_host_on_failure="continue",
                restore_host_settle_timeout=5,
            )  # fmt: skip
        assert out.returncode != 0, "each stalled for longer than the budget"
        slack = [body["text"] for path, _headers, body in post.http if path == f"/services/{SLACK}"]
        assert sorted(vm for text in slack for vm in running_vms if f"in {vm} (owner " in text) == running_vms, (
            "once each"
        )
        assert all(
            "Restore of esx-01 is still under way." in text and "What to do: Do not start it" in text for text in slack
        )
        snow = [(headers, body) for path, headers, body in post.http if path == "/api/now/table/incident"]
        assert {body["urgency"] for _headers, body in snow} == {"2"}
        assert {headers["Authorization"] for headers, _body in snow} == {
            f"Basic {b64encode(b'snow:c-secret').decode()}"
        }
        assert len({body["correlation_id"] for _headers, body in snow}) == 1
        assert {body["event"] for path, _headers, body in post.http if path == "/all"} == {"before", "stall", "after"}
        assert "Restore of esx-01 failed." in post.texts()["fraud@example.com"]
        assert "b-secret" not in out.stdout
        assert "c-secret" not in out.stdout
        assert SLACK not in out.stdout


@pytest.mark.thorough
def test_verdicts_alone_stop_nothing_if_the_operator_says_so(lab: Lab, tmp_path: Path) -> None:
    with trainings(tmp_path / "logs", {"ML-cpu-vm-01": "vision", "ML-cpu-vm-02": "fraud"}) as (experiments, running):
        with stalled(lab, running):
            out = play(
                "evacuate_host", lab, tmp_path, evacuate_host_name="esx-01", evacuate_host_experiments=experiments,
                evacuate_host_stall_budget=1.0, evacuate_host_on_verdict="continue", evacuate_host_slots=1,
                evacuate_host_settle_timeout=5,
            )  # fmt: skip
        assert lab.on("esx-01") == set(), "every VM left the host"
        assert lab.get("state")["hosts"]["esx-01"]["maintenance"] == "in"
        assert out.returncode != 0
        assert "Evacuation of esx-01 is done, but " in out.stdout
        assert "ML-cpu-vm-01" in out.stdout[out.stdout.rindex("is done, but ") :]
    out = play("restore_host", lab, tmp_path, restore_host_name="esx-01", restore_host_experiments={"enabled": False})
    assert out.returncode == 0, out.stdout


def test_hooks_that_make_no_sense_are_refused_before_anything_moves(lab: Lab, tmp_path: Path) -> None:
    moves = lab.get("state")["moves"]
    out = play(
        "migrate_vm", lab, tmp_path, migrate_vm_name="ML-cpu-vm-05", migrate_vm_notify=[{"kind": "pigeon"}],
        migrate_vm_experiments={"enabled": False},
    )  # fmt: skip
    assert out.returncode != 0
    assert "value of kind must be one of: mail, slack, teams, webhook, got: pigeon" in out.stdout
    assert lab.get("state")["moves"] == moves
