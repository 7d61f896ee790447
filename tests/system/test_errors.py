"""What cannot be set up: the words of every error, and that nothing is left of the attempt."""

from __future__ import annotations

import errno
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nsjail_py import PlanError, ProgramError, Sandbox, SandboxSpec, SetupError
from nsjail_py.plugin import Part, Step, hookimpl, steps
from nsjail_py.spec.mnt import Bind
from nsjail_py.spec.namespaces import Pid
from tests.system.stranger import CHILD, PARENT, Failing, Stranger

# -- the program --------------------------------------------------------------------------------------------------


@pytest.fixture
def bad_programs(busybox_root: Path, tmp_path: Path) -> Path:
    """Directory to be mounted on /etc."""
    tmp_path.chmod(0o755)
    (tmp_path / "plain").write_text("no program")
    (tmp_path / "directory").mkdir()
    (tmp_path / "script").write_text("#!/missing/interpreter\n")
    (tmp_path / "script").chmod(0o755)
    (tmp_path / "format").write_bytes(b"\x7fELFnot really")
    (tmp_path / "format").chmod(0o755)
    (tmp_path / "plain").chmod(0o644)
    return tmp_path


MISSING = "No such file or directory"
PROGRAMS = {
    "missing": ("missing", 127, MISSING),
    "missing, by path": ("/etc/missing", 127, MISSING),
    "below a file": ("/etc/plain/x", 127, "Not a directory"),
    "not executable": ("/etc/plain", 126, "Permission denied"),
    "a directory": ("/etc/directory", 126, "Permission denied"),
    "its interpreter is missing": ("/etc/script", 127, MISSING),
    "not a program": ("/etc/format", 126, "Exec format error"),
}


@pytest.mark.parametrize(("program", "status", "reason"), PROGRAMS.values(), ids=PROGRAMS)
@pytest.mark.parametrize("init", [True, False], ids=["init", "payload as pid 1"])
def test_programs_that_cannot_be_executed(
    busybox_root: Path, bad_programs: Path, program: str, status: int, reason: str, init: bool
) -> None:
    mounts = [Bind(target="/etc", source=str(bad_programs))]
    box = Sandbox(SandboxSpec(pid=Pid(init=init)), rootfs=busybox_root, mounts=mounts)
    with pytest.raises(ProgramError) as caught:
        box.run([program, "argument"])
    error = caught.value
    assert error.exit_status == status
    assert re.fullmatch(rf"payload: execute {program}: {reason} \[EXEC, step (\d+) of \1\]", error.message), (
        error.message
    )
    assert isinstance(error, OSError)
    assert error.strerror == reason
    assert error.filename == program


# -- any step, any action -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", CHILD)
@pytest.mark.parametrize("init", [True, False], ids=["init", "payload as pid 1"])
def test_a_step_that_fails(busybox_root: Path, tmp_path: Path, phase: str, init: bool) -> None:
    failing = Failing(phase, str(tmp_path / "made"))
    box = Sandbox(SandboxSpec(pid=Pid(init=init)), rootfs=busybox_root, plugins=[failing])
    with pytest.raises(SetupError) as caught:
        box.run(["true"], capture_output=True)
    error = caught.value
    shape = rf"stranger: close nothing: Bad file descriptor \[{phase}, step (\d+) of (\d+)\]"
    found = re.fullmatch(shape, error.message)
    assert found, error.message
    assert (error.index, error.total) == (int(found[1]) - 1, int(found[2]))
    assert (error.errno, error.owner, error.phase, error.path) == (errno.EBADF, "stranger", phase, "/nothing")
    assert not isinstance(error, ProgramError)


@pytest.mark.parametrize("phase", PARENT)
@pytest.mark.parametrize("init", [True, False], ids=["init", "payload as pid 1"])
def test_an_action_that_fails(busybox_root: Path, tmp_path: Path, phase: str, init: bool) -> None:
    made = tmp_path / "made"
    box = Sandbox(SandboxSpec(pid=Pid(init=init)), rootfs=busybox_root, plugins=[Failing(phase, str(made))])
    with pytest.raises(SetupError) as caught:
        box.start(["true"], name=f"failing-{phase}-{init}".lower())
    error = caught.value
    assert error.message == f"stranger: do what cannot be done: {os.strerror(errno.EDOM)} [{phase}]"
    assert (error.errno, error.path) == (errno.EDOM, str(made))
    assert not made.exists(), "what was done has been undone"


class Explaining(Failing):
    """Knows what to do about its own failure."""

    @hookimpl
    def nsjail_explain(self, error: OSError, owner: str) -> str | None:
        return f"{owner} says: do not close {error.filename}"


def test_a_hint_of_the_plugin_whose_step_failed(busybox_root: Path, tmp_path: Path) -> None:
    box = Sandbox(rootfs=busybox_root, plugins=[Explaining("MOUNT", str(tmp_path / "made"))])
    with pytest.raises(SetupError) as caught:
        box.run(["true"])
    assert str(caught.value).splitlines()[1:] == ["hint: stranger says: do not close /nothing"]


class Unverifiable:
    """Writes a step that the stage refuses before it does anything."""

    @hookimpl
    def nsjail_section(self) -> tuple[str, type[Stranger]]:
        return "stranger", Stranger

    @hookimpl
    def nsjail_plan(self) -> Part:
        closing = steps.syscall(0, phase=steps.propagation("/", 1 << 18).phase, text="made up")
        return Part(steps=(Step(op=95, phase=closing.phase, text="an opcode that does not exist"),))


def test_a_plan_that_the_stage_refuses(busybox_root: Path) -> None:
    box = Sandbox(rootfs=busybox_root, plugins=[Unverifiable()])
    with pytest.raises(PlanError) as caught:
        box.run(["true"])
    assert str(caught.value) == "the stage refused the plan: opcode [stranger: an opcode that does not exist]"


def test_a_missing_working_directory(box: Sandbox) -> None:
    with pytest.raises(SetupError) as caught:
        box.run(["true"], cwd="/missing")
    assert re.fullmatch(
        r"payload: working directory /missing: No such file or directory \[SESSION, step \d+ of \d+\]",
        caught.value.message,
    )


def test_an_error_in_a_thread_of_many_leaves_the_others_alone(box: Sandbox) -> None:
    def work(turn: int) -> object:
        try:
            return box.run(["missing" if turn % 2 else "true"]).returncode
        except ProgramError as error:
            return error.exit_status

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(work, range(64))) == [0, 127] * 32
