# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What `awx/` and the pattern say fits the roles, the playbooks and the modules; and AWX's rules for surveys have teeth."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import (
    CONNECTION_SPEC,
    EXPERIMENT_OPTIONS,
    OTHER_VCENTER_OPTIONS,
)
from ansible_collections.liveml.vsphere.plugins.plugin_utils._options import specs_of

from scripts import make_surveys
from tests.awx.engine import VCENTER_ENV
from tests.awx.surveys import why_not_stored
from tests.labs import ROOT


class Loader(yaml.SafeLoader):
    """Reads `!unsafe` as the text that it marks."""


Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))


def config(name: str) -> dict[str, Any]:
    return dict(yaml.load((ROOT / "awx" / "config" / f"{name}.yml").read_text(), Loader))


SURVEYS = config("surveys")["awx_surveys"]
JOBS = config("job_templates")
OTHER_TEMPLATES = {template["name"]: template for template in JOBS["awx_templates_over_two_vcenters"]}
TEMPLATES = {template["name"]: template for template in JOBS["awx_own_templates"]} | OTHER_TEMPLATES
TYPES_OF_CREDENTIALS = {kind["name"]: kind for kind in config("access")["controller_credential_types"]}
(WORKFLOW,) = config("workflows")["controller_workflows"]
NODES = WORKFLOW["simplified_workflow_nodes"]
EDGES = ("success_nodes", "failure_nodes", "always_nodes")
TYPES = {"str": "text", "int": "integer", "float": "float", "bool": "multiplechoice", "list": "text"}
# No survey asks for these: a site sets some once, jobs pass some to later jobs, and surveys cannot ask for dictionaries.
UNASKED = {
    "folder_map",
    "network_map",
    "destination_vcenter",  # a login: a credential of AWX gives it
    "pool_map",  # mappings, which a survey cannot ask for
    "state_dir",
    "metrics_path",
    "signing_key",
    "timeout_per_gib",
    "timeout_floor",
    "approved",
    "experiments",
    "evidence_upload",
    "artifact",
    "options",
    "notify",
    "aliases",
    "disk_datastores",
}


def test_generated_files_are_as_generated() -> None:
    assert make_surveys.TARGET.read_text() == make_surveys.document(), "run `make roles`"
    assert make_surveys.PATTERN.read_text() == make_surveys.pattern(), "run `make roles`"


@pytest.mark.parametrize("name", SURVEYS)
def test_a_survey_asks_for_what_the_role_takes(name: str) -> None:
    role, left_out = make_surveys.SURVEYS[name]
    options = {
        variable: option for variable, option in specs_of(role).items() if not variable.startswith("liveml_vsphere_")
    }
    survey = SURVEYS[name]
    assert why_not_stored(survey) is None
    questions = {question["variable"]: question for question in survey["spec"]}
    decided = {variable for variable, option in options.items() if len(option.get("choices", ())) == 1}
    assert set(options) - set(questions) <= {f"{role}_{suffix}" for suffix in UNASKED} | left_out | decided
    for variable, question in questions.items():
        option = options[variable]
        assert question["required"] is option.get("required", False)
        assert question["type"] == ("multiplechoice" if "choices" in option else TYPES[option["type"]])
        if question["type"] == "multiplechoice":
            assert question["choices"] == option.get("choices", ["yes", "no"])
        if option.get("default") in (None, "", []):
            assert "default" not in question, "AWX would send an empty text, which ansible-core makes null"
        else:
            default = {"yes": True, "no": False}.get(question["default"], question["default"])
            assert default == (option["default"] if option["type"] != "list" else ",".join(option["default"]))
        stated = re.search(r"(\d+) to (\d+)", option["description"])
        if stated and option["type"] == "int":
            assert (question["min"], question["max"]) == (int(stated[1]), int(stated[2]))
        if option["type"] in ("int", "float"):
            assert (question["min"], question["max"]) == (option.get("min"), option.get("max"))
    assert "default" not in questions.get(f"{role}_name", {})


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_runs_a_playbook_that_takes_its_answers(name: str) -> None:
    template = TEMPLATES[name]
    plays = yaml.safe_load((ROOT / template["playbook"]).read_text())
    roles = {role["role"].removeprefix("liveml.vsphere.") for play in plays for role in play["roles"]}
    if template.get("survey_enabled"):
        wanted = re.fullmatch(r"\{\{ awx_surveys\.(\w+) \}\}", template["survey_spec"])
        assert wanted
        assert make_surveys.SURVEYS[wanted[1]][0] in roles
    else:
        assert not {role for role in roles if f"{role}_name" in specs_of(role)}


def test_the_workflows_nodes_resolve() -> None:
    identifiers = [node["identifier"] for node in NODES]
    assert len(set(identifiers)) == len(identifiers)
    reached = {identifiers[0]}
    for position, node in enumerate(NODES):
        assert ("approval_node" in node) != ("unified_job_template" in node)
        assert node.get("unified_job_template", next(iter(TEMPLATES))) in TEMPLATES
        assert node["identifier"] in reached, "every node is reached from the first"
        children = [child for edge in EDGES for child in node.get(edge, [])]
        assert set(children) <= set(identifiers[position + 1 :]), "no node stands before one that leads to it"
        reached |= set(children)
    ends = {node["identifier"] for node in NODES if not any(node.get(edge) for edge in EDGES)}
    caught = {node["identifier"] for node in NODES if node.get("failure_nodes") or node.get("always_nodes")}
    assert ends == {"report_end"}
    assert caught == set(identifiers) - ends, "every failure is reported"


def test_what_a_job_hands_on_is_not_overridden_by_the_workflows_own_variables() -> None:
    asked = {question["variable"] for question in SURVEYS["plan_evacuation"]["spec"]}
    assert WORKFLOW["survey_spec"] == "{{ awx_surveys.plan_evacuation }}"
    handed_on = {"evacuate_host_plan_id", "evacuate_host_approved", "restore_host_name", "liveml_vsphere_artifact"}
    assert not asked & handed_on


def test_modules_take_what_credentials_inject() -> None:
    own = TYPES_OF_CREDENTIALS["Experiment servers"]
    read = [name for spec in (*CONNECTION_SPEC.values(), *EXPERIMENT_OPTIONS.values()) for name in fallbacks(spec)]
    assert set(own["injectors"]["env"]) | set(VCENTER_ENV) | {"VMWARE_VALIDATE_CERTS"} <= set(read)
    fields = {known["id"]: known.get("secret", False) for known in own["inputs"]["fields"]}
    assert fields == {"username": False, "password": True}
    assert {text.strip("{} ") for text in own["injectors"]["env"].values()} == set(fields)


def test_roles_take_the_login_that_a_credential_of_the_other_vcenter_injects() -> None:
    other = TYPES_OF_CREDENTIALS["Other vCenter"]
    injected = other["injectors"]["extra_vars"]
    fields = {known["id"]: known.get("secret", False) for known in other["inputs"]["fields"]}
    for login in injected.values():
        assert set(login) <= set(OTHER_VCENTER_OPTIONS)
        assert {name for name, option in OTHER_VCENTER_OPTIONS.items() if option.get("required")} <= set(login)
        assert {text.strip("{} ") for text in login.values()} == set(fields)
    assert [name for name, secret in fields.items() if secret] == ["password"]
    taken = set()
    for template in OTHER_TEMPLATES.values():
        plays = yaml.safe_load((ROOT / template["playbook"]).read_text())
        taken |= {
            f"{role['role'].removeprefix('liveml.vsphere.')}_destination_vcenter" for p in plays for role in p["roles"]
        }
    assert taken == set(injected), "each role of these templates gets the login"


def fallbacks(spec: dict[str, Any]) -> list[str]:
    return list(spec["fallback"][1]) if "fallback" in spec else []


def test_the_inventory_is_a_file_of_the_certified_plugin() -> None:
    for source in config("sources")["awx_inventory_files"]:
        inventory = yaml.safe_load((ROOT / source["source_path"]).read_text())
        assert inventory["plugin"] == f"vmware.vmware.{Path(source['source_path']).stem}"
        assert inventory["validate_certs"] is True, "AWX's credential sets VMWARE_VALIDATE_CERTS to False"


def test_a_project_sync_installs_nothing() -> None:
    """AWX installs what these files list, from the internet, at every sync."""
    looked_for = [f"{folder}requirements.{ext}" for folder in ("", "roles/", "collections/") for ext in ("yml", "yaml")]
    assert [path for path in looked_for if (ROOT / path).exists()] == []


TEXT = {"type": "string", "minLength": 1}
QUESTION = {
    "type": "object",
    "required": ["type", "question_name", "question_description", "variable", "required"],
    "properties": {
        "type": {"enum": ["text", "textarea", "password", "integer", "float", "multiplechoice", "multiselect"]},
        "variable": {"type": "string", "pattern": "^[a-z0-9_]{1,64}$"},
        "required": {"type": "boolean"},
        "choices": {"type": "array", "items": {"type": "string"}},
        "default": {"type": "string"},
    },
    "if": {"properties": {"type": {"const": "multiplechoice"}}},
    "then": {"required": ["choices"]},
}
# What version 1.0.0 of the schema of Ansible's pattern service demands.
PATTERN_SCHEMA = {
    "type": "object",
    "required": ["schema_version", "name", "title", "description", "short_description", "aap_resources"],
    "properties": {
        "schema_version": TEXT,
        "name": {"type": "string", "pattern": "^[a-z0-9_]{1,64}$"},
        "title": {"type": "string", "maxLength": 64},
        "description": TEXT,
        "short_description": {"type": "string", "pattern": "[^.]$"},
        "tags": {"type": "array", "items": TEXT, "uniqueItems": True},
        "aap_resources": {
            "type": "object",
            "required": ["controller_project", "controller_job_templates"],
            "properties": {
                "controller_project": {"type": "object", "required": ["name", "description"]},
                "controller_execution_environment": {
                    "type": "object",
                    "required": ["name", "description", "image_name"],
                    "properties": {"pull": {"enum": ["always", "missing", "never"]}},
                },
                "controller_job_templates": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["name", "description", "playbook"],
                        "properties": {
                            "primary": {"type": "boolean"},
                            "survey": {
                                "type": "object",
                                "required": ["name", "description", "spec"],
                                "properties": {"spec": {"type": "array", "items": QUESTION}},
                            },
                        },
                    },
                },
            },
        },
    },
}


def test_the_pattern_is_valid_and_complete() -> None:
    folder = ROOT / "extensions" / "patterns" / "evacuate_host"
    pattern = json.loads((folder / "meta" / "pattern.json").read_text())
    jsonschema.validate(pattern, PATTERN_SCHEMA)
    assert pattern["name"] == folder.name
    assert (folder / "README.md").exists()
    resources = pattern["aap_resources"]
    templates = resources["controller_job_templates"]
    assert [template["primary"] for template in templates].count(True) == 1
    for template in templates:
        assert (folder / "playbooks" / template["playbook"]).exists()
        assert template["execution_environment"] == resources["controller_execution_environment"]["name"]
        assert why_not_stored(template["survey"]) is None, "AWX takes the survey as it is"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**pattern, "name": "Evacuate host"}, PATTERN_SCHEMA)


GOOD = {"question_name": "N", "variable": "v", "type": "text", "required": False}


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ([{k: v for k, v in GOOD.items() if k != "required"}], "'required' missing"),
        ([GOOD, GOOD], "duplicated"),
        ([{**GOOD, "type": "boolean"}], "allowed question types"),
        ([{**GOOD, "type": "integer", "default": "8"}], "expected to be integer"),
        ([{**GOOD, "type": "float", "min": 0.5}], "expected to be integer"),
        ([{**GOOD, "type": "multiplechoice"}], "must specify choices"),
        ([{**GOOD, "type": "multiplechoice", "choices": ["a"], "default": "b"}], "from the choices listed"),
        ([{**GOOD, "type": "password", "default": "$encrypted$"}], "reserved keyword"),
        ([], "doesn't contain any items"),
    ],
)
def test_awx_would_refuse_a_bad_survey(spec: list[dict[str, Any]], error: str) -> None:
    assert error in str(why_not_stored({"name": "", "description": "", "spec": spec}))
    assert why_not_stored({"name": "", "description": "", "spec": [GOOD]}) is None
    assert "'name' is missing" in str(why_not_stored({"description": "", "spec": [GOOD]}))


def test_rulebooks_launch_what_is_made() -> None:
    launched = yaml.safe_load((ROOT / "extensions" / "eda" / "vars.yml").read_text())
    assert launched["workflow"] == WORKFLOW["name"]
    assert launched["check_template"] in TEMPLATES
    variables = {question["variable"] for question in SURVEYS["check_hardware_event"]["spec"]}
    assert {"hardware_event_host", "hardware_event_condition"} <= variables
