# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A process that has imported Ansible, and forks for each playbook.

What it forks is a process as any ``ansible-playbook``: it has its own arguments, environment, output and folder for temporary files,
signals do to it what they do to any, and it ends with Ansible's exit code. Its tasks and modules start as ever. The payloads of
modules, which are the same each time, are made once for all playbooks: Ansible keeps them in a file for each module, which a
playbook alone removes when it ends.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.cli.playbook import main as ansible_playbook
from ansible.plugins.loader import init_plugin_loader
from ansible.utils import vars as ids

from benchmarks.playbooks import MOST_BYTES

# What every playbook imports after it has begun, most of it once more in the process of each task.
MODULES = (
    "ansible.executor.playbook_executor", "ansible.executor.process.worker", "ansible.playbook.included_file",
    *(f"ansible.plugins.{name}" for name in (
        "action.normal", "cache.memory", "callback.default", "callback.junit", "callback.minimal", "callback.oneline", "callback.tree",
        "connection.local", "connection.psrp", "connection.ssh", "connection.winrm", "filter.core", "filter.encryption",
        "filter.mathstuff", "filter.urls", "filter.urlsplit", "inventory.auto", "inventory.host_list", "inventory.ini",
        "inventory.script", "inventory.toml", "inventory.yaml", "shell.cmd", "shell.powershell", "shell.sh", "strategy.linear",
        "test.core", "test.files", "test.mathstuff", "test.uri", "vars.host_group_vars",
    )),
    # Not the action plugins: Ansible's main process begins something when it loads some of them.
    *(f"ansible_collections.liveml.vsphere.plugins.{path.parent.name}.{path.stem}" for name in ("plugin_utils", "filter")
      for path in sorted((Path(__file__).parents[1] / "plugins" / name).glob("[_a-z]*.py"))),
)  # fmt: skip


def serve(requests: socket.socket, shared: Path) -> None:
    """Fork for each request until the other end is closed. Returns in each fork, too, which then is to run its playbook."""
    running: dict[int, int] = {}  # where the exit code of each process goes
    woken, waking = socket.socketpair()
    for each in (woken, waking):
        each.setblocking(False)
    signal.set_wakeup_fd(waking.fileno())
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    with selectors.DefaultSelector() as ready:
        ready.register(requests, selectors.EVENT_READ)
        ready.register(woken, selectors.EVENT_READ)
        while True:
            events = [key.fileobj for key, _mask in ready.select()]
            if woken in events:
                with suppress(BlockingIOError):
                    woken.recv(4096)
                report_ended(running)
            if requests not in events:
                continue
            message, fds, _flags, _address = socket.recv_fds(requests, MOST_BYTES, 2)
            if not message:
                sys.exit(0)
            output, status = fds
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                ready.close()
                for each in (requests, woken, waking):
                    each.close()
                for fd in (status, *running.values()):
                    os.close(fd)
                become(json.loads(message), output, shared)
                return
            os.close(output)
            os.write(status, b"%d\n" % pid)
            running[pid] = status


def report_ended(running: dict[int, int]) -> None:
    """Report the exit code of each process that has ended."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        fd = running.pop(pid)
        with suppress(BrokenPipeError):
            os.write(fd, b"%d\n" % os.waitstatus_to_exitcode(status))
        os.close(fd)


def become(request: Mapping[str, Any], output: int, shared: Path) -> None:
    """Take the arguments, the environment and the output of the playbook, and a folder of its own for temporary files."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = request["arguments"]
    ids.random_int = os.urandom(4).hex()
    atexit._clear()  # what was registered removes the server's files
    # The server's folder of this name has the number of the server's process.
    local = tempfile.mkdtemp(prefix=f"ansible-local-{os.getpid()}", dir=Path(constants.DEFAULT_LOCAL_TMP).parent)
    constants.DEFAULT_LOCAL_TMP = local
    atexit.register(shutil.rmtree, local, ignore_errors=True)
    (Path(local) / "ansiballz_cache").symlink_to(shared)


def main(fd: int) -> None:
    """Serve, and run the playbook in each fork."""
    shared = Path(constants.DEFAULT_LOCAL_TMP) / "payloads"
    shared.mkdir()
    init_plugin_loader()
    warnings.filterwarnings("ignore", "AnsibleCollectionFinder has already been configured")  # by each playbook, again
    for name in MODULES:
        importlib.import_module(name)
    gc.freeze()
    serve(socket.socket(fileno=fd), shared)
    sys.exit(ansible_playbook())


if __name__ == "__main__":
    main(int(sys.argv[1]))
