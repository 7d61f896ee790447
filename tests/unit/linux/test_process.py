"""spawn, pidfds and wait: each success, each failure, and that no failure leaves a child."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nsjail_py.linux import caps, files, mounts, process, procfs
from nsjail_py.linux import constants as c
from nsjail_py.linux.host import Host
from tests.conftest import OrdinaryUser
from tests.unit.linux.children import Spawner, run_script

ROOT_MAP = (
    ("setgroups", b"deny"),
    ("uid_map", b"0 %d 1\n" % os.geteuid()),
    ("gid_map", b"0 %d 1\n" % os.getegid()),
)


@pytest.fixture(autouse=True)
def _no_child_left() -> Iterator[None]:
    before = set(procfs.children(os.getpid()))
    yield
    assert set(procfs.children(os.getpid())) <= before


def failed(call: Callable[[], object]) -> process.SpawnError:
    with pytest.raises(process.SpawnError) as caught:
        call()
    return caught.value


def test_stage_starts_with_nothing_of_the_caller_but_its_slots(spawn_probe: Spawner) -> None:
    probe = spawn_probe()
    assert probe.said["argv"] == "1 nsjail"
    assert probe.said["environ"] == ""
    assert probe.said["SigCgt"].strip("0") == ""
    assert int(probe.said["SigBlk"], 16) == 0xFFFFFFFFFFFFFFFF & ~(1 << signal.SIGKILL - 1 | 1 << signal.SIGSTOP - 1)
    assert probe.said["fd64"].startswith("socket:")
    assert probe.said["fd65"].startswith("/memfd:letter")
    assert probe.said["fd66"].startswith("pipe:")
    ended = process.wait(probe.child.pidfd)
    assert ended is not None
    assert ended.returncode == 7


def test_slots_whose_sources_lie_in_the_range_of_the_slots(spawn_probe: Spawner) -> None:
    """Each source is the target of another: a single pass would overwrite some of them."""
    made = [files.sealed_memfd(name, b"") for name in "abcdef"]
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, c.NSJ_SLOT_BASE) for fd in made]
    assert min(high) < c.NSJ_SLOT_BASE + 10
    probe = spawn_probe(more=high[::-1])
    assert [probe.said[f"fd{c.NSJ_SLOT_BASE + 4 + i}"][7] for i in range(6)] == list("fedcba")
    process.wait(probe.child.pidfd)
    for fd in made + high:
        os.close(fd)


def test_empty_slot_holds_nothing_of_the_callers(spawn_probe: Spawner) -> None:
    number = c.NSJ_SLOT_BASE + 4
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, number, inheritable=True)
    probe = spawn_probe(more=[-1])
    os.close(number)
    os.close(null)
    assert f"fd{number}" not in probe.said
    process.wait(probe.child.pidfd)


def test_stage_in_the_range_of_the_slots(spawn_probe: Spawner) -> None:
    high = fcntl.fcntl(spawn_probe.probe, fcntl.F_DUPFD_CLOEXEC, c.NSJ_SLOT_BASE)
    spawn_probe.probe, low = high, spawn_probe.probe
    try:
        probe = spawn_probe(more=[spawn_probe.end] * 8)
    finally:
        spawn_probe.probe = low
        os.close(high)
    assert probe.said["argv"] == "1 nsjail"
    process.wait(probe.child.pidfd)


def test_maps_are_written_and_the_gate_released(spawn_probe: Spawner, user_namespaces: None) -> None:
    probe = spawn_probe("r", c.CLONE_NEWUSER | c.CLONE_NEWPID, writes=ROOT_MAP, release_gate=c.NSJ_GATE_CREATED)
    kind, slot, count, suffix, value = struct.unpack("HHHHI4x", bytes.fromhex(probe.said["message"]))
    assert (kind, slot, count, suffix, value) == (c.NSJ_CONTROL_RELEASE, 0, 0, 0, c.NSJ_GATE_CREATED)
    assert probe.said["uid"] == "0"
    assert probe.said["uid_map"].split() == ["0", str(os.geteuid()), "1"]
    process.wait(probe.child.pidfd)


@pytest.mark.parametrize("keep", [0, caps.mask(["sys_admin", "setuid"])])
def test_capabilities_survive_an_exec_before_the_map(spawn_probe: Spawner, user_namespaces: None, keep: int) -> None:
    """There is no map at all here, so that the exec is certainly before it."""
    probe = spawn_probe(flags=c.CLONE_NEWUSER, keep=keep)
    for name in ("CapPrm", "CapEff", "CapAmb"):
        assert int(probe.said[name], 16) == (keep or (2 << caps.last()) - 1)
    process.wait(probe.child.pidfd)


def test_refused_map(spawn_probe: Spawner, user_namespaces: None) -> None:
    wrong = (*ROOT_MAP[:1], ("uid_map", b"nonsense"), *ROOT_MAP[2:])
    error = failed(lambda: spawn_probe("w", c.CLONE_NEWUSER, writes=wrong))
    assert (error.step, error.file, error.errno) == (c.NSJ_SPAWN_MAP, "uid_map", errno.EINVAL)
    assert str(error) == "[Errno 22] write of uid_map: Invalid argument"


def test_missing_map_file(spawn_probe: Spawner, user_namespaces: None) -> None:
    error = failed(lambda: spawn_probe("w", c.CLONE_NEWUSER, writes=[("no_such_map", b"0 0 1")]))
    assert (error.step, error.file, error.errno) == (c.NSJ_SPAWN_MAP, "no_such_map", errno.ENOENT)


def test_release_on_something_else_than_a_socket(probe: int, user_namespaces: None) -> None:
    null = os.open("/dev/null", os.O_RDWR)
    error = failed(lambda: process.spawn(probe, [null] * 4, report=null, release_gate=1))
    os.close(null)
    assert (error.step, error.file, error.errno) == (c.NSJ_SPAWN_MAP, None, errno.ENOTSOCK)


def test_descriptor_that_is_not_open(probe: int) -> None:
    error = failed(lambda: process.spawn(probe, [100_000]))
    assert (error.step, error.errno) == (c.NSJ_SPAWN_SLOTS, errno.EBADF)
    assert str(error) == "[Errno 9] dup of a descriptor into its slot: Bad file descriptor"


def test_too_many_slots(probe: int) -> None:
    assert failed(lambda: process.spawn(probe, [0] * (c.NSJ_MAX_SLOTS + 1))).errno == errno.EINVAL


def test_stage_that_is_no_program() -> None:
    text = files.sealed_memfd("text", b"not a program", executable=True)
    error = failed(lambda: process.spawn(text, [0]))
    os.close(text)
    assert (error.step, error.errno) == (c.NSJ_SPAWN_EXEC, errno.ENOEXEC)
    assert str(error) == "[Errno 8] execveat of the stage: Exec format error"


def test_flags_that_exclude_each_other(probe: int) -> None:
    clone_fs = 0x200
    error = failed(lambda: process.spawn(probe, [0], c.CLONE_NEWNS | clone_fs))
    assert (error.step, error.errno) == (c.NSJ_SPAWN_CLONE, errno.EINVAL)


def test_no_room_for_the_slots() -> None:
    run_script(
        """
import errno
from nsjail_py.linux import constants as c, process, rlimits
rlimits.prlimit(c.RLIMIT_NOFILE, (c.NSJ_SLOT_BASE + 2, c.NSJ_SLOT_BASE + 2))
try:
    process.spawn(0, [0, 0, 0])
except process.SpawnError as error:
    assert error.step == c.NSJ_SPAWN_SLOTS and error.errno in (errno.EBADF, errno.EINVAL, errno.EMFILE), error
else:
    raise AssertionError("it did not fail")
"""
    )


def test_no_memory_for_the_stack() -> None:
    run_script(
        """
import errno
from nsjail_py.linux import constants as c, rlimits
from nsjail_py._native import ffi, lib
slots = ffi.new("int32_t[]", [0])
request = ffi.new("struct nsj_spawn *", {"slots": slots, "nslots": 1, "cgroup": -1, "report": -1})
soft, hard = rlimits.prlimit(c.RLIMIT_AS)
nothing = ffi.new("uint64_t[2]", [1, hard])
restored = ffi.new("uint64_t[2]", [soft, hard])
number, previous = c.RLIMIT_AS, ffi.new("uint64_t[2]")
lib.nsj_prlimit(0, number, nothing, previous)
code = lib.nsj_spawn(request)
lib.nsj_prlimit(0, number, restored, previous)
assert code == -errno.ENOMEM, code
assert request.step == c.NSJ_SPAWN_STACK
"""
    )


def test_signals_of_the_caller_are_as_before(spawn_probe: Spawner) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    process.wait(spawn_probe().child.pidfd)
    after = signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert after == before | {signal.SIGUSR1}


def test_caller_that_is_not_dumpable(as_user: OrdinaryUser, user_namespaces: None) -> None:
    """While the memory is shared, the child's files in /proc belong to root."""
    as_user.python(
        """
import os
from nsjail_py.linux import constants as c, files, process
process.prctl(c.PR_SET_DUMPABLE, 0)
writes = [("setgroups", b"deny"), ("uid_map", b"0 %d 1" % os.getuid())]
end, hold = os.pipe()
os.dup2(end, 0)
child = process.spawn(files.sealed_executable("/bin/cat"), [0], c.CLONE_NEWUSER, writes=writes)
os.close(hold)
assert process.wait(child.pidfd).returncode == 0
assert process.prctl(c.PR_GET_DUMPABLE) == 0
"""
    )


@pytest.mark.root
def test_birth_in_a_control_group(spawn_probe: Spawner) -> None:
    tree = next((mount.target for mount in mounts.mountinfo() if mount.kind == "cgroup2"), None)
    if tree is None:
        pytest.skip("no cgroup2 is mounted")
    group = Path(tree, f"nsjail_py-test-{os.getpid()}")
    group.mkdir()
    directory = os.open(group, os.O_RDONLY | os.O_DIRECTORY)
    try:
        child = spawn_probe("w", cgroup=directory).child
        assert f"0::/{group.name}\n" in Path(f"/proc/{child.pid}/cgroup").read_text()
        process.pidfd_send_signal(child.pidfd, signal.SIGKILL)
        process.wait(child.pidfd)
    finally:
        os.close(directory)
        group.rmdir()


def test_birth_in_something_that_is_no_control_group(probe: int) -> None:
    null = os.open("/dev/null", os.O_RDONLY)
    error = failed(lambda: process.spawn(probe, [0], cgroup=null))
    os.close(null)
    assert (error.step, error.errno) == (c.NSJ_SPAWN_CLONE, errno.EBADF)


def test_many_threads_at_once(probe: int) -> None:
    null = os.open("/dev/null", os.O_RDWR)
    codes: list[int] = []

    def run() -> None:
        for _ in range(20):
            child = process.spawn(probe, [null] * 4)
            ended = process.wait(child.pidfd)
            os.close(child.pidfd)
            assert ended is not None
            codes.append(ended.returncode)

    threads = [threading.Thread(target=run) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.close(null)
    assert codes == [7] * 320


def test_child_shows_what_it_is() -> None:
    assert repr(process.Child()) == "Child(pid=-1, pidfd=-1)"


def test_wait_tells_a_signal(spawn_probe: Spawner) -> None:
    ended = process.wait(spawn_probe("k").child.pidfd)
    assert ended is not None
    assert ended.returncode == -signal.SIGKILL
    assert ended.status == signal.SIGKILL


def test_wait_without_blocking(spawn_probe: Spawner) -> None:
    child = spawn_probe("w").child
    assert process.wait(child.pidfd, block=False) is None
    process.pidfd_send_signal(child.pidfd, signal.SIGTERM)
    process.pidfd_send_signal(child.pidfd, signal.SIGKILL)
    ended = process.wait(child.pidfd)
    assert ended is not None
    assert ended.returncode == -signal.SIGKILL
    with pytest.raises(ProcessLookupError, match="pidfd_send_signal: No such process"):
        process.pidfd_send_signal(child.pidfd, signal.SIGTERM)


def test_wait_tells_what_was_used(spawn_probe: Spawner) -> None:
    ended = process.wait(spawn_probe().child.pidfd)
    assert ended is not None
    assert ended.peak_kib > 100
    assert ended.user_us + ended.system_us > 0


def test_wait_where_sigchld_is_ignored() -> None:
    """The kernel reaps the child; its status is asked of the pidfd, or, before Linux 6.15, lost."""
    said = run_script(
        """
import signal
from nsjail_py.linux import files, process
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in range(20):
    child = process.spawn(files.sealed_executable("/bin/false"), [0])
    try:
        print(process.wait(child.pidfd).returncode)
    except ChildProcessError:
        print("lost")
"""
    ).split()
    assert said == (["1"] if Host.probe().kernel >= (6, 15) else ["lost"]) * 20


def test_wait_for_a_process_that_is_no_child() -> None:
    pidfd = process.pidfd_open(os.getpid())
    with pytest.raises(ChildProcessError):
        process.wait(pidfd)
    os.close(pidfd)


def test_pidfd_open_without_such_a_process() -> None:
    with pytest.raises(ProcessLookupError, match="pidfd_open: No such process"):
        process.pidfd_open(2**22 + 1)


def test_pidfd_getfd_copies_a_descriptor() -> None:
    pidfd = process.pidfd_open(os.getpid())
    ours = files.sealed_memfd("x", b"contents")
    copy = process.pidfd_getfd(pidfd, ours)
    assert os.pread(copy, 8, 0) == b"contents"
    with pytest.raises(OSError, match="pidfd_getfd: Bad file descriptor"):
        process.pidfd_getfd(pidfd, 100_000)
    for fd in (pidfd, ours, copy):
        os.close(fd)


def test_prctl() -> None:
    assert process.prctl(c.PR_CAPBSET_READ, c.CAP_CHOWN) == caps.bounding() >> c.CAP_CHOWN & 1
    with pytest.raises(OSError, match="prctl: Invalid argument"):
        process.prctl(2**31 - 1)
