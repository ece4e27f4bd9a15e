# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small real training in pure Python, inside a real VM: logistic regression on the flights, with a Prometheus exporter.

It learns by stochastic gradient descent whether a flight arrives late. ``training.py CSV PORT BEATS``: BEATS is the serial
line to which it writes its clock and its steps, at most 125 times per second.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import sys
import threading
import time

FIELDS = ("month", "day", "sched_dep_time", "distance", "hour", "minute")
MAX_ROWS = 4000
BATCH = 20
RATE = 0.01
BEAT_SECONDS = 0.008
ERRORS = "/tmp/memory_errors"  # written by dirty.py
BACKLOG = 5  # connections that wait for the server, as in Python's own servers (socketserver.TCPServer)
HEAD = (
    b"HTTP/1.1 200 OK\r\nServer: BaseHTTP/0.6\r\nDate: %s\r\nContent-Type: text/plain; version=0.0.4\r\n"
    b"Content-Length: %d\r\n\r\n"
)  # as prometheus_client answers

Row = tuple[list[float], float]


def read(path: str) -> list[Row]:
    """The first rows, each column with mean 0 and spread 1, and 1.0 if the flight was late."""
    rows: list[Row] = []
    with open(path) as file:
        header = next(file).rstrip().split(",")
        where, late = [header.index(field) for field in FIELDS], header.index("late")
        for line in file:
            cells = line.rstrip().split(",")
            rows.append(([float(cells[index]) for index in where], 1.0 if cells[late] == "yes" else 0.0))
            if len(rows) >= MAX_ROWS:
                break
    count, width = len(rows), range(len(FIELDS))
    means = [sum(x[i] for x, _ in rows) / count for i in width]
    spreads = [math.sqrt(sum((x[i] - means[i]) ** 2 for x, _ in rows) / count) or 1.0 for i in width]
    return [([(x[i] - means[i]) / spreads[i] for i in width], y) for x, y in rows]


class Training:
    """The model, and how far it is."""

    def __init__(self, rows: list[Row], beats: str) -> None:
        self.rows = rows
        self.steps = 0
        self.loss = 0.0
        self.started = time.time()
        self.weights = [0.0] * (len(FIELDS) + 1)
        self.line = os.open(beats, os.O_WRONLY | os.O_NONBLOCK)

    def run(self) -> None:
        """Train for as long as the VM lives."""
        said = 0.0
        while True:
            for begin in range(0, len(self.rows), BATCH):
                self.step(self.rows[begin : begin + BATCH])
                now = time.monotonic()
                if now - said > BEAT_SECONDS:
                    said = now
                    with contextlib.suppress(BlockingIOError):
                        os.write(self.line, b"%.4f %d\n" % (now, self.steps))

    def step(self, batch: list[Row]) -> None:
        """One step of gradient descent."""
        gradient, loss = [0.0] * len(self.weights), 0.0
        for x, y in batch:
            z = self.weights[-1] + sum(w * v for w, v in zip(self.weights, x))  # noqa: B905 - the bias is the last weight
            p = 1 / (1 + math.exp(-z))
            loss -= math.log(max(1e-12, p if y else 1 - p))
            for index, value in enumerate(x):
                gradient[index] += (p - y) * value
            gradient[-1] += p - y
        self.weights = [w - RATE * g for w, g in zip(self.weights, gradient, strict=True)]
        self.loss = loss / len(batch)
        self.steps += 1

    def metrics(self) -> bytes:
        """The exporter's page."""
        lines = (
            "# TYPE process_start_time_seconds gauge",
            f"process_start_time_seconds {self.started:.3f}",
            "# TYPE training_steps_total counter",
            f"training_steps_total {self.steps}",
            "# TYPE training_loss gauge",
            f"training_loss {self.loss:.6f}",
            "# TYPE memory_errors_total counter",
            f"memory_errors_total {memory_errors()}",
            "",
        )
        return "\n".join(lines).encode()


def now() -> bytes:
    """The time as HTTP writes it (RFC 9110, 5.6.7)."""
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()).encode()


def memory_errors() -> int:
    """How many pages were found changed by somebody else, if this VM checks that."""
    try:
        with open(ERRORS) as file:
            return int(file.read() or 0)
    except OSError:
        return 0


def serve(training: Training, port: int) -> None:
    """Answer every request with the metrics. A complete HTTP server would cost this slow processor too much."""
    listener = socket.create_server(("0.0.0.0", port), backlog=BACKLOG)
    while True:
        client, _address = listener.accept()
        threading.Thread(target=answer, args=(client, training), daemon=True).start()


def answer(client: socket.socket, training: Training) -> None:
    """Answer the requests of one connection."""
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    held = b""
    with client, contextlib.suppress(OSError):
        while data := client.recv(4096):
            held += data
            while b"\r\n\r\n" in held:
                held = held.partition(b"\r\n\r\n")[2]
                body = training.metrics()
                client.sendall(HEAD % (now(), len(body)) + body)


def main() -> None:
    """Serve, report that the training runs, and train."""
    csv, port, beats = sys.argv[1:]
    training = Training(read(csv), beats)
    threading.Thread(target=serve, args=(training, int(port)), daemon=True).start()
    sys.setswitchinterval(0.002)
    print("LIVE ready", flush=True)
    training.run()


if __name__ == "__main__":
    main()
