# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Provider h2o3, watch and verdict against real H2O-3 servers that are frozen, killed, restarted and protected."""

from __future__ import annotations

import contextlib
import json
import re
import select
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.discovery import Providers
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import (
    Capabilities,
    Experiment,
    Judgement,
    Verdict,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.h2o3 import H2o3
from ansible_collections.liveml.vsphere.plugins.module_utils._module.argspec import EXPERIMENT_OPTIONS
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs12

from lab.h2o import H2O
from lab.toolchain import find_java, h2o_jar
from tests.builders.certificates import certified, pem
from tests.labs import ROOT, Lab, RunModule, running_lab
from tests.measuring import Measured, until

pytestmark = pytest.mark.alone

VM = "ML-cpu-vm-01"
SETTINGS = {name: option.get("default") for name, option in EXPERIMENT_OPTIONS.items()} | {
    "baseline": 1.0,
    "settle_timeout": 60.0,
    "allowed_networks": ["127.0.0.0/8"],
}
GBM = {"algorithm": "gbm", "ntrees": 100_000}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One VM that trains without end on a small cluster."""
    topology = yaml.safe_load((ROOT / "lab" / "topologies" / "small.yml").read_text())
    topology["vms"][0]["h2o3"] = {"heap_mb": 1024, "threads": 1, "nice": 10, "train": GBM}
    path = tmp_path_factory.mktemp("topology") / "one.yml"
    path.write_text(yaml.safe_dump(topology))
    with running_lab("--topology", str(path)) as running:
        yield running


class Watched:
    """The experiment of a VM under watch, as ``vm_migrate`` does it."""

    def __init__(self, lab: Lab, run_module: RunModule, folder: Path, **settings: Any) -> None:
        self.lab = lab
        (found,) = run_module("experiment_info", lab, vms=[VM])["experiments"]
        self.experiment = Experiment(**{**found, "capabilities": Capabilities(**found["capabilities"])})
        self.progress: list[float | None] = []
        self._watch = Providers(SETTINGS | settings).watch(
            (self.experiment,), folder, lambda _experiment, sample, _gained: self.progress.append(sample.progress)
        )

    def through(self, *actions: dict[str, Any], seconds: float) -> Judgement:
        """Watch a baseline, do to the guest what ``actions`` say, watch on for ``seconds`` and until it is settled."""
        vm = self.experiment.vm
        with self._watch as watch:
            watch.baseline()
            watch.focus(vm)
            time.sleep(0.3)
            for action in actions:
                self.lab.post(f"guests/{VM}", **action)
            time.sleep(seconds)
            watch.moved(vm)
            while not watch.settled(vm):
                time.sleep(0.1)
            (judgement,) = watch.judge(vm)
        return judgement


@pytest.fixture
def watched(lab: Lab, run_module: RunModule, tmp_path: Path) -> Watched:
    return Watched(lab, run_module, tmp_path)


@pytest.mark.parametrize("stun", [0.4, pytest.param(1.2, marks=pytest.mark.thorough), 3.0])
def test_a_stun_lies_within_the_stated_interval(watched: Watched, measured: Measured, stun: float) -> None:
    judgement = watched.through({"action": "stun", "seconds": stun}, seconds=stun + 0.5)
    true = watched.lab.get("state")["vms"][VM]["freezes"][-1]["seconds"]
    assert judgement.verdict in (Verdict.UNINTERRUPTED, Verdict.UNKNOWN), judgement
    assert judgement.longest_stall is not None
    assert true <= judgement.longest_stall.high
    with measured():
        assert judgement.verdict is Verdict.UNINTERRUPTED, judgement.detail
        assert judgement.longest_stall.low <= true, (judgement.longest_stall, true)
        assert judgement.stall == "proven"
    assert (judgement.identity, judgement.progress) == ("proven", "proven")
    assert judgement.progress_after > judgement.progress_before


def test_without_a_stun_no_stall_is_claimed(watched: Watched, measured: Measured) -> None:
    judgement = watched.through(seconds=4)
    assert judgement.verdict in (Verdict.UNINTERRUPTED, Verdict.UNKNOWN), judgement
    assert judgement.longest_stall is not None
    with measured():
        assert judgement.verdict is Verdict.UNINTERRUPTED, judgement.detail
        assert judgement.longest_stall.at is None, judgement.longest_stall
    assert watched.progress, "the listener hears how far the experiment is"


def test_a_server_that_stays_frozen_is_unknown_also_to_who_watches_on(
    lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    watched = Watched(lab, run_module, tmp_path, settle_timeout=3.0)
    judgement = watched.through({"action": "freeze"}, seconds=2)
    assert judgement.verdict is Verdict.UNKNOWN
    assert judgement.longest_stall is None or judgement.stall != "proven"
    watched.lab.post(f"guests/{VM}", action="thaw")
    samples = tmp_path / "samples.jsonl"
    samples.write_text(samples.read_text().replace('"session": "', '"session": "before '))
    with Providers(SETTINGS).watch((watched.experiment,), tmp_path, lambda *_news: None) as watch:
        time.sleep(2)
        (judgement,) = watch.judge(watched.experiment.vm)
    assert judgement.verdict is not Verdict.UNINTERRUPTED, "nobody watched while it thawed"
    assert judgement.unwatched_seconds > 0


def test_a_stall_above_the_budget_is_stalled(watched: Watched, measured: Measured) -> None:
    judgement = watched.through({"action": "stun", "seconds": 6.5}, seconds=7)
    assert judgement.verdict in (Verdict.STALLED, Verdict.UNKNOWN), judgement
    assert judgement.longest_stall is not None
    assert judgement.longest_stall.high >= 6.5
    with measured():
        assert judgement.verdict is Verdict.STALLED, judgement.detail
        assert judgement.longest_stall.low > 5


def test_modules_find_wait_for_and_lose_an_experiment(lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    found = run_module("experiment_info", lab, host="esx-01")
    assert [e["vm_name"] for e in found["experiments"]] == [VM]
    assert set(found["unobserved"]) == {"ML-cpu-vm-02", "ML-cpu-vm-03", "ML-cpu-vm-04"}
    address = lab.get("state")["vms"][VM]["guest_address"]
    asked = {
        "outside experiments.allowed_networks": {"allowed_networks": ["10.0.0.0/8"]},
        "is outside experiments": {
            "allowed_networks": ["10.0.0.0/8"],
            "username": "alice",
            "password": "never-sent",
        },
        "no server listens": {"ports": [1]},
        "no answer": {"use_tls": True},
    }
    for sentence, settings in asked.items():
        seen = run_module("experiment_info", lab, vms=[VM], experiments=settings)
        assert sentence in seen["unobserved"][VM], seen
    seen = run_module(
        "experiment_info", lab, vms=["ML-cpu-vm-02"], experiments={"addresses": {"ML-cpu-vm-02": address}}
    )
    assert len(seen["experiments"]) == 1

    plan = run_module("migration_plan", lab, vms=[VM], policy="other_only", state_dir=str(tmp_path))["plan"]
    settings = {"baseline": 1, "settle_timeout": 60}
    moved = run_module(
        "vm_migrate", lab, plan=plan, purpose="evacuate", state_dir=str(tmp_path), experiments=settings,
    )  # fmt: skip
    assert [e["verdict"] for e in moved["experiments"]] == ["uninterrupted"], moved
    page = (Path(moved["run_dir"]) / "report.html").read_text(encoding="utf-8")
    assert "The run has ended" in page
    assert re.search(r">at most [\d.]+\s+s<", page), "the watch showed what it saw"
    waited = run_module("experiment_wait", state_dir=str(tmp_path))
    assert [v["verdict"] for v in waited["verdicts"]] == ["uninterrupted"]
    # Another controller has no journal, only the artifact of the run.
    handed_on = run_module("evidence_report", state_dir=str(tmp_path))["artifact"]
    assert (handed_on["version"], handed_on["verdict"]) == (1, "uninterrupted")
    elsewhere = {"state_dir": str(tmp_path / "elsewhere"), "artifact": handed_on}
    assert [v["verdict"] for v in run_module("experiment_wait", **elsewhere)["verdicts"]] == ["uninterrupted"]
    newer = run_module("experiment_wait", state_dir=str(tmp_path), artifact={**handed_on, "version": 2})
    assert "its version is 2, not 1" in newer["msg"]
    late = run_module("experiment_wait", state_dir=str(tmp_path), until="finished", wait_timeout=1)
    assert late["failed"]
    # One second of a busy machine may be too short to see progress.
    assert re.search(rf"{VM}: (uninterrupted|unknown), .* Within 1 s its end was not seen; wait_timeout", late["msg"])

    never_recoverable(lab, run_module, tmp_path)
    lab.post(f"guests/{VM}", action="kill")
    gone = run_module("experiment_wait", state_dir=str(tmp_path), wait_timeout=60)
    assert f"{VM}: lost" in gone["msg"]
    lab.post(f"guests/{VM}", action="restart")
    wait_until_up(address)
    back = run_module("experiment_wait", state_dir=str(tmp_path), wait_timeout=60)
    assert f"{VM}: lost, ? % (the process that answers now does not know the job" in back["msg"]
    assert f"{VM}: lost" in run_module("experiment_wait", wait_timeout=60, **elsewhere)["msg"]
    assert run_module("experiment_info", lab, vms=[VM])["unobserved"][VM].endswith("no training job runs")


def test_vcenter_proves_the_process_by_the_guest_s_own_list(lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    """For any training: the same process before and after. If a guest cannot be asked, this is reported and its VM moves."""
    login = lab.answer["guest"]
    wanted: dict[str, Any] = {"enabled": False, "guest_username": login["user"], "guest_process": "h2o.jar"}
    wanted["guest_vms"] = [VM, "ML-cpu-*"]

    def moved(vms: list[str], password: str) -> dict[str, dict[str, Any]]:
        plan = run_module("migration_plan", lab, vms=vms, policy="other_only", state_dir=str(tmp_path))["plan"]
        options = {**wanted, "guest_password": password}
        result = run_module("vm_migrate", lab, plan=plan, state_dir=str(tmp_path), experiments=options)
        assert "msg" not in result, result["msg"]
        evidence = json.loads(Path(run_module("evidence_report", state_dir=str(tmp_path))["evidence_path"]).read_text())
        return {move["vm"]: move["guest_processes"] for move in evidence["moves"]}

    told = moved([VM, "ML-cpu-vm-02"], login["password"])
    assert told[VM]["same"] is True
    (process,) = told[VM]["before"]
    assert process["pid"] == lab.get("state")["vms"][VM]["guest"]["pid"]
    assert told["ML-cpu-vm-02"]["same"] is None
    assert told["ML-cpu-vm-02"]["detail"] == "no process fits experiments.guest_process"
    del wanted["guest_vms"][1]
    told = moved([VM, "ML-cpu-vm-02"], login["password"])
    assert told["ML-cpu-vm-02"]["detail"] == "not asked: the VM is not in experiments.guest_vms"
    assert told[VM]["same"] is True
    told = moved([VM], "not-the-one")
    assert (told[VM]["same"], told[VM]["detail"]) == (None, "InvalidGuestLogin")
    written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert login["password"] not in written
    assert "-Xmx" not in written, "command lines may hold secrets"
    refused = run_module("vm_migrate", lab, plan={}, experiments={"guest_username": "alice"})
    assert "guest_password" in refused["msg"]
    assert "guest_vms" in refused["msg"]
    odd = {**wanted, "guest_password": "never-sent", "guest_process": "("}
    plan = run_module("migration_plan", lab, vms=[VM], policy="other_only", state_dir=str(tmp_path))["plan"]
    assert "experiments.guest_process" in run_module("vm_migrate", lab, plan=plan, experiments=odd)["msg"]
    nobody = {**wanted, "guest_password": "never-sent", "guest_vms": []}
    assert "experiments.guest_vms is empty" in run_module("vm_migrate", lab, plan=plan, experiments=nobody)["msg"]


def never_recoverable(lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    """A plain GBM writes no checkpoints: the policy says so, or refuses before anything moves, also in check mode and when asked again."""
    (found,) = run_module("experiment_info", lab, vms=[VM], experiments={"require_checkpoint": "warn"})["experiments"]
    assert (found["recoverable"], found["owner"]) == ("no", "vision")
    assert found["recovery"] == "no in_training_checkpoints_dir and no auto-recovery"
    plan = run_module("migration_plan", lab, vms=[VM], policy="other_only", state_dir=str(tmp_path))["plan"]
    before = lab.get("state")["moves"]
    for check in (True, False, False):
        refused = run_module(
            "vm_migrate", lab, check=check, plan=plan, purpose="migrate", state_dir=str(tmp_path),
            experiments={"require_checkpoint": "refuse"},
        )  # fmt: skip
        assert "No checkpoint would save these experiments; this call moved no VM (ML-cpu-vm-01" in refused["msg"]
    told = run_module(
        "vm_migrate", lab, check=True, plan=plan, purpose="migrate", state_dir=str(tmp_path),
        experiments={"require_checkpoint": "warn"},
    )  # fmt: skip
    assert told["changed"], told
    assert [(each["vm_name"], each["owner"], each["id"]) for each in told["found"]] == [(VM, "vision", found["id"])]
    assert "An experiment could not be recovered from a checkpoint if it were lost: ML-cpu-vm-01" in str(
        told["warnings"]
    )
    assert lab.get("state")["moves"] == before


def wait_until_up(address: str) -> None:
    server = H2O(f"http://{address}:54321")
    until(server.answers)


@dataclass
class Protected:
    """A real H2O-3 server that wants TLS and a password: where it is, and what verifies its certificate."""

    address: str
    ca: Path
    context_path: str = "ml"

    def settings(self, **changes: Any) -> dict[str, Any]:
        good = {
            "addresses": {"ML-cpu-vm-02": self.address},
            "use_tls": True,
            "ca_path": str(self.ca),
            "context_path": self.context_path,
            "username": "alice",
            "password": "right-one",
        }
        return good | changes


@pytest.fixture
def protected(tmp_path: Path) -> Iterator[Protected]:
    """It shows browsers a form, answers all others by basic authentication, and all below a context path."""
    address = "127.0.99.1"
    certificate = keystore(tmp_path, address)
    # With this offset, the port of the cluster is outside the range for connections of other tests.
    (tmp_path / "realm.properties").write_text("alice: right-one, user\n")
    command = [
        find_java(), "-Xmx512m", "-jar", h2o_jar(), "-ip", "127.0.0.1", "-web_ip", address, "-port", "54321",
        "-port_offset", "7007", "-name", "protected", "-nthreads", "1", "-ice_root", tmp_path / "ice",
        "-jks", tmp_path / "server.p12", "-jks_pass", "keystore", "-hash_login",
        "-login_conf", tmp_path / "realm.properties", "-flatfile", tmp_path / "flatfile",
        "-form_auth", "-context_path", "ml",
    ]  # fmt: skip
    (tmp_path / "flatfile").write_text("127.0.0.1:54321\n")
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
    try:
        yield Protected(address, certificate)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(tmp_path / "ice", ignore_errors=True)


def keystore(folder: Path, address: str) -> Path:
    """A server's certificate as PEM, and with its key in the store that Java reads."""
    key, certificate = certified(address, address)
    store = pkcs12.serialize_key_and_certificates(
        b"server", key, certificate, None, BestAvailableEncryption(b"keystore")
    )
    (folder / "server.p12").write_bytes(store)
    (folder / "ca.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    return folder / "ca.pem"


@contextlib.contextmanager
def demanding_relay(server: Protected, address: str, own: tuple[Path, Path], client: Path) -> Iterator[None]:
    """What stands before a server that is not to be reached without a client's certificate; it only passes bytes on."""
    wanted = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client)
    wanted.verify_mode = ssl.CERT_REQUIRED
    wanted.load_cert_chain(*own)
    upstream = ssl.create_default_context(cafile=server.ca)

    class Relay(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                here = wanted.wrap_socket(self.request, server_side=True)
                raw = socket.create_connection((server.address, 54321))
                there = upstream.wrap_socket(raw, server_hostname=server.address)
                pass_on(here, there)

    listening = socketserver.ThreadingTCPServer((address, 54321), Relay, bind_and_activate=False)
    listening.allow_reuse_address = listening.daemon_threads = True
    listening.server_bind()
    listening.server_activate()
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        listening.shutdown()
        listening.server_close()


def pass_on(here: ssl.SSLSocket, there: ssl.SSLSocket) -> None:
    """Pass bytes both ways in one thread: a TLS connection is not to be read and written by two at once."""
    ways = {here: there, there: here}
    with here, there:
        while True:
            ready = [end for end in ways if end.pending()] or select.select(list(ways), [], [])[0]
            for source in ready:
                data = source.recv(1 << 16)
                if not data:
                    return
                ways[source].sendall(data)


def life_at(protected: Protected, **changes: Any) -> str:
    """What the question whether a node lives comes to."""
    url = f"https://{protected.address}:54321/{protected.context_path}"
    node = Experiment("vm-2", "ML-cpu-vm-02", "h2o3", "job", "", url, cluster="protected")
    session = H2o3({**SETTINGS, **protected.settings(**changes)}).session(node)
    try:
        return session.sample().outcome
    finally:
        session.close()


def test_tls_and_passwords(protected: Protected, lab: Lab, run_module: RunModule, tmp_path: Path) -> None:
    def asked(**changes: Any) -> str:
        options = protected.settings(**changes)
        result = run_module("experiment_info", lab, vms=["ML-cpu-vm-02"], experiments=options)
        assert "right-one" not in str(result)
        return str(result["unobserved"]["ML-cpu-vm-02"])

    until(lambda: "no training job runs" in asked())
    assert "authentication failed" in asked(password="wrong-one")
    assert "its certificate is not accepted" in asked(ca_path=None)
    assert "no training job runs" in asked(ca_path=None, validate_certs=False)
    assert "not an H2O-3 server" in asked(context_path="elsewhere")
    assert life_at(protected) in ("answered", "job_missing"), "it lives; whether it knows the job may be known already"
    assert life_at(protected, password="wrong-one") == "invalid"

    relay = "127.0.99.3"
    own, (shown, key) = pem(tmp_path, "relay", relay), pem(tmp_path, "client", "127.0.99.4")
    with demanding_relay(protected, relay, own, shown):
        through = {"addresses": {"ML-cpu-vm-02": relay}, "ca_path": str(own[0])}
        assert "a client certificate" in asked(**through)
        certificate = {"client_cert": str(shown), "client_key": str(key)}
        assert "no training job runs" in asked(**through, **certificate)
        stranger, its_key = pem(tmp_path, "stranger", "127.0.99.5")
        refused = asked(**through, client_cert=str(stranger), client_key=str(its_key))
        assert "no training job runs" not in refused
    unusable = run_module("experiment_info", lab, experiments=protected.settings(client_cert=str(tmp_path / "none")))
    assert "experiments.client_cert cannot be used" in unusable["msg"]
