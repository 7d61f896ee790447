"""The records of running sandboxes: small JSON files in a directory that only their owner can enter.

A record is believed only where it belongs to the effective user, was opened without following a link, and names a
process that still is the one it was: pid, start time and boot id agree. It is written before the sandbox leaves
anything on the host and removed after everything is undone, so that a later sweep finds whatever a crash left.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from nsjail_py.linux import procfs

#: What a name may be: it becomes a file name (``spec.units`` says the same of ``name:`` modes).
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

#: No record is larger; what is, was planted.
MAX_RECORD = 4 << 20

#: A file that is being written lives for microseconds; one of this age in seconds was left by a crash.
UNFINISHED_AGE = 60


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """One sandbox.

    :param name: its name
    :param init: host pid of its init, or of the payload where that is pid 1; 0: it is being started
    :param init_started: start time of that process, in clock ticks after boot (field 22 of ``/proc/PID/stat``)
    :param payload: host pid of the payload
    :param owner: pid of the process that started it
    :param owner_started: that process's start time
    :param boot: the boot id
    :param pids: the inode of the pid namespace in which the pids are meant
    :param created: seconds since the epoch
    :param argv: the command
    :param facts: the united facts of its plan
    :param spec: the spec, encoded as JSON
    :param plugins: the plugins by someone else that took part in the plan
    """

    name: str
    init: int
    init_started: int
    payload: int
    owner: int
    owner_started: int
    boot: str
    pids: int = 0
    created: float
    argv: tuple[str, ...]
    facts: dict[str, Any]
    spec: str
    plugins: tuple[str, ...] = ()

    @property
    def alive(self) -> bool:
        """Whether the sandbox runs, as far as can be seen from this pid namespace."""
        return self.init > 0 and self._here and procfs.lives(self.init, self.init_started)

    @property
    def abandoned(self) -> bool:
        """Whether nobody is left to undo what it left: its owner has ended, or the machine was started anew.

        Of a pid namespace other than this one nothing can be said, so nothing is abandoned.
        """
        if self.boot != procfs.boot_id():
            return True
        return self._here and not procfs.lives(self.owner, self.owner_started)

    @property
    def _here(self) -> bool:
        return self.boot == procfs.boot_id() and self.pids == pid_namespace()


def pid_namespace() -> int:
    """The inode that tells this process's pid namespace from others."""
    return os.stat("/proc/self/ns/pid").st_ino


def valid_name(name: str) -> bool:
    """Whether a sandbox can have this name."""
    return _NAME.fullmatch(name) is not None


# ---- where they are ----


def state_directory(*, make: bool = True) -> str:
    """The directory for run-time state.

    ``/run/nsjail-py`` for root, ``$XDG_RUNTIME_DIR/nsjail-py`` for others, ``/tmp/nsjail-py-UID`` where there is none.

    :param make: make it where it is missing; who only looks leaves nothing behind
    :raises OSError: it exists and is not a directory of this user's alone
    """
    uid = os.geteuid()
    if uid == 0:
        path = "/run/nsjail-py"
    elif runtime := os.environ.get("XDG_RUNTIME_DIR"):
        path = os.path.join(runtime, "nsjail-py")
    else:
        path = f"/tmp/nsjail-py-{uid}"
    if make:
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
    # each time: in /tmp, what a cleaner has removed anybody may put back
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o077:
        raise PermissionError(errno.EPERM, f"not a directory that belongs to uid {uid} alone (mode 0700)", path)
    return path


def _path(name: str, *, make: bool = False) -> str:
    if not valid_name(name):
        raise ValueError(f"not a name for a sandbox: {name!r}")
    return os.path.join(state_directory(make=make), f"{name}.json")


def _entries() -> list[str]:
    try:
        return sorted(os.listdir(state_directory(make=False)))
    except FileNotFoundError:
        return []


@contextmanager
def _locked() -> Iterator[None]:
    """One writer at a time (flock(2) on the directory; the kernel lets go of it when the holder dies)."""
    fd = os.open(state_directory(), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


# ---- reading and writing them ----


def create(record: Running) -> None:
    """Put a sandbox on record. A file that cannot be believed gives way.

    :raises FileExistsError: there is a record of that name; what it left has not been swept
    """
    path = _path(record.name, make=True)
    with _locked():
        if load(record.name) is not None:
            raise FileExistsError(errno.EEXIST, f"a sandbox named {record.name} is on record", path)
        _write(path, record)


def replace(record: Running) -> None:
    """Write the record of a sandbox anew; it must be the caller's."""
    _write(_path(record.name), record)


def _write(path: str, record: Running) -> None:
    folder, name = os.path.split(path)
    # the dot keeps it apart from every record; another thread may be writing another one
    fresh = os.path.join(folder, f".{name}.{os.getpid()}.{os.urandom(4).hex()}")
    data = msgspec.json.encode(record)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(data)
        os.rename(fresh, path)
    except BaseException:
        os.unlink(fresh)
        raise


def load(name: str) -> Running | None:
    """The record of a name, or ``None`` where there is none that can be believed."""
    try:
        fd = _open(_path(name))
    except (OSError, ValueError):
        return None
    try:
        return _believed(fd, name)
    finally:
        os.close(fd)


def _open(path: str) -> int:
    # without O_NONBLOCK a planted FIFO would stop the reader
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def _believed(fd: int, name: str) -> Running | None:
    found = os.fstat(fd)
    if found.st_uid != os.geteuid() or not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077:
        return None
    data = os.pread(fd, MAX_RECORD + 1, 0)
    if len(data) > MAX_RECORD:
        return None
    try:
        record = msgspec.json.decode(data, type=Running)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return record if record.name == name else None


def remove(name: str) -> None:
    """Forget a sandbox."""
    try:
        os.unlink(_path(name))
    except FileNotFoundError:
        pass


def records() -> Iterator[Running]:
    """Every record that can be believed, running or not."""
    for entry in _entries():
        if entry.endswith(".json") and (record := load(entry.removesuffix(".json"))) is not None:
            yield record


@contextmanager
def claimed(name: str) -> Iterator[Running | None]:
    """Hold a record against all other sweepers; ``None`` where another has it, or it is gone.

    The lock is on the file, and the kernel lets go of it when the holder dies.
    """
    try:
        fd = _open(_path(name))
    except OSError:
        yield None
        return
    try:
        yield _believed(fd, name) if _claim(fd, name) else None
    finally:
        os.close(fd)


def _claim(fd: int, name: str) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # who held it before may have removed it, and another sandbox may have taken the name
        return os.path.samestat(os.fstat(fd), os.lstat(_path(name)))
    except (BlockingIOError, FileNotFoundError):
        return False


def remove_unfinished() -> list[str]:
    """Remove what a crash left of records that were being written.

    :returns: the paths of the files removed
    """
    oldest = time.time() - UNFINISHED_AGE
    removed = []
    for entry in _entries():
        if not entry.startswith("."):
            continue
        path = os.path.join(state_directory(make=False), entry)
        try:
            if os.lstat(path).st_mtime < oldest:
                os.unlink(path)
                removed.append(path)
        except FileNotFoundError:
            continue  # its writer lives and has just finished
    return removed


def pid_of(name: str) -> int:
    """Host pid of the payload of a running sandbox. Raises LookupError where none of that name is running."""
    record = load(name)
    if record is None or not record.alive or not _payload_lives(record):
        raise LookupError(f"no sandbox named {name} is running")
    return record.payload


def _payload_lives(record: Running) -> bool:
    """Whether the payload's pid is still its own: what descends from a living init is in the sandbox, whoever it is."""
    pid = record.payload
    try:
        while pid > 1 and pid != record.init:
            pid = procfs.parent(pid)
    except OSError:
        return False
    return pid == record.init
