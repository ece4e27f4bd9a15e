# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action plugin: lines are shown while the module works, and only where its file is within reach."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.action import vm_migrate


class Module(vm_migrate.ActionModule):
    """The plugin with a connection of a kind and a module that writes two lines."""

    def __init__(self, transport: str) -> None:
        self._task = SimpleNamespace(args={"slots": 2}, async_val=0)
        self._connection = SimpleNamespace(transport=transport)
        self.arguments: dict[str, Any] = {}
        self.shown: list[str] = []

    def _execute_module(self, module_args: dict[str, Any], task_vars: object) -> dict[str, Any]:
        self.arguments = module_args
        if "progress_path" in module_args:
            with open(module_args["progress_path"], "a", encoding="utf-8") as stream:
                stream.write("1 planned\n2 half a li")
                stream.flush()
                time.sleep(0.3)
                self.seen_before_the_end = list(self.shown)
                stream.write("ne\n")
        return {"changed": True}


@pytest.fixture(autouse=True)
def _plain_base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vm_migrate.ActionBase, "run", lambda *_arguments: {"invocation": "kept"})


def test_lines_are_shown_while_the_module_works(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Module("local")
    monkeypatch.setattr(vm_migrate.display, "display", module.shown.append)
    assert module.run() == {"invocation": "kept", "changed": True}
    assert module.seen_before_the_end == ["  1 planned"]
    assert module.shown == ["  1 planned", "  2 half a line"]
    assert module.arguments["slots"] == 2
    assert not Path(module.arguments["progress_path"]).exists()


def test_elsewhere_the_module_runs_without_lines() -> None:
    module = Module("ssh")
    assert module.run()["changed"] is True
    assert module.arguments == {"slots": 2}


def test_the_file_goes_when_the_module_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Module("local")

    def raising(module_args: dict[str, Any], task_vars: object) -> dict[str, Any]:
        module.arguments = module_args
        raise OSError("no such interpreter")

    monkeypatch.setattr(module, "_execute_module", raising)
    with pytest.raises(OSError, match="no such interpreter"):
        module.run()
    assert not Path(module.arguments["progress_path"]).exists()
