# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real TensorFlow training loop that logs its steps to MLflow, TensorBoard, Prometheus and a step log.

``python frameworks_train.py TRACKING_URI LOG_DIR STEP_LOG EXPORTER_PORT [RUN_ID STEP]`` prints the id of its run and
trains until it is killed. With a run's id and a step it resumes that run.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pandas
import tensorflow as tf
from prometheus_client import Counter, start_http_server

from lab.data import flights_csv
from lab.paths import cache_dir

STEP_SECONDS = 0.1


def main() -> None:
    """Train on the flights' delays, 10 steps per second."""
    uri, folder, step_log, port = sys.argv[1:5]
    resumed = sys.argv[5:7]
    start_http_server(int(port), addr="127.0.0.1")
    steps = Counter("training_steps", "Steps done")
    mlflow.set_tracking_uri(uri)
    writer = tf.summary.create_file_writer(folder, flush_millis=1000, max_queue=1)
    tags = {"liveml.vm": "ML-cpu-vm-01", "liveml.pid": str(os.getpid()), "liveml.started": str(time.time())}
    log = Path(step_log).open("a", buffering=1, encoding="utf-8")  # noqa: SIM115 - open as long as it trains

    def told(step: int, loss: tf.Tensor) -> None:
        steps.inc()
        line = {"pid": os.getpid(), "started": float(tags["liveml.started"]), "step": step, "time": time.time()}
        log.write(json.dumps(line) + "\n")
        mlflow.log_metric("loss", float(loss), step=step)
        with writer.as_default():
            tf.summary.scalar("loss", loss, step=step)

    columns = ["dep_delay", "distance", "hour", "arr_delay"]
    flights = pandas.read_csv(flights_csv(cache_dir()), usecols=columns)[columns]
    data = flights.dropna().to_numpy(np.float32)[:20_000]
    data = (data - data.mean(0)) / data.std(0)
    with mlflow.start_run(run_id=resumed[0] if resumed else None, tags=None if resumed else tags) as run:
        print(run.info.run_id, flush=True)
        train(data, told, int(resumed[1]) if resumed else 0)


def train(data: np.ndarray, told: Callable[[int, tf.Tensor], None], step: int) -> None:
    """Endless gradient steps of a small network."""
    model = tf.keras.Sequential([tf.keras.layers.Dense(32, activation="relu"), tf.keras.layers.Dense(1)])
    optimizer, loss_of = tf.keras.optimizers.Adam(0.001), tf.keras.losses.MeanSquaredError()
    while True:
        due = time.monotonic() + STEP_SECONDS
        batch = data[(256 * step) % 19_000 :][:256]
        with tf.GradientTape() as tape:
            loss = loss_of(batch[:, 3:], model(batch[:, :3], training=True))
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        step += 1
        told(step, loss)
        while time.monotonic() < due:  # short sleeps: a freeze during one long sleep would not be visible
            time.sleep(0.01)


if __name__ == "__main__":
    main()
