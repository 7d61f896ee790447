"""The stage and the launcher, built once for all workers."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cffi_build.build_stage import build, compiler
from tests.stage.running import Launcher

HERE = Path(__file__).resolve().parent


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Make a file once for all workers of a run: the first one makes it, the others wait for it."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    path = shared / name
    with open(shared / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            make(path.with_suffix(".new"))
            path.with_suffix(".new").rename(path)
    return path


def _compile(source: Path, out: Path, *flags: str) -> None:
    warnings = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-result"]
    subprocess.run([*compiler(), "-std=c11", "-O1", *warnings, *flags, source, "-o", out], check=True)


@pytest.fixture(scope="session")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Launcher:
    """The stage with the undefined-behaviour sanitizer, which needs no library where it traps."""
    traps = ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]
    stage = once(tmp_path_factory, "stage", lambda out: build(out, cflags=traps))
    launch = once(tmp_path_factory, "launch", lambda out: _compile(HERE / "launch.c", out, "-static"))
    probe = once(
        tmp_path_factory, "probe", lambda out: _compile(HERE / "probe.c", out, "-static", "-no-pie", "-fno-pie")
    )
    return Launcher(stage, launch, probe)
