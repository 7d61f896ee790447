"""The records of running sandboxes: small JSON files in a directory that only their owner can enter.

A record is believed only where it belongs to the effective user, was opened without following a link, and names a
process that still is the one it was: pid, start time and boot id agree.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Any

import msgspec

from nsjail_py.linux import procfs


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """One sandbox.

    :param name: its name
    :param init: host pid of its init, or of the payload where that is pid 1
    :param init_started: start time of that process, in clock ticks after boot (field 22 of ``/proc/PID/stat``)
    :param payload: host pid of the payload
    :param owner: pid of the process that started it
    :param owner_started: that process's start time
    :param boot: the boot id
    :param created: seconds since the epoch
    :param argv: the command
    :param facts: the united facts of its plan
    :param spec: the spec, encoded as JSON
    """

    name: str
    init: int
    init_started: int
    payload: int
    owner: int
    owner_started: int
    boot: str
    created: float
    argv: tuple[str, ...]
    facts: dict[str, Any]
    spec: str

    @property
    def alive(self) -> bool:
        """Whether the sandbox is still running."""
        try:
            return self.boot == procfs.boot_id() and procfs.start_time(self.init) == self.init_started
        except OSError:
            return False


_checked: set[str] = set()


def state_directory() -> str:
    """The directory for run-time state, made where it is missing.

    ``/run/nsjail-py`` for root, ``$XDG_RUNTIME_DIR/nsjail-py`` for others, ``/tmp/nsjail-py-UID`` where there is none.

    :raises OSError: it exists and is not a directory of this user's alone
    """
    uid = os.geteuid()
    if uid == 0:
        path = "/run/nsjail-py"
    elif runtime := os.environ.get("XDG_RUNTIME_DIR"):
        path = os.path.join(runtime, "nsjail-py")
    else:
        path = f"/tmp/nsjail-py-{uid}"
    if path not in _checked or not os.path.isdir(path):
        _make_private(path, uid)
        _checked.add(path)
    return path


def _make_private(path: str, uid: int) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o077:
        raise PermissionError(1, f"not a directory that belongs to uid {uid} alone (mode 0700)", path)


def _path(name: str) -> str:
    return os.path.join(state_directory(), f"{name}.json")


def save(record: Running) -> None:
    """Write a record. Raises FileExistsError where a running sandbox has the name."""
    path = _path(record.name)
    fresh = f"{path}.{os.getpid()}"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(msgspec.json.encode(record))
        try:
            os.link(fresh, path)
        except FileExistsError:
            if (other := load(record.name)) is not None and other.alive:
                raise FileExistsError(17, f"a sandbox named {record.name} is running", path) from None
            os.rename(fresh, path)
            return
    finally:
        if os.path.exists(fresh):
            os.unlink(fresh)


def load(name: str) -> Running | None:
    """The record of a name, or ``None`` where there is none that can be believed."""
    try:
        fd = os.open(_path(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        if found.st_uid != os.geteuid() or not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077:
            return None
        try:
            return msgspec.json.decode(file.read(), type=Running)
        except msgspec.MsgspecError:
            return None


def remove(name: str) -> None:
    """Forget a sandbox."""
    try:
        os.unlink(_path(name))
    except FileNotFoundError:
        pass


def records() -> Iterator[Running]:
    """Every record that can be believed, running or not."""
    for entry in sorted(os.listdir(state_directory())):
        if entry.endswith(".json") and (record := load(entry.removesuffix(".json"))) is not None:
            yield record


def pid_of(name: str) -> int:
    """Host pid of the payload of a running sandbox. Raises LookupError where none of that name is running."""
    record = load(name)
    if record is None or not record.alive:
        raise LookupError(f"no sandbox named {name} is running")
    return record.payload
