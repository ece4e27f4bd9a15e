# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a run's journal and samples are as the run wrote them, and the signature of its evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .._core.errors import InvalidInput
from .._experiments.samples import digest
from .._run.events import Entry, RunFinished, SamplesSealed
from .._run.journal import verify_chain
from .model import Integrity

NAMESPACE = "liveml.vsphere"  # of the signature


def integrity_of(folder: Path, entries: Sequence[Entry]) -> Integrity:
    """Verify the journal's chain and the samples' SHA-256."""
    chain = verify_chain(folder / "journal.jsonl")
    seal = next((e.event.sha256 for e in reversed(entries) if isinstance(e.event, SamplesSealed)), None)
    finished = bool(entries) and isinstance(entries[-1].event, RunFinished)
    sha256 = digest(folder / "samples.jsonl")
    return {
        "head": chain.head,
        "events": chain.events,
        "broken_at": chain.broken_at,
        "why": chain.why,
        "samples_sha256": sha256,
        "samples_as_sealed": sha256 == seal if seal is not None and finished else None,
    }


def damage(integrity: Integrity) -> list[str]:
    """Sentences about everything that was changed after the run."""
    found = []
    if integrity["broken_at"] is not None:
        found.append(
            f"The journal was changed: line {integrity['broken_at']} is wrong ({integrity['why']}). "
            "The evidence does not prove anything from that line on."
        )
    if integrity["samples_as_sealed"] is False:
        found.append(
            "The samples were changed: their SHA-256 is not the one in the journal. The evidence does not prove anything."
        )
    return found


def failure_of(run_id: str, integrity: Integrity) -> str:
    """Why the evidence of a run is not valid, and what to do; empty if it is valid."""
    found = damage(integrity)
    return f"Run {run_id}: {' '.join(found)} Find out who changed the files." if found else ""


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs with ``ssh-keygen -Y sign``. ``run`` runs a command and returns its exit code, output and error output."""

    key: str
    program: str | None
    run: Callable[[list[str]], tuple[int, str, str]]

    def sign(self, path: Path) -> None:
        """Write the signature of a file. Raises InvalidInput."""
        if self.program is None:
            raise InvalidInput(
                "signing_key needs the program ssh-keygen, which was not found",
                hint="Install the OpenSSH client",
                option="signing_key",
            )
        signature = signature_of(path)
        signature.unlink(missing_ok=True)
        code, _output, errors = self.run([self.program, "-Y", "sign", "-f", self.key, "-n", NAMESPACE, str(path)])
        if code != 0:
            raise InvalidInput(
                f"{path} cannot be signed: {' '.join(errors.split())[:200]}",
                hint="Set signing_key to an SSH key without a passphrase, or to a key that the SSH agent holds",
                option="signing_key",
            )
        signature.chmod(0o600)


def signature_of(path: Path) -> Path:
    """The path of a file's signature."""
    return path.with_name(f"{path.name}.sig")


def is_signed(path: Path) -> bool:
    """Whether a file has a signature that is not older than the file."""
    signature = signature_of(path)
    return signature.exists() and path.exists() and signature.stat().st_mtime_ns >= path.stat().st_mtime_ns
