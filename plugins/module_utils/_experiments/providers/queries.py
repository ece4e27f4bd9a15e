# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The query of a page's URL. Any of its parameters may be a secret, whatever its name, so journals and messages get none of them.

The source's settings have them. Only parameters with the name or the address of a VM are kept, because a journal must say which page
was read. Pure.
"""

from __future__ import annotations

import hashlib

from .probe import PLACES


def kept_url(url: str, template: str) -> str:
    """The URL of a VM's page without the parameters that are the same for every VM. ``template`` is the source's URL."""
    page, _mark, query = url.partition("?")
    pairs = zip(query.split("&"), _parameters(template), strict=False)
    return _joined(page, [part for part, written in pairs if _has_place(written)])


def whole_url(kept: str, template: str) -> str:
    """The URL of a VM's page, from what was kept of it."""
    page, _mark, query = kept.partition("?")
    parts = iter(query.split("&"))
    return _joined(page, [next(parts, "") if _has_place(written) else written for written in _parameters(template)])


def mark_of(template: str) -> str:
    """What distinguishes a source's pages from others with the same kept URL; empty without parameters that are not kept."""
    hidden = "&".join(part for part in _parameters(template) if not _has_place(part))
    return f" (query {hashlib.sha256(hidden.encode('utf-8', 'surrogatepass')).hexdigest()[:8]})" if hidden else ""


def _parameters(template: str) -> list[str]:
    _page, mark, query = template.partition("?")
    return query.split("&") if mark else []


def _has_place(parameter: str) -> bool:
    return any(place in parameter for place in PLACES)


def _joined(page: str, parameters: list[str]) -> str:
    return f"{page}?{'&'.join(parameters)}" if parameters else page
