# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a request in a repository to its evidence and back, by the shell steps of the shipped pipelines."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import yaml
from ansible_collections.liveml.vsphere.plugins.module_utils._maintenance_request import parse_request

from tests.doubles.servers import Answering, serving
from tests.gitops.pipelines import GITHUB, GITLAB, Runner, git, gitlab_job
from tests.labs import ROOT, Lab, RunModule, login, places, play, running_lab

pytestmark = pytest.mark.long

HOST = "esx-01"
# What a user with the role Read-only may call.
READS = {
    "Login", "Logout", "RetrieveServiceContent", "RetrievePropertiesEx", "ContinueRetrievePropertiesEx", "RetrieveProperties",
    "CreateContainerView", "DestroyView", "CurrentTime", "HasPrivilegeOnEntities",
    "QueryVMotionCompatibilityEx_Task", "CheckRelocate_Task",  # they change nothing
    "QueryEvents",  # needs System.View
    "Fetch",  # pyVmomi reads a single property with it
}  # fmt: skip


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running_lab("--no-guests", "--topology", str(ROOT / "lab/topologies/small.yml")) as small:
        yield small


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A `gh` that writes down its arguments and comments, because the tests cannot reach GitHub."""
    folder = tmp_path / "tools"
    folder.mkdir()
    gh = folder / "gh"
    gh.write_text(f'#!/bin/sh\necho "$@" >> {folder}/calls\ncat "$5" >> {folder}/comments\n')
    gh.chmod(0o755)
    return folder


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A bare repository with an empty branch main."""
    bare = tmp_path / "origin.git"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch", "main", str(bare))
    git(bare, "config", "receive.advertisePushOptions", "true")
    author = tmp_path / "author"
    git(tmp_path, "clone", "--quiet", str(bare), str(author))
    git(author, "checkout", "--quiet", "-b", "main")
    git(author, "commit", "--quiet", "--allow-empty", "-m", "Begin")
    git(author, "push", "--quiet", "origin", "main")
    return bare


def request(hours: float = -1, **changes: object) -> str:
    """A request whose window of two hours begins so many hours from now."""
    begin = datetime.now(UTC) + timedelta(hours=hours)
    window = {
        key: f"{time:%Y-%m-%dT%H:%M:%SZ}" for key, time in (("from", begin), ("until", begin + timedelta(hours=2)))
    }
    content = {
        "version": "1.0", "state": "evacuated", "host": HOST, "window": window, "requester": "platform@example.com", **changes,
    }  # fmt: skip
    return yaml.safe_dump({key: value for key, value in content.items() if value is not None})


def propose(origin: Path, branch: str, name: str, text: str) -> str:
    """Push a branch with a request; the commit it was made from."""
    author = origin.parent / "author"
    git(author, "fetch", "--quiet", "origin")
    git(author, "checkout", "--quiet", "-B", branch, "origin/main")
    (author / "requests").mkdir(exist_ok=True)
    (author / "requests" / name).write_text(text)
    git(author, "add", "requests")
    git(author, "commit", "--quiet", "-m", f"Ask for {name}")
    git(author, "push", "--quiet", "origin", branch)
    return git(author, "rev-parse", "origin/main").strip()


def merge(origin: Path, branch: str) -> None:
    author = origin.parent / "author"
    git(author, "fetch", "--quiet", "origin")
    git(author, "checkout", "--quiet", "-B", "main", "origin/main")
    git(author, "merge", "--quiet", "--no-ff", f"origin/{branch}")
    git(author, "push", "--quiet", "origin", "main")


def secrets(lab: Lab | None) -> dict[str, str]:
    """Values of the expressions of the secrets; a fork gets empty ones."""
    names = ("VMWARE_HOST", "VMWARE_USER", "VMWARE_PASSWORD")
    other = dict.fromkeys((f"secrets.OTHER_{name}" for name in names), "")
    return {f"secrets.{name}": lab.env[name] if lab else "" for name in names} | other


def service(lab: Lab) -> dict[str, str]:
    """What the lab needs beyond the pipelines' secrets: its port, its CA, and the network of its guests."""
    return {name: lab.env[name] for name in ("VMWARE_PORT", "SSL_CERT_FILE", "LIVEML_VSPHERE_ALLOWED_NETWORKS")}


@pytest.mark.parametrize(
    "back", [pytest.param(True, marks=pytest.mark.thorough), False], ids=["there and back", "there"]
)
def test_a_request_goes_its_way_on_github_and_comes_back_on_gitlab(
    lab: Lab, origin: Path, tools: Path, back: bool
) -> None:
    home, moves = lab.where(), lab.get("state")["moves"]
    base = propose(origin, "maintenance", "esx-01.yml", request(reason="a fan"))
    pull = {
        "github.event.pull_request.base.sha": base, "github.head_ref": "maintenance",
        "github.event.pull_request.number": "7", "github.token": "t", "vars.VSPHERE_STATE_DIR": str(origin.parent / "state"),
        "github.event.repository.default_branch": "main", "matrix.request.file": "esx-01.yml", **secrets(lab),
    }  # fmt: skip

    # A fork: no secrets, no plan, and it says so.
    fork = Runner(origin.parent / "fork", origin, "maintenance", {}, tools)
    out = fork.github("plan", "Plan", {**pull, **secrets(None)})
    assert (out.returncode, "Planning skipped: vCenter credentials" in out.stdout) == (0, True), out.stderr
    assert fork.github("plan", "Comment", pull).returncode == 0
    assert not (tools / "calls").exists()

    # The pull request: validated, planned by reading alone, committed for review, commented.
    lab.post("calls/reset")
    runner = Runner(origin.parent / "pull", origin, "maintenance", service(lab), tools)
    for step in ("Validate", "Plan", "Commit the plan for review", "Comment"):
        out = runner.github("plan", step, pull)
        assert out.returncode == 0, (step, out.stdout, out.stderr)
    assert set(lab.get("calls")) <= READS
    assert lab.where() == home
    assert (tools / "calls").read_text().startswith("pr comment 7 --body-file")
    comment = (tools / "comments").read_text()
    plan = json.loads(git(origin, "show", "maintenance:requests/esx-01.plan.json"))
    assert {name for name, host in home.items() if host == HOST} == set(lab.on(HOST)) | {"ML-cpu-vm-04"}
    assert [line.split(":")[0] for line in plan["lines"]] == [move["vm_name"] for move in plan["plan"]["moves"]]
    assert plan["plan_id"] in comment
    assert all(f"`{vm}`" in comment for vm in lab.on(HOST))
    before = git(origin, "rev-parse", "maintenance")
    again = Runner(origin.parent / "again", origin, "maintenance", service(lab), tools)
    for step in ("Plan", "Commit the plan for review"):
        assert again.github("plan", step, pull).returncode == 0
    assert git(origin, "rev-parse", "maintenance") == before, "a plan that decides the same is not committed again"
    merge(origin, "maintenance")

    # Somebody moved a VM onto the host meanwhile: drifted, nothing happens, there is no evidence to keep.
    lab.post("vms/ML-cpu-vm-05", action="move", target=HOST, instant=True)
    drifted = Runner(origin.parent / "drifted", origin, "main", service(lab), tools)
    out = drifted.github("apply", "Apply", pull)
    assert out.returncode != 0
    assert "ML-cpu-vm-05: it would move to" in out.stdout + out.stderr, out.stdout
    assert drifted.github("apply", "Commit the evidence", pull).returncode == 0
    assert lab.get("state")["moves"] == moves
    assert lab.get("state")["hosts"][HOST]["maintenance"] == "normal"
    lab.post("vms/ML-cpu-vm-05", action="move", target=home["ML-cpu-vm-05"], instant=True)

    # It is as it was: due, applied, the evidence is committed, and it never runs again.
    runner = Runner(origin.parent / "main", origin, "main", service(lab), tools)
    out = runner.github("due", "List", {})
    assert out.returncode == 0, out.stdout
    due = json.loads((runner.temp / "OUTPUT").read_text().removeprefix("requests="))
    assert [(entry["file"], entry["slug"]) for entry in due] == [("esx-01.yml", "host-esx-01")]
    for step in ("Apply", "Commit the evidence"):
        out = runner.github("apply", step, pull)
        assert out.returncode == 0, (step, out.stdout, out.stderr)
    assert lab.on(HOST) == set()
    assert lab.get("state")["hosts"][HOST]["maintenance"] == "in"
    files = git(origin, "ls-tree", "-r", "--name-only", "main").split()
    evidence = [name for name in files if name.endswith("/evidence.json")]
    assert len(evidence) == 1
    document = json.loads(git(origin, "show", f"main:{evidence[0]}"))
    assert document["plan_id"] == plan["plan_id"]
    assert {move["result"] for move in document["moves"]} == {"moved"}
    assert json.loads(git(origin, "show", "main:requests/evidence/esx-01/applied.json"))["plan_id"] == plan["plan_id"]
    out = runner.github("apply", "Apply", pull)
    assert (out.returncode, "Applied at" in out.stdout, "changed=0" in out.stdout) == (0, True, True), out.stdout

    if back:
        restore_on_gitlab(lab, origin, tools, home)


class Notes(Answering):
    """The one call of GitLab's API that the pipeline makes."""

    seen: list[tuple[str, str, str]]

    def do_POST(self) -> None:
        body = self.body().decode()
        self.seen.append((self.path, self.headers["PRIVATE-TOKEN"], parse_qs(body)["body"][0]))
        self.answer(201)


def restore_on_gitlab(lab: Lab, origin: Path, tools: Path, home: dict[str, str]) -> None:
    """The second request brings the VMs back, through the other pipeline."""
    base = propose(origin, "back", "esx-01-back.yml", request(state="restored"))
    handler = type("SeenNotes", (Notes,), {"seen": []})
    with serving(handler) as port:
        env = {
            "CI_API_V4_URL": f"http://127.0.0.1:{port}/api/v4", "CI_PROJECT_ID": "3", "CI_MERGE_REQUEST_IID": "9",
            "CI_MERGE_REQUEST_DIFF_BASE_SHA": base, "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "back",
            "CI_SERVER_HOST": "gitlab.example.com", "CI_PROJECT_PATH": "ops/maintenance", "CI_DEFAULT_BRANCH": "main",
            "MAINTENANCE_TOKEN": "token", "VSPHERE_STATE_DIR": str(origin.parent / "elsewhere"),
        }  # fmt: skip
        vcenter = {name: lab.env[name] for name in ("VMWARE_HOST", "VMWARE_USER", "VMWARE_PASSWORD")}
        runner = Runner(origin.parent / "merge", origin, "back", service(lab), tools)
        (runner.temp / ".gitconfig").write_text(
            f'[url "{origin}"]\n\tinsteadOf = https://gitlab.example.com/ops/maintenance.git\n'
        )
        out = runner.gitlab("plan", {**env, **vcenter})
        assert out.returncode == 0, out.stdout + out.stderr
    path, token, note = handler.seen[0]
    assert (path, token) == ("/api/v4/projects/3/merge_requests/9/notes", "token")
    assert "Plan: host esx-01 restored" in note
    plan = json.loads(git(origin, "show", "back:requests/esx-01-back.plan.json"))
    assert {move["target_name"] for move in plan["plan"]["moves"]} == {HOST}
    merge(origin, "back")

    main = Runner(origin.parent / "schedule", origin, "main", service(lab), tools)
    (main.temp / ".gitconfig").write_text((runner.temp / ".gitconfig").read_text())
    out = main.gitlab("apply", {**env, **vcenter})
    assert out.returncode == 0, out.stdout + out.stderr
    assert list((origin.parent / "elsewhere").glob("runs/*-restore-*/journal.jsonl")), "the journal outlives the job"
    assert lab.where() == home
    assert lab.get("state")["hosts"][HOST]["maintenance"] == "normal"
    assert "requests/evidence/esx-01-back/applied.json" in git(origin, "ls-tree", "-r", "--name-only", "main")


@pytest.mark.thorough
def test_a_fault_domain_is_refused_as_a_whole_or_evacuated_host_by_host(lab: Lab, tmp_path: Path) -> None:
    moves, domain = len(lab.get("state")["moves"]), {"fault_domain_name": "us-west-2a"}
    out = play("evacuate_fault_domain", lab, tmp_path, **domain, fault_domain_memory_headroom=97)
    assert out.returncode != 0
    assert "us-west-2a cannot be evacuated; this call moved no VM" in out.stdout + out.stderr
    assert "no_capacity_memory" in out.stdout + out.stderr
    assert len(lab.get("state")["moves"]) == moves

    out = play("evacuate_fault_domain", lab, tmp_path, "--check", **domain)
    assert out.returncode == 0, out.stdout
    assert re.search("ML-cpu-vm-05: esx-02 → esx-0[34]", out.stdout)
    assert len(lab.get("state")["moves"]) == moves


@pytest.mark.thorough
def test_a_fault_domain_leaves_by_a_request_and_comes_back(lab: Lab, tmp_path: Path) -> None:
    home, state = lab.where(), tmp_path / "state"
    inside = ("esx-01", "esx-02")
    path = tmp_path / "domain.yml"
    path.write_text(request(host=None, fault_domain="us-west-2a", limits={"slots": 2}))
    for options in (("--check",), ()):
        out = play("reconcile", lab, state, *options, reconcile_request=str(path))
        assert out.returncode == 0, out.stdout
    assert [lab.on(host) for host in inside] == [set(), set()]
    assert [lab.get("state")["hosts"][host]["maintenance"] for host in inside] == ["in", "in"]
    folders = [found.parent.name for found in (tmp_path / "evidence/domain").glob("*/evidence.json")]
    assert sorted(name.split("-evacuate-")[1][:6] for name in folders) == ["esx-01", "esx-02"]

    out = play("restore_fault_domain", lab, state, fault_domain_name="us-west-2a")
    assert out.returncode == 0, out.stdout
    assert lab.where() == home
    assert {host["maintenance"] for host in lab.get("state")["hosts"].values()} == {"normal"}


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("topology", "changes", "shown"),
    [
        ("storage", {"scope": "both", "datastore": "gold"}, r"`\[gold-[12]\]`"),
        (
            "sites",
            {"destination_cluster": "GPU-cluster", "pool_map": {"batch": "/"}, "limits": {"storage_headroom": 20}},
            r"- `ML-cpu-vm-02` moves to the cluster `GPU-cluster`, resource pool `/`",
        ),
    ],
    ids=["files", "cluster"],
)
def test_a_request_moves_files_or_goes_to_another_cluster_and_comes_back(
    tmp_path: Path, topology: str, changes: dict[str, Any], shown: str
) -> None:
    file = ROOT / "lab" / "topologies" / f"{topology}.yml"
    with running_lab("--no-guests", "--time-scale", "0.02", "--topology", str(file)) as lab:
        home = lab.get("state")["vms"]
        for name, state in (("there", "evacuated"), ("back", "restored")):
            path = tmp_path / f"{name}.yml"
            path.write_text(request(state=state, **(changes if state == "evacuated" else {})))
            for options in (("--check",), ()):
                out = play("reconcile", lab, tmp_path / "state", *options, reconcile_request=str(path))
                assert out.returncode == 0, out.stdout
            if state == "evacuated":
                assert re.search(shown, (tmp_path / "there.plan.md").read_text())
                assert lab.on(HOST) == set()
        for name, vm in lab.get("state")["vms"].items():
            assert {k: vm[k] for k in ("host", "pool", "folder", "storage")} == {
                k: home[name][k] for k in ("host", "pool", "folder", "storage")
            }


@pytest.mark.thorough
def test_a_request_goes_to_another_vcenter_and_comes_back_without_a_secret_in_git(tmp_path: Path) -> None:
    file = ROOT / "lab" / "topologies" / "cloud.yml"
    with running_lab("--no-guests", "--time-scale", "0.02", "--topology", str(file)) as lab:
        cloud = lab.other("cloud")
        home, other = places(lab, cloud), login(cloud)
        maps = {
            "pool_map": {"ml-training": "Compute-ResourcePool"},
            "folder_map": {"ml": "Workloads", "ml/vision": "Workloads/vision"},
            "network_map": {"ml-network": "ml-segment"},
        }
        for name, state, more in (("there", "evacuated", maps), ("back", "restored", {})):
            path = tmp_path / f"{name}.yml"
            path.write_text(request(state=state, destination_vcenter=other["hostname"], **more))
            refused = play("reconcile", lab, tmp_path / "state", "--check", reconcile_request=str(path))
            assert refused.returncode != 0
            assert "and the login is missing. Set reconcile_destination_vcenter" in " ".join(refused.stdout.split())
            wrong = {**other, "hostname": "vc.example.com"}
            for options, who in ((("--check",), wrong), (("--check",), other), ((), other)):
                out = play(
                    "reconcile",
                    lab,
                    tmp_path / "state",
                    *options,
                    reconcile_request=str(path),
                    reconcile_destination_vcenter=who,
                )
                assert (out.returncode == 0) is (who == other), out.stdout
                assert other["password"] not in out.stdout
            if state == "evacuated":
                assert f"| vCenter | `{other['hostname']}` |" in (tmp_path / "there.plan.md").read_text()
                assert set(cloud.where()) == {"web-21", "ML-cpu-vm-01", "ML-cpu-vm-02"}
        assert places(lab, cloud) == home
        written = [
            path for path in tmp_path.rglob("*") if path.is_file() and not path.is_relative_to(tmp_path / "state")
        ]
        assert any(path.name == "applied.json" for path in written)
        assert not [path for path in written if other["password"].encode() in path.read_bytes()]


def test_what_may_not_run_gives_one_error_and_leaves_everything_alone(
    lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    folder = tmp_path / "requests"
    folder.mkdir()
    home, moves = lab.where(), lab.get("state")["moves"]
    cases = {
        "early": (request(2), "apply", "is not due yet. Its window is from"),
        "expired": (request(-3), "apply", "has expired. Its window was from"),
        "expired-plan": (request(-3), "plan", "An expired request never runs. Get a new window approved."),
        "unapproved": (request(), "apply", "No plan was approved for"),
    }
    for name, (text, stage, sentence) in cases.items():
        (folder / f"{name}.yml").write_text(text)
        assert sentence in run_module("maintenance_request", path=str(folder / f"{name}.yml"), stage=stage)["msg"]
    (folder / "unknown.yml").write_text(request(host="esx-50"))
    for name, options, sentence in (
        ("expired", (), "has expired"),
        ("unknown", ("--check",), "vCenter has no host named esx-50"),
    ):
        out = play("reconcile", lab, tmp_path / "state", *options, reconcile_request=str(folder / f"{name}.yml"))
        assert out.returncode != 0, name
        assert sentence in out.stdout + out.stderr, (name, out.stdout)
        assert "Traceback" not in out.stdout + out.stderr
    assert (lab.where(), lab.get("state")["moves"]) == (home, moves)
    assert {path.suffix for path in folder.iterdir()} == {".yml"}, "what is refused leaves no plan"


def test_a_key_that_cannot_sign_is_refused_before_the_request_counts_as_failed(
    lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    path, moves = tmp_path / "esx-01.yml", lab.get("state")["moves"]
    path.write_text(request())
    sha256 = run_module("maintenance_request", path=str(path))["request"]["sha256"]
    (tmp_path / "esx-01.plan.json").write_text(json.dumps({"request_sha256": sha256, "plan": {"plan_id": "0a1b"}}))
    key = {"reconcile_request": str(path), "reconcile_signing_key": str(tmp_path / "no-key")}
    out = play("reconcile", lab, tmp_path / "state", **key)
    assert out.returncode != 0
    assert "Set reconcile_signing_key to an SSH key" in out.stdout + out.stderr
    assert not (tmp_path / "evidence").exists()
    assert lab.get("state")["moves"] == moves


def test_a_folder_of_requests_is_judged_without_a_vcenter(run_module: RunModule, tmp_path: Path) -> None:
    texts = {
        "a.yml": request(), "b.yml": request(5), "c.yml": request(-9), "d.yml": "host: esx-05\n", "e e.yml": request(),
        "f.yml": request(host=None, fault_domain="us-west 2b"),
    }  # fmt: skip
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    found = run_module("maintenance_request", folder=str(tmp_path))["requests"]
    assert [entry["state"] for entry in found] == ["due", "early", "expired", "invalid", "invalid", "due"]
    assert found[-1]["slug"] == "fault-domain-us-west-2b"
    assert "is a required property" in found[3]["message"]
    assert "is not a folder" in run_module("maintenance_request", folder=str(tmp_path / "a.yml"))["msg"]
    assert "cannot be read: No such file" in run_module("maintenance_request", path=str(tmp_path / "z.yml"))["msg"]
    path = {"path": str(tmp_path / "b.yml"), "stage": "apply"}
    assert run_module("maintenance_request", **path, outside_window="skip")["state"] == "early"
    assert "not due yet" in run_module("maintenance_request", **path)["msg"]
    (tmp_path / "a.plan.json").write_text("{")
    assert "a.plan.json cannot be read" in run_module("maintenance_request", path=str(tmp_path / "a.yml"))["msg"]


@pytest.mark.parametrize(("schema", "path"), [("github-workflows", GITHUB), ("gitlab-ci", GITLAB)])
def test_a_pipeline_fits_its_services_schema(schema: str, path: Path) -> None:
    command = [str(ROOT / ".venv/bin/check-jsonschema"), "--builtin-schema", f"vendor.{schema}", str(path)]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_no_service_kills_a_run_that_takes_its_time() -> None:
    assert yaml.safe_load(GITHUB.read_text())["jobs"]["apply"]["timeout-minutes"] == 24 * 60
    assert gitlab_job("apply")["timeout"] == "24 hours"


def test_pipelines_hand_secrets_to_reviewed_code_only() -> None:
    workflow = yaml.safe_load(GITHUB.read_text())
    assert "pull_request_target" not in workflow["on"]
    assert workflow["permissions"] == {"contents": "read"}
    jobs = workflow["jobs"]
    assert (jobs["plan"]["environment"], jobs["apply"]["environment"]) == ("vsphere-read-only", "vsphere")
    assert "environment" not in jobs["due"]
    assert jobs["apply"]["concurrency"] == {"group": "vsphere-${{ matrix.request.slug }}", "cancel-in-progress": False}
    assert gitlab_job("apply")["resource_group"] == "vsphere"
    [rule] = gitlab_job("plan")["rules"]
    assert "$CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_PROJECT_ID" in rule["if"], "a fork's branch gets no variables"
    for step in (step for job in jobs.values() for step in job["steps"]):
        assert "${{" not in step.get("run", ""), "an expression in a script is an injection"
        assert "uses" not in step or len(step["uses"].split("@")[1]) == 40, "actions are pinned by hash"
    for job in jobs.values():
        assert "secrets." not in json.dumps(job.get("env", {})), "what is installed must not see a secret"
        for step in job["steps"]:
            assert step["name"] in ("Plan", "Apply") or "secrets." not in json.dumps(step)
    installs = {step["run"] for job in jobs.values() for step in job["steps"] if step["name"] == "Install"}
    assert len(installs) == 1


def test_what_is_installed_beside_secrets_is_known_by_its_hash() -> None:
    [install] = {
        step["run"]
        for job in yaml.safe_load(GITHUB.read_text())["jobs"].values()
        for step in job["steps"]
        if step["name"] == "Install"
    }
    gitlab = "\n".join(yaml.safe_load(GITLAB.read_text())["default"]["before_script"])
    for script in (install, gitlab):
        assert re.findall(r"pip\W+install (.*) -r", script) == ["--quiet --require-hashes"]
        assert script.index("sha256sum --check") < script.index("collection install --offline")
    locked = (ROOT / "gitops/requirements.txt").read_text()
    pinned = re.findall(r"^([a-z0-9-]+)==\S+", locked, re.MULTILINE)
    wanted = re.findall(r"^[\w-]+", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert {"ansible-core", *(name.lower() for name in wanted)} <= set(pinned)
    assert all("--hash=sha256:" in entry for entry in re.split(r"\n(?=[a-z])", locked) if not entry.startswith("#"))


def test_the_wrong_collection_is_not_installed(tmp_path: Path) -> None:
    [install] = {
        step["run"]
        for job in yaml.safe_load(GITHUB.read_text())["jobs"].values()
        for step in job["steps"]
        if step["name"] == "Install"
    }
    [check] = [line for line in install.splitlines() if "sha256sum" in line]
    (tmp_path / "collection").mkdir()
    artefact = tmp_path / "collection/liveml-vsphere-0.1.0.tar.gz"
    artefact.write_bytes(b"content")
    right = hashlib.sha256(b"content").hexdigest()
    for sha256, code in ((right, 0), ("0" * 64, 1), ("", 1)):
        env = {"COLLECTION_VERSION": "0.1.0", "COLLECTION_SHA256": sha256, "PATH": os.environ["PATH"]}
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", check], cwd=tmp_path, env=env, capture_output=True, check=False
        )
        assert done.returncode == code, sha256


def test_the_token_of_gitlab_is_in_no_argument(tmp_path: Path) -> None:
    script = "\n".join(line for job in ("plan", "apply") for line in gitlab_job(job)["script"])
    uses = [line.strip() for line in script.splitlines() if "$MAINTENANCE_TOKEN" in line]
    assert uses
    assert all(line.startswith("printf ") or line.startswith("git config credential.helper '!f()") for line in uses), (
        uses
    )
    git(tmp_path, "init", "--quiet")
    [helper] = {line for line in uses if line.startswith("git config")}
    env = {"MAINTENANCE_TOKEN": "the-token", "PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    asked = f"{helper}; printf 'protocol=https\\nhost=gitlab.example.com\\n\\n' | git credential fill; cat .git/config"
    done = subprocess.run(["bash", "-c", asked], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.count("the-token") == 1, "git asks for it, and does not keep it"
    assert "password=the-token" in done.stdout


FORGED = "FORGED by the author: approved by the CAB"


@pytest.mark.parametrize("service_name", [pytest.param("github", marks=pytest.mark.thorough), "gitlab"])
def test_a_comment_holds_only_what_this_run_planned(lab: Lab, origin: Path, tools: Path, service_name: str) -> None:
    base = propose(origin, "forged", "esx-50.yml", request(host="esx-50"))
    author = origin.parent / "author"
    (author / "requests" / "esx-50.plan.md").write_text(FORGED)
    (author / "requests" / "esx-06.yml").write_text(request(host="esx-06"))
    (author / "requests" / "esx-06.plan.md").symlink_to("/proc/self/environ")
    # Of a request that is recorded as applied nothing is planned, and that is not a failure.
    applied = request()
    record = {"request_sha256": parse_request(applied, "r").sha256, "plan_id": "0", "at": "2026-01-01T00:00:00Z"}
    (author / "requests" / "evidence" / "esx-01").mkdir(parents=True)
    (author / "requests" / "evidence" / "esx-01" / "applied.json").write_text(json.dumps(record))
    (author / "requests" / "esx-01.yml").write_text(applied)
    (author / "requests" / "esx-01.plan.md").write_text(FORGED)
    (author / "requests" / "esx-02.yml").write_text(request(host="esx-02"))
    (author / "requests" / "esx-02.plan.md").write_text(FORGED)
    git(author, "add", "requests")
    git(author, "commit", "--quiet", "-m", "Forge")
    git(author, "push", "--quiet", "origin", "forged")
    runner = Runner(origin.parent / "pull", origin, "forged", service(lab), tools)
    login = {name: lab.env[name] for name in ("VMWARE_HOST", "VMWARE_USER", "VMWARE_PASSWORD")}
    if service_name == "github":
        values = secrets(lab) | {
            "github.event.pull_request.base.sha": base, "github.head_ref": "forged", "github.token": "t",
            "github.event.pull_request.number": "7", "vars.VSPHERE_STATE_DIR": "",
        }  # fmt: skip
        assert runner.github("plan", "Plan", values).returncode != 0
        assert runner.github("plan", "Comment", values).returncode == 0
        comment = (tools / "comments").read_text()
    else:
        handler = type("SeenForged", (Notes,), {"seen": []})
        with serving(handler) as port:
            env = {
                "CI_API_V4_URL": f"http://127.0.0.1:{port}/api/v4", "CI_PROJECT_ID": "3", "CI_MERGE_REQUEST_IID": "9",
                "CI_MERGE_REQUEST_DIFF_BASE_SHA": base, "MAINTENANCE_TOKEN": "token",
            }  # fmt: skip
            script = gitlab_job("plan")["script"][1]
            assert runner.shell(script, {**env, **login}).returncode != 0
        [(_path, _token, comment)] = handler.seen
    assert FORGED not in comment
    assert login["VMWARE_PASSWORD"] not in comment
    assert "Plan: host esx-02 evacuated" in comment
    assert comment.count("A request could not be planned") == 2


@pytest.mark.parametrize("base", ["", "0123456789012345678901234567890123456789"])
def test_a_missing_base_is_an_error(lab: Lab, origin: Path, tools: Path, base: str) -> None:
    propose(origin, "lost", "esx-01.yml", request())
    runner = Runner(origin.parent / "pull", origin, "lost", service(lab), tools)
    values = {
        "github.event.pull_request.base.sha": base, "github.head_ref": "lost", "github.event.pull_request.number": "7",
        "vars.VSPHERE_STATE_DIR": "", **secrets(lab),
    }  # fmt: skip
    assert runner.github("plan", "Plan", values).returncode != 0
    env = {name.removeprefix("secrets."): value for name, value in secrets(lab).items()}
    script = gitlab_job("plan")["script"][1]
    assert runner.shell(script, {**env, "CI_MERGE_REQUEST_DIFF_BASE_SHA": base}).returncode != 0


def test_a_request_is_no_link_to_another_file(run_module: RunModule, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("-----BEGIN PRIVATE KEY-----\na-secret\n")
    folder = tmp_path / "requests"
    folder.mkdir()
    (folder / "a.yml").symlink_to(tmp_path / "key")
    os.mkfifo(folder / "b.yml")
    (folder / "c.yml").write_text(request())
    (folder / "c.plan.json").symlink_to(tmp_path / "key")
    found = run_module("maintenance_request", folder=str(folder))["requests"]
    assert [entry["state"] for entry in found] == ["invalid", "invalid", "due"]
    out = [run_module("maintenance_request", path=str(folder / name))["msg"] for name in ("a.yml", "b.yml", "c.yml")]
    assert all("cannot be read" in message for message in out), out
    assert "a-secret" not in json.dumps([found, out])
    for link in (folder / "evidence", folder / "evidence/c"):
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        link.symlink_to(tmp_path / "elsewhere")
        assert "is a link" in run_module("maintenance_request", path=str(folder / "c.yml"))["msg"]
        assert run_module("maintenance_request", folder=str(folder))["requests"][2]["state"] == "invalid"
        link.unlink()
        (folder / "evidence").mkdir(exist_ok=True)
    (tmp_path / "linked").symlink_to(folder)
    assert "is not a folder" in run_module("maintenance_request", folder=str(tmp_path / "linked"))["msg"]


def test_examples_are_valid_by_the_shipped_schema_too(run_module: RunModule) -> None:
    folder = ROOT / "gitops/example/requests"
    found = run_module("maintenance_request", folder=str(folder))["requests"]
    assert [(entry["file"], entry["slug"]) for entry in found] == [
        ("esx-05-back.yml", "host-esx-05-example-com"),
        ("esx-05.yml", "host-esx-05-example-com"),
    ]
    assert "invalid" not in {entry["state"] for entry in found}
    schema = str(ROOT / "gitops/schema/maintenance-request-1.0.json")
    command = [str(ROOT / ".venv/bin/check-jsonschema"), "--schemafile", schema, *map(str, folder.glob("*.yml"))]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@pytest.mark.skipif(shutil.which("gpg") is None, reason="there is no gpg")
def test_a_signed_project_is_verified_and_a_changed_one_is_not(tmp_path: Path) -> None:
    project, keys = tmp_path / "project", tmp_path / "gnupg"
    project.mkdir()
    keys.mkdir(mode=0o700)
    # Without a terminal the passphrase comes from the environment; an empty one makes bad signatures.
    environment = {**os.environ, "GNUPGHOME": str(keys), "ANSIBLE_SIGN_GPG_PASSPHRASE": "secret"}
    key = [
        "gpg",
        "--batch",
        "--quiet",
        "--passphrase",
        "secret",
        "--quick-gen-key",
        "ops@example.com",
        "ed25519",
        "sign",
    ]
    subprocess.run(key, env=environment, check=True, capture_output=True)
    (project / "MANIFEST.in").write_text("include requirements.yml\n")
    (project / "requirements.yml").write_text("collections: [liveml.vsphere]\n")

    def sign(action: str, *options: str) -> int:
        command = [str(ROOT / ".venv/bin/ansible-sign"), "project", action, *options, str(project)]
        return subprocess.run(command, env=environment, capture_output=True, check=False).returncode

    verify = ("gpg-verify", "--keyring", str(keys / "pubring.kbx"))
    try:
        assert sign("gpg-sign") == 0
        assert sign(*verify) == 0
        (project / "requirements.yml").write_text("collections: [other.vsphere]\n")
        assert sign(*verify) != 0
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=False, capture_output=True)
