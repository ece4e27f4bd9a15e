# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a module imports of pyVmomi: every type that the collection names, and none of the services that it does not ask."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[5]
PLUGINS = ROOT / "plugins"
NAMED = re.compile(r"(?<![\w.])(?:vim|vmodl|pbm)(?!\.version\b)(?:\.[A-Za-z]+)+")
PROGRAM = """
import json, sys
from functools import reduce
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.client import UNASKED, vim, vmodl, pbm
asked = [name for name in UNASKED if name in sys.modules]
known = {"vim": vim, "vmodl": vmodl, "pbm": pbm}
def exists(name):
    first, *rest = name.split(".")
    try:
        reduce(getattr, rest, known[first])
    except AttributeError:
        return False
    return True
from pyVmomi import _typeinfo_vsanhealth
print(json.dumps([asked, [name for name in json.loads(sys.argv[1]) if not exists(name)]]))
"""


def test_types_of_services_that_nothing_asks_are_not_imported_and_all_others_are() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in sorted((PLUGINS / "module_utils").rglob("*.py")))
    named = sorted(set(NAMED.findall("\n".join(line.partition("#")[0] for line in source.splitlines()))))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(named)], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".venv" / "collections")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    asked, unknown = json.loads(done.stdout)
    assert len(named) > 30
    assert asked == []
    assert unknown == []
