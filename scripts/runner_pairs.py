# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the artefact by ansible-runner as AWX does, in pairs of releases: a part of ``make matrix``.

AWX runs jobs on its nodes with the ansible-runner of the node, and in container groups with that of the image. So each pair of an
ansible-core and an ansible-runner evacuates and restores a host of a lab; the two are in environments of their own. Both roles get
every empty answer that a survey can send, as AWX writes it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.artefact import BIN, ROOT, CommandFailed, install, run
from scripts.bootstrap import VENV, package_environment
from tests.labs import Lab, running_lab

CORES = ("2.16", "2.18", "2.21")
# What AWX 24.6.1 has on its nodes, and the newest. Releases before 2.4.2 also write from the processes of tasks.
RUNNERS = ("2.4.0", "2.4.3")
HOST = "esx-05"
HUNG_SECONDS = 300  # a job takes about 10
_EMPTY = "".join(
    f"{{role}}_{option}: !unsafe ''\n"
    for option in ("plan_id", "slots", "priority", "approved", "experiments", "signing_key")
)


@dataclass(frozen=True, slots=True)
class RunnerRow:
    """What was run: the exact releases, and by job what went wrong, empty when nothing did."""

    core: str
    runner: str
    python: str
    jobs: dict[str, str]

    @property
    def passed(self) -> bool:
        """Whether nothing went wrong."""
        return not any(self.jobs.values())


# AWX's localhost.
LOCALHOST = "localhost ansible_connection=local ansible_python_interpreter='{{ ansible_playbook_python }}'\n"
HEADING = "ansible-runner\n--------------\n"
JOBS = ("answers", "evacuate", "restore")


def environment_of(name: str, interpreter: str, *wanted: str | Path) -> Path:
    """The folder of the commands of an environment with these packages. Raises CommandFailed."""
    packages = package_environment()
    folder = VENV / "matrix" / name
    if not (folder / "bin" / "python").exists():
        run([BIN / "uv", "venv", "--quiet", "--python", interpreter, folder], ROOT, **packages)
    install_command = [BIN / "uv", "pip", "install", "--quiet", "--python", folder / "bin" / "python"]
    run([*install_command, *wanted], ROOT, **packages)
    return folder / "bin"


def release_of(bin_dir: Path, package: str) -> str:
    """The installed release. Raises CommandFailed."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return run([bin_dir / "python", "-c", code], ROOT, bin_dir=bin_dir).strip()


class Controller:
    """One pair at work on a lab."""

    def __init__(self, core: Path, runner: Path, folder: Path, lab: Lab) -> None:
        self._core, self._runner, self._folder, self._lab = core, runner, folder, lab

    def answers(self) -> str:
        """Every answer of every survey is a value or one refusal."""
        script = [self._core / "python", ROOT / "tests/awx/answers.py", ROOT / "awx/config/surveys.yml"]
        found = json.loads(run(script, self._folder, bin_dir=self._core, PYTHONPATH=str(self._folder)))
        return "" if found["outcomes"] and not found["wrong"] else f"wrong answers: {found['wrong'][:3]}"

    def evacuate(self) -> str:
        """The host is empty, and each move is an event of the job."""
        leaving = len(self._lab.on(HOST))
        wrong = self._job("evacuate_host")
        shown = len(re.findall(r'"stdout": "  \d\d:\d\d:\d\d  [^"]*\bmoved to ', self._events("evacuate_host")))
        if not wrong and shown != leaving:
            wrong = f"{shown} of {leaving} moves were shown"
        return wrong or ("" if not self._lab.on(HOST) else f"{HOST} is not empty")

    def restore(self) -> str:
        """The host has its VMs again."""
        return self._job("restore_host") or ("" if self._lab.on(HOST) else f"{HOST} is empty")

    def _job(self, role: str) -> str:
        folder = self._folder / role
        for part in ("project", "env", "inventory"):
            (folder / part).mkdir(parents=True)
        (folder / "inventory" / "hosts").write_text(LOCALHOST, encoding="utf-8")
        (folder / "project" / f"{role}.yml").write_text(f"- import_playbook: liveml.vsphere.{role}\n", encoding="utf-8")
        variables = f"{role}_name: !unsafe '{HOST}'\n{_EMPTY.format(role=role)}"
        (folder / "env" / "extravars").write_text(variables, encoding="utf-8")
        # The runner ends a job that hangs, with all its processes: they are in a session of their own.
        (folder / "env" / "settings").write_text(json.dumps({"job_timeout": HUNG_SECONDS}), encoding="utf-8")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PYTHONPATH"))}
        own = {"PATH": f"{self._core}{os.pathsep}{kept['PATH']}", "HOME": str(self._folder), "ANSIBLE_NOCOLOR": "1"}
        own["ANSIBLE_COLLECTIONS_PATH"] = str(self._folder)
        command = [self._runner / "ansible-runner", "run", folder, "--playbook", f"{role}.yml", "--ident", "1"]
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(
                [str(part) for part in command],
                env=kept | self._lab.env | own, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            try:
                code = process.wait(timeout=2 * HUNG_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return f"hung for {2 * HUNG_SECONDS} s"
        text = (folder / "output").read_text(encoding="utf-8", errors="replace")
        return "" if code == 0 else f"exit code {code}:\n{text[-3000:]}"

    def _events(self, role: str) -> str:
        events = sorted((self._folder / role / "artifacts" / "1" / "job_events").glob("*.json"))
        return "\n".join(path.read_text(encoding="utf-8") for path in events)


def row_of(core: str, runner: str, interpreter: str, artefact: Path) -> RunnerRow:
    """Run the jobs of a pair. Raises CommandFailed without its environments; AssertionError, SubprocessError without a lab."""
    python = re.search(
        r"\d+\.\d+$", run([interpreter, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], ROOT).strip()
    )
    assert python is not None
    core_bin = environment_of(
        f"{core}-{python[0]}", interpreter, f"ansible-core~={core}.0", "-r", ROOT / "requirements.txt"
    )
    runner_bin = environment_of(f"runner-{runner}-{python[0]}", interpreter, f"ansible-runner=={runner}")
    with (
        tempfile.TemporaryDirectory(prefix="liveml-runner-") as name,
        running_lab("--no-guests", "--time-scale", "0.02") as lab,
    ):
        folder = Path(name)
        install(artefact, folder, bin_dir=core_bin)
        at_work = Controller(core_bin, runner_bin, folder, lab)
        jobs = {job: outcome(at_work, job) for job in JOBS}
    return RunnerRow(release_of(core_bin, "ansible-core"), release_of(runner_bin, "ansible-runner"), python[0], jobs)


def outcome(at_work: Controller, job: str) -> str:
    """What went wrong, empty when nothing did."""
    try:
        return str(getattr(at_work, job)())
    except (CommandFailed, OSError, ValueError) as error:
        return str(error) or type(error).__name__


def attempt(core: str, runner: str, interpreter: str, artefact: Path) -> RunnerRow:
    """The row of a pair. If its environments or lab cannot be made, all jobs failed; the other pairs still run."""
    try:
        return row_of(core, runner, interpreter, artefact)
    except (CommandFailed, subprocess.SubprocessError, AssertionError) as error:
        return RunnerRow(core, runner, "", dict.fromkeys(JOBS, f"{type(error).__name__}: {error}"))


def section_of(rows: Iterable[RunnerRow]) -> str:
    """The section of the documentation's page."""
    lines = [["ansible-core", "ansible-runner", "Python", *JOBS]]
    lines += [
        [row.core, row.runner, row.python, *("failed" if row.jobs[job] else "ok" for job in JOBS)] for row in rows
    ]
    table = "\n".join(
        f"   {'*' if column == 0 else ' '} - {cell}" for line in lines for column, cell in enumerate(line)
    )
    return f"""\
{HEADING}
Each row is a test of the built collection by ``ansible-runner run``, which starts the jobs of AWX and of Automation Platform, in the
release of the row. *answers*: each question of each survey takes every answer that AWX may write, or refuses it in one sentence. *evacuate*
and *restore*: jobs against the lab that really move VMs, with empty answers of the survey, and each move is an event of the job.

.. list-table::
   :header-rows: 1

{table}
"""


def run_pairs(interpreters: Mapping[str, str], artefact: Path) -> list[RunnerRow]:
    """Every pair, with a line for each. ``interpreters`` has the Python of each core."""
    rows = []
    for core, interpreter in interpreters.items():
        for runner in RUNNERS:
            rows.append(attempt(core, runner, interpreter, artefact))
            show(rows[-1])
    return rows


def show(row: RunnerRow) -> None:
    """One line a pair on standard output, what went wrong on standard error."""
    words = [f"{job} {'FAILED' if wrong else 'ok'}" for job, wrong in row.jobs.items()]
    print(f"ansible-core {row.core:8} ansible-runner {row.runner:8} {', '.join(words)}", flush=True)
    for job, wrong in row.jobs.items():
        if wrong:
            print(f"--- {job}\n{wrong}", file=sys.stderr, flush=True)
