# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How Sphinx makes the site from what antsibull-docs wrote. Read by scripts/docs.py."""

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
exclude_patterns = ["docsite/examples"]

# The labels of Ansible's own documentation that antsibull-docs refers to, so that a build needs no network.
ANSIBLE = "https://docs.ansible.com/projects/ansible/devel/"
LABELS = {
    "action_plugins": "plugins/action.html",
    "ansible_configuration_settings": "reference_appendices/config.html",
    "common_return_values": "reference_appendices/common_return_values.html",
}
inventory = Path(__file__).with_name("ansible.inv")
head = b"# Sphinx inventory version 2\n# Project: Ansible\n# Version: devel\n# The remainder of this file is compressed using zlib.\n"
rows = "".join(f"{label} std:label -1 {page} {label}\n" for label, page in LABELS.items())
inventory.write_bytes(head + zlib.compress(rows.encode()))
intersphinx_mapping = {"ansible": (ANSIBLE, str(inventory))}


def without_contents(_app: object, _page: str, source: list[str]) -> None:
    """The theme shows each page's contents beside it, and wants them nowhere else."""
    source[0] = re.sub(r"^\.\. contents::\n(?: +:.*\n)*", "", source[0], flags=re.MULTILINE)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", without_contents)
