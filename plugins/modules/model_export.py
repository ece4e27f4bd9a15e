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
  - Fetches the models that the experiments of a run have trained, each into a file of its own, with checksums.
  - Fails if an experiment is not finished, reports its progress, and stores nothing. To wait, use
    M(liveml.vsphere.experiment_wait).
  - From H2O-3 servers it fetches the MOJO, or the binary model if the server cannot export a MOJO. From Driverless AI it fetches a
    scoring pipeline that the server has already built.
  - The module only reads from the experiment servers. It does not connect to vCenter. File names never come from a server.
extends_documentation_fragment:
  - liveml.vsphere.attributes
  - liveml.vsphere.experiments
options:
  dest:
    description:
      - Directory for the models. It is created if it does not exist. Only the owner can read the files.
    type: path
    required: true
  state_dir:
    description:
      - Directory that contains the runs.
    type: path
    default: ~/.local/state/liveml.vsphere
  run_id:
    description:
      - ID of the run. The default is the newest run with an experiment that fits O(vm) and O(experiment).
    type: str
  vm:
    description:
      - Name or MoID of a VM. Only experiments in this VM are fetched.
    type: str
  experiment:
    description:
      - ID of an experiment, as in the evidence. Only this experiment is fetched.
    type: str
  model:
    description:
      - Name of the model of a grid search or an AutoML. The default is the best model.
    type: str
  format:
    description:
      - V(mojo) is the MOJO of H2O-3, or the MOJO scoring pipeline of Driverless AI.
      - V(binary) is the model of H2O-3 that only a server of the same release can load.
      - V(python) is the Python scoring pipeline of Driverless AI.
      - V(auto) takes the MOJO if there is one. Otherwise it takes another format, with a warning.
    type: str
    choices: [auto, mojo, binary, python]
    default: auto
  max_mib:
    description:
      - Maximum size of a model in MiB. A larger model is not stored.
    type: int
    default: 4096
attributes:
  check_mode:
    support: full
    details: The models are fetched into a temporary directory, compared and removed.
  diff_mode:
    support: full
  idempotent:
    support: full
    details: A file with the same model is kept, although H2O-3 exports a MOJO with other bytes each time.
seealso:
  - module: liveml.vsphere.experiment_wait
  - module: liveml.vsphere.vm_migrate
"""

EXAMPLES = r"""
- name: Wait until the experiments of the newest run are finished
  liveml.vsphere.experiment_wait:
    until: finished
    wait_timeout: 7200

- name: Fetch the models that they have trained
  liveml.vsphere.model_export:
    dest: /srv/models

- name: Fetch one model of one VM in the binary format
  liveml.vsphere.model_export:
    dest: /srv/models
    vm: ML-cpu-vm-04
    format: binary
  register: export

- name: Show the file and its checksum
  ansible.builtin.debug:
    msg: "{{ item.path }}: {{ item.sha256 }}"
  loop: "{{ export.models }}"

- name: See which models of an earlier run could be fetched, without storing them
  liveml.vsphere.model_export:
    run_id: 20260131T090000Z-evacuate-esx-05-7f3a
    dest: /srv/models
    max_mib: 512
  check_mode: true
"""

RETURN = r"""
run_id:
  description: ID of the run.
  returned: always
  type: str
  sample: 20260131T090000Z-evacuate-esx-05-7f3a
models:
  description: The models.
  returned: always
  type: list
  elements: dict
  contains:
    vm:
      description: Name of the VM.
      type: str
      sample: ML-cpu-vm-04
    experiment:
      description: ID of the experiment on its server.
      type: str
      sample: $03017f00000132d4ffffffff$_adf5
    provider:
      description: Provider that found the experiment.
      type: str
      sample: h2o3
    model:
      description: Name of the model on its server.
      type: str
      sample: gbm_arr_delay_1
    algorithm:
      description: Algorithm, as H2O-3 names it.
      type: str
      sample: gbm
    format:
      description: Format that was fetched, V(mojo), V(binary) or V(python).
      type: str
      sample: mojo
    path:
      description: Path of the file.
      type: str
      sample: /srv/models/ML-cpu-vm-04-3f0f1d2c4b5a.zip
    size:
      description: Size of the file in bytes.
      type: int
      sample: 81344
    sha256:
      description: SHA-256 of the file.
      type: str
      sample: 2f1f5c0a6c3b8d5e0d4c7b9a8e6f1d2c3b4a5968778695a4b3c2d1e0f9a8b7c6
    content_sha256:
      description: SHA-256 of the parts of the model that decide its predictions. Equal MOJOs have the same one, whenever they were trained.
      type: str
      sample: 9c1e0f4b7a6d5c3e2f1a0b9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e
    model_checksum:
      description: Checksum of the model by H2O-3. The same model has the same one.
      type: str
      sample: "-6153384527402145104"
    reproducible:
      description: Whether the same seed and data would give the same model.
      type: dict
      contains:
        state:
          description: V(yes), V(no) or V(unknown).
          type: str
          sample: "yes"
        detail:
          description: Under which conditions, or why not.
          type: str
          sample: seed 2013
    note:
      description: What to know about the format, for example why it is not a MOJO.
      type: str
      sample: ""
    changed:
      description: Whether the file was written.
      type: bool
      sample: true
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
    ExportRequest,
    holds,
    sha256_of,
    stored_name,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import EXPERIMENT_SPEC, STATE_DIR_SPEC
from ansible_collections.liveml.vsphere.plugins.module_utils._module.entry import run_local, show_warnings
from ansible_collections.liveml.vsphere.plugins.module_utils._run.state import RunState
from ansible_collections.liveml.vsphere.plugins.module_utils._run.store import (
    RunFilter,
    find_run,
    no_run,
    state_to_read,
    stored_runs,
)

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


def matches(experiment: Experiment, params: dict[str, Any]) -> bool:
    """Whether the options ``vm`` and ``experiment`` select an experiment."""
    vm = params["vm"] in (None, experiment.vm_name, experiment.vm)
    return vm and params["experiment"] in (None, experiment.id)


def find_experiments(params: dict[str, Any]) -> tuple[RunState, list[Experiment]]:
    """The selected run and its selected experiments. Raises NotFound."""
    state = state_to_read(params["state_dir"])

    def chosen(run: RunState) -> list[Experiment]:
        # A cluster has one experiment per node, but they train one model.
        return list({key_of(e): e for e in run.experiments if matches(e, params)}.values())

    run = find_run(state, RunFilter(run_id=params["run_id"]), holds=lambda run: bool(chosen(run)))
    if run is not None:
        return run.state, chosen(run.state)
    if not any(stored_runs(state)):
        raise no_run(state)
    options = ", ".join(f"{name} {params[name]}" for name in ("run_id", "vm", "experiment") if params[name])
    raise NotFound(
        f"No run in {params['state_dir']} has an experiment{f' with {options}' if options else ''}",
        hint="Correct state_dir, run_id, vm or experiment. The evidence of a run names its experiments",
        option="run_id",
    )


@contextmanager
def staging_folder(module: AnsibleModule) -> Iterator[Path]:
    """A private, temporary folder for fetched files.

    It is in ``dest``, so that a file can be moved to its place in one step. In check mode it is elsewhere. Raises InvalidInput.
    """
    dest = Path(module.params["dest"])
    where = Path(module.tmpdir) if module.check_mode else dest
    try:
        if not module.check_mode:
            dest.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".liveml-", dir=where))
    except OSError as error:
        raise InvalidInput(
            f"{where} cannot be used: {error.strerror}",
            hint="Set dest to a directory that this user can write",
            option="dest",
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fetch_all(
    providers: Providers, experiments: list[Experiment], request: ExportRequest, folder: Path
) -> list[tuple[Experiment, Exported]]:
    """Fetch the models of all experiments. Raises one ExperimentError for all that cannot be fetched."""
    fetched, errors = [], []
    for number, experiment in enumerate(experiments):
        place = folder / str(number)
        place.mkdir(mode=0o700)
        try:
            fetched.append((experiment, providers.export(experiment, request, place)))
        except ExperimentError as error:
            errors.append(error)
    if errors:
        what = "; ".join(error.message for error in errors)
        hint = "; ".join(dict.fromkeys(error.hint for error in errors))
        raise ExperimentError(f"No model was stored: {what}", hint=hint)
    return fetched


def store_model(module: AnsibleModule, experiment: Experiment, exported: Exported, path: Path) -> dict[str, Any]:
    """Move a model to its place, unless the same model is there already. Returns the module's result for it."""
    digest = exported.content(exported.path)
    kept = holds(path, exported, digest)
    file = path if kept else exported.path
    state, detail = exported.reproducible
    result = {
        "vm": experiment.vm_name,
        "experiment": experiment.id,
        "provider": experiment.provider,
        "model": exported.model,
        "algorithm": exported.algorithm,
        "format": exported.format,
        "path": str(path),
        "size": file.stat().st_size,
        "sha256": sha256_of(file),
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
    """Find the experiments, fetch all models, then store those that are new."""
    params = module.params
    if params["max_mib"] < 1:
        raise InvalidInput(f"max_mib is {params['max_mib']}", hint="Set max_mib to 1 or more", option="max_mib")
    run, found = find_experiments(params)
    providers = Providers(params["experiments"])
    show_warnings(module, providers.warnings)
    exporting = [experiment for experiment in found if params["experiment"] or providers.exports(experiment)]
    for experiment in found:
        if experiment not in exporting:
            module.warn(f"{experiment.vm_name}: models cannot be fetched from provider {experiment.provider}.")
    if not exporting:
        raise ExperimentError(
            f"Models cannot be fetched from the providers of run {run.run_id}",
            hint="Copy the models from the place where the trainings store them",
        )
    request = ExportRequest(params["format"], params["model"], params["max_mib"] << 20)
    before, after = "", ""
    with staging_folder(module) as folder:
        models = []
        for experiment, exported in fetch_all(providers, exporting, request, folder):
            path = Path(params["dest"]) / stored_name(experiment, exported)
            existed = path.exists()
            model = store_model(module, experiment, exported, path)
            digest = model["content_sha256"]
            before += diff_line(path, "another model" if model["changed"] else digest) if existed else ""
            after += diff_line(path, digest)
            models.append(model)
    return {
        "changed": any(model["changed"] for model in models),
        "run_id": run.run_id,
        "models": models,
        "diff": {"before": before, "after": after},
    }


def diff_line(path: Path, digest: str) -> str:
    """The line of a model in the diff."""
    return f"{path}: {digest}\n"


def main() -> None:
    """Entry point."""
    run_local(SPEC, body)


if __name__ == "__main__":
    main()
