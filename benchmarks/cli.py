"""Typing a command, and importing the package: from a wheel in a clean environment, as a user has it.

An editable install would be measured with its finder, and a source tree with its other contents.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Bar, Case, Report, Row, Table, interleave

SOURCES = Path(__file__).resolve().parent.parent

BARE = "python -IS -c pass"
COMMAND = "nsjail-py run -- /bin/true"
SITE = "python -I -c pass"
IMPORT = "python -I -c 'import nsjail_py'"


def _quietly(argv: Sequence[str | Path]) -> str:
    """Run a command and return its standard error; with what it printed in a RuntimeError where it fails."""
    # what PYTHONPATH names would be measured, and taken for installed, in place of the wheel
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=env)
    if done.returncode:
        raise RuntimeError(f"{argv[0]} ended with status {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stderr


def install(directory: Path) -> Path:
    """Build a wheel and install it; returns the new environment's directory of programs."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    _quietly([*pip, "wheel", "--no-deps", "--wheel-dir", directory, SOURCES])
    (wheel,) = directory.glob("*.whl")
    venv.create(directory / "venv", with_pip=True)
    programs = directory / "venv" / "bin"
    _quietly([programs / "python", *pip[1:], "install", wheel])
    return programs


def _process(name: str, argv: Sequence[str | Path]) -> Case:
    """A case that times whole processes, by the clock of this one."""

    def once() -> float:
        began = time.perf_counter_ns()
        _quietly(argv)
        return (time.perf_counter_ns() - began) / 1e6

    return Case(name, lambda runs: [once() for _ in range(runs)])


def _importing(python: Path) -> Case:
    """A case of what Python itself says importing the package took (``-X importtime``)."""

    def once() -> float:
        lines = _quietly([python, "-I", "-X", "importtime", "-c", "import nsjail_py"]).splitlines()
        (cumulative,) = [line.split("|")[1] for line in lines if line.split("|")[-1].strip() == "nsjail_py"]
        return int(cumulative) / 1e3

    return Case("as -X importtime has it", lambda runs: [once() for _ in range(runs)])


def run(runs: int) -> Report:
    """Measure the command and the import, a quarter of the runs each: they take tens of milliseconds."""
    runs = max(runs // 4, 10)
    report = Report("cli")
    with tempfile.TemporaryDirectory(prefix="nsjail-py-benchmark-") as name:
        programs = install(Path(name))
        python = programs / "python"
        cold = interleave(
            [
                _process(BARE, [python, "-IS", "-c", "pass"]),
                _process(COMMAND, [programs / "nsjail-py", "run", "--", "/bin/true"]),
            ],
            runs,
        )
        imports = interleave(
            [
                _process(SITE, [python, "-I", "-c", "pass"]),
                _process(IMPORT, [python, "-I", "-c", "import nsjail_py"]),
                _process("and its run", [python, "-I", "-c", "from nsjail_py import run"]),
                _importing(python),
            ],
            runs,
        )
    table = Table("one command, cold", cold, BARE)
    report.tables += [table, Table("one import", imports, SITE)]
    rows: dict[str, Row] = {row.name: row for row in imports}
    report.bars += [
        Bar(f"{COMMAND}, to {BARE}", table.ratio(COMMAND, BARE), 6),
        Bar("import nsjail_py, by difference", rows[IMPORT].median - rows[SITE].median, 5, "ms"),
        Bar("import nsjail_py, by -X importtime", rows["as -X importtime has it"].median, 5, "ms"),
    ]
    return report
