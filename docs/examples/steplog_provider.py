# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A complete program for the provider ``exec``: trainings that append their steps to files in a shared folder.

A training in VM ``ML-cpu-vm-04`` appends one JSON line per step to ``FOLDER/ML-cpu-vm-04/NAME.jsonl``::

    {"pid": 4711, "started": 1767261600.2, "step": 42, "total": 900, "time": 1767261642.7,
     "loss": 0.31, "owner": "vision", "checkpoint": "epoch-3.pt", "finished": false}

Only ``pid``, ``started`` and ``step`` are required. The program reads JSON lines from standard input and answers each on standard output.
It needs only Python. Argument: the folder.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

ADVANCE_SECONDS = 2.0  # a training that makes no step within this time is not running
TAIL_BYTES = 1 << 14
Line = dict[str, Any]


def lines_of(path: Path, max_bytes: int | None = None) -> list[Line]:
    """The complete lines of a log, or of its last ``max_bytes`` bytes, without the line that is being written."""
    with path.open("rb") as stream:
        if max_bytes is not None:
            stream.seek(max(0, path.stat().st_size - max_bytes))
        *complete, _incomplete = stream.read().split(b"\n")
    found = []
    for line in complete:
        try:
            record = json.loads(line)
        except ValueError:
            continue  # the first line of a tail is incomplete
        if isinstance(record, dict) and "step" in record:
            found.append(record)
    return found


def last_of(path: Path) -> Line:
    """The newest line. Raises LookupError if the log has none."""
    if not path.is_file():
        raise LookupError(f"{path} is gone")
    lines = lines_of(path, TAIL_BYTES)
    if not lines:
        raise LookupError(f"{path} contains no step")
    return lines[-1]


def process_of(line: Line) -> str:
    """The identity of the training's process; it changes when the training restarts."""
    return f"{line.get('pid')}@{line.get('started')}"


def progress_of(line: Line) -> float | None:
    """The share of the steps that are done."""
    total = line.get("total")
    return min(1.0, line["step"] / total) if total else None


class Provider:
    """Answers questions about the logs of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def discover(self, question: Line) -> Line:
        """The trainings of a VM that make steps now. A log that does not grow belongs to a training that ended or was killed."""
        paths = sorted(self.folder.joinpath(Path(question["vm"]).name).glob("*.jsonl"))
        before = {path: path.stat().st_size for path in paths}
        time.sleep(ADVANCE_SECONDS)
        growing = [path for path in paths if path.stat().st_size > before[path]]
        return {"experiments": [self.experiment(path, last_of(path)) for path in growing]}

    def experiment(self, path: Path, line: Line) -> Line:
        """One training as ``discover`` returns it."""
        checkpoint = line.get("checkpoint")
        return {
            "id": str(path.relative_to(self.folder)),
            "process": process_of(line),
            "description": path.stem,
            "owner": line.get("owner", ""),
            "progress": progress_of(line),
            "recoverable": "yes" if checkpoint else "no",
            "recovery": f"checkpoint {checkpoint}" if checkpoint else "no checkpoint was logged",
            "freshness": 0.1,  # how long a line takes from the training to this folder, in seconds
        }

    def path(self, question: Line) -> Path:
        """The log of an experiment's id, inside the folder whatever the id says."""
        path = (self.folder / question["id"]).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise LookupError("no such experiment")
        return path

    def sample(self, question: Line) -> Line:
        """The present state of the training."""
        line = last_of(self.path(question))
        return {
            "process": process_of(line),
            "status": "DONE" if line.get("finished") else "RUNNING",
            "progress": progress_of(line),
            "step": line["step"],
        }

    def final(self, question: Line) -> Line:
        """The final result of the training."""
        line = last_of(self.path(question))
        checkpoint = line.get("checkpoint")
        return {
            "status": "DONE" if line.get("finished") else "RUNNING",
            "metric": "loss",
            "score": line.get("loss"),
            "artifacts": [checkpoint] if checkpoint else [],
        }

    def history(self, question: Line) -> Line:
        """The times of a range of steps, on the training's own clock."""
        lines = lines_of(self.path(question))
        inside = [line for line in lines if question["first"] <= line["step"] <= question["last"]]
        return {"points": [[line["time"], line["step"]] for line in inside if "time" in line]}


def main() -> None:
    """Answer each line with one line until standard input ends."""
    provider = Provider(Path(sys.argv[1]))
    answers = {
        "discover": provider.discover,
        "sample": provider.sample,
        "final": provider.final,
        "history": provider.history,
    }
    for line in sys.stdin:
        question = json.loads(line)
        try:
            answer = answers[question["op"]](question)
        except (LookupError, OSError) as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
