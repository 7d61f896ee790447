"""Start the stage with a hand-made plan, talk to it, and collect what it says."""

from __future__ import annotations

import array
import os
import socket
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

from tests.stage.blob import CONTROL, REPORT, Slot, Step, const, encode, sealed, step

#: slots that every plan of these tests is born with
STDIN, STDOUT, STDERR, EXTRA = 3, 4, 5, 6

MAX_FDS = 253


class Report(NamedTuple):
    """One message of the report socket, its descriptors received with it."""

    kind: int
    step: int
    error: int
    ns: int
    value: tuple[int, ...]
    fds: tuple[int, ...]


@dataclass(frozen=True)
class Launcher:
    """The stage under test, the program that starts it, and a prefix such as strace's."""

    stage: Path | str
    launch: Path
    probe: Path
    prefix: tuple[str, ...] = ()

    def start(
        self,
        steps: Sequence[Step] | bytes,
        *,
        namespaces: int = 0,
        extra: Sequence[int] = (),
        trace: bool = False,
        owner: int | None = None,
        plan: int | None = None,
        nslots: int = 64,
        pair: tuple[socket.socket, socket.socket] | None = None,
    ) -> Running:
        """Start the stage; ``extra`` descriptors follow the standard streams, ``plan`` replaces the memfd.

        With ``pair`` the caller keeps the stage's end of the report socket too.
        """
        flags = const("OWNED") | (const("TRACE") if trace else 0)
        ours, theirs = pair or socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        blob = steps if isinstance(steps, bytes) else encode(steps, flags=flags, nbirth=6 + len(extra), nslots=nslots)
        plan = sealed(blob) if plan is None else plan
        watched = os.pidfd_open(os.getpid()) if owner is None else owner
        stdin, feed = os.pipe2(os.O_CLOEXEC)
        read, write = os.pipe2(os.O_CLOEXEC)
        slots = [theirs.fileno(), plan, watched, stdin, write, write, *extra]
        command = [*self.prefix, self.launch, hex(namespaces), self.stage, *map(str, slots)]
        process = subprocess.Popen(command, pass_fds=set(slots), stdin=subprocess.DEVNULL)
        if pair is None:
            theirs.close()
        for fd in {plan, stdin, write} | ({watched} if owner is None else set()):
            os.close(fd)
        return Running(process, ours, read, feed)

    def run(self, steps: Sequence[Step] | bytes, **options: object) -> Finished:
        """Start the stage and take everything until the end."""
        with self.start(steps, **options) as running:  # type: ignore[arg-type]
            running.feed(b"")
            return running.finish()

    def tracing(self, *prefix: str) -> Launcher:
        return Launcher(self.stage, self.launch, self.probe, prefix)


@dataclass
class Finished:
    """A stage that is gone: what it reported, what the payload wrote, how the stage exited (-n: signal)."""

    reports: list[Report]
    output: str
    status: int

    def of(self, kind: str) -> list[Report]:
        return [report for report in self.reports if report.kind == const(f"REPORT_{kind}")]

    @property
    def failure(self) -> Report | None:
        failures = self.of("FAILED")
        assert len(failures) <= 1
        return failures[0] if failures else None

    def succeeded(self) -> Self:
        """Fail unless no step failed or was skipped, and the payload exited with 0."""
        assert not [r for r in self.reports if r.error], self
        assert self.status == 0, self
        return self

    def failed(self, errno: int, *, at: str = "STEP", index: int | None = None) -> Report:
        """Fail unless exactly one step failed, with that errno and detail, and no payload ran."""
        assert self.failure is not None, self
        assert self.failure.error == errno, (os.strerror(self.failure.error), self)
        assert self.failure.value[0] == const(f"AT_{at}"), self
        assert index is None or self.failure.value[1] == index, self
        assert self.status == 125, self
        assert self.output == "", self
        return self.failure


@dataclass
class Running:
    """A stage that has been started. Leaving the context kills it."""

    process: subprocess.Popen[bytes]
    socket: socket.socket
    read: int
    stdin: int
    reports: list[Report] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.socket.close()
        for fd in (self.read, self.stdin):
            if fd >= 0:
                os.close(fd)
        for report in self.reports:
            for fd in report.fds:
                os.close(fd)
        self.reports.clear()

    @property
    def pid(self) -> int:
        """The stage itself, the launcher's only child."""
        launcher = self.process.pid
        return int(Path(f"/proc/{launcher}/task/{launcher}/children").read_text())

    def receive(self) -> Report | None:
        """The next report; None at the end of file."""
        try:
            data, ancillary, _, _ = self.socket.recvmsg(REPORT.size, socket.CMSG_SPACE(4 * MAX_FDS))
        except ConnectionResetError:
            return None
        if not data:
            return None
        fds = array.array("i")
        for _, _, payload in ancillary:
            fds.frombytes(payload)
        kind, number, error, ns, *value = REPORT.unpack(data)
        report = Report(kind, number, error, ns, tuple(value), tuple(fds))
        self.reports.append(report)
        return report

    def expect(self, kind: str) -> Report:
        report = self.receive()
        assert report is not None, f"end of file in place of {kind}"
        assert report.kind == const(f"REPORT_{kind}"), report
        return report

    def control(self, kind: str, value: int, slot: int = 0, fds: Sequence[int] = (), suffix: int | None = None) -> None:
        message = CONTROL.pack(const(f"CONTROL_{kind}"), slot, len(fds), suffix is not None, value, 0)
        passed = array.array("i", [*fds, *([] if suffix is None else [suffix])])
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)] if passed else []
        self.socket.sendmsg([message], rights)

    def release(self, gate: str, slot: int = 0, fds: Sequence[int] = (), steps: Sequence[Step] | bytes | None = None,
                nslots: int = 64) -> None:  # fmt: skip
        """Pass the gate, with descriptors for slots and with a suffix."""
        if steps is None:
            self.control("RELEASE", const(f"GATE_{gate}"), slot, fds)
            return
        suffix = sealed(steps if isinstance(steps, bytes) else encode(steps, nbirth=0, nslots=nslots))
        self.control("RELEASE", const(f"GATE_{gate}"), slot, fds, suffix)
        os.close(suffix)

    def feed(self, data: bytes) -> None:
        """All that the payload gets to read, which until then waits for it."""
        os.write(self.stdin, data)
        os.close(self.stdin)
        self.stdin = -1

    def output(self) -> str:
        """What the payload writes until the last holder of the pipe is gone."""
        with os.fdopen(self.read, "rb") as pipe:
            self.read = -1
            return pipe.read().decode()

    def line(self) -> str:
        """One line of the payload, byte by byte: nothing is read ahead."""
        text = b""
        while not text.endswith(b"\n"):
            byte = os.read(self.read, 1)
            assert byte, f"end of file after {text!r}"
            text += byte
        return text.decode().rstrip("\n")

    def finish(self) -> Finished:
        """Take all reports, all output and the exit status."""
        while self.receive():
            pass
        output = self.output()
        return Finished(list(self.reports), output, self.process.wait())


def descriptors(*pairs: tuple[int, int]) -> Step:
    """DESCRIPTORS for (slot, number) pairs."""
    numbers = [value for pair in pairs for value in pair]
    return step("DESCRIPTORS", b"".join(value.to_bytes(4, "little", signed=True) for value in numbers))


STREAMS = descriptors((STDIN, 0), (STDOUT, 1), (STDERR, 2))
ENVIRONMENT = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]


def execute(*argv: str, env: Iterable[str] = ENVIRONMENT) -> Step:
    """EXEC of an absolute path."""
    return step("EXEC", [argv[0]], list(argv), list(env))


def shell(script: str) -> list[Step]:
    """The end of a plan: the streams, and a shell that runs a script."""
    return [STREAMS, execute("/bin/sh", "-c", script)]


def slot(number: int) -> Slot:
    return Slot(number)


@contextmanager
def opened(path: str | Path, flags: int) -> Iterator[int]:
    """A descriptor for the time of a block."""
    fd = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
