# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a person sees last on a terminal of 100 columns and 40 lines, from real runs in one lab under real training.

The screens follow each other as the days of an operator do: each finds the hosts as the one before left them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from scripts.recording import Line, Written, last_screen, record
from tests.labs import ROOT, Lab, playbook_command, playbook_environment, running_lab
from tests.measuring import until

COLUMNS, ROWS = 100, 40
HOST, TRAINS = "esx-05", "ML-cpu-vm-04"
STATE = "~/.local/state/liveml.vsphere"  # what is shown for the folder of the runs
CHECKOUT, INSTALLED = str(ROOT / ".venv" / "collections"), "~/.ansible/collections"
CTRL_C = "\x03"
TRAINING_SECONDS = 500


@dataclass(frozen=True, slots=True)
class Shot:
    """A playbook as a person types it. When ``at`` is on the screen, ``then`` happens, and what it returns is typed."""

    name: str
    title: str
    playbook: str
    variables: Mapping[str, str]
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    fails: bool = False
    at: str = ""
    then: Callable[[Lab], str] = lambda _lab: ""

    @property
    def typed(self) -> str:
        """The command as a person types it."""
        variables = [f"-e {name}={value}" for name, value in self.variables.items()]
        return " ".join(["ansible-playbook", f"liveml.vsphere.{self.playbook}", *variables, *self.options])


def _kill(lab: Lab) -> str:
    lab.post(f"guests/{TRAINS}", action="kill")
    return ""


_EVACUATE, _RESTORE = {"evacuate_host_name": HOST}, {"restore_host_name": HOST}
SHOTS = (
    Shot("check_mode", "Check mode: what an evacuation would do", "evacuate_host", _EVACUATE, ("--check", "--diff")),
    Shot("success", "An evacuation of ten VMs that succeeded", "evacuate_host", _EVACUATE),
    Shot("nothing_to_do", "An evacuation of a host that is empty already", "evacuate_host", _EVACUATE),
    Shot("restore", "A restore that brought ten VMs home", "restore_host", _RESTORE),
    Shot(
        "interruption", "An evacuation that was interrupted with Ctrl-C", "evacuate_host", _EVACUATE,
        fails=True, at="moved to", then=lambda _lab: CTRL_C,
    ),
    Shot("resumed", "The same evacuation, resumed", "evacuate_host", _EVACUATE),
    Shot("second_restore", "The restore after it", "restore_host", _RESTORE),
    Shot(
        "failure", "An evacuation in which a training was lost", "evacuate_host", _EVACUATE,
        fails=True, at="moved to", then=_kill,
    ),
    Shot("cannot_leave", "An evacuation of a host with VMs that cannot leave", "evacuate_host", {"evacuate_host_name": "esx-01"}, fails=True),
    Shot(
        "wrong_password", "An evacuation with a wrong password", "evacuate_host", {"evacuate_host_name": "esx-04"},
        environment={"VMWARE_PASSWORD": "not-this-one"}, fails=True,
    ),
    Shot("unknown_host", "An evacuation of a host that does not exist", "evacuate_host", {"evacuate_host_name": "esx-50"}, fails=True),
)  # fmt: skip
# Those of the documentation.
SHOWN = (
    "success", "failure", "interruption", "resumed", "check_mode", "restore", "nothing_to_do", "cannot_leave", "unknown_host",
)  # fmt: skip


@contextmanager
def long_lab() -> Iterator[Lab]:
    """The usual lab, whose experiment trains long enough for all screens."""
    topology = yaml.safe_load((ROOT / "lab" / "topologies" / "default.yml").read_text(encoding="utf-8"))
    for vm in topology["vms"]:
        if "h2o3" in vm:
            vm["h2o3"]["train"]["seconds"] = TRAINING_SECONDS
    with tempfile.TemporaryDirectory(prefix="liveml-screens-") as folder:
        path = Path(folder) / "topology.yml"
        path.write_text(yaml.safe_dump(topology), encoding="utf-8")
        with running_lab("--topology", str(path)) as lab:
            yield lab


def recordings(shots: Sequence[Shot] = SHOTS) -> Iterator[tuple[Shot, list[Written]]]:
    """Each screen with all that was written on it."""
    # As long as what is shown for it, so that lines are folded where they would be.
    with tempfile.TemporaryDirectory(prefix="liveml-pictures-") as folder, long_lab() as lab:
        assert len(folder) == len(STATE), folder
        for shot in shots:
            yield shot, [replaced(each, folder) for each in recording_of(shot, lab, Path(folder))]
            until(lambda: not _moving(lab))


def recording_of(shot: Shot, lab: Lab, state: Path) -> list[Written]:
    """What was written on the screen, with the command that was typed."""
    command = [*playbook_command(shot.playbook, state, **shot.variables), *shot.options]
    environment = {
        **playbook_environment(lab),
        "TERM": "xterm-256color",
        "ANSIBLE_FORCE_COLOR": "1",
        **shot.environment,
    }
    environment.pop("NO_COLOR")
    waiting = [shot.at] if shot.at else []

    def react(text: str) -> str:
        if waiting and waiting[0] in text:
            waiting.clear()
            return shot.then(lab)
        return ""

    written = record(command, environment, ROOT, COLUMNS, ROWS, react=react, fails=shot.fails)
    return [Written(0.0, f"$ {shot.typed}\r\n"), *written]


def replaced(written: Written, folder: str) -> Written:
    """Without names of this machine."""
    return Written(written.at, written.text.replace(folder, STATE).replace(CHECKOUT, INSTALLED))


def screen_of(written: Sequence[Written]) -> tuple[Line, ...]:
    """The last lines on the terminal, with the prompt that waits for the next command."""
    return last_screen([*written, Written(0.0, "$ ")], COLUMNS, ROWS)


def _moving(lab: Lab) -> bool:
    return any(move["finished"] is None for move in lab.get("state")["moves"])
