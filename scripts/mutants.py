# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether tests notice single changes of the code: ``python -m scripts.mutants [SAMPLE] [FILE or FOLDER...]``.

cosmic-ray changes one operator, comparison, condition or number of a file, and the file's own tests must then fail. It
all happens in a copy of the checkout. Each mutant is tested in a fork of a process that has loaded all libraries, so it
costs only the tests themselves. SAMPLE tests that many mutants of each file, chosen at random; 0 tests all of them.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from hypothesis import Phase, settings

ROOT = Path(__file__).resolve().parent.parent
EXPERIMENTS = Path("plugins/module_utils/_experiments")
HEART = [
    *(EXPERIMENTS / f"{name}.py" for name in ("stall", "verdict", "watch")),
    *(
        EXPERIMENTS / "providers" / f"{name}.py"
        for name in ("questions", "lines", "h2o3_sessions", "prometheus", "mlflow", "tensorboard")
    ),
]
# Files without a test file of their own name, or with several.
TESTS = {
    "lines": ("test_prometheus",),
    "h2o3_sessions": ("test_h2o3",),
    "storage": ("test_storage", "test_policies"),
    "runner": (
        "test_runner",
        "test_guard",
        "test_rollback",
        "test_home_records",
        "test_pins",
        "test_restarts",
        "test_two_vcenters",
    ),
}
# A change to an operator that its operands do not have, or of a type annotation, shows nothing.
ARITHMETIC = {
    f"ReplaceBinaryOperator_{a}_{b}" for a in ("Add", "Sub", "Mul", "Div") for b in ("Add", "Sub", "Mul", "Div")
}
COMPARISONS = ({"Eq", "NotEq"}, {"Is", "IsNot"}, {"Lt", "LtE", "Gt", "GtE"})
UNUSED = ("RemoveDecorator", "VariableReplacer", "VariableInserter", "ExceptionReplacer")
DECLARATION = re.compile(r"^@dataclass|^\s*\*,$|, \*, \w+: |^def .*\*, ")  # not what the code does
MIN_SECONDS = 10.0  # of a test before it counts as hanging
# No plugins but the fixture of tests that measure, and no conftest but that of the tests' own folder: these are tests of pure code, and loading the lab takes longer.
PYTEST = (
    "-x -q --no-header --import-mode=importlib -p no:cacheprovider -p tests.measuring -o addopts= -o required_plugins="
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of a file: the line, what it was and is, and the whole changed text."""

    line: int
    before: str
    after: str
    text: str

    def __str__(self) -> str:
        return f"    {self.line}: {self.before.strip()}\n{' ' * (6 + len(str(self.line)))}{self.after.strip()}"


def mutants_of(source: str) -> Iterator[Mutant]:
    """Every single change that compiles; a change of a constant expression may give the same text twice."""
    seen = {source}
    for operator in [get_operator(name)() for name in operator_names() if _is_used(name)]:
        count = sum(len(list(operator.mutation_positions(node))) for node in ast_nodes(get_ast(source)))
        for occurrence in range(count):
            text = mutate_code(source, operator, occurrence)
            if text is not None and text not in seen and _compiles(text):
                seen.add(text)
                mutant = _mutant(source, text)
                if not DECLARATION.search(mutant.before):
                    yield mutant


def _is_used(name: str) -> bool:
    operator = name.rpartition("/")[2]
    if operator.startswith("ReplaceBinaryOperator"):
        return operator in ARITHMETIC
    if operator.startswith("ReplaceComparisonOperator"):
        return any(set(operator.split("_")[1:]) <= kind for kind in COMPARISONS)
    return operator not in UNUSED


def _compiles(text: str) -> bool:
    try:
        compile(text, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def _mutant(source: str, text: str) -> Mutant:
    old, new = source.splitlines(), text.splitlines()
    place = next(i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b)
    return Mutant(place + 1, old[place], new[place], text)


def tests_of(file: Path) -> list[Path]:
    """The tests of a file: at the same path below ``tests/unit``, else all of its package."""
    folder = Path("tests/unit") / file.parent
    own = [folder / f"{name}.py" for name in TESTS.get(file.stem, (f"test_{file.stem}",))]
    return own if all(test.exists() for test in own) else sorted(folder.glob("test_*.py"))


def files_in(path: Path) -> list[Path]:
    """The file, or the modules of a folder."""
    return sorted(p for p in path.glob("*.py") if p.name != "__init__.py") if path.is_dir() else [path]


@contextlib.contextmanager
def copied() -> Iterator[None]:
    """A copy of the code and its tests as the current directory, from which Python imports the collection."""
    with tempfile.TemporaryDirectory(prefix="liveml-mutants-") as name:
        copy = Path(name)
        collection = copy / "collections" / "ansible_collections" / "liveml" / "vsphere"
        collection.mkdir(parents=True)
        for part in ("plugins", "tests", "lab", "benchmarks", "docs", "extensions", "pyproject.toml"):
            (shutil.copytree if (ROOT / part).is_dir() else shutil.copy2)(ROOT / part, copy / part)
        (collection / "plugins").symlink_to(copy / "plugins")
        sys.path[:] = [str(copy), str(copy / "collections"), *(p for p in sys.path if p not in ("", str(ROOT)))]
        os.chdir(copy)
        yield


def fails(tests: list[Path], seconds: float, modules: Path | None = None) -> bool:
    """Whether the tests fail, or hang, in a fork of this process. It writes the names of its libraries to ``modules``."""
    child = os.fork()
    if child == 0:
        os.setsid()
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        code = pytest.main([*PYTEST.split(), f"--confcutdir={tests[0].parent}", *map(str, tests)])
        if modules is not None:
            modules.write_text("\n".join(sys.modules))
        os._exit(code)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status != 0
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def load_libraries(names: list[str]) -> None:
    """Import what tests use, except the project's own modules, which may be mutated."""
    own = ("ansible_collections", "tests", "lab", "benchmarks", "scripts", "__main__", "test_")
    for name in names:
        if not name.startswith(own):
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def report(file: Path, sample: int) -> tuple[int, int]:
    """Test the mutants of a file and print the figures and the survivors; returns how many were tested and killed."""
    tests, source = tests_of(file), file.read_text()
    modules = Path("modules")
    if fails(tests, 600, modules):
        sys.exit(f"{' '.join(map(str, tests))} fail without any change. Run them with pytest and correct them.")
    load_libraries(modules.read_text().split("\n"))
    begun = time.monotonic()
    fails(tests, 600)
    seconds = MIN_SECONDS + 10 * (time.monotonic() - begun)
    mutants = list(mutants_of(source))
    chosen = random.sample(mutants, min(sample, len(mutants))) if sample else mutants
    survivors = []
    for mutant in chosen:
        file.write_text(mutant.text)
        if not fails(tests, seconds):
            survivors.append(mutant)
    file.write_text(source)
    killed = len(chosen) - len(survivors)
    share = f"{100 * killed / len(chosen):.0f} %" if chosen else "-"
    of_all = f" of {len(mutants)}" if len(chosen) < len(mutants) else ""
    print(f"{file}: mutants={len(chosen)}{of_all} killed={killed} survived={len(survivors)} ({share})")
    for survivor in sorted(survivors, key=lambda mutant: mutant.line):
        print(survivor)
    sys.stdout.flush()
    return len(chosen), killed


def main() -> None:
    """Test the files that are named, else those on which every verdict depends."""
    sample, paths = int((sys.argv[1:2] or ["0"])[0]), [Path(name) for name in sys.argv[2:]]
    phases = (Phase.explicit, Phase.generate)  # nobody reads the example
    settings.register_profile("mutants", max_examples=20, deadline=None, database=None, derandomize=True, phases=phases)
    settings.load_profile("mutants")
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.dont_write_bytecode = True
    with copied():
        counts = [report(file, sample) for path in paths or HEART for file in files_in(path)]
    tested, killed = (sum(column) for column in zip(*counts, strict=True))
    print(f"all: mutants={tested} killed={killed} survived={tested - killed} ({100 * killed / max(tested, 1):.0f} %)")


if __name__ == "__main__":
    main()
