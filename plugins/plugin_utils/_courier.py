# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can change at any time.

"""Sends messages from an action plugin, by the modules of their kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.plugins.loader import module_loader
from ansible_collections.liveml.vsphere.plugins.module_utils._core.untrusted import printable
from ansible_collections.liveml.vsphere.plugins.module_utils._display.deliveries import (
    MODULES,
    attachments,
    delivery,
    without_secrets,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._display.messages import Hook, Message
from ansible_collections.liveml.vsphere.plugins.plugin_utils._hooks import typed_hooks


def checked_hooks(hooks: Any) -> list[Hook]:
    """The hooks, each value in the type of its key. Raises ValueError with a sentence if one cannot work.

    It cannot either if a collection is not installed.
    """
    found = typed_hooks(hooks)
    for kind in (hook["kind"] for hook in found):
        module = MODULES[kind]
        collection = module.rpartition(".")[0]
        if collection != "ansible.builtin" and not module_loader.find_plugin_with_context(module).resolved:
            raise ValueError(
                f"A hook of kind {kind} needs the module {module}, which is not installed. "
                f"Run ansible-galaxy collection install {collection}, or use kind webhook."
            )
    return found


class Courier:
    """Sends messages with the connection of an action. The modules log nothing, because messages and hooks are confidential."""

    def __init__(self, action: ActionBase, hooks: Sequence[Hook], task_vars: Mapping[str, Any]) -> None:
        self._action = action
        self._hooks = hooks
        self._task_vars = dict(task_vars)
        self._local = action._connection.transport == "local"

    def send(self, message: Message) -> str:
        """Send a message; returns why it was not sent, "" if it was."""
        hook = self._hooks[message.hook]
        # A message without the file is better than none: the report may be gone, or too large for the server.
        exists = not self._local or all(Path(path).is_file() for path in attachments(hook, message))
        first = delivery(hook, message, attach=exists)
        why = self._run(first.module, first.arguments)
        if why and first.attached:
            plain = delivery(hook, message, attach=False)
            why = self._run(plain.module, plain.arguments)
        return printable(without_secrets(hook, why))

    def _run(self, module: str, arguments: dict[str, Any]) -> str:
        task = self._action._task
        self._action._task = task.copy()
        self._action._task.no_log = True
        try:
            result = self._action._execute_module(module_name=module, module_args=arguments, task_vars=self._task_vars)
        finally:
            self._action._task = task
        failed = result.get("failed") or bool(result.get("result"))  # of mail: recipients that were refused
        return str(result.get("msg") or "no reason was given") if failed else ""
