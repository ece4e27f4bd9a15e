# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sphinx makes the site from the output of antsibull-docs with these settings. scripts/docs.py copies this file."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

from sphinx.application import Sphinx

project = "liveml.vsphere"
project_copyright = "liveml.vsphere contributors"
html_title = "liveml.vsphere"
extensions = ["sphinx.ext.intersphinx", "sphinx_antsibull_ext"]
html_theme = "furo"
html_copy_source = False
html_show_sphinx = False
html_use_index = False
pygments_style = "ansible"
pygments_dark_style = "monokai"
highlight_language = "YAML+Jinja"
default_role = "any"
nitpicky = True
exclude_patterns = ["docsite/examples", "landing.rst"]

# The labels of Ansible's own documentation that antsibull-docs uses. They are listed here so that a build needs no network.
ANSIBLE = "https://docs.ansible.com/projects/ansible/devel/"
LABELS = {
    "action_plugins": "plugins/action.html",
    "ansible_configuration_settings": "reference_appendices/config.html",
    "ansible_collections.ansible.builtin.uri_module": "collections/ansible/builtin/uri_module.html",
    "common_return_values": "reference_appendices/common_return_values.html",
}
inventory = Path(__file__).with_name("ansible.inv")
head = b"# Sphinx inventory version 2\n# Project: Ansible\n# Version: devel\n# The remainder of this file is compressed using zlib.\n"
rows = "".join(f"{label} std:label -1 {page} {label}\n" for label, page in LABELS.items())
inventory.write_bytes(head + zlib.compress(rows.encode()))
intersphinx_mapping = {"ansible": (ANSIBLE, str(inventory))}


def without_contents(_app: object, _page: str, source: list[str]) -> None:
    """Remove the contents list of each page: the theme shows it beside the page."""
    source[0] = re.sub(r"^\.\. contents::\n(?: +:.*\n)*", "", source[0], flags=re.MULTILINE)


SECTION = re.compile(r"^(?P<title>[\w-][\w -]*)\n-+\n\n\.\. toctree::\n    :maxdepth: 1\n\n    docsite/", re.MULTILINE)
PLUGINS = re.compile(r"    :hidden:\n\n(?=    \w+_(?P<kind>module|filter|role)\n)")


def landing(_app: object, page: str, source: list[str]) -> None:
    """Start the site with our own text, and give each group of pages a caption in the sidebar."""
    if page != "index":
        return
    text = SECTION.sub(r".. toctree::\n    :maxdepth: 1\n    :caption: \g<title>\n\n    docsite/", source[0])
    text = PLUGINS.sub(lambda found: f"    :caption: {found['kind'].capitalize()}s\n{found[0]}", text)
    head, rest = text.split("Liveml.Vsphere\n==============\n", 1)
    source[0] = head + Path(__file__).with_name("landing.rst").read_text(encoding="utf-8") + rest


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", without_contents)
    app.connect("source-read", landing)
