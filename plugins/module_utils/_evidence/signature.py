# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The signature of evidence, made and checked by ``ssh-keygen -Y``."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from .._core.errors import InvalidInput

NAMESPACE = "liveml.vsphere"
FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/=]+")
# pylint of ansible-test does not recognise that these are types.
Run = Callable[[list[str], bytes | None], tuple[int, str, str]]  # pylint: disable=unsupported-binary-operation


class Fit(StrEnum):
    """Whether a signature belongs to its file."""

    NONE = "none"
    GOOD = "good"
    BAD = "bad"
    NOT_CHECKED = "not checked"  # without ssh-keygen


@dataclass(frozen=True, slots=True)
class Signatures:
    """Signs and checks files. ``run`` runs a command with bytes as input and returns its exit code, output and error output."""

    program: str | None
    run: Run

    def fit(self, path: Path) -> Fit:
        """Whether the signature of a file belongs to what is in it now. Any key may have made it."""
        return self._checked(path)[0]

    def is_by(self, path: Path, key: str) -> bool:
        """Whether a good signature is from a key, given by its private or public file. A key that shows nothing may be it."""
        fit, signer = self._checked(path)
        _code, output, _errors = self.run([self.program or "", "-l", "-f", key], None) if self.program else (1, "", "")
        own = FINGERPRINT.search(output)
        return fit is Fit.NOT_CHECKED or (fit is Fit.GOOD and (own is None or own[0] == signer))

    def _checked(self, path: Path) -> tuple[Fit, str]:
        signature = signature_of(path)
        if not signature.exists() or not path.exists():
            return Fit.NONE, ""
        if self.program is None:
            return Fit.NOT_CHECKED, ""
        command = [self.program, "-Y", "check-novalidate", "-n", NAMESPACE, "-s", str(signature)]
        code, output, errors = self.run(command, path.read_bytes())
        found = FINGERPRINT.search(output + errors)
        return (Fit.GOOD if code == 0 else Fit.BAD), found[0] if found else ""

    def sign(self, path: Path, key: str) -> None:
        """Write the signature of a file. Another good signature is kept beside it. Raises InvalidInput."""
        if self.program is None:
            raise InvalidInput(
                "signing_key needs the program ssh-keygen, which was not found",
                hint="Install the OpenSSH client",
                option="signing_key",
            )
        signature = signature_of(path)
        fit, signer = self._checked(path)
        if fit is Fit.GOOD:
            signature.replace(signature.with_name(f"{signature.name}.{re.sub('[^A-Za-z0-9]', '', signer)[6:18]}"))
        signature.unlink(missing_ok=True)
        code, _output, errors = self.run([self.program, "-Y", "sign", "-f", key, "-n", NAMESPACE, str(path)], None)
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


def set_aside(path: Path, lines: int) -> None:
    """Keep a signed file and its signature under names with the number of lines of the journal that it was made from."""
    again = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    names = (f"{path.stem}-{lines}{mark}{path.suffix}" for mark in again)
    kept = next(other for name in names if not (other := path.with_name(name)).exists())
    signature_of(path).replace(signature_of(kept))
    path.replace(kept)
