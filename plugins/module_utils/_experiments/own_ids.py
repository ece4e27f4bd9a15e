# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each experiment of a VM has an id of its own: samples and verdicts are kept by VM and id. Pure.

Two trainings in one VM may have the same name at two servers, as the run ``train`` of Keras in two TensorBoards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from .._core.untrusted import shortened
from .model import Experiment


def with_own_ids(experiments: Iterable[Experiment]) -> list[Experiment]:
    """The experiments that were found in one VM. Where several have the same id, their servers are added to it.

    What one source found twice by the same name is one experiment.
    """
    found: dict[tuple[str, ...], Experiment] = {}
    for each in experiments:
        found.setdefault((each.source, each.provider, each.url, each.id), each)
    ids = Counter(each.id for each in found.values())
    places = Counter((each.id, each.url) for each in found.values())
    return [
        _named(each, at_source=places[each.id, each.url] > 1) if ids[each.id] > 1 else each for each in found.values()
    ]


def newcomers(found: Iterable[Experiment], known: Iterable[Experiment]) -> list[Experiment]:
    """Those that are not known yet. If a known one of the same VM has its id, a newcomer gets another one."""
    before = list(known)
    taken = {(each.vm, each.id) for each in before}
    new: list[Experiment] = []
    for each in found:
        if any(_are_one(each, other) for other in (*before, *new)):
            continue
        own = _named(each, at_source=False) if (each.vm, each.id) in taken else each
        own = _named(each, at_source=True) if (own.vm, own.id) in taken else own
        taken.add((own.vm, own.id))
        new.append(own)
    return new


def _named(experiment: Experiment, *, at_source: bool) -> Experiment:
    """The experiment with its server in its id, and also its source if that is needed."""
    source = f" (source {experiment.source})" if at_source else ""
    own = shortened(f"{experiment.id} at {experiment.url}{source}")
    return replace(experiment, id=own, exact_id=experiment.asked_id)


def _are_one(found: Experiment, known: Experiment) -> bool:
    """Whether a source found a known experiment again. The address of its server may have changed."""
    if (found.vm, found.provider, found.asked_id) != (known.vm, known.provider, known.asked_id):
        return False
    if known.source and found.source != known.source:
        return False
    named = found.id == known.id or found.metric == known.metric
    return named and (found.url == known.url or bool(found.process and found.process == known.process))
