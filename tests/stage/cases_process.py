"""One success and one failure of each opcode for the payload's attributes."""

from __future__ import annotations

import errno
import os
import resource
import struct
from collections.abc import Callable
from pathlib import Path

from tests.stage.blob import Argument, Out, Slot, Step, const, step
from tests.stage.kernel import notifying, refusing
from tests.stage.running import EXTRA, STDERR, STDIN, STDOUT, STREAMS, Launcher, descriptors, execute, opened, shell

Case = Callable[[Launcher, Path], None]
NO_CAPS = step("CAPS", 0, 0, 0, 0)
NEW_LISTENER = 8


def prints(script: str, expected: str, *steps: Step) -> Case:
    """The payload's script prints the expected words."""

    def case(launcher: Launcher, tmp: Path) -> None:
        assert launcher.run([*steps, *shell(script)]).succeeded().output.split() == expected.split()

    return case


def fails(error: int, op: str, *args: Argument, before: tuple[Step, ...] = ()) -> Case:
    """The step fails, after others that do not."""

    def case(launcher: Launcher, tmp: Path) -> None:
        failure = launcher.run([*before, step(op, *args), *shell("echo ran")]).failed(error)
        assert failure.step == len(before)

    return case


def without(call: str, op: str, *args: Argument) -> Case:
    """The step fails where its call is refused by a filter."""
    return fails(errno.EPERM, op, *args, before=(step("SECCOMP", refusing(call, errno.EPERM), 0, None),))


def status(field: str, expected: str, *steps: Step) -> Case:
    return prints(f"grep ^{field}: /proc/self/status | cut -d: -f2", expected, *steps)


def setsid_fails(launcher: Launcher, tmp: Path) -> None:
    assert launcher.run([step("SETSID"), step("SETSID"), *shell("echo ran")]).failed(errno.EPERM).step == 1


def terminal(launcher: Launcher, tmp: Path) -> None:
    master, slave = os.openpty()
    plan = [step("SETSID"), step("TERMINAL", Slot(EXTRA)), *shell(": < /dev/tty && echo yes")]
    assert launcher.run(plan, extra=[slave]).succeeded().output == "yes\n"
    os.close(master)
    os.close(slave)


def terminal_fails(launcher: Launcher, tmp: Path) -> None:
    plan = [step("SETSID"), step("TERMINAL", Slot(STDIN)), *shell("echo ran")]
    launcher.run(plan).failed(errno.ENOTTY)


def descriptors_are_placed(launcher: Launcher, tmp: Path) -> None:
    """Numbers on top of the report socket, the owner and each other's slots; one slot given twice."""
    for name in ("one", "two"):
        (tmp / name).write_text(name)
    swapped = (64 + EXTRA, 64 + EXTRA + 1)
    script = f"cat <&{swapped[0]}; cat <&{swapped[1]}; cat <&66; ls -v /proc/self/fd | tr '\\n' ' '"
    with opened(tmp / "one", os.O_RDONLY) as one, opened(tmp / "two", os.O_RDONLY) as two:
        plan = [
            descriptors((STDIN, 0), (STDOUT, 1), (STDERR, 2), (STDOUT, 64), (STDIN, 66),
                        (EXTRA + 1, swapped[0]), (EXTRA, swapped[1]), (STDERR, 80)),
            execute("/bin/bash", "-c", script),
        ]  # fmt: skip
        done = launcher.run(plan, extra=[one, two]).succeeded()
    assert done.output.startswith("twoone")
    numbers = {int(name) for name in done.output.removeprefix("twoone").split()}
    assert numbers - {3} == {0, 1, 2, 64, 66, *swapped, 80}, "3 is the shell's own"


def descriptors_fail(launcher: Launcher, tmp: Path) -> None:
    limit = step("RLIMIT", resource.RLIMIT_NOFILE, 500, 500)
    streams = [(STDIN, 0), (STDOUT, 1), (STDERR, 2)]
    plan = [limit, descriptors(*streams, (STDIN, 501)), execute("/bin/echo", "ran")]
    launcher.run(plan).failed(errno.EBADF, at="ENTRY", index=3)


def chdir_fails(launcher: Launcher, tmp: Path) -> None:
    plan = [step("CHDIR", [str(tmp / "missing")]), *shell("echo ran")]
    launcher.run(plan).failed(errno.ENOENT, at="ENTRY")


def seccomp(launcher: Launcher, tmp: Path) -> None:
    done = launcher.run([step("SECCOMP", refusing("uname", errno.EXDEV), 0, None), *shell("uname 2>&1; :")])
    assert "Invalid cross-device link" in done.succeeded().output


def seccomp_reports_listener(launcher: Launcher, tmp: Path) -> None:
    """Not in the table: the listener reaches the owner below any limit on descriptors."""
    limit = step("RLIMIT", resource.RLIMIT_NOFILE, 16, 16)
    filtered = step("SECCOMP", notifying("uname"), NEW_LISTENER, Out(20))
    with launcher.start([limit, filtered, *shell("exit 4")]) as stage:
        (listener,) = stage.expect("FD").fds
        assert os.readlink(f"/proc/self/fd/{listener}") == "anon_inode:seccomp notify"
        done = stage.finish()
    assert done.status == 4


def seccomp_fails(launcher: Launcher, tmp: Path) -> None:
    plan = [NO_CAPS, step("SECCOMP", refusing("uname", errno.EPERM), 0, None), *shell("echo ran")]
    launcher.run(plan).failed(errno.EACCES)


def dumpable(launcher: Launcher, tmp: Path) -> None:
    """/proc files of a process that is not dumpable belong to root: proc(5)."""
    owners = []
    for extra in ([], [step("DUMPABLE", 1)], [step("DUMPABLE", 1), step("DUMPABLE", 0)]):
        plan = [step("IDS", 1000, 1000), *extra, step("GATE", const("GATE_CREATED"), 0, 0), *shell(":")]
        with launcher.start(plan) as stage:
            stage.expect("GATE")
            owners.append(Path(f"/proc/{stage.pid}/stat").stat().st_uid)
    assert owners == [0, 1000, 0]


def subreaper(launcher: Launcher, tmp: Path) -> None:
    done = launcher.run([step("SUBREAPER", 1), STREAMS, execute(str(launcher.probe), "attributes")]).succeeded()
    assert "subreaper 1" in done.output.splitlines()


def keyring(launcher: Launcher, tmp: Path) -> None:
    rings = {
        launcher.run([*steps, *shell(f"{launcher.probe} attributes | grep keyring")]).succeeded().output
        for steps in ([], [step("KEYRING")], [step("KEYRING")])
    }
    assert len(rings) == 3, "the caller's, and a fresh one each time"


_NET_RAW = 1 << 13
_SCHED_BATCH, _IDLE_CLASS = 3, 3 << 13
_NOROOT = 1
_CPU0 = struct.pack("=Q", 1)

PASSING: dict[str, Case] = {
    "RLIMIT": prints("ulimit -Sn; ulimit -Hn", "100 200", step("RLIMIT", resource.RLIMIT_NOFILE, 100, 200)),
    "SETSID": prints("read p _ _ _ _ sid _ < /proc/self/stat; echo $(($sid - $$))", "0", step("SETSID")),
    "TERMINAL": terminal,
    "DESCRIPTORS": descriptors_are_placed,
    "CHDIR": prints("pwd", "/usr/share", step("CHDIR", ["/nowhere", "/usr/share"])),
    "UMASK": prints("umask", "0027", step("UMASK", 0o027)),
    "GROUPS": prints("id -G", "0 7 1234", step("GROUPS", struct.pack("=3I", 0, 7, 1234))),
    "IDS": status("Uid", "12 12 12 12", step("IDS", 12, 34)),
    "BOUND": status("CapBnd", f"{_NET_RAW:016x}", step("BOUND", _NET_RAW)),
    "CAPS": status("CapEff", f"{_NET_RAW:016x}", step("IDS", 1000, 1000),
                   step("CAPS", _NET_RAW, _NET_RAW, _NET_RAW, _NET_RAW)),
    "SECUREBITS": status("CapEff", f"{0:016x}", step("SECUREBITS", _NOROOT)),
    "NO_NEW_PRIVS": status("NoNewPrivs", "1", step("NO_NEW_PRIVS")),
    "SECCOMP": seccomp,
    "DUMPABLE": dumpable,
    "PRIORITY": prints("nice", "7", step("PRIORITY", 7)),
    "SCHEDULER": prints("cut -d' ' -f41 /proc/self/stat", "3", step("SCHEDULER", _SCHED_BATCH, 0)),
    "AFFINITY": status("Cpus_allowed_list", "0", step("AFFINITY", _CPU0)),
    "IOPRIO": prints("ionice -p $$", "idle", step("IOPRIO", _IDLE_CLASS)),
    "SUBREAPER": subreaper,
    "KEYRING": keyring,
}  # fmt: skip

FAILING: dict[str, Case] = {
    "RLIMIT": fails(errno.EINVAL, "RLIMIT", resource.RLIMIT_NOFILE, 2, 1),
    "SETSID": setsid_fails,
    "TERMINAL": terminal_fails,
    "DESCRIPTORS": descriptors_fail,
    "CHDIR": chdir_fails,
    "UMASK": without("umask", "UMASK", 0),
    "GROUPS": fails(errno.EPERM, "GROUPS", None, before=(NO_CAPS,)),
    "IDS": fails(errno.EPERM, "IDS", 1000, 1000, before=(NO_CAPS,)),
    "BOUND": fails(errno.EPERM, "BOUND", 0, before=(NO_CAPS,)),
    "CAPS": fails(errno.EPERM, "CAPS", 0, 0, 0, 1),
    "SECUREBITS": fails(errno.EPERM, "SECUREBITS", _NOROOT, before=(NO_CAPS,)),
    "NO_NEW_PRIVS": without("prctl", "NO_NEW_PRIVS"),
    "SECCOMP": seccomp_fails,
    "DUMPABLE": without("prctl", "DUMPABLE", 1),
    "PRIORITY": fails(errno.EACCES, "PRIORITY", -5, before=(NO_CAPS,)),
    "SCHEDULER": fails(errno.EINVAL, "SCHEDULER", 99, 0),
    "AFFINITY": fails(errno.EINVAL, "AFFINITY", bytes(8)),
    "IOPRIO": fails(errno.EINVAL, "IOPRIO", 7 << 13),
    "SUBREAPER": without("prctl", "SUBREAPER", 1),
    "KEYRING": without("keyctl", "KEYRING"),
}
