#!/usr/bin/python

# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_migrate
short_description: Carry out a plan by live vMotion while experiments are watched
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Moves the VMs of a plan of M(liveml.vsphere.migration_plan) in a sliding window of slots, samples the experiments in
    them, and judges from the samples whether each experiment kept running.
  - Every transition is on disk in the run's journal before the call that it announces. A killed run is resumed by
    running the same task again.
  - A move is done when vCenter shows the VM on its target, whatever the task said.
extends_documentation_fragment:
  - liveml.vsphere.connection
  - liveml.vsphere.attributes
  - liveml.vsphere.experiments
options:
  plan:
    description:
      - The RV(liveml.vsphere.migration_plan#module:plan) to carry out. It is checked against the present first and
        refused when it drifted or was edited.
    type: dict
    required: true
  purpose:
    description:
      - Why the VMs move. With V(evacuate) the home of each VM is recorded.
    type: str
    choices: [evacuate, restore, migrate]
    default: migrate
  host:
    description:
      - The host that is evacuated or restored. A run is resumed, and locked against a second one, by it.
    type: str
  state_dir:
    description:
      - Folder on the machine where the module runs that keeps journals and evidence, a folder a run.
    type: path
    default: ~/.local/state/liveml.vsphere
  priority:
    description:
      - Priority of the vMotions.
    type: str
    choices: [highPriority, defaultPriority, lowPriority]
    default: highPriority
  slots:
    description:
      - Most vMotions at a time on any host, counted on source and target. Hosts with a vMotion network below 10GbE
        get at most 4.
    type: int
    default: 8
  max_failures:
    description:
      - With O(on_failure=stop) and O(on_failure=rollback), start no further move after so many failed moves and harmed
        experiments, at least 1.
    type: int
    default: 1
  on_failure:
    description:
      - V(stop) lets moves in flight finish and starts no more; V(continue) tries every move. The task fails either way.
      - V(rollback) does as V(stop), then brings the VMs that this run moved back to where they were, and says of each VM
        where it is. One that its source cannot take back stays where it is.
    type: str
    choices: [stop, rollback, continue]
    default: stop
  timeout_per_gib:
    description:
      - Seconds for each GiB of a VM's memory after which its move is cancelled, at least O(timeout_floor).
      - When omitted, three times what the plan predicts on a link that as many moves share as O(slots) allows, at least
        10 seconds for each GiB.
    type: float
  timeout_floor:
    description:
      - Least number of seconds before a move is cancelled.
    type: float
    default: 300.0
  assume_in_service:
    description:
      - In check mode, check the plan as if O(host) were out of maintenance mode already.
    type: bool
    default: false
  lock_timeout:
    description:
      - Seconds to wait for another process that still carries out a run for the same host.
    type: float
    default: 600.0
  fence:
    description:
      - What the evidence says about the fence, the message of M(liveml.vsphere.host_maintenance).
    type: str
    default: ""
  own_fence:
    description:
      - Whether O(host) was fenced for this run, so that O(on_failure=rollback) may lift the fence before VMs come back.
    type: bool
    default: false
  progress_path:
    description:
      - File to which each event of the run is appended; set by the action plugin, which shows them.
    type: path
  controller_pid:
    description:
      - Process whose end interrupts the run; set by the action plugin.
    type: int
notes:
  - While the task works, one line a transition is shown, and a heartbeat with the remaining time when nothing else is told.
    On a terminal each move in flight has a bar under the lines. Set the environment variable E(LIVEML_VSPHERE_PROGRESS) to
    V(lines) for plain lines there too, as in a pipe and in AWX.
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Plan the evacuation
  liveml.vsphere.migration_plan:
    host: esx-05.example.com
  register: plan

- name: Move the VMs and prove that their experiments kept running
  liveml.vsphere.vm_migrate:
    plan: "{{ plan.plan }}"
    purpose: evacuate
    host: esx-05.example.com
"""

RETURN = r"""
run_id:
  description: Identifies the run; empty when there was nothing to move.
  returned: always
  type: str
run_dir:
  description: Folder with the run's journal and samples.
  returned: when there was something to move
  type: str
resumed:
  description: Whether a killed run was continued.
  returned: always
  type: bool
moves:
  description: >-
    Each move with the VM's name and MoID, and its result, decided by where the VM was observed. A run that was resumed tells
    those of the killed process too. Moves of a rollback are moves of their own, marked as C(back).
  returned: always
  type: list
  elements: dict
experiments:
  description: The verdict on each experiment with its three claims and its longest stall.
  returned: always
  type: list
  elements: dict
owners:
  description: The same verdicts by owner; the name is empty where nobody is known to be it.
  returned: always
  type: dict
  sample:
    vision:
      - vms: [ML-cpu-vm-04]
        id: $03017f00000132d4ffffffff$_adf5
        verdict: uninterrupted
unobserved:
  description: VM names without an experiment, with the MoID where VMs share the name, and what was seen instead.
  returned: always
  type: dict
left_behind:
  description: Names of VMs that a move left where they were.
  returned: always
  type: list
  elements: str
placements:
  description: Where each VM of the run is, as observed after the rollback. The empty host is that of a VM which no longer exists.
  returned: when the run was rolled back
  type: dict
rolled_back:
  description: Names of VMs that a rollback brought back.
  returned: always
  type: list
  elements: str
"""

import json
import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.clusters import by_owner, merged
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.discovery import Providers
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import EXPERIMENT_SPEC, STATE_DIR_SPEC
from ansible_collections.liveml.vsphere.plugins.module_utils._module.entry import run_module
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.codec import plan_diff, plan_from_dict
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import Plan
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.selection import find_host
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.slots import limits_from
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import verdict_fields
from ansible_collections.liveml.vsphere.plugins.module_utils._run.journal import Event
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import (
    Ended,
    Purpose,
    Rules,
    RunReport,
    RunRequest,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.runner import (
    carry_out,
    refuse_drift,
    refuse_unrecoverable,
    unrecoverable,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import state_path, state_to_read
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import HostState, assume_in_service
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.guest import guest_login
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.session import Vsphere

SPEC: dict[str, Any] = {
    **STATE_DIR_SPEC,
    **EXPERIMENT_SPEC,
    "plan": {"type": "dict", "required": True},
    "purpose": {"type": "str", "choices": ["evacuate", "restore", "migrate"], "default": "migrate"},
    "host": {"type": "str"},
    "priority": {
        "type": "str",
        "choices": ["highPriority", "defaultPriority", "lowPriority"],
        "default": "highPriority",
    },
    "slots": {"type": "int", "default": 8},
    "max_failures": {"type": "int", "default": 1},
    "on_failure": {"type": "str", "choices": ["stop", "rollback", "continue"], "default": "stop"},
    "timeout_per_gib": {"type": "float"},
    "timeout_floor": {"type": "float", "default": 300.0},
    "assume_in_service": {"type": "bool", "default": False},
    "lock_timeout": {"type": "float", "default": 600.0},
    "fence": {"type": "str", "default": ""},
    "own_fence": {"type": "bool", "default": False},
    "progress_path": {"type": "path"},
    "controller_pid": {"type": "int"},
}


class Interruption:
    """Whether somebody asked the run to stop: a signal came, or the controlling process is gone."""

    def __init__(self, controller_pid: int | None) -> None:
        self._controller = controller_pid
        self._signalled = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._note)

    def _note(self, _number: int, _frame: object) -> None:
        self._signalled = True

    def __call__(self) -> bool:
        """See the class."""
        return self._signalled or (self._controller is not None and not alive(self._controller))


def alive(pid: int) -> bool:
    """Whether a process of that number exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class ProgressFile:
    """Appends each event to a file that the action plugin shows."""

    def __init__(self, path: str | None) -> None:
        self._path = path

    def __call__(self, event: Event) -> None:
        """Hear one event; a display that is gone never harms the run."""
        if self._path is not None and Path(self._path).exists():
            with suppress(OSError), open(self._path, "a", encoding="utf-8") as stream:
                stream.write(f"{json.dumps(event, ensure_ascii=False)}\n")


def request_of(module: AnsibleModule, plan: Plan, host: HostState | None, hosts: list[HostState]) -> RunRequest:
    """The run that the module's parameters ask for. Raises InvalidInput."""
    params = module.params
    if params["max_failures"] < 1:
        raise InvalidInput(
            f"max_failures is {params['max_failures']}",
            hint="Give 1 to stop at the first failure, or more",
            option="max_failures",
        )
    purpose = Purpose(params["purpose"])
    return RunRequest(
        plan=plan,
        purpose=purpose,
        host=host,
        state=(state_to_read if module.check_mode else state_path)(params["state_dir"]),
        rules=Rules(
            slots=limits_from(hosts, params["slots"]),
            priority=params["priority"],
            max_failures=params["max_failures"],
            stop_on_failure=params["on_failure"] != "continue",
            roll_back=params["on_failure"] == "rollback",
            timeout_per_gib=params["timeout_per_gib"],
            timeout_floor=params["timeout_floor"],
        ),
        record_homes=purpose is Purpose.EVACUATE,
        fence=params["fence"],
        own_fence=params["own_fence"],
        require_checkpoint=params["experiments"]["require_checkpoint"],
        guest=guest_login(params["experiments"]),
        stall_budget=params["experiments"]["stall_budget"],
        lock_timeout=params["lock_timeout"],
    )


def move_of(ended: Ended, *, back: bool) -> dict[str, Any]:
    """A move as the module returns it."""
    move = ended.move
    return {
        "number": move.number,
        "vm": move.vm_name,
        "moid": move.vm,
        "source": move.source_name,
        "target": move.target_name,
        "result": str(ended.result),
        "back": back,
    }


def result_of(report: RunReport) -> dict[str, Any]:
    """The module's result."""
    outcome, rolled_back = report.outcome, report.rolled_back
    accounts = rolled_back.accounts if rolled_back is not None else ()
    back = rolled_back.outcome.ended if rolled_back is not None else ()
    judgements = merged(outcome.judgements)
    result: dict[str, Any] = {
        "changed": bool(outcome.moved) or report.resumed,
        "run_id": report.run_id,
        "resumed": report.resumed,
        "moves": [*(move_of(e, back=False) for e in outcome.ended), *(move_of(e, back=True) for e in back)],
        "experiments": [verdict_fields(judgement) for judgement in judgements],
        "owners": by_owner(judgements),
        "unobserved": dict(report.unobserved),
        "left_behind": list(report.left_behind),
        "rolled_back": [account.vm_name for account in accounts if account.outcome == "back"],
    }
    if rolled_back is not None:
        result["placements"] = {account.vm_name: account.host for account in accounts}
    if report.folder is not None:
        result["run_dir"] = str(report.folder)
    failures = [*report.failures, *([outcome.stopped] if outcome.stopped else [])]
    if failures:
        result["failure"] = ". ".join(failure[0].upper() + failure[1:] for failure in failures) + "."
    return result


def warn_unrecoverable(module: AnsibleModule, experiments: Iterable[Experiment]) -> None:
    """With the policy ``warn``, name the experiments that no checkpoint would have saved."""
    if module.params["experiments"]["require_checkpoint"] == "warn":
        for sentence in unrecoverable(experiments):
            module.warn(f"No checkpoint would save an experiment if the worst happened: {sentence}")


def body(module: AnsibleModule, vcenter: Vsphere) -> dict[str, Any]:
    """Check the plan against the present, then carry it out."""
    plan = plan_from_dict(module.params["plan"])
    estate = vcenter.estate(devices_of_vms=[move.vm for move in plan.moves])
    if plan.vcenter.instance_uuid != estate.vcenter.instance_uuid:
        raise InvalidInput(
            f"The plan was made for another vCenter ({plan.vcenter.name})", hint="Plan again on this one", option="plan"
        )
    host = find_host(estate, module.params["host"]) if module.params["host"] is not None else None
    request = request_of(module, plan, host, list(estate.hosts.values()))
    providers = Providers(module.params["experiments"])
    if module.check_mode:
        if module.params["assume_in_service"] and host is not None:
            estate = assume_in_service(estate, host.moid)
        refuse_drift(plan, estate)
        if request.require_checkpoint != "never":
            found, _unobserved = providers.discover(estate, tuple(move.vm for move in plan.moves))
            refuse_unrecoverable(found, request.require_checkpoint)
            warn_unrecoverable(module, found)
        return {"changed": bool(plan.moves), "run_id": "", "resumed": False, "diff": plan_diff(plan)}
    report = carry_out(
        vcenter,
        providers,
        request,
        listener=ProgressFile(module.params["progress_path"]),
        interrupted=Interruption(module.params["controller_pid"]),
    )
    warn_unrecoverable(module, [judgement.experiment for judgement in report.outcome.judgements])
    return {**result_of(report), "diff": plan_diff(plan)}


def main() -> None:
    """Entry point."""
    run_module(SPEC, body)


if __name__ == "__main__":
    main()
