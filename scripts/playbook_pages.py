# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pages about playbooks, made from ``playbooks/`` and from the argument specs of the roles that they run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from scripts.make_roles import (
    SITE,
    behaviour_of,
    entry_point,
    evacuation_only,
    options_of,
    options_of_both_ways,
    rows_of,
)
from scripts.rst import LABEL, beginning, from_markdown, table

FOLDER = Path(__file__).resolve().parent.parent / "playbooks"
HEAD = ("Variable", "Type", "Default", "Meaning")
COLLECTION = "liveml.vsphere."
VARIABLES = "playbook_variables"
# The playbooks whose variables do not fit into a command, the file of ``docs/examples`` with them, and what a reader has to know.
FILES = {
    "round_trip_cloud": (
        "cloud.yml",
        "The login and the names of the other vCenter are in ``cloud.yml``, see "
        f":ref:`to the cloud and back <{LABEL}docsite.howto_cloud>`:",
    )
}

# Playbooks that change nothing by default, without check mode too.
PLANS_ONLY = {
    "hardware_event": "The command only plans. To evacuate without approval, add ``-e hardware_event_action=evacuate``, and leave out "
    "``--check --diff``."
}

Play = dict[str, Any]


def playbooks() -> list[str]:
    """The names of the playbooks."""
    return sorted(path.stem for path in FOLDER.glob("*.yml"))


@cache
def _play(name: str) -> Play:
    (play,) = yaml.safe_load((FOLDER / f"{name}.yml").read_text(encoding="utf-8"))
    return dict(play)


def page_of(name: str) -> str:
    """The page of a playbook: what it does, how to call it, the variables of its roles, and how it behaves."""
    play = _play(name)
    roles = [step["role"].removeprefix(COLLECTION) for step in play["roles"]]
    given = _given(play)
    lines = [*beginning(f"playbook_{name}", f"{name} playbook"), f"{play['name']}.", "", *_call(name, roles[0])]
    lines += [f"It runs the role{'s' * (len(roles) > 1)} {' and '.join(map(_link, roles))}{_with(given)}.", ""]
    lines += _way_home() if "vars_files" in play else []
    for role in roles:
        entry = entry_point(role)
        left_out = {*given, *(evacuation_only(role) if "restored" in given.values() else ())}
        own = {
            option: {**spec, "required": True} if option in demanded(name) else spec
            for option, spec in options_of(role).items()
            if not option.startswith(SITE) and option not in left_out
        }
        lines += [*_title(f"Role {role}"), *_paragraphs(entry["description"], given)]
        behaviour = [tuple(map(from_markdown, row)) for row in behaviour_of(entry["attributes"])]
        lines += table((), ((key.capitalize(), answer, text) for key, answer, text in behaviour))
        lines += table(HEAD, (tuple(map(from_markdown, row)) for row in rows_of(own))) if own else []
    lines += [
        f"For the login, the directory of the journals and other common settings, see :ref:`variables of all playbooks <{LABEL}docsite.{VARIABLES}>`."
    ]
    return "\n".join(lines) + "\n"


def page_of_variables() -> str:
    """The page of the variables that all roles read."""
    shared = {name: spec for name, spec in options_of("evacuate_host").items() if name.startswith(SITE)}
    return "\n".join(
        [
            *beginning(VARIABLES, "Variables of all playbooks"),
            "Set these variables once for a site, for example in ``group_vars/all.yml``. Each role checks the names and values of its",
            "variables before it does anything else.",
            "",
            *table(HEAD, (tuple(map(from_markdown, row)) for row in rows_of(shared))),
        ]
    ).rstrip("\n") + "\n"  # fmt: skip


def _call(name: str, role: str) -> list[str]:
    """The command. If the playbook changes something, it is shown with ``--check``, so that what is typed first changes nothing."""
    given, fixed = _example(role), _given(_play(name))
    if name in FILES:
        given = {variable: value for variable, value in given.items() if options_of(role)[variable].get("required")}
    options = [f"-e {shlex.quote(f'{variable}={value}')}" for variable, value in given.items() if variable not in fixed]
    options += [f"-e @{FILES[name][0]}"] if name in FILES else []
    check = entry_point(role)["attributes"]["check_mode"]["description"]
    changes = not check.startswith("Works the same") and "post_tasks" not in _play(name)
    command = " ".join(
        ["ansible-playbook", f"{COLLECTION}{name}", *options, *(["--check", "--diff"] if changes else [])]
    )
    lines = [".. code-block:: console", "", f"   {command}", ""]
    if name in FILES:
        file, sentence = FILES[name]
        lines += [sentence, "", f".. literalinclude:: examples/{file}", "   :language: yaml", ""]
    if name in PLANS_ONLY:
        lines += [PLANS_ONLY[name], ""]
    elif changes:
        lines += ["Look first at what it would do. To do it, run the command without ``--check --diff``.", ""]
    return lines


def demanded(name: str) -> set[str]:
    """The variables without which a playbook ends, although its roles could do without them."""
    conditions = (task.get("ansible.builtin.assert", {}).get("that", "") for task in _play(name).get("pre_tasks", ()))
    return {found[0] for condition in conditions if (found := re.match(r"\w+(?= \| default\()", condition))}


def _way_home() -> list[str]:
    """What the second role of a round trip gets from the first one."""
    own = ", ".join(f"``{name}``" for name, passed in options_of_both_ways().items() if not passed)
    return [
        "A variable ``restore_host_*`` that you do not set has the value of the variable ``evacuate_host_*`` with the same ending. "
        f"Exceptions, which have the default below: {own}.",
        "",
    ]


def _example(role: str) -> dict[str, Any]:
    """The variables in the example of a role's documentation."""
    (play,) = yaml.safe_load(entry_point(role)["examples"])
    return dict(play["roles"][0].get("vars", {}))


def _given(play: Play) -> dict[str, Any]:
    """The variables that a playbook gives to its roles."""
    return {key: value for step in play["roles"] for key, value in step.get("vars", {}).items()}


def _with(given: dict[str, Any]) -> str:
    found = [f"``{key}={value}``" for key, value in given.items()]
    return f" with {', '.join(found)}" if found else ""


def _link(role: str) -> str:
    return f":ref:`{COLLECTION}{role} <{LABEL}{role}_role>`"


def _title(title: str) -> list[str]:
    return [title, "-" * len(title), ""]


def _paragraphs(description: str | list[str], given: Mapping[str, Any]) -> list[str]:
    texts = [description] if isinstance(description, str) else description
    kept = filter(None, (_of_this_playbook(text, given) for text in texts))
    return [line for text in kept for line in (_text(text), "")]


def _of_this_playbook(text: str, given: Mapping[str, Any]) -> str:
    """A paragraph that begins with the value of a variable: without that if the playbook gives the value, and empty if it gives another."""
    found = re.match(r"C\((\w+)=(\w+)\) ", text)
    if not found or found[1] not in given:
        return text
    rest = text[found.end() :]
    return f"{rest[:1].upper()}{rest[1:]}" if found[2] == str(given[found[1]]) else ""


def _text(text: str) -> str:
    """Ansible's markup as reStructuredText."""
    return re.sub(r"\b[CMOVR]\(([^)]*)\)", r"``\1``", text)
