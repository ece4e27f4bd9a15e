#!/usr/bin/python

# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maintenance_request
short_description: Validate a maintenance request and report its state
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Reads a maintenance request, a small YAML file in a repository, validates it, and reports whether it may be planned or carried
    out now. It does not connect to vCenter and changes nothing.
  - Its JSON Schema is C(gitops/schema/maintenance-request-1.0.json).
extends_documentation_fragment:
  - liveml.vsphere.attributes
  - liveml.vsphere.attributes.info_module
requirements:
  - jsonschema >= 4
  - PyYAML
options:
  path:
    description:
      - File of one request.
    type: path
  folder:
    description:
      - Folder of requests, the files C(*.yml) in it. The module reports the state of each request, V(invalid) for a bad one, and does not fail.
    type: path
  stage:
    description:
      - V(plan) fails if the request has expired.
      - V(apply) also fails before the window of the request, after it failed, and if no plan was approved for exactly this request.
    type: str
    choices: [plan, apply]
    default: plan
  outside_window:
    description:
      - What to do with a request that is not due. V(refuse) fails. V(skip) succeeds and reports RV(state).
    type: str
    choices: [refuse, skip]
    default: refuse
  plan_path:
    description:
      - File of the approved plan. By default C(esx-05.plan.json) beside C(esx-05.yml).
    type: path
  plan_id:
    description:
      - Required ID of the approved plan.
    type: str
    default: ""
  defaults:
    description:
      - Limits for a request that does not state them, in the keys V(evacuated) and V(restored).
    type: dict
    default: {}
  applied_path:
    description:
      - File that records that the request was carried out or failed. By default C(evidence/esx-05/applied.json) in the folder of O(path).
    type: path
"""

EXAMPLES = r"""
- name: Fail if the request may not be carried out now
  liveml.vsphere.maintenance_request:
    path: requests/esx-05.yml
    stage: apply

- name: Read a request before it is planned, with limits for requests that state none
  liveml.vsphere.maintenance_request:
    path: requests/esx-05.yml
    defaults:
      evacuated:
        slots: 4
        stall_budget: 2.0
  register: found

- name: Show its state, and the role that carries it out
  ansible.builtin.debug:
    msg: "{{ found.message }} It is carried out by the role {{ found.role }}."

- name: Read the state of all requests
  liveml.vsphere.maintenance_request:
    folder: requests
  register: all

- name: Show the requests that are due
  ansible.builtin.debug:
    msg: "{{ all.requests | selectattr('state', 'eq', 'due') | map(attribute='subject') }}"
"""

RETURN = r"""
stage:
  description: The option O(stage).
  returned: with O(path)
  type: str
  sample: apply
state:
  description: V(early), V(due), V(expired), V(applied) or V(failed).
  returned: with O(path)
  type: str
  sample: due
message:
  description: The state as a sentence.
  returned: with O(path)
  type: str
  sample: Its window is from 2026-11-02T22:00:00Z until 2026-11-03T04:00:00Z, it is 2026-11-02T22:15:00Z.
request:
  description: The request with its defaults and those in O(defaults).
  returned: with O(path)
  type: dict
  contains:
    sha256:
      description: SHA-256 of the request.
      type: str
      sample: 2f1f5c0a6c3b8d5e0d4c7b9a8e6f1d2c3b4a5968778695a4b3c2d1e0f9a8b7c6
    subject:
      description: The host or the fault domain, in words.
      type: str
      sample: host esx-05
    state:
      description: V(evacuated) or V(restored).
      type: str
      sample: evacuated
    host:
      description: Name of the host, or empty.
      type: str
      sample: esx-05
    fault_domain:
      description: Name of the fault domain, or empty.
      type: str
      sample: ""
    from:
      description: Beginning of the window, in UTC.
      type: str
      sample: "2026-11-02T22:00:00+00:00"
    until:
      description: End of the window, in UTC.
      type: str
      sample: "2026-11-03T04:00:00+00:00"
    policy:
      description: Fault-domain policy for targets.
      type: str
      sample: same_preferred
    scope:
      description: V(both) if files may move with their VMs, else V(compute).
      type: str
      sample: compute
    datastore:
      description: Datastore or datastore cluster to which files move, or empty.
      type: str
      sample: ""
    destination_vcenter:
      description: Other vCenter to which the VMs move, or from which they come home; empty for none.
      type: str
      sample: vcenter.cloud.example.com
    destination_cluster:
      description: Cluster to which the VMs move, or empty for their own.
      type: str
      sample: gpu-cluster
    pool_map:
      description: Mapping of a VM's present resource pool to its pool after the move.
      type: dict
      sample: {ml-training: training/gpu}
    folder_map:
      description: Mapping of a VM's present folder to its folder after the move.
      type: dict
      sample: {ml: ml/gpu}
    network_map:
      description: Mapping of the name of a VM's present network to that of its network after the move.
      type: dict
      sample: {ml-network: ml-network-east}
    limits:
      description: Limits of the run. For a limit that is missing, the default of the role applies.
      type: dict
      contains:
        slots:
          description: Maximum number of simultaneous vMotions per host.
          type: int
          sample: 4
        max_failures:
          description: Number of failures after which no further move starts.
          type: int
          sample: 1
        stall_budget:
          description: Maximum stall of an experiment, in seconds.
          type: float
          sample: 5.0
        memory_headroom:
          description: Percentage of a target's memory that stays free.
          type: int
          sample: 8
        cpu_headroom:
          description: Percentage of a target's CPU that stays free.
          type: int
          sample: 8
        storage_headroom:
          description: Percentage of a datastore that stays free if files move to it.
          type: int
          sample: 10
        exclude_hosts:
          description: Hosts that must not become a target.
          type: list
          elements: str
          sample: [esx-09]
    requester:
      description: Who requested it.
      type: str
      sample: gpu-operations@example.com
    reason:
      description: Why, or empty.
      type: str
      sample: Replace a DIMM
role:
  description: The role of this collection that carries out the request.
  returned: with O(path)
  type: str
  sample: evacuate_host
variables:
  description: The variables of RV(role) that carry out the request.
  returned: with O(path)
  type: dict
  sample:
    evacuate_host_name: esx-05
    evacuate_host_policy: same_preferred
    evacuate_host_slots: 4
plan:
  description: >-
    The approved plan, as in RV(liveml.vsphere.migration_plan#module:plan). Empty if no plan was approved for exactly this request.
  returned: with O(path)
  type: dict
  sample: {}
plan_path:
  description: File of the approved plan.
  returned: with O(path)
  type: str
  sample: requests/esx-05.plan.json
applied_path:
  description: File that records that the request was carried out or failed.
  returned: with O(path)
  type: str
  sample: requests/evidence/esx-05/applied.json
requests:
  description: The requests, sorted by the names of their files.
  returned: with O(folder)
  type: list
  elements: dict
  contains:
    file:
      description: Name of the file.
      type: str
      sample: esx-05.yml
    subject:
      description: The host or the fault domain, in words. Empty if the request is not valid.
      type: str
      sample: host esx-05
    slug:
      description: The subject in small letters, digits and dashes.
      type: str
      sample: host-esx-05
    state:
      description: V(early), V(due), V(expired), V(applied), V(failed) or V(invalid).
      type: str
      sample: due
    message:
      description: The state as a sentence.
      type: str
      sample: Its window is from 2026-11-02T22:00:00Z until 2026-11-03T04:00:00Z, it is 2026-11-02T22:15:00Z.
"""

import errno
import json
import os
import re
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._maintenance_request import (
    MAX_BYTES,
    MaintenanceRequest,
    RequestState,
    Stage,
    applied_of,
    approved_of,
    judge,
    parse_request,
    refuse_plan,
    refuse_time,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._module.entry import run_local

MAX_PLAN_BYTES = 1 << 26  # of a plan or a record; a move takes less than 1 KiB

SPEC: dict[str, Any] = {
    "path": {"type": "path"},
    "folder": {"type": "path"},
    "stage": {"type": "str", "choices": ["plan", "apply"], "default": "plan"},
    "outside_window": {"type": "str", "choices": ["refuse", "skip"], "default": "refuse"},
    "plan_path": {"type": "path"},
    "plan_id": {"type": "str", "default": ""},
    "defaults": {"type": "dict", "default": {}},
    "applied_path": {"type": "path"},
}


def read_request(path: Path) -> MaintenanceRequest:
    """The request in a file. Raises InvalidInput."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", path.name):  # pipelines hand the name to a shell
        raise InvalidInput(
            f"{path} has a name that pipelines cannot use",
            hint="Use letters, digits, dots, dashes and underscores",
            option="path",
        )
    refuse_links(path)
    try:
        text = content_of(path, MAX_BYTES + 1).decode()
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be read: {error.strerror}", hint="Set path to the file of a request", option="path"
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8", hint="Set path to the file of a request", option="path") from error
    return parse_request(text, str(path))


def content_of(path: Path, size: int) -> bytes:
    """The first bytes of a file. A symbolic link in a repository may lead to any file of the runner, so none is followed.

    Raises OSError.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        return stream.read(size)


def refuse_links(path: Path) -> None:
    """Raise InvalidInput if the record or the evidence of a request would be somewhere else: a link leads out of the repository."""
    evidence = path.parent / "evidence"
    link = next((each for each in (evidence, evidence / path.stem) if each.is_symlink()), None)
    if link is not None:
        raise InvalidInput(f"{link} is a link", hint="Remove it: evidence is kept in this repository", option="path")


def read_json(path: Path) -> object:
    """The JSON in a file, ``None`` if the file does not exist. Raises InvalidInput if it is damaged."""
    try:
        return json.loads(content_of(path, MAX_PLAN_BYTES).decode())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}", hint="Restore the file, or remove it") from error


def plan_path_of(path: Path) -> Path:
    """Where the approved plan of a request is."""
    return path.with_suffix(".plan.json")


def applied_path_of(path: Path) -> Path:
    """Where the record of a request is."""
    return path.parent / "evidence" / path.stem / "applied.json"


def described(request: MaintenanceRequest) -> dict[str, Any]:
    """The request as the module returns it."""
    return {
        "sha256": request.sha256,
        "subject": request.subject,
        "state": request.state,
        "host": request.host or "",
        "fault_domain": request.fault_domain or "",
        "from": request.begins.isoformat(),
        "until": request.ends.isoformat(),
        "policy": request.policy,
        **request.destination,
        "destination_vcenter": request.destination_vcenter,
        "limits": dict(request.limits),
        "requester": request.requester,
        "reason": request.reason,
    }


def one(params: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Judge one request."""
    path, stage = Path(params["path"]), Stage(params["stage"])
    plan_path = Path(params["plan_path"] or plan_path_of(path))
    applied_path = Path(params["applied_path"] or applied_path_of(path))
    request = read_request(path)
    request = replace(request, limits={**(params["defaults"].get(request.state) or {}), **request.limits})
    judged = judge(request, now, applied_of(read_json(applied_path)))
    if params["outside_window"] == "refuse":
        refuse_time(judged, stage, str(path))
    approved = approved_of(read_json(plan_path))
    if stage is Stage.APPLY and judged.state is RequestState.DUE:
        refuse_plan(request, approved, params["plan_id"], str(path))
    fitting = approved is not None and approved.request_sha256 == request.sha256
    plan = dict(approved.plan) if approved is not None and fitting else {}
    return {
        "stage": str(stage),
        "state": str(judged.state),
        "message": judged.message,
        "request": described(request),
        "role": request.role,
        "variables": request.variables(plan),
        "plan": plan,
        "plan_path": str(plan_path),
        "applied_path": str(applied_path),
    }


def every(folder: Path, now: datetime) -> dict[str, Any]:
    """Judge each request of a folder. Raises InvalidInput if it is not a folder."""
    if folder.is_symlink() or not folder.is_dir():
        raise InvalidInput(
            f"{folder} is not a folder", hint="Set folder to the folder of the requests", option="folder"
        )
    return {"requests": [entry(path, now) for path in sorted(folder.glob("*.yml"))]}


def entry(path: Path, now: datetime) -> dict[str, str]:
    """One request of a folder; ``slug`` names its subject where only letters, digits and dashes are allowed."""
    try:
        request = read_request(path)
        judged = judge(request, now, applied_of(read_json(applied_path_of(path))))
    except InvalidInput as error:
        return {"file": path.name, "subject": "", "slug": "", "state": "invalid", "message": str(error)}
    slug = re.sub(r"[^A-Za-z0-9]+", "-", request.subject).lower()
    state, message = str(judged.state), judged.message
    return {"file": path.name, "subject": request.subject, "slug": slug, "state": state, "message": message}


def body(module: AnsibleModule) -> dict[str, Any]:
    """Judge by the clock of this machine."""
    now = datetime.now(UTC)
    if not (module.params["folder"] or module.params["path"]):
        raise InvalidInput("path and folder are empty", hint="Set path to the file of a request", option="path")
    if module.params["folder"]:
        return every(Path(module.params["folder"]), now)
    return one(module.params, now)


def main() -> None:
    """Entry point."""
    run_local(SPEC, body, required_one_of=[("path", "folder")], mutually_exclusive=[("path", "folder")])


if __name__ == "__main__":
    main()
