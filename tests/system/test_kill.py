"""The end of the owner, at any moment, and the end of what runs where there is no pid namespace."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
from pathlib import Path

import psutil
import pytest

from nsjail_py import PIPE, ExitReason, Sandbox, SandboxSpec
from nsjail_py.plugin import state_directory
from nsjail_py.spec.mnt import Mnt
from nsjail_py.spec.namespaces import Cgroupns, Ipc, Net, Pid, User, Uts
from nsjail_py_plugins.user import ranges
from tests.leaks import Orphans, eventually
from tests.system import script
from tests.system.stranger import CHILD, PARENT

# -- the owner ends -----------------------------------------------------------------------------------------------

KEEPER = """
import os, signal, sys
from nsjail_py import Sandbox, SandboxSpec
from nsjail_py.spec.namespaces import Pid
box = Sandbox(SandboxSpec(pid=Pid(init=sys.argv[2] == "init")), rootfs=sys.argv[1])
process = box.start(["sh", "-c", "trap '' TERM; (setsid sleep 1000 &) ; exec sleep 1000"])
os.write(1, b"%d\\n" % process.pid)
"""

ENDS = {
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "_exit": "os._exit(0)",
    "exit": "sys.exit()",
    "exec": "os.execv('/bin/true', ['true'])",
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("init", ["init", "payload as pid 1"])
def test_it_ends_with_its_owner(busybox_root: Path, orphans: Orphans, end: str, init: str) -> None:
    with script.popen(KEEPER + end, busybox_root, init, stdout=PIPE) as caller:
        assert caller.stdout is not None
        payload = int(caller.stdout.readline())
    assert eventually(lambda: not orphans.alive())
    assert not psutil.pid_exists(payload)


WAITER = """
import os, sys
from nsjail_py import Sandbox
from tests.system.stranger import Waiting
root, directory, phase, forked = sys.argv[1:]
box = Sandbox(rootfs=root, plugins=[Waiting(phase, directory)])
if forked == "forked" and os.fork() == 0:
    os.read(3, 1)
    os._exit(0)
os.close(3)
os.write(1, b"%d\\n" % os.getpid())
box.run(["sleep", "1000"])
"""


@pytest.mark.root
@pytest.mark.parametrize("forked", ["alone", "forked"])
@pytest.mark.parametrize("phase", [*PARENT, *CHILD])
def test_killed_at_each_phase(busybox_root: Path, tmp_path: Path, orphans: Orphans, phase: str, forked: str) -> None:
    """Whatever the stage was doing, it goes on to where it sees that nobody owns it. A forked child of the caller
    that lives on keeps every descriptor of the caller's open, and nothing else.
    """
    os.mkfifo(tmp_path / "reached")
    reached = os.open(tmp_path / "reached", os.O_RDWR)
    held, holding = os.pipe()
    with (
        (tmp_path / "go").open("w") as go,
        script.popen(
            f"import os; os.dup2({held}, 3)\n{WAITER}",
            busybox_root,
            tmp_path,
            phase,
            forked,
            stdout=PIPE,
            pass_fds=(held,),
        ) as caller,
    ):
        try:
            fcntl.flock(go, fcntl.LOCK_EX)
            assert caller.stdout is not None
            assert caller.stdout.readline() == f"{caller.pid}\n"
            assert select.select([reached], [], [], 60)[0]
            assert os.read(reached, 1) == b"x"
            assert _range_is_taken(caller.pid)
            os.kill(caller.pid, signal.SIGKILL)
            assert caller.wait() == -signal.SIGKILL
            fcntl.flock(go, fcntl.LOCK_UN)
            expected = 1 if forked == "forked" else 0
            assert eventually(lambda: len(orphans.alive()) == expected), orphans.alive()
            assert eventually(lambda: not _range_is_taken(caller.pid))
        finally:
            for fd in (reached, held, holding):
                os.close(fd)
            caller.kill()


def _range_is_taken(pid: int) -> bool:
    """Whether somebody has the id range that a process tries first; others belong to whoever else runs sandboxes."""
    wanted = struct.pack("@hhqqi", fcntl.F_WRLCK, os.SEEK_SET, pid * 61 % ranges.COUNT, 1, 0)
    with open(os.path.join(state_directory(), "ids"), "r+b") as file:
        found = fcntl.fcntl(file.fileno(), fcntl.F_OFD_GETLK, wanted)
    kind: int = struct.unpack("@hhqqi", found)[0]
    return kind != fcntl.F_UNLCK


INTERRUPTED = """
import os, signal, sys, threading
from nsjail_py import Sandbox
box = Sandbox(rootfs=sys.argv[1])
read, write = os.pipe()
threading.Thread(target=lambda: (os.read(read, 1), os.kill(os.getpid(), signal.SIGINT))).start()
try:
    box.run(["sh", "-c", "trap '' INT TERM; (setsid sleep 1000 &) ; echo; exec sleep 1000"], stdout=write)
except KeyboardInterrupt:
    os.close(write)
    print("interrupted", os.read(read, 100))
    try:
        print(os.waitpid(-1, os.WNOHANG))
    except ChildProcessError:
        print("no child")
"""


def test_an_interrupt_kills_before_it_propagates(busybox_root: Path) -> None:
    """Nobody inside holds the pipe any more when the exception arrives."""
    assert script.output(INTERRUPTED, busybox_root).splitlines() == ["interrupted b''", "no child"]


# -- without a pid namespace --------------------------------------------------------------------------------------

OFF = {
    "no pid namespace": SandboxSpec(pid=Pid(mode="off"), mnt=Mnt(proc="try")),
    "no user namespace": SandboxSpec(user=User(mode="off")),
    "neither": SandboxSpec(user=User(mode="off"), pid=Pid(mode="off"), mnt=Mnt(proc="try")),
    "the host's network": SandboxSpec(net=Net(mode="host")),
    "no namespace at all": SandboxSpec(
        user=User(mode="off"),
        pid=Pid(mode="off"),
        mnt=Mnt(mode="off"),
        uts=Uts(mode="off"),
        ipc=Ipc(mode="off"),
        net=Net(mode="off"),
        cgroupns=Cgroupns(mode="off"),
    ),
}


@pytest.mark.root
@pytest.mark.parametrize("spec", OFF.values(), ids=OFF)
def test_everything_is_dead_at_the_end(spec: SandboxSpec, busybox_root: Path) -> None:
    """Also what has forked twice and left the session; and the reasons stay right."""
    box = Sandbox(spec, rootfs=None if spec is OFF["no namespace at all"] else busybox_root)
    commands = "(setsid sleep 1000 &) ; (setsid sh -c 'sleep 1000 & sleep 1000' &) ; echo here"
    with box.start(["/bin/sh", "-c", commands], stdout=PIPE) as process:
        assert process.wait().reason is ExitReason.EXITED
        assert process.stdout is not None
        assert process.stdout.read() == b"here\n", "nobody holds the pipe any more"
    assert box.run(["/bin/sh", "-c", f"{commands}; exec sleep 1000"], timeout=0.2).reason is ExitReason.TIMED_OUT
    assert box.run(["/bin/sh", "-c", "exit 3"]).returncode == 3


# -- secrets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["environ", "cmdline", "mem", "maps", "fd/0", "cwd", "root", "exe"])
def test_nothing_of_the_caller_is_in_init(busybox_root: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    """S36, S49: root inside, without a filter, reads what pid 1 has."""
    monkeypatch.setenv("CANARY", "tweet-tweet")
    box = Sandbox(rootfs=busybox_root, env={"KEY": "for the payload alone"})
    result = box.run(["sh", "-c", f"cat /proc/1/{file} | head -c 100000"], capture_output=True)
    assert b"tweet" not in result.stdout
    assert b"payload alone" not in result.stdout
    if file == "cmdline":
        assert result.stdout == b"nsjail\0"
    else:
        assert result.stdout == b""


def test_the_environment_of_the_caller_is_nowhere(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "tweet-tweet")
    assert os.environ["CANARY"] == "tweet-tweet"
    result = box.run(["sh", "-c", "cat /proc/*/environ /proc/*/cmdline | grep -c 'twee[t]'"], stdout=PIPE)
    assert result.stdout == b"0\n"
