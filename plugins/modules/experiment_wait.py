#!/usr/bin/python

# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: experiment_wait
short_description: Wait until the experiments of a run have progressed or finished
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Watches the experiments of a run and compares them with their state at the beginning of the run.
  - Fails if an experiment was restarted, lost, failed or cannot be observed, or if O(wait_timeout) ends first.
  - The module only reads from the experiment servers. It does not connect to vCenter.
extends_documentation_fragment:
  - liveml.vsphere.attributes
  - liveml.vsphere.attributes.info_module
  - liveml.vsphere.experiments
options:
  state_dir:
    description:
      - Directory that contains the runs.
    type: path
    default: ~/.local/state/liveml.vsphere
  run_id:
    description:
      - ID of the run. The default is the newest run.
    type: str
  artifact:
    description:
      - The run as RV(liveml.vsphere.evidence_report#module:artifact) returned it, for a controller that does not have the journal.
      - If it is empty, the run is read from O(state_dir).
    type: dict
    default: {}
  until:
    description:
      - V(progress) waits until each experiment has progressed or finished.
      - V(finished) waits until each experiment has finished.
    type: str
    choices: [progress, finished]
    default: progress
  wait_timeout:
    description:
      - Maximum time to wait, in seconds.
    type: float
    default: 120.0
seealso:
  - module: liveml.vsphere.vm_migrate
  - module: liveml.vsphere.evidence_report
  - module: liveml.vsphere.model_export
"""

EXAMPLES = r"""
- name: Check that the experiments of the newest run still make progress
  liveml.vsphere.experiment_wait:

- name: Wait up to two hours until the experiments of the newest run are finished
  liveml.vsphere.experiment_wait:
    until: finished
    wait_timeout: 7200

- name: Check the experiments of a run on another controller
  liveml.vsphere.experiment_wait:
    artifact: "{{ report.artifact }}"
    experiments:
      username: watcher
      password: "{{ h2o_password }}"
      allowed_networks:
        - 10.1.4.0/24
"""

RETURN = r"""
lines:
  description: One sentence per experiment.
  returned: always
  type: list
  elements: str
  sample: ["GBM gbm_arr_delay_1 in ML-cpu-vm-04: uninterrupted, 61 %"]
owners:
  description: The verdicts by owner. The key is empty for experiments without a known owner.
  returned: always
  type: dict
  sample:
    vision:
      - vms: [ML-cpu-vm-04]
        id: $03017f00000132d4ffffffff$_adf5
        verdict: uninterrupted
verdicts:
  description: The verdict on each experiment.
  returned: always
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
    final:
      description: How the experiment ended, or null if its provider does not know.
      type: dict
      contains:
        status:
          description: Final state, as the provider reports it.
          type: str
          sample: DONE
        metric:
          description: Name of the metric of the score, or empty.
          type: str
          sample: AUC
        score:
          description: Value of the metric, or null.
          type: float
          sample: 0.94
        artifacts:
          description: Names of models and files.
          type: list
          elements: str
          sample: [gbm_arr_delay_1]
        detail:
          description: What the provider says in addition, or empty.
          type: str
          sample: ""
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.liveml.vsphere.plugins.module_utils._core.advice import VERDICTS, title_of
from ansible_collections.liveml.vsphere.plugins.module_utils._core.codec import encoded
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._core.wording import percent
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.document import ARTIFACT_VERSION
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.clusters import by_owner, merged
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.discovery import Providers
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment, Judgement
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.verdict import has_ended, must_stop_run
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import EXPERIMENT_SPEC, STATE_DIR_SPEC
from ansible_collections.liveml.vsphere.plugins.module_utils._module.entry import run_local, show_warnings
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import VerdictReached, experiment_from_json
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import (
    RunFilter,
    find_run,
    no_run,
    state_to_read,
)

SPEC: dict[str, Any] = {
    **STATE_DIR_SPEC,
    **EXPERIMENT_SPEC,
    "run_id": {"type": "str"},
    "artifact": {"type": "dict", "default": {}},
    "until": {"type": "str", "choices": ["progress", "finished"], "default": "progress"},
    "wait_timeout": {"type": "float", "default": 120.0},
}
POLL_SECONDS = 0.5


def experiments_of(params: dict[str, Any]) -> tuple[Experiment, ...]:
    """The experiments of the selected run. Raises NotFound if the run does not exist, InvalidInput for a bad artifact."""
    if params["artifact"]:
        return experiments_of_artifact(params["artifact"])
    state = state_to_read(params["state_dir"])
    run = find_run(state, RunFilter(run_id=params["run_id"]))
    if run is None:
        raise no_run(state)
    return run.state.experiments


def experiments_of_artifact(artifact: dict[str, Any]) -> tuple[Experiment, ...]:
    """The experiments in a run's artifact. Raises InvalidInput if it has another version or is malformed."""
    try:
        if artifact["version"] != ARTIFACT_VERSION:
            raise ValueError(f"its version is {artifact['version']}, not {ARTIFACT_VERSION}")
        return tuple(experiment_from_json(experiment) for experiment in artifact["experiments"])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(
            f"artifact cannot be read ({error})",
            hint="Set artifact to the value that evidence_report returned",
            option="artifact",
        ) from error


def reached(judgement: Judgement, until: str) -> bool:
    """Whether the wait for an experiment is over."""
    if has_ended(judgement) or (judgement.samples > 10 and must_stop_run(judgement)):
        return True
    return until == "progress" and not must_stop_run(judgement) and judgement.progress == "proven"


def watch(params: dict[str, Any], providers: Providers, experiments: tuple[Experiment, ...]) -> Sequence[Judgement]:
    """Watch until the wait for all experiments is over, or until ``wait_timeout`` ends. A cluster is one experiment."""
    deadline = time.monotonic() + params["wait_timeout"]
    vms = tuple(dict.fromkeys(experiment.vm for experiment in experiments))
    with (
        tempfile.TemporaryDirectory(prefix="liveml-") as folder,
        providers.watch(experiments, Path(folder), lambda _experiment, _sample, _gained: None) as watching,
    ):
        while True:
            time.sleep(POLL_SECONDS)
            judgements = merged(j for vm in vms for j in watching.judge(vm))
            if all(reached(j, params["until"]) for j in judgements) or time.monotonic() > deadline:
                return judgements


def body(module: AnsibleModule) -> dict[str, Any]:
    """Find the experiments of the run and watch them."""
    experiments = experiments_of(module.params)
    providers = Providers(module.params["experiments"])
    show_warnings(module, providers.warnings)
    judgements = watch(module.params, providers, experiments) if experiments else ()
    late = [j for j in judgements if not reached(j, module.params["until"])]
    interrupted = [j for j in judgements if must_stop_run(j)]
    result: dict[str, Any] = {
        "changed": False,
        "verdicts": [{**VerdictReached.of(j).to_json(), "final": encoded(providers.final(j))} for j in judgements],
        "owners": by_owner(judgements),
        "lines": [line(j) for j in judgements],
    }
    if interrupted or late:
        advised = [f"{line(j)}. {VERDICTS[j.verdict].do}" for j in interrupted]
        result["failure"] = " ".join(advised or [f"{line(j)}. {not_reached(module.params)}" for j in late])
    return result


def not_reached(params: dict[str, Any]) -> str:
    """What was waited for in vain, and the option that allows more time."""
    awaited = "its end" if params["until"] == "finished" else "progress"
    return f"Within {params['wait_timeout']:g} s {awaited} was not seen; wait_timeout sets how long to wait."


def line(judgement: Judgement) -> str:
    """One sentence about an experiment."""
    detail = f" ({judgement.detail})" if judgement.detail else ""
    title = title_of(VerdictReached.of(judgement).to_json())
    return f"{title}: {judgement.verdict}, {percent(judgement.progress_after)}{detail}"


def main() -> None:
    """Entry point."""
    run_local(SPEC, body)


if __name__ == "__main__":
    main()
