# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where experiments are looked for: never where a hostile guest points to, never with credentials it may steal."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._argspec import EXPERIMENT_OPTIONS
from ansible_collections.liveml.vsphere.plugins.module_utils._errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._h2o3 import JobSession
from ansible_collections.liveml.vsphere.plugins.module_utils._model import Experiment
from ansible_collections.liveml.vsphere.plugins.module_utils._providers import Providers


def providers(**settings: Any) -> Providers:
    return Providers({name: option.get("default") for name, option in EXPERIMENT_OPTIONS.items()} | settings)


@pytest.mark.parametrize(
    ("address", "settings", "refusal"),
    [
        ("10.1.2.3", {}, ""),
        ("fd00::5", {}, ""),
        ("224.0.0.1", {}, "no host's address"),
        ("169.254.169.254", {}, "no host's address"),
        ("0.0.0.0", {}, "no host's address"),
        ("evil.example.com", {}, "no usable address"),
        ("10.1.2.3", {"allowed_networks": ["10.1.0.0/16"]}, ""),
        ("10.2.2.3", {"allowed_networks": ["10.1.0.0/16"]}, "outside experiments.allowed_networks"),
        ("10.1.2.3", {"username": "alice"}, "credentials go only"),
        ("10.1.2.3", {"username": "alice", "allowed_networks": ["10.1.0.0/16"]}, ""),
    ],
)
def test_addresses_that_guests_report(address: str, settings: dict[str, Any], refusal: str) -> None:
    answer = providers(**settings)._refusal(address, credentials="username" in settings)
    assert refusal in answer
    assert bool(answer) == bool(refusal)


@pytest.mark.parametrize(
    "settings", [{"allowed_networks": ["10.0.0.0/99"]}, {"use_tls": True, "ca_path": "/nowhere.pem"}]
)
def test_settings_that_make_no_sense_name_their_option(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"experiments\."):
        providers(**settings)


def test_an_experiment_of_the_journal_finds_its_server_again() -> None:
    known = Experiment("vm-1", "ml-1", "h2o3", "job", "1", "http://[fd00::5]:54323")
    session = providers()._session(known)
    assert isinstance(session, JobSession)
    assert (session._probe.endpoint.address, session._probe.endpoint.port) == ("fd00::5", 54323)
    with pytest.raises(InvalidInput, match="no source is"):
        providers(h2o3=False)._session(known)
