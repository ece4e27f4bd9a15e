# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reference pages that are made from the code are up to date."""

from __future__ import annotations

import re

import pytest
import yaml
from ansible_collections.liveml.vsphere.plugins.module_utils._plan.blockers import BLOCKERS

from scripts.make_reference import FOLDER, PAGES
from tests.labs import ROOT


@pytest.mark.parametrize("file", PAGES)
def test_a_reference_page_is_up_to_date(file: str) -> None:
    assert (FOLDER / file).read_text() == PAGES[file](), "run make reference"


def test_each_reference_page_is_in_the_table_of_contents() -> None:
    sections = yaml.safe_load((ROOT / "docs/docsite/extra-docs.yml").read_text())["sections"]
    listed = [
        page for section in sections if section["title"] in ("Reference", "Playbooks") for page in section["toctree"]
    ]
    assert {file.removesuffix(".rst") for file in PAGES} <= set(listed)


def test_the_page_of_blockers_lists_just_the_checks_that_the_code_makes() -> None:
    folder = ROOT / "plugins" / "module_utils" / "_plan"
    code = "".join((folder / name).read_text() for name in ("blockers.py", "crossing.py", "graphics.py", "planner.py"))
    checks = set(re.findall(r'(?:\breason\(|\byield )"(\w+)"', code))
    for name in ("sites.py", "storage.py"):
        checks |= set(re.findall(r'(?:\byield |\()"(\w+)", ', (folder / name).read_text()))
    assert checks == set(BLOCKERS)
