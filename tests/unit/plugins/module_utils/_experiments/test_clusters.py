# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Several nodes are one experiment: a claim is proven only if it is proven for every node."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.standing import WORKS
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.clusters import (
    by_owner,
    merged,
    possible_cluster_members,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import (
    Experiment,
    Judgement,
    Stall,
    Verdict,
)
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.verdict import must_stop_run
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.estate import Power, VmState
from hypothesis import given
from hypothesis import strategies as st

CLAIMS = st.sampled_from(["proven", "refuted", "unknown"])
HARMED = (Verdict.LOST, Verdict.RESTARTED, Verdict.FAILED, Verdict.STALLED)


def node(number: int, nodes: int = 2, cluster: str = "c") -> Experiment:
    names = tuple(f"192.0.2.{n}:54321" for n in range(1, nodes + 1)) if cluster else ()
    return Experiment(
        f"vm-{number}", f"ML-{number}", "h2o3", "job", str(number), "http://a:1", cluster=cluster, nodes=names
    )


def stall(low: float, width: float) -> Stall:
    return Stall(low + width / 2, low, low + width)


def judged(number: int, nodes: int = 2, verdict: Verdict = Verdict.UNINTERRUPTED, **more: object) -> Judgement:
    claims = ("proven",) * 3
    usual = Judgement(node(number, nodes), verdict, *claims, stall(0.1, 0.1), 0.2, 0.5, 0.6, samples=10)
    return replace(usual, **more)


@st.composite
def members(draw: st.DrawFn) -> list[Judgement]:
    count = draw(st.integers(1, 5))
    lengths = st.builds(stall, st.floats(0, 10), st.floats(0, 1))
    return [
        judged(
            n,
            nodes=count + draw(st.integers(0, 1)) if n == 0 else count,
            verdict=draw(st.sampled_from(list(Verdict))),
            identity=draw(CLAIMS),
            progress=draw(CLAIMS),
            stall=draw(CLAIMS),
            longest_stall=draw(st.none() | lengths),
        )
        for n in range(count)
    ]


@given(members())
def test_a_cluster_is_never_better_than_its_worst_node(group: list[Judgement]) -> None:
    (whole,) = merged([*group, *group])
    assert whole.members == tuple(group)
    verdicts = {m.verdict for m in group}
    if verdicts & set(HARMED):
        assert whole.verdict in HARMED
    elif Verdict.UNKNOWN in verdicts:
        assert whole.verdict is Verdict.UNKNOWN
    if whole.verdict is Verdict.UNINTERRUPTED:
        assert verdicts == {Verdict.UNINTERRUPTED}
        assert len(group) == len(group[0].experiment.nodes)
    for name in ("identity", "progress", "stall"):
        claims = [getattr(m, name) for m in group]
        if getattr(whole, name) == "proven":
            assert set(claims) == {"proven"}
        assert (getattr(whole, name) == "refuted") == ("refuted" in claims)


@given(members(), st.data())
def test_the_longest_of_the_true_stalls_lies_within(group: list[Judgement], data: st.DataObject) -> None:
    (whole,) = merged(group)
    known = [m.longest_stall for m in group if m.longest_stall is not None]
    if not known:
        assert whole.longest_stall is None
        return
    truths = [data.draw(st.floats(s.low, s.high)) for s in known]
    assert whole.longest_stall is not None
    assert whole.longest_stall.low <= max(truths) <= whole.longest_stall.high


def test_servers_by_themselves_stay_apart() -> None:
    alone = [judged(n, experiment=node(n, cluster="")) for n in (1, 2)]
    assert merged(alone) == tuple(alone)


def test_a_node_that_nobody_watched_leaves_the_stall_unknown() -> None:
    (whole,) = merged([judged(1)])
    assert (whole.verdict, whole.stall, whole.identity) == (Verdict.UNKNOWN, "unknown", "proven")
    assert whole.detail == "1 of 2 nodes of c were watched"
    (over,) = merged([judged(1, verdict=Verdict.COMPLETED)])
    assert over.verdict is Verdict.COMPLETED, "an experiment that ran to its end was not interrupted by a node"


def test_what_is_known_of_one_node_shows_nothing_of_another() -> None:
    """One node works, though its steps repeat. The other one was not seen again."""
    unknown = {"verdict": Verdict.UNKNOWN, "identity": "unknown", "progress": "unknown"}
    works, unseen = judged(0, detail=WORKS, **unknown), judged(1, detail="no answer", **unknown)
    assert not must_stop_run(merged([works, judged(1, detail=WORKS, **unknown)])[0])
    assert must_stop_run(merged([works, unseen])[0])


def test_verdicts_by_owner() -> None:
    alone = judged(7, experiment=replace(node(7, cluster=""), owner="fraud"))
    both = [judged(n, experiment=replace(node(n), owner="vision")) for n in (1, 2)]
    found = by_owner(merged([both[0], alone, both[1]]))
    assert found == {
        "vision": [{"vms": ["ML-1", "ML-2"], "id": "job", "verdict": "uninterrupted"}],
        "fraud": [{"vms": ["ML-7"], "id": "job", "verdict": "uninterrupted"}],
    }


VMS = [
    VmState(f"vm-{n}", f"ML-{n}", f"uuid-{n}", "host-1", Power.ON, 1 << 30, guest_address=f"192.0.2.{n}")
    for n in range(1, 5)
]


@pytest.mark.parametrize(
    ("found", "addresses", "patterns", "wanted"),
    [
        ([node(1)], {}, [], ["ML-2"]),
        ([node(1), node(2)], {}, [], []),
        ([node(1, cluster="")], {}, ["ML-*"], []),
        ([node(1)], {"ML-4": "192.0.2.2"}, [], ["ML-2", "ML-4"]),
        ([node(1, 2)], {}, ["ML-[34]"], ["ML-2", "ML-3", "ML-4"]),
        ([], {}, ["*"], []),
    ],
)
def test_only_vms_are_asked_for_further_nodes(
    found: list[Experiment], addresses: dict[str, str], patterns: list[str], wanted: list[str]
) -> None:
    vms = possible_cluster_members(found, VMS, given=lambda _moid, name: addresses.get(name, ""), patterns=patterns)
    assert [vm.name for vm in vms] == wanted


def nothing(_moid: str, _name: str) -> str:
    return ""


def test_vms_that_are_off_or_have_no_address_contain_no_node() -> None:
    unknown = [replace(vm, power=Power.UNKNOWN) for vm in VMS]
    assert len(possible_cluster_members([node(1)], unknown, given=nothing, patterns=["*"])) == len(VMS) - 1
    off = [replace(vm, power=Power.OFF) for vm in VMS]
    assert possible_cluster_members([node(1)], off, given=nothing, patterns=["*"]) == []
    hostile = replace(node(1), nodes=("", ":1", "198.51.100.7:54321"))
    silent = [replace(vm, guest_address="") for vm in VMS]
    assert possible_cluster_members([hostile], silent, given=nothing, patterns=[]) == []
