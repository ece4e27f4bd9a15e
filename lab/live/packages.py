# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Debian's packages, downloaded with an apt configuration of the lab's own and unpacked into a folder.

Nothing is installed, and no root is needed: apt's lists and archives are below the lab's cache. The sources are those of
this machine, so its proxies and mirrors are used.
"""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError, say

OS_RELEASE = Path("/etc/os-release")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
INSTALLED = Path("/var/lib/dpkg/status")
TOOLS = {"apt-get": "apt", "apt-cache": "apt", "dpkg-deb": "dpkg", "mke2fs": "e2fsprogs"}
MAX_APT_SECONDS = 600
MAX_SAID_LINES = 8


def tool(name: str) -> str:
    """Path of a tool; ``mke2fs`` is often in a folder that only root searches.

    Raises:
        LabError: the machine does not have it.
    """
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None:
        raise LabError(f"a real VM needs {name} of Debian's package {TOOLS[name]}, which this machine does not have")
    return path


def run(command: Sequence[str | Path], folder: Path | None = None) -> str:
    """stdout of a command.

    Raises:
        LabError: it failed or took more than 10 minutes; with the end of its output.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=MAX_APT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError(f"`{Path(words[0]).name}` failed, and a real VM needs it: {error}") from error
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-MAX_SAID_LINES:])
        raise LabError(f"`{Path(words[0]).name} {words[-1]}` failed, and a real VM needs it:\n{said}")
    return done.stdout


def codename() -> str:
    """``bookworm``: the release of this system."""
    found = (
        re.search(r"^VERSION_CODENAME=(\S+)", OS_RELEASE.read_text(), re.MULTILINE) if OS_RELEASE.is_file() else None
    )
    if found is None:
        raise LabError(f"{OS_RELEASE} names no release: packages for a real VM can only be unpacked on a Debian system")
    return found[1].strip('"')


def source_lines(targets: str, release: str, backports: bool) -> list[str]:
    """Lines of a sources.list from apt's list of its own index targets, with the backports of ``release`` if asked for.

    >>> source_lines("u://debian/|bookworm|main", "bookworm", True)
    ['deb u://debian/ bookworm main', 'deb u://debian/ bookworm-backports main']
    """
    signed = f"[signed-by={KEYRING}] " if KEYRING.is_file() else ""
    lines = []
    for uri, suite, component in sorted(
        {tuple(line.split("|")[:3]) for line in targets.split() if line.count("|") >= 2}
    ):
        if component == "main":
            lines.append(f"deb {signed}{uri} {suite} main")
            if backports and suite == release:
                lines.append(f"deb {signed}{uri} {suite}-backports main")
    return list(dict.fromkeys(lines))


@dataclass(frozen=True)
class Archive:
    """An apt of its own below ``folder``."""

    folder: Path

    def options(self, status: Path) -> list[str]:
        """Options of every call: the lab's own lists and caches; ``status`` names the packages that count as present."""
        own = {
            "Dir::State::Lists": self.folder / "lists",
            "Dir::Cache": self.folder / "cache",
            "Dir::Etc::SourceList": self.folder / "sources.list",
            "Dir::Etc::SourceParts": "-",
            "Dir::State::status": status,
            "Debug::NoLocking": "1",
            "APT::Sandbox::User": getpass.getuser(),
        }
        return ["-q", *(word for key, value in own.items() for word in ("-o", f"{key}={value}"))]

    @property
    def nothing(self) -> Path:
        """A dpkg status without a package: then apt resolves a complete system."""
        return self.folder / "nothing"

    def open(self, *, backports: bool = False) -> None:
        """Fetch the lists of the machine's own sources."""
        for name in ("lists/partial", "cache/archives/partial"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.nothing.touch()
        wanted = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
        targets = run([tool("apt-get"), "indextargets", "--format", wanted, "Created-By: Packages"])
        lines = source_lines(targets, codename(), backports)
        if not lines:
            raise LabError("apt has no package sources here, and a real VM needs Debian's packages; add them to apt")
        (self.folder / "sources.list").write_text("".join(f"{line}\n" for line in lines))
        run([tool("apt-get"), *self.options(self.nothing), "update"])

    def versions(self, name: str) -> list[str]:
        """The versions of a package that can be downloaded, the newest first."""
        rows = run([tool("apt-cache"), *self.options(self.nothing), "madison", name]).splitlines()
        return [row.split("|")[1].strip() for row in rows if row.count("|") >= 2]

    def dependency(self, name: str, pattern: str) -> str:
        """The first package that ``name`` depends on and that matches, such as the kernel behind a name without version."""
        rows = run([tool("apt-cache"), *self.options(self.nothing), "depends", name])
        found = re.search(rf"^ *(?:Pre)?Depends: ({pattern})$", rows, re.MULTILINE)
        if found is None:
            raise LabError(f"Debian's package {name} is needed for a real VM, and apt does not know it here")
        return found[1]

    def unpack(self, names: Iterable[str], target: Path, *, suite: str = "", missing_only: bool = False) -> None:
        """Download packages with what they depend on, and unpack all of it into ``target``.

        With ``missing_only`` what this machine has installed is not downloaded.
        """
        status = INSTALLED if missing_only else self.nothing
        archives = self.folder / "cache" / "archives"
        for old in archives.glob("*.deb"):
            old.unlink()
        chosen = ["-t", suite] if suite else []
        settings = [*self.options(status), "-y", "--no-install-recommends", "--download-only", *chosen]
        run([tool("apt-get"), *settings, "install", *names])
        extract(archives, target)

    def unpack_alone(self, name: str, target: Path) -> None:
        """Download one package without what it depends on, and unpack it into ``target``."""
        archives = self.folder / "alone"
        shutil.rmtree(archives, ignore_errors=True)
        archives.mkdir()
        run([tool("apt-get"), *self.options(self.nothing), "download", name], archives)
        extract(archives, target)


def extract(archives: Path, target: Path) -> None:
    """Unpack every package of a folder into ``target``, and remove the packages."""
    target.mkdir(parents=True, exist_ok=True)
    packages = sorted(archives.glob("*.deb"))
    say(f"unpacking {len(packages)} packages of Debian")
    for package in packages:
        run([tool("dpkg-deb"), "-x", package, target])
        package.unlink()
