# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evidence is published once to a directory, an S3 server and a Git repository. An unusable destination fails."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer

from tests.labs import ROOT, Lab, play
from tests.measuring import PATIENCE

pytestmark = pytest.mark.long

BIN = Path(sys.executable).parent
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-west-2"}
SECRETS = {"VMWARE_PASSWORD": "a-canary", "H2O_PASSWORD": "a-canary"}
FILES = {"evidence.json": "{}\n", "journal.jsonl": "{}\n"}
RUN = "20260101T120000Z-evacuate-esx-05-ab12"


@pytest.fixture
def bucket() -> Iterator[tuple[str, Any]]:
    server = ThreadedMotoServer(port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        address = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
        client = boto3.client(
            "s3",
            endpoint_url=address,
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            region_name="us-west-2",
        )
        client.create_bucket(Bucket="evidence", CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
        yield address, client
    finally:
        server.stop()


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "state" / RUN
    folder.mkdir(parents=True)
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


def publish(tmp_path: Path, folder: Path, *places: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    play_of_places = {
        "hosts": "localhost",
        "gather_facts": False,
        "tasks": [
            {
                "ansible.builtin.include_role": {"name": "liveml.vsphere.publish_evidence"},
                "vars": {
                    "publish_evidence_folder": str(folder),
                    "publish_evidence_artifact": {"version": 1},
                    "publish_evidence_to": place,
                },
            }
            for place in places
        ],
    }
    playbook = tmp_path / "publish.yml"
    playbook.write_text(yaml.safe_dump([play_of_places]))
    environment = {
        **os.environ,
        **KEYS,
        **SECRETS,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_SHOW_CUSTOM_STATS": "1",
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",  # each value on one line
    }
    command = [str(BIN / "ansible-playbook"), str(playbook)]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout


def test_evidence_is_copied_once_to_every_kind_of_place(
    tmp_path: Path, run_folder: Path, bucket: tuple[str, Any]
) -> None:
    address, client = bucket
    bare, clone = str(tmp_path / "evidence.git"), str(tmp_path / "clone")
    git("init", "--quiet", "--bare", "--initial-branch=main", bare)
    git("clone", "--quiet", bare, clone)
    author = ("-c", "user.name=ops", "-c", "user.email=ops@example.com")
    git("-C", clone, *author, "commit", "--quiet", "--allow-empty", "--message", "Begin")
    git("-C", clone, "push", "--quiet", "origin", "HEAD:main")
    hook = Path(bare, "hooks", "pre-receive")
    hook.write_text(f"#!/bin/sh\nenv > {tmp_path}/environment\n")
    hook.chmod(0o700)
    places: tuple[dict[str, Any], ...] = (
        {"kind": "directory", "path": str(tmp_path / "share")},
        {"kind": "s3", "bucket": "evidence", "prefix": "vsphere/", "endpoint_url": address, "region": "us-west-2"},
        {"kind": "git", "repository": bare, "path": "runs"},
    )
    out = publish(tmp_path, run_folder, *places)
    assert out.returncode == 0, out.stdout + out.stderr
    copied = tmp_path / "share" / RUN
    assert {path.name: path.read_text() for path in copied.iterdir()} == FILES
    assert {path.stat().st_mode & 0o077 for path in (copied, *copied.iterdir())} == {0}
    objects = {item["Key"]: item["Size"] for item in client.list_objects_v2(Bucket="evidence")["Contents"]}
    assert objects == {f"vsphere/{RUN}/{name}": len(text) for name, text in FILES.items()}
    listing = git("-C", bare, "ls-tree", "-r", "--name-only", "main").split()
    assert listing == sorted(f"runs/{RUN}/{name}" for name in FILES)
    assert git("-C", bare, "log", "-1", "--format=%an %s", "main").strip() == f"liveml.vsphere Evidence of {RUN}"
    assert f'"liveml_vsphere_evidence": "{bare} runs/{RUN}/evidence.json"' in out.stdout

    seen = dict(line.partition("=")[::2] for line in (tmp_path / "environment").read_text().splitlines())
    assert [seen[name] for name in SECRETS] == ["", ""], "programs of others get no passwords"

    Path(clone, "away").symlink_to(tmp_path / "precious")
    Path(tmp_path, "precious").mkdir()
    git("-C", clone, "pull", "--quiet", "origin", "main")
    git("-C", clone, "add", "away")
    git("-C", clone, *author, "commit", "--quiet", "--message", "A link")
    git("-C", clone, "push", "--quiet", "origin", "HEAD:main")
    away = {"kind": "git", "repository": bare, "path": "away"}
    again = publish(tmp_path, run_folder, *places, away)
    assert "away leads out of the repository." in again.stdout + again.stderr
    assert list(Path(tmp_path, "precious").iterdir()) == []
    assert "changed=0" in again.stdout
    assert git("-C", bare, "rev-list", "--count", "main").strip() == "3"


WITH_SECRET = (
    "https://me:secret-token@git.example.com/e.git",
    "https://secret-token@git.example.com/e.git",
    "HTTPS://secret-token@git.example.com:8443/e.git",
    "https://me:secret-token/x@git.example.com/e.git",
    "https://me:secret-token?x@git.example.com/e.git",
    "https://git.example.com/e.git?private_token=secret-token",
    "git+https://secret-token@git.example.com/e.git",
    "ssh://git:secret-token@git.example.com/e.git",
)
WITHOUT_SECRET = (
    "git@git.example.com:ops/evidence.git",
    "ssh://git@git.example.com:22/ops/evidence.git",
    "https://git.example.com:8443/ops/evidence.git",
    "/srv/evidence.git",
    "file:///srv/evidence.git",
    "https://git.example.com/@ops/evidence.git",
)

REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"kind": "directory"}, "The evidence cannot be copied to directory: path missing."),
    ({"kind": "s3", "prefix": "x"}, "bucket missing"),
    *(
        ({"kind": "git", "repository": address}, "repository contains a user, a password")
        for address in WITH_SECRET[1:3]
    ),
    (
        {"kind": "s3", "bucket": "b", "endpoint_url": "https://secret-token@s3.example.com"},
        "endpoint_url contains a user",
    ),
    ({"kind": "ftp"}, "value of kind must be one of: none, directory, s3, git"),
)


@pytest.mark.thorough
def test_a_place_that_cannot_work_is_refused_before_anything_moves(tmp_path: Path, fast_lab: Lab) -> None:
    for place, error in REFUSED:
        variables = {"evacuate_host_name": "esx-05", "liveml_vsphere_evidence_upload": place}
        out = play("evacuate_host", fast_lab, tmp_path, **variables)
        assert out.returncode != 0
        assert error in " ".join((out.stdout + out.stderr).split())
        assert "secret-token" not in out.stdout + out.stderr
    assert fast_lab.get("state")["moves"] == []
    assert "secret-token" not in json.dumps([p.read_text() for p in tmp_path.rglob("*") if p.is_file()])


def test_an_address_without_a_secret_is_accepted() -> None:
    role = yaml.safe_load((ROOT / "roles" / "publish_evidence" / "tasks" / "check.yml").read_text())
    secret = re.compile(role[0]["vars"]["__publish_evidence_secret"])
    assert [address for address in WITHOUT_SECRET if secret.search(address)] == []
    assert [address for address in WITH_SECRET if not secret.search(address)] == []
