# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How hosts, VMs and runs stand: a table and a few sentences, from what the modules returned. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from .._core.untrusted import printable
from .._core.wording import listed, plural
from .host_line import STATES

Row = Mapping[str, Any]
_HEAD = ("host", "fault domain", "state", "CPU", "memory", "VMs", "experiments")
_HOME, _AWAY, _UNHEALTHY, _ABROAD = "home", "away", "home_unhealthy", "other_vcenter"  # outcomes of a placement


def status_lines(
    hosts: Sequence[Row],
    placements: Sequence[Row],
    runs: Sequence[Row],
    experiments: Sequence[Row] | None = None,
    vms_without_host: Sequence[str] = (),
    of_host: str = "",
) -> list[str]:
    """The lines of a status, from the results of ``host_info``, ``placement``, ``run_info`` and ``experiment_info``.

    ``experiments`` is ``None`` if nobody asked for them. ``vms_without_host`` are names of VMs that the table cannot count. ``of_host`` is
    the name of the only host that was asked for, "" for all.
    """
    lines = [
        *_table(hosts, experiments, _hidden(runs)),
        *_uncounted(vms_without_host),
        "",
        *_homes(placements, hosts, of_host),
        "",
    ]
    which = f"No run for {of_host}" if of_host else "No run"
    lines += [line for run in runs for line in _run(run)] or [f"{which} has a journal in this state directory."]
    return [printable(line) for line in lines]


def _hidden(runs: Sequence[Row]) -> frozenset[str]:
    """Hosts (names) whose last run has begun to fence them, and did not see how that is now.

    vCenter may not show after a restart that a host is still entering maintenance mode.
    """
    last = {run["host"]: run for run in reversed(runs)}
    return frozenset(
        host
        for host, run in last.items()
        if run["fence_unknown"] or (run["fenced"] and run["status"] in ("running", "interrupted"))
    )


def _table(hosts: Sequence[Row], experiments: Sequence[Row] | None, hidden: frozenset[str]) -> list[str]:
    """One line for each host, under a line of titles."""
    columns = len(_HEAD) - (experiments is None)
    rows = [_HEAD[:columns], *(_cells(host, experiments, hidden)[:columns] for host in hosts)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _uncounted(vms: Sequence[str]) -> list[str]:
    """Which VMs may be on any of the hosts."""
    return [f"Not counted, because vCenter does not show on which host they are: {listed(vms)}."] if vms else []


def _cells(host: Row, experiments: Sequence[Row] | None, hidden: frozenset[str]) -> tuple[str, ...]:
    on = [vm for vm in host["vms"] if vm["power"] == "poweredOn"]
    unknown = sum(vm["power"] == "unknown" for vm in host["vms"])
    off = len(host["vms"]) - len(on) - unknown
    others = ", ".join(f"+{count} {what}" for count, what in ((off, "off"), (unknown, "unknown")) if count)
    vms = {vm["moid"] for vm in host["vms"]}
    found = {(e["provider"], e["id"], e.get("cluster") or e["vm"]) for e in experiments or () if e["vm"] in vms}
    return (
        str(host["name"]),
        str(host["fault_domain"] or "-"),
        _state(host, hidden=host["name"] in hidden),
        _percent(host["cpu_percent"]),
        _percent(host["memory_percent"]),
        f"{len(on)} ({others})" if others else str(len(on)),
        str(len(found)),
    )


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f} %"


def _state(host: Row, *, hidden: bool) -> str:
    """Connection and maintenance mode; the connection only if something is wrong with it."""
    state = STATES.get(host["maintenance"], str(host["maintenance"]))
    if hidden and host["maintenance"] == "normal":
        state = "unknown if fenced"
    red = sum(alarm["status"] == "red" for alarm in host["alarms"] or ())
    alarms = ["alarms not shown"] if host["alarms"] is None else [plural(red, "red alarm")] if red else []
    parts = [] if host["connection"] == "connected" else [str(host["connection"])]
    return ", ".join([*parts, state, *alarms])


def _homes(placements: Sequence[Row], hosts: Sequence[Row], of_host: str) -> Iterator[str]:
    """Which VMs are away from home, by home, with the command that brings them back."""
    away = [row for row in placements if row["outcome"] != _HOME]
    if not away:
        yield f"No VM is away from a recorded home{f' on {of_host}' if of_host else ''}."
    # A restore takes the host out of maintenance mode first.
    ready = {host["name"] for host in hosts if host["connection"] == "connected"}
    for home in sorted({row["home"] for row in away}):
        outcomes = {_AWAY, _UNHEALTHY} if home in ready else {_AWAY}
        waiting = [row["vm"] for row in away if row["home"] == home and row["outcome"] in outcomes]
        if waiting:
            yield f"Away from {home}: {', '.join(waiting)}."
            yield _way_home(home, [row for row in away if row["home"] == home and row["outcome"] in outcomes])
        rest = [row for row in away if row["home"] == home and row["outcome"] not in outcomes]
        yield from (row["text"] for row in rest)
        abroad = [row for row in rest if row["outcome"] == _ABROAD]
        if abroad:
            yield _way_home(home, abroad)


def _way_home(home: str, rows: Iterable[Row]) -> str:
    """The command that brings VMs home, and which logins it needs."""
    others = sorted({vcenter for row in rows if (vcenter := row.get("vcenter"))})
    logins = f", with the login of {' or '.join(others)} in restore_host_destination_vcenter" if others else ""
    return f"  Bring them home: ansible-playbook liveml.vsphere.restore_host -e restore_host_name={home}{logins}"


def _run(run: Row) -> Iterator[str]:
    """A run: what it is for and how it stands, its experiments, and its report."""
    yield f"{run['run_id']}"
    yield f"  {run['text']}"
    told = list(_experiments(run["experiments"]))
    yield from (f"  {line}" for line in told)
    if run["report_path"]:
        yield f"  {'Live page' if run['live'] else 'Report'}: {run['report_path']}"


def _experiments(experiments: Iterable[Row]) -> Iterator[str]:
    """One line for each experiment; an experiment in several VMs has one for each of them."""
    for each in experiments:
        yield f"{each['name']} in {each['vm']}: {each['verdict'] or 'no verdict yet'}"
