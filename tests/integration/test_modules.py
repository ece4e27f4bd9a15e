# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules against the lab: read, plan, fence, move, restore; and what an operator sees when input is bad."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.codec import plan_from_dict, plan_id_of, plan_to_dict

from tests.labs import Lab, RunModule
from tests.measuring import until

HOST = "esx-05"
NO_EXPERIMENTS = {"enabled": False}


@pytest.fixture(autouse=True)
def _keep_signal_handlers() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_evacuate_and_restore_by_modules(fast_lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    before = fast_lab.where()
    leaving = fast_lab.on(HOST)
    assert len(leaving) > 8

    plan = run_module("migration_plan", fast_lab, host=HOST, state_dir=str(tmp_path))
    assert {move["vm_name"] for move in plan["moves"]} == leaving
    assert not [r for r in plan["refusals"] if r["blocking"]]
    assert run_module("migration_plan", fast_lab, host=HOST, state_dir=str(tmp_path))["plan"] == plan["plan"]

    migrate = {"host": HOST, "state_dir": str(tmp_path), "experiments": NO_EXPERIMENTS}
    checked = run_module("vm_migrate", fast_lab, check=True, plan=plan["plan"], purpose="evacuate", **migrate)
    assert checked["changed"]
    assert fast_lab.where() == before
    assert fast_lab.get("state")["moves"] == []

    fence = run_module("host_maintenance", fast_lab, host=HOST, state="fenced")
    assert (fence["changed"], fence["maintenance"]) == (True, "entering")
    assert fast_lab.get("state")["hosts"][HOST]["maintenance"] == "entering"
    assert run_module("host_maintenance", fast_lab, host=HOST, state="fenced")["changed"] is False

    fast_lab.post("calls/reset")
    moved = run_module("vm_migrate", fast_lab, plan=plan["plan"], purpose="evacuate", **migrate)
    assert {m["result"] for m in moved["moves"]} == {"moved"}
    calls = fast_lab.get("calls")
    assert calls["CreateFilter"] == calls["DestroyPropertyFilter"] == len(leaving), "a filter lasts as long as its move"
    state = fast_lab.get("state")
    assert fast_lab.on(HOST) == set()
    assert max(host["slots"]["peak"] for host in state["hosts"].values()) == 8
    targets = {move["vm_name"]: move["target_name"] for move in plan["moves"]}
    assert {name: fast_lab.where()[name] for name in targets} == targets

    entered = run_module("host_maintenance", fast_lab, host=HOST, state="maintenance", wait_timeout=30)
    assert entered.get("maintenance") == "in", entered
    assert run_module("host_maintenance", fast_lab, host=HOST, state="fenced")["changed"] is False

    again = run_module("migration_plan", fast_lab, host=HOST, state_dir=str(tmp_path))
    assert again["moves"] == []
    assert run_module("vm_migrate", fast_lab, plan=again["plan"], purpose="evacuate", **migrate)["changed"] is False

    away = run_module("placement", fast_lab, host=HOST, state_dir=str(tmp_path))["placements"]
    assert {p["vm"]: p["outcome"] for p in away} == dict.fromkeys(leaving, "home_unhealthy")
    assert run_module("host_maintenance", fast_lab, host=HOST, state="normal", wait_timeout=30)["changed"]
    fast_lab.post("vms/ML-cpu-vm-05", action="move", target="esx-01", instant=True)
    # Another controller: the homes come from the VMs' custom attribute alone.
    other = str(tmp_path / "other")
    home = run_module("migration_plan", fast_lab, host=HOST, use_homes=True, policy="any", state_dir=other)
    assert {m["vm_name"] for m in home["moves"]} == leaving - {"ML-cpu-vm-05"}
    back = run_module("vm_migrate", fast_lab, plan=home["plan"], purpose="restore", **{**migrate, "state_dir": other})
    assert {m["result"] for m in back["moves"]} == {"moved"}
    assert fast_lab.where() == before | {"ML-cpu-vm-05": "esx-01"}
    cleared = run_module("placement", fast_lab, host=HOST, state="absent", state_dir=other)
    assert cleared["changed"]
    left = run_module("placement", fast_lab, host=HOST, state_dir=other)["placements"]
    assert {p["vm"]: p["outcome"] for p in left} == {"ML-cpu-vm-05": "moved_by_person"}

    report = run_module("evidence_report", state_dir=str(tmp_path), purpose="evacuate", host=HOST)
    assert report["changed"]
    evidence = json.loads(Path(report["evidence_path"]).read_text())
    assert {m["vm"] for m in evidence["moves"] if m["result"] == "moved"} == leaving
    assert evidence["vcenter"]["simulated"] is True
    assert "simulated" in Path(report["report_path"]).read_text()
    assert run_module("evidence_report", state_dir=str(tmp_path), purpose="evacuate", host=HOST)["changed"] is False
    [known] = run_module("host_info", fast_lab, host=HOST)["hosts"]
    by_moid = run_module("evidence_report", state_dir=str(tmp_path), purpose="evacuate", host=known["moid"])
    assert by_moid["evidence_path"] == report["evidence_path"]
    foreign = plan_from_dict(plan["plan"])
    foreign = replace(foreign, vcenter=replace(foreign.vcenter, instance_uuid="another"))
    foreign = replace(foreign, plan_id=plan_id_of(foreign))
    refused = run_module("vm_migrate", fast_lab, plan=plan_to_dict(foreign), purpose="evacuate", **migrate)
    assert "another vCenter" in refused["msg"]
    assert all(move["power_on"]["same"] is True for move in evidence["moves"] if move["result"] == "moved")
    signed_and_tampered(run_module, tmp_path, Path(report["evidence_path"]))
    secrets = fast_lab.env["VMWARE_PASSWORD"]
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and secrets in p.read_text()]
    assert {p.stat().st_mode & 0o077 for p in tmp_path.rglob("*") if p.is_file()} == {0}


def signed_and_tampered(run_module: RunModule, tmp_path: Path, evidence: Path) -> None:
    """Evidence is signed and verified by the documented command; a changed journal line is named."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    wanted = {"state_dir": str(tmp_path), "purpose": "evacuate", "host": HOST}
    assert run_module("evidence_report", check=True, signing_key=str(key), **wanted)["changed"]
    assert run_module("evidence_report", signing_key=str(key), **wanted)["changed"]
    assert run_module("evidence_report", signing_key=str(key), **wanted)["changed"] is False
    signers = tmp_path / "allowed_signers"
    signers.write_text(f"ops@example.com {key.with_suffix('.pub').read_text()}")
    signature = evidence.with_name("evidence.json.sig")
    verify = ["ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", "ops@example.com", "-n", "liveml.vsphere"]
    command = [*verify, "-s", str(signature)]
    assert subprocess.run(command, input=evidence.read_bytes(), check=False, capture_output=True).returncode == 0
    forged = evidence.read_bytes().replace(b"esx-05", b"esx-06")
    assert subprocess.run(command, input=forged, check=False, capture_output=True).returncode != 0
    signature.unlink()
    assert "cannot be signed" in run_module("evidence_report", signing_key="/nowhere", **wanted)["msg"]

    journal = evidence.with_name("journal.jsonl")
    kept = journal.read_bytes()
    lines = kept.splitlines(keepends=True)
    lines[4] = lines[4].replace(b"esx-05", b"esx-04")
    journal.write_bytes(b"".join(lines))
    told = run_module("evidence_report", **wanted)
    assert "line 6 is wrong (it does not follow from the line before)" in told["msg"]
    assert told["diff"], "what the report now says otherwise is shown"
    assert "The journal was changed" in evidence.with_name("report.html").read_text()
    journal.write_bytes(kept)
    assert run_module("evidence_report", **wanted)["changed"]
    for path in (key, key.with_suffix(".pub"), signers):
        path.unlink()


def test_a_power_cycle_shows(fast_lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    name = "ML-cpu-vm-07"
    plan = run_module("migration_plan", fast_lab, vms=[name], policy="other_only", state_dir=str(tmp_path))

    def cycle() -> None:
        while not fast_lab.get("state")["moves"]:
            time.sleep(0.01)
        fast_lab.post(f"vms/{name}", action="power_off")
        fast_lab.post(f"vms/{name}", action="power_on")

    thread = threading.Thread(target=cycle, daemon=True)
    thread.start()
    run_module(
        "vm_migrate",
        fast_lab,
        plan=plan["plan"],
        purpose="migrate",
        state_dir=str(tmp_path),
        experiments=NO_EXPERIMENTS,
    )
    thread.join()
    report = run_module("evidence_report", state_dir=str(tmp_path))
    (move,) = json.loads(Path(report["evidence_path"]).read_text())["moves"]
    assert move["power_on"]["same"] is False
    assert "powered on again" in Path(report["report_path"]).read_text()


def test_reading_costs_a_constant_number_of_calls(fast_lab: Lab, run_module: RunModule) -> None:
    info = run_module("host_info", fast_lab)
    assert [host["name"] for host in info["hosts"]] == [f"esx-0{n}" for n in range(1, 10)]
    assert {host["fault_domain"] for host in info["hosts"]} == {"us-west-2a", "us-west-2b", "us-west-2c"}
    fast_lab.post("hosts/esx-05/alarm", alarm="red")
    [host] = run_module("host_info", fast_lab, host="esx-05")["hosts"]
    assert host["alarms"] == [{"name": "Host hardware fan status", "status": "red", "acknowledged": False}]
    fast_lab.post("hosts/esx-05/alarm", alarm="green")
    fast_lab.post("calls/reset")
    assert {len(host["alarms"]) for host in run_module("host_info", fast_lab)["hosts"]} == {0}
    calls = fast_lab.get("calls")
    assert calls["RetrievePropertiesEx"] <= 3
    assert sum(calls.values()) <= 12


def test_a_failing_move_stops_the_run_and_names_the_vm(fast_lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    fast_lab.post("faults", vm="ML-cpu-vm-04", times=1, fault="NoPermission")
    plan = run_module("migration_plan", fast_lab, host=HOST, state_dir=str(tmp_path))
    result = run_module(
        "vm_migrate", fast_lab, plan=plan["plan"], purpose="evacuate", host=HOST, state_dir=str(tmp_path),
        experiments=NO_EXPERIMENTS, slots=2,
    )  # fmt: skip
    assert result["failed"]
    assert "ML-cpu-vm-04 was left on esx-05" in result["msg"]
    assert "ML-cpu-vm-04" in result["left_behind"]
    assert fast_lab.where()["ML-cpu-vm-04"] == HOST


def test_transient_faults_and_lost_sessions_are_survived(fast_lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    fast_lab.post("faults", vm="ML-cpu-vm-06", times=2, fault="TaskInProgress")
    plan = run_module("migration_plan", fast_lab, host=HOST, state_dir=str(tmp_path))
    fast_lab.post("calls/reset")

    def expire_when_moving() -> None:
        while not fast_lab.get("state")["moves"]:
            time.sleep(0.01)
        fast_lab.post("sessions/expire")

    threading.Thread(target=expire_when_moving, daemon=True).start()
    result = run_module(
        "vm_migrate", fast_lab, plan=plan["plan"], purpose="evacuate", host=HOST, state_dir=str(tmp_path),
        experiments=NO_EXPERIMENTS,
    )  # fmt: skip
    assert not result.get("failed"), result["msg"]
    assert fast_lab.on(HOST) == set()
    assert fast_lab.get("calls")["Login"] == 2
    moves = Counter((move["vm"], move["result"]) for move in fast_lab.get("state")["moves"])
    assert moves.pop(("ML-cpu-vm-06", "error")) == 2
    assert set(moves.values()) == {1}


def test_bad_input_gives_one_clear_sentence(fast_lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    plan = run_module("migration_plan", fast_lab, host=HOST, state_dir=str(tmp_path))["plan"]
    edited = {**plan, "moves": plan["moves"][:1]}
    cases = {
        "vCenter has no host named esx-55": ("host_info", {"host": "esx-55"}),
        "Did you mean esx-05?": ("host_info", {"host": "esx-50"}),
        "vCenter shows the host 10.2.0.15 as esx-05. Set host to that name.": ("host_info", {"host": "10.2.0.15"}),
        "as esx-05. Set fault_domains to that name": (
            "migration_plan",
            {"host": HOST, "fault_domains": {"10.2.0.15": "a"}},
        ),
        "Did you mean /DC-west/vm/": ("migration_plan", {"vms": ["/DC-west/vm/none/ML-cpu-vm-05"]}),
        "No VM has a custom attribute named nothing.": ("migration_plan", {"attributes": {"nothing": "x"}}),
        "is a virtual machine": ("migration_plan", {"host": "ML-cpu-vm-04"}),
        "refused the login": ("host_info", {"password": "wrong-secret"}),
        "cannot be reached": ("host_info", {"port": 1}),
        "cannot be verified": ("host_info", {"ca_path": "/etc/ssl/certs/ca-certificates.crt"}),
        "ca_path": ("host_info", {"ca_path": "/nowhere.pem"}),
        "slots is 9": ("vm_migrate", {"plan": plan, "slots": 9, "state_dir": str(tmp_path)}),
        "does not match its plan_id": ("vm_migrate", {"plan": edited, "state_dir": str(tmp_path)}),
        "No run found": ("evidence_report", {"run_id": "nope", "state_dir": str(tmp_path)}),
        "memory_headroom": ("migration_plan", {"host": HOST, "memory_headroom": 100}),
    }
    before = fast_lab.where()
    for text, (name, arguments) in cases.items():
        result = run_module(name, None if name == "evidence_report" else fast_lab, **arguments)
        assert result["failed"], (text, result)
        assert text in result["msg"], result["msg"]
        assert "Traceback" not in json.dumps(result)
        assert "wrong-secret" not in result["msg"]
    assert fast_lab.where() == before


def test_a_right_login_may_be_refused_once(fast_lab: Lab, run_module: RunModule) -> None:
    fast_lab.post("calls/refuse", call="Login", fault="InvalidLogin", times=1)
    assert run_module("host_info", fast_lab, host=HOST)["hosts"]


def test_a_session_that_only_seems_to_have_ended_is_no_refused_login(fast_lab: Lab, run_module: RunModule) -> None:
    """vCenter refuses a login in a session that lives."""

    def hide(fault: str) -> None:
        fast_lab.post("hide", object=HOST, paths=["runtime.inMaintenanceMode"], fault=fault)

    def show_after_a_second_login() -> None:
        until(lambda: fast_lab.get("calls").get("Login", 0) >= 2)
        hide("none")

    hide("NotAuthenticated")
    fast_lab.post("calls/reset")
    shown = threading.Thread(target=show_after_a_second_login)
    shown.start()
    result = run_module("host_info", fast_lab, host=HOST)
    shown.join()
    assert result["hosts"][0]["maintenance"] == "normal", result


def test_the_restricted_user_moves_vms_but_cannot_fence(fast_lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    who = {"username": fast_lab.answer["restricted"]["user"], "password": fast_lab.answer["restricted"]["password"]}
    refused = run_module("host_maintenance", fast_lab, host=HOST, state="fenced", **who)
    assert "Host.Config.Maintenance" in refused["msg"]
    skipped = run_module("host_maintenance", fast_lab, host=HOST, state="fenced", when_not_permitted="skip", **who)
    assert (skipped["changed"], skipped["permitted"]) == (False, False)
    assert skipped["message"].startswith("not fenced")
    plan = run_module("migration_plan", fast_lab, vms=["ML-cpu-vm-07"], policy="other_only", state_dir=str(tmp_path))
    moved = run_module(
        "vm_migrate", fast_lab, plan=plan["plan"], purpose="evacuate", state_dir=str(tmp_path),
        experiments=NO_EXPERIMENTS, **who,
    )  # fmt: skip
    assert [m["result"] for m in moved["moves"]] == ["moved"]
    homes = run_module("placement", fast_lab, state_dir=str(tmp_path))["placements"]
    assert [(p["vm"], p["home"]) for p in homes] == [("ML-cpu-vm-07", HOST)]


def test_experiments_are_looked_for_where_guests_say(fast_lab: Lab, run_module: RunModule) -> None:
    result = run_module("experiment_info", fast_lab, host=HOST)
    assert result["experiments"] == []
    assert "no server listens" in result["unobserved"]["ML-cpu-vm-04"]


def test_an_approved_plan_is_carried_out_and_gone_on_with_or_refused(
    fast_lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    first = {"host": HOST, "state_dir": str(tmp_path / "first")}
    plan = run_module("migration_plan", fast_lab, **first)
    whole, by_id = {"approved": plan["plan"], "plan_id": plan["plan_id"]}, {"plan_id": plan["plan_id"]}
    for options in (whole, by_id):
        assert run_module("migration_plan", fast_lab, **first, **options)["plan"] == plan["plan"]

    fast_lab.post("faults", vm="ML-cpu-vm-05", times=1, fault="NotSupported")
    run = {"purpose": "evacuate", "experiments": NO_EXPERIMENTS, "slots": 2}
    stopped = run_module("vm_migrate", fast_lab, plan=plan["plan"], **run, **first)
    assert "ML-cpu-vm-05" in stopped["msg"]
    left = fast_lab.on(HOST)
    assert 0 < len(left) < len(plan["moves"])

    other = {"host": HOST, "state_dir": str(tmp_path / "other")}
    for place, options in ((first, whole), (first, by_id), (other, whole)):
        rest = run_module("migration_plan", fast_lab, **place, **options)
        assert {move["vm_name"] for move in rest["moves"]} == left
    lost = run_module("migration_plan", fast_lab, **other, **by_id)["msg"]
    assert f"plan {plan['plan_id']} was approved, planning now gives plan" in lost, (
        "only the journal shows it has begun"
    )
    moved = run_module("vm_migrate", fast_lab, plan=rest["plan"], **run, **other)
    assert {m["vm"] for m in moved["moves"]} == left
    wanted = {move["vm_name"]: move["target_name"] for move in plan["moves"]}
    assert {name: fast_lab.where()[name] for name in wanted} == wanted
    assert run_module("migration_plan", fast_lab, **other, **whole)["moves"] == []

    arrival = next(name for host in ("esx-01", "esx-02", "esx-03") for name in sorted(fast_lab.on(host) - set(wanted)))
    fast_lab.post(f"vms/{arrival}", action="move", target=HOST, instant=True)
    for place, options in ((first, by_id), (other, whole)):
        drifted = run_module("migration_plan", fast_lab, **place, **options)["msg"]
        assert f"{arrival}: it would move to" in drifted
        assert "which was not approved" in drifted
    edited = {**plan["plan"], "moves": plan["plan"]["moves"][1:]}
    assert "does not match its plan_id" in run_module("migration_plan", fast_lab, **other, approved=edited)["msg"]
    another = run_module("migration_plan", fast_lab, **other, approved=plan["plan"], plan_id="0" * 64)
    assert "Set approved to the plan of this id" in another["msg"]
    assert "64 hexadecimal" in run_module("migration_plan", fast_lab, **other, plan_id="latest")["msg"]


def test_a_fault_domain_is_planned_to_targets_outside_of_it(
    fast_lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    state = fast_lab.get("state")
    inside = {name for name, host in state["hosts"].items() if host["fault_domain"] == "us-west-2b"}
    plan = run_module("migration_plan", fast_lab, fault_domain="us-west-2b", state_dir=str(tmp_path))
    assert {m["source_name"] for m in plan["moves"]} == inside == {"esx-04", "esx-05", "esx-06"}
    assert not {m["target_name"] for m in plan["moves"]} & inside
    one = run_module("migration_plan", fast_lab, host="esx-05", approved=plan["plan"], state_dir=str(tmp_path))
    assert {m["vm"]: m["target"] for m in one["moves"]} == {
        m["vm"]: m["target"] for m in plan["moves"] if m["source_name"] == "esx-05"
    }
    unknown = run_module("migration_plan", fast_lab, fault_domain="us-west-2d", state_dir=str(tmp_path))
    assert "No host is in a fault domain named us-west-2d. Did you mean us-west-2" in unknown["msg"]
