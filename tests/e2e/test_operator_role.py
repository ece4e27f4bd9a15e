# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The least-privilege role is made by its playbook, with what is asked for. That it is enough and no more shows tests/docs."""

from __future__ import annotations

from pathlib import Path

from tests.labs import Lab, RunModule, play

PRINCIPAL = r"VSPHERE.LOCAL\operator"
LEAST = {"operator_role_principal": PRINCIPAL, "operator_role_maintenance": False, "operator_role_homes": False}


def test_the_role_is_made_changed_and_left_alone(tmp_path: Path, fast_lab: Lab, run_module: RunModule) -> None:
    login = fast_lab.answer["operator"]
    who = {"username": login["user"], "password": login["password"]}
    assert "but has no permissions there" in run_module("host_info", fast_lab, **who)["msg"]

    for options, sign in ((("--check",), "changed=1"), ((), "changed=2")):
        out = play("create_role", fast_lab, tmp_path, *options, **LEAST)
        assert out.returncode == 0, out.stdout
        assert sign in out.stdout
    refused = run_module("host_maintenance", fast_lab, host="esx-05", state="fenced", **who)
    assert "Grant the privilege Host.Config.Maintenance" in refused["msg"]

    for sign in ("changed=2", "changed=0"):
        out = play("create_role", fast_lab, tmp_path, operator_role_principal=PRINCIPAL)
        assert out.returncode == 0, out.stdout
        assert sign in out.stdout
    assert run_module("host_maintenance", fast_lab, host="esx-05", state="fenced", **who)["maintenance"] == "entering"

    out = play("create_role", fast_lab, tmp_path, operator_role_principal=r"VSPHERE.LOCAL\nobody")
    assert out.returncode != 0
