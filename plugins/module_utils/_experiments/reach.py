# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which addresses may be asked, and where credentials may be sent. A hostile guest can report any address as its own."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from .._core.errors import InvalidInput
from .._core.untrusted import text
from .._vsphere.estate import VmState
from .model import Experiment
from .providers.probe import address_in
from .providers.sources import Scoped

# pylint of ansible-test does not recognise that these are classes.
Address = ipaddress.IPv4Address | ipaddress.IPv6Address  # pylint: disable=unsupported-binary-operation
Network = ipaddress.IPv4Network | ipaddress.IPv6Network  # pylint: disable=unsupported-binary-operation


def _all(*names: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(name) for name in names)


# Nobody's: this network, multicast, broadcast and reserved.
NEVER = _all("0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "::/128", "ff00::/8")
# This machine itself, links, and the services of clouds that give credentials to anybody who asks on the controller (RFC 6890,
# and the documentation of AWS, Google, Azure, Alibaba, Oracle and Scaleway).
SPECIAL = _all(
    "127.0.0.0/8",
    "::1/128",
    "169.254.0.0/16",
    "fe80::/10",
    "fec0::/10",
    "100.100.100.200/32",
    "168.63.129.16/32",
    "192.0.0.0/24",
    "fd00:ec2::/32",
    "fd20:ce::/32",
    "fd00:42::/32",
)
# An IPv4 address is in their last bits: compatible (RFC 4291), translated (RFC 2765, 6052).
LAST_BITS = _all("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")
# Or behind any of several prefixes (RFC 8215; RFC 6052, 2.2).
LOCAL_TRANSLATION = ipaddress.ip_network("64:ff9b:1::/48")
ISATAP = (0x5EFE, 0x2005EFE)  # in front of the last bits (RFC 5214)


class Reach:
    """The addresses that the operator gave or allowed, from the module option ``experiments``."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._networks = _networks(settings["allowed_networks"])
        self._given = {name: str(address) for name, address in settings["addresses"].items()}

    def address_of(self, vm: VmState, *, credentials: bool) -> tuple[str, str]:
        """(address, "") of a VM: the operator's address, else the guest's own if it may be asked; or ("", why not)."""
        given = self.given(vm.moid, vm.name)
        if given:
            return given, ""
        why_not = self._why_not(vm.guest_address, credentials=credentials)
        return ("" if why_not else vm.guest_address), why_not

    def why_not_named(self, server: str, addresses: Iterable[str]) -> str:
        """Why a server must not be asked whose name comes from the name of a VM, and which has these addresses; "" if it may be."""
        who = f"{text(server)} has the address"
        return next(filter(None, (self._why_not(each, credentials=False, who=who) for each in addresses)), "")

    def given(self, moid: str, name: str) -> str:
        """The address that the operator gave for a VM, by its MoID or its name; "" without one."""
        return self._given.get(moid) or self._given.get(name, "")

    def _is_named(self, ip: Address) -> bool:
        """Whether an address is usual, or the operator named a network of its special kind. ``0.0.0.0/0`` names none."""
        kinds = [network for network in SPECIAL if ip in network]
        return all(any(_within(network, kind) and ip in network for network in self._networks) for kind in kinds)

    def _why_not(self, address: str, *, credentials: bool, who: str = "the guest reports") -> str:
        """Why an address that nobody gave must not be asked, "" if it may be. ``who`` begins the sentence."""
        if not address:
            return "vCenter shows no address of the guest"
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return "the guest reports no usable address"
        if "%" in address:  # a zone names one of the guest's own links, and may contain anything
            return "the guest reports no usable address"
        # Packets to an IPv4 address written as IPv6 go to the IPv4 address; Python before 3.13 does not see that.
        ip = getattr(ip, "ipv4_mapped", None) or ip
        if any(each in network for each in meanings(ip) for network in NEVER):
            return f"{who} {ip}, which is not the address of a host"
        inside = any(ip in network for network in self._networks)
        if self._networks and not inside:
            return f"{ip} is outside experiments.allowed_networks"
        if not all(self._is_named(each) for each in meanings(ip)):
            return (
                f"{who} {ip}, which is not the address of a host; "
                "to ask it, add its network to experiments.allowed_networks"
            )
        if credentials and not inside:
            return "credentials go only to networks named in experiments.allowed_networks"
        return ""

    def check_no_leak(self, scoped: Scoped, experiment: Experiment) -> None:
        """Raise InvalidInput if credentials would go to a guest's own address that was found without them."""
        if not scoped.sends_credentials or not scoped.source.url:
            return
        address = address_in(scoped.source.url, experiment.url)
        if address in ("", self.given(experiment.vm, experiment.vm_name).lower()):
            return
        why_not = self._why_not(address or "", credentials=True)
        if why_not:
            raise InvalidInput(
                f"The experiment in {experiment.vm_name} was found at {text(experiment.url)}: "
                f"no credentials may go there ({why_not})",
                hint="Add its network to experiments.allowed_networks, or its address to experiments.addresses",
                option="experiments",
            )


def meanings(ip: Address) -> list[Address]:
    """The address, and the IPv4 addresses in it to which translators and tunnels may send its packets."""
    if isinstance(ip, ipaddress.IPv4Address) or ip.is_loopback or ip.is_unspecified:
        return [ip]
    bits = int(ip)
    found: list[Address] = [ip]
    if any(ip in network for network in LAST_BITS) or (bits >> 32) & 0xFFFFFFFF in ISATAP:
        found.append(ipaddress.IPv4Address(bits & 0xFFFFFFFF))
    if ip in LOCAL_TRANSLATION:
        behind = (_behind(bits, prefix) for prefix in (48, 56, 64, 96))
        found += [each for each in behind if int(each) >> 24]  # else the bits are those of another prefix
    if ip.sixtofour is not None:
        found.append(ip.sixtofour)
    return found + list(ip.teredo or ())


def _behind(bits: int, prefix: int) -> ipaddress.IPv4Address:
    """The IPv4 address behind a prefix of so many bits. Bits 64 to 71 are not a part of it."""
    without = (bits >> 64 << 56) | (bits & ((1 << 56) - 1))
    return ipaddress.IPv4Address(without >> (88 - (prefix - 8 if prefix > 64 else prefix)) & 0xFFFFFFFF)


def _within(network: Any, kind: Network) -> bool:
    return network.version == kind.version and bool(network.subnet_of(kind))


def _networks(names: list[str]) -> list[Any]:
    try:
        return [ipaddress.ip_network(name.strip()) for name in names]
    except ValueError as error:
        raise InvalidInput(
            f"experiments.allowed_networks: {error}", hint="Use networks such as 10.1.0.0/16", option="experiments"
        ) from error
