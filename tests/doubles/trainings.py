# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A training that logs its steps and names its owner, and the program that reads such a log."""

from __future__ import annotations

from tests.labs import ROOT

EXAMPLE = ROOT / "docs" / "examples" / "steplog_provider.py"
TRAINING = """
import json, os, sys, time
path, owner = sys.argv[1:]
started = time.time()
with open(path, "a", buffering=1) as log:
    for step in range(1, 100_000):
        time.sleep(0.02)
        line = {"pid": os.getpid(), "started": started, "step": step, "total": 100_000, "owner": owner}
        log.write(json.dumps(line) + "\\n")
"""
