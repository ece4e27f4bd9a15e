# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The release playbook in a clone: a release, and every refusal with nothing changed; the workflows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from scripts.artefact import BIN, ROOT

pytestmark = pytest.mark.long

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
GIT = ("git", "-c", "user.name=Release", "-c", "user.email=release@example.com")


def git(clone: Path, *arguments: str) -> str:
    outcome = subprocess.run([*GIT, *arguments], cwd=clone, capture_output=True, text=True, check=True)
    return outcome.stdout.strip()


def release(clone: Path, version: str) -> subprocess.CompletedProcess[str]:
    command = [BIN / "ansible-playbook", "release/release.yml", "-e", f"release_version={version}"]
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"}
    environment |= {
        f"GIT_{role}_{key}": "release@example.com" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")
    }
    return subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with this tree as its only commit, and one fragment in it."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    folder = tmp_path / "clone"
    for name in filter(None, listing.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    fragment(folder, "bugfixes", "vm_migrate - fixed.")
    git(tmp_path, "init", "--quiet", str(folder))
    commit(folder)
    return folder


def fragment(folder: Path, section: str, text: str) -> None:
    (folder / "changelogs" / "fragments" / f"{section}.yml").write_text(yaml.safe_dump({section: [text]}))


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Change")


@pytest.mark.thorough
def test_releases_follow_semantic_versioning(clone: Path) -> None:
    first = yaml.safe_load((clone / "galaxy.yml").read_text())["version"]
    done = release(clone, first)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"git tag --annotate {first}" in done.stdout
    assert (clone / "dist" / f"liveml-vsphere-{first}.tar.gz").exists()
    assert git(clone, "log", "-1", "--format=%s") == f"Release {first}"
    for pinning in (
        "execution-environment/execution-environment.yml",
        "gitops/github/maintenance.yml",
        "gitops/gitlab/.gitlab-ci.yml",
    ):
        assert f"ersion: {first}\n" in (clone / pinning).read_text().replace("COLLECTION_VERSION", "version")
    assert git(clone, "status", "--porcelain") == ""
    assert f"## v{first}" in changelog(clone)
    assert "vm_migrate - fixed." in changelog(clone)
    assert list((clone / "changelogs" / "fragments").glob("*.yml")) == []

    major, minor, patch = map(int, first.split("."))
    refused(clone, "1.0", "not of the form 1.2.3")
    refused(clone, first, "is already released")
    fragment(clone, "breaking_changes", "vm_migrate - changed.")
    refused(clone, f"{major + 1}.0.0", "Commit or remove these changes first")
    commit(clone)
    refused(clone, f"{major}.{minor}.{patch + 1}", "breaking_changes.yml")
    # The step fits, and what follows fails halfway.
    (clone / "changelogs" / "fragments" / "wrong.yml").write_text("no_such_section:\n  - text\n")
    commit(clone)
    refused(clone, f"{major + 1}.0.0", "was not prepared; all changes were undone")
    assert [path.name for path in (clone / "dist").iterdir()] == [f"liveml-vsphere-{first}.tar.gz"]


def changelog(clone: Path) -> str:
    """The changelog without Markdown's escapes."""
    return (clone / "CHANGELOG.md").read_text().replace("\\", "")


def refused(clone: Path, version: str, why: str) -> None:
    """The release fails for that reason and changes nothing."""
    before = git(clone, "rev-parse", "HEAD"), git(clone, "status", "--porcelain"), git(clone, "diff")
    outcome = release(clone, version)
    assert outcome.returncode != 0
    assert why in re.sub(r"\s+", " ", outcome.stdout.replace("\\n", " "))
    assert before == (git(clone, "rev-parse", "HEAD"), git(clone, "status", "--porcelain"), git(clone, "diff"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_may_do_little_and_run_what_is_pinned(path: Path) -> None:
    text = path.read_text()
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert set(workflow["on"]) <= {"push", "pull_request"}, "a fork's change must not see a secret"
    for name, job in workflow["jobs"].items():
        assert name == "publish" or "permissions" not in job
        assert "timeout-minutes" in job
        steps = job["steps"]
        assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step["uses"]) for step in steps if "uses" in step)
        # Outside text reaches a shell by the environment alone.
        assert not [step for step in steps if "${{" in step.get("run", "")]
    assert "make test" in text


def test_make_knows_every_target_that_documents_name() -> None:
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in (ROOT / "CONTRIBUTING.md", *WORKFLOWS):
        named = set(re.findall(r"(?:`|run: |^)make ([a-z][a-z0-9-]*)", path.read_text(), re.MULTILINE))
        assert named, path
        assert named <= targets, f"{path.name} names {named - targets}"


def test_hooks_run_the_linters_of_the_tests() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in hooks] == ["local"], "only requirements/test.txt has releases"
    tests = (ROOT / "tests" / "lint" / "test_linters.py").read_text()
    for hook in hooks[0]["hooks"]:
        program = Path(hook["entry"].split()[0])
        assert (ROOT / program).exists()
        assert f'BIN / "{program.name}"' in tests
