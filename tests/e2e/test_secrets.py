# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every role and every module with a canary in each option that takes a secret, by ansible-runner as AWX does it.

Nothing that Ansible shows, sends to callbacks, passes to later jobs, writes or starts may contain one.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ansible_runner
import pytest
import yaml

from tests.canaries import MODULES, ROLES, Place, Processes, Search, module_options, role_options, secret_places
from tests.doubles.messages import Post, content
from tests.labs import ROOT, Lab, running_lab

pytestmark = pytest.mark.long

SMALL = ROOT / "lab" / "topologies" / "small.yml"
SOURCES = ("mlflow", "prometheus", "tensorboard", "driverless_ai", "exec")
# Reports that an experiment trains in each VM, and keeps what it was started with.
PROGRAM = """
import json, os, sys, time
with open(f"{sys.argv[1]}/environment-{os.getpid()}.json", "w") as seen:
    json.dump([dict(os.environ), sys.argv], seen)
for line in sys.stdin:
    step = {"id": "training", "process": "1@1795572243", "step": int(time.time() * 20), "owner": "vision"}
    print(json.dumps({"experiments": [step]} if json.loads(line)["op"] == "discover" else step), flush=True)
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running_lab("--no-guests", "--drs", "full", "--time-scale", "0.05", "--topology", str(SMALL)) as lab:
        yield lab


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    post = Post(tmp_path)
    yield post
    post.close()


class Canaries:
    """A value for each place that takes a secret."""

    def __init__(self) -> None:
        self.made: dict[str, str] = {}

    def for_place(self, *place: str) -> str:
        return self.made.setdefault(".".join(place), f"canary-{len(self.made)}-{secrets.token_hex(6)}")

    def filled(self, value: dict[str, Any], places: list[Place], *within: str) -> dict[str, Any]:
        """The value with a canary in each place; a list of mappings has one in each of them."""
        result = dict(value)
        for place in places:
            head, *rest = place
            known = result.get(head)
            if not rest:
                mapping = head == "headers"
                canary = self.for_place(*within, head)
                result.setdefault(head, {"Authorization": canary} if mapping else canary)
            elif isinstance(known, list):
                result[head] = [
                    self.filled(item, [tuple(rest)], *within, f"{head}[{number}]") for number, item in enumerate(known)
                ]
            else:
                result[head] = self.filled(known or {}, [tuple(rest)], *within, head)
        return result


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder with a short path: Ansible makes sockets in its temporary folder, and their paths have at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="lv-") as folder:
        yield Path(folder)


class Stage:
    """A lab, where messages arrive, a folder for everything that runs write, and the search through all of it."""

    def __init__(self, lab: Lab, post: Post, folder: Path) -> None:
        self.lab, self.post, self.folder, self.canaries = lab, post, folder, Canaries()
        self.program = folder / "inputs" / "provider.py"
        self.program.parent.mkdir()
        self.program.write_text(PROGRAM)
        self.seen = folder / "seen"
        self.seen.mkdir()
        self.options = 0
        self.results: dict[str, str] = {}

    @property
    def login(self) -> dict[str, Any]:
        env = self.lab.env
        return {
            "liveml_vsphere_hostname": env["VMWARE_HOST"],
            "liveml_vsphere_username": env["VMWARE_USER"],
            "liveml_vsphere_password": env["VMWARE_PASSWORD"],
            "liveml_vsphere_port": env["VMWARE_PORT"],
            "liveml_vsphere_ca_path": env["SSL_CERT_FILE"],
        }

    def source(self, provider: str) -> dict[str, Any]:
        """The settings of a source without its secrets."""
        url = f"http://127.0.0.1:{self.post.web}/x"
        # Any parameter may be a secret, whatever its name.
        page = f"{url}?k={self.canaries.for_place(provider, 'query')}&vm={{vm}}"
        own = {
            "exec": {"command": [sys.executable, str(self.program), str(self.seen)], "signal": "changes"},
            "prometheus": {"url": page, "metric": "steps_total", "vms": ["ML-cpu-vm-01"]},
            "driverless_ai": {"url": url, "vms": ["ML-cpu-vm-01"]},
        }.get(provider, {"url": url})
        return {"provider": provider, "username": "someone", "advance_timeout": 0.5, **own}

    def experiments(self, *providers: str) -> dict[str, Any]:
        """The option ``experiments`` without its secrets: sources, a login for H2O-3 and one for guests."""
        return {
            "username": "someone",
            "ports": [1],
            "allowed_networks": ["127.0.0.0/8"],
            "baseline": 0.5,
            "settle_timeout": 1,
            "guest_username": "someone",
            "guest_process": "x",
            "guest_vms": ["*"],
            "sources": [self.source(provider) for provider in providers],
        }

    def hooks(self) -> list[dict[str, Any]]:
        """A hook of each kind, and of each one that cannot be reached; without secrets."""
        web = f"http://127.0.0.1:{self.post.web}"
        mail = {"kind": "mail", "host": "127.0.0.1", "to": "a@example.com", "secure": "never"}
        # The URL is a secret too: each has a path of its own.
        return [
            {**mail, "port": self.post.smtp, "password": ""},  # what arrives needs no login
            {**mail, "port": 1, "username": "someone"},
            {"kind": "slack", "validate_certs": False},
            {"kind": "webhook", "url": f"{web}/{self.canaries.for_place('webhook', 'path')}"},
            {"kind": "teams", "url": f"{web}/{self.canaries.for_place('teams', 'path')}"},
            {"kind": "webhook", "url": f"http://127.0.0.1:1/{self.canaries.for_place('webhook', 'path')}"},
        ]

    def run(
        self, name: str, play: dict[str, Any], variables: dict[str, Any], search: Search, **environment: str
    ) -> None:
        """Run a play in a folder of its own, home and temporary files in it, and look at its events."""
        folder = self.folder / name
        for part in ("inputs", "home", "tmp"):
            (folder / part).mkdir(parents=True)
        playbook = folder / "inputs" / "play.yml"
        playbook.write_text(
            yaml.safe_dump([{"hosts": "localhost", "connection": "local", "gather_facts": False, **play}])
        )
        with Processes(search, environment=not environment):
            job = ansible_runner.run(
                private_data_dir=str(folder),
                project_dir=str(ROOT),
                playbook=str(playbook),
                inventory="localhost,",
                extravars={"ansible_python_interpreter": sys.executable, **variables},
                envvars={
                    "HOME": str(folder / "home"),
                    "TMPDIR": str(folder / "tmp"),
                    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                    "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                    "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
                    "ANSIBLE_REMOTE_TEMP": str(folder / "tmp"),
                    "ANSIBLE_INJECT_INVOCATION": "1",  # newer cores keep the arguments of modules only then
                    "HTTPS_PROXY": f"http://127.0.0.1:{self.post.web}",
                    "SSL_CERT_FILE": self.lab.env["SSL_CERT_FILE"],
                    **environment,
                },
                verbosity=3,
                cmdline="--check" if name == "reconcile" else None,  # which makes the plan
                quiet=True,
            )
        if environment:  # ansible-runner itself keeps the environment of its command
            for path in folder.glob("artifacts/*/command"):
                path.unlink()
        self.results[name] = job.status
        for event in job.events:
            search.look_at(event)
        search.look(job.stdout.read().encode(), f"output of {name}")
        search.look_into(folder, "env", "inputs")


# Roles with every kind of option that takes a secret.
SAMPLE = {"evacuate_host"}


def roles_of(stage: Stage, state: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each role with its variables, without secrets, in an order that makes sense."""
    experiments, hooks = stage.experiments("exec", "mlflow", "prometheus", "tensorboard"), stage.hooks()
    shared = {**stage.login, "liveml_vsphere_state_dir": str(state)}
    copies = {"kind": "directory", "path": str(state / "copies")}

    def moving(role: str, **more: Any) -> tuple[str, dict[str, Any]]:
        own = {"experiments": experiments, "notify": hooks, "evidence_upload": copies, "on_failure": "continue"}
        return role, {**shared, **{f"{role}_{name}": value for name, value in {**own, **more}.items()}}

    now = datetime.now(UTC)
    request = stage.folder / "inputs" / "esx-02.yml"
    request.write_text(
        yaml.safe_dump(
            {
                "version": "1.0", "host": "esx-02", "state": "evacuated", "reason": "a fan", "requester": "ops@example.com",
                "window": {"from": now.isoformat(timespec="seconds").replace("+00:00", "Z"),
                           "until": (now + timedelta(hours=2)).isoformat(timespec="seconds").replace("+00:00", "Z")},
            }
        )
    )  # fmt: skip
    yield moving("evacuate_host", name="esx-01")
    yield (
        "verify_experiments",
        {**shared, "verify_experiments_options": experiments, "verify_experiments_wait_timeout": 5},
    )
    # They take the same paths; each hook and each source has a value in each option anyway.
    less = {"notify": hooks[3:4], "experiments": stage.experiments("exec", "mlflow")}
    yield moving("restore_host", name="esx-01", **less)
    yield moving("migrate_vm", name="ML-cpu-vm-01", on_failure="stop", **less)
    yield (
        "witness",
        {
            **shared, "witness_host": "esx-02", "witness_window": 2, "witness_experiments": less["experiments"],
            "witness_notify": less["notify"], "witness_evidence_upload": copies,
        },
    )  # fmt: skip
    yield "fault_domain", {**shared, "fault_domain_name": "nowhere"}
    yield "hardware_event", {**shared, "hardware_event_host": "esx-01"}
    yield "report_state", shared
    yield "operator_role", {**shared, "operator_role_principal": r"VSPHERE.LOCAL\operator"}
    yield "reconcile", {**shared, "reconcile_request": str(request), "reconcile_experiments": experiments}
    yield "notify", {
        **shared, "notify_hooks": hooks, "notify_subject": "A test", "notify_vms": ["ML-cpu-vm-01"],
        "notify_events": ["before", "stall", "after"], "notify_options": experiments,
    }  # fmt: skip
    yield "publish_evidence", {
        **shared, "publish_evidence_folder": str(state), "publish_evidence_artifact": {"version": 1},
        "publish_evidence_to": {
            "kind": "git",
            "repository": f"https://{stage.canaries.for_place('publish_evidence', 'repository')}@127.0.0.1:1/x.git",
        },
    }  # fmt: skip


NEEDED: dict[str, dict[str, Any]] = {
    "host_maintenance": {"host": "esx-01", "state": "normal"},
    "maintenance_request": {"path": "/nowhere.yml"},
    "model_export": {"dest": "/nowhere/models"},
    "vm_migrate": {"plan": {"plan_id": "x"}},
}


def modules_of(stage: Stage) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each module with what it needs, without secrets. One asks each provider alone, so that the error of one hides no other."""
    for name in MODULES:
        options = module_options(name)
        needed = dict(NEEDED.get(name, {}))
        if "hostname" in options:
            login = {"hostname": stage.lab.env["VMWARE_HOST"], "port": int(stage.lab.env["VMWARE_PORT"])}
            login |= {"ca_path": stage.lab.env["SSL_CERT_FILE"], "username": stage.lab.env["VMWARE_USER"]}
            needed |= login | ({"destination_vcenter": login} if "destination_vcenter" in options else {})
        if "hooks" in options:
            needed |= {"hooks": stage.hooks()}
        if "experiments" not in options:
            yield name, needed
            continue
        for providers in ([provider] for provider in SOURCES) if name == "experiment_info" else (SOURCES,):
            yield name, {**needed, "experiments": stage.experiments(*providers)}


@pytest.mark.parametrize("names", [SAMPLE, pytest.param(set(), marks=pytest.mark.thorough)], ids=["sample", "all"])
def test_no_secret_of_any_role_or_module_is_shown_kept_or_passed_on(
    lab: Lab, post: Post, short_path: Path, capsys: pytest.CaptureFixture[str], names: set[str]
) -> None:
    stage, state = Stage(lab, post, short_path), short_path / "state"
    plays: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
    asked = set()
    roles = [each for each in roles_of(stage, state) if each[0] in names or not names]
    modules = [each for each in modules_of(stage) if each[0] in names or not names]
    for role, variables in roles:
        places = list(secret_places(role_options(role)))
        asked |= {(role, *place) for place in places}
        given = {place[0] for place in places} & set(variables)
        filled = stage.canaries.filled(variables, [place for place in places if place[0] in given], role)
        plays.append((role, {"roles": [{"role": f"liveml.vsphere.{role}"}]}, filled))
    tasks: list[dict[str, Any]] = []
    for module, arguments in modules:
        places = list(secret_places(module_options(module)))
        asked |= {(module, *place) for place in places}
        for right in (True, False) if module == "host_info" else ("hostname" in arguments,):
            known = {"password": lab.env["VMWARE_PASSWORD"]} if right else {}
            whole = stage.canaries.filled({**arguments, **known}, places, module)
            tasks.append({f"liveml.vsphere.{module}": whole, "ignore_errors": True, "register": "result"})
            tasks.append({"ansible.builtin.debug": {"var": "result"}})
    if tasks:
        plays.append(("modules", {"tasks": tasks}, {}))
    login = {key: value for key, value in lab.env.items() if key.startswith("VMWARE")}
    login["H2O_PASSWORD"] = stage.canaries.for_place("environment", "H2O_PASSWORD")
    search = Search({**stage.canaries.made, "password of vCenter": lab.env["VMWARE_PASSWORD"]})

    for name, play, variables in plays:
        stage.run(name, play, variables, search)
    role, play, variables = plays[0]
    by_environment = {key: value for key, value in variables.items() if key not in stage.login}
    del by_environment[f"{role}_experiments"]["password"]
    stage.run("environment", play, by_environment, search, **login)

    search.look_into(state)
    search.look_into(stage.seen)
    for to, message in post.mail:
        search.look(content(message).encode(), f"mail to {to}")
    for _path, _headers, body in post.http:
        search.look(json.dumps(body).encode(), "body of a message")
    with capsys.disabled():
        print(
            f"\nsecrets: {len(asked)} options, {len(search.secrets)} canaries, {len(plays) + 1} jobs, {search.events} events, "
            f"{search.files} files, {search.processes} processes, {len(post.mail)} mails, {len(search.hits)} hits"
        )
    assert [str(hit) for hit in search.hits] == []
    expected = {role for role in ROLES if list(secret_places(role_options(role)))}
    assert {role for role, *_place in asked} >= (expected & names if names else expected)
    assert post.mail
    assert post.http
    assert len(list(stage.seen.iterdir())) > 2, "the program was started, and kept its environment"
    # One has an address with a secret, and the other a fault domain that does not exist.
    failed = {name for name, status in stage.results.items() if status != "successful"}
    assert failed == {"publish_evidence", "fault_domain"} & set(stage.results), stage.results
