# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signatures by a real ssh-keygen: they fit or they do not, and a good one is never lost."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.signature import (
    Fit,
    Signatures,
    set_aside,
    signature_of,
)


def run(command: list[str], data: bytes | None) -> tuple[int, str, str]:
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("keys")
    made = [str(folder / name) for name in ("one", "two")]
    for path in made:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return made


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    path = tmp_path / "evidence.json"
    path.write_text("{}")
    return path


SIGNATURES = Signatures(shutil.which("ssh-keygen"), run)


def test_a_signature_fits_until_the_document_changes(evidence: Path, keys: list[str]) -> None:
    assert SIGNATURES.fit(evidence) is Fit.NONE
    SIGNATURES.sign(evidence, keys[0])
    assert SIGNATURES.fit(evidence) is Fit.GOOD
    assert SIGNATURES.is_by(evidence, keys[0])
    assert SIGNATURES.is_by(evidence, f"{keys[0]}.pub")
    assert not SIGNATURES.is_by(evidence, keys[1])
    assert signature_of(evidence).stat().st_mode & 0o777 == 0o600
    evidence.write_text("{ }")
    assert SIGNATURES.fit(evidence) is Fit.BAD
    assert not SIGNATURES.is_by(evidence, keys[0])


@pytest.mark.parametrize(
    "garbage", ["", "garbage", "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n"]
)
def test_garbage_is_no_signature_whatever_its_age(evidence: Path, keys: list[str], garbage: str) -> None:
    signature_of(evidence).write_text(garbage)
    assert SIGNATURES.fit(evidence) is Fit.BAD
    SIGNATURES.sign(evidence, keys[0])
    assert SIGNATURES.fit(evidence) is Fit.GOOD
    assert sorted(path.name for path in evidence.parent.iterdir()) == ["evidence.json", "evidence.json.sig"]


def test_the_good_signature_of_another_key_stays_beside_the_new_one(evidence: Path, keys: list[str]) -> None:
    for key in keys:
        SIGNATURES.sign(evidence, key)
    assert SIGNATURES.is_by(evidence, keys[1])
    (other,) = [path for path in evidence.parent.iterdir() if path.name.startswith("evidence.json.sig.")]
    other.replace(signature_of(evidence))
    assert SIGNATURES.is_by(evidence, keys[0])


def test_what_is_set_aside_is_never_replaced(evidence: Path, keys: list[str]) -> None:
    for _again in range(2):
        evidence.write_text("{}")
        SIGNATURES.sign(evidence, keys[0])
        set_aside(evidence, 7)
    names = {"evidence-7.json", "evidence-7.json.sig", "evidence-7-2.json", "evidence-7-2.json.sig"}
    assert {path.name for path in evidence.parent.iterdir()} == names
    assert SIGNATURES.fit(evidence.with_name("evidence-7.json")) is Fit.GOOD


def test_what_cannot_sign_is_named(evidence: Path) -> None:
    with pytest.raises(InvalidInput, match="needs the program ssh-keygen") as raised:
        Signatures(None, run).sign(evidence, "id_key")
    assert raised.value.option == "signing_key"
    with pytest.raises(InvalidInput, match=r"cannot be signed: .*No such file"):
        SIGNATURES.sign(evidence, "/nowhere/id_key")
    assert SIGNATURES.fit(evidence) is Fit.NONE
    signature_of(evidence).write_text("unknown")
    assert Signatures(None, run).fit(evidence) is Fit.NOT_CHECKED
