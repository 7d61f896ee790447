"""The checks of conftest.py can fail."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.conftest import ORDINARY, OrdinaryUser
from tests.leaks import Orphans, Snapshot, adopt_orphans, eventually


@contextmanager
def _descriptor(_: Path) -> Iterator[None]:
    fd = os.open("/", os.O_PATH)
    yield
    os.close(fd)


@contextmanager
def _process(_: Path) -> Iterator[None]:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE):
        yield


@contextmanager
def _file(directory: Path) -> Iterator[None]:
    (directory / "left").touch()
    yield
    (directory / "left").unlink()


@pytest.mark.parametrize(
    ("leak", "named"),
    [(_descriptor, "descriptor"), (_process, "process"), (_file, "file")],
    ids=["descriptor", "process", "file"],
)
def test_what_is_left_behind_is_named(
    leak: Callable[[Path], AbstractContextManager[None]], named: str, tmp_path: Path
) -> None:
    snapshot = Snapshot(tmp_path)
    with leak(tmp_path):
        assert any(thing.startswith(f"{named} ") for thing in snapshot.left_behind(seconds=0))
    assert not snapshot.left_behind()


def test_what_the_kernel_finishes_late_is_waited_for() -> None:
    answers = iter([False, False, True])
    assert eventually(lambda: next(answers))
    assert not eventually(lambda: False, seconds=0)


def test_an_orphan_is_found_until_it_ends() -> None:
    adopt_orphans()
    orphans = Orphans()
    script = "import subprocess as s; p = s.Popen(['sleep', '1000'], stdout=s.DEVNULL); print(p.pid)"
    pid = int(subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.PIPE).stdout)
    assert [process.pid for process in orphans.alive()] == [pid]
    os.kill(pid, 9)
    assert eventually(lambda: not orphans.alive())


def test_the_ordinary_user_reaches_the_sources(as_user: OrdinaryUser) -> None:
    script = "import os, nsjail_py.version; print(os.getuid(), os.getgroups(), os.path.expanduser('~'))"
    assert as_user.python(script) == f"{as_user.uid} [] {as_user.home}\n"


@pytest.mark.root
def test_the_ordinary_user_is_not_root_and_reaches_nothing_else(as_user: OrdinaryUser, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch()
    assert as_user.uid == ORDINARY
    assert as_user.run(["cat", secret]).returncode != 0
    assert as_user.run(["touch", as_user.home / "made"]).returncode == 0
    assert (as_user.home / "made").stat().st_uid == ORDINARY
