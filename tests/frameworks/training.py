# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A training loop of which only the records count. It logs with the client of the environment whose Python runs it.

``python training.py OPTIONS`` takes the fields of ``trackers.Loop`` as JSON. It prints the id of its run, and then each
step after it was logged.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Log = Callable[[float, "int | None"], object]


def to_mlflow(options: dict[str, Any]) -> Log:
    """Begin a run, or resume one."""
    mlflow = importlib.import_module("mlflow")
    mlflow.set_tracking_uri(options["place"])
    tags = {"liveml.pid": str(os.getpid()), "liveml.started": str(time.time())} if options["named"] else {}
    print(mlflow.start_run(run_id=options["run"] or None, tags=tags).info.run_id, flush=True)
    return lambda value, step: mlflow.log_metric("loss", value, step=step)


def to_tensorboard(options: dict[str, Any]) -> Log:
    """Begin a file of events in the folder of the run."""
    writer = importlib.import_module("tensorboard.summary").Writer(f"{options['place']}/{options['run']}")
    print(options["run"], flush=True)

    def log(value: float, step: int | None) -> None:
        writer.add_scalar("loss", value, step or 0)
        writer.flush()

    return log


def main() -> None:
    """Log until the process is killed."""
    options = json.loads(sys.argv[1])
    log = {"mlflow": to_mlflow, "tensorboard": to_tensorboard}[options["kind"]](options)
    time.sleep(options["loads"])
    done = options["first"]
    while True:
        for _time in range(options["times"]):
            time.sleep(options["pace"])
            step = done % options["batches"] if options["batches"] else done
            log(1.0 / (1.0 + done), step if options["steps"] else None)
            print(done, flush=True)
        done += 1


if __name__ == "__main__":
    main()
