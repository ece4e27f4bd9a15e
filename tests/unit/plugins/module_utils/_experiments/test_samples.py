# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Samples on a disk that becomes full: the watch continues, and says at its end that samples are missing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import StateUnwritable
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Sample
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.samples import SampleLog
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.watch import Watch


def fill_disk(log: SampleLog) -> None:
    """From now on every write of the log fails for want of room, as it does on this device of Linux."""
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, log._stream.fileno())
    os.close(full)


def test_samples_that_cannot_be_written_do_not_end_the_watch_and_are_told(tmp_path: Path) -> None:
    log = SampleLog(tmp_path / "samples.jsonl")
    fill_disk(log)
    for _more_than_the_buffer in range(500):
        log.add(("vm-1", "job"), Sample(1.0, 2.0, "answered"))
    log.flush()
    log.close()
    with pytest.raises(StateUnwritable, match=r"samples.jsonl cannot be written \(No space left on device\)"):
        log.check()


@pytest.mark.parametrize("other", [False, True])
def test_a_watch_that_lost_samples_fails_at_its_end_unless_something_worse_happened(
    tmp_path: Path, other: bool
) -> None:
    watch = Watch([], tmp_path, stall_budget=1.0, settle_timeout=1.0, baseline=0.0, listener=lambda *_news: None)

    def lose() -> None:
        with watch:
            fill_disk(watch._log)
            watch._log.add(("vm-1", "job"), Sample(1.0, 2.0, "answered"))
            if other:
                raise KeyError

    with pytest.raises(KeyError if other else StateUnwritable):
        lose()


def test_samples_that_were_written_are_no_failure(tmp_path: Path) -> None:
    log = SampleLog(tmp_path / "samples.jsonl")
    log.add(("vm-1", "job"), Sample(1.0, 2.0, "answered"))
    log.close()
    log.check()
