# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the roles make of every answer that AWX may write for every question of every survey.

AWX writes extra variables as YAML and marks each text `!unsafe`. Run as a program, in the environment of any ansible-core, with
the collection on the path and the file of the surveys as its argument: prints how many outcomes there are, and those that are wrong.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.parsing.dataloader import DataLoader
from ansible_collections.liveml.vsphere.plugins.plugin_utils import _options, _variables

# As YAML, since what a text becomes depends on the release of ansible-core.
ANSWERS = (
    "!unsafe ''",
    "null",
    "!unsafe 'null'",
    "!unsafe '~'",
    "5",
    "!unsafe '5'",
    "!unsafe 'no'",
    "false",
    "!unsafe '1.10'",
    ".inf",
    ".nan",
    "!unsafe '[]'",
    "!unsafe '{}'",
    "!unsafe '{\"a\": [1]}'",
    "!unsafe ' '",
    "!unsafe ',,'",
    "~",
    "!unsafe 'None'",
    "!unsafe 'NULL'",
    "!unsafe 'nan'",
    "!unsafe '1e400'",
    "!unsafe '-0'",
    "!unsafe '[null]'",
    "!unsafe '[[]]'",
    "!unsafe '{\"a\": NaN}'",
    '!unsafe "\\t\\u00a0\\u200b\\ufeff"',
    '!unsafe "\\0"',
)


def outcomes(surveys: Path) -> Iterator[dict[str, Any]]:
    """Each question with each answer: the value that the role reads, or the sentence that refuses it."""
    for name, survey in yaml.safe_load(surveys.read_text(encoding="utf-8"))["awx_surveys"].items():
        for question in survey["spec"]:
            for answer in ANSWERS:
                given = loaded(f"{question['variable']}: {answer}\n")[question["variable"]]
                yield {"survey": name, "variable": question["variable"], "answer": answer} | outcome(question, given)


def wrong(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The outcomes that are neither a value nor one refusal that names the variable in one line."""
    return [
        each
        for each in found
        if (not each["refused"] and "value" not in each)
        or len(each["refused"]) > 1
        or any(each["variable"] not in sentence or "\n" in sentence for sentence in each["refused"])
    ]


def outcome(question: dict[str, Any], given: Any) -> dict[str, Any]:
    """As a role does it: Ansible's argument specs, then our own check, then the value."""
    variable = question["variable"]
    role = next(role for role in _variables.public_roles() if variable in _variables.variables_of(role))
    refused = refused_by_ansible(role, variable, given)
    if not refused:
        refused = _options.complaints_about({variable: given}, role, lambda value: value, LookupError)
    if refused:
        return {"given": repr(given), "refused": refused}
    return {"given": repr(given), "refused": [], "value": _options.value_of(_options.option_named(variable), given)}


def refused_by_ansible(role: str, variable: str, given: Any) -> list[str]:
    """The errors of the argument specs, with which Ansible begins a role."""
    result = ArgumentSpecValidator({variable: specs_of(role)[variable]}).validate({variable: given})
    return list(result.error_messages)


@cache
def specs_of(role: str) -> dict[str, Any]:
    """The options in the argument specs of a role."""
    path = _variables.ROLES / role / "meta" / "argument_specs.yml"
    return dict(yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"])


def loaded(text: str) -> dict[str, Any]:
    """Variables as `-e @file` gives them."""
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        file.write(text)
        file.flush()
        return dict(DataLoader().load_from_file(file.name))


if __name__ == "__main__":
    everything = list(outcomes(Path(sys.argv[1])))
    print(json.dumps({"outcomes": len(everything), "wrong": wrong(everything)}, default=str))
