# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What trains and what was seen of it: experiments, samples, stalls and verdicts. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .training_clock import Gap

BETWEEN = "BETWEEN RUNS"  # the status of a search whose run has ended, and whose next one has not logged yet: it may take any time
WITHOUT_IT = "RUN FAILED"  # the status of a search of which the run that is watched failed or was killed: others continue, or it is done


class Verdict(StrEnum):
    """What the evidence says about an experiment.

    ``lost``: nobody answers at its port or knows it, and nothing continues it. ``restarted``: it runs, but not as before. ``failed``: the job
    itself reports that it ended without a result.
    """

    UNINTERRUPTED = "uninterrupted"
    STALLED = "stalled"
    RESTARTED = "restarted"
    LOST = "lost"
    FAILED = "failed"
    COMPLETED = "completed"
    UNKNOWN = "unknown"


# What an operator must look at first. A completed experiment proves less about its stall than an uninterrupted one.
# An interrupted experiment must not hide behind one that could not be observed.
WORST_FIRST = (
    Verdict.LOST,
    Verdict.FAILED,
    Verdict.RESTARTED,
    Verdict.STALLED,
    Verdict.UNKNOWN,
    Verdict.COMPLETED,
    Verdict.UNINTERRUPTED,
)


def worst(verdicts: Iterable[str]) -> Verdict:
    """The verdict to look at first; ``unknown`` without any."""
    return min((Verdict(verdict) for verdict in verdicts), key=WORST_FIRST.index, default=Verdict.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can prove, as it states itself.

    ``identity``: ``process`` (the answering process is recognised) or ``run`` (only the run's own record is).
    ``signal``: how a stall is measured, by ``answers`` (the server freezes with the VM) or by ``changes`` of step and
    progress (the server always answers). ``freshness``: seconds by which an answer may be out of date. ``reports_end``: the server
    stays when a training ends and says how it ended, so that a port which nobody serves any more is a loss. ``may_fall``: what
    it shows may be less for a while, without a restart; a session knows what it has seen, but not what others saw.
    ``named_by_record``: a record names the process, and still does so when the process has ended.
    """

    identity: str
    signal: str
    freshness: float = 0.0
    note: str = ""
    reports_end: bool = False
    may_fall: bool = False
    named_by_record: bool = False


@dataclass(frozen=True, slots=True)
class Experiment:
    """One training job in a guest, as a provider found it.

    ``process`` identifies the server process, ``id`` the job; both stay the same until the experiment is restarted.
    ``process`` is empty if nothing names it. ``url`` carries no credentials. ``id`` is for display and may be shortened;
    its server is asked for ``asked_id``.
    """

    vm: str
    vm_name: str
    provider: str
    id: str
    process: str
    url: str
    description: str = ""
    progress: float | None = None
    clock_progress: bool = False  # progress may follow the wall clock (a time limit): no proof of work
    owner: str = ""
    cluster: str = ""  # name of the cluster whose node in this VM is watched; empty for a single server
    nodes: tuple[str, ...] = ()  # addresses of the cluster's nodes, as one of them reports: ``10.1.4.7:54321``
    metric: str = ""  # the metric whose steps are watched, if there are several
    source: str = ""  # the operator's source that found it; only this one may ask it, because it sends credentials
    capabilities: Capabilities = Capabilities("process", "answers")
    recoverable: str = "unknown"  # yes, no or unknown: whether a checkpoint would limit the loss
    recovery: str = ""  # how it could be recovered, or why not
    reproducible: str = "unknown"  # yes, no or unknown: whether the same seed and data would give the same model
    reproducibility: str = ""  # under which conditions, or why not
    processors: int = 0  # of the VM, if it answers beside its training; 0 if another machine answers
    exact_id: str = ""  # the job's name as its server knows it, if ``id`` is not that name

    @property
    def asked_id(self) -> str:
        """The job's name as its server knows it."""
        return self.exact_id or self.id


@dataclass(frozen=True, slots=True)
class Sample:
    """One question to an experiment server. Times are the controller's ``time.monotonic()``.

    ``outcome``: ``answered`` (job seen), ``job_missing`` (server answered, job unknown), ``refused``
    (connection refused or reset), ``silent`` (no answer within the request timeout), ``invalid``
    (something else answered). ``received`` is the time of the full answer or of the error. ``process`` is ``None`` or
    empty if the answer does not name it.

    The fields from ``exact`` on
    are facts about the wait, see ``providers/questions.py``: ``received`` is the kernel's own time of arrival; TCP may
    have sent something again; times of the last lost question, of the last answered one, of the last connection that the
    guest's kernel did not accept, of the first that it accepted after that, and of the first one in a row that it did not
    accept; whether the queue of the server may have been full then, so that this does not show a frozen VM.
    """

    sent: float
    received: float
    outcome: str
    process: str | None = None
    status: str | None = None  # RUNNING, DONE, FAILED, CANCELLED, CANCEL_PENDING
    progress: float | None = None
    detail: str = ""  # progress message or error text, at most 200 characters
    step: float | None = None  # training steps done, where the provider counts them
    late: float = 0.0  # seconds between the two times in which the watching process itself stood still
    asked: float | None = None  # time of the job query that the job's figures are from, if before ``sent``
    logged: float | None = (
        None  # seconds of the training's own clock at which it logged the step, where a record says so
    )
    paused: float | None = None  # see record.longest_pause, since the first answer; where the record shows more steps
    hides_steps: bool = False  # lower steps than the highest may have been logged since, and nothing shows them
    restarted: str = ""  # what the provider saw that proves a restart, in words; empty without proof
    clock: float | None = None  # seconds on the clock of the guest when it answered; only differences mean something
    clock_step: float = 0.0  # that clock shows the same for so many seconds
    exact: bool = False
    resent: bool = False
    unheard: float | None = None
    again: float | None = None
    deaf: float | None = None
    awake: float | None = None
    deaf_since: float | None = None
    full: bool = False

    @property
    def news_from(self) -> float:
        """Time of the job query: the job's figures are of that time or later."""
        return self.sent if self.asked is None else self.asked

    @property
    def alive_since(self) -> float:
        """The server answered after that time."""
        return self.sent if self.again is None else self.again

    @property
    def waited(self) -> float:
        """Seconds that the question waited for its answer, without delays of our own."""
        return self.received - self.sent - self.late


@dataclass(frozen=True, slots=True)
class Final:
    """How an experiment ended and its result, as its provider reports.

    ``status`` as in ``Sample``, empty if the provider knows none. ``score`` is the value of ``metric``; ``artifacts``
    are names of models and files.
    """

    status: str
    metric: str = ""
    score: float | None = None
    artifacts: tuple[str, ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found in several VMs. The other fields have a sentence by VM (MoID).

    ``unobserved``: no experiment was found, and what was seen instead. ``partly_searched``: some were found, and why there may be more.
    """

    experiments: tuple[Experiment, ...] = ()
    unobserved: Mapping[str, str] = field(default_factory=dict)
    partly_searched: Mapping[str, str] = field(default_factory=dict)

    def by_name(self, name: Callable[[str], str]) -> Discovery:
        """The same with the name of each VM instead of its MoID; ``name`` gives it."""
        unobserved = {name(vm): why for vm, why in self.unobserved.items()}
        return Discovery(self.experiments, unobserved, {name(vm): why for vm, why in self.partly_searched.items()})


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What the provider reports of an experiment after the watch, and the largest gap by the training's own clock."""

    experiment: Experiment
    final: Final | None
    training_clock: Gap | None


# Called every few seconds with an experiment, its last sample, and its progress since the last call.
ProgressListener = Callable[[Experiment, Sample, "float | None"], None]


@dataclass(frozen=True, slots=True)
class Stall:
    """Longest time without answer and progress, in seconds: an estimate, and an interval with the true length.

    ``at`` is the monotonic time of the last answer before it, ``None`` if nothing stood out.
    """

    seconds: float
    low: float
    high: float
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict with its three claims, each ``proven``, ``refuted`` or ``unknown``, and the figures behind it.

    ``longest_stall`` is how long the training stood still, ``longest_freeze`` how long its whole VM did: the guest's
    kernel answered nothing. ``resolution`` is the widest quiet gap of normal polling: a shorter stall cannot be distinguished from it.
    """

    experiment: Experiment
    verdict: Verdict
    identity: str
    progress: str
    stall: str
    longest_stall: Stall | None
    resolution: float | None
    progress_before: float | None
    progress_after: float | None
    samples: int = 0
    unwatched_seconds: float = 0.0
    detail: str = ""
    over: bool = False  # the last answer says that the job is done
    longest_freeze: Stall | None = None
    unseen: str = ""  # why it is not seen to work at the end of the watch; empty if it is, or has ended
    members: tuple[Judgement, ...] = ()  # of a cluster's experiment: the judgement of each node
