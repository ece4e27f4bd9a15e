# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the artefact under every supported ansible-core: ``python -m scripts.matrix [CORE...]``.

Each pair of core and Python of this machine gets an environment with that core and what a user installs; there the artefact is installed, evacuates and restores a host of a lab, and passes ansible-test's sanity.
Then pairs of ansible-core and ansible-runner run jobs as AWX does (`runner_pairs.py`; ``python -m scripts.matrix runners`` runs only
these). A run of all pairs writes the tables of the documentation.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from scripts import runner_pairs
from scripts.artefact import ROOT, CommandFailed, build, install, run
from scripts.bootstrap import BIN, VENV, candidates, package_environment
from scripts.sanity import sanity
from tests.labs import Lab, running_lab

# https://docs.ansible.com/ansible/latest/reference_appendices/release_and_maintenance.html, Python of the controller,
# from the oldest one that the collection runs on.
SUPPORTED = {
    "2.16": ("3.11", "3.12"),
    "2.17": ("3.11", "3.12"),
    "2.18": ("3.11", "3.12", "3.13"),
    "2.19": ("3.11", "3.12", "3.13"),
    "2.20": ("3.12", "3.13", "3.14"),
    "2.21": ("3.12", "3.13", "3.14"),
}
PAGE = ROOT / "docs" / "docsite" / "rst" / "matrix.rst"
# The certified inventory plugins, from the package that the project's own environment has, and what they import.
VMWARE = next((VENV / "lib").glob("python3.*/site-packages"), VENV)
INVENTORY_NEEDS = ("requests",)
HOST = "esx-05"


@dataclass(frozen=True, slots=True)
class Pair:
    """An ansible-core, such as 2.16, and a Python of this machine, such as 3.11, that it supports."""

    core: str
    python: str
    interpreter: str

    @property
    def bin_dir(self) -> Path:
        """Where the pair's commands are."""
        return VENV / "matrix" / f"{self.core}-{self.python}" / "bin"


@dataclass(frozen=True, slots=True)
class Row:
    """What was run under a pair: the exact releases, and by check what went wrong, empty when nothing did."""

    core: str
    python: str
    pyvmomi: str
    checks: dict[str, str]

    @property
    def passed(self) -> bool:
        """Whether nothing went wrong."""
        return not any(self.checks.values())


def pairs(cores: Iterable[str] = SUPPORTED) -> list[Pair]:
    """Every supported pair that this machine has the Python for, oldest core first."""
    present = {f"{major}.{minor}": path for (major, minor), path in reversed(candidates())}
    return [Pair(core, python, present[python]) for core in cores for python in SUPPORTED[core] if python in present]


def prepare(pair: Pair) -> tuple[str, str, str]:
    """Install core and requirements; the releases of core, Python and pyVmomi. Raises CommandFailed."""
    environment = package_environment()
    if not (pair.bin_dir / "python").exists():
        run([BIN / "uv", "venv", "--quiet", "--python", pair.interpreter, pair.bin_dir.parent], ROOT, **environment)
    wanted = ["--upgrade", f"ansible-core~={pair.core}.0", "-r", ROOT / "requirements.txt", *INVENTORY_NEEDS]
    run([BIN / "uv", "pip", "install", "--quiet", "--python", pair.bin_dir / "python", *wanted], ROOT, **environment)
    code = (
        "import sys; from importlib.metadata import version as v;"
        "print(v('ansible-core'), '.'.join(map(str, sys.version_info[:3])), v('pyVmomi'))"
    )
    core, python, pyvmomi = run([pair.bin_dir / "python", "-c", code], ROOT, bin_dir=pair.bin_dir).split()
    return core, python, pyvmomi


class Trial:
    """The checks of one pair: an artefact installed in ``folder``, and a lab."""

    def __init__(self, pair: Pair, artefact: Path, folder: Path, lab: Lab) -> None:
        self._pair = pair
        self._artefact = artefact
        self._folder = folder
        self._lab = lab
        self._tree = install(artefact, folder, bin_dir=pair.bin_dir)
        self._home = lab.where()

    def documentation(self) -> None:
        """Every module's documentation is readable."""
        names = sorted(path.stem for path in (self._tree / "plugins" / "modules").glob("*.py"))
        full = [f"liveml.vsphere.{name}" for name in names]
        known = json.loads(self._run("ansible-doc", "--json", "--type", "module", *full))
        expect(set(known) == set(full), f"ansible-doc knows {sorted(known)}")

    def check(self) -> None:
        """Check mode with diff shows every move and makes none."""
        printed = self._play("evacuate_host", "--check", "--diff")
        expect(printed.count(f": {HOST} → ") >= 10, f"no moves are shown:\n{printed}")
        expect(self._lab.where() == self._home, "check mode moved a VM")

    def evacuate(self) -> None:
        """The host is empty and in maintenance mode, and the report is written."""
        printed = self._play("evacuate_host")
        expect("10 moved, 0 failed" in printed, printed)
        expect(self._lab.on(HOST) == set(), f"{HOST} is not empty")
        (report,) = re.findall(r"Report: (\S+?\.html)", printed)
        expect("<svg" in Path(report).read_text(encoding="utf-8"), f"{report} has no timeline")

    def restore(self) -> None:
        """Every VM is where it was."""
        printed = self._play("restore_host")
        expect("10 moved, 0 failed" in printed, printed)
        expect(self._lab.where() == self._home, "not every VM is home")

    def inventory(self) -> None:
        """The inventory of the certified plugins is grouped by host and fault domain."""
        path = f"{self._folder}:{VMWARE}"
        command = ("ansible-inventory", "--inventory", str(ROOT / "inventories" / "vcenter"), "--list")
        groups = json.loads(self._run(*command, ANSIBLE_COLLECTIONS_PATH=path))
        found = set(groups["host_esx_05"]["hosts"])
        expect(self._lab.on(HOST) <= found, f"{HOST} has {sorted(found)}")

    def sanity(self) -> None:
        """All that ansible-test checks without containers."""
        sanity(self._artefact, self._pair.python, bin_dir=self._pair.bin_dir)

    def _play(self, name: str, *options: str) -> str:
        variables = {f"{name}_name": HOST, "liveml_vsphere_state_dir": str(self._folder / "state")}
        return self._run("ansible-playbook", f"liveml.vsphere.{name}", "-e", json.dumps(variables), *options)

    def _run(self, program: str, *arguments: str, **environment: str) -> str:
        command = [self._pair.bin_dir / program, *arguments]
        return run(command, self._folder, bin_dir=self._pair.bin_dir, **self._lab.env, NO_COLOR="1", **environment)


def expect(condition: bool, otherwise: str) -> None:
    """Raises CommandFailed: a command succeeded but did not have its effect."""
    if not condition:
        raise CommandFailed(otherwise)


CHECKS: dict[str, Callable[[Trial], None]] = {
    "ansible-doc": Trial.documentation,
    "check mode": Trial.check,
    "evacuate": Trial.evacuate,
    "restore": Trial.restore,
    "inventory": Trial.inventory,
    "sanity": Trial.sanity,
}


def row_of(pair: Pair, artefact: Path, checks: Iterable[str] = CHECKS) -> Row:
    """Run the checks of a pair. Raises CommandFailed without its environment; AssertionError, SubprocessError without a lab."""
    core, python, pyvmomi = prepare(pair)
    with (
        tempfile.TemporaryDirectory(prefix="liveml-matrix-") as name,
        running_lab("--no-guests", "--time-scale", "0.02") as lab,
    ):
        trial = Trial(pair, artefact, Path(name), lab)
        return Row(core, python, pyvmomi, {check: outcome(CHECKS[check], trial) for check in checks})


def attempt(pair: Pair, artefact: Path) -> Row:
    """The row of a pair. If its environment or lab cannot be made, all checks failed; the other pairs still run."""
    try:
        return row_of(pair, artefact)
    except (CommandFailed, subprocess.SubprocessError, AssertionError) as error:
        return Row(pair.core, pair.python, "", dict.fromkeys(CHECKS, f"{type(error).__name__}: {error}"))


def outcome(check: Callable[[Trial], None], trial: Trial) -> str:
    """What went wrong, empty when nothing did."""
    try:
        check(trial)
    except (CommandFailed, ValueError) as error:
        return str(error) or type(error).__name__
    return ""


def page_of(rows: Iterable[Row]) -> str:
    """The page of the documentation."""
    head = ["ansible-core", "Python", "pyVmomi", *CHECKS]
    lines = [
        [row.core, row.python, row.pyvmomi, *("failed" if row.checks[c] else "ok" for c in CHECKS)] for row in rows
    ]
    table = "\n".join(
        f"   {'*' if column == 0 else ' '} - {cell}" for line in (head, *lines) for column, cell in enumerate(line)
    )
    return f"""\
.. Written by ``make matrix``.

.. _ansible_collections.liveml.vsphere.docsite.matrix:

Tested versions
===============

Each row is a test of the built collection in an environment of its own, with the Python packages of ``requirements.txt`` only (and
``requests``, which the certified inventory plugins import). The test reads the documentation of all modules. It runs ``evacuate_host``
with ``--check --diff``, then ``evacuate_host`` and ``restore_host`` against the lab. It lists the inventory of ``inventories/vcenter`` and
runs all tests of ``ansible-test sanity`` that need no containers. ``make matrix`` repeats this with every Python on the machine.

.. list-table::
   :header-rows: 1

{table}
"""


def write_page(rows: Iterable[Row], jobs: Iterable[runner_pairs.RunnerRow]) -> None:
    """Write the tables of what was run; a table whose pairs were not run stays."""
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    begin = old.find(runner_pairs.HEADING)
    first = page_of(rows) if rows else f"{old[:begin].rstrip()}\n" if begin >= 0 else old
    second = runner_pairs.section_of(jobs) if jobs else old[begin:] if begin >= 0 else ""
    PAGE.write_text("\n".join(filter(None, (first, second))), encoding="utf-8")


def main() -> None:
    """Run the pairs, print a line for each, write the page after a run of all."""
    parser = argparse.ArgumentParser(prog="python -m scripts.matrix", description=__doc__.splitlines()[0])
    parser.add_argument("core", nargs="*", help="only these, or runners (default: all)")
    chosen = parser.parse_args().core
    if unknown := set(chosen) - set(SUPPORTED) - {"runners"}:
        parser.error(f"unknown core {', '.join(sorted(unknown))}; supported are {', '.join(SUPPORTED)}")
    rows: list[Row] = []
    jobs: list[runner_pairs.RunnerRow] = []
    with tempfile.TemporaryDirectory(prefix="liveml-artefact-") as folder:
        artefact = build(Path(folder))
        for pair in pairs([core for core in chosen if core in SUPPORTED] or ([] if chosen else SUPPORTED)):
            rows.append(attempt(pair, artefact))
            show(rows[-1])
        if not chosen or "runners" in chosen:
            jobs = runner_pairs.run_pairs(
                {core: pairs([core])[0].interpreter for core in runner_pairs.CORES if pairs([core])}, artefact
            )
    if not chosen or chosen == ["runners"]:
        write_page(rows, jobs)
    if not rows and not jobs:
        sys.exit("matrix: no supported Python on this machine")
    if not all(row.passed for row in (*rows, *jobs)):
        sys.exit("matrix: not every check passed")


def show(row: Row) -> None:
    """One line a pair on standard output, what went wrong on standard error."""
    words = [f"{check} {'FAILED' if wrong else 'ok'}" for check, wrong in row.checks.items()]
    print(f"ansible-core {row.core:8} Python {row.python:8} {', '.join(words)}", flush=True)
    for check, wrong in row.checks.items():
        if wrong:
            print(f"--- {check}\n{wrong}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
