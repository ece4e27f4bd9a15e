# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A double of AWX's REST API, as far as the modules of awx.awx use it to make and find objects, and to launch.

It enforces what AWX 24.6.1 enforces: fields and their types, unique names, references that exist, playbooks that the
project has, credentials by the fields of their type, secrets never shown, surveys, workflows without cycles. It runs
nothing; `engine.py` does.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.awx.surveys import answer_errors, why_not_stored

Item = dict[str, Any]
PREFIX = "/api/v2/"
SECRET = "$encrypted$"
LOGIN = ("admin", "a-password-of-the-double")


class Refused(Exception):
    """An answer that is not a success: status and body."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(body)
        self.status, self.body = status, body


@dataclass(frozen=True)
class Field:
    """A writable field. ``kind`` is a JSON type, ``text`` (JSON in a string), or the resource that it refers to."""

    kind: str = "str"
    required: bool = False
    default: Any = None
    choices: tuple[Any, ...] = ()


STR, TEXT = Field(default=""), Field("text", default="")
BOOL, INT = Field("bool", default=False), Field("int", default=0)
UNIFIED = {"name": Field(required=True), "description": STR}
ASKS = {
    f"ask_{what}_on_launch": BOOL for what in ("variables", "inventory", "limit", "scm_branch", "tags", "skip_tags")
}


@dataclass(frozen=True)
class Resource:
    """A collection of the API: its objects' type, fields, what makes one unique, and its lists of associated objects."""

    type: str
    fields: dict[str, Field]
    unique: tuple[str, ...]
    lists: dict[str, str] = field(default_factory=dict)


NOTIFIED = {f"notification_templates_{when}": "notification_templates" for when in ("started", "success", "error")}
NODES = dict.fromkeys(("success_nodes", "failure_nodes", "always_nodes"), "workflow_job_template_nodes")
RESOURCES: dict[str, Resource] = {
    "organizations": Resource("organization", UNIFIED, ("name",)),
    "execution_environments": Resource(
        "execution_environment",
        {
            **UNIFIED,
            "image": Field(required=True),
            "organization": Field("organizations"),
            "pull": Field(default="", choices=("", "always", "missing", "never")),
            "credential": Field("credentials"),
        },
        ("name",),
    ),
    "credential_types": Resource(
        "credential_type",
        {
            **UNIFIED,
            "kind": Field(required=True, choices=("cloud", "net", "registry", "scm")),
            "inputs": Field("dict", default={}),
            "injectors": Field("dict", default={}),
            "managed": BOOL,
        },
        ("name", "kind"),
    ),
    "credentials": Resource(
        "credential",
        {
            **UNIFIED,
            "organization": Field("organizations"),
            "credential_type": Field("credential_types", required=True),
            "inputs": Field("dict", default={}),
        },
        ("organization", "name", "credential_type"),
    ),
    "notification_templates": Resource(
        "notification_template",
        {
            **UNIFIED,
            "organization": Field("organizations", required=True),
            "notification_type": Field(required=True, choices=("webhook",)),
            "notification_configuration": Field("dict", default={}),
            "messages": Field("dict"),
        },
        ("organization", "name"),
    ),
    "projects": Resource(
        "project",
        {
            **UNIFIED,
            "organization": Field("organizations"),
            "scm_type": Field(default="", choices=("", "git", "svn", "archive")),
            "scm_url": STR,
            "scm_branch": STR,
            "scm_update_on_launch": BOOL,
            "scm_update_cache_timeout": INT,
            "local_path": STR,
            "credential": Field("credentials"),
        },
        ("organization", "name"),
    ),
    "inventories": Resource(
        "inventory",
        {
            **UNIFIED,
            "organization": Field("organizations", required=True),
            "kind": Field(default="", choices=("", "smart", "constructed")),
            "host_filter": Field(),
            "variables": TEXT,
        },
        ("organization", "name"),
    ),
    "inventory_sources": Resource(
        "inventory_source",
        {
            **UNIFIED,
            "inventory": Field("inventories", required=True),
            "source": Field(required=True, choices=("scm", "vmware", "ec2")),
            "source_project": Field("projects"),
            "source_path": STR,
            "source_vars": TEXT,
            "timeout": INT,
            "credential": Field("credentials"),
            "execution_environment": Field("execution_environments"),
            "overwrite": BOOL,
            "overwrite_vars": BOOL,
            "update_on_launch": BOOL,
        },
        ("inventory", "name"),
        NOTIFIED,
    ),
    "job_templates": Resource(
        "job_template",
        {
            **UNIFIED,
            **ASKS,
            "job_type": Field(default="run", choices=("run", "check")),
            "inventory": Field("inventories"),
            "project": Field("projects", required=True),
            "playbook": Field(required=True),
            "execution_environment": Field("execution_environments"),
            "extra_vars": TEXT,
            "timeout": INT,
            "diff_mode": BOOL,
            "allow_simultaneous": BOOL,
            "survey_enabled": BOOL,
        },
        ("organization", "name"),
        {**NOTIFIED, "credentials": "credentials"},
    ),
    "workflow_job_templates": Resource(
        "workflow_job_template",
        {
            **UNIFIED,
            **ASKS,
            "organization": Field("organizations"),
            "extra_vars": TEXT,
            "allow_simultaneous": BOOL,
            "survey_enabled": BOOL,
        },
        ("organization", "name"),
        {**NOTIFIED, "notification_templates_approvals": "notification_templates"},
    ),
    "workflow_job_template_nodes": Resource(
        "workflow_job_template_node",
        {
            "identifier": Field(required=True),
            "workflow_job_template": Field("workflow_job_templates", required=True),
            "unified_job_template": Field("unified_job_templates"),
            "extra_data": Field("dict", default={}),
            "all_parents_must_converge": BOOL,
        },
        ("workflow_job_template", "identifier"),
        NODES,
    ),
    "teams": Resource(
        "team", {**UNIFIED, "organization": Field("organizations", required=True)}, ("organization", "name")
    ),
    "workflow_approval_templates": Resource("workflow_approval_template", {**UNIFIED, "timeout": INT}, ("id",)),
}
UNIFIED_TEMPLATES = ("job_templates", "workflow_job_templates", "projects", "workflow_approval_templates")
WEBHOOK: dict[str, tuple[type, Any]] = {
    "url": (str, None),
    "http_method": (str, "POST"),
    "disable_ssl_verification": (bool, False),
    "username": (str, ""),
    "password": (str, ""),
    "headers": (dict, None),
}
VCENTER_FIELDS = [
    {"id": "host", "label": "VCenter Host", "type": "string"},
    {"id": "username", "label": "Username", "type": "string"},
    {"id": "password", "label": "Password", "type": "string", "secret": True},
]
MANAGED = {
    "VMware vCenter": ("cloud", "vmware", VCENTER_FIELDS, ["host", "username", "password"]),
    "Container Registry": (
        "registry",
        "registry",
        [
            {"id": "host", "label": "Authentication URL", "type": "string"},
            {"id": "username", "label": "Username", "type": "string"},
            {"id": "password", "label": "Password or Token", "type": "string", "secret": True},
            {"id": "verify_ssl", "label": "Verify SSL", "type": "boolean"},
        ],
        ["host"],
    ),
    "Source Control": (
        "scm",
        "scm",
        [
            {"id": "username", "label": "Username", "type": "string"},
            {"id": "password", "label": "Password", "type": "string", "secret": True},
            {"id": "ssh_key_data", "label": "SCM Private Key", "type": "string", "secret": True},
        ],
        [],
    ),
}
# Roles on an object that a team can have.
OBJECT_ROLES = {
    "job_templates": ("admin_role", "execute_role", "read_role"),
    "workflow_job_templates": ("admin_role", "execute_role", "read_role", "approval_role"),
}
JSON_TYPES = {"str": str, "text": str, "bool": bool, "int": int, "dict": dict}


class Store:
    """The objects, by resource and id. ``project`` is the folder in which every project finds its playbooks.

    ``reachable`` is whether AWX reaches the Git server, and what a project's requirements.yml makes it install.
    """

    def __init__(self, project: Path, *, reachable: bool = True) -> None:
        self.items: dict[str, dict[int, Item]] = {name: {} for name in RESOURCES}
        self.lists: dict[tuple[str, int, str], list[int]] = {}
        self.surveys: dict[tuple[str, int], Item] = {}
        self.secrets: dict[int, Item] = {}
        self.writes: list[str] = []
        self.launched: list[Item] = []
        self.updates: dict[int, Item] = {}
        self.members: dict[int, set[int]] = {}  # teams by the id of a role
        self.reachable = reachable
        self._project = project
        self._next = 1
        self.create("organizations", {"name": "Default"})
        for name, (kind, _namespace, fields, required) in MANAGED.items():
            inputs = {"fields": fields, "required": required}
            self.create("credential_types", {"name": name, "kind": kind, "inputs": inputs, "managed": True})
        self.writes.clear()

    # reading

    def found(self, resource: str, query: list[tuple[str, str]]) -> list[Item]:
        """Objects that fit every filter; ``or__`` filters fit when one of them does."""
        if resource == "unified_job_templates":
            every = [item for name in UNIFIED_TEMPLATES for item in self.items[name].values()]
        else:
            every = list(self.items[resource].values())
        musts = [(key, value) for key, value in query if not key.startswith("or__")]
        ors = [(key.removeprefix("or__"), value) for key, value in query if key.startswith("or__")]
        for key, _value in musts + ors:
            if every and not any(key in item for item in every):
                raise Refused(400, {"detail": f"{resource} has no field named '{key}'"})

        def fits(item: Item, key: str, value: str) -> bool:
            return str(item.get(key)) == value

        return [
            item
            for item in every
            if all(fits(item, *must) for must in musts) and (not ors or any(fits(item, *one) for one in ors))
        ]

    def one(self, resource: str, number: int) -> Item:
        """An object by id. Raises Refused 404."""
        names = UNIFIED_TEMPLATES if resource == "unified_job_templates" else (resource,)
        for name in names:
            if number in self.items[name]:
                return self.items[name][number]
        raise Refused(404, {"detail": "Not found."})

    def named(self, resource: str, name: str) -> Item:
        """An object by name, for tests."""
        (item,) = self.found(resource, [("name", name)])
        return item

    def associated(self, resource: str, number: int, name: str) -> list[Item]:
        """The objects of an association."""
        other = self._other(resource, number, name)
        return [self.items[other][one] for one in self.lists.get((resource, number, name), [])]

    def _other(self, resource: str, number: int, name: str) -> str:
        self.one(resource, number)
        if name not in RESOURCES[resource].lists:
            raise Refused(404, {"detail": "Not found."})
        return RESOURCES[resource].lists[name]

    # writing

    def create(self, resource: str, data: Item) -> Item:
        """Make an object. Raises Refused 400."""
        kind = RESOURCES[resource]
        values = {name: known.default for name, known in kind.fields.items()}
        values |= self._checked(resource, data)
        missing = [n for n, known in kind.fields.items() if known.required and values[n] in (None, "")]
        if missing:
            raise Refused(400, {name: ["This field is required."] for name in missing})
        number, self._next = self._next, self._next + 1
        item = self._with_rules(resource, {**values, "id": number, "type": kind.type}, {})
        self.items[resource][number] = self._presented(resource, item)
        self.writes.append(f"POST {resource}")
        return self.items[resource][number]

    def update(self, resource: str, number: int, data: Item) -> Item:
        """Change an object. Raises Refused 400."""
        if resource == "unified_job_templates":
            (resource,) = (name for name in UNIFIED_TEMPLATES if number in self.items[name])
        old = self.one(resource, number)
        item = self._with_rules(resource, {**old, **self._checked(resource, data)}, old)
        self.items[resource][number] = self._presented(resource, item)
        self.writes.append(f"PATCH {resource} {old.get('name', number)}")
        return self.items[resource][number]

    def associate(self, resource: str, number: int, name: str, data: Item) -> None:
        """Add an object to an association, or take it out. Raises Refused 400."""
        other = self._other(resource, number, name)
        members = self.lists.setdefault((resource, number, name), [])
        if data.get("disassociate"):
            members.remove(data["id"])
        else:
            self._check_association(resource, number, name, self.one(other, data["id"]))
            members.append(data["id"])
        self.writes.append(f"POST {resource}/{name}")

    def store_survey(self, resource: str, number: int, survey: Item) -> None:
        """Store a survey. Raises Refused 400 with AWX's reason."""
        error = why_not_stored(survey)
        if error:
            raise Refused(400, {"error": error})
        self.surveys[resource, number] = survey
        self.writes.append(f"POST {resource}/survey_spec")

    def create_approval(self, node: int, data: Item) -> Item:
        """Make the approval template of a node."""
        approval = self.create("workflow_approval_templates", data)
        self.update("workflow_job_template_nodes", node, {"unified_job_template": approval["id"]})
        return approval

    def launch(self, resource: str, number: int, data: Item) -> Item:
        """Accept a launch. Raises Refused 400 when the survey's rules are not kept."""
        template = self.one(resource, number)
        answers = data.get("extra_vars") or {}
        answers = json.loads(answers) if isinstance(answers, str) else answers
        survey = self.survey_of(resource, number)
        errors = answer_errors(survey, answers)
        if errors:
            raise Refused(400, {"variables_needed_to_start": errors})
        if resource == "job_templates":
            self._refuse_incomplete_credentials(number)
        asked = {item["variable"] for item in survey.get("spec", [])}
        accepted = {k: v for k, v in answers.items() if k in asked or template["ask_variables_on_launch"]}
        ignored = {k: v for k, v in answers.items() if k not in accepted}
        job = {"id": self._next, "template": number, "extra_vars": accepted, "ignored_fields": {"extra_vars": ignored}}
        self._next += 1
        self.launched.append(job)
        return {**job, "url": f"{PREFIX}jobs/{job['id']}/", "status": "pending"}

    def survey_of(self, resource: str, number: int) -> Item:
        """The survey that counts at a launch."""
        enabled = self.one(resource, number)["survey_enabled"]
        return self.surveys.get((resource, number), {}) if enabled else {}

    def _refuse_incomplete_credentials(self, template: int) -> None:
        for credential in self.associated("job_templates", template, "credentials"):
            kind = self.one("credential_types", credential["credential_type"])
            given = self.secrets[credential["id"]]
            missing = [name for name in kind["inputs"].get("required", []) if not given.get(name)]
            if missing:
                fields = ", ".join(missing)
                raise Refused(
                    400, {"credentials": [f"Credential {credential['name']} is missing required values: {fields}"]}
                )

    def update_project(self, number: int) -> Item:
        """Sync a project: AWX knows the project's playbooks after a sync that succeeded."""
        project = self.one("projects", number)
        if not project["scm_type"]:
            raise Refused(405, {"detail": "This project cannot be updated."})
        status = "successful" if self.reachable else "failed"
        update, self._next = self._next, self._next + 1
        revision = "1" * 40 if self.reachable else project["scm_revision"]
        self.updates[update] = {
            "id": update, "status": status, "finished": True, "failed": not self.reachable, "type": "project_update",
            "url": f"{PREFIX}project_updates/{update}/", "scm_revision": revision, "name": project["name"],
        }  # fmt: skip
        playbooks = self.found_playbooks() if self.reachable else project["playbooks"]
        shown = {"last_update": {"id": update, "status": status}}
        self.items["projects"][number] = {
            **project,
            "playbooks": playbooks,
            "scm_revision": revision,
            "summary_fields": shown,
        }
        return self.updates[update]

    def found_playbooks(self) -> list[str]:
        """The playbooks in the project's folder."""
        return sorted(str(p.relative_to(self._project)) for p in self._project.glob("playbooks/*.yml"))

    def teams_with(self, role: int) -> list[Item]:
        """The teams that have a role."""
        return [self.items["teams"][team] for team in sorted(self.members.get(role, ()))]

    def may(self, team: str, resource: str, name: str) -> set[str]:
        """The roles that a team has on an object, for tests."""
        roles = self.named(resource, name)["summary_fields"]["object_roles"]
        number = self.named("teams", team)["id"]
        return {
            role.removesuffix("_role") for role, known in roles.items() if number in self.members.get(known["id"], ())
        }

    # rules

    def _checked(self, resource: str, data: Item) -> Item:
        """The known fields of a request in their types; AWX ignores what it does not know."""
        found = {}
        for name, known in RESOURCES[resource].fields.items():
            if name in data:
                found[name] = self._value(name, known, data[name])
        return found

    def _value(self, name: str, known: Field, value: Any) -> Any:
        if value is None:
            return known.default
        if known.kind not in JSON_TYPES:
            try:
                self.one(known.kind, int(value))
            except Refused:
                raise Refused(400, {name: [f'Invalid pk "{value}" - object does not exist.']}) from None
            return int(value)
        if not isinstance(value, JSON_TYPES[known.kind]) or (known.kind == "int" and isinstance(value, bool)):
            raise Refused(400, {name: [f"Not a valid {known.kind}: {value!r}."]})
        if known.choices and value not in known.choices:
            raise Refused(400, {name: [f'"{value}" is not a valid choice.']})
        if known.kind == "text" and value and not isinstance(json.loads(value), dict):
            raise Refused(400, {name: ["Must be valid JSON or YAML of a dictionary."]})
        return value

    def _with_rules(self, resource: str, item: Item, old: Item) -> Item:
        rule = _RULES.get(resource)
        item = rule(self, item, old) if rule else item
        unique = RESOURCES[resource].unique
        for other in self.items[resource].values():
            if other["id"] != item["id"] and all(other.get(key) == item.get(key) for key in unique):
                raise Refused(400, {"__all__": [f"{resource} with this {' and '.join(unique)} already exists."]})
        return item

    def _credential(self, item: Item, old: Item) -> Item:
        kind = self.one("credential_types", item["credential_type"])
        fields = {known["id"]: known for known in kind["inputs"].get("fields", [])}
        strange = sorted(set(item["inputs"]) - set(fields))
        if strange:
            raise Refused(400, {"inputs": [f"Additional properties are not allowed ({', '.join(strange)})"]})
        kept = self.secrets.get(item["id"], {})
        plain = {key: kept.get(key) if value == SECRET else value for key, value in item["inputs"].items()}
        self.secrets[item["id"]] = plain
        shown = {key: SECRET if fields[key].get("secret") and value else value for key, value in plain.items()}
        namespace = MANAGED[kind["name"]][1] if kind["managed"] else "cloud"
        return {**item, "inputs": shown, "kind": namespace}

    def _credential_type(self, item: Item, _old: Item) -> Item:
        known = {one["id"] for one in item["inputs"].get("fields", [])}
        unknown = sorted(set(item["inputs"].get("required", [])) - known)
        if unknown:
            raise Refused(400, {"inputs": [f"{unknown} are not fields of this type"]})
        used = set(re.findall(r"\{\{\s*(\w+)", json.dumps(item["injectors"])))
        if strange := sorted(used - known):
            raise Refused(400, {"injectors": [f"{strange} uses an undefined field"]})
        return item

    def _notification(self, item: Item, _old: Item) -> Item:
        given = item["notification_configuration"]
        missing = [name for name, (_kind, default) in WEBHOOK.items() if name not in given and default is None]
        if missing:
            raise Refused(400, [f"Missing required fields for Notification Configuration: {missing}."])
        wrong = [name for name, (kind, _default) in WEBHOOK.items() if not isinstance(given.get(name, kind()), kind)]
        if wrong:
            raise Refused(400, [f"Configuration fields of a wrong type: {wrong}."])
        return {**item, "notification_configuration": {n: given.get(n, d) for n, (_k, d) in WEBHOOK.items()}}

    def _project_rules(self, item: Item, _old: Item) -> Item:
        if item["scm_type"] and not item["scm_url"]:
            raise Refused(400, {"scm_url": ["SCM URL is required."]})
        if item["credential"] and self.one("credentials", item["credential"])["kind"] != "scm":
            raise Refused(400, {"credential": ["Credential kind must be 'scm'."]})
        known = {"playbooks": [] if item["scm_type"] else self.found_playbooks(), "scm_revision": ""}
        return {**known, **item}

    def _source(self, item: Item, _old: Item) -> Item:
        if item["source"] == "scm" and item["source_project"] is None:
            raise Refused(400, {"source_project": ["Project required for scm type sources."]})
        if item["source"] == "scm" and not self.one("projects", item["source_project"])["scm_type"]:
            raise Refused(400, {"source_project": ["Cannot use manual project for SCM-based inventory."]})
        if item["source"] != "scm" and item["source_path"]:
            raise Refused(400, {"detail": "Cannot set source_path if not SCM type."})
        return {**item, "organization": self.one("inventories", item["inventory"])["organization"]}

    def _execution_environment(self, item: Item, _old: Item) -> Item:
        if item["credential"] and self.one("credentials", item["credential"])["kind"] != "registry":
            raise Refused(
                400,
                {
                    "credential": [
                        "Only Container Registry credentials can be associated with an execution environment."
                    ]
                },
            )
        return item

    def _job_template(self, item: Item, _old: Item) -> Item:
        project = self.one("projects", item["project"])
        if item["playbook"] not in project["playbooks"]:
            raise Refused(400, {"playbook": ["Playbook not found for project."]})
        if item["inventory"] is None and not item["ask_inventory_on_launch"]:
            raise Refused(400, {"inventory": ["Inventory required, or ask for it on launch."]})
        return {**item, "organization": project["organization"]}

    def _check_association(self, resource: str, number: int, name: str, other: Item) -> None:
        if name == "credentials":
            if other["kind"] in ("registry", "scm"):
                raise Refused(400, {"error": f"Cannot assign a Credential of kind `{other['kind']}`."})
            kinds = [c["credential_type"] for c in self.associated(resource, number, name)]
            if other["credential_type"] in kinds:
                raise Refused(400, {"error": "Cannot assign multiple credentials of one type."})
        if name in NODES:
            node = self.one(resource, number)
            if node["workflow_job_template"] != other["workflow_job_template"]:
                raise Refused(400, {"Error": "Nodes of different workflows."})
            if number == other["id"] or number in self._behind(other["id"]):
                raise Refused(400, {"Error": "Cycle detected."})

    def _behind(self, node: int) -> set[int]:
        found: set[int] = set()
        for name in NODES:
            for child in self.lists.get(("workflow_job_template_nodes", node, name), []):
                found |= {child} | self._behind(child)
        return found

    def _presented(self, resource: str, item: Item) -> Item:
        url = f"{PREFIX}{resource}/{item['id']}/"
        related = {name: f"{url}{name}/" for name in RESOURCES[resource].lists}
        if resource in ("job_templates", "workflow_job_templates"):
            related["survey_spec"] = f"{url}survey_spec/"
        if item.get("unified_job_template"):
            related["unified_job_template"] = f"{PREFIX}unified_job_templates/{item['unified_job_template']}/"
        if resource == "projects":
            related["update"] = f"{url}update/"
        return {"summary_fields": self._summary(resource, item), **item, "url": url, "related": related}

    def _summary(self, resource: str, item: Item) -> Item:
        roles = {}
        for role in OBJECT_ROLES.get(resource, ()):
            roles[role], self._next = {"id": self._next, "name": role}, self._next + 1
        return {"object_roles": roles} if roles else {}


_RULES: dict[str, Callable[[Store, Item, Item], Item]] = {
    "credentials": Store._credential,
    "credential_types": Store._credential_type,
    "notification_templates": Store._notification,
    "projects": Store._project_rules,
    "execution_environments": Store._execution_environment,
    "inventory_sources": Store._source,
    "job_templates": Store._job_template,
}


class Api(BaseHTTPRequestHandler):
    """Turns requests into calls of the store."""

    store: Store
    tokens: set[str]
    lock = threading.Lock()

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def do_PATCH(self) -> None:
        self._answer(self._patch)

    def do_DELETE(self) -> None:
        self._answer(self._delete)

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing on stderr."""

    def _answer(self, verb: Callable[[list[str], list[tuple[str, str]]], tuple[int, Any]]) -> None:
        parts = urlsplit(self.path)
        path = parts.path.removeprefix(PREFIX).strip("/").split("/")
        try:
            with self.lock:
                self._authenticate(path)
                status, body = verb(path, parse_qsl(parts.query, keep_blank_values=True))
        except Refused as refusal:
            status, body = refusal.status, refusal.body
        text = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (
            ("X-API-Product-Name", "AWX"),
            ("X-API-Product-Version", "24.6.1"),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(text))),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def _authenticate(self, path: list[str]) -> None:
        kind, _space, value = self.headers.get("Authorization", "").partition(" ")
        if path[0] == "tokens":
            if kind != "Basic" or base64.b64decode(value).decode() != ":".join(LOGIN):
                raise Refused(401, {"detail": "Invalid username/password."})
        elif kind != "Bearer" or value not in self.tokens:
            raise Refused(401, {"detail": "Authentication credentials were not provided."})

    def _body(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")

    def _get(self, path: list[str], query: list[tuple[str, str]]) -> tuple[int, Any]:
        resource, rest = path[0], path[1:]
        if resource == "project_updates":
            return 200, self.store.updates[int(rest[0])]
        if resource == "roles":
            return 200, _page(self.store.teams_with(int(rest[0])))
        if resource not in (*RESOURCES, "unified_job_templates"):
            raise Refused(404, {"detail": "Not found."})
        if not rest:
            return 200, _page(self.store.found(resource, query))
        number = int(rest[0])
        if len(rest) == 1:
            return 200, self.store.one(resource, number)
        if rest[1] == "survey_spec":
            return 200, self.store.surveys.get((resource, number), {})
        return 200, _page(self.store.associated(resource, number, rest[1]))

    def _post(self, path: list[str], _query: list[tuple[str, str]]) -> tuple[int, Any]:
        resource, rest, data = path[0], path[1:], self._body()
        if resource == "tokens":
            token = f"token-{len(self.tokens)}"
            self.tokens.add(token)
            return 201, {"id": len(self.tokens), "token": token}
        if not rest:
            return 201, self.store.create(resource, data)
        return self._post_below(resource, int(rest[0]), rest[1], data)

    def _post_below(self, resource: str, number: int, name: str, data: Item) -> tuple[int, Any]:
        if name == "survey_spec":
            self.store.store_survey(resource, number, data)
            return 200, {}
        if name == "create_approval_template":
            return 201, self.store.create_approval(number, data)
        if name == "update":
            return 202, self.store.update_project(number)
        if resource == "roles":
            self.store.members.setdefault(number, set()).add(data["id"])
            self.store.writes.append("POST roles/teams")
            return 204, None
        if name == "launch":
            return 201, self.store.launch(resource, number, data)
        self.store.associate(resource, number, name, data)
        return 204, None

    def _patch(self, path: list[str], _query: list[tuple[str, str]]) -> tuple[int, Any]:
        return 200, self.store.update(path[0], int(path[1]), self._body())

    def _delete(self, path: list[str], _query: list[tuple[str, str]]) -> tuple[int, Any]:
        if path[0] != "tokens":
            raise Refused(405, {"detail": "The double deletes nothing."})
        return 204, None


def _page(items: list[Item]) -> Item:
    return {"count": len(items), "next": None, "previous": None, "results": items}


@contextmanager
def serving(store: Store) -> Iterator[str]:
    """The address at which the store is served, for as long as the context lasts."""
    handler = type("Handler", (Api,), {"store": store, "tokens": set()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
