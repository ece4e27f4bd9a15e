# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write `awx/config/surveys.yml` and the AAP pattern from the roles' options: ``make roles``.

A survey asks for what a person decides at a launch. Surveys have no booleans (they become yes or no) and no lists (commas
separate the items). A question has a default only if the role's own is not empty: AWX would send an empty default to every job.
Dictionaries, and the folders, keys and links of a site, are set in `awx/settings.yml`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "awx" / "config" / "surveys.yml"
PATTERN = ROOT / "extensions" / "patterns" / "evacuate_host" / "meta" / "pattern.json"

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / ".venv" / "collections"))

from ansible_collections.liveml.vsphere.plugins.plugin_utils._options import SOURCE, evacuation_only, specs_of

EXECUTION_ENVIRONMENT = "liveml.vsphere"
# Survey -> role and its options that this survey leaves out.
SURVEYS: dict[str, tuple[str, frozenset[str]]] = {
    "plan_evacuation": ("evacuate_host", frozenset({"evacuate_host_plan_id"})),
    "evacuate_host": ("evacuate_host", frozenset()),
    "restore_host": ("restore_host", frozenset()),
    "migrate_vm": ("migrate_vm", frozenset()),
    "witness": ("witness", frozenset()),
    "verify_experiments": ("verify_experiments", frozenset()),
    "evacuate_fault_domain": ("fault_domain", frozenset({"fault_domain_state"})),
    # The playbook sets what is different on the way home.
    "restore_fault_domain": (
        "fault_domain",
        evacuation_only("fault_domain")
        | {f"fault_domain_{option}" for option in ("state", "exclude_hosts", "memory_headroom", "cpu_headroom")},
    ),
    # A person who launches a check does not decide whether an event may evacuate without approval.
    "check_hardware_event": (
        "hardware_event",
        frozenset(f"hardware_event_{option}" for option in ("action", "alarms", "statuses")),
    ),
}
# Options of a site, not of a launch.
SITE = re.compile(r"^liveml_vsphere_|_(state_dir|metrics_path|signing_key|timeout_per_gib|timeout_floor)$")
HEADER = f"---\n# Made by scripts/make_surveys.py from {SOURCE.relative_to(SOURCE.parents[3])}.\n"


class _Plain(yaml.SafeDumper):
    """Without anchors, because AWX's users copy single surveys; lists indented."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def survey(name: str) -> dict[str, Any]:
    """A survey as AWX's API takes it."""
    role, left_out = SURVEYS[name]
    asked = {
        option: spec
        for option, spec in specs_of(role).items()
        if "dict" not in (spec["type"], spec.get("elements"))
        and len(spec.get("choices", ["yes", "no"])) > 1  # one choice is not a question
        and option not in left_out
        and not SITE.search(option)
    }
    questions = [question(option, spec, role) for option, spec in asked.items()]
    return {"name": name, "description": f"Options of the role {role}", "spec": questions}


def question(variable: str, spec: dict[str, Any], role: str) -> dict[str, Any]:
    """One question. A default is the role's own, so that an unchanged survey changes nothing."""
    kind = _kind(spec)
    text = re.sub(r"[CMOVR]+\(([^)]*)\)", r"\1", spec["description"])
    found = {
        "question_name": variable.removeprefix(f"{role}_").replace("_", " ").capitalize(),
        "question_description": f"{text} Separate them by commas." if spec["type"] == "list" else text,
        "variable": variable,
        "type": kind,
        "required": bool(spec.get("required", False)),
    }
    if kind == "multiplechoice":
        found["choices"] = spec.get("choices", ["yes", "no"])
    else:
        found["min"], found["max"] = _limits(spec)
    if spec.get("default") not in (None, "", []):
        found["default"] = _default(spec, kind)
    return found


def _kind(spec: dict[str, Any]) -> str:
    if "choices" in spec or spec["type"] == "bool":
        return "multiplechoice"
    return {"int": "integer", "float": "float"}.get(spec["type"], "text")


def _limits(spec: dict[str, Any]) -> tuple[int | None, int | None]:
    """Of a number, or of the length of a text."""
    if spec["type"] in ("int", "float"):
        return spec.get("min"), spec.get("max")
    return (1 if spec.get("required") else 0, 1024)


def _default(spec: dict[str, Any], kind: str) -> Any:
    default = spec["default"]
    if spec["type"] == "bool":
        return "yes" if default else "no"
    if spec["type"] == "list":
        return ",".join(default)
    return float(default) if kind == "float" else default


def document() -> str:
    """The file's text."""
    data = {"awx_surveys": {name: survey(name) for name in SURVEYS}}
    return HEADER + yaml.dump(data, Dumper=_Plain, sort_keys=False, width=160, allow_unicode=True)


def pattern() -> str:
    """The text of the AAP pattern, by schema 1.0.0 of Ansible's pattern service."""
    templates = [
        (
            "evacuate_host",
            "liveml.vsphere evacuate a host",
            "Moves the VMs off a host while their experiments are watched.",
        ),
        (
            "restore_host",
            "liveml.vsphere restore a host",
            "Brings the VMs of a host home while their experiments are watched.",
        ),
    ]
    data = {
        "schema_version": "1.0",
        "name": "evacuate_host",
        "title": "Evacuate a vSphere host under running experiments",
        "description": "Moves the VMs off a vSphere host that needs maintenance by live vMotion while the machine-learning experiments "
        "in them are watched, proves from measurements that they kept running, and brings the VMs home afterwards.",
        "short_description": "Empty a host for maintenance without stopping the experiments on it",
        "tags": ["ai", "infrastructure", "vmware", "maintenance"],
        "aap_resources": {
            "controller_project": {
                "name": "liveml.vsphere",
                "description": "Playbooks of the collection liveml.vsphere.",
            },
            "controller_execution_environment": {
                "name": EXECUTION_ENVIRONMENT,
                "description": "ansible-core with the collection liveml.vsphere, pyVmomi and matplotlib.",
                "image_name": "liveml/vsphere-ee",
                "pull": "missing",
            },
            "controller_job_templates": [
                {
                    "name": name,
                    "description": description,
                    "execution_environment": EXECUTION_ENVIRONMENT,
                    "playbook": f"{role}.yml",
                    "primary": role == "evacuate_host",
                    "ask_credential_on_launch": True,
                    "ask_inventory_on_launch": True,
                    "survey": _textual(survey(role)),
                }
                for role, name, description in templates
            ],
        },
    }
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def _textual(asked: dict[str, Any]) -> dict[str, Any]:
    """A survey of a pattern. Its defaults are texts, so numbers have none and the role's own default applies."""
    for item in asked["spec"]:
        if not isinstance(item.get("default", ""), str):
            del item["default"]
    return asked


if __name__ == "__main__":
    TARGET.write_text(document(), encoding="utf-8")
    PATTERN.write_text(pattern(), encoding="utf-8")
