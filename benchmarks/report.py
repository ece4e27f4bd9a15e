# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The output of a benchmark: figures as JSON lines on standard output, progress on standard error."""

from __future__ import annotations

import json
import operator
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

RELATIONS: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, "==": operator.eq, ">=": operator.ge}


class Report:
    """Collects figures and broken promises; ``out`` receives every single trial, too."""

    def __init__(self, out: Path | None = None) -> None:
        self.broken: list[str] = []
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._out = out.open("a", encoding="utf-8") if out is not None else None

    def figure(
        self, name: str, value: float | None, unit: str, *, promised: tuple[str, float] | None = None, **more: Any
    ) -> None:
        """Report one figure; ``promised`` is its limit, like ``("<=", 40)``. Without a value the promise is broken."""
        line: dict[str, Any] = {"figure": name, "value": value, "unit": unit, **more}
        if promised is not None:
            kept = value is not None and RELATIONS[promised[0]](value, promised[1])
            line |= {"promised": f"{promised[0]} {promised[1]:g}", "kept": kept}
            if not kept:
                where = "".join(f", {key} {more[key]}" for key in more if isinstance(more[key], (str, int, float)))
                self.broken.append(f"{name} is {value} {unit}{where}; promised is {promised[0]} {promised[1]:g}")
        self._write(line, sys.stdout)

    def skipped(self, name: str, reason: str, **more: Any) -> None:
        """Report a figure that cannot be measured here, with the reason."""
        self._write({"figure": name, "value": None, "unit": "", **more, "skipped": reason}, sys.stdout)

    def trial(self, name: str, value: Any, unit: str, **more: Any) -> None:
        """Report a single measurement, to the file only."""
        self._write({"figure": name, "value": value, "unit": unit, **more}, None)

    def _write(self, line: dict[str, Any], stream: Any) -> None:
        text = json.dumps(line)
        with self._lock:
            for sink in (stream, self._out):
                if sink is not None:
                    print(text, file=sink, flush=True)

    def say(self, text: str) -> None:
        """Print progress."""
        with self._lock:
            print(f"[{time.monotonic() - self._began:6.0f} s] {text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Close the file."""
        if self._out is not None:
            self._out.close()


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least ``share`` of the values do not exceed; ``None`` without values."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)] if ordered else None
