# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Start a training on the H2O-3 server of a real VM, from inside: ``h2o_training.py URL CSV``.

It prints "LIVE ready" when the training has made progress. The image also has the lab's own client (``lab.h2o``).
"""

from __future__ import annotations

import sys
import time
from typing import Any

from lab.errors import LabError
from lab.h2o import H2O

TREES = 20_000  # more than anybody waits for
MODEL = {
    "model_id": "gbm_live",
    "training_frame": "flights",
    "response_column": "late",
    "ntrees": TREES,
    "max_depth": 5,
    "score_tree_interval": 1000,
    "seed": 1,
}
# Columns that are known only after departure.
KNOWN_LATER = ["year", "tailnum", "time_hour", "dep_time", "dep_delay", "arr_time", "air_time", "arr_delay"]
PARSE_KEYS = ("parse_type", "separator", "number_columns", "single_quotes", "check_header", "chunk_size")
COLUMN_KEYS = ("column_names", "column_types")


def await_job(server: H2O, key: str, *, begun: bool) -> None:
    """Wait until a job has made progress, or is done."""
    while True:
        job: dict[str, Any] = server.job(key)
        if job["status"] in ("FAILED", "CANCELLED"):
            raise LabError(f"{job['description']} {job['status']}: {job.get('exception')}")
        if job["status"] == "DONE" or (begun and job["progress"] > 0):
            return
        time.sleep(0.5)


def start(server: H2O, csv: str) -> None:
    """Read the flights, start gradient boosting, and wait for its first trees."""
    while not server.answers():
        time.sleep(0.5)
    source = server.post("/3/ImportFiles", {"path": csv})["destination_frames"]
    setup = server.post("/3/ParseSetup", {"source_frames": source})
    parse = {key: setup[key] for key in (*PARSE_KEYS, *COLUMN_KEYS)} | {
        "source_frames": source,
        "destination_frame": "flights",
    }
    await_job(server, server.post("/3/Parse", {**parse, "delete_on_done": True})["job"]["key"]["name"], begun=False)
    model = server.post("/3/ModelBuilders/gbm", {**MODEL, "ignored_columns": KNOWN_LATER})
    await_job(server, model["job"]["key"]["name"], begun=True)


def main() -> None:
    """Start, and report on the console."""
    url, csv = sys.argv[1:]
    try:
        start(H2O(url), csv)
    except LabError as error:
        sys.exit(f"LIVE ended: {error}")
    print("LIVE ready", flush=True)


if __name__ == "__main__":
    main()
