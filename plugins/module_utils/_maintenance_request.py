# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Maintenance requests: a small reviewed file that asks for one evacuation or restore within a window. Pure.

A request is an operation, not a desired state: it is carried out at most once, and never outside its window.
All times are UTC; a time without a zone is refused wherever it comes from.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from ._core.errors import InvalidInput, PlanRefused

VERSION = "1.0"
MAX_BYTES = 65_536
MAX_NESTED = 500  # brackets: the time to read YAML grows with the square of their depth
# Names end up in job names and file names of pipelines, texts in comments: neither may carry mark-up.
# Python's $ also fits before a last line break; JavaScript's, in editors, knows no \Z. So the end is said so that both understand.
_END = r"$(?!\n)"
_NAME = rf"^[A-Za-z0-9][A-Za-z0-9 ._-]{{0,126}}{_END}"
_PATH = rf"^[A-Za-z0-9/][A-Za-z0-9 ._/-]{{0,254}}{_END}"
_TEXT = rf"^[^\x00-\x1f\x7f`<>|\\]{{1,300}}{_END}"
_TIME = rf"^\d{{4}}-\d{{2}}-\d{{2}}T\d{{2}}:\d{{2}}(:\d{{2}})?Z{_END}"

_ROLES = {"evacuated": "evacuate_host", "restored": "restore_host"}
_PLANNING = frozenset(
    {"memory_headroom", "cpu_headroom", "exclude_hosts", "storage_headroom"}
)  # the others are those of a run
_EVACUATION = frozenset(
    {"exclude_hosts", "storage_headroom"}
)  # VMs come home whichever hosts are excluded, and need no headroom
_SCOPE = "compute"  # the default
_MAPS = ("pool_map", "folder_map", "network_map")
_TARGETS = ("scope", "datastore", "destination_cluster", *_MAPS)  # where an evacuation brings VMs and files


def _name(description: str) -> dict[str, Any]:
    return {"type": "string", "pattern": _NAME, "description": description}


def _percentage(description: str) -> dict[str, Any]:
    return {"type": "integer", "minimum": 0, "maximum": 99, "description": description}


def _map(description: str) -> dict[str, Any]:
    names = {"type": "string", "pattern": _PATH}
    return {"type": "object", "propertyNames": names, "additionalProperties": names, "description": description}


# JSON Schema of a request; gitops/schema/maintenance-request-1.0.json is this, for editors and pipelines. It is Python
# here, because only Python files travel with a module.
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Maintenance request of liveml.vsphere",
    "description": "Requests one evacuation of a host or fault domain, or the restore after it, within a window.",
    "type": "object",
    "additionalProperties": False,
    "required": ["version", "state", "window", "requester"],
    "properties": {
        "version": {"const": VERSION, "description": "Version of this format, in quotes."},
        "state": {
            "enum": ["evacuated", "restored"],
            "description": "evacuated: empty the host and enter maintenance mode. restored: bring its VMs home.",
        },
        "host": _name("Name or MoID of the host. Alternatively set fault_domain."),
        "fault_domain": _name("Fault domain; its hosts are processed one after the other. Alternatively set host."),
        "window": {
            "type": "object",
            "additionalProperties": False,
            "required": ["from", "until"],
            "description": "Time in which the run may begin: from (included) until (excluded).",
            "properties": {
                "from": {"type": "string", "pattern": _TIME, "description": "UTC, for example 2026-11-02T22:00:00Z."},
                "until": {"type": "string", "pattern": _TIME, "description": "UTC, for example 2026-11-03T04:00:00Z."},
            },
        },
        "policy": {
            "enum": ["same_preferred", "other_preferred", "same_only", "other_only", "any"],
            "description": "Fault-domain policy for targets. With fault_domain the policy is always other_only.",
        },
        "scope": {
            "enum": ["compute", "both"],
            "description": "both: files move with their VM if the target does not mount their datastore, or if datastore is set. "
            "compute, the default: files stay. Moving files alone does not empty a host; use the playbook migrate_vm for that.",
        },
        "datastore": _name(
            "Name or MoID of the datastore or datastore cluster to which files move. Requires scope: both or destination_vcenter."
        ),
        "destination_cluster": {
            "type": "string",
            "pattern": _PATH,
            "description": "Name, inventory path or MoID of the cluster to which the VMs of a host move.",
        },
        "destination_vcenter": _name(
            "Name or address of the other vCenter to which the VMs of a host move with their files, or from which they come home. Its "
            "login is not part of a request; the pipeline has it."
        ),
        "pool_map": _map(
            "Mapping of a VM's present resource pool to its pool in destination_cluster or destination_vcenter. Both are paths below the "
            "root pool, which is /."
        ),
        "folder_map": _map(
            "Mapping of a VM's present folder to its folder after the move. Both are paths below the folder of all VMs, which is /."
        ),
        "network_map": _map(
            "Mapping of the name of a VM's present network to that of its network in destination_cluster or destination_vcenter."
        ),
        "limits": {
            "type": "object",
            "additionalProperties": False,
            "description": "Limits of the run.",
            "properties": {
                "slots": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 8,
                    "description": "Maximum number of simultaneous vMotions per host.",
                },
                "max_failures": {
                    "type": "integer",
                    "minimum": 1,
                    "description": "If failed moves and interrupted experiments together reach this number, no further move starts.",
                },
                "stall_budget": {
                    "type": "number",
                    "exclusiveMinimum": 0,
                    "description": "Maximum stall of an experiment, in seconds.",
                },
                "memory_headroom": _percentage("Percentage of a target's memory that stays free."),
                "cpu_headroom": _percentage("Percentage of a target's CPU that stays free."),
                "storage_headroom": _percentage("Percentage of a datastore that stays free if files move to it."),
                "exclude_hosts": {
                    "type": "array",
                    "items": _name("Host."),
                    "uniqueItems": True,
                    "description": "Hosts that must not become a target.",
                },
            },
        },
        "requester": {
            "type": "string",
            "pattern": _TEXT,
            "description": "Who requests the maintenance, in one line without markup.",
        },
        "reason": {
            "type": "string",
            "pattern": _TEXT,
            "description": "Reason for the maintenance, in one line without markup.",
        },
    },
    "oneOf": [{"required": ["host"]}, {"required": ["fault_domain"]}],
    "dependentSchemas": {"fault_domain": {"properties": {"policy": {"const": "other_only"}}}},
}

# What a request must not have together, beyond its schema: the keys, when they are wrong, and what to do instead.
_CONFLICTS: tuple[tuple[tuple[str, ...], Callable[[Mapping[str, Any]], bool], str, str], ...] = (
    (
        _TARGETS,
        lambda request: request["state"] == "restored",
        "a restore brings VMs and files to where they were recorded",
        "Remove it",
    ),
    (
        ("destination_cluster", "destination_vcenter"),
        lambda request: "fault_domain" in request,
        "the VMs of a fault domain stay in its cluster",
        "Request each host, or remove it",
    ),
    (
        _MAPS,
        lambda request: "destination_cluster" not in request and "destination_vcenter" not in request,
        "it needs destination_cluster or destination_vcenter",
        "Add that, or remove it",
    ),
    (
        ("datastore",),
        lambda request: request.get("scope", _SCOPE) != "both" and "destination_vcenter" not in request,
        "files move only with scope: both",
        "Add that, or remove it",
    ),
)


class RequestState(StrEnum):
    """What time and record say about a request."""

    EARLY = "early"
    DUE = "due"
    EXPIRED = "expired"
    APPLIED = "applied"
    FAILED = "failed"


class Stage(StrEnum):
    """What somebody wants to do with a request."""

    PLAN = "plan"
    APPLY = "apply"


@dataclass(frozen=True, slots=True)
class MaintenanceRequest:
    """A valid request. ``sha256`` identifies its content, whatever the file's layout and comments."""

    sha256: str
    state: str
    host: str | None
    fault_domain: str | None
    begins: datetime
    ends: datetime
    policy: str
    limits: Mapping[str, Any]
    requester: str
    reason: str = ""
    targets: Mapping[str, Any] = field(default_factory=dict)  # the keys of ``_TARGETS`` that it states
    destination_vcenter: str = ""  # its name, without a login

    @property
    def subject(self) -> str:
        """``host esx-05`` or ``fault domain us-west-2b``."""
        return f"host {self.host}" if self.host is not None else f"fault domain {self.fault_domain}"

    @property
    def role(self) -> str:
        """The role of this collection that carries it out."""
        if self.fault_domain is not None:
            return "fault_domain"
        return _ROLES[self.state]

    def variables(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        """The variables of that role for an approved plan. Limits of a run belong to the role of each host."""
        of_hosts = _ROLES[self.state]
        found: dict[str, Any] = {
            f"{self.role}_name": self.host or self.fault_domain,
            f"{self.role}_approved": dict(plan),
        }
        if self.role == "fault_domain":
            found["fault_domain_state"] = self.state
        if self.role == "evacuate_host":
            found["evacuate_host_policy"] = self.policy
        found |= {f"{self.role}_{name}": value for name, value in self.targets.items()}
        for name, value in self.limits.items():
            if self.role != "restore_host" or name not in _EVACUATION:
                found[f"{self.role if name in _PLANNING else of_hosts}_{name}"] = value
        return found

    @property
    def destination(self) -> dict[str, Any]:
        """Where VMs and files may go, with the defaults."""
        empty = {name: {} if name in _MAPS else "" for name in _TARGETS}
        return {**empty, "scope": _SCOPE, **self.targets}


@dataclass(frozen=True, slots=True)
class Applied:
    """The record of a request that was carried out, or that failed. A killed run leaves no record; it is resumed."""

    request_sha256: str
    plan_id: str
    at: str  # UTC, ISO 8601
    failed: str = ""  # why it failed; empty when it did not


@dataclass(frozen=True, slots=True)
class ApprovedPlan:
    """A plan that lies beside its request in the repository; ``plan`` is what migration_plan returned."""

    request_sha256: str
    plan: Mapping[str, Any]

    @property
    def plan_id(self) -> str:
        """The plan's id, which the plan codec verifies against the content."""
        return str(self.plan.get("plan_id", ""))


@dataclass(frozen=True, slots=True)
class Judged:
    """A request's state at a moment, as one sentence too."""

    state: RequestState
    message: str


def parse_request(text: str, source: str) -> MaintenanceRequest:
    """The request in a YAML text; ``source`` names it in errors.

    Raises InvalidInput with the first thing that is wrong and the remedy, ImportError without jsonschema or PyYAML.
    """
    document = _validated(_document(text, source), source)
    window = document["window"]
    begins, ends = (_time(window[key], f"window.{key}", source) for key in ("from", "until"))
    if ends <= begins:
        raise _wrong(source, "window.until", f"{window['until']} is not after {window['from']}", "Give a later time")
    return MaintenanceRequest(
        sha256=hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest(),
        state=document["state"],
        host=document.get("host"),
        fault_domain=document.get("fault_domain"),
        begins=begins,
        ends=ends,
        policy=document.get("policy", "other_only" if "fault_domain" in document else "same_preferred"),
        limits=document.get("limits", {}),
        requester=document["requester"],
        reason=document.get("reason", ""),
        targets={key: document[key] for key in _TARGETS if key in document},
        destination_vcenter=document.get("destination_vcenter", ""),
    )


def judge(request: MaintenanceRequest, now: datetime, applied: Applied | None) -> Judged:
    """Early, due, expired, applied or failed. A record of another content of the request does not count."""
    if now.tzinfo is None:
        raise ValueError("now has no time zone")
    window = f"from {_text(request.begins)} until {_text(request.ends)}"
    present = f"it is {_text(now)}"
    if applied is not None and applied.request_sha256 == request.sha256:
        if applied.failed:
            return Judged(RequestState.FAILED, f"It failed at {applied.at}: {applied.failed}")
        return Judged(RequestState.APPLIED, f"Applied at {applied.at}; nothing to do.")
    if now < request.begins:
        return Judged(RequestState.EARLY, f"Its window is {window}, {present}.")
    if now >= request.ends:
        return Judged(RequestState.EXPIRED, f"Its window was {window}, {present}. An expired request never runs.")
    return Judged(RequestState.DUE, f"Its window is {window}, {present}.")


def refuse_time(judged: Judged, stage: Stage, source: str) -> None:
    """Raises PlanRefused if the request may not pass the stage now. Planning before the window is allowed."""
    if judged.state is RequestState.EXPIRED:
        raise PlanRefused(f"{source} has expired. {judged.message}", hint="Get a new window approved")
    if judged.state is RequestState.FAILED and stage is Stage.APPLY:
        raise PlanRefused(
            f"{source} is not repeated automatically. {judged.message}",
            hint="Find the cause. Then remove applied.json beside the evidence, or change the request",
        )
    if judged.state is RequestState.EARLY and stage is Stage.APPLY:
        raise PlanRefused(
            f"{source} is not due yet. {judged.message}",
            hint="Run it within the window, or get another window approved",
        )


def refuse_plan(request: MaintenanceRequest, approved: ApprovedPlan | None, plan_id: str, source: str) -> None:
    """Raises PlanRefused unless a plan was approved for just this request; ``plan_id`` (may be empty) must be its id."""
    if approved is None:
        raise PlanRefused(
            f"No plan was approved for {source}",
            hint="Run the playbook with --check, and get the plan that it writes approved",
        )
    if approved.request_sha256 != request.sha256:
        raise PlanRefused(
            f"The plan beside {source} was made for another version of the request",
            hint="Run the playbook with --check again, and get the new plan approved",
        )
    if plan_id not in ("", approved.plan_id):
        raise PlanRefused(
            f"The plan beside {source} is {approved.plan_id[:12]}, not {plan_id[:12]} as requested",
            hint="Set plan_id to the ID of the approved plan, or omit it",
            option="plan_id",
        )


def applied_of(data: object) -> Applied | None:
    """The record in a document; ``None`` if the document does not contain one."""
    fields = ("request_sha256", "plan_id", "at")
    if not isinstance(data, dict) or not all(isinstance(data.get(field), str) for field in fields):
        return None
    request_sha256, plan_id, at = (data[field] for field in fields)
    return Applied(request_sha256, plan_id, at, str(data.get("failed") or ""))


def approved_of(data: object) -> ApprovedPlan | None:
    """The approved plan in a document; ``None`` if the document does not contain one."""
    if not isinstance(data, dict) or not isinstance(data.get("plan"), dict):
        return None
    return ApprovedPlan(str(data.get("request_sha256", "")), data["plan"])


def _time(text: str, key: str, source: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise _wrong(source, key, f"{text} is not a date and time", "Write UTC as 2026-11-02T22:00:00Z") from error
    return moment.astimezone(UTC)  # the schema's pattern demands the Z


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _wrong(source: str, key: str, what: str, hint: str) -> InvalidInput:
    return InvalidInput(f"{source}: {key}: {what}" if key else f"{source}: {what}", hint=hint, option=key or None)


def _document(text: str, source: str) -> object:
    """The YAML of a request: times stay text, and what a reviewer could overlook (aliases, a key twice) is refused."""
    import yaml  # noqa: PLC0415 - the module reports a missing library

    class Loader(yaml.SafeLoader):
        """One document of plain data."""

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            """A node; no alias, which could also make a small file huge."""
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("aliases are not allowed")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
            """A mapping with each key once."""
            keys = Counter(key.value for key, _value in node.value if isinstance(key, yaml.ScalarNode))
            twice = next((key for key, count in keys.items() if count > 1), None)
            if twice is not None:
                raise yaml.YAMLError(f"the key {twice} occurs twice")
            return super().construct_mapping(node, deep)

    def _as_text(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
        return loader.construct_scalar(node)

    def _finite(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
        value = loader.construct_yaml_float(node)
        if not math.isfinite(value):
            raise yaml.YAMLError(f"{node.value} is not a finite number")
        return value

    Loader.add_constructor("tag:yaml.org,2002:timestamp", _as_text)
    Loader.add_constructor("tag:yaml.org,2002:float", _finite)
    _refuse_size(text, source)
    try:
        return yaml.load(text, Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _wrong(source, "", f"it cannot be read ({_problem(error)})", "Write it as plain YAML") from error


def _refuse_size(text: str, source: str) -> None:
    if len(text.encode()) > MAX_BYTES:
        raise _wrong(source, "", f"it is longer than {MAX_BYTES} bytes", "Use one file per request")
    if text.count("[") + text.count("{") > MAX_NESTED:
        raise _wrong(source, "", "it cannot be read (too many brackets)", "Write it as plain YAML")


def _problem(error: Exception) -> str:
    """What is wrong with a text, without the excerpt of it that PyYAML adds."""
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark is not None else ""
    return where + " ".join(str(getattr(error, "problem", None) or error).split())[:200]


def _validated(document: object, source: str) -> dict[str, Any]:
    import jsonschema  # noqa: PLC0415 - see above

    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(SCHEMA).iter_errors(document))
    if error is None and isinstance(document, dict):
        _refuse_conflicts(document, source)
        return document
    if not isinstance(document, dict):
        raise _wrong(
            source, "", "it is not a mapping of keys to values", f"The keys are {', '.join(SCHEMA['properties'])}"
        )
    path = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "oneOf":
        raise _wrong(source, "", "it must have exactly one of host and fault_domain", "Remove one, or add one")
    hint = error.schema.get("description") if path and isinstance(error.schema, dict) else None
    raise _wrong(source, path, error.message[:200], hint or f"The keys are {', '.join(SCHEMA['properties'])}")


def _refuse_conflicts(document: Mapping[str, Any], source: str) -> None:
    for keys, wrong, why, remedy in _CONFLICTS:
        key = next((key for key in keys if key in document), None)
        if key is not None and wrong(document):
            raise _wrong(source, key, why, remedy)
