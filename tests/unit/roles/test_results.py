# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A role that is called again, for another host, knows nothing of the results of its call before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from tests.labs import ROOT

RUNS = ("evacuate_host", "restore_host", "migrate_vm", "internal")
CHECKED = "__internal_checked"  # of the first task, so it is of this call


def tasks_in(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for task in tasks:
        yield task
        for part in ("block", "rescue", "always"):
            yield from tasks_in(task.get(part, []))


def test_each_result_of_a_run_is_reset_when_the_next_call_begins() -> None:
    files = [path for role in RUNS for path in (ROOT / "roles" / role / "tasks").glob("*.yml")]
    registered = {task.get("register") for path in files for task in tasks_in(yaml.safe_load(path.read_text()))}
    check = yaml.safe_load((ROOT / "roles/internal/tasks/check.yml").read_text())
    assert check[0]["register"] == CHECKED
    assert registered - {None, CHECKED} <= check[1]["ansible.builtin.set_fact"].keys()
