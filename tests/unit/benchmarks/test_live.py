# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The benchmark of real moves: what counts as held, as an error and as a wrong verdict."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from benchmarks import live
from benchmarks.live import Setting, Trial, settings_in, settings_of, tell
from benchmarks.page import Figures
from benchmarks.page import live as section
from benchmarks.report import Report

HELD = Trial(
    "switch", "light", 0, 1.0, 1.02, 1.1, 3, 106.0, "uninterrupted", 1.05, 0.98, 1.12, 0.99, 1.06, 1.9, 1.8, 2.0, 0.7
)  # fmt: skip


def test_an_interval_must_reach_from_the_beats_to_the_freeze() -> None:
    assert HELD.contained
    assert HELD.error == 0
    assert not replace(HELD, low=1.11).contained, "more is claimed than the training stood still"
    assert not replace(HELD, high=1.01).contained, "less than the freeze"
    assert HELD.freeze_contained
    assert not replace(HELD, freeze_low=1.03).freeze_contained, "the freeze has an exact truth, whatever the beats"
    assert not replace(HELD, freeze_high=1.01).freeze_contained
    assert replace(HELD, seconds=1.0).error == pytest.approx(0.02)
    assert replace(HELD, seconds=1.15).error == pytest.approx(0.05)
    assert not HELD.patient_contained
    assert HELD.patient_error == pytest.approx(0.8)


def test_a_verdict_is_right_by_the_truth_alone() -> None:
    assert HELD.right == ("uninterrupted",)
    assert "uninterrupted" in replace(HELD, freeze=4.9, beats=5.1).right, "nobody knows on which side it was"
    assert "uninterrupted" not in replace(HELD, freeze=5.1, beats=5.3).right


def test_by_default_at_least_60_moves_are_measured() -> None:
    settings = [setting for network in ("switch", "bridge") for setting in settings_of(network, live.USUAL_MOVES)]
    assert sum(len(setting.holds) for setting in settings) >= 60
    holds = {hold for setting in settings for hold in setting.holds}
    assert (min(holds), max(holds)) == (0.05, 4.0)
    assert {(s.network, s.guest, s.dirty_mb_s > 0) for s in settings} == {
        (network, guest, dirty) for network in ("switch", "bridge") for guest in ("light", "h2o") for dirty in (0, 1)
    }


def test_settings_reach_the_process_that_moves() -> None:
    settings = [Setting("bridge", "h2o", 30, (0.05, 4.0))]
    assert settings_in(json.dumps([asdict(setting) for setting in settings])) == settings
    assert settings[0].topology()["vms"][0]["qemu"] == {"run": "h2o", "network": "bridge", "dirty_mb_s": 30}


def test_figures_and_their_promises(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(tmp_path / "out.jsonl")
    tell(report, [HELD, replace(HELD, guest="h2o", network="bridge", low=1.2, high=1.45, verdict="unknown")])
    report.close()
    printed = Figures(json.loads(line) for line in capsys.readouterr().out.splitlines())
    whole = {"guest": None, "network": None, "dirty": None}
    assert printed.one("live_moves", **whole) == 2
    assert printed.one("live_contained_percent", **whole) == 50
    assert printed.one("live_contained_percent", guest="light") == 100
    assert printed.one("live_width_p95_ms", network="bridge") == 250
    assert printed.one("live_truth_width_p95_ms", **whole) == round(1000 * (HELD.beats - HELD.freeze))
    assert printed.one("live_freeze_width_p95_ms", **whole) == 70
    assert printed.one("live_freeze_contained_percent", **whole) == 100
    assert printed.one("live_unknown_below_budget", **whole) == printed.one("live_wrong_verdicts", **whole) == 1
    assert printed.one("live_patient_contained_percent", **whole) == 0
    assert any("live_contained_percent is 50" in sentence for sentence in report.broken)
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 2 + len(printed._lines)
    assert "2 live migrations" in section(printed)


def test_without_root_it_says_loudly_what_was_not_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(live, "missing", lambda **_taps: "only root may make network namespaces")
    monkeypatch.setattr(live, "prepare", lambda *_given: None)
    monkeypatch.setattr(live, "trials_of", lambda network, _settings: iter([HELD] if network == "switch" else []))
    live.run(Report(), 1)
    printed = capsys.readouterr()
    assert "THE BRIDGE WAS NOT MEASURED: only root" in printed.err
    figures = Figures(map(json.loads, printed.out.splitlines()))
    assert figures.of("live_moves", network="bridge")[0]["skipped"] == "only root may make network namespaces"
    assert "The bridge was not measured" in section(figures)
