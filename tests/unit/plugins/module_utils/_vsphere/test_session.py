# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a connection to vCenter may break while VMs move."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import LoginRefused
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.client import Silence
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.session import VcenterSession


class RefusedClient:
    """A session that ended, and whose password was changed meanwhile."""

    renewed = 0
    content = None

    def __init__(self) -> None:
        self.asked = 0

    def silence(self) -> Silence:
        return Silence(60)

    def call(self, what: str, action: Callable[[], Any], *, once: bool = False) -> Any:
        if what != "wait for updates of tasks":
            return object()
        self.asked += 1
        raise LoginRefused("wrong password")


def test_a_login_that_is_refused_during_a_run_ends_the_wait_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    client = RefusedClient()
    vsphere = VcenterSession(client)  # type: ignore[arg-type]
    monkeypatch.setattr(vsphere._following, "_renew_collector", lambda: None)
    with pytest.raises(LoginRefused):
        vsphere.updates(10)
    assert client.asked == 1
