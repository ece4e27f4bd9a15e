# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Provider ``prometheus``: a metric that counts training steps, from its exporter or by a query. It only reads.

An exporter in the training process freezes with the VM. If it is asked directly, a stall is a gap between its answers,
with the resolution of the polling, and ``process_start_time_seconds`` identifies the process. Nothing does without it (as
in the client's multiprocess mode), or if a relay answers for the training (``prometheus_relays.py``). A Prometheus server
always answers, and its samples are as old as its scrape interval. A failed scrape makes the series disappear; that alone
is not a stall.
"""

from __future__ import annotations

import itertools
import math
import re
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from ..._core.errors import InvalidInput
from ..._core.untrusted import MAX_COUNT, count, exact, items, mapping, number, text
from ..identity import was_refused
from ..model import (
    Capabilities,
    Experiment,
    Sample,
)
from ..record import REPEATS, RESTART_SECONDS, Steady
from .base import Searched, Seen, Target, advancing, progress_at
from .over_http import HttpSession, UrlSource, sampled, unusable
from .probe import (
    JSON,
    NO_ANSWER,
    PLACES,
    REQUEST_SECONDS,
    SMALL,
    Absent,
    Answer,
    Endpoint,
    Probe,
    TooLong,
    UnusableAddress,
    UnusableAnswer,
    addresses_of,
    endpoint_of,
    server_in,
)
from .prometheus_relays import IN_PROMQL, is_relay, target_of, telling_names
from .queries import kept_url, mark_of, whole_url

try:
    from prometheus_client.parser import text_string_to_metric_families

    PARSER_ERROR = ""
except ImportError as error:
    PARSER_ERROR = str(error)

PROVIDER = "prometheus"
START = "process_start_time_seconds"
COARSE = 10_000  # seconds: of a time with six digits
STARTED = "started "  # followed by the process' start in seconds since the epoch
HISTORY, MIN_FALLS = "1h", 3  # of a server that keeps values: one that fell so often in that time does so by itself
UPTIME = "process_uptime_seconds"  # of the clients that may give the start of their process labels
UPTIME_LOOKS, UPTIME_PAUSE, UPTIME_SECONDS = 3, 0.3, 2.0  # how it is compared with the time that passes
UPTIME_EXACT = 0.02  # seconds by which it is rounded
CLOCK_STEP = 2.0  # seconds by which a correction of the guest clock may shift a process' start
USUAL_INTERVAL, USUAL_TIMEOUT = (
    60.0,
    10.0,
)  # Prometheus' own defaults; rules are evaluated as often as targets are scraped
MAX_RULES = 8  # recording rules that are made from one another
LONGEST_WAIT = 600.0  # seconds; a search never waits longer, whatever a server reports
DISCOVERY_SECONDS = 10.0
MAX_BYTES = 16 << 20  # of a page, of which only the lines that matter are kept
MAX_LINE = 1 << 16  # bytes; the parser needs 0.1 s for a line of so many labels
MAX_KEPT = 1 << 19  # bytes of the lines of one name; a usual line has 100
MAX_SERIES = 2000  # of one name
LINE_COST = 64  # bytes of memory that a line takes beside its own
PARSE_SECONDS = 2.0  # of the processor, for one page
GUEST_WAIT = 60.0  # seconds; see LONGEST_WAIT, for a server in a VM
OF_RELAY = Capabilities("run", "changes", 0.0, "changes of what a program shows that answers for the training")
MAX_TOPS = 10_000  # 5 minutes at 32 questions per second
NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
SELECTOR = re.compile(r"^(?:[a-zA-Z_:][a-zA-Z0-9_:]*)?(?:\{[^{}]*\})?$")
# As Prometheus asks; without allow-utf-8 an exporter writes other names.
EXPOSITIONS = (
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "text/plain;version=0.0.4;q=0.4,*/*;q=0.1"
)
# A place for a VM's name or address, a quote, an escaped character, or one other.
QUERY_PARTS = re.compile(r"\{vm\}|\{address\}|\\.|.", re.DOTALL)
SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")  # in a regular expression of PromQL
# What a range or an offset begins with, and its length: since Prometheus 3 also a bare number of seconds.
LOOKBACK = re.compile(
    r"(?:\[|\boffset\s+)\s*(?:(?P<time>(?:\d{1,9}(?:ms|[smhdwy]))+)|(?P<seconds>\d{1,9}(?:\.\d+)?(?:e\+?\d)?))",
    re.IGNORECASE,
)
QUOTED = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`")
IN_BRACKETS = re.compile(r"\[[^\]]*\]")  # a range, or a subquery with its colon
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}


class Prometheus(UrlSource):
    """An exporter (``metric``), or a Prometheus server (``query``)."""

    provider = PROVIDER
    names_its_vm = False

    def __init__(self, settings: Mapping[str, Any]) -> None:
        if bool(settings["metric"]) == bool(settings["query"]):
            raise InvalidInput(
                "A source of provider prometheus needs either metric or query",
                hint="Set metric (a counter's name; url is its exporter) or query (PromQL; url is a Prometheus server)",
                option="experiments",
            )
        if settings["metric"]:
            check_metric(settings["metric"])
        super().__init__(settings)

    def _endpoint(self, url: str) -> Endpoint:
        return endpoint_of(url, self._settings, "experiments.sources.url", page=bool(self._settings["metric"]))

    def _search(self, endpoint: Endpoint, target: Target) -> Searched:
        wanted = query_for(self._settings["query"] or "", target) or self._settings["metric"]
        capabilities = self._capabilities(endpoint, wanted)
        url = kept_url(f"{endpoint.url}?{endpoint.query}", self.url)
        candidate = Experiment(
            vm=target.vm,
            vm_name=target.vm_name,
            provider=PROVIDER,
            id=f"{wanted} at {url}{mark_of(self.url)}",
            process="",
            url=url,
            description=wanted,
            metric=wanted,
            capabilities=capabilities,
        )
        session = self.session(candidate, DISCOVERY_SECONDS)
        try:
            known = session.read().series
            if not self._settings["metric"]:
                age = self._age_of_rules(endpoint, rules_in(wanted) | {each.name for each in known if ":" in each.name})
                age += self._age_of_others(endpoint, known)
                capabilities = replace(capabilities, freshness=capabilities.freshness + age)
                candidate = replace(candidate, capabilities=capabilities)
            no_number = all(series.value is None for series in known)
            if len(known) > 1 and (session.asks_expression or no_number):
                several = f"{wanted} means {number_of(known)} series instead of one; {labels_to_give(known)}"
                return Searched([], several, complete=False)
            if no_number:
                return Searched([], f"the value of {wanted} is not a number of at most {MAX_COUNT:.0e}")
            longest_wait = GUEST_WAIT if self.in_guest else LONGEST_WAIT
            seconds = max(self._settings["advance_timeout"], min(3 * capabilities.freshness, longest_wait))
            search = advancing(
                lambda _found: look(session, candidate, mark_of(self.url)),
                seconds,
                longest=self.longest_look,
                room=self.room,
            )
        finally:
            session.close()
        if len(search.found) == 1:
            return Searched([self._identified(search.found[0].experiment, self._is_in(endpoint, target))])
        what = (
            f"{wanted} did not advance"
            if len(known) == 1
            else f"none of the {number_of(known)} series of {wanted} advanced"
        )
        if search.found:
            what = f"{len(search.found)} of the {number_of(known)} series of {wanted} advanced"
        labels = f"; {labels_to_give(known)}" if len(known) > 1 else ""
        detail = f"{what} in {seconds:.0f} s{labels}{search.detail}"
        return Searched([], detail, complete=not (search.found or search.detail))

    def _identified(self, experiment: Experiment, in_vm: bool) -> Experiment:
        """The experiment with its process, if the process reports when it started; who answers for others is a record."""
        with closing(self.session(experiment, DISCOVERY_SECONDS)) as session:
            reading = session.read()
        relayed = reading.relayed or (reading.uptime is not None and not self._shows_the_present(experiment))
        if self._settings["metric"] and (relayed or (reading.started is None and not in_vm)):
            return replace(experiment, capabilities=OF_RELAY)
        return with_process(experiment, reading.started)

    def _shows_the_present(self, experiment: Experiment) -> bool:
        """Whether the page of an experiment is made at the question, so that its process answers."""
        with closing(self.session(experiment, UPTIME_SECONDS)) as session, suppress(UnusableAnswer, *NO_ANSWER):
            return session.shows_the_present()
        return False

    def _is_in(self, endpoint: Endpoint, target: Target) -> bool:
        """Whether the settings or the address of a server say that it is in the VM."""
        named = any(place in server_in(self.url) for place in PLACES)
        return named or target.address in (endpoint.address, *addresses_of(endpoint.address))

    def _capabilities(self, endpoint: Endpoint, wanted: str) -> Capabilities:
        if self._settings["metric"]:
            return Capabilities("run", "answers", 0.0, "answers of the exporter in the training process")
        with Probe(endpoint, DISCOVERY_SECONDS) as probe:
            freshness = scrape_age(probe.get("/api/v1/status/config")) + lookback(wanted)
        note = "changes of a query's value; as old as the scrape interval"
        return Capabilities("run", "changes", freshness, note, may_fall=is_expression(wanted))

    def _age_of_others(self, endpoint: Endpoint, known: Sequence[Series]) -> float:
        """Seconds by which series are older that another server has scraped: by a federation or a remote write.

        Its interval is not known, so it is taken to be the usual one. Servers that do not list their targets do not say it.
        """
        wanted = [target for series in known if (target := target_of(series.labels))]
        if not wanted:
            return 0.0
        with Probe(endpoint, DISCOVERY_SECONDS, self._limits) as probe, suppress(*NO_ANSWER):
            scraped = targets_in(probe.get("/api/v1/targets?state=active"))
            if scraped is not None and not all(target in scraped for target in wanted):
                return USUAL_INTERVAL + USUAL_TIMEOUT
        return 0.0

    def _age_of_rules(self, endpoint: Endpoint, names: set[str]) -> float:
        """Seconds by which recording rules of these names, and those that they are made from, delay a value."""
        age, asked = 0.0, set[str]()
        with Probe(endpoint, DISCOVERY_SECONDS, self._limits) as probe:
            while names and len(asked) < MAX_RULES:
                asked |= names
                named = urlencode(
                    [("type", "record"), *(("rule_name[]", name) for name in sorted(names))], errors="replace"
                )
                try:
                    answer = probe.get(f"/api/v1/rules?{named}")
                except NO_ANSWER:
                    return age + USUAL_INTERVAL
                more, names = age_of_rules(answer, names)
                age, names = age + more, names - asked
        return age

    def session(self, experiment: Experiment, timeout: float = REQUEST_SECONDS) -> SeriesSession:
        """See the port ``Source``."""
        endpoint = self._endpoint(whole_url(experiment.url, self.url))
        is_page = bool(self._settings["metric"])
        return SeriesSession(endpoint, experiment, self._settings["total_steps"], timeout, is_page=is_page)


def is_expression(query: str) -> bool:
    """Whether a query is more than the selector of a series: its value falls if one of its series is missing."""
    return SELECTOR.match(query) is None


def query_for(query: str, target: Target) -> str:
    """The query for a VM; its name and address are only text in it. Raises UnusableAddress for a name that cannot be that."""
    places = {"{vm}": target.vm_name, "{address}": target.address}
    written, quotes, is_regex = [], "", False
    for part in QUERY_PARTS.findall(query):
        if part in places:
            written.append(as_text(places[part], quotes, is_regex))
            continue
        written.append(part)
        if part == quotes:
            quotes = ""
        elif not quotes and part in ('"', "'", "`"):
            before = "".join(written[:-1]).rstrip()
            quotes, is_regex = part, before.endswith(("=~", "!~"))
    return "".join(written)


def as_text(value: str, quotes: str, is_regex: bool) -> str:
    """A value as it stands between ``quotes`` in PromQL, or outside of them. Raises UnusableAddress if it cannot."""
    value = SPECIAL.sub(r"\\\g<0>", value) if is_regex else value
    if quotes in ('"', "'"):
        value = value.replace("\\", "\\\\").replace(quotes, f"\\{quotes}")
        return value.replace("\n", "\\n").replace("\r", "\\r")
    if quotes == "`" and "`" not in value:
        return value
    if not quotes and NAME.fullmatch(value):
        return value
    raise UnusableAddress(f"the name or address {text(value)} cannot be written in the query; put it in double quotes")


def with_process(experiment: Experiment, started: float | None) -> Experiment:
    """The experiment with its process, if the process reports when it started."""
    if started is None:
        return experiment
    capabilities = replace(experiment.capabilities, identity="process")
    return replace(experiment, process=f"{STARTED}{started:.2f}", capabilities=capabilities)


def scrape_age(config: Answer) -> float:
    """Maximum age of a sample in seconds: the longest scrape interval and timeout in the server's configuration."""
    yaml = mapping(mapping(config.body).get("data")).get("yaml")
    yaml = yaml if isinstance(yaml, str) else ""
    intervals = [seconds(found) for found in re.findall(r"scrape_interval:\s*(\S+)", yaml)]
    timeouts = [seconds(found) for found in re.findall(r"scrape_timeout:\s*(\S+)", yaml)]
    return max(intervals, default=USUAL_INTERVAL) + max(timeouts, default=USUAL_TIMEOUT)


def lookback(query: str) -> float:
    """Seconds by which the value of a query may be older than the samples: its ranges and offsets.

    A mean or a maximum over five minutes still changes five minutes after the last step.
    """
    found = LOOKBACK.finditer(QUOTED.sub('""', query))
    return sum(seconds(each["time"]) if each["time"] else float(each["seconds"]) for each in found)


def rules_in(query: str) -> set[str]:
    """The names of recording rules in a query: only they have a colon."""
    outside = IN_BRACKETS.sub("", QUOTED.sub('""', query))
    return {name for name in NAME.findall(outside) if ":" in name}


def age_of_rules(answer: Answer, names: set[str]) -> tuple[float, set[str]]:
    """(seconds by which the slowest of some recording rules delays a value, names of the rules that they are made from).

    Each is evaluated once in the interval of its group. If the server does not say which one, it is taken to be the usual one.
    """
    groups = map(mapping, items(mapping(mapping(answer.body).get("data")).get("groups")))
    found = [
        (count(group.get("interval")), str(rule.get("query")))
        for group in groups
        for rule in map(mapping, items(group.get("rules")))
        if exact(rule.get("name")) in names and rule.get("type") == "recording"
    ]
    ages = [(USUAL_INTERVAL if interval is None else max(0.0, interval)) + lookback(query) for interval, query in found]
    return max(ages, default=USUAL_INTERVAL), {name for _interval, query in found for name in rules_in(query)}


def targets_in(answer: Answer) -> list[Mapping[str, str]] | None:
    """``job`` and ``instance`` of each process that a server scrapes itself; ``None`` if it does not say."""
    listed = mapping(mapping(answer.body).get("data")).get("activeTargets")
    if answer.status != 200 or not isinstance(listed, list):
        return None
    return [target_of(mapping(mapping(target).get("labels"))) for target in listed]


def seconds(duration: str) -> float:
    """A duration such as ``1m30s`` in seconds."""
    return sum(float(count) * UNITS[unit] for count, unit in re.findall(r"(\d{1,9})(ms|[smhdwy])", duration))


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a metric; ``value`` is ``None`` if it is not a number."""

    name: str
    labels: Mapping[str, str]
    value: float | None

    @property
    def selector(self) -> str:
        """The name with all labels, as Prometheus writes it."""
        labels = [f"{named(label)}={in_quotes(value)}" for label, value in sorted(self.labels.items())]
        if not NAME.fullmatch(self.name):
            return f"{{{','.join([in_quotes(self.name), *labels])}}}"
        return f"{self.name}{{{','.join(labels)}}}" if labels else self.name


def in_quotes(value: str) -> str:
    """A name or the value of a label in quotes, as in an exposition."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def named(label: str) -> str:
    """The name of a label, in quotes if it needs them."""
    return label if NAME.fullmatch(label) else in_quotes(label)


def number_of(known: Sequence[Series]) -> str:
    """How many series there are, as far as they were read."""
    return f"{len(known)} or more" if len(known) == MAX_SERIES else str(len(known))


def labels_to_give(known: Sequence[Series]) -> str:
    """Which labels distinguish several series."""
    shared = set.intersection(*(set(series.labels.items()) for series in known))
    differing = {name for series in known for name, value in series.labels.items() if (name, value) not in shared}
    return f"give labels that only one of them has ({text(', '.join(sorted(differing)))})"


def check_metric(metric: str) -> None:
    """Raise InvalidInput if no exposition can be read, or not for this metric."""
    if PARSER_ERROR:
        raise InvalidInput(
            f"A source of provider prometheus with metric needs the Python package prometheus-client ({PARSER_ERROR})",
            hint="Install prometheus-client>=0.22 for Ansible's Python, or use query with a Prometheus server",
            option="experiments",
        )
    if selector_of(metric) is None:
        raise InvalidInput(
            f"metric is {metric!r}, which is not the name of a metric, or a name with labels",
            hint='Set it to a name such as training_steps_total, or training_steps_total{run="a"}',
            option="experiments",
        )


def selector_of(metric: str) -> Series | None:
    """The name and labels of the series that ``metric`` means; ``None`` if it means none."""
    if "{" in metric:
        return parsed_line(f"{metric} 0".encode())
    return Series(metric, {}, None) if metric == metric.strip() != "" else None


def parsed_line(line: bytes) -> Series | None:
    """The series in one line of an exposition; ``None`` if there is none that the parser can read."""
    try:
        families = text_string_to_metric_families(line.decode("utf-8") + "\n")
        samples = [sample for family in families for sample in family.samples]
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return Series(samples[0].name, samples[0].labels, count(samples[0].value)) if len(samples) == 1 else None


def lines_of(data: bytes, name: str) -> Iterator[bytes]:
    """The lines of an exposition that may be series of ``name``, without its comments.

    The parser takes 40 us for a line (measured), so 4 s for a page of 100,000 series. So it gets only these lines, and
    one by one: a line that it cannot read does not hide the others.
    """
    needle, at = in_quotes(name)[1:-1].encode(), 0
    while (found := data.find(needle, at)) >= 0:
        start = max(at, data.rfind(b"\n", at, found) + 1)
        end = data.find(b"\n", found)
        at = end if end >= 0 else len(data)
        line = data[start:at].lstrip() if at - start <= MAX_LINE else b""
        bare = line.startswith(needle) and line[len(needle) : len(needle) + 1] in (b"{", b" ", b"\t")
        if bare or (line.startswith(b"{") and b'"%s"' % needle in line):
            yield line


class Page:
    """Takes an exposition block by block and keeps the lines of some names, so that a page of millions costs no memory.

    Of each name, the first ``MAX_KEPT`` bytes of lines are kept.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._room = dict.fromkeys(names, MAX_KEPT)
        self._lines: list[bytes] = []
        self.telling: set[str] = set()  # names that say whether it is the page of a relay
        self._rest = b""
        self._size = 0

    def add(self, block: bytes) -> None:
        """Take the next block. Raises TooLong."""
        self._size += len(block)
        if self._size > MAX_BYTES:
            raise TooLong(MAX_BYTES)
        whole, newline, rest = (self._rest + block).rpartition(b"\n")
        self._keep(whole + newline)
        self._rest = rest if len(rest) <= MAX_LINE else b"#" * MAX_LINE  # a line that is too long is not read

    def data(self) -> bytes:
        """The lines that were kept, after the last block."""
        self._keep(self._rest)
        self._rest = b""
        return b"\n".join(self._lines)

    def _keep(self, data: bytes) -> None:
        self.telling |= telling_names(data)
        for name in [name for name, room in self._room.items() if room > 0]:
            for line in lines_of(data, name):
                self._room[name] -= len(line) + LINE_COST
                if self._room[name] < 0:
                    break
                self._lines.append(line)


def series_of(data: bytes, wanted: Series, until: float = math.inf) -> list[Series]:
    """The series of an exposition that have the name and the labels of ``wanted``; one with just its labels comes alone.

    At most ``MAX_SERIES`` lines are read. Raises UnusableAnswer if this thread has used the processor until ``until``.
    """
    values = [in_quotes(value).encode() for value in wanted.labels.values()]
    lines = (line for line in lines_of(data, wanted.name) if all(value in line for value in values))
    found = []
    for series in map(parsed_line, itertools.islice(lines, MAX_SERIES)):
        if time.thread_time() > until:
            raise UnusableAnswer(f"its page takes longer than {PARSE_SECONDS:.0f} s to read")
        if series is None or series.name != wanted.name:
            continue
        if series.labels == wanted.labels:
            return [series]
        if wanted.labels.items() <= series.labels.items():
            found.append(series)
    return found


def look(session: SeriesSession, candidate: Experiment, mark: str) -> Iterator[Seen]:
    """The series that the metric or query of ``candidate`` means. Raises NO_ANSWER or UnusableAnswer.

    ``mark`` is the end of their ids.
    """
    session.close()  # the server may close a connection that was idle between two looks
    known = session.read().series
    for series in known:
        which = series.selector if len(known) > 1 else candidate.metric
        own_id = f"{which} at {candidate.url}{mark}"
        exact = series.selector if series.labels and not session.asks_expression else ""
        capabilities = replace(candidate.capabilities, may_fall=candidate.capabilities.may_fall or is_of_rule(series))
        experiment = replace(
            candidate, id=own_id, exact_id=exact, description=which, metric=which, capabilities=capabilities
        )
        yield Seen(experiment, {} if series.value is None else {"": (series.value, 0.0)})


def is_of_rule(series: Series) -> bool:
    """Whether a recording rule makes a series from those of several processes: only names of rules have a colon."""
    return ":" in series.name and "instance" not in series.labels


@dataclass(frozen=True, slots=True)
class Reading:
    """What one answer has: the series that are meant, at least one, and when their process started."""

    series: list[Series]
    started: float | None
    relayed: bool = False  # it is the page of a program that answers for others
    uptime: float | None = None  # of the process, if only that can show that it makes the page itself


def only_value(known: list[Series]) -> float | None:
    """The value of a series that has no others beside it."""
    return known[0].value if len(known) == 1 else None


def start_in(known: list[Series]) -> float | None:
    """The start of a process, if there is one that names it.

    Some exporters write 0 if they do not know it. Others write six digits (``%g`` of C), which a process that was started again
    within ``COARSE`` seconds has as well.
    """
    found = only_value(known)
    return None if found is None or found % COARSE == 0 else found


def uptime_in(starts: Sequence[Series], uptimes: Sequence[Series], series: Series) -> float | None:
    """How long the process of a series runs, by a page where all series have the same common labels; else ``None``.

    Micrometer adds such labels, but so do programs that answer for others.
    """
    if len(starts) != 1 or len(uptimes) != 1 or starts[0].labels != uptimes[0].labels:
        return None
    return uptimes[0].value if starts[0].labels.items() <= series.labels.items() else None


def series_in(result: Mapping[str, Any]) -> Series:
    """The series in a result of a query."""
    labels = {name: value for name, value in mapping(result.get("metric")).items() if isinstance(value, str)}
    value = items(result.get("value"))
    return Series(labels.pop("__name__", ""), labels, count(value[1]) if len(value) == 2 else None)


def start_query(labels: Mapping[str, str]) -> str:
    """The query for the start of the process that exports a series with these labels, and for the names that show a relay.

    Empty if the labels do not say which process that is. The counts are by name, because a relay has many series.
    """
    target = ",".join(f"{name}={in_quotes(value)}" for name, value in target_of(labels).items())
    named = f'count by (__name__) ({{__name__=~"{IN_PROMQL}",{target}}})'
    return f"{named} or {START}{{{target}}}" if target else ""


def why_missing(answer: Answer, data: bytes, wanted: Series, metric: str) -> str:
    """Why an exposition, of which ``data`` was kept, has no series of ``wanted``."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and kind not in ("text/plain", "application/openmetrics-text"):
        return f"not an exporter's page, but {kind}"
    if next(lines_of(data, wanted.name), None) is None:
        total = f"{wanted.name}_total"
        other = f", but {total}" if next(lines_of(data, total), None) is not None else ""
        return f"the exporter has no metric {metric}{other}"
    if wanted.labels:
        return f"the exporter has no series {metric}, but others of that name"
    return f"the exporter has the metric {metric}, but its value cannot be read"


class SeriesSession(HttpSession):
    """Questions about one series."""

    max_hz = 32.0

    def __init__(
        self,
        endpoint: Endpoint,
        experiment: Experiment,
        total_steps: int | None,
        timeout: float = REQUEST_SECONDS,
        *,
        is_page: bool = True,
    ) -> None:
        self._direct = experiment.capabilities.signal == "answers"
        super().__init__(Probe(endpoint, timeout, SMALL, EXPOSITIONS if is_page else JSON, asks_again=self._direct))
        self._query = experiment.metric
        self._selectors = {experiment.metric, experiment.exact_id}  # of the series that is watched
        self._wanted = selector_of(experiment.metric) if is_page else None
        self.asks_expression = not is_page and (is_expression(self._query) or experiment.capabilities.may_fall)
        self._knows_falls = is_page or self.asks_expression or bool(experiment.process)
        self._process = experiment.process
        self._total = total_steps
        self._started = number(experiment.process.removeprefix(STARTED)) if experiment.process else None
        self._freshness = experiment.capabilities.freshness
        self._top = self._highest = float("-inf")  # as it counts here, and as it was shown
        self._tops: deque[tuple[float, float]] = deque(maxlen=MAX_TOPS)  # when each highest count was shown
        self._offset = 0.0
        self._repeats = False
        self._steady = Steady()
        self._fell = False  # that shows the restart, and all questions since were answered
        self._before: tuple[Sample, ...] = ()
        self._gone = False  # nobody listened where the training itself answers, since the last answer
        self._same_start = True
        self._restarted = ""

    def sample(self) -> Sample:
        """See the port ``Session``."""
        sample = sampled(self._probe, self._ask)
        asked = (*self._before, sample)
        refused = self._direct and was_refused(asked, len(asked) - 1)
        self._gone = sample.outcome != "answered" and (self._gone or refused)
        if sample.outcome != "answered":
            self._steady, self._fell = Steady(), False
        self._before = (sample,)
        return sample

    def _ask(self, sent: float) -> Sample:
        try:
            reading = self.read()
            if len(reading.series) > 1:
                raise UnusableAnswer(
                    f"now {len(reading.series)} series of {self._query}; {labels_to_give(reading.series)}"
                )
        except UnusableAnswer as error:
            return Sample(sent, time.monotonic(), "invalid", detail=text(str(error)))
        received = time.monotonic()
        value = reading.series[0].value
        if not self._knows_falls:
            self._look_for_falls(reading.series[0])
        self._notice(value, reading.started, received)
        step = self._shown(value)
        return Sample(
            sent,
            received,
            "answered",
            self._process if self._same_start and reading.started is not None else "",
            status="RUNNING",
            progress=progress_at(step, self._total),
            step=step,
            detail=REPEATS if self._repeats and not (self._direct and self._process) else "",
            restarted=self._restarted,
        )

    def _look_for_falls(self, series: Series) -> None:
        """Ask once whether a value fell again and again before it was watched, as the index of a batch does in each epoch."""
        self._knows_falls = True
        with suppress(UnusableAnswer, *NO_ANSWER):
            found = self._values(f"resets({series.selector}[{HISTORY}])")
            falls = only_value([each for each in found if not each.name])  # a count has no name
            self._repeats = falls is not None and falls >= MIN_FALLS

    def read(self) -> Reading:
        """Ask once. Of several series, the one that is watched comes alone. Raises NO_ANSWER or UnusableAnswer."""
        return self._scraped(self._wanted) if self._wanted else self._queried()

    def shows_the_present(self) -> bool:
        """Whether the uptime of the process grows with the time that passes: what a program repeats for others stands still.

        Raises NO_ANSWER or UnusableAnswer.
        """
        known = []
        for _look in range(UPTIME_LOOKS):
            sent = time.monotonic()
            known.append((sent, self.read().uptime, time.monotonic()))
            time.sleep(UPTIME_PAUSE)
        return all(
            first is not None
            and second is not None
            and since - received - UPTIME_EXACT <= second - first <= until - sent + UPTIME_EXACT
            for (sent, first, received), (since, second, until) in itertools.pairwise(known)
        )

    def _watched(self, found: list[Series]) -> list[Series]:
        """The series that is watched, if it is known and found; else all."""
        own = [series for series in found if series.selector in self._selectors]
        return own if len(own) == 1 else found

    def _scraped(self, wanted: Series) -> Reading:
        page = Page(dict.fromkeys((wanted.name, f"{wanted.name}_total", START, UPTIME)))
        answer = self._probe.download("", page.add)
        if answer.status != 200:
            raise unusable(answer, "an exporter")
        data, until = page.data(), time.thread_time() + PARSE_SECONDS
        found = series_of(data, wanted, until)
        if not found:
            raise Absent(why_missing(answer, data, wanted, self._query))
        found = self._watched(found)
        starts = series_of(data, Series(START, {}, None), until)
        labelled = any(each.labels for each in starts)
        uptime = uptime_in(starts, series_of(data, Series(UPTIME, {}, None), until), found[0]) if labelled else None
        relayed = (
            is_relay(page.telling) or (labelled and uptime is None) or {"job", "instance"} <= found[0].labels.keys()
        )
        return Reading(found, None if relayed else start_in(starts), relayed, uptime)

    def _queried(self) -> Reading:
        found = self._watched(self._values(self._query))
        if not found:
            raise Absent("the query returns no series")
        if len(found) > 1 or self.asks_expression:
            return Reading(found, None)
        return Reading(found, self._start_of(found[0]))

    def _start_of(self, series: Series) -> float | None:
        """When the process that exports a series started; ``None`` if that is not known, or if it is not the training."""
        asked = start_query(series.labels)
        with suppress(UnusableAnswer):
            known = self._values(asked) if asked else []
            own = [each for each in known if each.name == START]
            return None if is_relay(each.name for each in known) else start_in(own)
        return None

    def _values(self, query: str) -> list[Series]:
        answer = self._probe.get(f"/api/v1/query?{urlencode({'query': query}, errors='replace')}")
        body = mapping(answer.body)
        if body.get("status") == "error":
            raise UnusableAnswer(f"Prometheus cannot answer the query: {text(body.get('error'))}")
        if answer.status != 200 or body.get("status") != "success":
            raise unusable(answer, "a Prometheus server")
        data = mapping(body.get("data"))
        if data.get("resultType", "vector") != "vector":
            raise UnusableAnswer("the query does not return an instant vector")
        return [series_in(mapping(result)) for result in items(data.get("result"))]

    def _notice(self, step: float | None, started: float | None, at: float) -> None:
        """Notice a restart: the counter decreased, or the process started at another time after it was gone.

        Some exporters compute their start from the clock at each question, and hypervisors step the clock of a guest.
        So another start alone is not a restart; but the process is no longer known.
        """
        if started is not None and self._started is not None and abs(started - self._started) > CLOCK_STEP:
            self._same_start = False
            if self._gone:
                self._restarted = self._restarted or "it was gone, and then a process with another start time answered"
        self._started = started if started is not None else self._started
        if step is not None:
            self._count(step, bool(self._process) and self._same_start and started is not None, at)

    def _count(self, step: float, named: bool, at: float) -> None:
        """Keep the highest count. It fell only if it is below what was shown before an answer may be out of date.

        A process that counts from 0 again without a new start counts batches of an epoch. An expression falls if one of
        its series is missing; then its growth counts, until it is as high as before. A counter also starts again by itself,
        or is not one, if it falls when its next step is due.
        """
        if self._offset and step >= self._highest:
            self._offset = 0.0
        self._highest, count = max(self._highest, step), step + self._offset
        at_once = self._steady.falls_at_once(step, at) and self._freshness < RESTART_SECONDS
        if at_once and self._fell:  # it falls all the time
            self._repeats, self._restarted = True, ""
        if self._repeats:
            return
        if count >= self._top:
            self._top = count
            self._tops.append((at, count))
        elif count < self._surely(at) or not (self._same_start or self.asks_expression):
            if self.asks_expression:
                self._offset = self._top - step
            elif named or at_once:
                self._repeats = True
            else:
                self._fell = self._fell or not self._restarted
                self._restarted = self._restarted or f"its counter went back from {self._top:g} to {step:g}"

    def _surely(self, at: float) -> float:
        """The highest count that each answer at a time must have reached."""
        known = at - self._freshness
        while len(self._tops) > 1 and self._tops[1][0] <= known:
            self._tops.popleft()
        return self._tops[0][1] if self._tops and self._tops[0][0] <= known else float("-inf")

    def _shown(self, step: float | None) -> float | None:
        """The step of a sample: the highest count, or what an answer shows if its counter starts again."""
        return step if step is None or self._restarted or self._repeats else self._top
