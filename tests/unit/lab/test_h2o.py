# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How parameters are written for H2O."""

from __future__ import annotations

from typing import Any

import pytest

from lab.h2o import form_value


@pytest.mark.parametrize(("value", "text"), [("a", "a"), (True, "true"), (["a", "b"], '["a", "b"]'), (0.5, "0.5")])
def test_form_values(value: Any, text: str) -> None:
    assert form_value(value) == text
