# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The least-privilege role: made by its playbook, enough for a round trip, and nothing in it that a round trip does not use."""

from __future__ import annotations

from pathlib import Path

from tests.labs import ROOT, Lab, RunModule, play

PRINCIPAL = r"VSPHERE.LOCAL\operator"


def test_the_role_is_enough_and_no_more(tmp_path: Path, fast_lab: Lab, run_module: RunModule) -> None:
    login = fast_lab.answer["operator"]
    who = {"username": login["user"], "password": login["password"]}
    operator = Lab({**fast_lab.answer, "env": {**fast_lab.env, **logins(login)}})
    assert "has no permission there" in run_module("host_info", fast_lab, **who)["msg"]

    made = {"operator_role_principal": PRINCIPAL, "operator_role_maintenance": False, "operator_role_homes": False}
    for options, sign in ((("--check",), "changed=1"), ((), "changed=2")):
        out = play("create_role", fast_lab, tmp_path, *options, **made)
        assert out.returncode == 0, out.stdout
        assert sign in out.stdout
    refused = run_module("host_maintenance", fast_lab, host="esx-05", state="fenced", **who)
    assert "Host.Config.Maintenance" in refused["msg"]

    for sign in ("changed=2", "changed=0"):
        out = play("create_role", fast_lab, tmp_path, operator_role_principal=PRINCIPAL)
        assert out.returncode == 0, out.stdout
        assert sign in out.stdout
    before = fast_lab.where()
    out = play("round_trip", operator, tmp_path, evacuate_host_name="esx-05")
    assert out.returncode == 0, out.stdout
    assert out.stdout.count("10 moved, 0 failed") == 2
    assert fast_lab.where() == before
    demanded = set(fast_lab.get("privileges")[login["user"]]) - {"System.View", "System.Anonymous"}
    assert demanded == privileges(), "the role holds what was demanded, and nothing else"


def logins(login: dict[str, str]) -> dict[str, str]:
    return {"VMWARE_USER": login["user"], "VMWARE_PASSWORD": login["password"]}


def privileges() -> set[str]:
    """What the README of the role says that it holds."""
    rows = (ROOT / "roles" / "operator_role" / "README.md").read_text().split("| privilege |")[1]
    named = {line.split("`")[1] for line in rows.splitlines() if line.startswith("| `")}
    return {name for name in named if not name.startswith("System.")}
