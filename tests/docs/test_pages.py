# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How commands are found in pages, and what counts as shown."""

from __future__ import annotations

import os
from pathlib import Path

from tests.docs.pages import Command, Outcome, commands, missing, run

PAGE = """
.. code-block:: console

   $ one --with \\
       more
   an answer
   ...
   $ two

Text.

.. code-block:: shell

   three
   cat > file <<'END'
   $ not a prompt
   END

.. code-block:: yaml

   four: 4

```console
five
```
"""


def test_commands_are_found_in_order_with_what_belongs_to_them() -> None:
    assert commands(PAGE) == [
        Command("one --with \\\n    more", ("an answer", "...")),
        Command("two"),
        Command("three"),
        Command("cat > file <<'END'\n$ not a prompt\nEND"),
        Command("five"),
    ]


def test_commands_run_in_one_shell_and_each_has_its_code_and_output(tmp_path: Path) -> None:
    script = [
        Command("export THING=17"),
        Command("echo thing $THING; echo err >&2"),
        Command("(exit 3)"),
        Command("exit 4"),
    ]
    outcomes = run(script, "", tmp_path, {"PATH": os.environ["PATH"]}, 20)
    assert [(outcome.code, outcome.printed) for outcome in outcomes[:3]] == [(0, ""), (0, "thing 17\nerr\n"), (3, "")]
    assert outcomes[3].code == -1, "the shell ended before the command did"


def test_shown_lines_must_be_printed_whatever_their_numbers() -> None:
    command = Command("x", ("10 moved, 0 failed", "...", "moved to esx-05"))
    assert missing(Outcome(command, 0, "at 9: 3 moved, 7 failed\n")) == ["moved to esx-05"]
