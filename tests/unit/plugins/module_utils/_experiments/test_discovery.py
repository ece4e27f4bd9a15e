# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where experiments are looked for: never at a hostile guest's address, never with credentials it may steal."""

from __future__ import annotations

import socket
import time
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import Ambiguous, InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments import discovery
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.discovery import Providers, truncate
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.base import Searched, Target
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.h2o3_sessions import JobSession
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.probe import (
    UnusableAddress,
    url_for,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.sources import origin_of
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.reach import Reach
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import EXPERIMENT_OPTIONS, SOURCE_OPTIONS
from ansible_collections.liveml.vsphere.plugins.module_utils._run.events import experiment_from_json, experiment_to_json
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Power, VmState

from tests.builders.estates import vm


def providers(**settings: Any) -> Providers:
    return Providers({name: option.get("default") for name, option in EXPERIMENT_OPTIONS.items()} | settings)


@pytest.mark.parametrize(
    ("address", "settings", "refusal"),
    [
        ("10.1.2.3", {}, ""),
        ("fd00::5", {}, ""),
        ("224.0.0.1", {}, "not the address of a host"),
        ("169.254.169.254", {}, "not the address of a host"),
        ("::ffff:169.254.169.254", {}, "169.254.169.254, which is not the address of a host"),
        ("64:ff9b::a9fe:a9fe", {}, "not the address of a host"),
        ("2002:a9fe:a9fe::", {"allowed_networks": ["2002::/16"]}, "not the address of a host"),
        ("64:ff9b::e000:1", {"allowed_networks": ["::/0", "0.0.0.0/0"]}, "not the address of a host"),
        ("0.0.0.0", {}, "not the address of a host"),
        ("evil.example.com", {}, "no usable address"),
        ("fd00::5%eth0", {}, "no usable address"),
        ("fd00::5%a]@evil.example.com", {"allowed_networks": ["fd00::/8"]}, "no usable address"),
        ("10.1.2.3", {"allowed_networks": ["10.1.0.0/16"]}, ""),
        ("10.2.2.3", {"allowed_networks": ["10.1.0.0/16"]}, "outside experiments.allowed_networks"),
        ("10.1.2.3", {"username": "alice"}, "credentials go only"),
        ("10.1.2.3", {"username": "alice", "allowed_networks": ["10.1.0.0/16"]}, ""),
    ],
)
def test_addresses_that_guests_report(address: str, settings: dict[str, Any], refusal: str) -> None:
    reach = Reach({"allowed_networks": [], "addresses": {}, **settings})
    asked, answer = reach.address_of(vm(1, guest_address=address), credentials="username" in settings)
    assert refusal in answer
    assert (asked, bool(answer)) == ("" if refusal else address, bool(refusal))


@pytest.mark.parametrize(
    "settings", [{"allowed_networks": ["10.0.0.0/99"]}, {"use_tls": True, "ca_path": "/nowhere.pem"}]
)
def test_settings_that_make_no_sense_name_their_option(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"experiments\."):
        providers(**settings)


def test_an_experiment_of_the_journal_finds_its_server_again() -> None:
    known = Experiment("vm-1", "ml-1", "h2o3", "job", "1", "http://[fd00::5]:54323")
    session = providers()._session(known)
    assert isinstance(session, JobSession)
    assert (session._probe.endpoint.address, session._probe.endpoint.port) == ("fd00::5", 54323)
    with pytest.raises(InvalidInput, match="No matching source"):
        providers(h2o3=False)._session(known)


@pytest.mark.parametrize("login", [{}, {"username": "u", "password": "p"}], ids=["anonymous", "login"])
@pytest.mark.parametrize("provider", ["h2o3", "mlflow", "prometheus", "tensorboard"])
@pytest.mark.parametrize(
    "url",
    [
        "x",
        "",
        "//",
        "http://",
        "http://[::1",
        "http://x:y",
        "exec:x",
        "http://x:9999999",
        "\ud800",
        "http://x:1@y:2",
    ],
    ids=ascii,
)
def test_a_url_that_no_source_made_is_one_sentence(url: str, provider: str, login: dict[str, str]) -> None:
    """It is in a journal or an artifact that somebody edited."""
    page = (
        {"url": "http://{address}:1/x?a={vm}", "metric": "m"}
        if provider == "prometheus"
        else {"url": "http://{address}:1"}
    )
    options = {"sources": [source(provider, **page, **login)]} if provider != "h2o3" else login
    with pytest.raises(InvalidInput, match=r"URL|no credentials may go"):
        providers(h2o3=provider == "h2o3", **options)._session(Experiment("vm-1", "ML-1", provider, "id", "", url))


@pytest.mark.parametrize(("power", "asked"), [(Power.ON, 1), (Power.UNKNOWN, 1), (Power.OFF, 0), (Power.SUSPENDED, 0)])
def test_a_vm_is_asked_unless_it_is_known_not_to_run(monkeypatch: pytest.MonkeyPatch, power: Power, asked: int) -> None:
    found = Experiment("vm-1", "ml-1", "h2o3", "job", "1", "http://10.1.2.3:54321")
    every = providers()
    for scoped in every._sources:
        monkeypatch.setattr(scoped.source, "discover", lambda _target: Searched([found]))
        monkeypatch.setattr(scoped.source, "reproducible", lambda _experiment: ("unknown", ""))
    machine = VmState("vm-1", "ml-1", "uuid-1", "host-1", power, 1 << 30, guest_address="10.1.2.3")
    (seen,) = every.observe([machine])
    assert (len(seen.experiments), seen.detail) == (asked, "" if asked else "the VM is not powered on")


@pytest.mark.parametrize(("settings", "processors"), [({}, 4), ({"h2o3": False}, 0)])
def test_processors_count_where_the_vm_answers(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], processors: int
) -> None:
    found = Experiment("vm-1", "ml-1", "h2o3", "job", "1", "http://10.1.2.3:54321")
    asked = providers(**{**settings, "sources": [source("exec", command=["true"])] if settings else []})
    for scoped in asked._sources:
        monkeypatch.setattr(scoped.source, "discover", lambda _target: Searched([found]))
        monkeypatch.setattr(scoped.source, "reproducible", lambda _experiment: ("unknown", ""))
    machine = VmState("vm-1", "ml-1", "uuid-1", "host-1", Power.ON, 1 << 30, guest_address="10.1.2.3", cpus=4)
    ((experiment,),) = (seen.experiments for seen in asked.observe([machine]))
    assert experiment.processors == processors
    assert experiment_from_json(experiment_to_json(experiment)).processors == processors


def source(provider: str, **changes: Any) -> dict[str, Any]:
    return {name: option.get("default") for name, option in SOURCE_OPTIONS.items()} | {"provider": provider} | changes


def test_only_the_source_that_found_an_experiment_asks_it() -> None:
    secret = source("prometheus", url="https://prom.example.com", query="steps{vm='{vm}'}", token="a-secret")
    plain = source("prometheus", url="http://{address}:9091/metrics", metric="steps_total")
    both = providers(sources=[secret, plain])
    known = Experiment(
        "vm-1",
        "ml-1",
        "prometheus",
        "x",
        "",
        "http://10.1.2.3:9091/metrics",
        metric="steps_total",
        source=origin_of(plain),
    )
    session: Any = both._session(known)
    assert session._probe.endpoint.token is None
    with pytest.raises(InvalidInput, match="No matching source"):
        providers(sources=[secret])._session(known)
    with pytest.raises(InvalidInput, match="No matching source"):
        both._session(replace(known, source=""))


def test_of_two_sources_that_ask_the_same_the_first_one_watches_what_it_found() -> None:
    """Their patterns overlap, so both cover a VM."""
    first = source("mlflow", url="http://mlflow.example.com", vms=["ml-*"], total_steps=100)
    second = {**first, "vms": ["*-1"], "total_steps": 50}
    known = Experiment("vm-1", "ml-1", "mlflow", "r", "", first["url"], source=origin_of(first))
    session: Any = providers(sources=[first, second])._session(known)
    assert session._total == 100


def twins() -> list[VmState]:
    """Two VMs of one name in different folders, and a third one."""
    places = (("vm-57", "twin", "10.0.0.7"), ("vm-72", "twin", "10.0.0.8"), ("vm-3", "other", "10.0.0.9"))
    return [
        VmState(moid, name, f"uuid-{moid}", "host-1", Power.ON, 1 << 30, guest_address=address, cpus=4)
        for moid, name, address in places
    ]


def asked_at(monkeypatch: pytest.MonkeyPatch, asked: Providers, url: str = "http://{address}:1") -> dict[str, str]:
    """The address at which each VM (MoID) was asked; the server's one job is found wherever it is asked for."""
    seen: dict[str, str] = {}

    def discover(target: Target) -> Searched:
        seen[target.vm] = target.address
        at = url.replace("{address}", target.address)
        return Searched([Experiment(target.vm, target.vm_name, "mlflow", "job", "", at)])

    for scoped in asked._sources:
        monkeypatch.setattr(scoped.source, "discover", discover)
        monkeypatch.setattr(scoped.source, "reproducible", lambda _experiment: ("unknown", ""))
    return seen


def test_an_address_is_that_of_one_vm(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = providers(addresses={"twin": "127.0.0.1"})
    with pytest.raises(
        Ambiguous, match=r"2 VMs are named twin, and experiments\.addresses\.twin would mean each"
    ) as error:
        shared.refuse_shared_names(twins())
    assert error.value.candidates == ("vm-57", "vm-72")
    own = providers(addresses={"vm-57": "127.0.0.1", "other": "127.0.0.2"})
    own.refuse_shared_names(twins())
    seen = asked_at(monkeypatch, own)
    own.observe(twins())
    assert seen == {"vm-57": "127.0.0.1", "vm-72": "10.0.0.8", "vm-3": "127.0.0.2"}


def test_a_source_of_one_vm_is_not_that_of_its_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed = source("mlflow", url="https://mlflow.example.com")
    with pytest.raises(Ambiguous, match=r"experiments\.sources\[0\]\.vms would mean each"):
        providers(sources=[{**fixed, "vms": ["twin"]}]).refuse_shared_names(twins())
    own = providers(h2o3=False, sources=[{**fixed, "vms": ["vm-72"]}])
    own.refuse_shared_names(twins())
    seen = asked_at(monkeypatch, own)
    found = {o.vm.moid: len(o.experiments) for o in own.observe(twins())}
    assert (set(seen), found) == ({"vm-72"}, {"vm-57": 0, "vm-72": 1, "vm-3": 0})


def test_what_a_tracker_knows_by_a_shared_name_is_nobodys_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = providers(h2o3=False, sources=[source("mlflow", url="https://mlflow.example.com")])
    asked_at(monkeypatch, tracker, url="https://mlflow.example.com")
    seen = {o.vm.moid: o for o in tracker.observe(twins())}
    assert [len(seen[moid].experiments) for moid in ("vm-57", "vm-72", "vm-3")] == [0, 0, 1]
    assert "several VMs are named twin" in seen["vm-57"].detail


@pytest.mark.parametrize(
    ("url", "power", "found", "asked"),
    [
        ("https://mlflow.example.com", Power.ON, 0, {"vm-57", "vm-72"}),
        ("https://mlflow.example.com", Power.OFF, 1, {"vm-57"}),
        ("http://{address}:1", Power.ON, 1, {"vm-57"}),  # the VM itself answers, so its twin is not asked
    ],
)
def test_a_twin_that_stays_has_the_experiment_as_well(
    monkeypatch: pytest.MonkeyPatch, url: str, power: Power, found: int, asked: set[str]
) -> None:
    tracker = providers(h2o3=False, sources=[source("mlflow", url=url)])
    seen = asked_at(monkeypatch, tracker, url=url)
    first, *others = twins()
    (alone,) = tracker.observe([first], among=[first, *(replace(each, power=power) for each in others)])
    assert (len(alone.experiments), set(seen)) == (found, asked)
    assert ("several VMs are named twin" in alone.detail) is (found == 0)


def test_credentials_go_to_no_server_that_the_name_of_a_vm_chooses() -> None:
    with pytest.raises(InvalidInput, match="depends on a VM's name"):
        providers(sources=[source("mlflow", url="https://{vm}:5000", token="a-secret")])
    assert providers(sources=[source("tensorboard", url="https://tb.example.com/{vm}", token="a-secret")])


@pytest.mark.parametrize(
    ("url", "settings", "refused"),
    [
        ("http://10.9.9.9:54321", {}, True),
        ("http://10.9.9.9:54321", {"allowed_networks": ["10.1.0.0/16"]}, True),
        ("http://10.9.9.9:54321/h2o", {"allowed_networks": ["10.9.0.0/16"]}, False),
        ("http://[fd00::5]:54321", {"allowed_networks": ["fd00::/8"]}, False),
        ("http://10.9.9.9:54321", {"addresses": {"ml-1": "10.9.9.9"}}, False),
        ("http://Node.example.com:54321", {"addresses": {"ml-1": "node.Example.com"}}, False),
        ("http://10.9.9.9:54321", {"addresses": {"ml-1": "10.1.2.3"}}, True),
    ],
)
def test_credentials_do_not_go_to_an_address_that_was_found_without_them(
    url: str, settings: dict[str, Any], refused: bool
) -> None:
    known = Experiment("vm-1", "ml-1", "h2o3", "job", "1", url)
    assert providers(**settings)._session(known), "without credentials it may be asked"
    asking = providers(username="alice", password="secret", **settings)
    if refused:
        with pytest.raises(InvalidInput, match="no credentials may go"):
            asking._session(known)
    else:
        assert asking._session(known)


def test_credentials_of_a_source_go_to_its_own_servers() -> None:
    found = "http://10-1-2-3.example.com:5000"
    for template, url, networks, refused in (
        ("https://mlflow.example.com", "https://mlflow.example.com:443", [], False),
        ("https://mlflow.example.com", found, [], True),
        ("http://{address}:5000", "http://10.1.2.3:5000", ["10.1.0.0/16"], False),
        ("http://{address}:5000", "http://10.1.2.3:5000", [], True),
        ("http://{address}.nip.io:5000", "http://10.1.2.3.nip.io:5000", ["10.1.0.0/16"], False),
        ("http://{address}.nip.io:5000", found, ["10.1.0.0/16"], True),
        ("http://proxy.example.com/{address}", "http://proxy.example.com:80/10.1.2.3", [], False),
    ):
        settings = source("mlflow", url=template, token="a-token")
        known = Experiment("vm-1", "ml-1", "mlflow", "x", "", url, source=origin_of(settings))
        asking = providers(sources=[settings], allowed_networks=networks)
        if refused:
            with pytest.raises(InvalidInput, match="no credentials may go"):
                asking._session(known)
        else:
            assert asking._session(known)


@pytest.mark.parametrize(
    ("template", "address", "name", "url"),
    [
        ("http://{address}:9091/metrics", "fd00::5", "ml-1", "http://[fd00::5]:9091/metrics"),
        ("https://tb.example/{vm}/", "", "Köln 01", "https://tb.example/K%C3%B6ln%2001/"),
    ],
)
def test_a_url_for_any_address_and_name(template: str, address: str, name: str, url: str) -> None:
    assert url_for(template, address, name) == url


@pytest.mark.parametrize(("address", "name"), [("", "ml-1"), ("10.1.2.3]", "ml-1"), ("1.2.3.4", "a" * 300)])
def test_an_address_that_gives_no_url_affects_only_its_vm(address: str, name: str) -> None:
    with pytest.raises(UnusableAddress):
        url_for("http://{address}.{vm}:80" if len(name) > 99 else "http://{address}:80", address, name)
    seen = providers(h2o3=False, sources=[source("mlflow", url="http://{address}:5000")])
    assert seen.observe([VmState("vm-1", name, "u", "h", Power.ON, 1, guest_address="")])[0].experiments == ()


def test_a_slow_server_is_not_asked_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        provider, in_guest, asked = "exec", False, 0

        def server_named_by(self, _target: Target) -> str:
            return ""

        def discover(self, _target: Target) -> Searched:
            return Searched([Experiment("vm-1", "ml-1", "exec", str(n), "", "exec:x") for n in range(50)])

        def reproducible(self, _experiment: Experiment) -> tuple[str, str]:
            self.asked += 1
            time.sleep(0.1)
            return "yes", ""

        recovery = reproducible

    monkeypatch.setattr(discovery, "PATIENCE_SECONDS", 1.0)
    source: Any = Slow()
    observer = providers(h2o3=False, require_checkpoint="warn")
    observer._sources = [discovery.Scoped("x", source, (), False)]
    (seen,) = observer.observe([VmState("vm-1", "ml-1", "u", "h", Power.ON, 1, guest_address="10.1.2.3")])
    assert len(seen.experiments) == 50
    assert 0 < source.asked < 20
    assert (seen.experiments[0].recoverable, seen.experiments[-1].recoverable) == ("yes", "unknown")


def test_a_source_must_say_to_which_vm_its_experiments_belong() -> None:
    with pytest.raises(InvalidInput, match="to which VM"):
        providers(sources=[source("driverless_ai", url="https://dai.example.com:12345")])


def test_the_last_of_many_experiments_says_how_many_are_not_watched() -> None:
    found = [Experiment("vm-1", "ml-1", "exec", str(n), "", "exec:x", description="training") for n in range(70)]
    kept = truncate(found, 64)
    assert (len(kept), kept[-1].id, kept[-1].description) == (64, "63", "training (6 more are not watched)")
    assert truncate(found[:3], 64) == found[:3]


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("http://{vm}.lab.invalid:9100/metrics", "a..b"),
        ("http://{vm}.lab.invalid:9100/metrics", ".a"),
        ("http://{vm}.lab.invalid:9100/metrics", "a" * 64),
        ("http://{vm}.lab.invalid:9100/metrics", "a b"),
        ("http://{vm}.lab.invalid:9100/metrics", "a/b"),
        ("http://{vm}.lab.invalid:9100/metrics", "user:pw@b"),
        ("http://{vm}.lab.invalid:9100/metrics", "-a"),
        ("http://{vm}.lab.invalid:9100/metrics", "a\u202eb"),
        ("http://{vm}:9100/metrics", "169.254.169.254"),
        ("http://{vm}:9100/metrics", "0x7f000001"),
        ("http://{vm}:9100/metrics", "2130706433"),
        ("http://{vm}:9100/metrics", "127.1"),
        ("http://{vm}:9100/metrics", "localhost"),
        ("http://files.example.com/{vm}/metrics", ".."),
    ],
)
@pytest.mark.parametrize("provider", ["mlflow", "tensorboard", "prometheus", "driverless_ai"])
def test_a_name_that_gives_no_url_costs_only_the_source_of_its_vm(template: str, name: str, provider: str) -> None:
    metric = {"metric": "steps_total"} if provider == "prometheus" else {}
    seen = providers(h2o3=False, sources=[source(provider, url=template, **metric)])
    machine = VmState("vm-1", name, "u", "h", Power.ON, 1, guest_address="10.1.2.3")
    (observation,) = seen.observe([machine])
    assert observation.experiments == ()
    assert "is not the URL of a server" in observation.detail or "must not be an address" in observation.detail


@pytest.mark.parametrize("provider", ["mlflow", "tensorboard", "prometheus", "driverless_ai"])
@pytest.mark.parametrize(
    ("addresses", "networks", "refused"),
    [
        (["127.0.1.1"], [], "has the address 127.0.1.1, which is not the address of a host"),
        (["10.1.2.3", "127.0.1.1"], [], "has the address 127.0.1.1, which is not the address of a host"),
        (["169.254.169.254"], ["10.0.0.0/8"], "169.254.169.254 is outside experiments.allowed_networks"),
        (["fd00:ec2::254"], [], "which is not the address of a host"),
        (["fe80::1%eth0"], [], "which is not the address of a host"),
        (["10.1.2.3"], ["10.2.0.0/16"], "outside experiments.allowed_networks"),
        (["10.1.2.3"], [], ""),
        (["127.0.1.1"], ["127.0.0.0/8"], ""),
        ([], [], ""),
    ],
)
def test_the_name_of_a_vm_chooses_no_server_that_its_address_must_not_be(
    provider: str, addresses: list[str], networks: list[str], refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This machine has names of its own, such as ip6-localhost, and clouds have names for their services."""
    metric = {"metric": "steps_total"} if provider == "prometheus" else {}
    chosen = source(provider, url="http://{vm}:9100/metrics", **metric)
    seen = providers(h2o3=False, sources=[chosen], allowed_networks=networks)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_o: [(0, 0, 0, "", (each, 0)) for each in addresses])
    monkeypatch.setattr(type(seen._sources[0].source), "discover", lambda _self, _target: Searched([], "was asked"))
    (observation,) = seen.observe([VmState("vm-1", "ip6-localhost", "u", "h", Power.ON, 1, guest_address="10.1.2.3")])
    assert (refused or "was asked") in observation.detail


@pytest.mark.parametrize("name", ["ml-1", "ML_cpu.vm-04", "a" * 63])
def test_a_name_that_is_a_host_name_gives_a_url(name: str) -> None:
    assert url_for("http://{vm}.lab.invalid:9100/x", "10.1.2.3", name) == f"http://{name}.lab.invalid:9100/x"


@pytest.mark.parametrize(
    "url",
    [
        "http://{foo}/",
        "http://{vm.__class__}/",
        "http://x/{0}",
        "http://x/}",
        "http://{{vm}}/",
        "http://x/?y={vm.name}",
    ],
)
@pytest.mark.parametrize("provider", ["mlflow", "tensorboard", "prometheus", "driverless_ai"])
def test_braces_that_mean_nothing_are_refused(url: str, provider: str) -> None:
    metric = {"metric": "steps_total"} if provider == "prometheus" else {}
    with pytest.raises(InvalidInput, match="braces that mean nothing"):
        providers(sources=[source(provider, url=url, vms=["ml-1"], **metric)])


@pytest.mark.parametrize("url", [f"http://{'a' * 64}.example.com/", "http://a..b/"])
def test_a_server_that_cannot_be_looked_up_is_refused(url: str) -> None:
    seen = providers(h2o3=False, sources=[source("mlflow", url=url, vms=["ml-1"])])
    with pytest.raises(InvalidInput, match="not the URL of a server"):
        seen.observe([VmState("vm-1", "ml-1", "u", "h", Power.ON, 1, guest_address="10.1.2.3")])


@pytest.mark.parametrize("address", ["a..b", "a" * 64, "a\0b", "ü" * 70])
def test_an_address_of_the_operator_that_is_none_gives_a_sentence(address: str) -> None:
    seen = providers(addresses={"ml-1": address})
    (observation,) = seen.observe([VmState("vm-1", "ml-1", "u", "h", Power.ON, 1)])
    assert "name is not known" in observation.detail or "characters" in observation.detail


@pytest.mark.parametrize("port", [0, -1, 65536, 10**20])
def test_ports_are_ports(port: int) -> None:
    with pytest.raises(InvalidInput, match="not a port"):
        providers(ports=[port])


SPECIAL = [
    "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1", "0:0:0:0:0:ffff:127.1.2.3", "::127.0.0.1",
    "::ffff:0:127.0.0.1", "0.0.0.0", "0.1.2.3", "::", "255.255.255.255", "240.0.0.1", "224.0.0.1", "ff02::1",
    "169.254.1.2", "169.254.169.254", "::ffff:169.254.169.254", "::169.254.169.254", "fe80::1", "fe80::a9fe:a9fe",
    "fec0::1", "fd00:ec2::254", "FD00:0EC2:0000::0254", "fd00:ec2::23", "fd20:ce::254", "100.100.100.200",
    "::ffff:100.100.100.200", "64:ff9b::6464:64c8", "168.63.129.16", "192.0.0.192", "64:ff9b::a9fe:a9fe",
    "64:ff9b::127.0.0.1", "64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::", "2002:7f00:1::1", "fe80::5efe:127.0.0.1",
    "2001:db8::5efe:a9fe:a9fe", "2001:0:4136:e378:8000:63bf:5601:5601", "fd00:42::42", "64:ff9b:1:a9fe:a9:fe00::",
    "64:ff9b:1:7f00:0:100::", "64:ff9b:1:a9:fe:a9fe::", "64:ff9b:1::a9:fea9:fe00:0",
    "64:ff9b:1:a9fe:a9:fe00:808:808",
]  # fmt: skip


@pytest.mark.parametrize("address", SPECIAL)
@pytest.mark.parametrize("networks", [[], ["0.0.0.0/0", "::/0"]])
def test_no_notation_of_this_machine_and_of_services_of_clouds_is_asked(address: str, networks: list[str]) -> None:
    reach = Reach({"allowed_networks": networks, "addresses": {}})
    asked, why_not = reach.address_of(vm(1, guest_address=address), credentials=False)
    assert asked == ""
    assert "not the address of a host" in why_not


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("127.0.1.7", "127.0.0.0/8"), ("127.0.1.7", "127.0.1.0/24"), ("::1", "::1/128"), ("169.254.7.7", "169.254.0.0/16"),
        ("fe80::7", "fe80::/10"), ("::ffff:127.0.1.7", "127.0.0.0/8"), ("100.100.100.200", "100.100.100.200/32"),
    ],
)  # fmt: skip
def test_who_names_a_special_network_may_ask_it(address: str, network: str) -> None:
    reach = Reach({"allowed_networks": ["10.0.0.0/8", network], "addresses": {}})
    assert reach.address_of(vm(1, guest_address=address), credentials=True) == (address, "")


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "100.100.100.201",
        "192.168.1.1",
        "2001:db8::1",
        "fd00::5",
        "64:ff9b::a01:203",
        "64:ff9b:1::a01:203",
        "64:ff9b:1:a01:2:300::",
        "8.8.8.8",
    ],
)
def test_usual_addresses_are_asked(address: str) -> None:
    assert Reach({"allowed_networks": [], "addresses": {}}).address_of(vm(1, guest_address=address), credentials=False)[
        0
    ]
