# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stalls in a network that loses packets while the guest stands still, as at the switch-over of a VM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.stall import PATH_MARGIN

from benchmarks.lossy import BUDGET, Guest, Settings, training, trials_of
from lab.live.bridge import GUEST, missing
from tests.builders.certificates import pem

# A training that gets no processor stands still, too, and nobody knows for how long.
pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(bool(missing()), reason=f"no network that loses packets: {missing()}"),
]

Measured = Callable[[], AbstractContextManager[None]]

MAX_WIDTH = 0.6 + PATH_MARGIN  # seconds, with a margin for a busy machine


@pytest.fixture(scope="module")
def guest() -> Iterator[Guest]:
    with training() as found:
        yield found


def check(guest: Guest, settings: Settings, measured: Measured) -> None:
    for trial in trials_of(guest, settings):
        assert trial.truth <= trial.high, trial
        assert trial.verdict in ("uninterrupted", "unknown"), trial
        with measured():
            assert trial.high < BUDGET, trial
            assert trial.verdict == "uninterrupted", trial
            assert trial.contained, trial
            assert trial.high - trial.low < MAX_WIDTH, trial


@pytest.mark.parametrize(
    ("way", "lengths"),
    [
        ("direct", (1.8,)),
        pytest.param("direct", (0.6, 3.5), marks=pytest.mark.thorough),
        pytest.param("proxied", (1.8,), marks=pytest.mark.thorough),
    ],
)
def test_a_freeze_that_loses_packets_is_measured(
    guest: Guest, way: str, lengths: tuple[float, ...], measured: Measured
) -> None:
    check(guest, Settings(guest.pid, lengths, way=way), measured)


def test_a_freeze_of_the_vm_is_distinguished_from_a_stall_of_the_training(guest: Guest, measured: Measured) -> None:
    (lost,) = trials_of(guest, Settings(guest.pid, (3.0,)))
    (kept,) = trials_of(guest, Settings(guest.pid, (1.0,), lose=False))
    assert kept.freeze_low == 0, "the kernel accepted connections all the time"
    with measured():
        assert lost.freeze_low > 0.3, "the kernel accepted nothing"
        assert kept.contained


@pytest.mark.thorough
def test_a_freeze_is_measured_over_tls(tmp_path: Path, measured: Measured) -> None:
    certificate, key = pem(tmp_path, "guest", GUEST)
    with training(str(certificate), str(key)) as secret:
        check(secret, Settings(secret.pid, (1.2,), ca_path=str(certificate)), measured)
