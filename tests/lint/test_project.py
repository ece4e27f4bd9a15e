# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What no linter knows: documents agree with each other, and the project names no machine of its makers."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from difflib import SequenceMatcher
from itertools import combinations
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from ansible_collections.liveml.vsphere.plugins.modules import vm_migrate, vm_witness

from lab.paths import GO_SOURCE, cache_dir
from lab.toolchain import find_go, go_environment, simulator_binary
from scripts import make_roles
from tests.labs import ROOT

pytestmark = pytest.mark.long

# Folders of a particular machine, and hosts from which packages happen to be downloaded.
FOREIGN = re.compile(r"/(?:home|work|Users)/\w+|https?://[^\s/]*(?:pypi|pythonhosted|npmjs|proxy\.golang|mirror)[^\s]*")


def tracked() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    names = [name for name in listing.split("\0") if name]
    return [ROOT / name for name in names] or pytest.skip("not a Git checkout")


def test_no_file_names_a_machine_or_a_registry() -> None:
    named = []
    for path in tracked():
        if path.is_file() and path.suffix not in {".png", ".ico"} and path != Path(__file__):
            found = FOREIGN.search(path.read_text(encoding="utf-8"))
            named += [f"{path.relative_to(ROOT)}: {found[0]}"] if found else []
    assert named == []


def test_what_is_made_from_the_options_of_roles_is_up_to_date() -> None:
    """Run `make roles` if this fails."""
    old = [str(path.relative_to(ROOT)) for path, text in make_roles.documents().items() if path.read_text() != text]
    assert old == []


@pytest.mark.parametrize("role", make_roles.public_roles())
def test_a_role_has_the_same_options_everywhere(role: str) -> None:
    folder = ROOT / "roles" / role
    documented = yaml.safe_load((folder / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"][
        "options"
    ]
    options = make_roles.options_of(role)
    assert set(documented) == set(options)
    own = {name: option for name, option in options.items() if not name.startswith("liveml_vsphere_")}
    text = (folder / "defaults" / "main.yml").read_text()
    stated = {name: option["default"] for name, option in own.items() if "default" in option}
    assert yaml.safe_load(text) == stated | make_roles.computed_defaults(role)
    assert set(own) == set(re.findall(rf"^(?:# )?({role}_\w+):", text, re.MULTILINE))
    readme = (folder / "README.md").read_text()
    for name in options:
        row = re.search(rf"^\| `{name}` \|(.+)\|$", readme, re.MULTILINE)
        assert row, f"{name} is missing in the README"
        assert all(cell.strip() for cell in row[1].split(" | ")), row[0]


@pytest.mark.parametrize(
    ("roles", "file", "module"),
    [(set(make_roles.RUNS) - {"witness"}, "move", vm_migrate), ({"witness"}, "witness", vm_witness)],
)
def test_every_option_of_a_run_reaches_the_module(roles: set[str], file: str, module: ModuleType) -> None:
    tasks = yaml.safe_load((ROOT / f"roles/internal/tasks/{file}.yml").read_text())
    name = f"liveml.vsphere.{module.__name__.rpartition('.')[2]}"
    (given,) = (task[name] for task in [*tasks, *tasks[0].get("block", [])] if name in task)
    options = {name for role in roles for name in yaml.safe_load(make_roles.run_of(role))[f"__{role}_run"]["options"]}
    for option in options & set(module.SPEC):
        assert f"internal_run.options.{option}" in given.get(option, ""), option


def test_no_two_files_of_tasks_say_the_same() -> None:
    """What several roles do stands once, in the role `internal`."""
    files = {str(path.relative_to(ROOT)): lines_of(path) for path in sorted(ROOT.glob("roles/*/tasks/*.yml"))}
    alike = {(one, other): common(files[one], files[other]) for one, other in combinations(files, 2)}
    assert {pair: shared for pair, shared in alike.items() if shared > 10} == {}


def lines_of(path: Path) -> list[str]:
    """The lines with the role's own name left out: a copy for another role is a copy too."""
    text = path.read_text().replace(path.parent.parent.name, "ROLE")
    return [line.strip() for line in text.splitlines() if line.strip()]


def common(one: list[str], other: list[str]) -> int:
    """How many lines both have in the same order, in runs of at least six."""
    blocks = SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks if block.size >= 6)


def test_go_code_is_formatted_and_vetted(tmp_path: Path) -> None:
    simulator_binary(cache_dir(), tmp_path)  # what it compiles serves the vetting too
    environment = go_environment(cache_dir(), tmp_path)
    go = find_go(environment)
    for command in ([go, "vet", "./..."], [go.parent / "gofmt", "-l", "."]):
        outcome = subprocess.run(
            [str(part) for part in command], cwd=GO_SOURCE, env=environment, capture_output=True, text=True, check=False
        )
        assert (outcome.returncode, outcome.stdout) == (0, ""), outcome.stdout + outcome.stderr


def test_files_carry_their_licence() -> None:
    missing = [
        str(path.relative_to(ROOT))
        for path in tracked()
        if path.suffix == ".py" and path.stat().st_size and "SPDX-License-Identifier" not in path.read_text()
    ]
    assert missing == []


def test_no_plugin_has_what_the_pylint_of_an_older_ansible_core_refuses() -> None:
    """`disallowed-name` and `unidiomatic-typecheck`: the newest ansible-core no longer asks for them."""
    found = []
    for path in sorted((ROOT / "plugins").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            unnamed = isinstance(node, ast.Name) and node.id == "_" and isinstance(node.ctx, ast.Store)
            typed = (
                isinstance(node, ast.Compare)
                and isinstance(node.left, ast.Call)
                and ast.unparse(node.left.func) == "type"
            )
            found += [f"{path.relative_to(ROOT)}:{node.lineno}"] if unnamed or typed else []
    assert found == []


def test_what_is_run_may_be_run() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_a_login_in_module_defaults_reaches_just_the_modules_that_connect() -> None:
    groups = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]
    modules = (ROOT / "plugins" / "modules").glob("*.py")
    assert set(groups["vcenter"]) == {path.stem for path in modules if "run_module(" in path.read_text()}
    assert set(groups["vcenter"]) < {path.stem for path in (ROOT / "plugins/action").glob("*.py")}
    for path in (*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/*.yml")):
        assert "group/liveml.vsphere" not in path.read_text(), f"{path}: the actions give modules their login"


def test_the_version_is_the_same_everywhere() -> None:
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    assert f'VERSION = "{version}"' in (ROOT / "plugins/module_utils/_core/version.py").read_text()


def test_groups_of_requirements_lock_the_same_releases() -> None:
    """They share one environment: what one installs is what the others are tested with."""
    tested, *others = (locked(group) for group in ("test", "demo", "frameworks"))
    for releases in others:
        assert {name: found for name, found in releases.items() if not found <= tested.get(name, found)} == {}


def locked(group: str) -> dict[str, set[str]]:
    """Releases by name; several where they depend on Python's."""
    lock = (ROOT / "requirements" / f"{group}.txt").read_text()
    found: dict[str, set[str]] = {}
    for name, release in re.findall(r"^([\w.-]+)==([^ ;\\]+)", lock, re.MULTILINE):
        found.setdefault(name, set()).add(release)
    return found


def test_the_demo_has_all_that_a_run_needs() -> None:
    """The environment of the tests has more, so only a fresh clone would show what is missing."""
    needed, installed = (
        set((ROOT / name).read_text().splitlines()) for name in ("requirements.txt", "requirements/demo.in")
    )
    names = [{re.split("[=<>]", line)[0].lower() for line in lines} for lines in (needed, installed)]
    # Only requests of GitOps are checked with jsonschema.
    assert names[0] - names[1] == {"jsonschema"}
