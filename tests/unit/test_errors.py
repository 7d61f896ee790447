"""The exceptions: what they say, what else they are, and that they survive a trip between processes."""

from __future__ import annotations

import errno
import pickle
import subprocess
import sys
from typing import Any

import pytest

from nsjail_py import errors
from nsjail_py.errors import Problem, ProgramError, SandboxError, SetupError, SpecError
from nsjail_py.record import Record

SETUP: dict[str, Any] = {
    "owner": "mnt",
    "errno": errno.ENOENT,
    "phase": "MOUNT",
    "index": 13,
    "total": 37,
    "path": "/srv/data",
}


class Finished(Record):
    args: list[str]
    returncode: int
    stdout: bytes
    stderr: bytes

    def describe(self) -> str:
        return f"exited with {self.returncode}"


def test_a_failed_step_says_which_and_why() -> None:
    error = SetupError("bind /srv/data -> /data (read-only)", **SETUP, hint="create /srv/data")
    assert str(error) == (
        "mnt: bind /srv/data -> /data (read-only): No such file or directory [MOUNT, step 14 of 37]\n"
        "hint: create /srv/data"
    )
    assert (error.errno, error.strerror, error.path, error.filename) == (
        errno.ENOENT,
        "No such file or directory",
        "/srv/data",
        "/srv/data",
    )
    assert (error.step, error.owner, error.phase, error.index, error.total) == (
        "bind /srv/data -> /data (read-only)",
        "mnt",
        "MOUNT",
        13,
        37,
    )
    assert isinstance(error, OSError)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ({}, ""),
        ({"phase": "HOST"}, " [HOST]"),
        ({"phase": "HOST", "index": 0}, " [HOST, step 1]"),
        ({"index": 0, "total": 2}, " [step 1 of 2]"),
    ],
)
def test_a_failed_step_says_where(place: dict[str, Any], said: str) -> None:
    error = SetupError("clone", owner="core", errno=errno.EPERM, **place)
    assert str(error) == f"core: clone: Operation not permitted{said}"


@pytest.mark.parametrize(
    ("number", "status"), [(errno.ENOENT, 127), (errno.ENOTDIR, 127), (errno.EACCES, 126), (errno.ENOEXEC, 126)]
)
def test_a_missing_program_has_the_exit_status_that_a_shell_gives(number: int, status: int) -> None:
    assert ProgramError("exec", owner="core", errno=number).exit_status == status


def test_all_problems_of_a_spec_are_told() -> None:
    error = SpecError([Problem("$.a", "is wrong", "put it right"), Problem("$.b", "is wrong too")])
    assert str(error) == "$.a: is wrong\nhint: put it right\n$.b: is wrong too"
    assert [problem.path for problem in error.problems] == ["$.a", "$.b"]
    assert isinstance(error, ValueError)


def test_a_command_that_failed() -> None:
    result = Finished(["sh", "-c", "exit 3"], 3, b"out", b"err")
    error = errors.CommandError(result)
    assert isinstance(error, subprocess.CalledProcessError)
    assert str(error) == "sh -c 'exit 3': exited with 3"
    assert (error.result, error.returncode, error.cmd) == (result, 3, ["sh", "-c", "exit 3"])
    assert (error.stdout, error.stderr) == (b"out", b"err")
    assert error.hint is None


@pytest.mark.parametrize(
    "error",
    [
        SandboxError("message", hint="remedy"),
        errors.PlanError("message"),
        errors.UnsupportedError("message", hint="remedy"),
        errors.PluginError("message"),
        SpecError([Problem("$.a", "is wrong")]),
        SetupError("step", **SETUP, hint="remedy"),
        ProgramError("step", **SETUP),
        errors.CommandError(Finished(["false"], 1, b"", b"")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_each_can_be_pickled(error: SandboxError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert isinstance(copy, SandboxError)
    assert str(copy) == str(error)
    assert copy.hint == error.hint
    assert vars(copy) == vars(error)


def test_the_tree_in_the_docstring_has_every_class() -> None:
    assert errors.__doc__ is not None
    drawn = [line.split("── ")[1].split()[0] for line in errors.__doc__.splitlines() if "── " in line]
    defined = [name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)]
    assert {"SandboxError", *drawn} == {"CommandError", *defined}


def test_a_name_that_is_none() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'NoSuchError'"):
        _ = errors.NoSuchError


def test_importing_them_loads_nothing_heavy() -> None:
    script = (
        "import sys, nsjail_py.errors; print([n for n in ('subprocess', 'typing', 'dataclasses') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
