# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verdict: what samples prove about an experiment. Pure.

Identity (same process, same job), progress (never back) and stall (``stall.py``) are three claims. The verdict is never
better than the worst of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from .._core.standing import (
    ALL_DONE,
    AS_USUAL,
    JOB_DONE,
    JOB_GONE,
    JOB_IS,
    JOB_UNKNOWN,
    NO_ANSWER,
    REFUSES,
    UNREADABLE,
    WORKS,
    has_reason,
    said,
)
from .._core.wording import percent, seconds
from .identity import Identity, identity_of, is_foreign, sessions, was_refused
from .last_seen import WHY_UNSEEN, why_unseen
from .model import (
    BETWEEN,
    WITHOUT_IT,
    Experiment,
    Judgement,
    Sample,
    Stall,
    Verdict,
)
from .record import REPEATS
from .stall import (
    ANSWERED,
    HEARD,
    Finding,
    News,
    longest_stall,
    news,
    resolution,
    steps_stood_still,
)

OVER = (Verdict.LOST, Verdict.RESTARTED, Verdict.FAILED)  # not as before
BETWEEN_RUNS = "its run has ended, and its parent still says RUNNING, but no other run of the parent is seen to work"
RUN_FAILED = (
    "its run failed or was killed, but the search that it belongs to did not: it is not known which of them ended it"
)
DONE, FAILED = "done", "failed"  # how a job ends
FAILURES = ("FAILED", "CANCELLED", "CANCEL_PENDING")  # the statuses of a job that ended without a result, or soon will
EARLY = "it ended with {share} of its steps: it may have stopped as planned, or after an error that its record does not show"
NO_PROGRESS = "no progress was seen after the move or the longest gap"
OLD_WORK = "the work that was seen after the move may be from before its end, because its record is old"
STILL_NAMED = "its record names the process also after the end of the process"
CLOCK_NOTE = "progress may follow the wall clock (a time limit), so only steps and messages prove work"


def judge(
    experiment: Experiment,
    samples: Sequence[Sample],
    *,
    stall_budget: float,
    moved_at: float | None = None,
    arrived_at: float | None = None,
    measured_from: float | None = None,
    unwatched: Sequence[tuple[float, float]] = (),
) -> Judgement:
    """The verdict from all samples of an experiment.

    ``moved_at`` is when its move began (monotonic): progress from before must not be lost. ``arrived_at`` is when the
    move ended: progress must be seen after it. Only a stall after ``measured_from`` counts.
    """
    taken = len(samples)
    samples = up_to_the_end(experiment, samples)
    answers = [s for s in samples if s.outcome == ANSWERED]
    finding = _finding(experiment, samples, unwatched, measured_from)
    stall = finding.stall if finding is not None else None
    identity = identity_of(experiment, samples, unwatched)
    gap = finding.since if finding is not None else None
    later = _later(samples, unwatched, gap, arrived_at, age_of(experiment))
    progress, why_progress = _progress(
        experiment, samples, identity, later, _comparable(experiment, samples, unwatched)
    )
    shown = _later(samples, unwatched, gap, arrived_at, 0.0)
    if why_progress == NO_PROGRESS and len(_works(experiment, shown)) > 1:
        why_progress = f"{OLD_WORK} (up to {age_of(experiment):.1f} s)"
    identity = _of_a_living_process(experiment, identity, works=progress == "proven" or why_progress == WORKS)
    stall_claim, why_stall = _stall_claim(samples, stall, stall_budget, bool(unwatched))
    verdict, why = _verdict(experiment, samples, identity, progress, stall_claim)
    if verdict in OVER:  # what trained is dead, and did not stall
        stall, stall_claim = None, "unknown"
    notes = [
        why,
        identity.why,
        why_progress if identity.claim != "refuted" and verdict not in (Verdict.LOST, Verdict.FAILED) else "",
        why_stall if verdict is Verdict.UNKNOWN else "",
        finding.note if finding is not None and stall is not None else "",
        CLOCK_NOTE if experiment.clock_progress else "",
        _why_no_steps(experiment, samples, unwatched, measured_from, stall_budget),
    ]
    over = is_over(answers)
    unseen = why_unseen(
        experiment, samples, lambda s: work_of(experiment, s), stall_budget=stall_budget, unwatched=unwatched
    )
    if unseen and _all_done(experiment, samples):
        unseen = _why_not_seen_after_all_steps(experiment, samples[-1], unseen)
    before = [s.progress for s in answers if moved_at is None or s.received <= moved_at]
    return Judgement(
        experiment=experiment,
        verdict=verdict,
        identity=identity.claim,
        progress=progress,
        stall=stall_claim,
        longest_stall=stall,
        resolution=resolution(samples, unwatched, capabilities=experiment.capabilities),
        progress_before=next((p for p in reversed(before) if p is not None), experiment.progress),
        progress_after=next((s.progress for s in reversed(answers) if s.progress is not None), None),
        samples=taken,
        over=over,
        unseen=_why_early(experiment, answers) if over else unseen,
        # Negative if samples of machines with different clocks have no common one; then it is unknown.
        unwatched_seconds=sum(max(0.0, end - start) for start, end in unwatched),
        longest_freeze=finding.freeze if finding is not None else None,
        detail="; ".join(dict.fromkeys(note for note in notes if note)),
    )


def _of_a_living_process(experiment: Experiment, identity: Identity, *, works: bool) -> Identity:
    """The identity: the tags of a run name its process after its death, too, so only later work shows that it is still there."""
    if identity.claim != "proven" or works or not experiment.capabilities.named_by_record:
        return identity
    return Identity("unknown", STILL_NAMED)


def up_to_the_end(experiment: Experiment, samples: Sequence[Sample]) -> Sequence[Sample]:
    """The samples up to the first answer that says the job is done, or the last one that says it failed; all if it runs again later.

    What follows the end does not count: scripts stop with their server, servers discard jobs, and no step is logged.
    """
    end, how = len(samples), ""
    for place in reversed(range(len(samples))):
        sample = samples[place]
        if sample.outcome != ANSWERED or sample.status is None:
            continue
        ending = "" if is_foreign(experiment, sample) else _ending_of(sample)
        if not ending or how not in ("", ending):
            break
        end, how = (place + 1 if ending == DONE or not how else end), ending
    return samples[:end]


def _ending_of(sample: Sample) -> str:
    """How an answer says that the job has ended, "" if it does not say so."""
    if _done(sample):
        return DONE
    return FAILED if sample.status in FAILURES else ""


def _up_to_the_last_answer(samples: Sequence[Sample]) -> Sequence[Sample]:
    """Without the questions at the end that nobody answered: only an answer shows whether the training or the network stood still."""
    end = max((number for number, sample in enumerate(samples, 1) if sample.outcome in HEARD), default=0)
    return samples[:end]


def _finding(
    experiment: Experiment,
    samples: Sequence[Sample],
    unwatched: Sequence[tuple[float, float]],
    measured_from: float | None,
) -> Finding | None:
    """The longest stall. In a record, a training that has done all its steps may do without any for any time: that is at most one."""

    def longest(known: Sequence[Sample]) -> Finding | None:
        return longest_stall(
            _up_to_the_last_answer(known),
            unwatched,
            capabilities=experiment.capabilities,
            clock_progress=experiment.clock_progress,
            since=measured_from,
        )

    whole = longest(samples)
    if whole is None or not _has_done_all_steps(experiment, samples):
        return whole
    working = longest(_until_all_steps_were_done(samples))
    if working is None:
        working = replace(whole, stall=replace(whole.stall, low=0.0, at=None), since=None)
    low = working.stall.low
    stall = replace(whole.stall, low=low, seconds=(low + whole.stall.high) / 2, at=working.stall.at)
    return replace(whole, stall=stall, since=working.since)


def _until_all_steps_were_done(samples: Sequence[Sample]) -> Sequence[Sample]:
    """The samples to the first answer of those at the end that all show all steps."""
    end = len(samples)
    for number, sample in reversed([*enumerate(samples, 1)]):
        if sample.outcome != ANSWERED or sample.progress is None:
            continue
        if sample.progress < 1.0:
            break
        end = number
    return samples[:end]


def _why_no_steps(
    experiment: Experiment,
    samples: Sequence[Sample],
    unwatched: Sequence[tuple[float, float]],
    measured_from: float | None,
    stall_budget: float,
) -> str:
    """A sentence if a server answered while its training did no step for longer than the budget; else empty."""
    if experiment.capabilities.signal != "answers" or _all_done(experiment, samples):
        return ""
    still = steps_stood_still(samples, unwatched, measured_from)
    if still <= stall_budget:
        return ""
    return f"its server answered, but it did no step for {still:.1f} s: a checkpoint, an evaluation, or it hung"


def _has_done_all_steps(experiment: Experiment, samples: Sequence[Sample]) -> bool:
    """Whether a record shows that a training has no step left, so that it shows nothing more of it."""
    return experiment.capabilities.signal == "changes" and _all_done(experiment, samples)


def _later(
    samples: Sequence[Sample],
    unwatched: Sequence[tuple[float, float]],
    gap: float | None,
    arrived_at: float | None,
    age: float,
) -> Sequence[Sample]:
    """What shows the time after the move and the last gap: an answer may be ``age`` seconds old.

    Nobody saw the time between two watches, and the move may have ended then. So only the last watch shows work, and the end of the
    move is a time of its clock.
    """
    *earlier, watch = sessions(samples, unwatched) or [samples]
    if gap is not None and watch and gap > watch[-1].received:
        gap = None
    begun = watch[0].sent if earlier else None
    marks = [mark for mark in (gap, arrived_at, begun) if mark is not None]
    return [s for s in watch if s.news_from - age > max(marks)] if marks else watch


def _comparable(
    experiment: Experiment, samples: Sequence[Sample], unwatched: Sequence[tuple[float, float]]
) -> list[Sequence[Sample]]:
    """What may show that progress went back: all samples together, or apart by watch if what they show may be less for a while.

    It is without the answers at the start of a resumed watch that may be older than what the watch before it saw. Within one
    watch, a session knows itself what an answer must have reached.
    """
    freshness = experiment.capabilities.freshness
    if experiment.capabilities.signal != "changes" or not unwatched:
        return [samples]
    first, *resumed = sessions(samples, unwatched) or [()]
    if freshness > 0:
        resumed = [[s for s in each if s.received > each[0].received + freshness] for each in resumed]
    return [first, *resumed] if experiment.capabilities.may_fall else [[s for each in (first, *resumed) for s in each]]


def _is_figure(sample: Sample) -> bool:
    """Whether an answer says how far the training is."""
    return sample.outcome == ANSWERED and news(sample) != (None, None, "", None)


def _progress(
    experiment: Experiment,
    samples: Sequence[Sample],
    identity: Identity,
    later: Sequence[Sample],
    comparable: Sequence[Sequence[Sample]],
) -> tuple[str, str]:
    """Progress never went back, and continued after the move and after the last gap that stood out, to the last sample.

    ``later`` is what was asked after these; each part of ``comparable`` may show that progress went back. Another process may show
    that progress was lost, but never that it was kept.
    """
    any_process = identity.claim == "refuted"
    figures = [
        [s for s in part if _is_figure(s) and (any_process or not is_foreign(experiment, s))] for part in comparable
    ]
    for before, after in itertools.chain.from_iterable(map(_with_known_before, figures)):
        if _repeats(experiment, before, after):
            return "unknown", "the steps repeat in the same process, so they do not show how far the training is"
        back = _back(experiment, before, after)
        if back:
            return "refuted", f"progress went back from {back}"
    if not samples or samples[-1].outcome != ANSWERED:
        return "unknown", _unanswered(samples[-1:])
    # The server may have written the first answer after a gap before the gap; only a change in later answers is work.
    works = _works(experiment, later)
    known = [s for s in samples if _is_figure(s) and not is_foreign(experiment, s)]
    if is_over(known):
        return "proven", ""
    if len(works) > 1:
        return ("unknown", WORKS) if known[-1].detail == REPEATS else ("proven", "")
    return "unknown", NO_PROGRESS


def _with_known_before(figures: Iterable[Sample]) -> Iterator[tuple[Sample, Sample]]:
    """Each answer with the one before it, which has the progress and step that were known last: an answer may say only one of them."""
    known: Sample | None = None
    for after in figures:
        before, known = known, after
        if before is None:
            continue
        yield before, after
        progress = before.progress if after.progress is None else after.progress
        step = before.step if after.step is None else after.step
        if (progress, step) != (after.progress, after.step):
            known = replace(after, progress=progress, step=step)


def _works(experiment: Experiment, samples: Sequence[Sample]) -> set[tuple[News, bool]]:
    """The different works that samples show; the end of a run of a search is work, too."""
    return {
        (work_of(experiment, s), s.status == BETWEEN)
        for s in samples
        if _is_figure(s) and not is_foreign(experiment, s)
    }


def _repeats(experiment: Experiment, before: Sample, after: Sample) -> bool:
    """Whether the process that was found counts from a lower step again, as a batch index does."""
    if (
        before.step is None
        or after.step is None
        or not experiment.process
        or experiment.capabilities.signal != "answers"
    ):
        return False  # a record that goes back has been written by a process that started again
    return after.step < before.step and before.process == after.process == experiment.process


def _back(experiment: Experiment, before: Sample, after: Sample) -> str:
    """From what to what progress went back; empty if it did not, or only a clock was set back that it follows."""
    if REPEATS in (before.detail, after.detail):
        return ""
    share, later = (None, None) if experiment.clock_progress else (before.progress, after.progress)
    if share is not None and later is not None and later < share:
        return f"{share:.4f} to {later:.4f}"
    if after.step is not None and before.step is not None and after.step < before.step:
        return f"step {before.step:g} to step {after.step:g}"
    return ""


def _all_done(experiment: Experiment, samples: Sequence[Sample]) -> bool:
    """Whether the last answer says that a running job has done all its work; some trainings end without saying so."""
    last = next((s for s in reversed(samples) if s.outcome == ANSWERED), None)
    return (
        last is not None
        and not experiment.clock_progress
        and last.status in ("RUNNING", None)
        and (last.progress or 0.0) >= 1.0
    )


def _why_not_seen_after_all_steps(experiment: Experiment, last: Sample, why: str) -> str:
    """Why a training that has done all its steps is not seen to work, ``why`` in general. Empty if it answers: it has no more work to show."""
    if experiment.capabilities.reports_end:
        return why
    if last.outcome == ANSWERED:
        return "" if experiment.capabilities.signal == "answers" else ALL_DONE
    return f"{why}; {AS_USUAL}" if last.outcome == "refused" else why


def age_of(experiment: Experiment) -> float:
    """By how many seconds an answer may be out of date."""
    return experiment.capabilities.freshness if experiment.capabilities.signal == "changes" else 0.0


def work_of(experiment: Experiment, sample: Sample) -> News:
    """What changes only while the training works: not its progress, if that may be a clock."""
    progress, step, detail, logged = news(sample)
    return (None if experiment.clock_progress else progress), step, detail, logged


def is_over(answers: Sequence[Sample]) -> bool:
    """Whether the last answer says that the job is done."""
    return bool(answers) and _done(answers[-1])


def _done(sample: Sample) -> bool:
    # A finished job that is cancelled gets the status CANCELLED, but keeps its message "Done.".
    # Journals of older releases also have the message of one of its models, after its own.
    return sample.status == "DONE" or (sample.status == "CANCELLED" and sample.detail.partition("; ")[0] == "Done.")


def _why_early(experiment: Experiment, samples: Sequence[Sample]) -> str:
    """Why the end of a record may not be that of the training; empty if all steps are done, or their number is not known.

    MLflow's client says FINISHED at the end of each process, also of one that an error ended outside of ``with start_run()``.
    Steps that are recorded rarely may not include the last ones.
    """
    if experiment.capabilities.signal != "changes":
        return ""
    known = [(s.step, s.progress) for s in samples if s.outcome == ANSWERED and s.step and s.progress]
    if not known:
        return ""
    step, share = known[-1]
    gains = [after - before for (before, _share), (after, _its_share) in itertools.pairwise(known)]
    usual = max((gain for gain in gains if gain > 0), default=step)
    return EARLY.format(share=percent(share)) if step / share - step > usual + 1 else ""


def _stall_claim(samples: Sequence[Sample], stall: Stall | None, budget: float, unwatched: bool) -> tuple[str, str]:
    """Within the budget, beyond it, or neither: the claim is about the whole interval."""
    if stall is None:
        return "unknown", "too few answers to measure a stall"
    if stall.low > budget:
        return "refuted", ""
    if unwatched:
        return "unknown", "part of the move was not watched"
    if samples[-1].outcome != ANSWERED:
        return "unknown", _unanswered(samples[-1:])
    if stall.high > budget:
        return "unknown", "the stall may have been longer than the budget"
    return "proven", ""


def _verdict(
    experiment: Experiment, samples: Sequence[Sample], identity: Identity, progress: str, stall: str
) -> tuple[Verdict, str]:
    if not samples:
        return Verdict.UNKNOWN, "no sample was taken"
    last = samples[-1]
    if was_refused(samples, len(samples) - 1) and experiment.capabilities.signal == "answers":
        return _refused(experiment, samples, identity)
    if identity.claim == "refuted" and last.outcome == "job_missing":
        return Verdict.LOST, JOB_UNKNOWN
    if identity.claim == "refuted":
        return Verdict.RESTARTED, ""
    if progress == "refuted" and _done(last):
        return Verdict.RESTARTED, ""
    ending = _ending(experiment, samples, identity, stall)
    if ending is not None:
        return ending
    if progress == "refuted":
        return Verdict.RESTARTED, ""
    if stall == "refuted":
        return Verdict.STALLED, ""
    if identity.good and (progress, stall, last.status) == ("proven", "proven", "RUNNING"):
        return Verdict.UNINTERRUPTED, ""
    return Verdict.UNKNOWN, _why_no_more_is_known(experiment, samples)


def _why_no_more_is_known(experiment: Experiment, samples: Sequence[Sample]) -> str:
    """Why what answers at the end shows nothing more; "" if that is not known."""
    if samples[-1].status == BETWEEN:
        return BETWEEN_RUNS
    if samples[-1].status == WITHOUT_IT:
        return RUN_FAILED
    return ALL_DONE if _all_done(experiment, samples) else ""


def _refused(experiment: Experiment, samples: Sequence[Sample], identity: Identity) -> tuple[Verdict, str]:
    """The verdict if nobody listens at the end where the training itself answered."""
    gone = f"{_port(experiment)} {REFUSES}"
    silent = not experiment.capabilities.reports_end
    if silent and identity.claim != "refuted" and _all_done(experiment, samples):
        return Verdict.UNKNOWN, f"{gone}, but {AS_USUAL}"
    return Verdict.LOST, gone


def _unanswered(last: Sequence[Sample]) -> str:
    """Why the last question has no answer that can be used."""
    if last and last[0].outcome == "invalid":
        return f"{UNREADABLE}{said(last[0].detail)}"  # such as HTTP 401, where a token has expired
    return {"job_missing": JOB_GONE}.get(last[0].outcome if last else "", NO_ANSWER)


def _port(experiment: Experiment) -> str:
    try:
        port = urlsplit(experiment.url).port
    except ValueError:
        port = None
    return "its port" if port is None else f"port {port}"


def _ending(
    experiment: Experiment, samples: Sequence[Sample], identity: Identity, stall: str
) -> tuple[Verdict, str] | None:
    """The verdict if the last sample decides."""
    last = samples[-1]
    if was_refused(samples, len(samples) - 1):
        return Verdict.UNKNOWN, f"{_port(experiment)} {REFUSES}"
    if last.outcome in ("silent", "invalid", "refused"):
        return Verdict.UNKNOWN, _unanswered(samples[-1:])
    if last.outcome == "job_missing":
        return Verdict.UNKNOWN, JOB_GONE
    if _done(last) and stall == "refuted":
        return Verdict.STALLED, JOB_DONE
    if _done(last):
        early = _why_early(experiment, samples)
        return (Verdict.COMPLETED, "") if identity.good and not early else (Verdict.UNKNOWN, early or JOB_DONE)
    if last.status in FAILURES:
        return Verdict.FAILED, f"{JOB_IS}{last.status}"
    return None


def has_ended(judgement: Judgement) -> bool:
    """Whether the training has ended: by what its server says, or because its port is closed after all its work was done."""
    return judgement.over or has_reason(judgement.detail, AS_USUAL)


def must_stop_run(judgement: Judgement) -> bool:
    """Whether a verdict must stop the run: an interruption was seen, or the experiment was not seen again.

    If nothing names the process, work that continued shows that the experiment is there, and so does all work that is done.
    Each node of a cluster must be there: what is known of one shows nothing of another.
    """
    if judgement.members:
        return any(map(must_stop_run, judgement.members))
    if judgement.verdict is Verdict.UNKNOWN:
        seen = any(has_reason(judgement.detail, reason) for reason in (WORKS, ALL_DONE, AS_USUAL, RUN_FAILED, OLD_WORK))
        return "proven" not in (judgement.identity, judgement.progress) and not seen
    return judgement.verdict in (Verdict.STALLED, *OVER)


def after_its_move(settled: Judgement, later: Judgement) -> Judgement:
    """The judgement at the end of a run on an experiment whose move was watched to its end.

    The verdict of a finished move is final: what nobody saw later, and a later stall, are not the move's. That the
    experiment was lost, restarted or failed later is seen, and counts. But what was completed cannot be lost or done again,
    and a refused port alone may also be that of a training that has ended as usual, unless its server stays and reports the end.
    An experiment that is not seen to work at the end is ``unknown``, with the claims of its move: nobody may take the verdict of
    the move for an all-clear. What seemed to be lost was not, if the same process answers later: its port was closed for a while,
    as by a proxy.
    """
    if settled.verdict is Verdict.UNKNOWN or (settled.verdict is Verdict.LOST and later.identity == "proven"):
        return later
    ends_silently = not later.experiment.capabilities.reports_end
    refused = later.verdict is Verdict.LOST and later.identity != "refuted" and ends_silently
    if settled.verdict is Verdict.COMPLETED or (settled.verdict is Verdict.UNINTERRUPTED and refused):
        later = replace(later, verdict=Verdict.UNKNOWN, unseen=later.unseen or WHY_UNSEEN["refused"])
    if later.verdict in OVER:
        return later
    good = settled.verdict is Verdict.UNINTERRUPTED
    done = good and later.verdict is Verdict.COMPLETED
    over = later.over and not later.unseen and not done and settled.verdict is not Verdict.COMPLETED
    gap, stall = later.unwatched_seconds, later.longest_stall
    stalled = later.verdict is Verdict.STALLED and settled.verdict is not Verdict.STALLED
    unseen = bool(later.unseen) and settled.verdict is not Verdict.COMPLETED
    notes = [
        settled.detail,
        f"not watched for {seconds(gap)} after its move" if gap else "",
        f"after its move, it stalled for {stall.seconds:.2f} s" if stalled and stall else "",
        f"{'its move did not interrupt it, but ' if good else ''}{later.unseen}" if unseen else "",
        JOB_DONE if over else "",
    ]
    verdict = Verdict.COMPLETED if done else Verdict.UNKNOWN if good and unseen else settled.verdict
    return replace(
        settled,
        verdict=verdict,
        progress_after=settled.progress_after if later.progress_after is None else later.progress_after,
        samples=later.samples,
        unwatched_seconds=gap,
        over=later.over,
        unseen=later.unseen if unseen else "",
        detail="; ".join(dict.fromkeys(note for note in notes if note)),
    )
