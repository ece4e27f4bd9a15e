# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets that are easy to find: the options that take one, a value for each, and a search of everything for them."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch
from urllib.parse import quote

from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import (
    CONNECTION_SPEC,
    EXPERIMENT_OPTIONS,
    OTHER_VCENTER_OPTIONS,
)
from ansible_collections.liveml.vsphere.plugins.plugin_utils._variables import options_of

from tests.labs import ROOT

Options = Mapping[str, Mapping[str, Any]]
Place = tuple[str, ...]


def module_options(name: str) -> Options:
    """The options of a module, as it gives them to Ansible."""
    module = import_module(f"ansible_collections.liveml.vsphere.plugins.modules.{name}")
    seen: list[Options] = []
    with (
        patch.object(module, "run_local", lambda spec, _body, **_o: seen.append(spec), create=True),
        patch.object(
            module, "run_module", lambda spec, _b, **_o: seen.append({**CONNECTION_SPEC, **spec}), create=True
        ),
    ):
        module.main()
    return seen[0]


def role_options(name: str) -> Options:
    """The options of a role, of all its entry points."""
    return dict(options_of(name))


ON_THE_CONTROLLER = {
    "send_messages",
    "show_lines",
    "variable_check",
}  # action plugins, whose module file is documentation only
MODULES = sorted(
    path.stem for path in (ROOT / "plugins" / "modules").glob("*.py") if path.stem not in ON_THE_CONTROLLER
)
ROLES = sorted(path.parent.parent.name for path in ROOT.glob("roles/*/meta/argument_specs.yml"))
# Mappings whose keys a spec does not list: what they are, by the end of their name. None has no secrets.
SHAPES: Mapping[str, Options | None] = {
    "fields": None,  # of a ticket
    "notify_result": None,  # of a module
    "notify_excerpts": None,  # paths
    "_experiments": EXPERIMENT_OPTIONS,
    "notify_options": EXPERIMENT_OPTIONS,
    "verify_experiments_options": EXPERIMENT_OPTIONS,
    "_notify": role_options("notify")["notify_hooks"]["options"],
    "hooks": role_options("notify")["notify_hooks"]["options"],
    "_evidence_upload": role_options("publish_evidence")["publish_evidence_to"]["options"],
    "_destination_vcenter": OTHER_VCENTER_OPTIONS,
    "_approved": None,
    "_artifact": None,
    "_fault_domains": None,
    "_disk_datastores": None,
    "_folder_map": None,
    "_network_map": None,
    "_pool_map": None,
    "_aliases": None,
    # of modules
    "addresses": None,
    "owners": None,
    "plan": None,
    "approved": None,
    "artifact": None,
    "attributes": None,
    "fault_domains": None,
    "disk_datastores": None,
    "folder_map": None,
    "network_map": None,
    "pool_map": None,
    "defaults": None,
}


# What such an option takes is a secret, also if its spec does not say so.
SECRET_NAME = re.compile(r"passw|token|secret|passphrase|headers|api_?key")


def is_named_like_a_secret(name: str, option: Mapping[str, Any]) -> bool:
    """Whether the name of an option says that it takes a secret."""
    return bool(SECRET_NAME.search(name)) and option["type"] in ("str", "dict", "raw")


def secret_places(options: Options, within: Place = ()) -> Iterator[Place]:
    """Where an option takes a secret. Raises LookupError for a mapping of which nobody said what it contains."""
    for name, option in options.items():
        mapping = "dict" in (option["type"], option.get("elements"))
        if option.get("no_log") or is_named_like_a_secret(name, option):
            yield (*within, name)
        elif inner := option.get("options") or (shape_of(name) if mapping else None):
            yield from secret_places(inner, (*within, name))


def shape_of(name: str) -> Options | None:
    """The options within a mapping, by its name."""
    for end, shape in SHAPES.items():
        if name == end or (end.startswith("_") and name.endswith(end)):
            return shape
    raise LookupError(f"Say in {Path(__file__).name} which secrets the mapping {name} takes")


@dataclass
class Hit:
    """A secret that was found: where, and which."""

    where: str
    secret: str

    def __str__(self) -> str:
        return f"{self.secret} in {self.where}"


@dataclass
class Search:
    """Looks for secrets in texts and counts what it looked at. A secret is found in each form that programs make of it."""

    secrets: dict[str, str]  # by name
    hits: list[Hit] = field(default_factory=list)
    files: int = 0
    events: int = 0
    processes: int = 0

    def __post_init__(self) -> None:
        forms = {form: name for name, value in self.secrets.items() for form in forms_of(value)}
        self._forms = {form.encode(): name for form, name in forms.items()}
        self._pattern = re.compile(b"|".join(re.escape(form) for form in sorted(self._forms, key=len, reverse=True)))

    def look(self, data: bytes, where: str) -> None:
        """Look into some bytes."""
        found = {self._forms[match[0]] for match in self._pattern.finditer(data)}
        self.hits += [Hit(where, name) for name in sorted(found)]

    def look_into(self, folder: Path, *without: str) -> None:
        """Look into each file below a folder; ``without`` are folders in it that hold what the test itself wrote."""
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.relative_to(folder).parts[0] not in without:
                self.files += 1
                self.look(path.read_bytes(), str(path.relative_to(folder)))

    def look_at(self, event: Mapping[str, Any]) -> None:
        """Look into an event of a job."""
        self.events += 1
        self.look(json.dumps(event, default=str).encode(), f"event {event.get('counter')} ({event.get('event')})")


def forms_of(value: str) -> set[str]:
    """A secret, as JSON, as a part of a URL, and encoded for basic authentication whatever stands before it."""
    encoded = {base64.b64encode(b" " * shift + value.encode()).decode()[4:-4] for shift in range(3)}
    return {value, json.dumps(value)[1:-1], quote(value, safe=""), repr(value)[1:-1], *encoded}


class Processes:
    """Looks at the arguments and the environment of all processes, again and again while the context lasts."""

    def __init__(self, search: Search, *, environment: bool) -> None:
        self._search = search
        self._names = ["cmdline", "environ"] if environment else ["cmdline"]
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """End."""
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        known: set[tuple[str, bytes]] = set()
        while not self._done.is_set():
            for folder in Path("/proc").glob("[0-9]*"):
                for name in self._names:
                    try:
                        data = (folder / name).read_bytes()
                    except OSError:
                        continue  # it has ended, or belongs to somebody else
                    if (name, data) not in known:
                        known.add((name, data))
                        self._search.processes += name == "cmdline"
                        self._search.look(
                            data, f"{name} of {data[:60]!r}" if name == "cmdline" else f"{name} of a process"
                        )
            time.sleep(0.2)
