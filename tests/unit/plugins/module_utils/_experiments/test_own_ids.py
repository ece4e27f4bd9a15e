# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two experiments of one VM never have one id, whatever their servers call them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.clusters import key_of, merged
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Capabilities, Experiment, Verdict
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.own_ids import newcomers, with_own_ids
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.base import Searched
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.samples import SampleLog, read_samples
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.verdict import judge
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.samples import answer
from tests.builders.sources import VM, providers, settings

ONE = Experiment(
    "vm-1", "ML-1", "tensorboard", "train:epoch_loss", "", "http://10.0.0.7:6006", metric="epoch_loss",
    source="first", capabilities=Capabilities("run", "changes"), exact_id="train",
)  # fmt: skip
TWO = replace(ONE, url="http://10.0.0.7:6007", source="second")
ANY = st.builds(
    lambda vm, id_, url, source: replace(ONE, vm=vm, id=id_, url=url, source=source, exact_id=""),
    st.sampled_from(["vm-1", "vm-2"]),
    st.sampled_from(["a", "b", "a at u"]),
    st.sampled_from(["u", "v"]),
    st.sampled_from(["x", "y"]),
)


def keys(experiments: list[Experiment]) -> list[tuple[str, str]]:
    return [(each.vm, each.id) for each in experiments]


def test_the_server_is_added_where_two_have_one_id() -> None:
    one, two = with_own_ids([ONE, TWO])
    assert (one.id, two.id) == (
        "train:epoch_loss at http://10.0.0.7:6006",
        "train:epoch_loss at http://10.0.0.7:6007",
    )
    assert one.asked_id == two.asked_id == "train"
    assert with_own_ids([ONE]) == [ONE]
    assert with_own_ids([ONE, ONE]) == [ONE]
    programs = with_own_ids([replace(ONE, url="exec:p"), replace(TWO, url="exec:p")])
    assert [each.id for each in programs] == [
        "train:epoch_loss at exec:p (source first)",
        "train:epoch_loss at exec:p (source second)",
    ]


@given(st.lists(ANY, max_size=8), st.lists(ANY, max_size=8))
def test_no_two_have_one_id_whoever_was_found_before(first: list[Experiment], then: list[Experiment]) -> None:
    known = newcomers(first, [])
    every = [*known, *newcomers(then, known)]
    assert len(set(keys(every))) == len(every)
    assert newcomers(then, every) == []
    in_one = with_own_ids([replace(each, vm="vm-1") for each in first])
    assert len({each.asked_id for each in in_one}) <= len({each.id for each in first})


def test_a_found_one_is_known_under_either_id() -> None:
    both = with_own_ids([ONE, TWO])
    assert newcomers(both, [ONE]) == [both[1]]
    assert newcomers([TWO], [ONE]) == [both[1]]
    assert newcomers([ONE], both) == []
    assert newcomers([replace(ONE, url="http://10.0.0.9:6006", process="7")], [replace(ONE, process="7")]) == []
    assert newcomers([replace(ONE, metric="other")], [ONE]) == []
    assert newcomers([ONE], [replace(ONE, source="")]) == []


def test_nodes_of_a_cluster_remain_one_experiment() -> None:
    here, there = replace(ONE, cluster="c"), replace(ONE, vm="vm-2", cluster="c")
    renamed, _other = with_own_ids([here, replace(TWO, cluster="d")])
    assert key_of(renamed) == key_of(there)


def test_a_dead_training_does_not_hide_behind_its_namesake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = providers(
        settings("tensorboard", url=ONE.url, vms=["ML-1"]), settings("tensorboard", url=TWO.url, vms=["ML-1"])
    )

    def found_at(url: str) -> Any:
        return lambda target: Searched([replace(ONE, vm=target.vm, url=url)])

    for scoped, url in zip(asked._sources, (ONE.url, TWO.url), strict=True):
        monkeypatch.setattr(scoped.source, "discover", found_at(url))
        monkeypatch.setattr(scoped.source, "reproducible", lambda _experiment: ("unknown", ""))
        monkeypatch.setattr(scoped.source, "recovery", lambda _experiment: ("unknown", ""))
    dead, alive = asked.observe([VM])[0].experiments
    log = SampleLog(tmp_path / "samples.jsonl")
    judgements = []
    for experiment, steps in ((dead, 50), (alive, 200)):
        samples = [answer(i / 10, i / 10 + 0.01, None, process="", step=float(min(i, steps))) for i in range(200)]
        for sample in samples:
            log.add((experiment.vm, experiment.id), sample)
        judgements.append(judge(experiment, samples, stall_budget=5, moved_at=3, arrived_at=6))
    log.close()
    assert [len(rows) for rows in read_samples(tmp_path / "samples.jsonl").values()] == [200, 200]
    assert [j.verdict for j in merged(judgements)] == [Verdict.STALLED, judgements[1].verdict]
