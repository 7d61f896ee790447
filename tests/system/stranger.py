"""A plugin by someone else that fails, or waits to be killed, wherever a test wants it to."""

from __future__ import annotations

import errno
import os

import msgspec

from nsjail_py.plugin import Host, Launch, Part, Phase, Purpose, SandboxSpec, Section, Slot, constants, hookimpl, steps

PARENT = ("HOST", "CREATED", "READY")
#: Where a step may fail or wait. INIT holds the fork alone, and nothing may follow FILTER but EXEC.
CHILD = (
    "CGROUP", "JOIN", "IDENTITY", "ROOT", "MOUNT", "PIVOT", "SYSTEM", "SEAL", "LIMIT", "SESSION", "PRIVILEGE"
)  # fmt: skip

OPENAT, CLOSE = (257, 3) if os.uname().machine == "x86_64" else (56, 57)


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


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """An action that says that it has been reached and waits until somebody lets it go on."""

    phase: Phase
    fifos: str
    rank: int = 0
    fills: tuple[Slot, ...] = ()
    text: str = "wait to be killed"

    def run(self, launch: Launch) -> None:
        with open(f"{self.fifos}/reached", "w") as file:
            file.write("x")
        with open(f"{self.fifos}/go") as file:
            file.read()


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
    :param fifos: a directory of the root that holds two FIFOs, ``reached`` and ``go``, as the host sees it
    :param inside: the same directory as the sandbox sees it
    """

    def __init__(self, phase: str, fifos: str, inside: str) -> None:
        self._phase = Phase[phase]
        self._fifos = fifos
        self._inside = inside

    @hookimpl
    def nsjail_section(self) -> tuple[str, type[Stranger]]:
        return "stranger", Stranger

    @hookimpl
    def nsjail_plan(self, spec: SandboxSpec, host: Host, purpose: Purpose) -> Part | None:
        if self._phase.name in PARENT:
            return Part(actions=(Wait(phase=self._phase, fifos=self._fifos),))
        where = self._inside if self._phase >= Phase.SYSTEM else self._fifos
        reached = Slot("stranger:reached")
        flags = os.O_RDONLY | os.O_CLOEXEC
        return Part(
            steps=(
                steps.open_file(f"{where}/reached", os.O_WRONLY, reached, phase=self._phase, text="open", rank=50),
                steps.write(reached, b"x", phase=self._phase, text="say that it is reached", rank=51),
                steps.syscall(
                    OPENAT, constants.AT_FDCWD, f"{where}/go", flags, phase=self._phase, text="wait", rank=52
                ),
            )
        )
