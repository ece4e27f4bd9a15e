# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The part of the simulator's configuration that starts real servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.addresses import API_PORT, Claim, port_offset
from lab.guests import Launcher, Supply, hostname, place_guests
from lab.processes import MARK
from lab.simulator_client import configuration
from lab.topology import Topology, parse

SUPPLY = Supply(Launcher(Path("/java"), Path("/h2o.jar"), "t0"))


def topology(**vm: Any) -> Topology:
    return parse(
        {
            "clusters": [{"name": "c"}],
            "datastores": [{"name": "ds", "capacity_gb": 10, "free_gb": 5}],
            "networks": [{"name": "net"}],
            "hosts": [{"name": "h", "cluster": "c", "cores": 4, "mhz": 2000, "memory_gb": 16}],
            "vms": [{"name": "ML-cpu-vm-04", "host": "h", "memory_gb": 2, "cpus": 1, **vm}],
        }
    )


def value(command: list[str], option: str) -> str:
    return command[command.index(option) + 1]


def test_server_writes_only_below_the_state_folder(tmp_path: Path) -> None:
    vms, (server,), _ = place_guests(topology(h2o3={"heap_mb": 512, "threads": 1}), Claim(32), tmp_path, SUPPLY)
    guest = vms[0]["guest"]
    command = guest["command"]
    assert guest["address"] == value(command, "-web_ip") == server.address == "127.0.1.36"
    assert server.url == "http://127.0.1.36:54321"
    assert (value(command, "-ip"), value(command, "-port")) == ("127.0.0.1", "54321")
    assert "-Xmx512m" in command
    assert value(command, "-name") == "ml-cpu-vm-04-t0"
    folder = tmp_path / "guests" / "127.0.1.36"
    for option in ("-ice_root", "-log_dir", "-flow_dir", "-flatfile"):
        assert Path(value(command, option)).is_relative_to(folder)
    assert Path(guest["log"]).is_relative_to(folder)
    assert (folder / "tmp").is_dir()
    assert guest["nice"] == 10


def test_nodes_of_a_cloud_share_a_name_and_list_each_other(tmp_path: Path) -> None:
    whole = topology().sddc | {"clusters": [{"name": "c"}]}
    vms = [
        {"name": f"ML-{n}", "host": "h", "memory_gb": 2, "cpus": 1, "h2o3": {"cloud": "vision"} if n < 3 else {}}
        for n in (1, 2, 3)
    ]
    placed, servers, _ = place_guests(parse({**whole, "vms": vms}), Claim(0), tmp_path, SUPPLY)
    commands = [vm["guest"]["command"] for vm in placed]
    assert [value(command, "-name") for command in commands] == ["vision-t0", "vision-t0", "ml-3-t0"]
    # Each node adds its own offset to the ports of its list, and must get the second ports of the others.
    second = {
        server.address: {
            int(line.rsplit(":", 1)[1]) + int(value(command, "-port_offset"))
            for line in server.flatfile.read_text().splitlines()
        }
        for server, command in zip(servers, commands, strict=True)
    }
    assert second["127.0.1.1"] == second["127.0.1.2"] == {API_PORT + port_offset(f"127.0.1.{n}") for n in (1, 2)}
    assert second["127.0.1.3"] == {API_PORT + port_offset("127.0.1.3")}


def test_server_sees_nothing_of_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMWARE_PASSWORD", "secret")
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Xmx1m")
    vms, *_ = place_guests(topology(h2o3={}), Claim(0), tmp_path, SUPPLY)
    env = vms[0]["guest"]["env"]
    assert env[MARK] == str(tmp_path)
    assert not {"VMWARE_PASSWORD", "JAVA_TOOL_OPTIONS"} & set(env)


@pytest.mark.parametrize(
    ("real", "supply"), [({}, SUPPLY), ({"h2o3": {}}, Supply()), ({"qemu": {"run": "light"}}, SUPPLY)]
)
def test_without_a_real_guest_there_is_still_an_address(tmp_path: Path, real: Any, supply: Supply) -> None:
    vms, servers, machines = place_guests(topology(**real, stun_seconds=0.3), Claim(0), tmp_path, supply)
    assert servers == machines == []
    assert vms[0]["guest"] == {"address": "127.0.1.4", "hostname": "ml-cpu-vm-04", "stun_seconds": 0.3}
    assert list(tmp_path.iterdir()) == []


def test_hostnames() -> None:
    assert hostname("ML cpu_vm/04") == "ml-cpu-vm-04"
    assert hostname("***") == "guest"


def test_configuration_has_new_passwords_and_the_chosen_time_scale(tmp_path: Path) -> None:
    one, two = (configuration(topology(), [[]], tmp_path, 0.5) for _ in range(2))
    parts = ("vcenter", "restricted", "operator", "guest_login")
    passwords = [config[part]["password"] for config in (one, two) for part in parts]
    assert len(set(passwords)) == 8
    assert one["time_scale"] == 0.5
    assert one["vcenter"]["name"] == "vcenter.lab"
    assert one["vcenter"]["listen"] == one["control"]["listen"] == "127.0.0.1:0"
    assert one["hosts"][0]["name"] == "h"
    assert "defaults" not in one
