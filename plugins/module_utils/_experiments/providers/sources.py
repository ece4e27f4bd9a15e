# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The registry of providers: each source of experiments, made from the settings of the operator."""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ..._core.errors import InvalidInput
from .base import Source, names_one
from .driverless_ai import DriverlessAi
from .exec import Exec
from .h2o3 import H2o3
from .mlflow import Mlflow
from .prometheus import Prometheus
from .tensorboard import Tensorboard

ANY_ADDRESS = "//{address}"
BUILT_IN: dict[str, Callable[[Mapping[str, Any]], Source]] = {
    "driverless_ai": DriverlessAi,
    "exec": Exec,
    "mlflow": Mlflow,
    "prometheus": Prometheus,
    "tensorboard": Tensorboard,
}


@dataclass(frozen=True, slots=True)
class Scoped:
    """A source and the VMs it is asked for, as name patterns; none: all. ``origin`` names it in journals.

    ``url`` is the template of its servers' URLs, "" where it has none.
    """

    origin: str
    source: Source
    vms: tuple[str, ...]
    sends_credentials: bool
    url: str

    def covers(self, vm_name: str) -> bool:
        """Whether the source is asked for a VM."""
        return not self.vms or any(fnmatch.fnmatchcase(vm_name, pattern) for pattern in self.vms)


def sources_of(settings: Mapping[str, Any]) -> list[Scoped]:
    """The sources of the module option ``experiments``: H2O-3 in every VM unless it is off, and those that are listed."""
    everywhere = [Scoped(H2o3.provider, H2o3(settings), (), settings["username"] is not None, ANY_ADDRESS)]
    return [*(everywhere if settings[H2o3.provider] else []), *(_scoped(source) for source in settings["sources"])]


def _scoped(settings: Mapping[str, Any]) -> Scoped:
    kind = settings["provider"]
    needed = "command" if kind == "exec" else "url"
    if not settings[needed]:
        raise InvalidInput(
            f"A source of provider {kind} needs {needed}",
            hint=f"Give experiments.sources.{needed}",
            option="experiments",
        )
    secret = any(settings.get(key) for key in ("username", "token", "client_cert"))
    if secret and "{vm}" in urlsplit(settings["url"] or "").netloc:
        raise InvalidInput(
            "A source's url takes its server from the name of a VM, and credentials would go there",
            hint="Use {address} with experiments.allowed_networks, or {vm} in the path alone",
            option="experiments",
        )
    source = BUILT_IN[kind](settings)
    _belonging(settings)
    return Scoped(
        origin_of(settings), source, tuple(settings["vms"]), secret, settings["url"] if needed == "url" else ""
    )


def _belonging(settings: Mapping[str, Any]) -> None:
    """Raise InvalidInput when what a source tells would be told of each VM alike."""
    told = f"{settings['url']}{settings['query']}"
    if (
        settings["provider"] in ("driverless_ai", "prometheus")
        and not names_one(settings["vms"])
        and "{vm}" not in told
        and "{address}" not in told
    ):
        raise InvalidInput(
            f"The source of provider {settings['provider']} at {settings['url']} does not tell to which VM its experiments belong",
            hint="Name its one VM in vms, or use {address} or {vm}",
            option="experiments",
        )


def origin_of(settings: Mapping[str, Any]) -> str:
    """A short name for where a source asks and what for; it tells nothing secret."""
    told = [settings[key] for key in ("provider", "url", "command", "metric", "query")]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]
