"""What /proc says of a process. See proc(5).

A pid may be given to another process at any time unless the caller has not yet waited for it: who keeps a pid keeps
:func:`start_time` and :func:`boot_id` with it.
"""

from __future__ import annotations

import os


def status(pid: int | None = None) -> dict[str, str]:
    """The fields of ``/proc/PID/status``.

    :param pid: a process; ``None``: the calling thread
    :raises OSError: ENOENT or ESRCH where there is no such process

    >>> status()["Pid"] == status()["NSpid"].split()[0]
    True
    """
    with open(f"/proc/{'thread-self' if pid is None else pid}/status", "rb") as file:
        lines = os.fsdecode(file.read()).splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot: with the pid and the boot id, a name that is never reused."""
    return int(_stat(pid)[19])


def lives(pid: int, started: int) -> bool:
    """Whether a process still runs: it has not ended, and its number has not been given to another.

    :param started: its :func:`start_time`
    """
    try:
        fields = _stat(pid)
    except OSError:
        return False
    return int(fields[19]) == started and fields[0] not in ("Z", "X")


def parent(pid: int) -> int:
    """The process id of a process's parent; 0 where that is outside the pid namespace."""
    return int(_stat(pid)[1])


def _stat(pid: int) -> list[str]:
    """The fields of ``/proc/PID/stat`` from the third, state, on. The second is a name that may hold anything."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return os.fsdecode(file.read()).rpartition(")")[2].split()


def boot_id() -> str:
    """A word that is made anew at each boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def children(pid: int) -> list[int]:
    """The process ids of a process's children, whichever of its threads started them.

    It is a snapshot, and complete only while none of them ends: see proc_pid_task(5).
    """
    found: list[int] = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
        except FileNotFoundError:
            continue  # the thread has ended since
    return found


def sysctl(name: str) -> str | None:
    """A setting of the kernel; ``None`` where it has none of that name, or does not tell this user.

    :param name: its path below ``/proc/sys``

    >>> sysctl("kernel/ostype")
    'Linux'
    """
    try:
        with open(f"/proc/sys/{name}", "rb") as file:
            return os.fsdecode(file.read()).strip()
    except OSError:
        return None


def pid_of_pidfd(pidfd: int) -> int | None:
    """The process id behind a pidfd; ``None`` where the process has been waited for, or is not in this namespace.

    >>> from nsjail_py.linux.process import pidfd_open
    >>> pidfd = pidfd_open(os.getpid())
    >>> pid_of_pidfd(pidfd) == os.getpid()
    True
    >>> os.close(pidfd)
    """
    with open(f"/proc/self/fdinfo/{pidfd}", encoding="ascii") as file:
        pid = next(int(line.split()[1]) for line in file if line.startswith("Pid:"))
    return pid if pid > 0 else None
