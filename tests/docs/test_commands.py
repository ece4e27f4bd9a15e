# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every command in README and documentation is typed exactly as written, against a lab, page by page.

Two pages run at a time, each in a lab and a home folder of its own. A page that needs the results of another one runs after it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from tests.docs.pages import Command, Outcome, commands, missing, pages, run
from tests.labs import ENVIRONMENT, ROOT, Lab, login, running_lab
from tests.thorough import THOROUGH

pytestmark = pytest.mark.long

BIN = Path(sys.executable).parent
# What is not run, and why.
NOT_RUN = {
    r"^make (demo|test)$": "they run everything, this test included",
    r"^make live$": "tests/live runs a sample of it, and all of it by that command",
    r"^make lab(-stop)?$": "the lab of the test stands for it",
    r"^git clone ": "the checkout of the test stands for it",
    r"awx|CONTROLLER_": "there is no AWX; tests/awx applies it to a double of its API",
    r"^ansible-builder |^podman |^docker ": "no image can be built or pushed here",
    r"^pip install |^ansible-galaxy collection (build|install)": "the environment of the tests has it installed",
}
# Names in the documentation, and what stands for them here, unless the lab has such a host. Users and their names are those of the lab already.
MEANT = {
    "esx-05.example.com": "esx-05",
    "esx-10.example.com": "esx-05",
    "vcenter.example.com": "127.0.0.1",
    "https://chat.example.com": "$CHAT",
    "=ml-cluster": "=ML-cluster",
    r"VSPHERE.LOCAL\liveml": r"VSPHERE.LOCAL\operator",
}
# Commands that end otherwise than by 0.
ENDS = {r"^timeout --signal=KILL": {137}, r"liveml\.vsphere\.report_failure$": {2}}
# Pages that continue where another one ended.
FOLLOWS = {"howto_verify_evidence": "tutorial_lab"}
# Pages that take long, and whose commands other tests run as well.
LONG = {
    "tutorial_lab",
    "howto_verify_evidence",
    "howto_first_vcenter",
    "howto_gitops",
    "howto_local_storage",
    "howto_notifications",
    "howto_tensorflow_pytorch",
    "howto_vmc",
    "howto_witness",
}
# Pages that need another lab than the default one.
TOPOLOGIES = {"playbook_round_trip_cloud": Path(__file__).with_name("examples.yml")}
# How fast simulated time passes: in the tutorial a run is killed under way.
TIME_SCALES = {"tutorial_lab": "0.1"}


@dataclass(frozen=True)
class Reading:
    """A page that was read: how its commands ended, and the lab before and after."""

    outcomes: list[Outcome]
    before: dict[str, Any]
    after: dict[str, Any]
    demanded: set[str]
    messages: list[str]


def scripts() -> dict[str, list[Command]]:
    """The commands to run, by page. A page is left out if earlier pages have all of its commands."""
    found: dict[str, list[Command]] = {}
    seen: set[str] = set()
    for page in pages():
        script = [c for c in commands(page.read_text(encoding="utf-8")) if reason(c) is None]
        if {command.text for command in script} - seen:
            found[page.stem] = script
        seen |= {command.text for command in script}
    return found


def reason(command: Command) -> str | None:
    """Why a command is not run."""
    return next((why for pattern, why in NOT_RUN.items() if re.search(pattern, command.text)), None)


SCRIPTS = scripts()
# The pages about playbooks change nothing, so one lab is enough for all of them; tests/e2e runs the playbooks.
PLAYBOOKS = [page for page in SCRIPTS if page.startswith("playbook_") and page not in TOPOLOGIES]
LONG |= {*PLAYBOOKS, *TOPOLOGIES}
FOLLOWS |= dict.fromkeys(PLAYBOOKS[1:], PLAYBOOKS[0])


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[dict[str, Reading]]]]:
    followed = {page: [page, *(f for f, first in FOLLOWS.items() if first == page)] for page in SCRIPTS}
    chains = [chain for page, chain in followed.items() if page not in FOLLOWS and (THOROUGH or page not in LONG)]
    with ThreadPoolExecutor(2) as readers:
        begun = {}
        for chain in chains:
            future = readers.submit(read_pages, chain, tmp_path_factory.mktemp(chain[0]))
            begun |= dict.fromkeys(chain, future)
        yield begun
        readers.shutdown(cancel_futures=True)


def read_pages(names: list[str], folder: Path) -> dict[str, Reading]:
    """Type what the pages say, in one lab and one home folder."""
    found = {}
    (folder / "home").mkdir()
    for example in (ROOT / "docs" / "examples").iterdir():
        shutil.copy(example, folder)
    topology = ["--topology", str(TOPOLOGIES[names[0]])] if names[0] in TOPOLOGIES else []
    with (
        running_lab("--no-guests", "--time-scale", TIME_SCALES.get(names[0], "0.01"), *topology) as lab,
        chat() as (url, messages),
    ):
        if topology:
            name_the_cloud(folder / "cloud.yml", lab.other("cloud"))
        for name in names:
            before = lab.get("state")
            script = [meant(command, before["hosts"]) for command in SCRIPTS[name]]
            environment = {**reader(lab, folder / "home"), "CHAT": url}
            outcomes = run(script, prelude(lab), folder, environment, seconds=900)
            demanded = set(lab.get("privileges").get(lab.answer["operator"]["user"], ()))
            found[name] = Reading(outcomes, before, lab.get("state"), demanded, messages)
    return found


@contextmanager
def chat() -> Iterator[tuple[str, list[str]]]:
    """The URL of a chat server's webhook, and the texts that it received."""
    messages: list[str] = []

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", messages
    finally:
        server.shutdown()
        server.server_close()


def name_the_cloud(example: Path, cloud: Lab) -> None:
    """Write the login of the lab's other vCenter into the example."""
    variables = yaml.safe_load(example.read_text(encoding="utf-8"))
    variables["evacuate_host_destination_vcenter"] = login(cloud)
    example.write_text(yaml.safe_dump(variables), encoding="utf-8")


def meant(command: Command, hosts: Collection[str]) -> Command:
    text, shown = command.text, "\n".join(command.shown)
    for name, stands_for in MEANT.items():
        if name in hosts:
            continue
        text, shown = text.replace(name, stands_for), shown.replace(name, stands_for)
    return Command(text, tuple(shown.split("\n")) if shown else ())


def reader(lab: Lab, home: Path) -> dict[str, str]:
    """The environment of a reader with the collection installed, whose vCenter has the lab's port and certificate."""
    kept = {key: value for key, value in ENVIRONMENT.items() if not key.startswith(("ANSIBLE_", "VMWARE_"))}
    own = {
        "HOME": str(home),
        "PATH": f"{BIN}{os.pathsep}{ENVIRONMENT['PATH']}",
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv" / "collections"),
        "ANSIBLE_CALLBACK_PLUGINS": ENVIRONMENT["ANSIBLE_CALLBACK_PLUGINS"],
        "NO_COLOR": "1",
    }
    return {**kept, **lab.env, **own}


def prelude(lab: Lab) -> str:
    """Types the passwords that are asked for; takes the test's lab for the checkout's; kills a run when a VM moves, not by time."""
    users = [lab.answer[name] for name in ("vcenter", "restricted", "operator")]
    passwords = " ".join(f"[{user['user']}]={user['password']!r}" for user in users)
    return f"""
        declare -A passwords=({passwords})
        read() {{ eval "${{!#}}=\\${{passwords[$VMWARE_USER]-secret}}"; }}
        python() {{
            if [ "$1 $2" = "-m lab" ]; then (cd {ROOT} && {sys.executable} "$@" --state {lab.answer["state"]}); else command python "$@"; fi
        }}
        timeout() {{
            "${{@:3}}" & local pid=$!
            until {sys.executable} -c {MOVES!r} {lab.answer["control"]}; do kill -0 $pid || return 1; sleep 0.1; done
            kill -KILL $pid; wait $pid
        }}
    """


MOVES = "import json, sys, urllib.request as u; sys.exit(not json.load(u.urlopen(sys.argv[1] + '/v1/state'))['moves'])"


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.thorough] if page in LONG else []) for page in SCRIPTS]
)
def test_the_commands_of_a_page_do_what_it_says(page: str, readings: dict[str, Future[dict[str, Reading]]]) -> None:
    reading = readings[page].result()[page]
    for outcome in reading.outcomes:
        text = outcome.command.text
        expected = next((codes for pattern, codes in ENDS.items() if re.search(pattern, text)), {0})
        assert outcome.code in expected, f"{text}\n{outcome.printed}"
        assert missing(outcome) == [], f"{text}\n{outcome.printed}"
    for part in ("host", "power"):
        places = [{vm: state[part] for vm, state in seen["vms"].items()} for seen in (reading.before, reading.after)]
        assert places[0] == places[1], "a page leaves the VMs where it found them"
    assert {host["maintenance"] for host in reading.after["hosts"].values()} == {"normal"}


@pytest.mark.thorough
def test_the_role_of_the_first_vcenter_is_enough_and_no_more(readings: dict[str, Future[dict[str, Reading]]]) -> None:
    reading = readings["howto_first_vcenter"].result()["howto_first_vcenter"]
    assert len(reading.after["moves"]) == 20
    readme = (ROOT / "roles" / "operator_role" / "README.md").read_text(encoding="utf-8").split("| privilege |")[1]
    rows = [line for line in readme.splitlines() if line.startswith("| `") and "off by default" not in line]
    named = {row.split("`")[1] for row in rows} - {"System.Anonymous"}
    assert reading.demanded - {"System.View", "System.Anonymous"} == named


@pytest.mark.thorough
def test_messages_are_sent(readings: dict[str, Future[dict[str, Reading]]]) -> None:
    messages = readings["howto_notifications"].result()["howto_notifications"].messages
    assert messages == ["esx-05 is being evacuated.", "esx-05 is evacuated."]


@pytest.mark.parametrize("pattern", NOT_RUN)
def test_what_is_not_run_is_there(pattern: str) -> None:
    every = [command.text for page in pages() for command in commands(page.read_text(encoding="utf-8"))]
    assert any(re.search(pattern, text) for text in every), "remove it from NOT_RUN"


def test_readme_is_a_short_form_of_the_docsite() -> None:
    assert "README" not in SCRIPTS, "the docsite has its commands, in the same words"
