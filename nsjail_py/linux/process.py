"""Processes by descriptor: start the stage, send signals, wait.

A pid can be given to a stranger once its process has been waited for; a pidfd cannot. Nothing here installs a SIGCHLD
handler or waits for a child that it was not asked about. See clone(2), pidfd_open(2), waitid(2).
"""

from __future__ import annotations

import errno
import os
from signal import SIGKILL

from nsjail_py.linux import constants as c
from nsjail_py.linux.call import check, failure, ffi, lib
from nsjail_py.linux.procfs import children, parent
from nsjail_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

_SPAWN_CALLS = {
    c.NSJ_SPAWN_STACK: "mmap of the child's stack",
    c.NSJ_SPAWN_CLONE: "clone3",
    c.NSJ_SPAWN_SLOTS: "dup of a descriptor into its slot",
    c.NSJ_SPAWN_EXEC: "execveat of the stage",
    c.NSJ_SPAWN_MAP: "write",
}


#: Children that fork faster than they are killed are left to the limit on their number.
_MOST_ROUNDS = 100


class SpawnError(OSError):
    """The stage could not be started; no child is left.

    :ivar step: which of ``NSJ_SPAWN_*``
    :ivar file: for NSJ_SPAWN_MAP, the file of ``/proc/PID`` that could not be written
    """

    step: int
    file: str | None


class Child:
    """A process that :func:`spawn` starts.

    :ivar pid: its process id in the caller's pid namespace, -1 before
    :ivar pidfd: its descriptor, which the caller closes; -1 before
    """

    __slots__ = ("_request",)

    def __init__(self) -> None:
        self._request = ffi.new("struct nsj_spawn *", {"pid": -1, "pidfd": -1})

    @property
    def pid(self) -> int:
        pid: int = self._request.pid
        return pid

    @property
    def pidfd(self) -> int:
        pidfd: int = self._request.pidfd
        return pidfd

    def __repr__(self) -> str:
        return f"Child(pid={self.pid}, pidfd={self.pidfd})"


def spawn(
    stage: int,
    slots: Sequence[int],
    flags: int = 0,
    *,
    cgroup: int = -1,
    report: int = -1,
    writes: Sequence[tuple[str, bytes]] = (),
    release_gate: int = 0,
    keep: int = 0,
    child: Child | None = None,
) -> Child:
    """Execute the stage in a new process and new namespaces, without a copy of the calling one.

    :param stage: a descriptor of the executable
    :param slots: descriptors; number *i* becomes descriptor ``NSJ_SLOT_BASE + i`` of the stage, -1 leaves it empty
    :param flags: ``CLONE_NEW*``
    :param cgroup: a directory of cgroup v2 to be born in, as a descriptor
    :param report: the caller's end of the report socket, on which the release goes out
    :param writes: files of ``/proc/PID`` and what to write to each: ``setgroups``, ``uid_map``, ``gid_map``
    :param release_gate: the gate that is released after the writes; 0: none
    :param keep: the mask of capabilities that the stage has in a new user namespace, each at the cost of a
        microsecond; 0: all
    :param child: what becomes the child. Whoever holds it loses no process to a signal handler that raises: one that
        was due while C ran is called before Python has seen the result
    :returns: the child, which has executed the stage when this returns
    :raises SpawnError: with the step that failed
    """
    child = child or Child()
    request = child._request
    descriptors = ffi.new("int32_t[]", slots)
    request.stage = stage
    request.slots = descriptors
    request.nslots = len(slots)
    request.flags = flags
    request.cgroup = cgroup
    request.report = report
    request.release_gate = release_gate
    request.keep = keep
    if writes:
        held = file_writes(writes)
        request.writes = held[0]
        request.nwrites = len(writes)
    code = lib.nsj_spawn(request)
    if code < 0:
        raise _spawn_error(code, request, writes)
    return child


def file_writes(writes: Sequence[tuple[str, bytes]]) -> tuple[object, ...]:
    """The C array, first, and what must live as long as it does."""
    array = ffi.new("struct nsj_file_write[]", len(writes))
    keep: list[object] = [array]
    for entry, (name, text) in zip(array, writes, strict=True):
        owners = ffi.new("char[]", name.encode()), ffi.from_buffer(text)
        entry.name, entry.text = owners  # plain pointers, which keep nothing alive
        entry.length = len(text)
        keep += owners
    return tuple(keep)


def _spawn_error(code: int, request: Any, writes: Sequence[tuple[str, bytes]]) -> SpawnError:
    step: int = request.step
    index: int = request.write_failed
    file = writes[index][0] if step == c.NSJ_SPAWN_MAP and index >= 0 else None
    call = _SPAWN_CALLS.get(step, "spawn") + (f" of {file}" if file else "")
    error = SpawnError(-code, f"{call}: {os.strerror(-code)}")
    error.step, error.file = step, file
    return error


def pidfd_open(pid: int, flags: int = 0) -> int:
    """A descriptor for a process.

    :param pid: its process id
    :param flags: ``PIDFD_NONBLOCK``, ``PIDFD_THREAD``
    :returns: a descriptor that polls as readable when the process has ended
    :raises OSError: ESRCH where there is no such process

    >>> import os
    >>> pidfd = pidfd_open(os.getpid())
    >>> pidfd_send_signal(pidfd, 0)
    >>> os.close(pidfd)
    """
    return check(lib.nsj_pidfd_open(pid, flags), "pidfd_open")


def only_child(pid: int) -> int:
    """A descriptor for the one child of a process, which is the only one that it ever has.

    :param pid: a process with one thread, which is a child of the caller and so keeps its pid
    :returns: a descriptor, or -1 where the child has ended, or this kernel has no list of children (proc_pid_task(5))
    """
    path = f"/proc/{pid}/task/{pid}/children"
    pidfd = -1
    try:
        with open(path, encoding="ascii") as file:
            child = int(file.read())
        pidfd = pidfd_open(child)
        # its pid has not been given to another process where it is still listed
        with open(path, encoding="ascii") as file:
            if int(file.read()) == child:
                return pidfd
    except (OSError, ValueError):
        pass
    if pidfd >= 0:
        os.close(pidfd)
    return -1


def kill_below(pid: int, pidfd: int) -> None:
    """SIGKILL to all that descends from a child of the caller, until nothing new is found; not to the child itself.

    :param pid: the child
    :param pidfd: the same: once it has been waited for, nothing is done any more
    """
    before: set[int] = set()
    for _ in range(_MOST_ROUNDS):
        found = set(_descendants(pid))
        if found == before:  # those are dead, and not reaped yet
            break
        for each in found - before:
            _kill_below(each, pid, pidfd)
        before = found


def _descendants(pid: int) -> Iterator[int]:
    try:
        for child in children(pid):
            yield child
            yield from _descendants(child)
    except OSError:  # it has ended since
        return


def _kill_below(pid: int, top: int, top_pidfd: int) -> None:
    """Kill a process if it still descends from ``top`` now that a descriptor says which process is meant."""
    try:
        pidfd = pidfd_open(pid)
    except OSError:
        return
    try:
        above = pid
        while above > 1 and above != top:
            above = parent(above)
        pidfd_send_signal(top_pidfd, 0)  # nobody has waited for it: its pid has been its own all the time
        if above == top:
            pidfd_send_signal(pidfd, SIGKILL)
    except OSError:  # it has ended since, or is another user's
        pass
    finally:
        os.close(pidfd)


def pidfd_send_signal(pidfd: int, signal: int, flags: int = 0) -> None:
    """Send a signal to the process behind a pidfd; signal 0 only asks whether that is possible.

    :param flags: ``PIDFD_SIGNAL_*``: the thread, the process, or its process group (Linux 6.9)
    :raises OSError: ESRCH where it has ended and been waited for, EPERM
    """
    check(lib.nsj_pidfd_send_signal(pidfd, signal, flags), "pidfd_send_signal")


def pidfd_getfd(pidfd: int, fd: int) -> int:
    """Copy a descriptor out of another process.

    :param fd: its number there
    :returns: a descriptor of the same open file
    :raises OSError: EBADF where it is not open there, EPERM where the caller may not trace that process
    """
    return check(lib.nsj_pidfd_getfd(pidfd, fd, 0), "pidfd_getfd")


def prctl(option: int, first: int = 0, second: int = 0, third: int = 0, fourth: int = 0) -> int:
    """Ask about or change the calling thread or process.

    :param option: ``PR_*``
    :param first: and the others: what the option wants
    :returns: what the option gives
    :raises OSError: as in prctl(2)

    >>> prctl(c.PR_GET_DUMPABLE)
    1
    """
    return check(lib.nsj_prctl(option, first, second, third, fourth), "prctl")


class Exit(Record):
    """How a process ended.

    :param status: as wait(2) encodes it
    :param user_us: processor time in user mode, in microseconds, of it and the children that it waited for
    :param system_us: the same in the kernel
    :param peak_kib: the largest resident set of any of them, in KiB; for a child of :func:`spawn` also that of the
        caller, in whose memory it began
    """

    status: int
    user_us: int = 0
    system_us: int = 0
    peak_kib: int = 0

    @property
    def returncode(self) -> int:
        """The exit status, or -n for a process that died of signal n.

        >>> Exit(status=9).returncode, Exit(status=3 << 8).returncode
        (-9, 3)
        """
        return os.waitstatus_to_exitcode(self.status)


def wait(pidfd: int, *, block: bool = True) -> Exit | None:
    """Wait for the child behind a pidfd and reap it.

    A caller that ignores SIGCHLD has its children reaped by the kernel; their status is then asked of the pidfd
    (Linux 6.15), and their usage is lost.

    :param block: ``False``: return at once
    :returns: how it ended; ``None`` where it is still running and ``block`` is false
    :raises OSError: ECHILD where it is not a child of the caller, or its status is lost
    """
    out = ffi.new("struct nsj_wait *")
    options = c.WEXITED | c.WALL | (0 if block else c.WNOHANG)
    code = lib.nsj_waitid(pidfd, options, out)
    while code == -errno.EINTR:
        code = lib.nsj_waitid(pidfd, options, out)  # handlers have run between the two
    if code == -errno.ECHILD:
        return _reaped_by_kernel(pidfd, block)
    check(code, "waitid")
    if out.pid == 0:
        return None
    status = out.status << 8 if out.code == c.CLD_EXITED else out.status
    if out.code == c.CLD_DUMPED:
        status |= 0x80
    return Exit(status, out.user_us, out.system_us, out.peak_kib)


def _reaped_by_kernel(pidfd: int, block: bool) -> Exit | None:
    info = ffi.new("struct nsj_pidfd_info *")
    while True:
        info.mask = c.PIDFD_INFO_EXIT | c.PIDFD_INFO_PID
        if lib.nsj_pidfd_info(pidfd, info) < 0:
            raise failure(-errno.ECHILD, "waitid")
        if info.mask & c.PIDFD_INFO_EXIT:
            return Exit(info.exit_code & 0xFFFF)
        if info.ppid != os.getpid():
            raise failure(-errno.ECHILD, "waitid")
        if not block:
            return None
        # The kernel is just about to reap it; the descriptor hangs up when it has.
        from select import poll

        hangup = poll()
        hangup.register(pidfd, 0)
        hangup.poll()
