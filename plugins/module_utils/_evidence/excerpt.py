# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The part of the evidence that concerns the experiments of one owner, and nothing about VMs of others. Pure."""

from __future__ import annotations

import hashlib
import re

from .document import statement
from .model import Evidence, Record
from .summary import shared_names, summary_of

MAX_NAME = 40  # characters of an owner in the name of a file


def owners_of(evidence: Evidence) -> list[str]:
    """The owners that are known."""
    return sorted({each["owner"] for each in evidence["experiments"] if each["owner"]})


def excerpt_of(evidence: Evidence, owner: str) -> Evidence:
    """The evidence about the experiments of an owner and the VMs that they run in.

    The integrity is that of the whole record, from which the excerpt is made.
    """
    experiments = [each for each in evidence["experiments"] if each["owner"] == owner]
    moids = {moid for each in experiments for moid in each["moids"]}
    names = {name for each in experiments for name in each["vms"]}
    run = evidence["run"]
    record: Record = {
        "schema_version": evidence["schema_version"],
        "run_id": evidence["run_id"],
        "journal": evidence["journal"],
        "plan_id": evidence["plan_id"],
        "vcenter": evidence["vcenter"],
        # The reason of a roll-back may name VMs of others.
        "run": {**run, "rolled_back": run["rolled_back"] and "a failure"},
        "fence": evidence["fence"],
        "moves": [move for move in evidence["moves"] if move["moid"] in moids],
        "experiments": experiments,
        "unobserved": [],
        "partly_searched": [each for each in evidence.get("partly_searched", []) if each["moid"] in moids],
        "refusals": [refusal for refusal in evidence["refusals"] if refusal["moid"] in moids],
        "left_behind": [name for name in evidence["left_behind"] if name in names],
        "noticed": [each for each in evidence.get("noticed", []) if each["moid"] in moids],
    }
    statements = [statement(each, shared_names(record)) for each in experiments]
    return {**record, **summary_of(record, statements)}


def file_name(owner: str) -> str:
    """The name of the excerpt's page. Owners come from guests, and may contain anything."""
    safe = re.sub(r"[^A-Za-z0-9.-]+", "-", owner).strip("-.")[:MAX_NAME]
    mark = "" if safe == owner else f"-{hashlib.sha256(owner.encode()).hexdigest()[:8]}"
    return f"report-of-{safe}{mark}.html"
