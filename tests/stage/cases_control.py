"""One success and one failure of each control opcode."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from tests.stage.blob import Out, Slot, const, step
from tests.stage.kernel import NEWNS, NEWPID, NR, refusing
from tests.stage.running import EXTRA, STREAMS, Launcher, descriptors, execute, shell

Case = Callable[[Launcher, Path], None]


def gate(launcher: Launcher, tmp: Path) -> None:
    with launcher.start([step("GATE", const("GATE_CREATED"), 0, 0), *shell("echo passed")]) as stage:
        assert stage.expect("GATE").value[0] == const("GATE_CREATED")
        stage.release("CREATED")
        assert stage.finish().succeeded().output == "passed\n"


def gate_fails(launcher: Launcher, tmp: Path) -> None:
    with launcher.start([step("GATE", const("GATE_CREATED"), 0, 0), *shell("echo passed")]) as stage:
        stage.expect("GATE")
        stage.release("READY")
        stage.finish().failed(errno.EPROTO, at="RELEASE")


def syscall(launcher: Launcher, tmp: Path) -> None:
    plan = [
        step("SYSCALL", NR["memfd_create"], "made", 0, Out(20)),
        step("WRITE", Slot(20), b"through a plain call"),
        step("SYSCALL", NR["lseek"], Slot(20), 0, os.SEEK_SET),
        descriptors((20, 0), (4, 1), (5, 2)),
        execute("/bin/cat"),
    ]
    assert launcher.run(plan).succeeded().output == "through a plain call"


def syscall_fails(launcher: Launcher, tmp: Path) -> None:
    launcher.run([step("SYSCALL", 9999), *shell("echo ran")]).failed(errno.ENOSYS)


def close(launcher: Launcher, tmp: Path) -> None:
    read, write = os.pipe()
    gate = step("GATE", const("GATE_CREATED"), 0, 0)
    with launcher.start([step("CLOSE", Slot(EXTRA)), gate, *shell(":")], extra=[write]) as stage:
        os.close(write)
        stage.expect("GATE")
        assert os.read(read, 1) == b"", "the stage still holds the pipe"
        os.close(read)
        stage.release("CREATED")
        stage.finish().succeeded()


def close_fails(launcher: Launcher, tmp: Path) -> None:
    never = step("OPEN", None, "/nowhere", os.O_RDONLY, 0, Out(20), optional=True)
    launcher.run([never, step("CLOSE", Slot(20)), *shell("echo ran")]).failed(errno.EBADF)


def init(launcher: Launcher, tmp: Path) -> None:
    done = launcher.run([step("INIT", 0, None), *shell("echo $$; exit 3")], namespaces=NEWPID)
    assert done.output == "2\n"
    assert done.status == 3
    (started,), (exited,) = done.of("STARTED"), done.of("EXITED")
    assert started.value[0] == 2
    assert os.waitstatus_to_exitcode(exited.value[0]) == 3


def init_fails(launcher: Launcher, tmp: Path) -> None:
    plan = [step("SECCOMP", refusing("clone", errno.EAGAIN), 0, None), step("INIT", 0, None), *shell("echo ran")]
    assert launcher.run(plan, namespaces=NEWPID).failed(errno.EAGAIN).step == 1


def fork(launcher: Launcher, tmp: Path) -> None:
    plan = [step("UNSHARE", NEWPID), step("FORK"), *shell("echo $$; exit 3")]
    done = launcher.run(plan)
    assert (done.output, done.status) == ("1\n", 3)


def fork_fails(launcher: Launcher, tmp: Path) -> None:
    plan = [step("SECCOMP", refusing("clone", errno.EAGAIN), 0, None), step("FORK"), *shell("echo ran")]
    assert launcher.run(plan).failed(errno.EAGAIN).step == 1


def exec_(launcher: Launcher, tmp: Path) -> None:
    plan = [STREAMS, step("EXEC", ["/nowhere", "/usr/bin/env"], ["x"], ["A=1", "B=two words"])]
    assert launcher.run(plan).succeeded().output == "A=1\nB=two words\n"


def exec_fails(launcher: Launcher, tmp: Path) -> None:
    launcher.run([STREAMS, step("EXEC", ["/nowhere"], ["x"], [])]).failed(errno.ENOENT)


def pty(launcher: Launcher, tmp: Path) -> None:
    plan = [
        step("NEW_FS", "devpts", ["newinstance", "ptmxmode=0666"], 0, Out(20)),
        step("ATTACH", None, Slot(20), "/dev/pts", 0),
        step("PTY", Out(21), 30 << 16 | 100),
        descriptors((21, 0), (21, 1), (21, 2)),
        execute("/bin/sh", "-c", "tty; stty size; read line; echo got $line"),
    ]
    with launcher.start(plan, namespaces=NEWNS) as stage:
        (master,) = stage.expect("FD").fds
        assert stage.receive() is None
        assert _read_until(master, b"30 100\r\n") == b"/dev/pts/0\r\n30 100\r\n"
        os.write(master, b"keys\n")
        assert _read_until(master, b"got keys\r\n") == b"keys\r\ngot keys\r\n"


def _read_until(fd: int, end: bytes) -> bytes:
    text = b""
    while not text.endswith(end):
        text += os.read(fd, 1)
    return text


def pty_fails(launcher: Launcher, tmp: Path) -> None:
    plan = [
        step("NEW_FS", "tmpfs", [], 0, Out(20)),
        step("ATTACH", None, Slot(20), "/dev/pts", 0),
        step("PTY", Out(21), 0),
        *shell("echo ran"),
    ]
    launcher.run(plan, namespaces=NEWNS).failed(errno.ENOENT, at="TARGET")


PASSING: dict[str, Case] = {
    "GATE": gate, "SYSCALL": syscall, "CLOSE": close, "INIT": init, "FORK": fork, "EXEC": exec_, "PTY": pty,
}  # fmt: skip
FAILING: dict[str, Case] = {
    "GATE": gate_fails, "SYSCALL": syscall_fails, "CLOSE": close_fails, "INIT": init_fails, "FORK": fork_fails,
    "EXEC": exec_fails, "PTY": pty_fails,
}  # fmt: skip
