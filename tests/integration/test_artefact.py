# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The built artefact: what is in it, that it works where only it is installed, and what Galaxy and ansible-test say."""

from __future__ import annotations

import json
import os
import re
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from scripts import runner_pairs
from scripts.artefact import BIN, ROOT, CommandFailed, build, install, run
from scripts.importer import imported
from scripts.matrix import PAGE, SUPPORTED, Row, page_of, pairs, prepare
from scripts.sanity import sanity
from tests.labs import Lab

pytestmark = pytest.mark.long

# What the artefact consists of, by the first part of the path; everything else in the checkout is left out.
PARTS = {
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "COPYING",
    "FILES.json",
    "MANIFEST.json",
    "README.md",
    "bindep.txt",
    "changelogs",
    "docs",
    "execution-environment",
    "extensions",
    "meta",
    "playbooks",
    "plugins",
    "requirements.txt",
    "roles",
}
REPOSITORY = "https://github.com/liveml/vsphere/blob/main/"
LEFT_OUT = {"lab", "inventories", "benchmarks", "tests", "scripts", "release", "requirements", "Makefile"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which nothing but the artefact is installed."""
    folder = tmp_path_factory.mktemp("galaxy")
    install(build(folder), folder)
    return folder


@pytest.fixture(scope="module")
def artefact(installed: Path) -> Path:
    """The artefact itself."""
    (path,) = installed.glob("liveml-vsphere-*.tar.gz")
    return path


def test_the_artefact_holds_the_collection_alone(artefact: Path) -> None:
    with tarfile.open(artefact) as archive:
        names = set(archive.getnames())
    top = {name.partition("/")[0] for name in names}
    assert not top & LEFT_OUT
    assert not {name for name in top if name.startswith(".")}
    assert top >= PARTS
    assert {"plugins/modules/vm_migrate.py", "roles/evacuate_host/README.md", "playbooks/restore_host.yml"} <= names
    assert not {name for name in names if "__pycache__" in name}


def test_links_of_the_artefact_lead_somewhere(artefact: Path) -> None:
    """To a file of the artefact, or to one of the repository by its address."""
    with tarfile.open(artefact) as archive:
        pages = [member for member in archive.getmembers() if member.name.endswith(".md")]
        texts = {page.name: archive.extractfile(page).read().decode() for page in pages}
        names = set(archive.getnames())
    assert {"README.md", "CONTRIBUTING.md", "docs/report.md", "roles/evacuate_host/README.md"} <= texts.keys()
    assert [dead for name, text in texts.items() for dead in dead_links(name, text, names)] == []


def dead_links(name: str, text: str, names: set[str]) -> list[str]:
    """The links of a page in Markdown to files that do not exist."""
    dead = []
    for link in re.findall(r"\]\(([^)\s#]+)", text):
        inside = link.startswith(REPOSITORY)
        if link.startswith("http") and not inside:
            continue
        target = os.path.normpath(link.removeprefix(REPOSITORY) if inside else Path(name).parent / link)
        if not ((ROOT / target).exists() if inside else target in names):
            dead.append(f"{name}: {link}")
    return dead


def test_a_dead_link_is_found() -> None:
    text = f"[a](b.md) [c](../d.md#part) [e](#f) [g](https://h.example) [i]({REPOSITORY}README.md) [k]({REPOSITORY}nowhere)"
    assert dead_links("x/y.md", text, {"d.md"}) == ["x/y.md: b.md", f"x/y.md: {REPOSITORY}nowhere"]


def test_module_defaults_reach_every_module() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())
    modules = {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")}
    assert modules == set(runtime["action_groups"]["all"])
    assert runtime["requires_ansible"] == ">=2.16.0"


def test_an_installed_file_that_was_changed_is_noticed(artefact: Path, tmp_path: Path) -> None:
    tree = install(artefact, tmp_path)
    verify = [BIN / "ansible-galaxy", "collection", "verify", "--offline", "-p", tmp_path, "liveml.vsphere"]
    assert "Successfully verified" in run(verify, tmp_path)
    with open(tree / "plugins" / "modules" / "vm_migrate.py", "a", encoding="utf-8") as stream:
        stream.write("\n# changed\n")
    with pytest.raises(CommandFailed, match="vm_migrate"):
        run(verify, tmp_path)


@pytest.mark.thorough
def test_the_demonstrations_playbooks_run_from_the_artefact(artefact: Path, fast_lab: Lab, tmp_path: Path) -> None:
    """With the oldest core of this machine; everything else here runs with the newest."""
    oldest = pairs()[0]
    prepare(oldest)
    install(artefact, tmp_path, bin_dir=oldest.bin_dir)
    demonstration = set(re.findall(r'"(\w+)",\s*\{"', (ROOT / "lab" / "demo.py").read_text()))
    assert demonstration == {"evacuate_host", "restore_host", "verify_experiments"}
    variables = {
        "liveml_vsphere_state_dir": str(tmp_path / "state"),
        "evacuate_host_name": "esx-05",
        "restore_host_name": "esx-05",
    }
    before = fast_lab.where()
    for name in sorted(demonstration):
        playbook = [oldest.bin_dir / "ansible-playbook", f"liveml.vsphere.{name}", "-e", json.dumps(variables)]
        printed = run(playbook, tmp_path, bin_dir=oldest.bin_dir, **fast_lab.env)
        assert "failed=0" in printed
        if name != "verify_experiments":
            assert "10 moved, 0 failed" in printed
            (report,) = re.findall(r"Report: (\S+?\.html)", printed)
            assert "<svg" in Path(report).read_text(encoding="utf-8")
    assert fast_lab.where() == before


@pytest.mark.thorough
def test_the_oldest_pair_of_awx_does_not_hang(artefact: Path) -> None:
    """ansible-core 2.16 forks tasks while it holds the lock of its display; ansible-runner 2.4.0 writes from them."""
    [oldest, *_others] = pairs()
    row = runner_pairs.row_of(oldest.core, runner_pairs.RUNNERS[0], oldest.interpreter, artefact)
    assert row.jobs == dict.fromkeys(runner_pairs.JOBS, "")


# tests/lint runs the same tools on the same files, or ruff with pylint's rules, which takes a hundredth of the time.
@pytest.mark.parametrize(
    "elsewhere",
    [["changelog", "pylint", "yamllint", "import"], pytest.param(["changelog"], marks=pytest.mark.thorough)],
    ids=["sample", "all"],
)
def test_sanity(artefact: Path, elsewhere: list[str]) -> None:
    sanity(artefact, f"{sys.version_info.major}.{sys.version_info.minor}", skipped=elsewhere)


def test_galaxy_imports_it_without_a_warning(artefact: Path) -> None:
    # Its ansible-lint is that of tests/lint; `make importer` runs both.
    account = imported(artefact, run_ansible_lint=False)
    described = {c["name"]: c["description"] for c in account["contents"] if c["content_type"] in ("module", "role")}
    assert {"vm_migrate", "evacuate_host"} <= set(described)
    assert all(described.values())
    assert account["requires_ansible"] == ">=2.16.0"


def test_what_failed_in_the_matrix_is_documented_as_failed() -> None:
    checks = dict.fromkeys(("ansible-doc", "check mode", "evacuate", "restore", "inventory", "sanity"), "")
    assert "     - failed" in page_of([Row("2.16.0", "3.11.0", "9.0", {**checks, "restore": "why"})])


def test_the_documented_matrix_is_whole() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [core for core in SUPPORTED if f"   * - {core}." not in page] == []
    assert "failed" not in page
    jobs = page[page.index(runner_pairs.HEADING) :]
    for core in runner_pairs.CORES:
        for runner in runner_pairs.RUNNERS:
            assert re.search(rf"   \* - {re.escape(core)}\.\d+\n     - {re.escape(runner)}\n", jobs), (core, runner)


def test_the_newest_core_is_in_the_matrix() -> None:
    lock = (ROOT / "requirements" / "test.txt").read_text()
    locked = re.findall(r"^ansible-core==(\d+)\.(\d+)", lock, re.MULTILINE)
    assert ".".join(max(locked, key=lambda version: tuple(map(int, version)))) == list(SUPPORTED)[-1]
