# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module says of a host of which vCenter does not show everything."""

from __future__ import annotations

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import USE
from ansible_collections.liveml.vsphere.plugins.modules.host_info import result_for

from tests.builders.estates import estate, host


@pytest.mark.parametrize("hidden", USE)
def test_the_use_of_a_host_is_unknown_if_a_figure_is_hidden(hidden: str) -> None:
    known = host(1)
    found = result_for(estate([known], []), known, ())
    assert found["memory_percent"] > 0
    assert found["cpu_percent"] is not None
    found = result_for(estate([known], [], unreadable={known.moid: frozenset({hidden})}), known, ())
    assert (found["memory_percent"], found["cpu_percent"]) == (None, None)


def test_the_use_of_a_host_is_unknown_if_vcenter_has_no_figures_of_it_yet() -> None:
    """A host that has just come back leaves out its quick statistics."""
    unused = host(1, memory_used_bytes=0, cpu_used_mhz=0)
    found = result_for(estate([unused], []), unused, ())
    assert (found["memory_percent"], found["cpu_percent"]) == (None, None)
