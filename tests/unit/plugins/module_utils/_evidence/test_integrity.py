# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was changed after a run is named; evidence is signed once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.integrity import (
    Signer,
    failure_of,
    is_signed,
)

from tests.builders.journals import INTACT

CHAIN = (
    "The journal was changed: line 4 is wrong (it is not an event). "
    "The evidence does not prove anything from that line on."
)
SAMPLES = "The samples were changed: their SHA-256 is not the one in the journal. The evidence does not prove anything."
BROKEN = {"broken_at": 4, "why": "it is not an event"}


@pytest.mark.parametrize(
    ("change", "sentences"),
    [
        ({}, None),
        ({"samples_as_sealed": None}, None),
        (BROKEN, CHAIN),
        ({"samples_as_sealed": False}, SAMPLES),
        ({**BROKEN, "samples_as_sealed": False}, f"{CHAIN} {SAMPLES}"),
    ],
)
def test_the_failure_names_everything_that_was_changed(change: dict[str, object], sentences: str | None) -> None:
    failure = failure_of("r1", {**INTACT, **change})
    assert failure == ("" if sentences is None else f"Run r1: {sentences} Find out who changed the files.")


class Keygen:
    """Signs like ``ssh-keygen``, or fails."""

    def __init__(self, code: int = 0) -> None:
        self.code = code
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        self.commands.append(command)
        if self.code == 0:
            Path(f"{command[-1]}.sig").write_text("signature")
        return self.code, "", "Load key:\n  no such file\n"


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    path = tmp_path / "evidence.json"
    path.write_text("{}")
    return path


def test_evidence_is_signed_until_it_changes(evidence: Path) -> None:
    keygen = Keygen()
    assert not is_signed(evidence)
    Signer("id_key", "/usr/bin/ssh-keygen", keygen).sign(evidence)
    assert keygen.commands == [
        ["/usr/bin/ssh-keygen", "-Y", "sign", "-f", "id_key", "-n", "liveml.vsphere", str(evidence)]
    ]
    signature = evidence.with_name("evidence.json.sig")
    assert signature.stat().st_mode & 0o777 == 0o600
    assert is_signed(evidence)
    os.utime(evidence, ns=(0, signature.stat().st_mtime_ns + 1))
    assert not is_signed(evidence)


@pytest.mark.parametrize(
    ("program", "words"),
    [(None, "needs the program ssh-keygen"), ("/usr/bin/ssh-keygen", "cannot be signed: Load key: no such file")],
)
def test_evidence_that_cannot_be_signed_has_no_signature(evidence: Path, program: str | None, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as raised:
        Signer("id_key", program, Keygen(code=1)).sign(evidence)
    assert raised.value.option == "signing_key"
    assert not is_signed(evidence)
