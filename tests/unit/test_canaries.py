# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The search for secrets finds each form of a secret, and knows every option that takes one."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.canaries import (
    MODULES,
    ROLES,
    Options,
    Processes,
    Search,
    is_named_like_a_secret,
    module_options,
    role_options,
    secret_places,
)

SECRET = 'a"secret/of mine'
URL = "a%22secret%2Fof%20mine"


def hits(text: str) -> list[str]:
    search = Search({"token": SECRET, "other": "never-there"})
    search.look(text.encode(), "here")
    return [str(hit) for hit in search.hits]


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f"x{SECRET}y",
        json.dumps({"a": SECRET}),
        f"https://x/{URL}",
        *(base64.b64encode(f"{user}:{SECRET}".encode()).decode() for user in ("a", "ab", "abc", "abcd")),
        base64.b64encode(SECRET.encode()).decode(),
    ],
)
def test_a_secret_is_found_in_each_form(text: str) -> None:
    assert hits(text) == ["token in here"]


def test_other_text_is_not_a_secret() -> None:
    assert hits("a secret of mine, YSBzZWNyZXQ") == []


def test_files_and_events_are_searched_and_counted(tmp_path: Path) -> None:
    search = Search({"token": SECRET})
    for name in ("env/extravars", "artifacts/1/job_events/7-a.json", "artifacts/1/stdout"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps({"token": SECRET}))
    search.look_into(tmp_path, "env")
    search.look_at({"counter": 3, "event": "runner_on_ok", "event_data": {"item": {"password": SECRET}}})
    assert (search.files, search.events) == (2, 1)
    assert [hit.where for hit in search.hits] == [
        "artifacts/1/job_events/7-a.json", "artifacts/1/stdout", "event 3 (runner_on_ok)"
    ]  # fmt: skip


@pytest.mark.parametrize("place", ["arguments", "environment"])
def test_arguments_and_environment_of_processes_are_searched(place: str) -> None:
    search = Search({"token": "a-canary-of-this-test"})
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    child = subprocess.Popen(
        [*sleep, "a-canary-of-this-test"] if place == "arguments" else sleep,
        env={"X": "a-canary-of-this-test"} if place == "environment" else {},
    )
    try:
        with Processes(search, environment=True):
            end = time.monotonic() + 20
            while not search.hits and time.monotonic() < end:
                time.sleep(0.05)
    finally:
        child.kill()
        child.wait()
    assert search.hits
    assert search.processes > 1


def test_every_option_that_takes_a_secret_is_known() -> None:
    """A mapping without a list of its keys fails here until somebody says what it contains."""
    roles = {role: {".".join(place) for place in secret_places(role_options(role))} for role in ROLES}
    modules = {name: {".".join(place) for place in secret_places(module_options(name))} for name in MODULES}
    assert {
        "evacuate_host_experiments.sources.token",
        "evacuate_host_notify.headers",
        "liveml_vsphere_password",
    } <= roles["evacuate_host"]
    assert "experiments.guest_password" in modules["vm_migrate"]
    forgotten = {"inner": {"type": "dict", "options": {"api_key": {"type": "str"}, "token_count": {"type": "int"}}}}
    assert list(secret_places(forgotten)) == [("inner", "api_key")]
    with pytest.raises(LookupError, match="mapping extra"):
        list(secret_places({"extra": {"type": "dict"}}))


def test_no_option_is_named_like_a_secret_without_being_one() -> None:
    """Ansible hides only what ``no_log`` names."""
    wrong = []

    def check(options: Options, within: str) -> None:
        for name, option in options.items():
            if is_named_like_a_secret(name, option) and not option.get("no_log"):
                wrong.append(within + name)
            check(option.get("options") or {}, f"{within}{name}.")

    for name in MODULES:
        check(module_options(name), f"{name}: ")
    for name in ROLES:
        check(role_options(name), f"{name}: ")
    assert wrong == []
