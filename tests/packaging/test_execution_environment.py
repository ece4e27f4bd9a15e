# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The execution environment, as far as ansible-builder goes without a container engine."""

from __future__ import annotations

import json
import re
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.artefact import BIN, ROOT, build, install, run
from scripts.bootstrap import VENV

DEFINITION = ROOT / "execution-environment" / "execution-environment.yml"


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("build"))


def requirements() -> set[str]:
    """The packages that the documentation asks a user to install."""
    return set((ROOT / "requirements.txt").read_text().split())


def create(definition: Path, context: Path) -> tuple[str, dict[str, Any]]:
    """The image's recipe and its collections."""
    command = [BIN / "ansible-builder", "create", "--file", definition, "--context", context]
    run([*command, "--output-filename", "Containerfile"], definition.parent)
    collections = yaml.safe_load((context / "_build" / "requirements.yml").read_text())
    return (context / "Containerfile").read_text(), collections


def test_the_definition_pins_what_the_tests_run_with(tmp_path: Path) -> None:
    recipe, wanted = create(DEFINITION, tmp_path)
    (refs,) = re.findall(r'ANSIBLE_INSTALL_REFS="([^"]+)"', recipe)
    assert set(refs.split()) == {f"{name}=={version(name)}" for name in ("ansible-core", "ansible-runner")}
    (image,) = re.findall(r'EE_BASE_IMAGE="([^"]+)"', recipe)
    assert re.search(r":\d+\.\d+$", image)
    (packages,) = (VENV / "lib").glob("python3.*/site-packages/ansible_collections")
    for collection in wanted["collections"][1:]:
        manifest = packages / collection["name"].replace(".", "/") / "MANIFEST.json"
        assert collection["version"] == json.loads(manifest.read_text())["collection_info"]["version"], collection
    own = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    assert wanted["collections"][0] == {"name": "liveml.vsphere", "version": own}
    (python,) = re.findall(r'PYCMD="/usr/bin/python3\.(\d+)"', recipe)
    assert int(python) >= 11
    named = [collection["name"] for collection in wanted["collections"]]
    assert named == ["liveml.vsphere", "vmware.vmware", "amazon.aws", "community.general"]


def test_introspection_finds_what_the_collection_needs(artefact: Path, tmp_path: Path) -> None:
    install(artefact, tmp_path)
    found = yaml.safe_load(run([BIN / "ansible-builder", "introspect", tmp_path], tmp_path))
    assert set(found["python"]) == {f"{package}  # from collection liveml.vsphere" for package in requirements()}
    assert {line.split()[0] for line in found["system"]} == {"git-core", "git", "openssh-clients", "openssh-client"}


def test_a_build_from_a_checkout_installs_the_artefact(artefact: Path, tmp_path: Path) -> None:
    # The recipe of the README, which replaces the collections from Galaxy.
    readme = (DEFINITION.parent / "README.md").read_text()
    (extract,) = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    change = yaml.safe_load(extract.replace("liveml-vsphere-VERSION.tar.gz", artefact.name))
    definition = yaml.safe_load(DEFINITION.read_text())
    definition["dependencies"] |= change.pop("dependencies")
    checkout = tmp_path / "checkout"
    (checkout / "execution-environment").mkdir(parents=True)
    shutil.copy(artefact, checkout)
    changed = checkout / "execution-environment" / DEFINITION.name
    changed.write_text(yaml.safe_dump(definition | change))
    recipe, _wanted = create(changed, tmp_path / "context")
    # What the image's build runs, where it runs it.
    assert re.search(r"ansible-galaxy collection install .* -r requirements.yml", recipe)
    target = tmp_path / "collections"
    command = [BIN / "ansible-galaxy", "collection", "install", "-r", "requirements.yml", "-p", target, "--offline"]
    run(command, tmp_path / "context" / "_build")
    assert (target / "ansible_collections" / "liveml" / "vsphere" / "plugins" / "modules" / "vm_migrate.py").exists()
