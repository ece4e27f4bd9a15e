# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``python -m benchmarks`` reads its settings from the environment: ``make bench ONLY=stall TRIALS=3 OUT=FILE``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import chaos, hostile, live, lossy, probing, providers, scale, stall, verdicts, watch
from benchmarks.report import Report
from lab.errors import LabError

SUITES: Mapping[str, tuple[Callable[[Report, int], object], int]] = {
    "stall": (stall.run, stall.USUAL_TRIALS),
    "lossy": (lossy.run, lossy.USUAL_TRIALS),
    "live": (live.run, live.USUAL_MOVES),
    "verdicts": (verdicts.run, verdicts.USUAL_RUNS),
    "watch": (watch.run, watch.USUAL_WINDOWS),
    "providers": (providers.run, providers.USUAL_TRIALS),
    "probing": (probing.run, probing.USUAL_BLOCKS),
    "hostile": (hostile.run, hostile.USUAL_INPUTS),
    "scale": (scale.run, scale.USUAL_ROUNDS),
}

PARTS: Mapping[str, tuple[Callable[[Report, int], object], int]] = {
    "freezes": (stall.run_freezes, stall.USUAL_TRIALS),
    "quiet": (stall.run_quiet, stall.USUAL_TRIALS),
    "cluster": (stall.run_cluster, stall.USUAL_TRIALS),
    "chaos": (chaos.run, chaos.USUAL_SCHEDULES),  # an hour: make chaos
}


def main(environment: Mapping[str, str]) -> int:
    """Run the benchmark that ``ONLY`` names, or all. Return 1 if a promise was broken, 2 for invalid settings."""
    only, trials = environment.get("ONLY", ""), environment.get("TRIALS", "")
    known = {**SUITES, **PARTS}
    if only and only not in known:
        print(f"ONLY is {only}; set it to one of {', '.join(known)}", file=sys.stderr)
        return 2
    if trials and (not trials.isdigit() or int(trials) < 1):
        print(f"TRIALS is {trials}; set it to a whole number of at least 1", file=sys.stderr)
        return 2
    report = Report(Path(environment["OUT"]) if environment.get("OUT") else None)
    try:
        for name in [only] if only else list(SUITES):
            suite, usual = known[name]
            report.say(f"{name} begins")
            suite(report, int(trials) if trials else usual)
    except LabError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    finally:
        report.close()
    for sentence in report.broken:
        print(f"promise broken: {sentence}", file=sys.stderr)
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
