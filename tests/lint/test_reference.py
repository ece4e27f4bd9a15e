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
from scripts.make_roles import evacuation_only, options_of
from scripts.playbook_pages import playbooks
from tests.docs.pages import commands
from tests.labs import ROOT


@pytest.mark.parametrize("file", PAGES)
def test_a_reference_page_is_up_to_date(file: str) -> None:
    assert (FOLDER / file).read_text() == PAGES[file](), "run make reference"


@pytest.mark.parametrize("playbook", playbooks())
def test_the_command_of_a_playbook_gives_what_the_playbook_demands(playbook: str) -> None:
    (play,) = yaml.safe_load((ROOT / "playbooks" / f"{playbook}.yml").read_text())
    role, given = play["roles"][0]["role"].removeprefix("liveml.vsphere."), set(play["roles"][0].get("vars", {}))
    demanded = {name for name, option in options_of(role).items() if option.get("required")}
    for task in play.get("pre_tasks", ()):
        demanded |= set(re.findall(rf"\b{role}_\w+", str(task.get("ansible.builtin.assert", ""))))
    command = commands((FOLDER / f"playbook_{playbook}.rst").read_text())[0].text
    given |= set(re.findall(r"-e '?(\w+)=", command))
    for file in re.findall(r"-e @(\S+)", command):
        given |= set(yaml.safe_load((ROOT / "docs" / "examples" / file).read_text()))
    assert demanded <= given


def test_the_page_of_a_restore_has_no_option_of_an_evacuation() -> None:
    page = (FOLDER / "playbook_restore_fault_domain.rst").read_text()
    assert [option for option in evacuation_only("fault_domain") if option in page] == []


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
    for name in ("homes.py", "sites.py", "storage.py"):
        checks |= set(re.findall(r'(?:\byield |\()"(\w+)", ', (folder / name).read_text()))
    assert checks == set(BLOCKERS)
