# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write everything that follows from the options of the roles: ``make roles``.

The options are in ``roles/internal/files/options.yml``; those of the roles that are called with ready values (notify,
publish_evidence, operator_role) are in their ``meta/argument_specs.yml``. From both come the made part of the argument specs,
``defaults/main.yml``, the variables through which a role reads its options, the upper part of each ``README.md``, the options
that roles pass to ``liveml.vsphere.internal``, and the variables of the round trip. Surveys: `make_surveys.py`.
"""

from __future__ import annotations

import re
import runpy
import sys
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
ROLES = ROOT / "roles"
FRAGMENTS = ROOT / "plugins" / "doc_fragments"
WAY_HOME = ROOT / "playbooks" / "vars" / "way_home.yml"

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / ".venv" / "collections"))

from ansible_collections.liveml.vsphere.plugins.plugin_utils._options import SITE, SOURCE, evacuation_only, specs_of

MADE = "Made by scripts/make_roles.py"
FROM = f"from {SOURCE.relative_to(SOURCE.parents[3])}"
BEGIN = f"      # {MADE} {FROM}.\n"
END = "      # End of what is made.\n"
BY_HAND = "<!-- What follows is written by hand. -->\n"
WIDTH = 120
MAX_LINE = 180  # of YAML
# Roles with runs: the purpose of the runs, and how the subject of a message begins.
RUNS = {
    "evacuate_host": ("evacuate", "Evacuation of"),
    "restore_host": ("restore", "Restore of"),
    "migrate_vm": ("migrate", "Move of"),
    "witness": ("witness", "Witness of"),
}
# What a role works for, unless an option with its name and "_name" says it.
SUBJECTS = {"witness": "__witness_cluster or __witness_host or __witness_vms | join(', ')"}

Spec = dict[str, Any]


class _Dumper(yaml.SafeDumper):
    """Lists indented, and long texts folded."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Double quotes for what needs quotes anyway: templates, and the empty text."""
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style='"' if not text or ": " in text or "{{" in text else None
    )


_Dumper.add_representer(str, _represent)
# Limits that a maintenance request may state, and the role whose defaults apply to those it does not state, by its state.
LIMITS = (
    "memory_headroom",
    "cpu_headroom",
    "storage_headroom",
    "exclude_hosts",
    "slots",
    "max_failures",
    "stall_budget",
)
STATES = {"evacuated": "evacuate_host", "restored": "restore_host"}


def public_roles() -> list[str]:
    """The roles that people call: those with argument specs."""
    return sorted(path.parent.parent.name for path in ROLES.glob("*/meta/argument_specs.yml"))


def computed_defaults(role: str) -> dict[str, str]:
    """The templates of those defaults that depend on other variables."""
    return {name: spec["computed"] for name, spec in specs_of(role).items() if "computed" in spec}


def argument_specs(role: str) -> str:
    """The argument specs with a new shared part; the text outside its marks is kept."""
    text = (ROLES / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    if BEGIN not in text:
        return text
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    specs = {name: _documented(spec) for name, spec in _specs(role).items()}
    dumped = yaml.dump(specs, Dumper=_Dumper, sort_keys=False, width=130, allow_unicode=True)
    return before + BEGIN + textwrap.indent(dumped, " " * 6) + END + after


def entry_point(role: str) -> Spec:
    """The documentation and the options of the entry point ``main``."""
    return dict(yaml.safe_load(argument_specs(role))["argument_specs"]["main"])


def options_of(role: str) -> dict[str, Spec]:
    """All options of the entry point ``main`` as they are, by variable."""
    written: dict[str, Spec] = entry_point(role)["options"]
    source = _specs(role)
    return {name: _computed(source[name]) if name in source else spec for name, spec in written.items()}


def _specs(role: str) -> dict[str, Spec]:
    """The options of a role by variable; the description says which of them a restore ignores."""
    only = evacuation_only(role)
    return {
        name: {**spec, "description": f"Evacuation only. {spec['description']}"} if name in only else spec
        for name, spec in specs_of(role).items()
    }


def _computed(spec: Spec) -> Spec:
    """The spec, with a computed default in its description."""
    if "computed" not in spec:
        return spec
    names = ", else ".join(f"C({name})" for name in _alternatives(spec["computed"]))
    return {**spec, "description": f"{spec['description']} Default: {names}."}


# Types that Ansible refuses an empty answer or JSON text for, by what the documentation says instead.
UNTYPED = {
    "int": "A whole number.",
    "float": "A number.",
    "bool": "Yes or no.",
    "dict": "A dictionary, or the JSON text of one.",
    "list of dict": "A list of dictionaries, or the JSON text of one.",
}


def _documented(spec: Spec) -> Spec:
    """The spec as argument specs have it: without what makes Ansible refuse an empty answer, which the description says.

    They have no templates as defaults, and no limits.
    """
    if spec.get("required"):
        return {key: value for key, value in spec.items() if key not in ("min", "max")}
    left_out = ("computed", "default", "choices", "min", "max", "keys")
    found = {key: value for key, value in _computed(spec).items() if key not in left_out}
    text = _meaning({**spec, **found})
    if _kind(spec) in UNTYPED:
        text, found = f"{text} {UNTYPED[_kind(spec)]}", {**found, "type": "raw"}
        found.pop("elements", None)
    default = spec.get("default")
    if default not in (None, "", [], {}):
        text += f" Default: C({_default_text(default)})."
    return {**found, "description": text, **({"options": keys_of(spec["keys"])} if "keys" in spec else {})}


@cache
def keys_of(place: str) -> dict[str, Spec]:
    """The documentation of the keys of a dictionary: in a doc fragment, or in an option of a role (``notify.notify_hooks``)."""
    role, _, option = place.rpartition(".")
    if role:
        return dict(yaml.safe_load(argument_specs(role))["argument_specs"]["main"]["options"][option]["options"])
    fragment = runpy.run_path(str(FRAGMENTS / f"{place}.py"))["ModuleDocFragment"].DOCUMENTATION
    return _as_options(yaml.safe_load(fragment)["options"][place]["suboptions"])


def _as_options(keys: dict[str, Spec]) -> dict[str, Spec]:
    """Suboptions of a module as options of a role, whose documentation cannot refer to options of modules."""
    found = {}
    for name, spec in keys.items():
        texts = [re.sub(r"\b[OV]\(", "C(", text) for text in _listed(spec["description"])]
        found[name] = {**spec, "description": texts if len(texts) > 1 else texts[0]}
        if "suboptions" in spec:
            found[name]["options"] = _as_options(found[name].pop("suboptions"))
    return found


def _default_text(default: Any) -> str:
    if isinstance(default, list):
        return ",".join(default)
    return str(default).lower() if isinstance(default, bool) else str(default)


def _alternatives(template: str) -> list[str]:
    """What a computed default may be, in order: variables, then a text."""
    return [*re.findall(r"\b[a-z]+_[a-z_]+\b", template), *re.findall(r"'(.+?)'", template)]


def defaults(role: str) -> str:
    """``defaults/main.yml``: every option with its meaning; one without a default is commented out."""
    parts = [f"---\n# {MADE} {FROM if specs_of(role) else 'from meta/argument_specs.yml'}.\n"]
    computed = computed_defaults(role)
    for name, spec in options_of(role).items():
        if not name.startswith(SITE):
            comment = "".join(f"# {line}\n" for line in textwrap.wrap(_plain(_meaning(spec)), WIDTH - 2))
            value_of = {**spec, **({"default": computed[name]} if name in computed else {})}
            value = (
                yaml.dump({name: value_of["default"]}, Dumper=_Dumper, width=1000, allow_unicode=True)
                if "default" in value_of
                else f"# {name}:\n"
            )
            parts.append(comment + value)
    return "\n".join(parts)


def readme(role: str) -> str:
    """The README; the text below the mark is kept."""
    entry = entry_point(role)
    own = {name: spec for name, spec in options_of(role).items() if not name.startswith(SITE)}
    site = {name: spec for name, spec in options_of(role).items() if name.startswith(SITE)}
    parts = [f"# {role}\n", f"<!-- {MADE} {FROM} and meta/argument_specs.yml. -->\n"]
    parts += [f"{_code(text)}\n" for text in _listed(entry["description"])]
    parts += ["## Example\n", f"```yaml\n---\n{entry['examples']}```\n", "## Variables\n", _table("variable", own)]
    for name, spec in own.items():
        if "options" in spec:
            of = "each hook in " if spec["type"] == "list" else ""
            parts += [f"Keys of {of}`{name}`:\n", _table("key", spec["options"])]
    if site:
        parts += ["Set these variables once for all roles of the collection:\n", _table("variable", site)]
    parts += ["## Behaviour\n", _behaviour(entry["attributes"])]
    return "\n".join(parts) + _by_hand(role)


def variables(role: str) -> str:
    """``vars/main.yml``: through these variables a role reads its options, so that an empty one has its default."""
    parts = [
        f"---\n# {MADE} {FROM}.\n",
        *(f"{line}\n" for line in map(_reading, *zip(*_own(role).items(), strict=True))),
    ]
    parts += [run_of(role)] if role in RUNS else [request_defaults()] if role == "reconcile" else []
    return "".join(parts)


def _own(role: str) -> dict[str, Spec]:
    return {name: spec for name, spec in specs_of(role).items() if not name.startswith(SITE)}


def _reading(variable: str, spec: Spec) -> str:
    computed = re.sub(r"^\{\{ (.*) \}\}$", r"\1", spec.get("computed", ""))
    default = f",\n  {computed}" if computed else ""
    expression = f"{{{{ {variable} | default(none) | liveml.vsphere.option('{variable}'{default}) }}}}"
    return f"__{variable}: >-\n  {expression}" if default else f'__{variable}: "{expression}"'


def run_of(role: str) -> str:
    """What a role that moves VMs passes to ``liveml.vsphere.internal``."""
    purpose, subject = RUNS[role]
    name = SUBJECTS.get(role, f"__{role}_name")
    lines = ["role: " + role, "purpose: " + purpose, f'subject: "{subject} {{{{ {name} }}}}"']
    lines += [f'host: "{{{{ {name} }}}}"'] if role.endswith("_host") else []
    lines += ['plan: "{{ __internal_plan | default({}) }}"'] if role != "witness" else []
    shared = [variable for variable in _own(role) if variable != f"{role}_name"]
    lines += ["options:", *(f'  {each.removeprefix(f"{role}_")}: "{{{{ __{each} }}}}"' for each in shared)]
    return f"__{role}_run:\n" + textwrap.indent("\n".join(lines), "  ") + "\n"


def request_defaults() -> str:
    """The limits of a request that states none."""
    found = {}
    for state, role in STATES.items():
        options = specs_of(role)
        names = [name for name in LIMITS if f"{role}_{name}" in options]
        found[state] = {name: options[f"{role}_{name}"]["default"] for name in names}
    return str(yaml.dump({"__reconcile_defaults": found}, Dumper=_Dumper, sort_keys=False))


def way_home() -> str:
    """Variables of the round trip: the restore gets the options of the evacuation, unless the inventory has others."""
    lines = ["---", f"# {MADE} {FROM}.", '__way_home: "{{ hostvars[inventory_hostname] }}"']
    for name in (name for name, passed in options_of_both_ways().items() if passed):
        there, back = f"evacuate_host_{name}", f"restore_host_{name}"
        line = f"{back}: \"{{{{ __way_home.{back} | default(none) | liveml.vsphere.option('{back}', {there}) }}}}\""
        if len(line) > MAX_LINE:
            line = f"{back}: >-\n  {{{{ __way_home.{back} | default(none)\n  | liveml.vsphere.option('{back}', {there}) }}}}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def options_of_both_ways() -> dict[str, bool]:
    """The options that evacuation and restore have, and whether the restore of a round trip gets that of the evacuation."""
    return {
        name: option.get("round_trip", True) and "default" not in option.get("except", {}).get("restore_host", {})
        for name, option in yaml.safe_load(SOURCE.read_text(encoding="utf-8")).items()
        if {"evacuate_host", "restore_host"} <= set(option["roles"]) and not name.startswith(SITE)
    }


def _table(head: str, options: dict[str, Spec]) -> str:
    rows = [f"| {head} | type | default | meaning |", "|---|---|---|---|"]
    return "\n".join([*rows, *(f"| {' | '.join(row)} |" for row in rows_of(options))]) + "\n"


def rows_of(options: dict[str, Spec]) -> Iterator[tuple[str, str, str, str]]:
    """Name, type, default and meaning of each option, as cells in Markdown."""
    for name, spec in options.items():
        meaning, _, stated = _meaning(spec).partition(" Default: ")
        yield f"`{name}`", _kind(spec), _code(stated.removesuffix(".")) or _default(spec), _code(meaning)


def _behaviour(attributes: dict[str, Spec]) -> str:
    rows = [f"| {' | '.join(row)} |" for row in behaviour_of(attributes)]
    return "\n".join(["| | | |", "|---|---|---|", *rows]) + "\n"


def behaviour_of(attributes: dict[str, Spec]) -> Iterator[tuple[str, str, str]]:
    """Name, answer and description of each attribute, as cells in Markdown."""
    answers = {"full": "yes", "partial": "partly", "none": "no"}
    for name, spec in attributes.items():
        yield name.replace("_", " "), answers[spec["support"]], _code(spec["description"])


def _by_hand(role: str) -> str:
    path = ROLES / role / "README.md"
    _, found, rest = (path.read_text(encoding="utf-8") if path.exists() else "").partition(BY_HAND)
    return f"\n{BY_HAND}{rest}" if found else ""


def _kind(spec: Spec) -> str:
    return f"list of {spec['elements']}" if "elements" in spec else str(spec["type"])


def _default(spec: Spec) -> str:
    if spec.get("required"):
        return "**required**"
    if spec.get("default") in (None, "", [], {}):
        return {"list": "`[]`", "dict": "`{}`"}.get(spec["type"], '`""`') if "default" in spec else "not set"
    dumped = yaml.dump(spec["default"], Dumper=_Dumper, default_flow_style=True, width=1000)
    return f"`{dumped.removesuffix('...' + chr(10)).strip()}`"


def _meaning(spec: Spec) -> str:
    text = " ".join(_listed(spec["description"]))
    named = [choice for choice in spec.get("choices", ()) if f"C({choice})" not in text]
    choices = ", ".join(f"C({choice})" for choice in spec.get("choices", ()))
    return f"{text} Choices: {choices}." if named else text


def _listed(text: str | list[str]) -> list[str]:
    return [text] if isinstance(text, str) else text


def _code(text: str) -> str:
    """Ansible's markup as Markdown."""
    return re.sub(r"\b[CMOVR]\(([^)]*)\)", r"`\1`", text).replace("|", r"\|")


def _plain(text: str) -> str:
    """Without markup."""
    return re.sub(r"\b[CMOVR]\(([^)]*)\)", r"\1", text)


def documents() -> dict[Path, str]:
    """Every file that this makes, with its text."""
    found = {WAY_HOME: way_home()}
    for role in public_roles():
        folder = ROLES / role
        found[folder / "meta" / "argument_specs.yml"] = argument_specs(role)
        found[folder / "defaults" / "main.yml"] = defaults(role)
        found[folder / "README.md"] = readme(role)
        if _own(role):
            found[folder / "vars" / "main.yml"] = variables(role)
    return found


if __name__ == "__main__":
    for target, text in documents().items():
        target.parent.mkdir(exist_ok=True)
        target.write_text(text, encoding="utf-8")
