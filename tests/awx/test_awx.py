# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`awx/` applied by the modules of awx.awx to a double of AWX's API; then launched, its jobs by ansible-runner against the lab."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from lab.paths import TOPOLOGIES
from tests.awx.double import LOGIN, Refused, Store, serving
from tests.awx.engine import Job, Workflow, credential_variables, run_job, variables_of
from tests.labs import ROOT, Lab, login, places, running_lab
from tests.measuring import PATIENCE

pytestmark = pytest.mark.long

BIN = Path(sys.executable).parent
HOST = "esx-05"
WORKFLOW = "liveml.vsphere maintenance of a host"
SECRETS = {"VMWARE_PASSWORD": "a-secret-of-vcenter", "H2O_PASSWORD": "a-secret-of-h2o"}
PROGRESS = re.compile(r"^  \d\d:\d\d:\d\d  ")


IMAGE = "registry.example.com/liveml/vsphere-ee:0.1.0"
GIVEN = {"awx_notification_url": "https://hooks.example.com/a-secret-of-the-url", "awx_image": IMAGE}


def apply(store: Store) -> str:
    """Apply the configuration. The server lives no longer: ansible-runner forks, which threads do not survive."""
    with serving(store) as url:
        return applied_to(url, **GIVEN)


def applied_to(url: str, **variables: object) -> str:
    done = attempt(url, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def attempt(
    url: str, environment: dict[str, str] | None = None, **variables: object
) -> subprocess.CompletedProcess[str]:
    own = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("VMWARE_", "H2O_"))},
        "CONTROLLER_HOST": url,
        "CONTROLLER_USERNAME": LOGIN[0],
        "CONTROLLER_PASSWORD": LOGIN[1],
        "VMWARE_HOST": "vcenter.example.com",
        "VMWARE_USER": "operator@example.com",
        "H2O_USERNAME": "scientist",
        "ANSIBLE_PIPELINING": "1",
        **SECRETS,
        **(environment or {}),
    }
    command = [str(BIN / "ansible-playbook"), "awx/apply.yml", "-v", "-e", json.dumps(variables)]
    return subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.fixture(scope="module")
def applied() -> Store:
    store = Store(ROOT)
    out = apply(store)
    assert not [secret for secret in (*SECRETS.values(), "a-secret-of-the-url") if secret in out]
    return store


@pytest.mark.thorough
def test_applied_again_it_changes_nothing(applied: Store) -> None:
    assert applied.writes
    applied.writes.clear()
    out = apply(applied)
    assert applied.writes == []
    assert "changed=0" in out


def test_what_was_made_is_complete(applied: Store) -> None:
    store = applied
    for template in store.found("job_templates", []):
        credentials = store.associated("job_templates", template["id"], "credentials")
        assert {c["name"] for c in credentials} == {"liveml.vsphere vCenter", "liveml.vsphere experiments"}
        assert template["allow_simultaneous"] is False
        assert template["timeout"] > 0, "no job may hang without end"
        assert json.loads(template["extra_vars"])["liveml_vsphere_validate_certs"] is True
        errors = store.associated("job_templates", template["id"], "notification_templates_error")
        assert [n["name"] for n in errors] == ["liveml.vsphere webhook"]
    shown = json.dumps([store.items[name] for name in store.items], default=str)
    assert not [secret for secret in SECRETS.values() if secret in shown]
    workflow = store.named("workflow_job_templates", WORKFLOW)
    assert store.associated("workflow_job_templates", workflow["id"], "notification_templates_approvals")
    nodes = store.found("workflow_job_template_nodes", [])
    assert all(node["unified_job_template"] for node in nodes)
    timeouts = {a["name"]: a["timeout"] for a in store.found("workflow_approval_templates", [])}
    assert timeouts["Evacuate by this plan"] == 86400


def test_the_inventory_is_read_from_the_port_and_with_the_ca_of_the_vcenter(applied: Store) -> None:
    sources = applied.found("inventory_sources", [])
    assert {source["source_path"] for source in sources} == {
        f"inventories/vcenter/{kind}.yml" for kind in ("vms", "esxi_hosts")
    }
    for source in sources:
        assert json.loads(source["source_vars"]) == {"VMWARE_PORT": "443"}


def test_teams_see_the_plan_and_nobody_moves_vms_without_an_approval(applied: Store) -> None:
    teams = ("operators", "approvers", "auditors")
    of_workflow = {team: applied.may(f"liveml.vsphere {team}", "workflow_job_templates", WORKFLOW) for team in teams}
    assert of_workflow == {"operators": {"execute"}, "approvers": {"approval", "read"}, "auditors": {"read"}}
    reads = {"plan an evacuation", "verify experiments", "check a hardware event", "status"}
    for template in applied.found("job_templates", []):
        name = template["name"].removeprefix("liveml.vsphere ")
        rights = {team: applied.may(f"liveml.vsphere {team}", "job_templates", template["name"]) for team in teams}
        operators = {"read", "execute"} if name in reads else {"read"}
        assert rights == {"operators": operators, "approvers": {"read"}, "auditors": {"read"}}, name


@pytest.mark.thorough
def test_other_sites_a_manual_project_a_private_registry_a_vcenter_of_its_own() -> None:
    store = Store(ROOT)
    site = {
        "awx_image": "registry.example.com:5000/ee",
        "awx_project_source": {"scm_type": "manual", "local_path": "liveml"},
        "awx_vcenter_port": 8443,
        "awx_vcenter_ca_path": "/etc/pki/vcenter.pem",
        "awx_team_auditors": "",
    }
    registry = {
        "REGISTRY_HOST": "registry.example.com",
        "REGISTRY_USERNAME": "robot",
        "REGISTRY_PASSWORD": "a-secret-of-it",
    }
    with serving(store) as url:
        done = attempt(url, registry, **site)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a-secret-of-it" not in done.stdout + done.stderr
    (environment,) = store.found("execution_environments", [])
    assert environment["pull"] == "always", "an image without a tag changes"
    assert store.one("credentials", environment["credential"])["name"] == "liveml.vsphere registry"
    assert store.found("inventory_sources", []) == []
    assert len(store.found("job_templates", [])) == 12
    assert [team["name"] for team in store.found("teams", [])] == [
        "liveml.vsphere operators",
        "liveml.vsphere approvers",
    ]
    for template in store.found("job_templates", []):
        assert json.loads(template["extra_vars"]) == {
            "liveml_vsphere_port": 8443,
            "liveml_vsphere_validate_certs": True,
            "liveml_vsphere_ca_path": "/etc/pki/vcenter.pem",
        }


@pytest.mark.thorough
def test_a_first_sync_that_fails_is_made_up_for_by_the_next_run() -> None:
    store = Store(ROOT, reachable=False)
    login = {"SCM_USERNAME": "robot", "SCM_TOKEN": "a-secret-of-git"}
    with serving(store) as url:
        done = attempt(url, login, **GIVEN)
        assert done.returncode != 0
        assert store.found("projects", []), "the project is there"
        assert store.found("job_templates", []) == []
        store.reachable = True
        done = attempt(url, login, **GIVEN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(store.found("job_templates", [])) == 12
    (project,) = store.found("projects", [])
    assert store.one("credentials", project["credential"])["name"] == "liveml.vsphere source control"
    sources = store.found("inventory_sources", [])
    assert len(sources) == 2


def test_an_image_has_to_be_named() -> None:
    with serving(Store(ROOT)) as url:
        done = attempt(url)
    assert done.returncode != 0
    assert "awx_image is empty. Build the execution environment" in " ".join((done.stdout + done.stderr).split())


def test_the_double_refuses_what_awx_refuses(applied: Store) -> None:
    store = Store(ROOT)
    project = store.create(
        "projects", {"name": "p", "scm_type": "git", "scm_url": "https://git.example.com/p.git", "organization": 1}
    )
    inventory = store.create("inventories", {"name": "i", "organization": 1})
    template = {"name": "t", "playbook": "playbooks/status.yml", "project": project["id"], "inventory": inventory["id"]}
    with pytest.raises(Refused, match="Playbook not found for project"):
        store.create("job_templates", template)
    store.update_project(project["id"])
    made = store.create("job_templates", template)
    manual = store.create("projects", {"name": "m", "local_path": "m", "organization": 1})
    source = {"name": "s", "inventory": inventory["id"], "source": "scm", "source_project": manual["id"]}
    with pytest.raises(Refused, match="Cannot use manual project"):
        store.create("inventory_sources", source)
    with pytest.raises(Refused, match="cannot be updated"):
        store.update_project(manual["id"])
    kind = store.create(
        "credential_types",
        {"name": "k", "kind": "cloud", "inputs": {"fields": [{"id": "password"}], "required": ["password"]}},
    )
    empty = store.create("credentials", {"name": "c", "credential_type": kind["id"], "inputs": {}, "organization": 1})
    store.associate("job_templates", made["id"], "credentials", {"id": empty["id"]})
    with pytest.raises(Refused, match="missing required values: password"):
        store.launch("job_templates", made["id"], {})


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ({}, "'evacuate_host_name' value missing"),
        ({"evacuate_host_name": ""}, "too small"),
        ({"evacuate_host_name": "esx-05", "evacuate_host_policy": "nearest"}, "expected to be one of"),
        ({"evacuate_host_name": "esx-05", "evacuate_host_slots": 9}, "must be no more than 8"),
        (
            {"evacuate_host_name": "esx-05", "evacuate_host_slots": "8"},
            "Value 8 for 'evacuate_host_slots' expected to be an integer.",
        ),
        ({"evacuate_host_name": "esx-05", "evacuate_host_slots": ""}, "expected to be an integer"),
        ({"evacuate_host_name": "esx-05", "evacuate_host_plan_id": None}, "expected to be a string"),
        ({"evacuate_host_name": "esx-05", "evacuate_host_policy": ""}, "expected to be one of"),
        ({"evacuate_host_name": "esx-05", "evacuate_host_maintenance": True}, "expected to be one of"),
    ],
)
def test_a_launch_that_the_survey_forbids_is_refused(applied: Store, answers: dict[str, object], error: str) -> None:
    store = applied
    template = store.named("job_templates", "liveml.vsphere evacuate a host")
    with pytest.raises(Refused) as refused:
        store.launch("job_templates", template["id"], {"extra_vars": answers})
    assert refused.value.status == 400
    assert error in refused.value.body["variables_needed_to_start"][0]


def connected(store: Store, lab: Lab) -> None:
    """Let the stored credential and the templates' variables name the lab: AWX's type of credential knows no port."""
    credential = store.named("credentials", "liveml.vsphere vCenter")
    login = {"host": lab.env["VMWARE_HOST"], "username": lab.env["VMWARE_USER"], "password": lab.env["VMWARE_PASSWORD"]}
    store.update("credentials", credential["id"], {"inputs": login})
    variables = {
        "liveml_vsphere_port": int(lab.env["VMWARE_PORT"]),
        "liveml_vsphere_ca_path": lab.env["SSL_CERT_FILE"],
    }
    for template in store.found("job_templates", []):
        own = json.loads(template["extra_vars"])
        store.update("job_templates", template["id"], {"extra_vars": json.dumps({**own, **variables})})


def moves_of(lab: Lab) -> Counter[tuple[str, str]]:
    return Counter((move["vm"], move["result"]) for move in lab.get("state")["moves"])


def statuses(jobs: dict[str, Job]) -> dict[str, str]:
    return {identifier: job.status for identifier, job in jobs.items()}


def test_the_workflow_carries_out_the_approved_plan_and_refuses_a_drifted_one(
    applied: Store, fast_lab: Lab, tmp_path: Path
) -> None:
    store = applied
    connected(store, fast_lab)
    before, leaving = fast_lab.where(), fast_lab.on(HOST)
    stranger = sorted(fast_lab.on("esx-01"))[0]

    def denies_after_drift(approval: str) -> bool:
        if approval == "Evacuate by this plan":
            fast_lab.post(f"vms/{stranger}", action="move", target=HOST, instant=True)
            return True
        return False

    answers = {"evacuate_host_name": HOST}
    drifted = Workflow(store, WORKFLOW, answers, denies_after_drift, tmp_path / "drifted")
    jobs = drifted.run()
    assert statuses(jobs) == {
        "plan": "successful",
        "approve_evacuation": "successful",
        "evacuate": "failed",
        "report_away": "failed",
        "offer_restore": "failed",
        "report_end": "failed",
    }
    assert drifted.status == "failed"
    assert "The plan has drifted; this call moved no VM" in jobs["evacuate"].text
    assert jobs["plan"].artifacts["evacuate_host_plan_id"] in jobs["evacuate"].text
    assert f"No VM is away from a recorded home on {HOST}." in jobs["report_away"].text
    fast_lab.post(f"vms/{stranger}", action="move", target="esx-01", instant=True)
    assert fast_lab.where() == before
    assert fast_lab.get("state")["hosts"][HOST]["maintenance"] == "normal"

    asked: list[tuple[str, set[str]]] = []

    def approves(approval: str) -> bool:
        asked.append((approval, fast_lab.on(HOST)))
        return True

    workflow = Workflow(store, WORKFLOW, answers, approves, tmp_path / "approved")
    jobs = workflow.run()
    assert set(statuses(jobs).values()) == {"successful"}, next(j.text for j in jobs.values() if j.status == "failed")
    assert list(jobs) == [
        "plan",
        "approve_evacuation",
        "evacuate",
        "verify_away",
        "approve_restore",
        "restore",
        "verify_home",
    ]
    assert workflow.status == "successful"
    assert asked == [("Evacuate by this plan", leaving), ("The repair is done", set())]
    assert fast_lab.where() == before
    handed_on = jobs["evacuate"].artifacts["liveml_vsphere_artifact"]
    assert handed_on["plan_id"] == jobs["plan"].artifacts["evacuate_host_plan_id"]
    assert (handed_on["version"], handed_on["result"], handed_on["verdict"]) == (1, "success", "no_experiment")
    assert re.fullmatch(r"\d{8}T\d{6}Z-evacuate-esx-05-[0-9a-f]{4}", handed_on["run_id"])
    assert jobs["restore"].artifacts["liveml_vsphere_artifact"]["purpose"] == "restore"
    assert len(json.dumps(jobs["evacuate"].artifacts)) < 2000
    progress = [e for e in jobs["evacuate"].events if e["event"] == "verbose" and PROGRESS.match(e["stdout"])]
    assert all("\n" not in event["stdout"].rstrip() for event in progress), "a line of progress is an event of its own"
    assert len([e for e in progress if "moved to" in e["stdout"]]) == len(leaving)


@pytest.mark.thorough
def test_what_failed_ends_as_failed_also_if_all_vms_come_home(applied: Store, fast_lab: Lab, tmp_path: Path) -> None:
    store = applied
    connected(store, fast_lab)
    before = fast_lab.where()
    fast_lab.post("faults", vm=sorted(fast_lab.on(HOST))[0], times=1, fault="NoPermission")
    workflow = Workflow(store, WORKFLOW, {"evacuate_host_name": HOST}, lambda _approval: True, tmp_path / "failed")
    jobs = workflow.run()
    assert jobs["evacuate"].status == "failed"
    assert statuses(jobs) | {"restore_after_failure": "successful", "report_end": "failed"} == statuses(jobs)
    assert fast_lab.where() == before
    assert workflow.status == "failed"


@pytest.mark.thorough
def test_a_cancelled_job_is_gone_on_with_from_a_disk_that_knows_nothing(applied: Store, tmp_path: Path) -> None:
    store = applied
    with running_lab("--no-guests", "--time-scale", "0.2") as lab:
        connected(store, lab)
        leaving = lab.on(HOST)
        plan = run_job(
            store,
            template := store.named("job_templates", "liveml.vsphere plan an evacuation"),
            variables_of(store, template, {"evacuate_host_name": HOST}),
            tmp_path / "plan",
        )
        template = store.named("job_templates", "liveml.vsphere evacuate a host")
        variables = variables_of(
            store, template, {"evacuate_host_name": HOST, "evacuate_host_slots": 2, **plan.artifacts}
        )
        cancelled = run_job(store, template, variables, tmp_path / "first", cancel=lambda: "success" in results(lab))
        assert cancelled.status == "canceled"
        assert lab.on(HOST), "it was cancelled on its way"
        (journal,) = (tmp_path / "first").glob(".local/state/liveml.vsphere/runs/*/journal.jsonl")
        assert "home_recorded" in journal.read_text()
        assert "run_finished" not in journal.read_text(), "the run can be resumed"

        deadline = time.monotonic() + PATIENCE
        job = run_job(store, template, variables, tmp_path / "second")
        while job.status != "successful" and time.monotonic() < deadline:
            job = run_job(store, template, variables, tmp_path / f"again-{time.monotonic_ns()}")
        assert job.status == "successful", job.text
        assert lab.on(HOST) == set()
        assert moves_of(lab) == Counter({(vm, "success"): 1 for vm in leaving})
        approved = plan.artifacts["evacuate_host_approved"]["moves"]
        where = lab.where()
        assert {m["vm_name"]: where[m["vm_name"]] for m in approved} == {
            m["vm_name"]: m["target_name"] for m in approved
        }


def results(lab: Lab) -> set[str]:
    """How moves ended so far."""
    return {move["result"] for move in lab.get("state")["moves"]}


@pytest.mark.thorough
def test_jobs_with_the_login_of_the_other_vcenter_move_vms_there_and_home(tmp_path: Path) -> None:
    """Without that login the same playbook stays in its vCenter."""
    with running_lab("--no-guests", "--time-scale", "0.02", "--topology", str(TOPOLOGIES / "cloud.yml")) as site:
        cloud, store = site.other("cloud"), Store(ROOT)
        there = login(cloud)
        names = {"OTHER_VMWARE_HOST": "hostname", "OTHER_VMWARE_USER": "username", "OTHER_VMWARE_PASSWORD": "password"}
        maps = {
            "evacuate_host_pool_map": {"ml-training": "Compute-ResourcePool"},
            "evacuate_host_folder_map": {"ml": "Workloads", "ml/vision": "Workloads/vision"},
            "evacuate_host_network_map": {"ml-network": "ml-segment"},
        }
        other = {"awx_other_vcenter_port": there["port"], "awx_other_vcenter_ca_path": there["ca_path"]}
        with serving(store) as url:
            done = attempt(
                url,
                {name: there[key] for name, key in names.items()},
                **GIVEN, **other, awx_other_vcenter_extra_vars=maps,
            )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert there["password"] not in done.stdout + done.stderr
        assert len(store.found("job_templates", [])) == 18
        assert there["password"] not in json.dumps(store.items, default=str)
        own = store.named("job_templates", "liveml.vsphere evacuate a host")
        assert credential_variables(store, own) == {}
        connected(store, site)

        before = places(site, cloud)
        for name, variables, away in (
            ("plan an evacuation to", {"evacuate_host_name": "esx-01"}, set()),
            ("evacuate a host to", {"evacuate_host_name": "esx-01"}, {"ML-cpu-vm-01", "ML-cpu-vm-02"}),
            ("restore a host from", {"restore_host_name": "esx-01"}, set()),
        ):
            template = store.named("job_templates", f"liveml.vsphere {name} the other vCenter")
            folder = tmp_path / name.split()[0]
            job = run_job(store, template, variables_of(store, template, variables), folder)
            assert job.status == "successful", job.text
            assert there["password"] not in job.text
            assert set(cloud.where()) == {"web-21"} | away
        assert places(site, cloud) == before
