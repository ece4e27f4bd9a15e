# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The namespace with a bridge: what a command in it sees, and that nothing of it remains."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab import cli
from lab.errors import LabError
from lab.live import bridge
from lab.live.bridge import BRIDGE, TAPS, Bridge, check_taps, missing, run_inside
from lab.paths import ROOT

needs_root = pytest.mark.skipif(bool(missing(taps=True)), reason=f"no bridge can be made: {missing(taps=True)}")


def namespaces() -> set[str]:
    out = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    return {line.split()[0] for line in out.splitlines()}


def test_a_lab_outside_of_a_namespace_says_what_to_do() -> None:
    with pytest.raises(LabError, match=r"as root in `python -m lab bridge COMMAND`"):
        check_taps()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("shutil.which", lambda _name: None), "iproute2"),
        (("os.geteuid", lambda: 1000), "only root"),
        (("TUN", Path("/dev/null/tun")), "/dev/null/tun"),
    ],
)
def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, change: tuple[str, object], reason: str) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/sbin/{name}")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(bridge, "ip", lambda *_words: None)
    monkeypatch.setattr(*((bridge, "TUN", change[1]) if change[0] == "TUN" else change))
    assert reason in missing(taps=True)
    with pytest.raises(LabError, match=reason):
        run_inside(["true"])


@needs_root
def test_a_command_runs_in_a_network_of_its_own(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    look = f"(ip netns identify; ls /sys/class/net) > {seen}; exit 7"
    assert run_inside(["sh", "-c", look]) == 7
    name, *devices = seen.read_text().split()
    assert {BRIDGE, *TAPS} <= set(devices)
    assert name not in namespaces()
    check = "from lab.live.bridge import check_taps; check_taps()"
    with Bridge(TAPS) as made:
        subprocess.run([*made.prefix, sys.executable, "-c", check], cwd=ROOT, check=True)
    with Bridge() as made:
        links = subprocess.run(
            ["ip", "-n", made.namespace, "-json", "link"], capture_output=True, text=True, check=True
        ).stdout
        assert not set(TAPS) & {link["ifname"] for link in json.loads(links)}


@needs_root
def test_a_command_that_is_ended_can_clean_up(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    code = (
        "import pathlib, signal, subprocess, sys, time\n"
        "name = subprocess.run(['ip', 'netns', 'identify'], capture_output=True, text=True).stdout\n"
        f"mark = pathlib.Path({str(mark)!r})\n"
        "signal.signal(signal.SIGTERM, lambda *_: (mark.write_text(f'clean {name}'), sys.exit(3)))\n"
        "mark.write_text('runs')\ntime.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-m", "lab", "bridge", sys.executable, "-c", code], cwd=ROOT)
    end = time.monotonic() + 60
    while not mark.exists() or mark.read_text() != "runs":
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    said, name = mark.read_text().split()
    assert said == "clean"
    assert name not in namespaces()


def test_a_bridge_without_a_command_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["bridge"])
    assert ended.value.code == 2
    assert "give the command to run" in capsys.readouterr().err
