# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can change at any time.

"""Finds experiments in VMs, in parallel, at addresses that the guests report or the operator gives."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.liveml.vsphere.plugins.module_utils import _h2o3
from ansible_collections.liveml.vsphere.plugins.module_utils._errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._model import Estate, Experiment, Power, VmState
from ansible_collections.liveml.vsphere.plugins.module_utils._watch import Watch

_WORKERS = 16


@dataclass(frozen=True, slots=True)
class Observation:
    """What discovery saw in a VM: experiments, or a sentence."""

    vm: VmState
    experiments: tuple[Experiment, ...]
    detail: str


class Providers:
    """The experiment side of a run, from the module option ``experiments``."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._networks = _networks(settings["allowed_networks"])
        self._tls = _tls(settings) if settings["use_tls"] else None
        self._endpoints: dict[str, _h2o3.Endpoint] = {}

    def observe(self, vms: list[VmState]) -> list[Observation]:
        """Look into each VM, several at a time."""
        if not self._settings["enabled"]:
            return [Observation(vm, (), "observation is switched off") for vm in vms]
        with ThreadPoolExecutor(_WORKERS) as pool:
            return list(pool.map(self._observe, vms))

    def discover(self, estate: Estate, vms: tuple[str, ...]) -> tuple[tuple[Experiment, ...], dict[str, str]]:
        """See ``_run.Observer``."""
        seen = self.observe([estate.vms[vm] for vm in vms])
        experiments = tuple(e for observation in seen for e in observation.experiments)
        return experiments, {o.vm.moid: o.detail for o in seen if not o.experiments}

    def watch(self, experiments: tuple[Experiment, ...], folder: Path, listener: Callable[..., None]) -> Watch:
        """See ``_run.Observer``."""
        return Watch(
            [(experiment, self._endpoint_of(experiment.url)) for experiment in experiments],
            folder,
            stall_budget=self._settings["stall_budget"],
            settle_timeout=self._settings["settle_timeout"],
            baseline=self._settings["baseline"],
            listener=listener,
        )

    def _observe(self, vm: VmState) -> Observation:
        given = self._settings["addresses"].get(vm.name)
        address = str(given or vm.guest_address)
        if vm.power is not Power.ON:
            return Observation(vm, (), "the VM is not powered on")
        if not address:
            return Observation(vm, (), "the guest reports no address")
        refusal = "" if given else self._refusal(address)
        if refusal:
            return Observation(vm, (), refusal)
        details = []
        for port in self._settings["ports"]:
            endpoint = self._endpoint(address, port)
            experiments, detail = _h2o3.discover(endpoint, vm.moid, vm.name)
            self._endpoints[endpoint.url] = endpoint
            if experiments:
                return Observation(vm, tuple(experiments), "")
            details.append(f"{endpoint.url}: {detail}")
        return Observation(vm, (), "; ".join(details))

    def _refusal(self, address: str) -> str:
        """Why a guest's own address is not asked: hostile guests may report any."""
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return "the guest reports no usable address"
        if ip.is_multicast or ip.is_unspecified or ip.is_link_local:
            return f"the guest reports {ip}, which is no host's address"
        inside = any(ip in network for network in self._networks)
        if self._networks and not inside:
            return f"{ip} is outside experiments.allowed_networks"
        if self._settings["username"] is not None and not inside:
            return "credentials go only to networks named in experiments.allowed_networks"
        return ""

    def _endpoint(self, address: str, port: int) -> _h2o3.Endpoint:
        return _h2o3.Endpoint(address, port, self._tls, self._settings["username"], self._settings["password"])

    def _endpoint_of(self, url: str) -> _h2o3.Endpoint:
        """The endpoint of an experiment, also of one that only the journal knows."""
        if url not in self._endpoints:
            address, port = url.split("://", 1)[1].rsplit(":", 1)
            self._endpoints[url] = self._endpoint(address, int(port))
        return self._endpoints[url]


def _networks(names: list[str]) -> list[Any]:
    try:
        return [ipaddress.ip_network(name) for name in names]
    except ValueError as error:
        raise InvalidInput(
            f"experiments.allowed_networks: {error}", hint="Give networks like 10.1.0.0/16", option="experiments"
        ) from error


def _tls(settings: Mapping[str, Any]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings["ca_path"])
    except (OSError, ssl.SSLError) as error:
        raise InvalidInput(
            f"experiments.ca_path cannot be used: {error}", hint="Give a PEM file", option="experiments"
        ) from error
    if not settings["validate_certs"]:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
