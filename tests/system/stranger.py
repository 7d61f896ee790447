"""A plugin by someone else that fails, or waits to be killed, wherever a test wants it to."""

from __future__ import annotations

import errno
import fcntl
import os

import msgspec

from nsjail_py.plugin import Host, Launch, Part, Phase, Purpose, SandboxSpec, Section, Slot, hookimpl, steps

PARENT = ("HOST", "CREATED", "READY")
#: Where a step may fail or wait. INIT holds the fork alone, and nothing may follow FILTER but EXEC.
CHILD = (
    "CGROUP", "JOIN", "IDENTITY", "ROOT", "MOUNT", "PIVOT", "SYSTEM", "SEAL", "LIMIT", "SESSION", "PRIVILEGE"
)  # fmt: skip

FLOCK, CLOSE = (73, 3) if os.uname().machine == "x86_64" else (32, 57)

REACHED, GO = Slot("stranger:reached"), Slot("stranger:go")


class Stranger(Section, frozen=True, kw_only=True):
    """No settings."""


class Fail(msgspec.Struct, frozen=True, kw_only=True):
    """An action that fails after it has done something that must be undone."""

    phase: Phase
    made: str
    rank: int = 0
    fills: tuple[Slot, ...] = ()
    text: str = "do what cannot be done"

    def run(self, launch: Launch) -> None:
        os.mkdir(self.made)
        launch.on_end(lambda: os.rmdir(self.made))
        raise OSError(errno.EDOM, os.strerror(errno.EDOM), self.made)


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """Open what a step waits with: below a private directory only the parent can."""

    directory: str
    phase: Phase = Phase.HOST
    rank: int = 0
    fills: tuple[Slot, ...] = (REACHED, GO)
    text: str = "open the fifo and the lock"

    def run(self, launch: Launch) -> None:
        launch.fill(REACHED, os.open(f"{self.directory}/reached", os.O_WRONLY | os.O_CLOEXEC))
        launch.fill(GO, os.open(f"{self.directory}/go", os.O_RDONLY | os.O_CLOEXEC))


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """An action that says that it has been reached and waits until somebody lets it go on; its phase's last."""

    directory: str
    phase: Phase
    rank: int = 99
    fills: tuple[Slot, ...] = ()
    text: str = "wait to be killed"

    def run(self, launch: Launch) -> None:
        with open(f"{self.directory}/reached", "w") as reached, open(f"{self.directory}/go") as go:
            reached.write("x")
            reached.flush()
            fcntl.flock(go, fcntl.LOCK_EX)


class Failing:
    """Fails in a phase.

    :param phase: which
    :param made: a directory to make in an action, for something to be undone
    """

    def __init__(self, phase: str, made: str) -> None:
        self._phase = Phase[phase]
        self._made = made

    @hookimpl
    def nsjail_section(self) -> tuple[str, type[Stranger]]:
        return "stranger", Stranger

    @hookimpl
    def nsjail_plan(self, spec: SandboxSpec, host: Host, purpose: Purpose) -> Part | None:
        if self._phase.name in PARENT:
            return Part(actions=(Fail(phase=self._phase, made=self._made),))
        failing = steps.syscall(CLOSE, -1, phase=self._phase, text="close nothing", path="/nothing", rank=50)
        return Part(steps=(failing,))


class Waiting:
    """Waits in a phase.

    :param phase: which
    :param directory: it holds a FIFO, ``reached``, and a file that a test has locked (flock(2)), ``go``
    """

    def __init__(self, phase: str, directory: str) -> None:
        self._phase = Phase[phase]
        self._directory = directory

    @hookimpl
    def nsjail_section(self) -> tuple[str, type[Stranger]]:
        return "stranger", Stranger

    @hookimpl
    def nsjail_plan(self, spec: SandboxSpec, host: Host, purpose: Purpose) -> Part | None:
        if self._phase.name in PARENT:
            return Part(actions=(Wait(phase=self._phase, directory=self._directory),))
        phase = self._phase
        return Part(
            actions=(Open(directory=self._directory),),
            steps=(
                steps.write(REACHED, b"x", phase=phase, text="say that it is reached", rank=50),
                steps.syscall(FLOCK, GO, fcntl.LOCK_EX, phase=phase, text="wait to be let go on", rank=51),
            ),
        )
