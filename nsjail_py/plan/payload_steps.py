"""The steps that make the payload out of a process that is set up: its limits, session, rights, filter and program.

Plugin authors find them in ``steps``, with all others.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence

from nsjail_py.linux import constants as c
from nsjail_py.plan.part import Argument, Data, Descriptors, Fill, Slot, Step
from nsjail_py.plan.phases import Phase


def execute(candidates: Sequence[str], argv: Sequence[str | bytes], env: Mapping[str, str]) -> Step:
    """Execute the first of the candidate paths that exists.

    :param candidates: absolute paths, or paths relative to the working directory
    :param argv: the argument vector
    :param env: the whole environment
    """
    return Step(
        op=c.NSJ_OP_EXEC,
        args=(tuple(candidates), tuple(argv), tuple(f"{name}={value}" for name, value in env.items())),
        phase=Phase.EXEC,
        text=f"execute {candidates[0] if len(candidates) == 1 else argv[0]!s}",
        path=candidates[0] if len(candidates) == 1 else str(argv[0]),
    )


def pty(slave: Slot, rows: int, columns: int) -> Step:
    """A terminal from the sandbox's own devpts; its master is reported to the owner."""
    return Step(
        op=c.NSJ_OP_PTY,
        args=(Fill(slave), rows << 16 | columns),
        phase=Phase.SESSION,
        rank=-20,
        text=f"open a terminal of {columns}x{rows} from the sandbox's own devpts",
        path="/dev/pts/ptmx",
    )


def rlimit(name: str, soft: int, hard: int) -> Step:
    """A resource limit (setrlimit(2)).

    :param name: such as ``nofile``
    :param soft: in the limit's own unit; ``RLIM_INFINITY`` for none
    :param hard: the same
    """
    number: int = getattr(c, f"RLIMIT_{name.upper()}")
    return Step(op=c.NSJ_OP_RLIMIT, args=(number, soft, hard), phase=Phase.LIMIT, text=f"rlimit {name} {soft}:{hard}")


def priority(nice: int) -> Step:
    """The nice value (setpriority(2))."""
    return Step(op=c.NSJ_OP_PRIORITY, args=(nice,), phase=Phase.LIMIT, text=f"nice {nice}")


def scheduler(policy: int, static_priority: int) -> Step:
    """The scheduling policy (sched_setscheduler(2)).

    :param policy: ``SCHED_*``
    :param static_priority: 0 but for the real-time policies
    """
    text = f"scheduler {policy}, priority {static_priority}"
    return Step(op=c.NSJ_OP_SCHEDULER, args=(policy, static_priority), phase=Phase.LIMIT, text=text)


def affinity(cpus: Iterable[int]) -> Step:
    """The processors that it may run on (sched_setaffinity(2))."""
    listed = sorted(set(cpus))
    mask = sum(1 << cpu for cpu in listed)
    size = (mask.bit_length() + 63) // 64 * 8
    text = f"processors {', '.join(map(str, listed))}"
    return Step(op=c.NSJ_OP_AFFINITY, args=(Data(mask.to_bytes(size, "little")),), phase=Phase.LIMIT, text=text)


def io_priority(value: int) -> Step:
    """The I/O class and priority (ioprio_set(2)).

    :param value: class << 13 | level
    """
    return Step(
        op=c.NSJ_OP_IOPRIO, args=(value,), phase=Phase.LIMIT, text=f"io priority {value >> 13}:{value & 0x1FFF}"
    )


def keyring() -> Step:
    """A session keyring of its own, empty (keyctl(2))."""
    return Step(op=c.NSJ_OP_KEYRING, phase=Phase.SESSION, text="new session keyring", rank=-25)


def subreaper(value: bool) -> Step:
    """Whether orphans below it become its children (PR_SET_CHILD_SUBREAPER, prctl(2))."""
    text = f"subreaper {'on' if value else 'off'}"
    return Step(op=c.NSJ_OP_SUBREAPER, args=(int(value),), phase=Phase.SESSION, text=text)


def seccomp(program: bytes, *, flags: int = 0, listener: Slot | None = None, text: str = "filter system calls") -> Step:
    """A filter of system calls (seccomp(2)).

    :param program: an array of ``struct sock_filter``
    :param flags: ``SECCOMP_FILTER_FLAG_*``
    :param listener: with ``SECCOMP_FILTER_FLAG_NEW_LISTENER``, where its descriptor goes; it is reported to the owner
    """
    args: tuple[Argument, ...] = (Data(program), flags, Fill(listener) if listener is not None else None)
    return Step(op=c.NSJ_OP_SECCOMP, args=args, phase=Phase.FILTER, text=text)


def setsid() -> Step:
    """A session of its own (setsid(2))."""
    return Step(op=c.NSJ_OP_SETSID, phase=Phase.SESSION, text="new session", rank=-30)


def terminal(slot: Slot) -> Step:
    """Make a terminal the session's controlling one."""
    return Step(op=c.NSJ_OP_TERMINAL, args=(slot,), phase=Phase.SESSION, text="controlling terminal", rank=-10)


def descriptors(numbers: Mapping[int, Slot]) -> Step:
    """The payload's descriptors; every other is closed by the exec.

    :param numbers: descriptor of the payload to slot; 0, 1 and 2 must be among them
    """
    pairs = tuple(sorted(numbers.items(), key=lambda pair: pair[0]))
    return Step(
        op=c.NSJ_OP_DESCRIPTORS,
        args=(Descriptors(pairs),),
        phase=Phase.EXEC,
        rank=-10,
        text=f"descriptors {', '.join(str(number) for number, _ in pairs)}; close all others",
    )


def chdir(paths: Sequence[str]) -> Step:
    """The working directory: the first of these that exists."""
    text = f"working directory {paths[0]}" + (f", or else {', '.join(paths[1:])}" if len(paths) > 1 else "")
    return Step(op=c.NSJ_OP_CHDIR, args=(tuple(paths),), phase=Phase.SESSION, text=text, path=paths[0], rank=20)


def umask(mode: int) -> Step:
    """The file mode creation mask."""
    return Step(op=c.NSJ_OP_UMASK, args=(mode,), phase=Phase.SESSION, text=f"umask {mode:04o}", rank=30)


def groups(gids: Sequence[int]) -> Step:
    """The supplementary groups, replacing all others (setgroups(2))."""
    value = Data(struct.pack(f"={len(gids)}I", *gids)) if gids else None
    text = f"supplementary groups {', '.join(map(str, gids))}" if gids else "no supplementary groups"
    return Step(op=c.NSJ_OP_GROUPS, args=(value,), phase=Phase.PRIVILEGE, text=text, rank=20)


def ids(uid: int, gid: int) -> Step:
    """Real, effective and saved ids."""
    return Step(op=c.NSJ_OP_IDS, args=(uid, gid), phase=Phase.PRIVILEGE, text=f"become {uid}:{gid}", rank=30)


def bounding_set(mask: int, text: str) -> Step:
    """Drop every capability but those of the mask from the bounding set."""
    return Step(op=c.NSJ_OP_BOUND, args=(mask,), phase=Phase.PRIVILEGE, text=f"bounding set: {text}", rank=10)


def capabilities(effective: int, permitted: int, inheritable: int, ambient: int, text: str) -> Step:
    """Set the four sets to exactly these masks."""
    return Step(
        op=c.NSJ_OP_CAPS,
        args=(effective, permitted, inheritable, ambient),
        phase=Phase.PRIVILEGE,
        text=f"capabilities: {text}",
        rank=50,
    )


def securebits(bits: int) -> Step:
    """Set the securebits (capabilities(7))."""
    return Step(op=c.NSJ_OP_SECUREBITS, args=(bits,), phase=Phase.PRIVILEGE, text=f"securebits {bits:#x}", rank=15)


def no_new_privs() -> Step:
    """Set-user-id programs and file capabilities raise nothing from here on (prctl(2))."""
    return Step(op=c.NSJ_OP_NO_NEW_PRIVS, phase=Phase.PRIVILEGE, text="no new privileges", rank=60)


def dumpable(value: bool) -> Step:
    """Whether others of the same uid may read and trace the process until it executes (prctl(2))."""
    return Step(
        op=c.NSJ_OP_DUMPABLE,
        args=(int(value),),
        phase=Phase.PRIVILEGE,
        text=f"dumpable {'on' if value else 'off'}",
        rank=70,
    )
