# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who answers for others: programs whose page has the metrics of a training, but whose process is not the training. Pure.

Such a page has the start of its own process. Almost all of these programs are written in Go, and each page of its client
has ``go_info``. Exporters describe themselves by ``NAME_build_info``, and a Pushgateway adds ``push_time_seconds`` to each
group. A training in Python or Java may also have a ``build_info`` of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

RELAY = re.compile(
    r"[a-zA-Z0-9_:]+_exporter_build_info|go_(?:info|goroutines|threads|gc_\w+|memstats_\w+|sched_\w+)"
    r"|pushgateway_\w+|push_(?:failure_)?time_seconds|(?:otelcol|vector|telegraf|internal_telegraf|fluentbit)_\w+"
)
BUILD = "build_info"
RUNTIMES = (
    "python_info",
    "jvm_info",
    "jvm_info_total",
)  # a training's own page has one of them, if it has a ``build_info``
# What each name of a relay contains, so that a page can be searched quickly.
NEEDLES = tuple(
    part.encode()
    for part in (BUILD, "go_", "pushgateway_", "push_", "otelcol_", "vector_", "telegraf_", "fluentbit_", *RUNTIMES)
)
MAX_LINES = 1000  # of a block of a page that may have a name; usual pages have a few
NAME_OF_LINE = re.compile(rb"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)[\s{]")
IN_PROMQL = rf"{RELAY.pattern}|.*{BUILD}|{'|'.join(RUNTIMES)}".replace(r"\w", "[a-zA-Z0-9_]").replace("(?:", "(")
# Usual names of their jobs, if their own metrics are not kept.
JOBS = re.compile(
    r"(?i)node|(?:node|statsd|graphite|influxdb|collectd|textfile|json|jmx|dcgm)[-_ ]?exporter|push[-_ ]?gateway|prometheus"
    r"|telegraf|statsd|collectd|otel(?:[-_ ]?col(?:lector)?)?|vector|fluent[-_ ]?bit"
)
CONFLICTS = ("exported_job", "exported_instance")  # Prometheus renames the labels of a page that names other targets


def is_relay(names: Iterable[str]) -> bool:
    """Whether a page with metrics of these names is that of a program which answers for others."""
    known = set(names)
    if any(RELAY.fullmatch(name) for name in known):
        return True
    return any(name.endswith(BUILD) for name in known) and known.isdisjoint(RUNTIMES)


def telling_names(data: bytes) -> set[str]:
    """The names in an exposition that say whether it is the page of a relay."""
    found = set()
    for needle in NEEDLES:
        at = looked = 0
        while (place := data.find(needle, at)) >= 0:
            start, end = data.rfind(b"\n", at, place) + 1, data.find(b"\n", place)
            at = end if end >= 0 else len(data)
            match = NAME_OF_LINE.match(data, start, at)
            name = match[1].decode() if match else ""
            if RELAY.fullmatch(name) or name.endswith(BUILD) or name in RUNTIMES:
                found.add(name)
            looked += 1
            if looked == MAX_LINES or RELAY.fullmatch(name):
                break
    return found


def target_of(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels of the scraped process whose page has a series; empty if they do not say, or if it is a relay."""
    target = {name: labels[name] for name in ("job", "instance") if labels.get(name)}
    if len(target) < 2 or JOBS.fullmatch(target["job"]) or any(name in labels for name in CONFLICTS):
        return {}
    return target
