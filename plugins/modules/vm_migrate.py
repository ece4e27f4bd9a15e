#!/usr/bin/python

# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_migrate
short_description: Move the VMs of a plan by live vMotion and watch their experiments
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Moves the VMs of a plan of M(liveml.vsphere.migration_plan), several at a time. Experiments in the VMs are sampled during the
    moves, and the samples show whether each experiment kept running.
  - A move is done if vCenter shows the VM on its target, and its files on the datastores of the plan, whatever state the task has.
  - The run's journal records each step on disk before the step begins. To resume an interrupted run, run the same task again.
  - While the module works, C(report.html) in RV(run_dir) is a live page that is written every 5 seconds. This needs Jinja2, and the
    module only warns if it is missing. M(liveml.vsphere.evidence_report) replaces the page by the report.
extends_documentation_fragment:
  - liveml.vsphere.connection
  - liveml.vsphere.destination_vcenter
  - liveml.vsphere.attributes
  - liveml.vsphere.experiments
options:
  plan:
    description:
      - The plan, as RV(liveml.vsphere.migration_plan#module:plan) returned it.
      - The module fails before any move if the plan is out of date or was edited.
    type: dict
    required: true
  purpose:
    description:
      - Why the VMs move.
      - V(evacuate) records the home of each VM, so that V(restore) can bring it back.
    type: str
    choices: [evacuate, restore, migrate]
    default: migrate
  host:
    description:
      - Name or MoID of the host that is evacuated or restored.
      - To resume an interrupted run, set the same host. Only one run per host works at a time.
    type: str
  state_dir:
    description:
      - Directory of all runs, on the machine that executes the module. Each run has a directory with its journal and evidence.
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
      - Maximum number of concurrent vMotions per host, 1 to 8. A vMotion counts on its source and on its target.
      - At most 2 of them move files to another datastore, and each of these takes as much of a host as 4 others. At most 8 move files
        from or to the same datastore.
      - Hosts with a vMotion network below 10GbE have at most 4.
      - A VM with a vGPU moves alone on its hosts, because it stands still while the memory of its vGPU is copied.
    type: int
    default: 8
  max_failures:
    description:
      - If failed moves and interrupted experiments together reach this number, no further move starts. The minimum is 1.
      - Used with O(on_failure=stop) and O(on_failure=rollback). With O(on_verdict=continue), only failed moves count.
      - In an evacuation, a VM that was deleted, shut down or suspended before its move does not count, because it does not keep the
        others from leaving the host. The task still fails and names it.
    type: int
    default: 1
  on_failure:
    description:
      - What to do after O(max_failures) failures. The task fails in each case.
      - V(stop) finishes the moves in flight and starts no further move.
      - V(rollback) does the same, then moves the VMs of this run back to their former hosts. A VM stays if its former host cannot
        take it. RV(placements) lists where each VM is.
      - V(continue) tries all moves.
    type: str
    choices: [stop, rollback, continue]
    default: stop
  on_verdict:
    description:
      - What to do if an experiment was stalled, restarted, lost or failed, or was not seen again.
      - V(stop) counts it like a failed move, for O(max_failures) and O(on_failure). This protects trainings that do not tolerate moves.
      - V(continue) counts failed moves only. Then a guest that lies about its training cannot stop the moves of others. The task does
        not fail because of a verdict, but warns of it and returns it in RV(interrupted). Choose it if you do not control the guests.
    type: str
    choices: [stop, continue]
    default: stop
  retries:
    description:
      - Number of further attempts after a transient fault, such as another task that holds the VM, at least 0.
    type: int
    default: 2
  timeout_per_gib:
    description:
      - Move timeout in seconds per GiB of VM memory, and of files that move. A timed-out move is cancelled.
      - If it is not set, the timeout is three times the predicted duration, times O(slots), because that many moves may share the
        link. It is never less than 10 seconds per GiB.
    type: float
  timeout_floor:
    description:
      - Minimum move timeout, in seconds.
    type: float
    default: 300.0
  assume_in_service:
    description:
      - In check mode, check the plan as if O(host) were not in maintenance mode.
    type: bool
    default: false
  lock_timeout:
    description:
      - Maximum time, in seconds, to wait for another process that carries out a run for the same host.
    type: float
    default: 600.0
  fence:
    description:
      - Whether to fence O(host), that is, to begin maintenance mode, which waits for the VMs to leave. Nothing is done if the user
        does not have the privilege C(Host.Config.Maintenance).
      - The host is fenced after the homes of the VMs are recorded, and after the VMs are excluded from DRS. It is fenced last if
        O(plan) says so, because a fenced host makes DRS move VMs.
      - A run that fails lifts a fence that it has set. Without moves there is no run, and nothing is fenced, unless an evacuation leaves
        VMs that cannot move and whose homes are not recorded yet. The run records them, because somebody else may move the VMs later.
    type: bool
    default: false
  hooks:
    description:
      - Messages to send as soon as an experiment was interrupted or stalled for too long, as in
        O(liveml.vsphere.notify#role:main:notify_hooks). The other events of a hook are for M(liveml.vsphere.send_messages).
      - The action plugin sends them if the module runs on the controller. The module itself does not get the hooks.
    type: list
    elements: dict
    default: []
  subject:
    description:
      - Beginning of the subject line of O(hooks), for example V(Evacuation of esx-05).
    type: str
  live_dir:
    description:
      - Directory in which the live page of the run is written, too, as C(RUN_ID/report.html). Use the one to which the evidence is copied
        after the run.
    type: path
  progress_path:
    description:
      - File to which each event of the run is appended. The action plugin sets it, and shows the events.
    type: path
  controller_pid:
    description:
      - ID of the process whose end interrupts the run. The action plugin sets it.
    type: int
notes:
  - While the task runs, it prints one line per event. Without events it prints the remaining time at intervals. On a terminal, each
    move in flight has a progress bar below the lines. Set the environment variable E(LIVEML_VSPHERE_PROGRESS) to V(lines) to
    print only lines, as in a pipe and in AWX, or to V(off) to print nothing. Nothing is printed if the stdout callback is for
    programs, such as C(ansible.posix.json).
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: liveml.vsphere.migration_plan
  - module: liveml.vsphere.host_maintenance
  - module: liveml.vsphere.evidence_report
  - module: liveml.vsphere.experiment_wait
"""

EXAMPLES = r"""
- name: Evacuate a host
  module_defaults:
    group/liveml.vsphere.vcenter:
      hostname: vcenter.example.com
      username: automation@vsphere.local
      password: "{{ vcenter_password }}"
  block:
    - name: Plan the evacuation
      liveml.vsphere.migration_plan:
        host: esx-05.example.com
      register: plan

    - name: Move the VMs and watch their experiments
      liveml.vsphere.vm_migrate:
        plan: "{{ plan.plan }}"
        purpose: evacuate
        host: esx-05.example.com

- name: Move VMs with few slots, and move them back if an experiment is interrupted
  liveml.vsphere.vm_migrate:
    plan: "{{ plan.plan }}"
    slots: 2
    on_failure: rollback
    experiments:
      stall_budget: 2
  register: run

- name: Watch H2O-3 servers with a login, and runs on an MLflow server
  liveml.vsphere.vm_migrate:
    plan: "{{ plan.plan }}"
    experiments:
      username: watcher
      password: "{{ h2o_password }}"
      allowed_networks:
        - 10.1.4.0/24
      sources:
        - provider: mlflow
          url: https://mlflow.example.com
"""

RETURN = r"""
reported:
  description: Which messages about interrupted experiments O(hooks) got during the run. M(liveml.vsphere.send_messages) does not repeat them.
  returned: when there were some
  type: list
  elements: dict
  contains:
    hook:
      description: Place of the hook in the list, from 0.
      type: int
      sample: 0
    where:
      description: Name of the VM, or of the cluster of the experiment.
      type: str
      sample: ML-cpu-vm-04
    id:
      description: ID of the experiment.
      type: str
      sample: GBM_model_1
    verdict:
      description: The verdict in the message.
      type: str
      sample: stalled
run_id:
  description: ID of the run. It is empty if there was nothing to do, and in check mode.
  returned: always
  type: str
  sample: 20260131T090000Z-evacuate-esx-05-7f3a
run_dir:
  description: Directory with the run's journal and samples.
  returned: when there was something to move
  type: str
  sample: /srv/liveml/runs/20260131T090000Z-evacuate-esx-05-7f3a
resumed:
  description: Whether an interrupted run was resumed.
  returned: always
  type: bool
  sample: false
moves:
  description: All moves of the run, including those before an interruption and those of a rollback.
  returned: when it is not check mode
  type: list
  elements: dict
  contains:
    number:
      description: Number of the move in the plan.
      type: int
      sample: 1
    vm:
      description: Name of the VM.
      type: str
      sample: ML-cpu-vm-04
    moid:
      description: MoID of the VM.
      type: str
      sample: vm-42
    source:
      description: Name of the host from which the VM moved.
      type: str
      sample: esx-05.example.com
    target:
      description: Name of the target host.
      type: str
      sample: esx-06.example.com
    source_vcenter:
      description: Address of the vCenter from which the VM moved, or empty if the plan is for one vCenter.
      type: str
      sample: ""
    target_vcenter:
      description: Address of the vCenter to which the VM moved, or empty if the plan is for one vCenter.
      type: str
      sample: ""
    source_datastores:
      description: Names of the datastores from which the VM's files moved, empty if the files stayed where they were.
      type: list
      elements: str
      sample: [esx-05-local]
    target_datastores:
      description: Names of the datastores to which they moved.
      type: list
      elements: str
      sample: [vsanDatastore]
    result:
      description: >-
        V(moved), V(failed), V(cancelled), V(timed_out), V(gone) if the VM is no longer in vCenter, or V(not_started). It depends on where the VM was
        observed.
      type: str
      sample: moved
    by:
      description: >-
        Who moved the VM, if it was not this run, V(DRS) or the name of a user. Then C(target) is where the VM was moved. V(vSphere HA)
        restarted the VM there, because its host, network or storage had failed. Then the run fails.
      type: str
      sample: ""
    back:
      description: Whether the move is part of a rollback.
      type: bool
      sample: false
experiments:
  description: The verdict on each experiment.
  returned: when it is not check mode
  type: list
  elements: dict
  contains:
    vm:
      description: The VM. For a cluster, the VM of its first node.
      type: dict
      contains:
        moid:
          description: MoID of the VM.
          type: str
          sample: vm-42
        name:
          description: Name of the VM.
          type: str
          sample: ML-cpu-vm-04
    vms:
      description: Names of all VMs with a watched node of the experiment.
      type: list
      elements: str
      sample: [ML-cpu-vm-04]
    provider:
      description: Provider that found the experiment.
      type: str
      sample: h2o3
    id:
      description: ID of the experiment on its server.
      type: str
      sample: $03017f00000132d4ffffffff$_adf5
    owner:
      description: Owner of the experiment, or empty if nobody is known.
      type: str
      sample: vision
    cluster:
      description: Name of the cluster that trains the experiment, or empty for a single server.
      type: str
      sample: ""
    verdict:
      description: V(uninterrupted), V(stalled), V(restarted), V(lost), V(failed), V(completed) or V(unknown).
      type: str
      sample: uninterrupted
    identity:
      description: Whether the same process and job was seen before and after, V(proven), V(refuted) or V(unknown).
      type: str
      sample: proven
    progress_claim:
      description: Whether progress continued and never went back, V(proven), V(refuted) or V(unknown).
      type: str
      sample: proven
    stall_claim:
      description: Whether the longest stall was within O(experiments.stall_budget), V(proven), V(refuted) or V(unknown).
      type: str
      sample: proven
    longest_stall:
      description: The longest stall, or null.
      type: dict
      contains:
        seconds:
          description: Estimate of its length, in seconds.
          type: float
          sample: 0.43
        low:
          description: Minimum of its true length, in seconds.
          type: float
          sample: 0.41
        high:
          description: Maximum of its true length, in seconds.
          type: float
          sample: 0.52
        at_mono:
          description: Monotonic time of the controller at the last answer before it, in seconds, or null.
          type: float
          sample: 7031.25
    longest_freeze:
      description: The longest time during which the whole VM stood still, that is, its kernel accepted no connection, or null.
      type: dict
      contains:
        seconds:
          description: Estimate of its length, in seconds.
          type: float
          sample: 0.39
        low:
          description: Minimum of its true length, in seconds.
          type: float
          sample: 0.31
        high:
          description: Maximum of its true length, in seconds.
          type: float
          sample: 0.44
        at_mono:
          description: Monotonic time of the controller at the last answer before it, in seconds, or null.
          type: float
          sample: 7031.25
    resolution:
      description: Shortest stall, in seconds, that can be distinguished from normal operation, or null.
      type: float
      sample: 0.11
    progress_before:
      description: Progress before the move, from 0 to 1, or null.
      type: float
      sample: 0.08
    progress_after:
      description: Progress after the move, from 0 to 1, or null.
      type: float
      sample: 0.15
    samples:
      description: Number of samples behind the verdict.
      type: int
      sample: 512
    unwatched_seconds:
      description: Seconds during which the experiment was not watched.
      type: float
      sample: 0.0
    description:
      description: Name of the experiment as its owner knows it, or empty.
      type: str
      sample: GBM gbm_arr_delay_1
    detail:
      description: What was seen, if the verdict needs an explanation.
      type: str
      sample: ""
owners:
  description: The verdicts by owner. The key is empty for experiments without a known owner.
  returned: when it is not check mode
  type: dict
  sample:
    vision:
      - vms: [ML-cpu-vm-04]
        id: $03017f00000132d4ffffffff$_adf5
        verdict: uninterrupted
unobserved:
  description: Names of VMs without an observed experiment, and what was seen instead. The name has the MoID if VMs share it.
  returned: always
  type: dict
  sample:
    ML-cpu-vm-07: "http://10.1.4.7:54321: no server listens"
partly_searched:
  description: >-
    Names of VMs with an observed experiment that may have other ones, because not every source could look, and why.
    The name has the MoID if VMs share it.
  returned: always
  type: dict
  sample:
    ML-cpu-vm-08: "https://mlflow.example.com: authentication failed (HTTP 401); check username, password and token"
found:
  description: The experiments that train in the VMs of the plan now. They are looked for as in a run, but not watched.
  returned: in check mode
  type: list
  elements: dict
  contains:
    vm_name:
      description: Name of the VM.
      type: str
      sample: ML-cpu-vm-04
    provider:
      description: Provider that found the experiment.
      type: str
      sample: h2o3
    id:
      description: ID of the experiment on its server.
      type: str
      sample: $03017f00000132d4ffffffff$_adf5
    description:
      description: Name of the experiment as its owner knows it, or empty.
      type: str
      sample: GBM gbm_arr_delay_1
    owner:
      description: Owner of the experiment, or empty if nobody is known.
      type: str
      sample: vision
    cluster:
      description: Name of the cluster that trains the experiment, or empty for a single server.
      type: str
      sample: ""
    progress:
      description: Progress from 0 to 1, or null if it is not known.
      type: float
      sample: 0.08
left_behind:
  description: Names of VMs that were not moved, or that somebody else moved back to the evacuated host.
  returned: when it is not check mode
  type: list
  elements: str
  sample: []
restarted:
  description:
    - Names of VMs that were powered on again during the run, as vCenter shows, by vSphere HA or by a person. What ran in them has ended, so
      the run fails.
  returned: when it is not check mode
  type: list
  elements: str
  sample: []
fence_lifted:
  description: Whether the run lifted a fence that it had set.
  returned: when it is not check mode
  type: bool
  sample: false
fenced:
  description: Whether O(host) is fenced by this run, or may be if RV(fence_unknown) is true.
  returned: when it is not check mode
  type: bool
  sample: true
fence_unknown:
  description:
    - Whether it is unknown if O(host) is fenced, because vCenter did not accept to fence it in its present state and does not show
      why. After a restart, vCenter may not show that a host is still entering maintenance mode.
  returned: when it is not check mode
  type: bool
  sample: false
interrupted:
  description: Sentences about experiments that were stalled, restarted, lost or failed, or were not seen again.
  returned: when it is not check mode
  type: list
  elements: str
  sample: []
placements:
  description:
    - Host of each VM after the rollback. The host is empty if the VM no longer exists, or if vCenter does not show its host.
    - If several VMs have one name, their MoIDs follow in brackets.
  returned: when the run was rolled back
  type: dict
  sample:
    ML-cpu-vm-04: esx-05.example.com
rolled_back:
  description: Names of VMs that the rollback moved back.
  returned: when it is not check mode
  type: list
  elements: str
  sample: []
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._core.wording import listed
from ansible_collections.liveml.vsphere.plugins.module_utils._display.progress_file import ProgressFile
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.live_writer import LivePage, live_dir_of
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.clusters import by_owner, merged
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.discovery import Providers
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import (
    DESTINATION_VCENTER_SPEC,
    EXPERIMENT_SPEC,
    STATE_DIR_SPEC,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._module.entry import as_sentence, show_warnings
from ansible_collections.liveml.vsphere.plugins.module_utils._module.interruption import Interruption
from ansible_collections.liveml.vsphere.plugins.module_utils._module.vcenter_entry import run_module
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.codec import plan_diff, plan_from_dict
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.crossing import moves_at_a_time
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.model import Plan
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.selection import display_name, find_host
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.slots import limits_from
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import VerdictReached
from ansible_collections.liveml.vsphere.plugins.module_utils._run.executor import failures_of
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import (
    Account,
    Ended,
    MoveResult,
    Purpose,
    Rules,
    RunReport,
    RunRequest,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.planning import refuse_other_second
from ansible_collections.liveml.vsphere.plugins.module_utils._run.runner import (
    carry_out,
    refuse_drift,
    refuse_unrecoverable,
    unrecoverable,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import state_path, state_to_read
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import HostState, assume_in_service
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.guest import guest_login
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.home_attribute import ATTRIBUTE
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.pair import AnyVcenter
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.qualified import part_of

SPEC: dict[str, Any] = {
    **STATE_DIR_SPEC,
    **DESTINATION_VCENTER_SPEC,
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
    "on_verdict": {"type": "str", "choices": ["stop", "continue"], "default": "stop"},
    "retries": {"type": "int", "default": 2},
    "timeout_per_gib": {"type": "float"},
    "timeout_floor": {"type": "float", "default": 300.0},
    "assume_in_service": {"type": "bool", "default": False},
    "lock_timeout": {"type": "float", "default": 600.0},
    "fence": {"type": "bool", "default": False},
    "hooks": {"type": "list", "elements": "dict", "default": []},  # for the action plugin
    "subject": {"type": "str"},
    "live_dir": {"type": "path"},
    "progress_path": {"type": "path"},
    "controller_pid": {"type": "int"},
}


def request_of(module: AnsibleModule, plan: Plan, host: HostState | None, hosts: list[HostState]) -> RunRequest:
    """The run that the module's options describe. Raises InvalidInput."""
    params = module.params
    if params["max_failures"] < 1:
        raise InvalidInput(
            f"max_failures is {params['max_failures']}",
            hint="Set max_failures to 1 or more; 1 stops at the first failure",
            option="max_failures",
        )
    if params["retries"] < 0:
        raise InvalidInput(f"retries is {params['retries']}", hint="Set retries to 0 or more", option="retries")
    if params["fence"] and host is None:
        raise InvalidInput("fence is true, but there is no host", hint="Set host to the host to fence", option="fence")
    purpose = Purpose(params["purpose"])
    return RunRequest(
        plan=plan,
        purpose=purpose,
        host=host,
        state=(state_to_read if module.check_mode else state_path)(params["state_dir"]),
        rules=Rules(
            slots=replace(limits_from(hosts, params["slots"]), between_vcenters=moves_at_a_time(plan.wan)),
            priority=params["priority"],
            max_failures=params["max_failures"],
            stop_on_failure=params["on_failure"] != "continue",
            stop_on_verdict=params["on_verdict"] == "stop",
            roll_back=params["on_failure"] == "rollback",
            retries=params["retries"],
            timeout_per_gib=params["timeout_per_gib"],
            timeout_floor=params["timeout_floor"],
        ),
        record_homes=purpose is Purpose.EVACUATE,
        fence=params["fence"],
        require_checkpoint=params["experiments"]["require_checkpoint"],
        guest=guest_login(params["experiments"]),
        stall_budget=params["experiments"]["stall_budget"],
        lock_timeout=params["lock_timeout"],
    )


def datastore_names(names: Iterable[str]) -> list[str]:
    """Each name once, in the order of the parts."""
    return list(dict.fromkeys(names))


def move_of(ended: Ended, *, back: bool) -> dict[str, Any]:
    """A move as the module returns it."""
    move = ended.move
    return {
        "number": move.number,
        "vm": move.vm_name,
        "moid": move.vm,
        "source": move.source_name,
        "target": move.target_name,
        "source_vcenter": move.source_vcenter,
        "target_vcenter": move.target_vcenter,
        "source_datastores": datastore_names(part.source_name for part in move.parts),
        "target_datastores": datastore_names(part.target_name for part in move.parts),
        "result": str(ended.result),
        "by": ended.by,
        "back": back,
    }


def named(accounts: Iterable[Account]) -> dict[str, Account]:
    """Accounts by the names of their VMs, with the MoID if several have one name."""
    found = tuple(accounts)
    count = Counter(account.vm_name for account in found)
    return {a.vm_name if count[a.vm_name] == 1 else f"{a.vm_name} ({a.vm})": a for a in found}


def result_of(report: RunReport, on_verdict: str = "stop") -> dict[str, Any]:
    """The module's result. With ``on_verdict`` continue, verdicts alone do not make it a failure."""
    outcome, rolled_back = report.outcome, report.rolled_back
    accounts = rolled_back.accounts if rolled_back is not None else ()
    back = rolled_back.outcome.ended if rolled_back is not None else ()
    judgements = merged(outcome.judgements)
    result: dict[str, Any] = {
        "changed": bool(outcome.moved) or report.resumed,
        "run_id": report.run_id,
        "resumed": report.resumed,
        "moves": [*(move_of(e, back=False) for e in outcome.ended), *(move_of(e, back=True) for e in back)],
        "experiments": [VerdictReached.of(judgement).to_json() for judgement in judgements],
        "owners": by_owner(judgements),
        "unobserved": dict(report.unobserved),
        "partly_searched": dict(report.partly_searched),
        "interrupted": list(failures_of(replace(outcome, ended=()))),
        "left_behind": list(report.left_behind),
        "restarted": list(report.restarted),
        "fenced": report.fenced,
        "fence_unknown": report.fence_unknown,
        "fence_lifted": report.fence_lifted,
        "rolled_back": [name for name, account in named(accounts).items() if account.outcome == "back"],
    }
    if rolled_back is not None:
        result["placements"] = {name: account.host for name, account in named(accounts).items()}
    if report.folder is not None:
        result["run_dir"] = str(report.folder)
    failures = failures_in(report)
    tolerated = result["interrupted"] if on_verdict == "continue" else []
    if set(failures) - set(tolerated):
        result["failure"] = ". ".join(as_sentence(failure) for failure in failures) + "."
    return result


def failures_in(report: RunReport) -> list[str]:
    """One sentence for each failure. Why the run stopped is said once, and that no further move started only if one was left."""
    outcome, found = report.outcome, list(report.failures)
    said = found and report.rolled_back is None and not outcome.interrupted
    if outcome.stopped and not (said or any(failure.startswith(outcome.stopped) for failure in found)):
        found.append(outcome.stopped)
    left = any(ended.result is MoveResult.NOT_STARTED for ended in outcome.ended)
    if outcome.stopped and left and not any("no further move was started" in failure for failure in found):
        found.append("No further move was started")
    return found


def warn_unrecoverable(module: AnsibleModule, experiments: Iterable[Experiment]) -> None:
    """If ``require_checkpoint`` is ``warn``, name the experiments that could not be recovered from a checkpoint."""
    if module.params["experiments"]["require_checkpoint"] == "warn":
        for sentence in unrecoverable(experiments):
            module.warn(f"An experiment could not be recovered from a checkpoint if it were lost: {sentence}")


def warn_of_homes(module: AnsibleModule, report: RunReport) -> None:
    """Name the VMs whose homes no other controller finds."""
    if report.homes_in_journal:
        module.warn(
            f"The homes of {listed(report.homes_in_journal)} are in the journal alone, because the custom attribute {ATTRIBUTE} could not "
            "be written. Only a restore with this state directory brings these VMs home. Check that the user has the privilege "
            "Global.SetCustomField on the VMs, and Global.ManageCustomFields if vCenter does not know the attribute."
        )


def warn_of_arrivals(module: AnsibleModule, report: RunReport) -> None:
    """Name the VMs that leave the host unwatched."""
    if report.arrived is None:
        module.warn(
            f"It is not known whether other VMs were placed or powered on on {module.params['host']} before it was fenced. Nobody watches "
            "how they leave the host."
        )
    elif report.arrived:
        module.warn(
            f"Before {module.params['host']} was fenced, these VMs were placed or powered on there: {listed(report.arrived)}. Nobody "
            "watches how they leave the host, and a VM that was not in the plan gets no home, so a restore does not bring it back."
        )


def found_in(experiment: Experiment) -> dict[str, Any]:
    """An experiment that check mode found."""
    keys = ("vm_name", "provider", "id", "description", "owner", "cluster", "progress")
    return {key: getattr(experiment, key) for key in keys}


def body(module: AnsibleModule, vcenter: AnyVcenter) -> dict[str, Any]:
    """Check that the plan is up to date, then carry it out."""
    plan = plan_from_dict(module.params["plan"])
    estate = vcenter.estate(devices_of_vms=[move.vm for move in plan.moves])
    if plan.vcenter.instance_uuid != estate.vcenter.instance_uuid:
        raise InvalidInput(
            f"The plan was made for another vCenter ({plan.vcenter.name})",
            hint="Create a new plan with the same login as here",
            option="plan",
        )
    refuse_other_second(plan, estate, "plan")
    first = part_of(estate, second=False)
    host = find_host(first, module.params["host"]) if module.params["host"] is not None else None
    request = request_of(module, plan, host, list(estate.hosts.values()))
    providers = Providers(module.params["experiments"])
    show_warnings(module, providers.warnings)
    providers.refuse_shared_names(estate.vms.values())
    if module.check_mode:
        if module.params["assume_in_service"] and host is not None:
            estate = assume_in_service(estate, host.moid)
        refuse_drift(request, estate)
        seen = providers.discover(estate, tuple(move.vm for move in plan.moves))
        found, shown = seen.experiments, seen.by_name(partial(display_name, estate))
        refuse_unrecoverable(found, request.require_checkpoint)
        warn_unrecoverable(module, found)
        return {
            "changed": bool(plan.moves),
            "run_id": "",
            "resumed": False,
            "found": [found_in(experiment) for experiment in found if experiment.vm in {m.vm for m in plan.moves}],
            "unobserved": dict(shown.unobserved),
            "partly_searched": dict(shown.partly_searched),
            "diff": plan_diff(plan),
        }
    report = carry_out(
        vcenter,
        providers,
        request,
        listener=ProgressFile(module.params["progress_path"]),
        interrupted=Interruption(module.params["controller_pid"]),
        onlooker=LivePage(module.warn, published=live_dir_of(module.params)),
    )
    warn_unrecoverable(module, [judgement.experiment for judgement in report.outcome.judgements])
    warn_of_homes(module, report)
    warn_of_arrivals(module, report)
    result = result_of(report, module.params["on_verdict"])
    if "failure" not in result:
        for sentence in result["interrupted"]:
            module.warn(f"{as_sentence(sentence)}.")
    return {**result, "diff": plan_diff(plan)}


def main() -> None:
    """Entry point."""
    run_module(SPEC, body)


if __name__ == "__main__":
    main()
