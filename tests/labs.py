# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Labs and runners that the integration and end-to-end tests share."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic

from lab.control import Control
from lab.simulator_client import of_vcenter
from tests.measuring import PATIENCE

ROOT = Path(__file__).resolve().parent.parent
# pytest changes the environment of its process at each test: what is started in another thread must not read it then.
ENVIRONMENT = dict(os.environ)


class Lab(Control):
    """A running lab: its environment variables and its control endpoint, as one of its vCenters is reached."""

    def __init__(self, answer: dict[str, Any], vcenter: str | None = None) -> None:
        super().__init__(answer["control"], vcenter)
        self.answer = answer
        self.env: dict[str, str] = answer["env"]

    def other(self, name: str) -> Lab:
        """The same lab with another of its vCenters in the place of the first one."""
        return Lab(of_vcenter(self.answer, name), name)

    def where(self) -> dict[str, str]:
        """Host by VM name, as the lab's own account has it."""
        return {name: vm["host"] for name, vm in self.get("state")["vms"].items()}

    def on(self, host: str) -> set[str]:
        """Powered-on VMs of a host."""
        vms = self.get("state")["vms"].items()
        return {name for name, vm in vms if vm["host"] == host and vm["power"] == "poweredOn"}


@contextlib.contextmanager
def running_lab(*arguments: str) -> Iterator[Lab]:
    with tempfile.TemporaryDirectory(prefix="liveml-test-") as folder:
        state = f"{folder}/lab"
        command = [sys.executable, "-m", "lab"]
        try:
            up = subprocess.run(
                [*command, "up", "--state", state, *arguments],
                cwd=ROOT,
                env=ENVIRONMENT,
                capture_output=True,
                text=True,
                check=False,
            )
            assert up.returncode == 0, up.stderr
            yield Lab(json.loads(up.stdout))
        finally:
            panic = panic_of(Path(state))
            subprocess.run(
                [*command, "down", "--state", state], cwd=ROOT, env=ENVIRONMENT, check=True, capture_output=True
            )
            # Otherwise a broken simulator looks like a vCenter that does not answer.
            assert not panic, panic


def panic_of(state: Path) -> str:
    """What the simulator wrote about its first panic; "" if there was none."""
    file = state / "vcenter.log"
    log = file.read_text(errors="replace") if file.exists() else ""
    return log[found:][:3000] if (found := log.find("panic serving")) >= 0 else ""


@pytest.fixture
def fast_lab() -> Iterator[Lab]:
    """A fresh lab of the seed scenario without guests, 50 times faster than life."""
    with running_lab("--no-guests", "--time-scale", "0.02") as lab:
        yield lab


RunModule = Callable[..., dict[str, Any]]


@pytest.fixture
def run_module(monkeypatch: pytest.MonkeyPatch) -> RunModule:
    """Run a module's ``main()`` in this process, so that coverage sees it; return what it printed."""

    def run(name: str, lab: Lab | None = None, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
        for key, value in (lab.env if lab else {}).items():
            monkeypatch.setenv(key, value)
        arguments |= {"_ansible_check_mode": check, "_ansible_diff": True}
        payload = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", payload)
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        # A module returns its warnings; in a process that also imported the controller they would be shown instead.
        monkeypatch.setattr("ansible.module_utils._internal.is_controller", False, raising=False)
        module = import_module(f"ansible_collections.liveml.vsphere.plugins.modules.{name}")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            module.main()
        return dict(json.loads(printed.getvalue()))

    return run


def playbook_command(name: str, state_dir: Path, *options: str, **variables: Any) -> list[str]:
    extra = json.dumps({"liveml_vsphere_state_dir": str(state_dir), **variables})
    return [str(Path(sys.executable).parent / "ansible-playbook"), f"liveml.vsphere.{name}", "-e", extra, *options]


def playbook_environment(lab: Lab) -> dict[str, str]:
    return {**os.environ, **lab.env, "NO_COLOR": "1"}


def play(name: str, lab: Lab, state_dir: Path, *options: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    command = playbook_command(name, state_dir, *options, **variables)
    environment = playbook_environment(lab)
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def started_play(name: str, lab: Lab, state_dir: Path, **variables: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        playbook_command(name, state_dir, **variables),
        cwd=ROOT,
        env=playbook_environment(lab),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def login(lab: Lab, user: str = "vcenter", **changed: Any) -> dict[str, Any]:
    """The login of a lab's vCenter, as the option ``destination_vcenter`` takes it."""
    server, who = lab.answer["vcenter"], lab.answer[user]
    found = {"hostname": server["host"], "port": server["port"], "username": who["user"], "password": who["password"]}
    return {**found, "ca_path": lab.env["SSL_CERT_FILE"], **changed}


def places(*labs: Lab) -> dict[str, tuple[str, ...]]:
    """Host, resource pool, folder and datastores of each VM; a VM that is in two vCenters fails."""
    found: dict[str, tuple[str, ...]] = {}
    for lab in labs:
        for name, vm in lab.get("state")["vms"].items():
            assert name not in found, name
            found[name] = (vm["host"], vm["pool"], vm["folder"], *sorted(set(vm["storage"].values())))
    return found
