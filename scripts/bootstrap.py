# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make `.venv` ready for a group of requirements: ``python3 scripts/bootstrap.py demo|test|frameworks``.

Standard library only, any Python >= 3.11. Repeated runs reuse everything; a changed lock file is
installed again. Package settings of the user (index, certificates) are those of pip and uv.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
LOCKS = ROOT / "requirements"
COLLECTION = VENV / "collections" / "ansible_collections" / "liveml" / "vsphere"
OLDEST = (3, 11)
NEWEST = (3, 14)
# A tracking server of 2023 has an environment of its own, with the newest Python that its packages were built for.
OLD_MLFLOW = VENV / "mlflow-2.2"
OLD_MLFLOW_PYTHON = (3, 11)
BUILD = """
from contextlib import suppress
from lab.errors import LabError
from lab.paths import cache_dir
from lab.toolchain import simulator_binary
with suppress(LabError):
    simulator_binary(cache_dir(), cache_dir())
"""
# What the collection consists of; the rest of the checkout only builds, tests or shows it.
PARTS = ("galaxy.yml", "meta", "plugins", "roles", "playbooks", "extensions", "docs", "changelogs", "README.md")


def main() -> None:
    """Prepare the environment, or end with one sentence that says what is missing."""
    group = sys.argv[1] if len(sys.argv) == 2 else ""
    if group not in ("demo", "test", "frameworks"):
        sys.exit("usage: python3 scripts/bootstrap.py demo|test|frameworks")
    if sys.version_info < OLDEST:
        sys.exit("Python 3.11 or newer is needed; call make with PYTHON=/path/to/python3.")
    if not (BIN / "python").exists():
        create_environment()
    install("uv")
    if go() is None:
        install("go")
    building = simulator()
    install_all(group)
    link_collection()
    if building:
        building.wait()


def install_all(group: str) -> None:
    """The packages and programs of a group."""
    install("test" if group == "frameworks" else group)
    if group == "frameworks":
        install(group)
    if group != "demo":
        unpack("awx", "ansible_collections/awx/awx/")
    if java() is None:
        install("java")
    if group == "test":
        browser()
    if group == "frameworks":
        metrics_server()
        old_tracking_server()


def create_environment() -> None:
    """A virtual environment with the newest Python of this machine that really runs."""
    python = max(candidates(), key=lambda found: found[0])[1]
    say(f"creating {VENV.name} with {python}")
    run([python, "-m", "venv", str(VENV)])


def candidates() -> list[tuple[tuple[int, int], str]]:
    """(version, path) of every usable Python; a version manager's shim may be dead, so each is asked."""
    names = [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    paths = [path for name in names if (path := shutil.which(name))]
    roots = (os.environ.get("PYENV_ROOT", ""), str(Path.home() / ".pyenv"))
    for root in filter(None, roots):
        paths += [str(path) for path in Path(root).glob("versions/3.*/bin/python3")]
    found = [(sys.version_info[:2], sys.executable)]
    for path in paths:
        version = python_version(path)
        if version is not None and OLDEST <= version <= NEWEST:
            found.append((version, path))
    return found


def python_version(path: str) -> tuple[int, int] | None:
    """Major and minor version, ``None`` when it does not run or cannot make environments."""
    code = "import ensurepip, ssl, sys, venv; print(*sys.version_info[:2])"
    try:
        answer = subprocess.run([path, "-c", code], capture_output=True, text=True, timeout=20, check=True)
        major, minor = answer.stdout.split()
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return int(major), int(minor)


def install(group: str, into: Path = VENV) -> None:
    """Install one lock file, hashes required, unless exactly this one is installed already."""
    lock = LOCKS / f"{group}.txt"
    stamp = into / f".installed-{group}"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return
    say(f"installing {lock.relative_to(ROOT)}")
    command = [str(BIN / "python"), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(lock)]
    if group != "uv":
        command = [str(BIN / "uv"), "pip", "install", "--quiet", "--python", str(into / "bin" / "python")]
        command += ["--require-hashes", "-r", str(lock)]
    run(command)
    stamp.write_text(digest)


def unpack(group: str, part: str) -> None:
    """Put one folder of a lock file's only package among the collections; the rest of the package is not installed."""
    lock, stamp = LOCKS / f"{group}.txt", VENV / f".unpacked-{group}"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return
    say(f"unpacking {part.rstrip('/')} of {lock.relative_to(ROOT)}")
    with tempfile.TemporaryDirectory() as folder:
        options = ["--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "--dest", folder]
        run([str(BIN / "python"), "-m", "pip", "download", *options, "-r", str(lock)])
        (wheel,) = Path(folder).glob("*.whl")
        shutil.rmtree(VENV / "collections" / part, ignore_errors=True)
        with zipfile.ZipFile(wheel) as archive:
            wanted = [name for name in archive.namelist() if name.startswith(part)]
            archive.extractall(VENV / "collections", wanted)
    stamp.write_text(digest)


def java() -> str | None:
    """A Java that H2O-3 accepts (8 to 17)."""
    homes = [os.environ.get("JAVA_HOME", ""), *map(str, Path("/usr/lib/jvm").glob("*"))]
    paths = [shutil.which("java"), *(f"{home}/bin/java" for home in homes if home)]
    for path in filter(None, paths):
        version = tool_version([path, "-version"], r'version "(?:1\.)?(\d+)')
        if version is not None and 8 <= version[0] <= 17:
            return path
    return None


def go() -> str | None:
    """A Go that the simulated vCenter is built with (1.25 or newer)."""
    path = shutil.which("go")
    version = tool_version([path, "version"], r"go(\d+)\.(\d+)") if path else None
    return path if version is not None and version >= (1, 25) else None


def simulator() -> subprocess.Popen[bytes] | None:
    """Begin to build the lab's vCenter: while packages are downloaded, the processors have nothing else to do.

    The lab builds what is missing or too old, and says why it cannot.
    """
    if (VENV / "lab" / "simulator").exists():
        return None
    return subprocess.Popen([str(BIN / "python"), "-c", BUILD], cwd=ROOT)


def browser() -> None:
    """Chromium for the tests in a browser, from Debian's packages where that is possible; they skip without it."""
    tried = VENV / ".browser-tried"
    if chromium() is None and not tried.exists():
        if hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
            say("installing chromium by apt-get")
            apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"]
            quiet = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
            for command in ([*apt, "update"], [*apt, "install", "-y", "--no-install-recommends", "chromium"]):
                subprocess.run(command, env=quiet, stdout=subprocess.DEVNULL, check=False)
        tried.touch()
    if chromium() is None:
        say("there is no Chromium, so the tests in a browser are skipped; on Debian: apt-get install chromium")


def chromium() -> str | None:
    """A Chromium of this machine."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def metrics_server() -> None:
    """Prometheus, unpacked from Debian's package where that is possible: installed it would start with the machine."""
    tried = VENV / ".prometheus-tried"
    if prometheus() is None and not tried.exists() and shutil.which("apt-get") and shutil.which("dpkg"):
        say("unpacking prometheus of apt-get")
        with tempfile.TemporaryDirectory(dir=VENV) as folder:
            apt = ["apt-get", "-qq", "-o", f"APT::Sandbox::User={getpass.getuser()}"]
            subprocess.run([*apt, "download", "prometheus"], cwd=folder, check=False)
            for package in Path(folder).glob("*.deb"):
                subprocess.run(["dpkg", "-x", str(package), str(VENV / "debian")], check=False)
        tried.touch()
    if prometheus() is None:
        say("there is no Prometheus, so it is not watched; on Debian: apt-get install prometheus")


def prometheus() -> str | None:
    """A Prometheus of this machine, or the unpacked one."""
    return shutil.which("prometheus") or shutil.which("prometheus", path=str(VENV / "debian" / "usr" / "bin"))


def old_tracking_server() -> None:
    """MLflow 2.2, whose server lacks what later ones have."""
    python = next((path for version, path in candidates() if version == OLD_MLFLOW_PYTHON), None)
    if python is None:
        say("there is no Python 3.11, so MLflow 2.2 is not watched; on Debian 12: apt-get install python3.11-venv")
        return
    if not (OLD_MLFLOW / "bin" / "python").exists():
        run([str(BIN / "uv"), "venv", "--quiet", "--python", python, str(OLD_MLFLOW)])
    install("mlflow-2.2", OLD_MLFLOW)


def tool_version(command: list[str], pattern: str) -> tuple[int, ...] | None:
    """The numbers that ``pattern`` finds in what the command prints."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except OSError:
        return None
    match = re.search(pattern, answer.stdout + answer.stderr)
    return tuple(int(number) for number in match.groups()) if match else None


def link_collection() -> None:
    """Make the checkout known as ``liveml.vsphere``: one link a part, so that `.venv` is not in itself."""
    COLLECTION.mkdir(parents=True, exist_ok=True)
    for link in COLLECTION.iterdir():
        if link.is_symlink() and link.name not in PARTS:
            link.unlink()
    for part in PARTS:
        link = COLLECTION / part
        if (ROOT / part).exists() and not link.exists():
            link.unlink(missing_ok=True)
            link.symlink_to(ROOT / part)


def run(command: list[str]) -> None:
    """Run a command with pip's settings handed to uv; end the program when it fails."""
    outcome = subprocess.run(command, cwd=ROOT, env=package_environment(), check=False)
    if outcome.returncode != 0:
        sys.exit(f"bootstrap: `{' '.join(command)}` failed with exit code {outcome.returncode}.")


def package_environment() -> dict[str, str]:
    """The environment; uv does not read pip's settings, so they are translated."""
    environment = dict(os.environ, UV_PYTHON_DOWNLOADS="never", PYTHONDONTWRITEBYTECODE="1")
    for theirs, ours in (
        ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"),
        ("PIP_EXTRA_INDEX_URL", "UV_INDEX"),
        ("PIP_FIND_LINKS", "UV_FIND_LINKS"),
        ("PIP_CERT", "SSL_CERT_FILE"),
    ):
        if theirs in environment:
            environment.setdefault(ours, environment[theirs])
    return environment


def say(text: str) -> None:
    """One line of progress; installing takes minutes the first time."""
    print(f"bootstrap: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
