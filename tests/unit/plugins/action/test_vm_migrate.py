# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action plugin: lines are shown while the module works, and only where its file is within reach."""

from __future__ import annotations

import io
import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible_collections.liveml.vsphere.plugins.action import vm_migrate
from ansible_collections.liveml.vsphere.plugins.module_utils._display.lines import line

from tests.builders.journals import entries, made_run
from tests.measuring import until

EVENTS = [event for event in made_run(3)[0] if event["event"] in ("run_started", "move_finished", "run_finished")]

HOOK = {"kind": "webhook", "url": "http://127.0.0.1:1/"}
SILENT = vm_migrate.Alarms(lambda _messages: [], [], "")


class Connection:
    """Runs a function instead of a command."""

    def __init__(self, transport: str, command: Callable[[], tuple[int, bytes, bytes]]) -> None:
        self.transport = transport
        self.command = command

    def exec_command(self) -> tuple[int, bytes, bytes]:
        return self.command()


class Module(vm_migrate.ActionModule):
    """The plugin with a connection of a kind and a module that writes its events."""

    def __init__(self, transport: str) -> None:
        self._task = SimpleNamespace(args={"slots": 2}, async_val=0, check_mode=False)
        self._connection = Connection(transport, self._write)
        self._templar = SimpleNamespace(template=str)
        self.arguments: dict[str, Any] = {}
        self.shown: list[str] = []
        self.threads: set[int] = set()

    def display(self, text: str, **_options: object) -> None:
        """What Ansible would print. The module sees the number of lines by a file, as it is another process."""
        self.shown.append(text)
        self.threads.add(threading.get_ident())
        if len(self.shown) == len(EVENTS) - 1:
            Path(self.arguments["progress_path"]).with_suffix(".shown").touch()

    def _execute_module(self, module_args: dict[str, Any], task_vars: object) -> dict[str, Any]:
        self.arguments = module_args
        code, out, _err = self._connection.exec_command()
        assert (code, out) == (0, b"x" * 300_000), "more than a pipe holds"
        return {"changed": True, "seen_before_the_end": len(self.shown)}

    def _write(self) -> tuple[int, bytes, bytes]:
        if path := self.arguments.get("progress_path"):
            mark = Path(path).with_suffix(".shown")
            with open(path, "a", encoding="utf-8") as stream:
                events = "".join(f"{json.dumps(event)}\n" for event in EVENTS)
                stream.write(events[:-9])
                stream.flush()
                until(mark.exists)
                time.sleep(0.3)  # for half a line, if that were shown
                stream.write(events[-9:])
            mark.unlink()
        return 0, b"x" * 300_000, b""


@pytest.fixture(autouse=True)
def _plain_base(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(vm_migrate.ActionBase, "run", lambda *_arguments: {"invocation": "kept"})


def test_lines_are_shown_while_the_module_works(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Module("local")
    monkeypatch.setattr(vm_migrate.display, "display", module.display)
    assert module.run() == {"invocation": "kept", "changed": True, "seen_before_the_end": len(EVENTS)}
    assert module.shown == [f"  {line(*entries([event]))}" for event in EVENTS]
    assert module.threads == {threading.get_ident()}, "a thread of a forked process must not display"
    assert module.arguments["slots"] == 2
    assert not Path(module.arguments["progress_path"]).exists()
    assert "exec_command" not in vars(module._connection)


@pytest.mark.parametrize("hooks", [[], [HOOK]])
def test_elsewhere_the_module_runs_without_lines_and_never_gets_the_hooks(hooks: list[dict[str, Any]]) -> None:
    module = Module("ssh")
    module._task.args |= {"hooks": hooks, "subject": "Move of x"}
    assert module.run()["changed"] is True
    assert module.arguments == {"slots": 2}


def test_hooks_that_cannot_work_are_refused_before_anything_moves() -> None:
    module = Module("local")
    module._task.args["hooks"] = [{"kind": "pigeon"}]
    assert module.run()["failed"] is True
    assert module.arguments == {}


@pytest.mark.parametrize("progress", ["lines", "off"])
def test_harm_is_reported_while_the_module_works(monkeypatch: pytest.MonkeyPatch, progress: str) -> None:
    monkeypatch.setenv("LIVEML_VSPHERE_PROGRESS", progress)
    verdicts = [event for event in made_run(3)[0] if event["event"] == "verdict"]
    events = [*EVENTS[:-1], {**verdicts[0], "verdict": "stalled"}, *verdicts[1:], EVENTS[-1]]
    monkeypatch.setitem(globals(), "EVENTS", events)
    module = Module("local")
    if progress == "off":
        module._write = lambda: (Path(module.arguments["progress_path"]).write_text("".join(f"{json.dumps(e)}\n" for e in events)), (0, b"x" * 300_000, b""))[1]  # fmt: skip
        module._connection.command = module._write
    module._task.args |= {"hooks": [HOOK], "subject": "Move of x"}
    monkeypatch.setattr(vm_migrate.display, "display", module.display)
    monkeypatch.setattr(module, "_sender", lambda _hooks, _vars: lambda found: [""] * len(found))
    result = module.run()
    assert [each["verdict"] for each in result["reported"]] == ["stalled"]
    assert "hooks" not in module.arguments
    assert bool(module.shown) is (progress == "lines")


@pytest.mark.parametrize(
    ("progress", "callback", "shown"),
    [
        ("", "default", True),
        ("", "community.general.yaml", True),
        ("", "awx_display", True),
        ("lines", "default", True),
        ("off", "default", False),
        ("", "json", False),
        ("", "ansible.posix.json", False),
        ("", "ansible.posix.jsonl", False),
        ("", "community.general.logstash", False),
    ],
)
def test_a_program_that_reads_the_output_gets_no_lines(
    monkeypatch: pytest.MonkeyPatch, progress: str, callback: str, shown: bool
) -> None:
    monkeypatch.setenv("LIVEML_VSPHERE_PROGRESS", progress)
    monkeypatch.setattr("ansible.constants.DEFAULT_STDOUT_CALLBACK", callback)
    module = Module("local")
    monkeypatch.setattr(vm_migrate.display, "display", module.display)
    assert module.run()["changed"] is True
    assert bool(module.shown) is shown


def fails() -> tuple[int, bytes, bytes]:
    raise AnsibleError("no such interpreter")


def dies() -> tuple[int, bytes, bytes]:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0, b"", b""


@pytest.mark.parametrize(("command", "error"), [(fails, "no such interpreter"), (dies, "was killed")])
def test_the_file_goes_when_the_module_does_not_end_well(
    command: Callable[[], tuple[int, bytes, bytes]], error: str
) -> None:
    module = Module("local")
    module._connection.command = command
    with pytest.raises(AnsibleError, match=error):
        module.run()
    assert not Path(module.arguments["progress_path"]).exists()


def test_a_timeout_of_the_task_ends_the_process_that_waits(tmp_path: Path) -> None:
    def waits() -> tuple[int, bytes, bytes]:
        (tmp_path / "pid").write_text(str(os.getpid()))
        time.sleep(600)
        return 0, b"", b""

    def looked() -> None:
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            raise TimeoutError

    with pytest.raises(TimeoutError):
        vm_migrate.apart(waits, looked)()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_the_live_page_is_named_once_when_it_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shown: list[str] = []
    monkeypatch.setattr(vm_migrate.display, "display", shown.append)
    stream, page = io.StringIO(), tmp_path / "runs" / "r1" / "report.html"
    live = vm_migrate.Live(stream, vm_migrate.Screen(0), SILENT, tmp_path)
    for n, event in enumerate(EVENTS):
        place = stream.tell()
        stream.write(f"{json.dumps(event)}\n")
        stream.seek(place)
        if n == 1:
            page.parent.mkdir(parents=True)
            page.touch()
        live.look()
    expected = [f"  {line(*entries([event]))}" for event in EVENTS]
    assert shown == [*expected[:2], f"  live page: {page}", *expected[2:]]


def test_a_line_that_cannot_be_shown_ends_the_lines_and_not_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(vm_migrate.display, "display", shown.append)
    live = vm_migrate.Live(io.StringIO("no JSON\n"), vm_migrate.Screen(0), SILENT, tmp_path)
    live.look()
    live.look()
    live.end()
    assert shown == ["  live lines end here: JSONDecodeError"]


class Terminal:
    """Lines as a terminal shows them that understands what the plugin sends it."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def display(self, text: str, newline: bool = True, screen_only: bool = False) -> None:
        if text.startswith("\r\x1b["):
            up, _bracket, rest = text[3:].partition("A")
            assert rest == "\x1b[J"
            assert int(up) <= len(self.lines)
            del self.lines[-int(up) :]
        else:
            self.lines += text.splitlines()
            assert newline or screen_only, "what is drawn does not belong in a log"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    shown = Terminal()
    monkeypatch.setattr(vm_migrate.display, "display", shown.display)
    monkeypatch.setattr(vm_migrate.display, "columns", 100)
    yield shown


@pytest.mark.parametrize("rows", [0, 6, 30])
def test_a_terminal_keeps_every_line_and_no_bar(terminal: Terminal, rows: int) -> None:
    screen, most = vm_migrate.Screen(rows), 0
    events, _samples = made_run(10)
    told = []
    for event in events:
        text = screen.run.hear(*entries([event]))
        told += [f"  {text}"] if text else []
        screen.show([text] if text else [], event["mono"])
        bars = [shown for shown in terminal.lines if "█" in shown or "░" in shown]
        assert terminal.lines[: len(told)] == told, "the block comes after the lines"
        most = max(most, len(bars))
    screen.clear()
    assert terminal.lines == told
    assert most == {0: 0, 6: 3, 30: 8}[rows]


@pytest.mark.parametrize(
    ("environment", "tty", "rows"),
    [
        ({"TERM": "xterm"}, True, 24),
        ({"TERM": "xterm"}, False, 0),
        ({"TERM": "dumb"}, True, 0),
        ({}, True, 0),
        ({"TERM": "xterm", "AWX_ISOLATED_DATA_DIR": "/runner"}, True, 0),
        ({"TERM": "xterm", "LIVEML_VSPHERE_PROGRESS": "lines"}, True, 0),
    ],
)
def test_bars_need_a_terminal_for_a_person(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], tty: bool, rows: int
) -> None:
    for name in ("TERM", "AWX_ISOLATED_DATA_DIR", "LIVEML_VSPHERE_PROGRESS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    class Output(io.StringIO):
        def isatty(self) -> bool:
            return tty

        def fileno(self) -> int:
            return 1

    monkeypatch.setattr(vm_migrate.sys, "stdout", Output())
    monkeypatch.setattr(vm_migrate.os, "get_terminal_size", lambda _fd: SimpleNamespace(lines=24, columns=80))
    assert vm_migrate._terminal_rows() == rows


@pytest.mark.parametrize(
    ("hosts", "verbosity", "alone"), [(["localhost"], 0, True), (["a", "b"], 0, False), (["localhost"], 3, False)]
)
def test_bars_are_drawn_only_where_nobody_else_prints(
    monkeypatch: pytest.MonkeyPatch, hosts: list[str], verbosity: int, alone: bool
) -> None:
    monkeypatch.setattr(vm_migrate.display, "verbosity", verbosity)
    assert vm_migrate._alone({"ansible_play_batch": hosts}) is alone
