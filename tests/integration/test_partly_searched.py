# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One source finds an experiment in a VM and another one cannot look: that is said before a run, after it and in the evidence."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.doubles.servers import answering
from tests.labs import Lab, RunModule

HOST = "esx-05"
PROGRAM = """
import json, sys
step = 0
for line in sys.stdin:
    question, step = json.loads(line), step + 1
    found = {"id": "job", "process": "p1", "step": step, "total_steps": 100000}
    print(json.dumps({"experiments": [found]} if question["op"] == "discover" else found), flush=True)
"""


def test_a_source_that_could_not_look_is_named_beside_what_another_one_found(
    fast_lab: Lab, run_module: RunModule, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with answering(lambda _path: (401, {})) as url:
        own = {"provider": "exec", "command": [sys.executable, str(program)]}
        options = {
            "experiments": {"h2o3": False, "sources": [own, {"provider": "mlflow", "url": url}], "baseline": 0.5}
        }
        seen = run_module("experiment_info", fast_lab, host=HOST, **options)
        found = {each["vm_name"] for each in seen["experiments"]}
        assert found
        why = f"{url}: authentication failed (HTTP 401); check username, password and token"
        assert seen["partly_searched"] == dict.fromkeys(found, why)

        state = str(tmp_path / "state")
        plan = run_module("migration_plan", fast_lab, host=HOST, state_dir=state)
        run = {"host": HOST, "purpose": "evacuate", "fence": False, "plan": plan["plan"], "state_dir": state, **options}
        checked = run_module("vm_migrate", fast_lab, check=True, **run)
        assert checked["partly_searched"] == dict.fromkeys(found, why)
        moved = run_module("vm_migrate", fast_lab, **run)
    assert moved.get("failed") is not True, moved
    assert moved["partly_searched"] == dict.fromkeys(found, why)
    told = run_module("evidence_report", run_id=moved["run_id"], state_dir=state)
    assert told["partly_searched"] == dict.fromkeys(found, why)
    (gap,) = (
        gap
        for gap in json.loads(Path(told["evidence_path"]).read_text())["gaps"]
        if gap["what"] == "Whether the VM had other experiments"
    )
    assert gap["vms"] == sorted(found)
    assert gap["why"].startswith("authentication failed (HTTP 401)")
