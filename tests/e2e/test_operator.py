# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an operator sees when a play fails or is interrupted."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.messages import Hook
from tests.doubles.servers import serving
from tests.labs import ROOT, Lab, RunModule, play, playbook_environment, running_lab, started_play

pytestmark = pytest.mark.long
HOST = "esx-01"
SMALL = str(ROOT / "lab" / "topologies" / "small.yml")


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A small lab with fully automated DRS, or the automation of the parameter."""
    drs = getattr(request, "param", "full")
    with running_lab("--no-guests", "--drs", drs, "--time-scale", "0.02", "--topology", SMALL) as lab:
        yield lab


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    with serving(hook.handler) as hook.port:
        yield hook


def sentences(text: str) -> str:
    """An output without the line breaks of its width."""
    return " ".join(text.split())


UNWATCHED = {"enabled": False}
IN_SERVICE = rf"{HOST} is in service: DRS and people may place VMs on it\. On it: \d VMs? running, \d powered off"


@pytest.mark.parametrize(
    ("role", "option", "value"), [("evacuate_host", "slots", 20), ("restore_host", "max_failures", 0)]
)
def test_limits_that_cannot_be_kept_are_refused_before_anything_is_done(
    lab: Lab, tmp_path: Path, role: str, option: str, value: int
) -> None:
    lab.post("calls/reset")
    out = play(role, lab, tmp_path, **{f"{role}_name": HOST, f"{role}_{option}": value})
    assert out.returncode != 0
    assert f"{role}_{option} is {value}" in sentences(out.stdout)
    assert lab.get("calls") == {}


MISSPELLED = {
    "evacuate_host": ("evacuate_host_polcy", "evacuate_host_policy"),
    "restore_host": ("restore_host_max_failure", "restore_host_max_failures"),
    "round_trip": ("restore_host_on_failuer", "restore_host_on_failure"),
    "evacuate_fault_domain": ("evacuate_host_slotss", "evacuate_host_slots"),
    "status": ("liveml_vsphere_state_dri", "liveml_vsphere_state_dir"),
}


@pytest.mark.parametrize("level", ["extra", pytest.param("inventory", marks=pytest.mark.thorough)])
def test_a_misspelled_variable_is_refused_before_anything_is_done(lab: Lab, tmp_path: Path, level: str) -> None:
    names = {"evacuate_host_name": HOST, "restore_host_name": HOST, "fault_domain_name": "us-west-2a"}
    lab.post("calls/reset")
    for playbook, (wrong, right) in MISSPELLED.items():
        inventory = tmp_path / "hosts.yml"
        inventory.write_text(json.dumps({"all": {"vars": {wrong: 1} if level == "inventory" else {}}}))
        given = names | ({wrong: 1} if level == "extra" else {})
        out = play(playbook, lab, tmp_path, "-i", str(inventory), **given)
        assert out.returncode != 0, playbook
        assert f"{wrong} is not a variable of" in sentences(out.stdout)
        assert f"Did you mean {right}" in sentences(out.stdout)
    assert lab.get("calls") == {}


# What a site has in group_vars for all its plays: a login, and variables of roles that do not play now.
SITE = """
- hosts: localhost
  gather_facts: false
  vars:
    notify_url: https://chat.example.com/
    restore_host_polcy: of no concern here
    liveml_vsphere_username: "{{ site.user }}"
    liveml_vsphere_ca_path: "{{ site.ca }}"
  tasks:
    - liveml.vsphere.host_info:
        host: "{{ site.host }}"
      register: found
    - liveml.vsphere.host_info:
        host: "{{ site.host }}"
        password: wrong
      register: wrong
      failed_when: "'refused the login' not in wrong.msg"
    - ansible.builtin.include_role:
        name: liveml.vsphere.evacuate_host
      vars:
        evacuate_host_name: "{{ found.hosts[0].name }}"
    - liveml.vsphere.host_info:
        host: "{{ mistyped }}"
      vars:
        mistyped: esx-10
"""


def test_a_login_in_the_inventory_reaches_modules_and_roles_without_module_defaults(lab: Lab, tmp_path: Path) -> None:
    env = dict(lab.env)
    login = {
        "liveml_vsphere_hostname": env.pop("VMWARE_HOST"),
        "liveml_vsphere_port": env.pop("VMWARE_PORT"),
        "liveml_vsphere_password": env.pop("VMWARE_PASSWORD"),
        "site": {"host": HOST, "user": env.pop("VMWARE_USER"), "ca": env.pop("SSL_CERT_FILE")},
    }
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(json.dumps({"all": {"vars": login}}))
    playbook = tmp_path / "site.yml"
    playbook.write_text(SITE)
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "--check", "-i", str(inventory), str(playbook)]
    environment = {**playbook_environment(lab), **dict.fromkeys(set(lab.env) - set(env), "")}
    out = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert "ML-cpu-vm-01: esx-01 → " in out.stdout, out.stdout
    assert re.search(r"msg: .{0,400}esx-10.{0,400}\bmistyped\b", " ".join(out.stdout.split())), (
        "the variable's name is not said"
    )
    assert login["liveml_vsphere_password"] not in out.stdout


HOSTILE = "{{ 7 * 7 }} <b>$(id)</b> `id` \"'; %x[1](2)"


@pytest.mark.thorough
def test_the_name_of_a_vm_is_text_everywhere(fast_lab: Lab, tmp_path: Path) -> None:
    """Who may rename a VM may write neither to the controller nor into the report."""
    fast_lab.post("vms/ML-cpu-vm-04", action="rename", name=HOSTILE)
    out = play("evacuate_host", fast_lab, tmp_path, evacuate_host_name="esx-05")
    assert out.returncode == 0, out.stdout
    assert f"{HOSTILE}  " in out.stdout or f"{HOSTILE} " in out.stdout, out.stdout
    assert "49 <b>" not in out.stdout
    (folder,) = (tmp_path / "runs").iterdir()
    page, markdown = ((folder / name).read_text() for name in ("report.html", "report.md"))
    assert "&lt;b&gt;" in page
    assert "<b>$(id)" not in page + markdown
    moves = json.loads((folder / "evidence.json").read_text())["moves"]
    assert HOSTILE in {move["vm"] for move in moves}
    # Journals have the name of the host, and the operator writes its path.
    shown = play("status", fast_lab, tmp_path, report_state_host="/DC-west/host/ML-cluster/esx-05")
    assert shown.returncode == 0, shown.stdout
    assert HOSTILE in shown.stdout
    assert "Evacuation of esx-05: succeeded at " in shown.stdout


@pytest.mark.parametrize(
    ("role", "subject", "variables"),
    [
        ("migrate_vm", "Move of ML-cpu-vm-05", {"name": "ML-cpu-vm-05"}),
        pytest.param(
            "evacuate_host", "Evacuation of esx-01", {"name": HOST, "maintenance": False}, marks=pytest.mark.thorough
        ),
    ],
)
def test_who_waits_is_told_when_the_evidence_cannot_be_copied(
    lab: Lab, hook: Hook, tmp_path: Path, role: str, subject: str, variables: dict[str, Any]
) -> None:
    (tmp_path / "full").write_text("a file where a folder should be")
    upload = {"kind": "directory", "path": str(tmp_path / "full")}
    more = {"notify": hook.notify, "evidence_upload": upload, "experiments": UNWATCHED}
    out = play(role, lab, tmp_path, **{f"{role}_{k}": v for k, v in {**variables, **more}.items()})
    assert out.returncode != 0, out.stdout
    (told,) = hook.taken()
    assert told["subject"] == f"{subject}: done", "the VMs moved, whatever became of the copy"
    folder = Path(told["report"]).parent
    assert (folder / "evidence.json").is_file()
    assert f"It is in {folder} on this controller; copy it from there." in sentences(out.stdout)


def test_a_key_that_cannot_sign_is_refused_before_anything_moves(lab: Lab, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(key)], check=True)
    variables = {
        "evacuate_host": {"name": HOST, "signing_key": str(key)},
        "restore_host": {"name": HOST, "signing_key": "/nowhere"},
        "migrate_vm": {"name": "ML-cpu-vm-05", "signing_key": "/nowhere"},
    }
    for (role, given), options in zip(variables.items(), ([], ["--check"], []), strict=True):
        out = play(role, lab, tmp_path / "runs", *options, **{f"{role}_{k}": v for k, v in given.items()})
        assert out.returncode != 0, out.stdout
        assert f"The evidence cannot be signed with {given['signing_key']}; this call moved no VM:" in out.stdout
        assert f"Set {role}_signing_key to an SSH key" in out.stdout
    state = lab.get("state")
    assert state["moves"] == []
    assert state["hosts"][HOST]["maintenance"] == "normal"


@pytest.mark.parametrize("lab", ["partial"], indirect=True)  # else DRS empties a host that somebody else has fenced
def test_what_is_said_of_the_fence_is_true(lab: Lab, tmp_path: Path, run_module: RunModule) -> None:
    lab.post("faults", vm="ML-cpu-vm-02", times=9, fault="NoPermission")
    variables = {"evacuate_host_name": HOST, "evacuate_host_experiments": UNWATCHED}
    out = play("evacuate_host", lab, tmp_path, **variables)
    assert out.returncode != 0
    assert re.search(IN_SERVICE, sentences(out.stdout)), out.stdout
    run_module("host_maintenance", lab, host=HOST, state="fenced")
    out = play("evacuate_host", lab, tmp_path, **variables)
    assert out.returncode != 0
    kept = rf"{HOST} is fenced: no VM can be placed on it\. On it: \d VMs? running, \d powered off( \(\S+\))?\. This call did not set the fence"
    assert re.search(kept, sentences(out.stdout)), out.stdout
    assert lab.get("state")["hosts"][HOST]["maintenance"] == "entering"


def test_a_rollback_lifts_the_fence_of_the_killed_run_and_so_it_is_said(tmp_path: Path) -> None:
    shown = {"kind": "directory", "path": str(tmp_path / "shown")}
    variables = {"name": HOST, "experiments": UNWATCHED, "slots": 1, "on_failure": "rollback", "evidence_upload": shown}
    given = {f"evacuate_host_{name}": value for name, value in variables.items()}
    with running_lab("--no-guests", "--drs", "full", "--time-scale", "0.3", "--topology", SMALL) as lab:
        process = started_play("evacuate_host", lab, tmp_path, **given)
        while not (lab.get("state")["moves"] and list(tmp_path.glob("runs/*/report.html"))):
            assert process.poll() is None, "the run was over before it could be killed"
            time.sleep(0.02)
        (journal,) = tmp_path.glob("runs/*/journal.jsonl")
        process.kill()
        os.kill(json.loads(journal.read_text().splitlines()[0])["pid"], signal.SIGKILL)
        process.communicate()
        page = journal.with_name("report.html").read_text(encoding="utf-8")
        assert "Under way" in page, "nobody can write any more that the process is gone"
        (published,) = tmp_path.glob("shown/*/report.html")
        assert "Under way" in published.read_text(encoding="utf-8")
        assert "This page was written at " in page
        assert "If that is more than a minute ago, nobody writes it any more" in page.replace("\u00a0", " ")
        for vm in ("ML-cpu-vm-02", "ML-cpu-vm-03"):
            lab.post("faults", vm=vm, times=9, fault="NoPermission")
        out = play("evacuate_host", lab, tmp_path, **given)
        assert out.returncode != 0
        assert re.search(IN_SERVICE, sentences(out.stdout)), out.stdout
        assert lab.get("state")["hosts"][HOST]["maintenance"] == "normal"
        assert published.read_bytes() == journal.with_name("report.html").read_bytes(), (
            "the report took the page's place"
        )


def test_each_vm_that_does_not_come_home_is_named(lab: Lab, hook: Hook, tmp_path: Path) -> None:
    out = play("evacuate_host", lab, tmp_path, evacuate_host_name=HOST, evacuate_host_experiments=UNWATCHED)
    assert out.returncode == 0, out.stdout
    elsewhere = {"esx-02", "esx-03"} - {lab.where()["ML-cpu-vm-01"]}
    person = sorted(elsewhere)[0]
    lab.post("vms/ML-cpu-vm-01", action="move", target=person, instant=True)
    lab.post("vms/ML-cpu-vm-02", action="power_off")
    lab.post("vms/ML-cpu-vm-02", action="delete")
    lab.post("vms/ML-cpu-vm-03", action="power_off")
    variables = {"restore_host_name": HOST, "restore_host_experiments": UNWATCHED, "restore_host_notify": hook.notify}
    out = play("restore_host", lab, tmp_path, **variables)
    assert out.returncode != 0, "a VM that is powered off is not home"
    shown = sentences(out.stdout)
    assert "No VM has to come home" not in shown
    (told,) = hook.taken()
    failure = shown[shown.index("Not every VM is home on esx-01.") :]
    assert told["subject"] == "Restore of esx-01: failed"
    for text in (shown, failure, told["text"]):
        assert f"ML-cpu-vm-01 is on {person} and stays there: it was moved after its evacuation to esx-0" in text
        assert "ML-cpu-vm-02 is no longer in vCenter" in text
        assert "ML-cpu-vm-03 stays: The VM is powered off." in text


@pytest.mark.thorough
def test_a_round_trip_goes_home_as_it_left(lab: Lab, hook: Hook, tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: {vars: {restore_host_stall_budget: 9.0}}")
    variables = {"name": HOST, "slots": 2, "experiments": UNWATCHED, "notify": hook.notify}
    given = {f"evacuate_host_{name}": value for name, value in variables.items()}
    out = play("round_trip", lab, tmp_path, "-i", str(inventory), **given)
    assert out.returncode == 0, out.stdout
    assert [told["subject"] for told in hook.taken()] == [
        f"{what} of esx-01: done" for what in ("Evacuation", "Restore")
    ]
    journals = [path.read_text() for path in sorted(tmp_path.glob("runs/*/journal.jsonl"))]
    starts = [json.loads(text.splitlines()[0]) for text in journals]
    assert [(start["purpose"], start["slots"], start["stall_budget"]) for start in starts] == [
        ("evacuate", 2, 5.0),
        ("restore", 2, 9.0),
    ], "what the inventory says for the way home counts"
    asked = ["experiments.enabled is false" in text for text in journals]
    assert asked == [True, True], "experiments are watched, or not, both ways"
