# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Python imports this first if the folder is in ``PYTHONPATH``: it compiles what is imported from a zip file once for all processes.

Ansible sends a module and what it imports as source in a zip file, and Python keeps nothing of what it compiles there: a third of the
processor time of a module. The key is the source, so what runs is what was sent; only the path in a traceback is that of the first time.
"""

from __future__ import annotations

import marshal
import os
import zipimport
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from types import CodeType

Compile = Callable[[str, bytes], CodeType]


def compiled(folder: str, compile_source: Compile, path: str, source: bytes) -> CodeType:
    """The code of a source, from the folder or as new."""
    kept = os.path.join(folder, sha256(source).hexdigest())
    try:
        with open(kept, "rb") as stream:
            code: CodeType = marshal.loads(stream.read())
            return code
    except OSError:
        code = compile_source(path, source)
    new = f"{kept}.{os.getpid()}"
    with open(new, "wb") as stream:
        stream.write(marshal.dumps(code))
    os.replace(new, kept)
    return code


if folder := os.environ.get("LIVEML_VSPHERE_COMPILED"):
    zipimport._compile_source = partial(compiled, folder, zipimport._compile_source)  # type: ignore[attr-defined]
