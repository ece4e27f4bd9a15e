# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The real part of a guest: an H2O-3 server on the guest's address, or a real VM behind it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.addresses import API_PORT, Claim, port_offset
from lab.live.bridge import GUEST
from lab.live.machine import Equipment, LiveSpec, live_entry
from lab.processes import bare_environment
from lab.topology import Guest, Topology, is_bridged


@dataclass(frozen=True)
class Launcher:
    """What starts a server. ``token`` makes the names of its clusters differ from those of other labs."""

    java: Path
    jar: Path
    token: str


@dataclass(frozen=True)
class Server:
    """A server of the lab: its VM, the address it answers on, the folder of all its files, and what it trains.

    ``nodes`` are the addresses of all nodes of its cloud, including its own; empty if it is a cloud of its own. ``vcenter`` is
    the name of the vCenter where the VM is at first.
    """

    vm: str
    address: str
    folder: Path
    spec: Guest
    vcenter: str
    nodes: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """Base URL of its REST API."""
        return f"http://{self.address}:{API_PORT}"

    @property
    def log(self) -> Path:
        """File of its output."""
        return self.folder / "console.log"

    @property
    def flatfile(self) -> Path:
        """File with the nodes of its cluster."""
        return self.folder / "flatfile"

    def prepare(self) -> None:
        """Create its folder."""
        (self.folder / "tmp").mkdir(mode=0o700, parents=True)
        nodes = self.nodes or (self.address,)
        # A node adds its own offset to every port in this file.
        ports = [API_PORT + port_offset(node) - port_offset(self.address) for node in nodes]
        self.flatfile.write_text("".join(f"127.0.0.1:{port}\n" for port in ports), encoding="ascii")


@dataclass(frozen=True)
class Machine:
    """A real VM of the lab: the VM it stands for and its vCenter, the address it answers on, its folder, and what runs in it."""

    vm: str
    address: str
    folder: Path
    spec: LiveSpec
    vcenter: str

    @property
    def url(self) -> str:
        """Base URL of its training."""
        return f"http://{self.address}:{self.spec.port}"

    @property
    def log(self) -> Path:
        """Console of its first QEMU process."""
        return self.folder / "qemu-1.console"


@dataclass(frozen=True)
class Supply:
    """What real guests start from: the launcher of servers, and for each real VM its equipment and kept state."""

    launcher: Launcher | None = None
    live: Mapping[LiveSpec, tuple[Equipment, Path | None]] = field(default_factory=dict)


def hostname(vm: str) -> str:
    """The host name of the guest in this VM."""
    return re.sub(r"[^a-z0-9-]+", "-", vm.lower()).strip("-") or "guest"


def h2o_command(launcher: Launcher, server: Server) -> list[str]:
    """Command line of an H2O-3 server: its API is on the guest's address, and all its files are below its folder.

    H2O cannot bind its second port to 127.0.1.N. So that port is on 127.0.0.1, and ``-port_offset`` makes it differ for
    each guest; the nodes of a cloud know each other by it. The flat file stops a server from searching for other nodes
    by multicast.
    """
    folder = server.folder
    return [
        str(launcher.java),
        f"-Xmx{server.spec.heap_mb}m",
        f"-Djava.io.tmpdir={folder / 'tmp'}",
        f"-Duser.home={folder}",
        "-jar",
        str(launcher.jar),
        *("-name", f"{hostname(server.spec.cloud or server.vm)}-{launcher.token}"),
        *("-ip", "127.0.0.1"),
        *("-web_ip", server.address),
        *("-port", str(API_PORT)),
        *("-port_offset", str(port_offset(server.address))),
        *("-flatfile", str(server.flatfile)),
        *("-nthreads", str(server.spec.threads)),
        *("-ice_root", str(folder / "ice")),
        *("-log_dir", str(folder / "log")),
        *("-flow_dir", str(folder / "flow")),
        # By default H2O reads nothing below hidden folders, /usr and /var; the checkout or its cache may be there.
        *("-file_deny_glob", "/proc/**"),
    ]


def process_entry(launcher: Launcher, server: Server, state: Path) -> dict[str, Any]:
    """How the simulator starts the server."""
    env = {**bare_environment(state), "HOME": str(server.folder)}
    return {
        "command": h2o_command(launcher, server),
        "env": env,
        "log": str(server.log),
        "nice": server.spec.nice,
    }


def cloud_nodes(topology: Topology, claim: Claim) -> dict[str | None, tuple[str, ...]]:
    """Addresses of the nodes, by cloud of the topology."""
    found: dict[str | None, tuple[str, ...]] = {}
    for number, spec in zip(topology.numbers, topology.guests, strict=True):
        if isinstance(spec, Guest) and spec.cloud is not None:
            found[spec.cloud] = (*found.get(spec.cloud, ()), claim.address(number))
    return found


def place_guests(
    topology: Topology, claim: Claim, state: Path, supply: Supply
) -> tuple[list[dict[str, Any]], list[Server], list[Machine]]:
    """Give every VM of a vCenter its guest: an address, a name, and what really runs in it if ``supply`` has what that needs.

    Returns the VMs of the simulator's configuration, the servers, and the real VMs.
    """
    vms, servers, machines = [], [], []
    clouds, vcenter = cloud_nodes(topology, claim), topology.sddc["name"]
    for vm, number, spec in zip(topology.vms, topology.numbers, topology.guests, strict=True):
        address = GUEST if is_bridged(spec) else claim.address(number) if number else ""
        plain = dict(vm)
        guest = {"address": address, "hostname": hostname(vm["name"]), "stun_seconds": plain.pop("stun_seconds")}
        folder = state / "guests" / address
        if isinstance(spec, Guest) and supply.launcher is not None:
            server = Server(vm["name"], address, folder, spec, vcenter, clouds.get(spec.cloud, ()))
            server.prepare()
            servers.append(server)
            guest |= process_entry(supply.launcher, server, state)
        elif isinstance(spec, LiveSpec) and spec in supply.live:
            folder.mkdir(mode=0o700, parents=True)
            machines.append(Machine(vm["name"], address, folder, spec, vcenter))
            equipment, kept = supply.live[spec]
            guest |= live_entry(equipment, spec, folder, state, kept)
        vms.append({**plain, "guest": guest})
    return vms, servers, machines
