"""The payload's descriptors: what the caller asked for, made safe to hand to code nobody trusts."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterable, Mapping
from typing import Protocol

from nsjail_py.errors import Problem, SpecError
from nsjail_py.linux.files import read_only_clone

#: The same values as in ``subprocess``, which is not imported for them.
PIPE = -1
STDOUT = -2
DEVNULL = -3


class HasFileno(Protocol):
    """A file, a socket, or whatever else has a descriptor."""

    def fileno(self) -> int:
        """The descriptor."""


#: What each of stdin, stdout and stderr may be: ``None`` the caller's own, ``PIPE``, ``DEVNULL``, ``STDOUT`` (for
#: stderr), a descriptor, or a file object.
Stream = None | int | HasFileno

NAMES = ("stdin", "stdout", "stderr")


class Stdio:
    """Descriptors for a payload, and the caller's ends of its pipes.

    :param streams: what each of the numbers 0, 1 and 2 is to be; a number that is absent is not prepared
    :raises SpecError: a directory, a block device, an O_PATH descriptor, or one that is not open

    :ivar given: the payload's descriptors, by number
    :ivar ours: the caller's ends of the pipes, by number
    :ivar copies: pairs of descriptors (from, to) to be copied while it runs: a terminal of the caller's is never
        handed out itself
    """

    __slots__ = ("_ends", "_made", "_shared", "copies", "given", "ours")

    def __init__(self, streams: Mapping[int, Stream]) -> None:
        self.given: dict[int, int] = {}
        self.ours: dict[int, int] = {}
        self.copies: list[tuple[int, int]] = []
        self._made: list[int] = []
        self._ends: list[int] = []
        # one pipe for outputs that are one file of the caller's, so that their order is kept
        self._shared: dict[tuple[int, int], int] = {}
        # before anything is opened: it could get the number of a descriptor that the caller has closed
        missing = {number for number, stream in streams.items() if stream is None and not _is_open(number)}
        try:
            for number, stream in streams.items():
                self.given[number] = self._null() if number in missing else self._prepare(number, stream)
        except BaseException:
            self.close()
            raise

    def _prepare(self, number: int, stream: Stream) -> int:
        if stream is None:
            return self._checked(number, number)
        if not isinstance(stream, int):
            return self._checked(number, stream.fileno())
        if stream == PIPE:
            return self._pipe(number, self.ours)
        if stream == DEVNULL:
            return self._null()
        if stream == STDOUT and number == 2:
            return self.given[1]
        return self._checked(number, stream)

    def _checked(self, number: int, fd: int) -> int:
        found = check_descriptor(fd, NAMES[number])
        if stat.S_ISREG(found.st_mode):
            if number == 0:
                return self._reopened(fd)
            # whoever holds it could take the flag off and write over what was there before
            appends = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND
            return self._written(number, fd, found) if appends else fd
        if stat.S_ISCHR(found.st_mode) and os.isatty(fd):
            # keys typed into it, and what it answers, are the caller's alone (CVE-2017-5226)
            return self._read(fd) if number == 0 else self._written(number, fd, found)
        return fd

    def _reopened(self, fd: int) -> int:
        """A file that the payload only reads must not be writable through ``/proc/self/fd/0`` either."""
        try:
            clone = read_only_clone(f"/proc/self/fd/{fd}")
        except OSError:  # not root, or a file without a name
            return self._read(fd)
        try:
            fresh = self._own(os.open(f"/proc/self/fd/{clone}", os.O_RDONLY | os.O_CLOEXEC))
        except OSError:  # readable by the caller when it was opened, not any more
            return self._read(fd)
        finally:
            os.close(clone)
        os.lseek(fresh, os.lseek(fd, 0, os.SEEK_CUR), os.SEEK_SET)
        return fresh

    def _read(self, fd: int) -> int:
        ends: dict[int, int] = {}
        given = self._pipe(0, ends)
        self._ends.append(ends[0])
        self.copies.append((fd, ends[0]))
        return given

    def _written(self, number: int, fd: int, found: os.stat_result) -> int:
        file = found.st_dev, found.st_ino
        if file not in self._shared:
            ends: dict[int, int] = {}
            self._shared[file] = self._pipe(number, ends)
            self._ends.append(ends[number])
            self.copies.append((ends[number], fd))
        return self._shared[file]

    def _pipe(self, number: int, ends: dict[int, int]) -> int:
        read, write = os.pipe2(os.O_CLOEXEC)
        # or /dev/stdout could not be opened inside, by an id that is not the caller's (proc_pid_fd(5))
        os.fchmod(read, 0o666)
        theirs, ends[number] = (read, write) if number == 0 else (write, read)
        return self._own(theirs)

    def _null(self) -> int:
        return self._own(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))

    def _own(self, fd: int) -> int:
        self._made.append(fd)
        return fd

    def handed_over(self) -> None:
        """Close the payload's ends: it has them now."""
        while self._made:
            os.close(self._made.pop())

    def close(self) -> None:
        """Close everything."""
        self.handed_over()
        for fd in (*self.ours.values(), *self._ends):
            os.close(fd)
        self.ours.clear()
        self._ends.clear()
        self.copies.clear()

    def take_copies(self) -> tuple[list[tuple[int, int]], list[int]]:
        """The pairs to be copied, and the pipe ends among them, which belong to the taker from now on."""
        ends = self._ends.copy()
        self._ends.clear()
        return self.copies, ends


def passed(numbers: Iterable[int]) -> tuple[int, ...]:
    """The numbers of ``pass_fds``, checked, by size.

    :raises SpecError: one of stdin, stdout and stderr, or a descriptor that a payload must not have
    """
    wanted = tuple(sorted(set(numbers)))
    for number in wanted:
        where = f"pass_fds: descriptor {number}"
        if number <= 2:
            problem = f"{where} is {NAMES[number] if number >= 0 else 'not a descriptor'}"
            raise SpecError([Problem("$.pass_fds", problem, "give stdin, stdout and stderr by those names")])
        found = check_descriptor(number, "pass_fds")
        if stat.S_ISCHR(found.st_mode) and os.isatty(number):
            problem = f"{where} is a terminal, which would give its keys to the payload"
            raise SpecError([Problem("$.pass_fds", problem, "use tty=True")])
    return wanted


def check_descriptor(fd: int, name: str) -> os.stat_result:
    """Refuse what leads out of the sandbox: a directory is a way to the host's root (CVE-2024-21626).

    :param fd: a descriptor of the caller's
    :param name: which parameter it was given as
    :raises SpecError: a directory, a block device, an O_PATH descriptor, or one that is not open
    """
    try:
        found = os.fstat(fd)
    except OSError as error:
        raise SpecError([Problem(f"$.{name}", f"descriptor {fd}: {error.strerror}", "give an open one")]) from None
    kind = None
    if stat.S_ISDIR(found.st_mode):
        kind = "a directory"
    elif stat.S_ISBLK(found.st_mode):
        kind = "a block device"
    elif fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_PATH:
        kind = "only the place of a file (O_PATH)"
    if kind is not None:
        message = f"descriptor {fd} is {kind}, which no payload is given"
        raise SpecError([Problem(f"$.{name}", message, "bind it into the sandbox, or give a file or a pipe")])
    return found


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
