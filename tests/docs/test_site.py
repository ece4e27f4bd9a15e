# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The documentation builds without a warning, and its parts agree with the rest of the tree."""

from __future__ import annotations

import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml

from benchmarks.page import PAGE, page_of, read_results
from tests.docs.pages import DOCSITE, pages
from tests.labs import ROOT

EXAMPLES = ROOT / "docs" / "examples"
LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "docs.py"), str(tmp_path)]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    site = tmp_path / "html"
    for page in ("index", "vm_migrate_module", "evacuate_host_role", "docsite/tutorial_lab"):
        assert (site / f"{page}.html").exists()
    text = (site / "docsite" / "howto_tensorflow_pytorch.html").read_text(encoding="utf-8")
    assert "See which experiments would be watched" in text, "examples are shown"
    index = (site / "index.html").read_text(encoding="utf-8")
    assert "Start here" in index
    captions = re.findall(r'<span class="caption-text">(.*?)</span>', index[: index.index("</aside>")])
    assert captions == [
        "Tutorial",
        "How-to guides",
        "Explanation",
        "Reference",
        "Playbooks",
        "Development",
        "Modules",
        "Filters",
        "Roles",
    ]

    assert dead_links(site) == []


def dead_links(site: Path) -> list[str]:
    """The links within a site whose page or place on the page does not exist."""
    texts = {path.resolve(): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    places = {path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in texts.items()}
    dead = []
    for path, text in texts.items():
        for link in re.findall(r'\b(?:href|src)="([^"]+)"', text):
            parts = urlsplit(unescape(link))
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = target.exists() and (
                not parts.fragment or unquote(parts.fragment) in places.get(target, {parts.fragment})
            )
            if not parts.scheme and not parts.netloc and not known:
                dead.append(f"{path.name}: {link}")
    return dead


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<p id="x"></p><a href="#x"></a><a href="b.html#y"></a><a href="c.html"></a>')
    (tmp_path / "b.html").write_text('<a href="a.html#x"></a><a href="https://example.com/z"></a><img src="d.png">')
    assert sorted(dead_links(tmp_path)) == ["a.html: b.html#y", "a.html: c.html", "b.html: d.png"]


def test_readme_lists_the_versions_of_the_matrix() -> None:
    rows = re.findall(
        r"^   \* - (2\.\d+)\.\d+\n     - (3\.\d+)\.", (DOCSITE / "rst" / "matrix.rst").read_text(), re.MULTILINE
    )
    pythons: dict[str, list[str]] = {}
    for core, python in rows:
        pythons.setdefault(core, []).append(python)
    listed = re.findall(r"^\| (2\.\d+) \| ([\d., ]+) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert dict(listed) == {core: ", ".join(found) for core, found in pythons.items()}


def test_a_warning_ends_the_build(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "page.rst").write_text("Title\n=====\n\n:ref:`nowhere`\n")
    (source / "conf.py").write_text((ROOT / "docs" / "sphinx" / "conf.py").read_text())
    build = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "-b",
        "html",
        "-Droot_doc=page",
        str(source),
        str(tmp_path / "html"),
    ]
    outcome = subprocess.run(build, capture_output=True, text=True, check=False)
    assert outcome.returncode != 0
    assert "nowhere" in outcome.stderr


def test_every_page_is_in_the_table_of_contents() -> None:
    assert {page.stem for page in (DOCSITE / "rst").glob("*.rst")} == {page.stem for page in pages()} - {"README"}


def test_the_page_of_figures_is_that_of_the_results() -> None:
    assert page_of(read_results()) == PAGE.read_text(encoding="utf-8")


def test_every_example_is_shown_and_is_yaml_or_a_program() -> None:
    shown = "".join(page.read_text(encoding="utf-8") for page in pages())
    for example in EXAMPLES.glob("*.[!m]*"):
        assert f"examples/{example.name}" in shown
        if example.suffix == ".yml":
            assert yaml.safe_load(example.read_text(encoding="utf-8"))


def test_links_of_readme_files_lead_somewhere() -> None:
    readmes = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("*/README.md"), *ROOT.glob("roles/*/README.md")]
    dead = [
        f"{readme.relative_to(ROOT)}: {target}"
        for readme in readmes
        for target in LINK.findall(readme.read_text(encoding="utf-8"))
        if not (readme.parent / target).exists()
    ]
    assert dead == []


def test_pages_and_role_name_the_same_privileges() -> None:
    role = (ROOT / "roles" / "operator_role" / "README.md").read_text(encoding="utf-8")
    page = (DOCSITE / "rst" / "howto_first_vcenter.rst").read_text(encoding="utf-8")
    named = re.compile(r"`((?:Resource|Host|Global)\.[\w.]+)`")
    rows = [line for line in page.splitlines() if line.startswith("``")]
    assert set(named.findall("\n".join(rows))) == set(named.findall(role))
