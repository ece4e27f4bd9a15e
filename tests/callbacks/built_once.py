# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All runs of Ansible in one run of the tests build each module once, and compile it once.

Ansible keeps the archive of a module for one of its runs: the next one reads and packs the same hundred files again, and each
process of a module compiles them, twice (``zipimport`` asks for the code to find a file, and once more to import it). Both together
are a third of the processor time of a playbook. So the folder of the archives is that of the tests, and they contain bytecode, too.
"""

from __future__ import annotations

import base64
import compileall
import dataclasses
import io
import os
import py_compile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.executor.module_common import _CachedModule
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: built_once
type: aggregate
short_description: Build each module once in all runs of the tests
description: Only for the tests of this project.
"""

FOLDER = "LIVEML_TEST_TURNS"  # environment variable: where the workers of one run of the tests meet
OURS = Path(__file__).resolve().parents[2] / ".venv" / "collections"
BUILT = "*-ZIP_DEFLATED-none"  # archives without a debugger in them
UNCHECKED = py_compile.PycInvalidationMode.UNCHECKED_HASH  # the source is beside it


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Puts the folder in the place of Ansible's, and bytecode into the archive that a task has built."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "built_once"

    def __init__(self) -> None:
        super().__init__()
        self._folder = Path(constants.DEFAULT_LOCAL_TMP) / "ansiballz_cache"
        self._shared = shared_folder()
        if self._shared and not self._folder.exists():
            self._folder.symlink_to(self._shared)

    def _built(self, *_result: Any) -> None:
        if self._shared:
            for archive in not_compiled(self._shared):
                add_bytecode(archive)

    v2_runner_on_ok = v2_runner_item_on_ok = _built


def shared_folder() -> Path | None:
    """The folder of all runs; none outside the tests, and where a test brings collections of its own."""
    where = os.environ.get(FOLDER)
    if where is None or not constants.COLLECTIONS_PATHS or Path(constants.COLLECTIONS_PATHS[0]) != OURS:
        return None
    folder = Path(where) / "modules"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def not_compiled(folder: Path) -> Iterator[Path]:
    """The archives that nobody has added bytecode to; who takes one marks it."""
    for archive in folder.glob(BUILT):
        try:
            archive.with_name(f"{archive.name}.compiled").open("x").close()
        except FileExistsError:
            continue
        yield archive


def add_bytecode(archive: Path) -> None:
    """Replace an archive by one that contains the bytecode of its files; another version of Python takes the sources."""
    module = _CachedModule.load(str(archive))
    packed = io.BytesIO(base64.b64decode(module.zip_data))
    with tempfile.TemporaryDirectory() as place, zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED) as sources:
        sources.extractall(place)
        compileall.compile_dir(place, quiet=2, legacy=True, stripdir=place, invalidation_mode=UNCHECKED)
        for bytecode in Path(place).rglob("*.pyc"):
            sources.write(bytecode, bytecode.relative_to(place))
    dataclasses.replace(module, zip_data=base64.b64encode(packed.getvalue())).dump(str(archive))
