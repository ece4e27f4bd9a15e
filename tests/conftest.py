# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Import the collection as Ansible does: pytest-ansible installs Ansible's loader for the links of the bootstrap."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
COLLECTIONS = ROOT / ".venv" / "collections"

# On a busy machine an example takes longer; the property still holds.
settings.register_profile("project", deadline=None)
settings.load_profile("project")

if (
    signal.getsignal(signal.SIGINT) == signal.SIG_IGN
):  # a shell's background jobs ignore it, and so would what the tests start
    signal.signal(signal.SIGINT, signal.default_int_handler)

sys.path.insert(0, str(ROOT))
os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(COLLECTIONS)  # pytest-ansible reads it after this file
os.environ["ANSIBLE_CALLBACK_PLUGINS"] = str(ROOT / "tests" / "callbacks")  # playbooks build each module once

from tests.labs import fast_lab, run_module  # noqa: F401 - fixtures for every folder
from tests.measuring import measured, pytest_runtest_call  # noqa: F401 - what is true on a slow machine
from tests.thorough import pytest_runtest_setup  # noqa: F401 - what takes long has a target of its own
from tests.turns import pytest_collection_modifyitems, pytest_configure, pytest_unconfigure  # noqa: F401 - workers take turns
