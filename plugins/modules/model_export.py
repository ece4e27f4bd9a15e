#!/usr/bin/python

# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_export
short_description: Fetch the finished models of a run's experiments
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Fetches what the experiments of a run have trained, each model into a file of its own, with checksums.
  - An experiment that is not finished fails the task and says how far it is; nothing is stored then. See
    M(liveml.vsphere.experiment_wait).
  - It only reads from the servers and needs no vCenter. Names that a server gives never become names of files.
  - Of H2O-3 servers it fetches the MOJO, or the binary model where the release refuses to export MOJOs. Of Driverless AI it
    fetches a scoring pipeline that the server has built already.
extends_documentation_fragment:
  - liveml.vsphere.attributes
  - liveml.vsphere.experiments
options:
  dest:
    description:
      - Folder for the models, made when missing. Files are readable by their owner only.
    type: path
    required: true
  state_dir:
    description:
      - Folder of the runs.
    type: path
    default: ~/.local/state/liveml.vsphere
  run_id:
    description:
      - The run whose experiments have trained the models; by default the newest with an experiment that was asked for.
    type: str
  vm:
    description:
      - Only experiments in this VM, by name or MoID.
    type: str
  experiment:
    description:
      - Only the experiment with this id, as the evidence has it.
    type: str
  model:
    description:
      - Which model of a grid search or an AutoML. The best by default.
    type: str
  format:
    description:
      - V(mojo) is H2O-3's MOJO or the MOJO scoring pipeline of Driverless AI, V(binary) the model that an H2O-3 server of the
        same release can load, V(python) the Python scoring pipeline of Driverless AI.
      - V(auto) takes the MOJO where there is one, and says so where there is none.
    type: str
    choices: [auto, mojo, binary, python]
    default: auto
  max_mib:
    description:
      - Size in MiB beyond which a model is not stored.
    type: int
    default: 4096
attributes:
  check_mode:
    support: full
    details: The models are fetched into a temporary folder and compared, then removed.
  diff_mode:
    support: full
  idempotent:
    support: full
    details: A file that holds the same model is kept, although H2O-3 exports a MOJO with other bytes each time.
seealso:
  - module: liveml.vsphere.experiment_wait
"""

EXAMPLES = r"""
- name: Wait until the experiments of the latest run are finished
  liveml.vsphere.experiment_wait:
    until: finished
    wait_timeout: 7200

- name: Keep what they have trained
  liveml.vsphere.model_export:
    dest: /srv/models
"""

RETURN = r"""
run_id:
  description: The run.
  returned: always
  type: str
models:
  description: The models.
  returned: always
  type: list
  elements: dict
  contains:
    vm:
      description: The VM's name.
      type: str
    experiment:
      description: The experiment's id.
      type: str
    provider:
      description: The provider that found the experiment.
      type: str
    model:
      description: The model's name on its server.
      type: str
    algorithm:
      description: The algorithm as H2O-3 names it.
      type: str
    format:
      description: The format that was fetched, C(mojo), C(binary) or C(python).
      type: str
    path:
      description: The file.
      type: str
    size:
      description: Its size in bytes.
      type: int
    sha256:
      description: SHA-256 of its bytes.
      type: str
    content_sha256:
      description: SHA-256 of what makes the model predict. For MOJOs it is the same for equal models, whenever they were trained.
      type: str
    model_checksum:
      description: H2O-3's own checksum of the model, the same for the same model.
      type: str
    reproducible:
      description: Whether the same seed and data would give the same model, and why.
      type: dict
    note:
      description: What must be known of the format, such as why it is no MOJO.
      type: str
    changed:
      description: Whether the file was written.
      type: bool
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import ExperimentError, InvalidInput, NotFound
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.clusters import key_of
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.discovery import Providers
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.finished_models import (
    Exported,
    Wanted,
    holds,
    sha256_of,
    stored_name,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import EXPERIMENT_SPEC, STATE_DIR_SPEC
from ansible_collections.liveml.vsphere.plugins.module_utils._module.entry import run_local
from ansible_collections.liveml.vsphere.plugins.module_utils._run.state import RunState
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import no_run, run_states, state_to_read

SPEC: dict[str, Any] = {
    **STATE_DIR_SPEC,
    **EXPERIMENT_SPEC,
    "dest": {"type": "path", "required": True},
    "run_id": {"type": "str"},
    "vm": {"type": "str"},
    "experiment": {"type": "str"},
    "model": {"type": "str"},
    "format": {"type": "str", "choices": ["auto", "mojo", "binary", "python"], "default": "auto"},
    "max_mib": {"type": "int", "default": 4096},
}


def asked_for(experiment: Experiment, params: dict[str, Any]) -> bool:
    """Whether the options name an experiment."""
    vm = params["vm"] in (None, experiment.vm_name, experiment.vm)
    return vm and params["experiment"] in (None, experiment.id)


def find_experiments(params: dict[str, Any]) -> tuple[RunState, list[Experiment]]:
    """The wanted run and its wanted experiments. Raises NotFound."""
    state = state_to_read(params["state_dir"])
    begun = False
    for _folder, run in run_states(state):
        begun = True
        if params["run_id"] not in (None, run.run_id):
            continue
        # Each node of a cluster is watched; what they train together is one model.
        found = {key_of(experiment): experiment for experiment in run.experiments if asked_for(experiment, params)}
        if found:
            return run, list(found.values())
    if not begun:
        raise no_run(state, params["run_id"] or "that began")
    wanted = {name: params[name] for name in ("run_id", "vm", "experiment") if params[name]}
    told = ", ".join(f"{name} {value}" for name, value in wanted.items())
    raise NotFound(
        f"No run in {params['state_dir']} has an experiment{f' of {told}' if told else ''}",
        hint="Check state_dir, run_id, vm and experiment; the evidence names them",
        option="run_id",
    )


@contextmanager
def workshop(module: AnsibleModule) -> Iterator[Path]:
    """A private folder to fetch into: within ``dest``, so that a file gets there in one step, or elsewhere in check mode."""
    dest = Path(module.params["dest"])
    where = Path(module.tmpdir) if module.check_mode else dest
    try:
        if not module.check_mode:
            dest.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".liveml-", dir=where))
    except OSError as error:
        raise InvalidInput(
            f"{where} cannot be used: {error.strerror}", hint="Give a folder this user can write in dest", option="dest"
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fetch_all(
    providers: Providers, experiments: list[Experiment], wanted: Wanted, folder: Path
) -> list[tuple[Experiment, Exported]]:
    """The models of all experiments, or one error that names everything in the way."""
    fetched, errors = [], []
    for number, experiment in enumerate(experiments):
        place = folder / str(number)
        place.mkdir(mode=0o700)
        try:
            fetched.append((experiment, providers.export(experiment, wanted, place)))
        except ExperimentError as error:
            errors.append(error)
    if errors:
        what = "; ".join(error.message for error in errors)
        hint = "; ".join(dict.fromkeys(error.hint for error in errors))
        raise ExperimentError(f"Nothing was stored. {what}", hint=hint)
    return fetched


def stored(module: AnsibleModule, experiment: Experiment, exported: Exported, path: Path) -> dict[str, Any]:
    """Put a model in its place unless it is there; what the module returns of it."""
    digest = exported.content(exported.path)
    kept = holds(path, exported, digest)
    described = path if kept else exported.path
    state, detail = exported.reproducible
    result = {
        "vm": experiment.vm_name,
        "experiment": experiment.id,
        "provider": experiment.provider,
        "model": exported.model,
        "algorithm": exported.algorithm,
        "format": exported.format,
        "path": str(path),
        "size": described.stat().st_size,
        "sha256": sha256_of(described),
        "content_sha256": digest,
        "model_checksum": exported.checksum,
        "reproducible": {"state": state, "detail": detail},
        "note": exported.note,
        "changed": not kept,
    }
    if exported.note:
        module.warn(f"{experiment.vm_name}: {exported.note}.")
    if kept:
        if path.stat().st_mode & 0o077 and not module.check_mode:
            path.chmod(0o600)
    elif not module.check_mode:
        exported.path.replace(path)
    return result


def body(module: AnsibleModule) -> dict[str, Any]:
    """Find the experiments, fetch all, then store what is new."""
    params = module.params
    if params["max_mib"] < 1:
        raise InvalidInput(f"max_mib is {params['max_mib']}", hint="Give a size in MiB above 0", option="max_mib")
    run, found = find_experiments(params)
    providers = Providers(params["experiments"])
    exporting = [experiment for experiment in found if params["experiment"] or providers.exports(experiment)]
    for experiment in found:
        if experiment not in exporting:
            module.warn(f"{experiment.vm_name}: provider {experiment.provider} has no finished model to fetch.")
    if not exporting:
        raise ExperimentError(
            f"No experiment of run {run.run_id} is of a provider with finished models to fetch",
            hint="Take the models from where the trainings store them",
        )
    wanted = Wanted(params["format"], params["model"], params["max_mib"] << 20)
    before, after = "", ""
    with workshop(module) as folder:
        models = []
        for experiment, exported in fetch_all(providers, exporting, wanted, folder):
            path = Path(params["dest"]) / stored_name(experiment, exported)
            existed = path.exists()
            model = stored(module, experiment, exported, path)
            digest = model["content_sha256"]
            before += line(path, "another model" if model["changed"] else digest) if existed else ""
            after += line(path, digest)
            models.append(model)
    return {
        "changed": any(model["changed"] for model in models),
        "run_id": run.run_id,
        "models": models,
        "diff": {"before": before, "after": after},
    }


def line(path: Path, digest: str) -> str:
    """A model in the diff."""
    return f"{path}: {digest}\n"


def main() -> None:
    """Entry point."""
    run_local(SPEC, body)


if __name__ == "__main__":
    main()
