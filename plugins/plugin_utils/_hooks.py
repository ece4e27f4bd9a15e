# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can change at any time.

"""Hooks for messages as people write them. Nothing checks their types before, because a role's variables are only lists to Ansible."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.errors import UnsupportedError
from ansible_collections.liveml.vsphere.plugins.module_utils._display.deliveries import complaint
from ansible_collections.liveml.vsphere.plugins.module_utils._display.messages import Hook
from ansible_collections.liveml.vsphere.plugins.plugin_utils._variables import options_of


def typed_hooks(hooks: Any) -> list[Hook]:
    """The hooks, each value in the type of its key. Raises ValueError with a sentence if one cannot work."""
    if not isinstance(hooks, list | tuple) or not all(isinstance(hook, Mapping) for hook in hooks):
        raise ValueError("Hooks must be a list of dictionaries, each with a kind.")
    for hook in hooks:
        if wrong := complaint(hook):
            raise ValueError(wrong)
    return [_typed(hook) for hook in hooks]


def _typed(hook: Hook) -> Hook:
    """The hook with the values that it was given, in the types of the role notify. Raises ValueError."""
    spec = options_of("notify")["notify_hooks"]["options"]
    checked = ArgumentSpecValidator(spec).validate(dict(hook))
    wrong = [str(error.msg) for error in checked.errors if not isinstance(error, UnsupportedError)]
    if wrong:
        raise ValueError(f"A hook of kind {hook['kind']} is wrong: {' '.join(wrong[0].split()).rstrip('.')}.")
    return {key: checked.validated_parameters[key] for key in hook}
