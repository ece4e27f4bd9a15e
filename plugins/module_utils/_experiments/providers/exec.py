# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Provider ``exec``: the user's own executable, in any language, with JSON lines on standard input and output.

Each line in gets one line out. A program omits what it does not know.

``{"op": "discover", "vm", "address", "secrets"}`` → ``{"experiments": [{"id", "process", "description", "owner",
"progress", "recoverable", "recovery", "freshness"}, ...]}``;
``{"op": "sample", "id", "vm", "secrets"}`` → ``{"process", "status", "progress", "step", "logged", "detail"}`` or ``{"error"}``;
``{"op": "final", "id", "vm", "secrets"}`` → ``{"status", "metric", "score", "artifacts"}`` (optional);
``{"op": "history", "id", "vm", "first", "last", "secrets"}`` → ``{"points": [[seconds, step], ...]}`` (optional).

Secrets go to standard input only, and the program gets only the environment variables of ``ENVIRONMENT``. With
``signal: answers`` the program's answer must wait for the training. With ``signal: changes`` it reports the recorded state at
once, which may be ``freshness`` seconds old.
"""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ..._core.untrusted import (
    MAX_TEXT,
    count,
    exact,
    if_shortened,
    items,
    mapping,
    number,
    parsed,
    share,
    shortened,
    text,
    values_in,
)
from ..model import (
    Capabilities,
    Experiment,
    Final,
    Sample,
)
from ..record import REPEATS, Steady
from ..training_clock import Point
from .base import Searched, Session, Source, Target
from .credentials import without_repeated, written_forms
from .probe import (
    MAX_BYTES,
    REQUEST_SECONDS,
    SMALL,
)

PROVIDER = "exec"
STATUS = ("RUNNING", "DONE", "FAILED", "CANCELLED", "CANCEL_PENDING")
DISCOVERY_SECONDS = 30.0
# Of Linux, up to 4,194,304. The process of a container has number 1 after a restart, too, whatever word stands before it.
BARE_PID = re.compile(r"(?i)\W*(?:(?:pid|proc(?:ess)?)\W*)?\d{1,7}\W*")
# What a program gets of the environment. It also has passwords of vCenter, clouds and proxies.
ENVIRONMENT = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|LC_[A-Z]+|TZ|TMPDIR|LD_LIBRARY_PATH|SSL_CERT_(FILE|DIR)"
)


class Exec(Source):
    """An executable of the operator."""

    provider = PROVIDER
    needs = "command"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self._command = list(settings["command"])
        self._secrets = {key: settings[key] for key in ("username", "password", "token") if settings.get(key)}

    def discover(self, target: Target) -> Searched:
        """See the port ``Source``."""
        program = Program(self._command, self._secrets)
        question = {"op": "discover", "vm": target.vm_name, "address": target.address, "secrets": self._secrets}
        try:
            answer = program.ask(question, DISCOVERY_SECONDS)
        except (OSError, EOFError) as error:
            return Searched([], f"{self._command[0]}: {text(str(error)) or type(error).__name__}", complete=False)
        finally:
            program.close()
        found = [self._experiment(mapping(e), target) for e in items(answer.get("experiments"))]
        kept = [experiment for experiment in found if experiment.id]
        told = text(answer.get("error"))
        why = told or ("" if kept else "no experiment")
        return Searched(kept, f"{self._command[0]}: {why}" if why else "", complete=not told)

    def _experiment(self, reported: Mapping[str, Any], target: Target) -> Experiment:
        process = word(reported.get("process"))
        process = "" if BARE_PID.fullmatch(process) else process
        return Experiment(
            vm=target.vm,
            vm_name=target.vm_name,
            provider=PROVIDER,
            id=shortened(exact(name_in(reported))),
            exact_id=if_shortened(exact(name_in(reported))),
            process=process,
            url=f"exec:{self._command[0]}",
            description=text(reported.get("description")),
            progress=share(reported.get("progress")),
            owner=text(reported.get("owner")),
            recoverable=reported["recoverable"] if reported.get("recoverable") in ("yes", "no") else "unknown",
            recovery=text(reported.get("recovery")),
            capabilities=Capabilities(
                "process" if process else "run",
                self._settings["signal"],
                self._freshness(reported),
                "answers of the operator's own program",
                named_by_record=self._settings["signal"] == "changes",
            ),
        )

    def _freshness(self, reported: Mapping[str, Any]) -> float:
        """How old an answer may be, in seconds, as the program reports, else from the option."""
        if self._settings["signal"] == "answers":
            return 0.0
        own = count(reported.get("freshness"))
        return own if own is not None and own >= 0 else float(self._settings["flush_seconds"])

    def recovery(self, experiment: Experiment) -> tuple[str, str]:
        """See the port ``Source``: what the program reported."""
        return experiment.recoverable, experiment.recovery or "the program does not report recovery"

    def final(self, experiment: Experiment) -> Final | None:
        """See the port ``Source``: the program's answer to ``final``, which is optional."""
        answer = self._once({"op": "final", "id": experiment.asked_id, "vm": experiment.vm_name})
        status = text(answer.get("status"))
        if status not in STATUS:
            return None
        names = tuple(text(name) for name in items(answer.get("artifacts")))
        return Final(status, text(answer.get("metric")), number(answer.get("score")), names, text(answer.get("detail")))

    def history(self, experiment: Experiment, first: float, last: float) -> list[Point]:
        """See the port ``Source``: the program's answer to ``history``, which is optional."""
        answer = self._once(
            {"op": "history", "id": experiment.asked_id, "vm": experiment.vm_name, "first": first, "last": last}
        )
        points = [(count(p[0]), count(p[1])) for p in map(items, items(answer.get("points"))) if len(p) == 2]
        return [(at, step) for at, step in points if at is not None and step is not None]

    def _once(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        """The answer to one question; empty if the program does not answer."""
        program = Program(self._command, self._secrets)
        try:
            return program.ask({**question, "secrets": self._secrets}, DISCOVERY_SECONDS)
        except (OSError, EOFError, ValueError):
            return {}
        finally:
            program.close()

    def session(self, experiment: Experiment) -> Session:
        """See the port ``Source``."""
        return ProgramSession(Program(self._command, self._secrets), experiment, self._secrets)


def name_in(reported: Mapping[str, Any]) -> Any:
    """The id of a reported experiment; a whole number becomes text."""
    known = reported.get("id")
    return str(known) if isinstance(known, int) and not isinstance(known, bool) else known


def word(value: Any) -> str:
    """A guest's text, so that two that differ stay different; a whole number becomes text."""
    value = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    return shortened(value) if isinstance(value, str) else ""


class Program:
    """A child process that answers line by line; started at the first question."""

    def __init__(self, command: list[str], secrets: Mapping[str, str]) -> None:
        self._command = command
        self._hidden = written_forms(value for name, value in secrets.items() if name != "username")
        self._child: subprocess.Popen[bytes] | None = None
        self._rest = b""
        self._interrupted = False

    def ask(self, question: Mapping[str, Any], timeout: float) -> Mapping[str, Any]:
        """One answer. Raises OSError, TimeoutError, or EOFError if the program ended or its answer is not an object.

        Output from before the question is not an answer: it may be older than a freeze.
        """
        child = self._running()
        if child.stdin is None or child.stdout is None:
            raise EOFError("the program has no standard input or output")
        if self._spoke_unasked(child.stdout.fileno()):
            self.close()
            raise EOFError("the program wrote output before it was asked")
        child.stdin.write(json.dumps(question).encode() + b"\n")
        child.stdin.flush()
        line = self._line(child.stdout.fileno(), time.monotonic() + timeout)
        if values_in(line) > SMALL.values:
            raise EOFError("the program's answer has too many values")
        answer = without_repeated(parsed(line), self._hidden)
        if not isinstance(answer, dict):
            raise EOFError("the program's answer is not a JSON object")
        return answer

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            self._rest = b""
            # A dialogue: run_command would wait until the program ends.
            self._child = subprocess.Popen(  # pylint: disable=ansible-bad-function
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={name: value for name, value in os.environ.items() if ENVIRONMENT.fullmatch(name)},
            )
            if self._interrupted:  # while the program was being started
                self._child.kill()
        return self._child

    def _spoke_unasked(self, stream: int) -> bool:
        if not self._rest and select.select([stream], [], [], 0)[0]:
            self._rest = os.read(stream, 1)  # empty if the program ended
        return bool(self._rest)

    def _line(self, stream: int, deadline: float) -> bytes:
        while b"\n" not in self._rest:
            if not select.select([stream], [], [], max(0.0, deadline - time.monotonic()))[0]:
                self.close()  # a late answer would look like that to the next question
                raise TimeoutError("the program does not answer")
            chunk = os.read(stream, 1 << 16)
            self._rest += chunk
            if not chunk or len(self._rest) > MAX_BYTES:
                self.close()
                raise EOFError("the program ended" if not chunk else "the program's answer is too long")
        line, _newline, self._rest = self._rest.partition(b"\n")
        return line

    def interrupt(self) -> None:
        """End the program for good, which wakes the thread that waits for it; called from another thread."""
        self._interrupted = True
        child = self._child
        if child is not None:
            child.kill()

    def close(self) -> None:
        """End the program and close its pipes."""
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()  # first: another thread may wait at a pipe until the program ends
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        child.wait()


class ProgramSession:
    """Questions about one experiment."""

    max_hz = 20.0
    max_hz_per_processor = 10.0

    def __init__(self, program: Program, experiment: Experiment, secrets: Mapping[str, str]) -> None:
        self._program = program
        self._process = experiment.process
        self._answers = experiment.capabilities.signal == "answers"
        self._steady = Steady()
        self._repeats = False
        self._question = {"op": "sample", "id": experiment.asked_id, "vm": experiment.vm_name, "secrets": dict(secrets)}

    def sample(self) -> Sample:
        """See the port ``Session``."""
        sample = self._ask()
        if sample.outcome != "answered":
            self._steady = Steady()
        return sample

    def _ask(self) -> Sample:
        sent = time.monotonic()
        try:
            answer = self._program.ask(self._question, REQUEST_SECONDS)
        except (OSError, EOFError, ValueError) as error:
            return Sample(sent, time.monotonic(), "silent", detail=text(str(error)))
        received = time.monotonic()
        if answer.get("error") not in (None, "", False):  # some languages write every field
            return Sample(sent, received, "silent", detail=text(answer.get("error")))
        known = answer.get("status")
        status = "RUNNING" if known is None else text(known)
        if status not in STATUS:
            said = status or json.dumps(known)[:MAX_TEXT]
            return Sample(sent, received, "invalid", detail=text(f"status {said} is not one of {', '.join(STATUS)}"))
        step = count(answer.get("step"))
        if self._answers and not self._process and step is not None and self._steady.falls_at_once(step, received):
            self._repeats = True  # as the index of a batch does
        return Sample(
            sent,
            received,
            "answered",
            word(answer.get("process")) if self._process else "",
            status=status,
            progress=share(answer.get("progress")),
            detail=REPEATS if self._repeats else word(answer.get("detail")),
            step=step,
            logged=count(answer.get("logged")),
        )

    def interrupt(self) -> None:
        """See the port ``Session``."""
        self._program.interrupt()

    def close(self) -> None:
        """See the port ``Session``."""
        self._program.close()
