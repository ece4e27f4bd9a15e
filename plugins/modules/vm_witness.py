#!/usr/bin/python

# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_witness
short_description: Watch experiments while other people or programs move the VMs
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Watches the experiments in VMs for some time, and observes each vMotion of these VMs, no matter who starts it. That may be vSphere
    Lifecycle Manager, DRS, a provider that maintains hosts, or a person.
  - It moves nothing and changes nothing. The user only needs the right to read. vCenter's events say who moved a VM.
  - The result, the journal and the evidence are those of a run of M(liveml.vsphere.vm_migrate), with the purpose V(witness).
  - A VM or an experiment that comes later is not watched. It is named.
  - While the module works, C(report.html) in RV(run_dir) is a live page that is written every 5 seconds. This needs Jinja2, and the
    module only warns if it is missing. M(liveml.vsphere.evidence_report) replaces the page by the report.
extends_documentation_fragment:
  - liveml.vsphere.connection
  - liveml.vsphere.attributes
  - liveml.vsphere.experiments
options:
  cluster:
    description:
      - Name or MoID of the vSphere cluster. The VMs that are powered on in it at the beginning are watched.
    type: str
  host:
    description:
      - Name or MoID of a host. The VMs that are powered on there at the beginning are watched, wherever they move.
    type: str
  vms:
    description:
      - Names or MoIDs of VMs to watch.
    type: list
    elements: str
    default: []
  window:
    description:
      - How long to watch, in seconds; above 0. If a VM is moving then, the module waits until the move has ended and its experiments have
        settled, but not longer than 600 seconds after O(window).
    type: float
    required: true
  until:
    description:
      - V(window) watches until O(window) is over.
      - V(returned) stops earlier, when O(host), or every host of O(cluster), has been in maintenance mode and has left it. The task fails if
        that does not happen within O(window). It cannot be combined with O(vms).
    type: str
    choices: [window, returned]
    default: window
  state_dir:
    description:
      - Directory of all runs, on the machine that executes the module. Each run has a directory with its journal and evidence.
    type: path
    default: ~/.local/state/liveml.vsphere
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
  - When it is interrupted, it ends the window at once, judges what it has seen, and completes the journal. The evidence says that the
    window was cut. The task fails.
attributes:
  check_mode:
    support: full
    details: Finds the experiments and returns what would be watched, and does not wait.
  diff_mode:
    support: none
    details: It changes nothing.
  idempotent:
    support: N/A
    details: It changes nothing.
seealso:
  - module: liveml.vsphere.vm_migrate
  - module: liveml.vsphere.evidence_report
"""

EXAMPLES = r"""
- name: Watch a cluster while vSphere Lifecycle Manager updates its hosts, for at most eight hours
  liveml.vsphere.vm_witness:
    cluster: ml-cluster
    window: 28800
    until: returned
  register: seen

- name: Write the evidence
  liveml.vsphere.evidence_report:
    run_id: "{{ seen.run_id }}"

- name: Watch two VMs for ten minutes while a person moves them in the vSphere Client
  liveml.vsphere.vm_witness:
    vms:
      - ML-cpu-vm-04
      - ML-cpu-vm-07
    window: 600

- name: Show what would be watched of the VMs on a host
  liveml.vsphere.vm_witness:
    host: esx-05.example.com
    window: 3600
  check_mode: true
  register: preview

- name: Show the experiments
  liveml.vsphere.show_lines:
    lines: "{{ preview.lines }}"
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
  description: ID of the run. It is empty in check mode.
  returned: always
  type: str
  sample: 20260131T090000Z-witness-esx-05-7f3a
run_dir:
  description: Directory with the run's journal and samples.
  returned: when it is not check mode
  type: str
  sample: /srv/liveml/runs/20260131T090000Z-witness-esx-05-7f3a
watched:
  description: Names of the VMs that are watched from the beginning. The name has the MoID if VMs share it.
  returned: always
  type: list
  elements: str
  sample: [ML-cpu-vm-04]
lines:
  description: What would be watched in each VM.
  returned: in check mode
  type: list
  elements: str
  sample: ["ML-cpu-vm-04 on esx-05: GBM gbm_1 (h2o3)"]
window:
  description: The window of the witness.
  returned: when it is not check mode
  type: dict
  contains:
    seconds:
      description: How long it was, in seconds.
      type: float
      sample: 600.4
    cut:
      description: Why it ended early, or empty.
      type: str
      sample: ""
moves:
  description: All moves that were seen, in the order of their ends. A VM may have several.
  returned: when it is not check mode
  type: list
  elements: dict
  contains:
    number:
      description: Number of the move, in the order in which they were seen.
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
      description: Name of the host to which the VM moved. It is the source if only the storage moved.
      type: str
      sample: esx-06.example.com
    result:
      description: V(moved), V(failed), V(cancelled), or V(gone) if the VM is no longer in vCenter. It depends on where the VM was observed.
      type: str
      sample: moved
    by:
      description: Who moved the VM, V(DRS), the name of a user, or V(somebody else) if vCenter does not say it.
      type: str
      sample: DRS
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
  returned: when it is not check mode
  type: dict
  sample:
    ML-cpu-vm-07: "http://10.1.4.7:54321: no server listens"
partly_searched:
  description: >-
    Names of VMs with an observed experiment that may have other ones, because not every source could look, and why.
    The name has the MoID if VMs share it.
  returned: when it is not check mode
  type: dict
  sample:
    ML-cpu-vm-08: "https://mlflow.example.com: authentication failed (HTTP 401); check username, password and token"
noticed:
  description: Names of VMs that were not watched all the time, or in which an experiment began later, and what is known about it.
  returned: when it is not check mode
  type: dict
  sample:
    ML-cpu-vm-09: [the VM came during the window, and was not watched]
interrupted:
  description: Sentences about experiments that were stalled, restarted, lost or failed, or were not seen again. The task fails then.
  returned: when it is not check mode
  type: list
  elements: str
  sample: []
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._display.progress_file import ProgressFile
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.live_writer import LivePage, live_dir_of
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.clusters import by_owner, merged
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.discovery import Providers
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import EXPERIMENT_SPEC, STATE_DIR_SPEC
from ansible_collections.liveml.vsphere.plugins.module_utils._module.entry import as_sentence, show_warnings
from ansible_collections.liveml.vsphere.plugins.module_utils._module.interruption import Interruption
from ansible_collections.liveml.vsphere.plugins.module_utils._module.vcenter_entry import run_module
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.selection import (
    Witnessed,
    display_name,
    find_witnessed,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import VerdictReached
from ansible_collections.liveml.vsphere.plugins.module_utils._run.executor import failures_of
from ansible_collections.liveml.vsphere.plugins.module_utils._run.model import (
    Ended,
    Outcome,
    WitnessReport,
    WitnessRequest,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import state_path
from ansible_collections.liveml.vsphere.plugins.module_utils._run.witness import harms_of, witness
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Estate
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.guest import guest_login
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.session import VcenterSession

SPEC: dict[str, Any] = {
    **STATE_DIR_SPEC,
    **EXPERIMENT_SPEC,
    "cluster": {"type": "str"},
    "host": {"type": "str"},
    "vms": {"type": "list", "elements": "str", "default": []},
    "window": {"type": "float", "required": True},
    "until": {"type": "str", "choices": ["window", "returned"], "default": "window"},
    "hooks": {"type": "list", "elements": "dict", "default": []},  # for the action plugin
    "subject": {"type": "str"},
    "live_dir": {"type": "path"},
    "progress_path": {"type": "path"},
    "controller_pid": {"type": "int"},
}


def check(params: dict[str, Any]) -> None:
    """Raise InvalidInput for options that make no sense."""
    if params["window"] <= 0:
        raise InvalidInput(f"window is {params['window']:g}", hint="Give a number of seconds above 0", option="window")
    given = [name for name in ("cluster", "host", "vms") if params[name]]
    if len(given) != 1:
        what = " and ".join(given) if given else "none of cluster, host and vms"
        raise InvalidInput(
            f"{what} is set", hint="Set one of cluster, host and vms", option=given[0] if given else "host"
        )
    if params["until"] == "returned" and params["vms"]:
        raise InvalidInput(
            "until is returned, and vms is set", hint="Set host or cluster instead of vms", option="until"
        )


def lines_of(estate: Estate, vms: tuple[str, ...], providers: Providers) -> list[str]:
    """What would be watched in each VM."""
    seen = providers.observe([estate.vms[vm] for vm in vms], among=estate.vms.values())
    found = {o.vm.moid: "; ".join(f"{e.description or e.id} ({e.provider})" for e in o.experiments) for o in seen}
    missing = {o.vm.moid: f"no experiment observed: {o.detail}" for o in seen}
    return [f"{display_name(estate, vm)} on {_where(estate, vm)}: {found[vm] or missing[vm]}" for vm in vms]


def _where(estate: Estate, vm: str) -> str:
    return estate.host_name(estate.vms[vm].host) or "a host that vCenter does not show"


def move_of(ended: Ended) -> dict[str, Any]:
    """A move as the module returns it."""
    move = ended.move
    return {
        "number": move.number,
        "vm": move.vm_name,
        "moid": move.vm,
        "source": move.source_name,
        "target": move.target_name,
        "result": str(ended.result),
        "by": ended.by,
    }


def result_of(report: WitnessReport) -> dict[str, Any]:
    """The module's result. It is a failure if not all was witnessed, or if an experiment was interrupted."""
    judgements = merged(report.judgements)
    interrupted = failures_of(Outcome((), report.judgements))
    failures = (*harms_of(report), *interrupted)
    result: dict[str, Any] = {
        "run_id": report.run_id,
        "run_dir": str(report.folder),
        "window": {"seconds": round(report.seconds, 1), "cut": report.cut},
        "moves": [move_of(ended) for ended in report.ended],
        "experiments": [VerdictReached.of(judgement).to_json() for judgement in judgements],
        "owners": by_owner(judgements),
        "unobserved": dict(report.unobserved),
        "partly_searched": dict(report.partly_searched),
        "noticed": {name: list(details) for name, details in report.noticed.items()},
        "interrupted": list(interrupted),
    }
    if failures:
        result["failure"] = ". ".join(as_sentence(failure) for failure in failures) + "."
    return result


def request_of(params: dict[str, Any], estate: Estate, subject: Witnessed) -> WitnessRequest:
    """The window that the module's options describe."""
    return WitnessRequest(
        vcenter=estate.vcenter,
        subject=subject.name,
        vms=subject.vms(estate),
        hosts=subject.hosts,
        seconds=params["window"],
        state=state_path(params["state_dir"]),
        host=estate.hosts[subject.hosts[0]] if params["host"] else None,
        until_returned=params["until"] == "returned",
        guest=guest_login(params["experiments"]),
        stall_budget=params["experiments"]["stall_budget"],
    )


def body(module: AnsibleModule, vcenter: VcenterSession) -> dict[str, Any]:
    """Find the VMs, and witness."""
    params = module.params
    check(params)
    estate = vcenter.estate()
    subject = find_witnessed(estate, cluster=params["cluster"], host=params["host"], vms=params["vms"])
    providers = Providers(params["experiments"])
    show_warnings(module, providers.warnings)
    providers.refuse_shared_names(estate.vms.values())
    vms = subject.vms(estate)
    watched = [display_name(estate, vm) for vm in vms]
    if module.check_mode:
        return {"run_id": "", "watched": watched, "lines": lines_of(estate, vms, providers)}
    report = witness(
        vcenter,
        providers,
        request_of(params, estate, subject),
        estate,
        select=subject.vms,
        listener=ProgressFile(params["progress_path"]),
        interrupted=Interruption(params["controller_pid"]),
        onlooker=LivePage(module.warn, published=live_dir_of(module.params)),
    )
    return {**result_of(report), "watched": watched}


def main() -> None:
    """Entry point."""
    run_module(SPEC, body)


if __name__ == "__main__":
    main()
