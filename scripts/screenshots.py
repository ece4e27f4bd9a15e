# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pictures of the documentation: reports and terminals of real runs in the lab.

``make screenshots`` makes all in ``docs/images``, in about 15 minutes. Names on the command line make some: ``10`` (an evacuation of
ten VMs under real training), ``1`` (a move of the experiment's VM) and ``64`` (an evacuation of 64 VMs without guests) are
``report-*.png``; ``terminal`` is the film ``evacuate_host.svg`` and the last screens ``screen-*.svg``. ``made.json`` keeps what the
code showed of an invented run when the pictures were made, so that a test sees when they are old.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / ".venv" / "collections")]

import yaml
from ansible_collections.liveml.vsphere.plugins.module_utils._display.closing import closing_lines
from ansible_collections.liveml.vsphere.plugins.module_utils._display.lines import RunDisplay
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.report import render_html
from ansible_collections.liveml.vsphere.plugins.module_utils._evidence.rows import rows_of
from PIL import Image, ImageOps
from playwright.sync_api import Browser

from scripts.recording import Written, film_of, frames_of, still_of
from scripts.screens import COLUMNS, SHOWN, recordings, screen_of
from tests.browser.chromium import PAPER, Mode, find_chromium, opened, running_chromium
from tests.builders.journals import entries, made_evidence, made_run
from tests.labs import Lab, playbook_command, playbook_environment, running_lab

IMAGES = ROOT / "docs" / "images"
TERMINAL = "terminal"
FILM, FILMED, FILM_ROWS = IMAGES / "evacuate_host.svg", "success", 32
MADE = IMAGES / "made.json"
MAX_FILM = 400_000
MAX_BYTES = 200_000
COLOURS = 256
MARGIN = 53  # of paper, 14 mm
DESK, PHONE = Mode(1280), Mode(390)
PICTURES = {
    "10": (DESK, Mode(1280, "dark"), PHONE, Mode(390, "dark"), Mode(PAPER, "light", "print")),
    "1": (DESK, Mode(390, "dark")),
    "64": (DESK, PHONE),
}
HEIGHTS = {1280: 1900, 390: 1700, PAPER: 973}  # the last is that of A4 between its margins


def main() -> None:
    """Write what the command line names; end with one sentence when there is no browser."""
    asked = sys.argv[1:] or [*PICTURES, TERMINAL]
    wanted = [name for name in asked if name != TERMINAL]
    if TERMINAL in asked:
        write_terminal()
        note_made("terminal")
    if wanted:
        write_pictures(wanted)
    if set(PICTURES) <= set(wanted):
        note_made("report")


def shown_now() -> dict[str, str]:
    """SHA-256 of what the code shows of an invented run, by kind of picture."""
    verdicts = ["uninterrupted", "stalled", "lost", "unknown"]
    evidence = made_evidence(10, verdicts)
    page = re.sub(r"<svg.*?</svg>", "", render_html(evidence), flags=re.DOTALL)  # figures are drawn by another library
    display = RunDisplay(bars=False)
    lines = [line for entry in entries(made_run(10, verdicts)[0]) if (line := display.hear(entry))]
    lines += closing_lines({"experiments": rows_of(evidence)}, subject="Evacuation of esx-05", failed=True)
    shown = {"report": page, "terminal": "\n".join(lines)}
    # Times are those of the machine's zone.
    without_times = {kind: re.sub(r"\d\d:\d\d:\d\d( [A-Z]+)?", "", text) for kind, text in shown.items()}
    return {kind: hashlib.sha256(text.encode()).hexdigest() for kind, text in without_times.items()}


def note_made(kind: str) -> None:
    """Note that pictures of this kind show what the code shows now."""
    made = json.loads(MADE.read_text(encoding="utf-8")) if MADE.exists() else {}
    text = json.dumps({**made, kind: shown_now()[kind]}, indent=2, sort_keys=True)
    MADE.write_text(f"{text}\n", encoding="utf-8")


def write_terminal() -> None:
    """Write the last screens, and the film of one of these runs."""
    for shot, written in recordings():
        if shot.name not in SHOWN:
            continue
        path = IMAGES / f"screen-{shot.name}.svg"
        path.write_text(still_of(screen_of(written), COLUMNS, shot.title), encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000} kB")
        if shot.name == FILMED:
            write_film(written, shot.title)


def write_film(written: list[Written], title: str) -> None:
    """Write what a person saw from the beginning to the end."""
    svg = film_of(frames_of(written, COLUMNS, FILM_ROWS), COLUMNS, FILM_ROWS, title)
    if len(svg) > MAX_FILM:
        sys.exit(f"{FILM.name} has {len(svg)} bytes, more than {MAX_FILM}")
    FILM.write_text(svg, encoding="utf-8")
    print(f"{FILM.relative_to(ROOT)}: {len(svg) // 1000} kB")


def write_pictures(wanted: list[str]) -> None:
    """Write the pictures of these reports."""
    path = find_chromium()
    if path is None:
        sys.exit("There is no Chromium; on Debian: apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="liveml-screenshots-") as folder:
        reports = under_training(Path(folder)) if {"1", "10"} & set(wanted) else {}
        if "64" in wanted:
            reports["64"] = many(Path(folder))
        with running_chromium(path) as browser:
            for name in wanted:
                for mode in PICTURES[name]:
                    write(IMAGES / f"report-{name}-{mode}.png", picture(browser, reports[name], mode))
    if "10" in wanted:
        (IMAGES / "report.png").write_bytes((IMAGES / f"report-10-{DESK}.png").read_bytes())


def under_training(folder: Path) -> dict[str, Path]:
    """Reports of ten moves and of one, with the lab's experiment in one of the VMs."""
    with running_lab() as lab:
        ten = report(lab, folder / "10", "evacuate_host", evacuate_host_name="esx-05")
        one = report(lab, folder / "1", "migrate_vm", migrate_vm_name="ML-cpu-vm-04")
    return {"10": ten, "1": one}


def many(folder: Path) -> Path:
    """Report of 64 moves off one host."""
    topology = folder / "topology.yml"
    topology.write_text(yaml.safe_dump(many_vms(64)))
    with running_lab("--no-guests", "--topology", str(topology)) as lab:
        return report(lab, folder / "64", "evacuate_host", evacuate_host_name="esx-01", evacuate_host_policy="any")


def many_vms(count: int) -> dict[str, object]:
    """A topology of five large hosts in three fault domains, all VMs on the first."""
    sizes = (4, 8, 12, 16)
    return {
        "time_scale": 1.0,
        "link_mbit": 25_000,
        "clusters": [{"name": "ML-cluster"}],
        "datastores": [{"name": "vsanDatastore", "type": "vsan", "capacity_gb": 40960, "free_gb": 20480}],
        "networks": [{"name": "ml-network"}],
        "folders": ["ml"],
        "resource_pools": ["ml-training"],
        "defaults": {
            "host": {"cluster": "ML-cluster", "cores": 128, "mhz": 2600, "memory_gb": 1024, "cpu_used_mhz": 2400,
                     "memory_used_gb": 14},
            "vm": {"folder": "ml", "pool": "ml-training", "cpus": 4, "cpu_used_mhz": 1800,
                   "datastores": ["vsanDatastore"], "networks": ["ml-network"]},
        },
        "hosts": [{"name": f"esx-{n + 1:02}", "fault_domain": f"us-west-2{'abc'[n % 3]}"} for n in range(5)],
        "vms": [
            {"name": f"ML-cpu-vm-{n + 1:02}", "host": "esx-01", "memory_gb": sizes[n % len(sizes)]}
            for n in range(count)
        ],
    }  # fmt: skip


def report(lab: Lab, state: Path, playbook: str, **variables: str) -> Path:
    """Run a playbook; the path of the report that it wrote."""
    command, environment = playbook_command(playbook, state, **variables), playbook_environment(lab)
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    return next((state / "runs").glob("*/report.html"))


def picture(browser: Browser, path: Path, mode: Mode) -> bytes:
    """The top of the report as PNG."""
    with opened(browser, path, mode) as (page, _asked):
        height = min(HEIGHTS[mode.width], page.evaluate("document.documentElement.scrollHeight"))
        return page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": mode.width, "height": height})


def write(path: Path, png: bytes) -> None:
    """Few colours make a small file, and a page has few. Paper gets its margins."""
    buffer = io.BytesIO()
    image = Image.open(io.BytesIO(png)).convert("RGB")
    if image.width == PAPER:
        image = ImageOps.expand(image, border=MARGIN, fill="white")
    # By coverage, so that a rare colour such as that of a stall stays what it is.
    few = image.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(buffer, "PNG", optimize=True)
    if buffer.tell() > MAX_BYTES:
        sys.exit(f"{path.name} has {buffer.tell()} bytes, more than {MAX_BYTES}")
    path.write_bytes(buffer.getvalue())
    print(f"{path.relative_to(ROOT)}: {buffer.tell() // 1000} kB")


if __name__ == "__main__":
    main()
