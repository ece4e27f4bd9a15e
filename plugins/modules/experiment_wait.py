#!/usr/bin/python

# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: experiment_wait
short_description: Wait until the experiments of a run progressed or finished
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Watches the experiments that a run's journal names, and judges them against what they were when the run began.
  - It fails when one was restarted, failed, or cannot be observed. It only reads, and needs no vCenter.
extends_documentation_fragment:
  - liveml.vsphere.attributes
  - liveml.vsphere.attributes.info_module
  - liveml.vsphere.experiments
options:
  state_dir:
    description:
      - Folder of the runs.
    type: path
    default: ~/.local/state/liveml.vsphere
  run_id:
    description:
      - The run; the newest by default.
    type: str
  artifact:
    description:
      - The RV(liveml.vsphere.evidence_report#module:artifact) of a run, for a controller that has not its journal.
      - Empty to look for the run in O(state_dir).
    type: dict
    default: {}
  until:
    description:
      - V(progress) waits until each experiment was seen to advance or had ended; V(finished) until each has ended.
    type: str
    choices: [progress, finished]
    default: progress
  wait_timeout:
    description:
      - Seconds to wait.
    type: float
    default: 120.0
"""

EXAMPLES = r"""
- name: Wait until the experiments of the latest run are finished
  liveml.vsphere.experiment_wait:
    until: finished
    wait_timeout: 7200
"""

RETURN = r"""
lines:
  description: One sentence an experiment.
  returned: always
  type: list
  elements: str
owners:
  description: The verdicts by owner; the name is empty where nobody is known to be it.
  returned: always
  type: dict
verdicts:
  description:
    - The verdicts, one an experiment. C(final) tells how it ended and what came out of it, where its provider knows.
  returned: always
  type: list
  elements: dict
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._core.wording import percent
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.document import ARTIFACT_VERSION
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.clusters import by_owner, merged, vm_list
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.discovery import Providers
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment, Judgement, Verdict
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.verdict import is_harmful
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import EXPERIMENT_SPEC, STATE_DIR_SPEC
from ansible_collections.liveml.vsphere.plugins.module_utils._module.entry import run_local
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import experiment_of, verdict_fields
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import no_run, run_states, state_to_read

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
    """The experiments of the wanted run. Raises NotFound when there is no such run, InvalidInput for a bad artifact."""
    if params["artifact"]:
        return experiments_of_artifact(params["artifact"])
    state = state_to_read(params["state_dir"])
    for _folder, run in run_states(state):
        if params["run_id"] in (None, run.run_id):
            return run.experiments
    raise no_run(state, params["run_id"] or "that began")


def experiments_of_artifact(artifact: dict[str, Any]) -> tuple[Experiment, ...]:
    """The experiments that a run's artifact names. Raises InvalidInput when it is not one of this version."""
    try:
        if artifact["version"] != ARTIFACT_VERSION:
            raise ValueError(f"its version is {artifact['version']}, not {ARTIFACT_VERSION}")
        return tuple(experiment_of(experiment) for experiment in artifact["experiments"])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(
            f"The artifact cannot be read ({error})",
            hint="Give the artifact that evidence_report returned",
            option="artifact",
        ) from error


def reached(judgement: Judgement, until: str) -> bool:
    """Whether an experiment needs no further waiting."""
    if judgement.verdict is Verdict.COMPLETED or (judgement.samples > 10 and is_harmful(judgement)):
        return True
    return until == "progress" and judgement.verdict is Verdict.UNINTERRUPTED


def watch(params: dict[str, Any], providers: Providers, experiments: tuple[Experiment, ...]) -> list[Judgement]:
    """Watch until all reached what is waited for, or time is up."""
    deadline = time.monotonic() + params["wait_timeout"]
    vms = tuple(dict.fromkeys(experiment.vm for experiment in experiments))
    with (
        tempfile.TemporaryDirectory(prefix="liveml-") as folder,
        providers.watch(experiments, Path(folder), lambda _event, **_fields: None) as watching,
    ):
        while True:
            time.sleep(POLL_SECONDS)
            judgements = [j for vm in vms for j in watching.judge(vm)]
            if all(reached(j, params["until"]) for j in judgements) or time.monotonic() > deadline:
                return judgements


def body(module: AnsibleModule) -> dict[str, Any]:
    """Find the run's experiments and watch them."""
    experiments = experiments_of(module.params)
    providers = Providers(module.params["experiments"])
    judgements: Sequence[Judgement] = watch(module.params, providers, experiments) if experiments else []
    late = merged(j for j in judgements if not reached(j, module.params["until"]))
    judgements = merged(judgements)
    harmed = [j for j in judgements if is_harmful(j)]
    result: dict[str, Any] = {
        "changed": False,
        "verdicts": [{**verdict_fields(j), "final": providers.final(j)} for j in judgements],
        "owners": by_owner(judgements),
        "lines": [line(j) for j in judgements],
    }
    if harmed or late:
        result["failure"] = "; ".join(line(j) for j in harmed or late)
    return result


def line(judgement: Judgement) -> str:
    """One sentence on an experiment."""
    detail = f" ({judgement.detail})" if judgement.detail else ""
    return f"{', '.join(vm_list(judgement))}: {judgement.verdict}, {percent(judgement.progress_after)}{detail}"


def main() -> None:
    """Entry point."""
    run_local(SPEC, body)


if __name__ == "__main__":
    main()
