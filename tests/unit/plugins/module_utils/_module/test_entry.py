# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every module does before its own work: numbers are finite, and secrets leave the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible_collections.liveml.vsphere.plugins.module_utils._core.codec import Malformed, decoded
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._core.urls import secrets_in
from ansible_collections.liveml.vsphere.plugins.module_utils._module import entry
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import CONNECTION_SPEC, EXPERIMENT_SPEC
from ansible_collections.liveml.vsphere.plugins.module_utils._module.vcenter_entry import connection_of
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import Stall

from tests.canaries import MODULES
from tests.labs import ROOT, RunModule

NOT_FINITE = ("inf", "-inf", "nan", "1e999")


def spec_of(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The argument spec with which a module calls its entry, as Ansible gets it."""
    module = import_module(f"ansible_collections.liveml.vsphere.plugins.modules.{name}")
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(module, "run_local", lambda spec, _body, **_options: seen.append(spec), raising=False)
    monkeypatch.setattr(
        module, "run_module", lambda spec, _body, **_options: seen.append({**CONNECTION_SPEC, **spec}), raising=False
    )
    module.main()
    monkeypatch.undo()
    return seen[0]


def floats(spec: Mapping[str, Any], *within: str) -> Iterator[tuple[str, ...]]:
    for name, option in spec.items():
        if option["type"] == "float":
            yield (*within, name)
        yield from floats(option.get("options", {}), *within, name)


def needed(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Values for what a module needs."""
    usual = {"dict": {}, "list": [], "str": "some-text", "path": "/nowhere", "int": 1, "float": 1.0, "bool": False}
    return {
        name: option.get("choices", [usual[option["type"]]])[0]
        for name, option in spec.items()
        if option.get("required")
    }


@pytest.mark.parametrize("name", MODULES)
def test_no_module_takes_a_number_that_is_not_finite(
    name: str, run_module: RunModule, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither vCenter nor the state directory is touched: both do not exist."""
    spec = spec_of(name, monkeypatch)
    for path in floats(spec):
        for value in NOT_FINITE:
            given: Any = float(value)
            for key in reversed(path):
                given = [{"provider": "mlflow", **given}] if key == "sources" else {key: given}
                given = {"sources": given} if isinstance(given, list) else given
            state = {"state_dir": str(tmp_path / "none")} if "state_dir" in spec else {}
            result = run_module(name, **{**needed(spec), **state, **given})
            assert result["failed"]
            assert f"{'.'.join(path)} must be a finite number" in result["msg"]
            assert result["option"] == path[0]
    assert list(tmp_path.iterdir()) == []


def test_numbers_of_free_mappings_are_finite_too(run_module: RunModule) -> None:
    result = run_module(
        "vm_migrate", hostname="x", username="someone", password="some-text", plan={"moves": [{"s": float("inf")}]}
    )
    assert "plan.moves.s must be a finite number (found inf)" in result["msg"]


def test_a_record_with_a_number_that_is_not_finite_is_malformed() -> None:
    with pytest.raises(Malformed, match=r"Stall\.low is not a finite number"):
        decoded(Stall, {"seconds": 1.0, "low": float("nan"), "high": 1.0})


def test_passwords_leave_the_environment_once_the_options_have_them(
    run_module: RunModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no program that a module starts gets them."""
    names = set(entry.secret_variables({**CONNECTION_SPEC, **EXPERIMENT_SPEC}))
    assert names == {"VMWARE_PASSWORD", "H2O_PASSWORD"}
    role = yaml.safe_load((ROOT / "roles" / "publish_evidence" / "vars" / "main.yml").read_text())
    assert set(role["__publish_evidence_environment"]) == names, "programs that the role starts get none either"
    for name in names:
        monkeypatch.setenv(name, "CANARY")
    run_module("placement", hostname="127.0.0.1", port=1, username="x", vcenter_patience=0)
    run_module("evidence_report", state_dir="/nowhere")
    assert "CANARY" not in os.environ.values()


BAD_URLS = (
    "https://bob:CANARY@x.example.com", "https://CANARY@x.example.com", "https://:CANARY@x.example.com", "bob:CANARY@x",
    "https://bob:CANARY/x@x.example.com", "https://bob:CANARY?x@x.example.com", "https://bob:x@CANARY@x.example.com",
    "https://bob:CANARY%40x@x.example.com", "https://x.example.com?x=CANARY", "https://x.example.com?a&CANARY&b",
    "https://x.example.com?x=a@CANARY", "https://x.example.com#CANARY", "https://[::1?token=CANARY",
    "https://{address}:CANARY@:5000", " https://bob:CANARY@x.example.com\n",
)  # fmt: skip


@pytest.mark.parametrize("wrong", [{}, {"wait_timeout": "no-number"}], ids=["right", "wrong"])
@pytest.mark.parametrize("url", BAD_URLS)
def test_a_secret_in_a_url_is_in_no_result_although_ansible_adds_the_options(
    url: str, wrong: dict[str, str], run_module: RunModule, tmp_path: Path
) -> None:
    """With -vvv and in events of AWX each result has the options. Ansible hides those that are ``no_log``, and a URL is not."""
    source = {"provider": "mlflow", "url": url}
    result = run_module(
        "experiment_wait", state_dir=str(tmp_path), experiments={"sources": [source]}, _ansible_inject_invocation=True,
        **wrong,
    )  # fmt: skip
    assert result["failed"]
    assert "sources" in str(result["invocation"]), "the options are there"
    assert "CANARY" not in str(result)


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_login_in_the_url_of_a_vcenter_is_in_no_result(url: str, run_module: RunModule) -> None:
    result = run_module(
        "host_info", hostname=url, username="someone", password="some-text", _ansible_inject_invocation=True
    )
    assert result["failed"]
    assert "CANARY" not in str(result)


def test_what_is_no_secret_of_a_url_stays() -> None:
    assert (
        secrets_in({"url": "http://x.example.com:80/a", "plan": {"why": "a@b"}, "query": "up{a='http://x?y'}"}) == set()
    )
    assert secrets_in({"sources": [{"url": "http://x?abcd=1&b=2"}]}) == {"abcd=1&b=2", "abcd=1"}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"hostname": ""}, "hostname (VMWARE_HOST) is empty"),
        ({"hostname": "  "}, "hostname (VMWARE_HOST) is empty"),
        ({"password": "", "username": ""}, "username (VMWARE_USER) and password (VMWARE_PASSWORD) are empty"),
        ({"hostname": "vc/other"}, "Set it to vc."),
        ({"port": 0}, "port (VMWARE_PORT) is 0."),
    ],
)
def test_a_login_that_cannot_be_used_fails_before_anybody_is_asked(changed: dict[str, Any], said: str) -> None:
    login = {"hostname": "vc", "username": "me", "password": "pw", "port": 443, "validate_certs": True, "ca_path": None}
    with pytest.raises(InvalidInput) as caught:
        connection_of(login | changed)
    assert said in str(caught.value)


def test_the_url_of_a_vcenter_is_its_address() -> None:
    login = {"username": "me", "password": "pw", "port": 443, "validate_certs": True, "ca_path": None}
    found = connection_of({"hostname": "https://vc:8443/sdk", **login})
    assert (found.host, found.port, found.user) == ("vc", 8443, "me")


@pytest.mark.parametrize("value", [[True], [5], {"sources": [True]}, {"sources": True}])
def test_what_should_be_a_dictionary_and_is_not_is_one_clear_error(run_module: RunModule, value: object) -> None:
    login = {"hostname": "127.0.0.1", "username": "u", "password": "a-secret-password"}
    failed = run_module("vm_witness", window=1.0, host="esx-05", experiments=value, **login)
    assert failed["failed"] is True
    assert "experiments" in failed["msg"] or "sources" in failed["msg"], failed["msg"]
    assert "Traceback" not in str(failed)
    assert "a-secret-password" not in str(failed)


@pytest.mark.parametrize("wanted", [True, False])
def test_a_diff_is_returned_only_in_diff_mode(wanted: bool) -> None:
    returned: dict[str, Any] = {}
    module: Any = SimpleNamespace(_diff=wanted, exit_json=lambda **result: returned.update(result))
    entry.finish(module, {"diff": {"before": "a", "after": "b"}, "other": 1})
    assert ("diff" in returned) is wanted
    assert returned["other"] == 1
