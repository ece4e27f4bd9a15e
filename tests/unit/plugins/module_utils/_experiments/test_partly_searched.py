# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A source that could not look is not one that found nothing, also if another source found an experiment in the VM."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.discovery import Observation, of_one_vm_each
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.model import Experiment

from tests.builders.sources import VM, providers, settings
from tests.doubles.servers import answering

ONE = """
import json, sys
for line in sys.stdin:
    print(json.dumps({"experiments": [{"id": "job", "process": "p1", "step": 1}], **EXTRA}), flush=True)
"""
REFUSED = "http://127.0.0.1:9"
PLENTY = 'steps_total{rank="0"} 1\nsteps_total{rank="1"} 2\n'


def seen_beside(tmp_path: Path, extra: str = "{}", **others: Any) -> Observation:
    """What is found in a VM by a program that knows one experiment, and by other sources."""
    program = tmp_path / "one.py"
    program.write_text(ONE.replace("EXTRA", extra))
    one = settings("exec", command=[sys.executable, str(program)], signal="changes")
    given = {"h2o3": False, **others}
    (seen,) = providers(**{**given, "sources": [one, *given.get("sources", [])]}).observe(
        [replace(VM, guest_address="127.0.0.1")]
    )
    assert [e.provider for e in seen.experiments] == ["exec"], seen
    assert seen.detail == ""
    return seen


@pytest.mark.parametrize(
    ("provider", "options", "why"),
    [
        ("mlflow", {"url": REFUSED}, f"{REFUSED}: no answer: no server listens there"),
        ("tensorboard", {"url": REFUSED}, f"{REFUSED}: no answer: no server listens there"),
        ("prometheus", {"url": REFUSED, "query": "steps{{vm='{vm}'}}"}, "no server listens there"),
        ("mlflow", {"url": "http://{address}:9"}, ""),
        ("prometheus", {"url": "http://{address}:9/metrics", "metric": "steps_total"}, ""),
        ("exec", {"command": ["no-such-program"]}, "no-such-program: [Errno 2]"),
    ],
)
def test_a_server_for_all_vms_that_does_not_listen_may_know_more(
    tmp_path: Path, provider: str, options: dict[str, Any], why: str
) -> None:
    seen = seen_beside(tmp_path, sources=[settings(provider, **options)])
    assert why in seen.unseen
    assert bool(seen.unseen) is bool(why), seen.unseen


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (401, {}, "authentication failed (HTTP 401)"),
        (403, {}, "does not allow this question (HTTP 403)"),
        (404, "nothing here", "not an exporter (HTTP 404)"),
        (200, "other_total 1\n", ""),
        (200, "steps_total 1\n", ""),
        (200, "steps_total NaN\n", ""),
        (200, PLENTY, ""),
    ],
)
def test_an_exporter_in_a_vm_says_what_it_has_or_is_not_known(tmp_path: Path, status: int, body: Any, why: str) -> None:
    with answering(lambda _path: (status, body)) as url:
        place = url.replace("127.0.0.1", "{address}")
        source = settings("prometheus", url=f"{place}/metrics", metric="steps_total", advance_timeout=0.2)
        seen = seen_beside(tmp_path, sources=[source])
    assert why in seen.unseen
    assert bool(seen.unseen) is bool(why), seen.unseen


@pytest.mark.parametrize(
    ("status", "why"), [(401, "authentication failed"), (403, "HTTP 403"), (503, "HTTP 503"), (404, "")]
)
def test_another_server_at_the_port_of_h2o_3_is_none(tmp_path: Path, status: int, why: str) -> None:
    with answering(lambda _path: (status, {})) as url:
        seen = seen_beside(tmp_path, h2o3=True, ports=[int(url.rpartition(":")[2]), 9])
    assert why in seen.unseen
    assert bool(seen.unseen) is bool(why), seen.unseen


def test_a_vm_without_an_address_may_have_other_experiments(tmp_path: Path) -> None:
    source = settings("prometheus", url="http://{address}:9/metrics", metric="steps_total", vms=["*"])
    seen = seen_beside(tmp_path, sources=[source], allowed_networks=["10.0.0.0/8"])
    assert "outside experiments.allowed_networks" in seen.unseen


def test_a_program_may_say_that_it_does_not_know_all(tmp_path: Path) -> None:
    assert seen_beside(tmp_path, '{"error": "one queue did not answer"}').unseen.endswith("one queue did not answer")
    assert seen_beside(tmp_path).unseen == ""


def test_experiments_that_cannot_be_told_apart_are_said_beside_others() -> None:
    own = Experiment("vm-1", VM.name, "h2o3", "a", "1", "http://10.0.0.1")
    shared = Experiment("vm-1", VM.name, "mlflow", "b", "", "http://mlflow")
    twin = replace(VM, moid="vm-2")
    both = [
        Observation(VM, (own, shared), "", "x: no answer"),
        Observation(twin, (replace(shared, vm="vm-2"),), "", "x: no answer"),
    ]
    first, second = of_one_vm_each(both)
    assert first.experiments == (own,)
    assert first.unseen.endswith("their experiments cannot be distinguished; x: no answer")
    assert (second.experiments, second.unseen) == ((), "")
    assert "cannot be distinguished" in second.detail
