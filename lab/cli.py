# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line: ``python -m lab up | env | down | bridge``."""

from __future__ import annotations

import argparse
import json
import math
import shlex
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from lab.errors import LabError
from lab.lifecycle import current, down, up
from lab.live.bridge import run_inside
from lab.paths import DEFAULT_STATE, DEFAULT_TOPOLOGY
from lab.simulator_client import of_vcenter
from lab.topology import DRS_LEVELS

USERS = ("vcenter", "restricted", "operator")


class Interrupted(BaseException):
    """SIGTERM or SIGHUP: clean up and exit."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def raise_interrupted(number: int, frame: FrameType | None) -> None:
    """Signal handler: exit once, through all ``finally`` clauses."""
    signal.signal(number, signal.SIG_IGN)
    raise Interrupted(number)


def time_scale(text: str) -> float:
    """A finite number above 0."""
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def parser() -> argparse.ArgumentParser:
    """The command line options."""
    about = "The lab: a simulated SDDC with real H2O-3 servers."
    top = argparse.ArgumentParser(prog="python -m lab", description=about)
    commands = top.add_subparsers(dest="command", required=True)
    start = commands.add_parser("up", help="start a lab; print one JSON object when everything answers")
    start.add_argument(
        "--topology", type=Path, metavar="FILE", help=f"topology file of the SDDC (default: {DEFAULT_TOPOLOGY})"
    )
    start.add_argument("--time-scale", type=time_scale, metavar="X", help="multiply every simulated duration by X")
    start.add_argument("--drs", choices=DRS_LEVELS, help="automation of DRS (default: what the topology says)")
    start.add_argument("--no-guests", action="store_true", help="start no H2O-3 servers")
    env = commands.add_parser("env", help="print the environment of a running lab as shell commands")
    env.add_argument("--user", choices=USERS, default="vcenter", help="whose login (default: %(default)s)")
    env.add_argument("--vcenter", metavar="NAME", help="of another vCenter of the lab (default: the first one)")
    stop = commands.add_parser(
        "down", help="stop the lab and remove its state folder; does nothing if no lab is running"
    )
    for command in (start, env, stop):
        command.add_argument(
            "--state", type=Path, default=DEFAULT_STATE, metavar="DIR", help="state folder (default: %(default)s)"
        )
    inside = commands.add_parser(
        "bridge", help="run a command in a network namespace for a real VM with `network: bridge`; needs root"
    )
    inside.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND", help="the command and its arguments")
    return top


def run(options: argparse.Namespace) -> int:
    """Carry out the command; return the exit code."""
    if options.command == "bridge":
        return run_inside(options.words)
    state = options.state.resolve()
    if options.command == "down":
        down(state)
        return 0
    if options.command == "env":
        found = current(state)
        if options.vcenter is not None:
            found = of_vcenter(found, options.vcenter)
        login = {"VMWARE_USER": found[options.user]["user"], "VMWARE_PASSWORD": found[options.user]["password"]}
        print("\n".join(f"export {name}={shlex.quote(value)}" for name, value in {**found["env"], **login}.items()))
        return 0
    given: dict[str, Any] = {}
    if options.topology is not None:
        given["topology"] = str(options.topology.resolve())
    if options.time_scale is not None:
        given["time_scale"] = options.time_scale
    if options.drs is not None:
        given["drs"] = options.drs
    if options.no_guests:
        given["guests"] = False
    print(json.dumps(up(state, given)), flush=True)
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 done, 1 failed (stderr says why), 2 wrong options, 128 + N ended by signal N."""
    options = parser().parse_args(arguments)
    if options.command == "bridge" and not options.words:
        parser().error("bridge: give the command to run")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, raise_interrupted)
    try:
        return run(options)
    except LabError as error:
        print(f"lab: ERROR: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, Interrupted) as ended:
        by = ended.number if isinstance(ended, Interrupted) else int(signal.SIGINT)
        print(f"lab: ended by signal {by}", file=sys.stderr)
        return 128 + by
