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
"""

RETURN = r"""
stage:
  description: The option O(stage).
  returned: with O(path)
  type: str
state:
  description: V(early), V(due), V(expired), V(applied) or V(failed).
  returned: with O(path)
  type: str
message:
  description: The state as a sentence.
  returned: with O(path)
  type: str
request:
  description: The request with its defaults and those in O(defaults).
  returned: with O(path)
  type: dict
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
  description: The approved plan. Empty if no plan was approved for exactly this request.
  returned: with O(path)
  type: dict
plan_path:
  description: File of the approved plan.
  returned: with O(path)
  type: str
applied_path:
  description: File of the record.
  returned: with O(path)
  type: str
requests:
  description: C(file), C(subject), C(slug), C(state) and C(message) of each request, by the file's name.
  returned: with O(folder)
  type: list
  elements: dict
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
