# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every example of every module, role and page runs in a lab, and modules return what they document.

The lab has the names of the examples (``examples.yml``), so that little has to be replaced. A play for each module runs its examples in the
order of reading. A training in one of the VMs is a double of an H2O-3 server; mail and HTTP go to doubles, too.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import textwrap
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ansible_runner
import boto3
import pytest
import yaml
from ansible_collections.liveml.vsphere.plugins.module_utils._maintenance_request import parse_request
from moto.server import ThreadedMotoServer
from pyVim.task import WaitForTask
from pyVmomi import vim

from tests.doubles.h2o3 import Gbm
from tests.doubles.messages import Post
from tests.doubles.servers import Answering, serving
from tests.labs import ROOT, Lab, running_lab
from tests.measuring import until
from tests.module_docs import NAMES, PREFIX, Task, docs_of, tasks_of, undocumented
from tests.sdk import content_of, find

pytestmark = pytest.mark.long

Play = dict[str, Any]

# The modules, so that each finds what it needs: a run before its evidence, and an empty host before maintenance mode.
MODULES = (
    "variable_check", "host_info", "show_lines", "experiment_info", "migration_plan", "vm_migrate", "host_maintenance", "placement",
    "run_info", "evidence_report", "run_index", "run_metrics", "send_messages", "vm_witness", "maintenance_request", "experiment_wait",
    "model_export",
)  # fmt: skip
SAMPLE = MODULES[:3]
# The roles, so that the VMs are at home before each of them but restore_host.
ROLES = (
    "report_state", "operator_role", "migrate_vm", "hardware_event", "evacuate_host", "verify_experiments", "restore_host", "notify",
    "restore_host", "publish_evidence", "restore_host", "fault_domain", "witness", "run_index",
)  # fmt: skip
# The pages with plays of their own.
PAGES = ("howto_cloud", "howto_local_storage", "howto_clusters")
RUN = "20260131T090000Z-evacuate-esx-05-7f3a"
WATCHING = "VMs of ml-cluster for"  # what a witness shows when it has begun
# What an example takes for granted, by the name of the example.
BEFORE: Mapping[str, tuple[Task, ...]] = {
    "Move VMs with few slots, and move them back if an experiment is interrupted": (
        {"liveml.vsphere.migration_plan": {"vms": ["ML-gpu-vm-02"]}, "register": "plan"},
    ),
    "Watch H2O-3 servers with a login, and runs on an MLflow server": (
        {"liveml.vsphere.migration_plan": {"vms": ["ML-cpu-vm-04"]}, "register": "plan"},
    ),
    "Fence the host before its VMs leave": (
        {"liveml.vsphere.migration_plan": {"host": "esx-05.example.com"}, "register": "plan"},
        {"liveml.vsphere.vm_migrate": {"plan": "{{ plan.plan }}"}},
    ),
    "Send messages to the owners before a host is evacuated": (
        {"liveml.vsphere.experiment_info": {"vms": ["ML-cpu-vm-04"]}, "register": "found"},
        {"liveml.vsphere.evidence_report": {"purpose": "evacuate"}, "register": "evidence"},
    ),
}


@dataclass(frozen=True)
class World:
    """What the examples meet: the lab, a home folder, the servers of messages, metrics and files, and a training."""

    lab: Lab
    home: Path
    post: Post
    gateway: str
    metrics: list[str]
    training: Gbm


def mojo() -> bytes:
    """A small model."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("model.ini", "[info]\nh2o_version = 3.46.0.11\nuuid = 1\ntimestamp = 1\nseed = 7\n")
        archive.writestr("trees/t00", b"tree")
    return data.getvalue()


@pytest.fixture
def bucket() -> Iterator[tuple[str, Any]]:
    """The URL of an S3 server, and a client of it that has made the bucket of the examples."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    client = boto3.client("s3", endpoint_url=url, region_name="us-west-2", **keys)
    client.create_bucket(Bucket="evidence", CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    yield url, client
    server.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("home")
    metrics: list[str] = []

    class Gateway(Answering):
        def do_PUT(self) -> None:
            metrics.append(f"{self.path}\n{self.body().decode()}")
            self.answer(202)

    training = Gbm(mojo())
    topology = str(Path(__file__).with_name("examples.yml"))
    with ExitStack() as stack:
        lab = stack.enter_context(running_lab("--no-guests", "--topology", topology))
        address = lab.get("state")["vms"]["ML-cpu-vm-04"]["guest_address"]
        for port in (54321, 54400):
            stack.enter_context(serving(training.handler, address, port))
        gateway = f"http://127.0.0.1:{stack.enter_context(serving(Gateway))}"
        post = Post(home)
        stack.callback(post.close)
        prepare(home)
        yield World(lab, home, post, gateway, metrics, training)


def prepare(home: Path) -> None:
    """The files that examples name: a maintenance request that is due, its approved plan, a key, a folder of metrics."""
    now = datetime.now(UTC)
    window = {name: f"{now + timedelta(hours=h):%Y-%m-%dT%H:%M:%SZ}" for name, h in (("from", -1), ("until", 4))}
    request = {
        "version": "1.0",
        "state": "evacuated",
        "host": "esx-05.example.com",
        "window": window,
        "requester": "ops",
    }
    text = yaml.safe_dump(request)
    (home / "requests").mkdir()
    (home / "requests" / "esx-05.yml").write_text(text)
    approved = {"request_sha256": parse_request(text, "esx-05.yml").sha256, "plan": {"plan_id": "0" * 64}}
    (home / "requests" / "esx-05.plan.json").write_text(json.dumps(approved))
    (home / "textfile_collector").mkdir()
    (home / ".ssh").mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / ".ssh" / "id_evidence"], check=True)


class Meant:
    """What stands for the values of the documentation: the lab's addresses, the test's folders and servers, shorter times."""

    def __init__(self, world: World) -> None:
        web = f"http://127.0.0.1:{world.post.web}"
        self._mail = {"host": "127.0.0.1", "port": world.post.smtp}
        cloud = world.lab.other("cloud")
        server = cloud.answer["vcenter"]
        self._cloud = {"hostname": server["host"], "port": server["port"], "username": server["user"]}
        self._cloud |= {"password": server["password"], "ca_path": cloud.env["SSL_CERT_FILE"]}
        self._texts = {
            "vcenter.example.com": "127.0.0.1",
            "automation@vsphere.local": world.lab.env["VMWARE_USER"],
            "VSPHERE.LOCAL\\liveml": "VSPHERE.LOCAL\\operator",
            "http://pushgateway.example.com:9091": world.gateway,
            "https://mlflow.example.com": "http://127.0.0.1:9",
            "https://hooks.example.com": web,
            "10.1.4.0/24": "127.0.0.0/8",
            "/srv/": f"{world.home}/",
            "/var/lib/node_exporter": str(world.home),
            "~/.ssh": f"{world.home}/.ssh",
            RUN: "{{ report.artifact.run_id }}",
        }

    def __call__(self, value: Any) -> Any:
        """The value with all values in it replaced."""
        if isinstance(value, dict):
            if value.get("hostname") == "vcenter.cloud.example.com":
                return self._cloud
            mail = self._mail if value.get("host") == "smtp.example.com" else {}
            returned = any(key.endswith("until") for key in value)
            window = {key: 60 if returned else 1 for key in value if key.endswith("window")}
            return {key: self(item) for key, item in value.items()} | mail | window
        if isinstance(value, list):
            return [self(item) for item in value]
        if isinstance(value, str):
            for written, stands_for in self._texts.items():
                value = value.replace(written, stands_for)
        return value


def usual(world: World) -> Play:
    """A play without tasks, with the variables that examples use."""
    webhook = f"http://127.0.0.1:{world.post.web}/webhook"
    mail = {"kind": "mail", "host": "127.0.0.1", "port": world.post.smtp, "to": "ops@example.com"}
    variables = {
        "vcenter_password": world.lab.env["VMWARE_PASSWORD"],
        "h2o_password": "secret",
        "vault_webhook_url": webhook,
        "vault_slack_token": "T/B/secret",
        "hooks": [mail, {"kind": "webhook", "url": webhook}],
    }
    return {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables}


def plays_of_modules(world: World, names: tuple[str, ...]) -> list[Play]:
    """A play of the examples of each module, with what they take for granted before them."""
    plays = []
    for name in names:
        tasks: list[Task] = []
        for task in docs_of(name).examples:
            tasks += [{"name": f"before: {task['name']}", **before} for before in BEFORE.get(task["name"], ())]
            tasks.append(task)
        plays.append({"name": name, **usual(world), "tasks": tasks})
    return plays


def play_of_role(name: str) -> Play:
    """The play in the README of a role."""
    readme = (ROOT / "roles" / name / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^## Example\n\n```yaml\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    (play,) = yaml.safe_load(example)
    return dict(play)


def plays_of_page(name: str) -> list[Play]:
    """The plays in a page of the documentation."""
    page = (ROOT / "docs" / "docsite" / "rst" / f"{name}.rst").read_text(encoding="utf-8")
    blocks = re.findall(r"^\.\. code-block:: yaml\n\n((?:   [^\n]*\n|\n)+)", page, re.MULTILINE)
    parsed = [yaml.safe_load(textwrap.dedent(block)) for block in blocks]
    return [each for block in parsed if isinstance(block, list) for each in block if "hosts" in each]


def restoring(play: Play) -> Play:
    """The play of a fault domain that brings the VMs home. It ignores what only an evacuation needs."""
    (role,) = play["roles"]
    added = {"fault_domain_state": "restored", "fault_domain_pool_map": {"no-such-pool": "/"}}
    return {**play, "roles": [{**role, "vars": {**role["vars"], **added}}]}


def update_hosts(world: World) -> None:
    """Do what vSphere Lifecycle Manager does: each host of the cluster into maintenance mode, and back when the witness has seen it."""
    journal = max(world.home.glob(".local/state/liveml.vsphere/runs/*-witness-*/journal.jsonl"))
    with content_of(world.lab) as content:
        for host in find(content, vim.ClusterComputeResource, "ml-cluster").host:
            WaitForTask(host.EnterMaintenanceMode_Task(60))
            until(lambda seen=f'"name": "{host.name}"}}, "entered": true': seen in journal.read_text(encoding="utf-8"))
            WaitForTask(host.ExitMaintenanceMode_Task(60))


def run(
    world: World, playbook: list[Play], *options: str, at: Mapping[str, Callable[[], None]] | None = None
) -> list[dict[str, Any]]:
    """Run plays; the data of the events about ended tasks. ``at`` has what happens, in a thread, when a text is shown."""
    path = world.home / "examples.yml"
    path.write_text(yaml.safe_dump(Meant(world)(playbook), sort_keys=False, width=1000))

    def shown(event: dict[str, Any]) -> bool:
        for text, action in (at or {}).items():
            if text in event["stdout"]:
                threading.Thread(target=action, daemon=True).start()
        return True  # keep the event

    folder = world.home / f"run-{len(list(world.home.glob('run-*')))}"
    folder.mkdir()
    ran = ansible_runner.run(
        private_data_dir=str(folder),
        project_dir=str(world.home),
        playbook=path.name,
        inventory="localhost,",
        envvars={
            **world.lab.env,
            "HOME": str(world.home),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "true",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-west-2",
        },
        cmdline=" ".join(options) or None,
        event_handler=shown,
        quiet=True,
    )
    ended = ("runner_on_ok", "runner_on_failed", "runner_on_skipped")
    events = [event["event_data"] for event in ran.events if event["event"] in ended]
    assert ran.status == "successful", ran.stdout.read()[-5000:]
    return events


def run_modules(world: World, names: tuple[str, ...]) -> None:
    """Run the examples of modules, and compare what they return with the documentation."""
    at = {
        WATCHING: lambda: update_hosts(world),
        "TASK [Wait up to two hours until": world.training.finished.set,
    }
    results = run(world, plays_of_modules(world, names), at=at)
    results = [each for each in results if not each["task"].startswith("before: ")]
    written = [task for name in names for task in tasks_of(docs_of(name).examples) if "block" not in task]
    assert [each["task"] for each in results] == [task["name"] for task in written]
    assert not [each["task"] for each in results if each["res"].get("not_sent")]
    ours = [each for each in results if each["task_action"].startswith(PREFIX)]
    unknown = {each["task"]: undocumented(each["task_action"].removeprefix(PREFIX), each["res"]) for each in ours}
    assert {task: paths for task, paths in unknown.items() if paths} == {}


def test_every_example_has_its_place() -> None:
    assert sorted(MODULES) == NAMES
    roles = {path.parent.name for path in ROOT.glob("roles/*/README.md")} - {"internal"}
    assert roles - {"reconcile"} == set(ROLES)
    known = [play["roles"] for play in map(play_of_role, ROLES)]
    rst = sorted(path.stem for path in ROOT.glob("docs/docsite/rst/*.rst"))
    assert set(PAGES) == {page for page in rst for play in plays_of_page(page) if play.get("roles") not in known}


def test_a_sample_of_the_examples_of_modules_runs(world: World) -> None:
    run_modules(world, SAMPLE)


@pytest.mark.thorough
def test_every_example_of_a_module_runs_and_returns_what_is_documented(world: World) -> None:
    run_modules(world, MODULES[len(SAMPLE) :])
    assert world.metrics
    assert {to for to, _message in world.post.mail} == {"vision-team@example.com", "ops@example.com"}
    assert {path for path, _headers, _body in world.post.http} == {"/webhook"}


@pytest.mark.thorough
def test_every_example_of_a_role_runs(world: World, bucket: tuple[str, Any]) -> None:
    url, store = bucket
    world.training.finished.clear()
    world.lab.post("hosts/esx-05.example.com/alarm", alarm="red", times=1)
    plays = [play_of_role(name) for name in ROLES]
    domain = ROLES.index("fault_domain")
    plays[domain + 1 : domain + 1] = [restoring(plays[domain])]
    plays = [{**usual(world), **play} for play in plays]
    plays = json.loads(json.dumps(plays).replace("https://s3.example.com", url))
    run(world, plays, at={WATCHING: lambda: update_hosts(world)})
    assert store.list_objects_v2(Bucket="evidence")["KeyCount"] > 0
    for options in (("--check",), ()):
        run(world, [{**usual(world), **play_of_role("reconcile")}], *options)
    assert (world.home / "requests" / "evidence" / "esx-05" / "applied.json").exists()


@pytest.mark.thorough
def test_every_play_of_a_page_runs(world: World) -> None:
    plays = [play for page in PAGES for play in plays_of_page(page)]
    home = play_of_role("restore_host")  # before, too: an evacuated host has no VMs for the pages
    run(world, [{**usual(world), **play} for play in (home, *plays, home)])
    moves = world.lab.get("state")["moves"]
    assert "esx-21.example.com" in {move["target"] for move in moves}
    assert "cloud" in {move["target_vcenter"] for move in moves}
