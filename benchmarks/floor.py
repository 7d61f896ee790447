"""The floor program: built here, run as a case."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Case

#: All seven namespaces, a new root, /proc and a tmpfs; the letters are explained in floor.c.
ALL = "mpiuncU"


def build(directory: Path) -> Path:
    """Compile floor.c into the directory. Raises RuntimeError where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise RuntimeError("a C compiler is needed for the floor")
    program = directory / "floor"
    subprocess.run([compiler, "-O2", "-o", program, Path(__file__).with_name("floor.c")], check=True)
    return program


def case(
    name: str, program: Sequence[str | Path], namespaces: str, root: Path, command: str, *, options: Sequence[str] = ()
) -> Case:
    """A case of the floor.

    :param program: the floor program, after whatever makes it another user's
    :param namespaces: letters, or ``-`` for none
    :param root: the root directory
    :param command: what is executed, as a path of the new root with ``m``, else of the host
    :param options: of the program, such as ``-g 50``
    """

    def batch(runs: int) -> list[float]:
        argv = [*program, *options, str(runs), namespaces, root, command]
        times: list[float] = json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout)
        return times

    return Case(name, batch)
