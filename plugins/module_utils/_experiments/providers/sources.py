# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The registry of providers. It makes the sources of experiments from the operator's settings."""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ..._core.errors import InvalidInput
from ..._core.urls import without_secrets
from .base import Source, names_one
from .credentials import (
    goes_in_clear,
    has_secret_query,
    readable_by_others,
    refuse_unsendable,
    sends_credentials,
)
from .driverless_ai import DriverlessAi
from .exec import Exec
from .h2o3 import H2o3
from .mlflow import Mlflow
from .prometheus import Prometheus
from .tensorboard import Tensorboard

PROVIDERS: Mapping[str, type[Source]] = {
    source.provider: source for source in (DriverlessAi, Exec, H2o3, Mlflow, Prometheus, Tensorboard)
}


@dataclass(frozen=True, slots=True)
class Scoped:
    """A source and the name patterns of its VMs; without a pattern, all VMs. ``origin`` identifies it in journals."""

    origin: str
    source: Source
    vms: tuple[str, ...]
    sends_credentials: bool

    def covers(self, moid: str, name: str) -> bool:
        """Whether the source is asked about a VM."""
        return not self.vms or moid in self.vms or any(fnmatch.fnmatchcase(name, pattern) for pattern in self.vms)


def sources_of(settings: Mapping[str, Any]) -> list[Scoped]:
    """The sources of the module option ``experiments``: those for every VM that are not off, and the listed ones.

    Raises InvalidInput for settings that make no sense.
    """
    refuse_unsendable(settings, "experiments")
    everywhere = [
        Scoped(name, source(settings), (), sends_credentials(settings))
        for name, source in PROVIDERS.items()
        if not source.needs and settings[name]
    ]
    return [*everywhere, *(_scoped(source) for source in settings["sources"])]


def _scoped(settings: Mapping[str, Any]) -> Scoped:
    provider = PROVIDERS[settings["provider"]]
    if not settings[provider.needs]:
        raise InvalidInput(
            f"A source of provider {provider.provider} needs {provider.needs}",
            hint=f"Set experiments.sources.{provider.needs}",
            option="experiments",
        )
    url, secret = settings["url"] or "", sends_credentials(settings)
    if url:  # a program gets its secrets on standard input, which carries all characters
        refuse_unsendable(settings, "experiments.sources")
    if has_secret_query(url):
        raise InvalidInput(
            "The query of experiments.sources.url contains a secret, which reports would show",
            hint="Set experiments.sources.token, or username and password",
            option="experiments",
        )
    if secret and "{vm}" in _server_in(url):
        raise InvalidInput(
            "The server in experiments.sources.url depends on a VM's name, and credentials would be sent there",
            hint="Use {address} with experiments.allowed_networks, or {vm} only in the path",
            option="experiments",
        )
    source = provider(settings)
    _refuse_any_vm(source, settings)
    return Scoped(origin_of(settings), source, tuple(settings["vms"]), secret)


def _server_in(url: str) -> str:
    """The part of a URL that names the server; empty if it is not a URL."""
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""


def warnings_of(settings: Mapping[str, Any]) -> list[str]:
    """Sentences about passwords and tokens of the option ``experiments`` that others could read."""
    if not settings["enabled"]:
        return []
    found = []
    if not settings["use_tls"] and any(settings[name] for name, source in PROVIDERS.items() if not source.needs):
        found += readable_by_others(settings, "experiments", "the servers in the VMs")
    for source in settings["sources"]:
        if goes_in_clear(source["url"] or ""):
            found += readable_by_others(source, "experiments.sources", without_secrets(source["url"]))
    return list(dict.fromkeys(found))


def _refuse_any_vm(source: Source, settings: Mapping[str, Any]) -> None:
    """Raise InvalidInput if the same experiments would be found for each VM."""
    asked = f"{settings['url']}{settings['query']}"
    if source.names_its_vm or names_one(settings["vms"]) or "{vm}" in asked or "{address}" in asked:
        return
    raise InvalidInput(
        f"The source of provider {source.provider} at {without_secrets(settings['url'])} does not say to which VM its experiments belong",
        hint="Set experiments.sources.vms to the name of its one VM, or use {address} or {vm} in its url or query",
        option="experiments",
    )


def origin_of(settings: Mapping[str, Any]) -> str:
    """A short identifier of what a source asks and where; it contains no secrets."""
    asked = [settings[key] for key in ("provider", "url", "command", "metric", "query")]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:12]
