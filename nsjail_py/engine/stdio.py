"""The payload's descriptors 0, 1 and 2: what the caller asked for, made safe to hand to code nobody trusts."""

from __future__ import annotations

import os
import stat
from typing import IO, Any

from nsjail_py.errors import Problem, SpecError

#: The same values as in ``subprocess``, which is not imported for them.
PIPE = -1
STDOUT = -2
DEVNULL = -3

#: What each of stdin, stdout and stderr may be: ``None`` the caller's own, ``PIPE``, ``DEVNULL``, ``STDOUT`` (for
#: stderr), a descriptor, or a file object.
Stream = None | int | IO[Any]

_NAMES = ("stdin", "stdout", "stderr")


class Stdio:
    """The three descriptors for a payload, and the caller's ends of its pipes.

    :param stdin: see ``Stream``
    :param stdout: see ``Stream``
    :param stderr: see ``Stream``
    :raises SpecError: a directory, a block device or an O_PATH descriptor

    :ivar given: the payload's descriptors, by number
    :ivar ours: the caller's ends of the pipes, by number
    :ivar copies: pairs of descriptors (from, to) to be copied while it runs: a terminal of the caller's is never
        handed out itself
    """

    __slots__ = ("_ends", "_made", "copies", "given", "ours")

    def __init__(self, stdin: Stream, stdout: Stream, stderr: Stream) -> None:
        self.given: dict[int, int] = {}
        self.ours: dict[int, int] = {}
        self.copies: list[tuple[int, int]] = []
        self._made: list[int] = []
        self._ends: list[int] = []
        try:
            for number, stream in enumerate((stdin, stdout, stderr)):
                self.given[number] = self._prepare(number, stream)
        except BaseException:
            self.close()
            raise

    def _prepare(self, number: int, stream: Stream) -> int:
        if stream == PIPE:
            return self._pipe(number, self.ours)
        if stream == DEVNULL:
            return self._own(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
        if stream == STDOUT and number == 2:
            return self.given[1]
        fd = number if stream is None else stream if isinstance(stream, int) else stream.fileno()
        return self._checked(number, fd)

    def _checked(self, number: int, fd: int) -> int:
        where = f"$.{_NAMES[number]}"
        try:
            found = os.fstat(fd)
        except OSError:
            # a daemon without stdio: nothing to inherit
            return self._own(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
        if stat.S_ISREG(found.st_mode):
            return self._reopened(number, fd)
        if stat.S_ISDIR(found.st_mode) or stat.S_ISBLK(found.st_mode):
            kind = "a directory" if stat.S_ISDIR(found.st_mode) else "a block device"
            raise SpecError([Problem(where, f"{kind} cannot be a payload's {_NAMES[number]}", "give a file or a pipe")])
        if stat.S_ISCHR(found.st_mode) and os.isatty(fd):
            return self._relayed(number, fd)
        return fd

    def _reopened(self, number: int, fd: int) -> int:
        """A file that the payload only reads must not be writable through ``/proc/self/fd/0`` either."""
        if number != 0:
            return fd
        try:
            fresh = self._own(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            given, end = self._copied(number)
            self.copies.append((fd, end))
            return given
        os.lseek(fresh, os.lseek(fd, 0, os.SEEK_CUR), os.SEEK_SET)
        return fresh

    def _relayed(self, number: int, fd: int) -> int:
        """A terminal: keys typed into it, and what it answers, are the caller's alone (CVE-2017-5226)."""
        given, end = self._copied(number)
        self.copies.append((fd, end) if number == 0 else (end, fd))
        return given

    def _copied(self, number: int) -> tuple[int, int]:
        ends: dict[int, int] = {}
        given = self._pipe(number, ends)
        self._ends.append(ends[number])
        return given, ends[number]

    def _pipe(self, number: int, ends: dict[int, int]) -> int:
        read, write = os.pipe2(os.O_CLOEXEC)
        theirs, ends[number] = (read, write) if number == 0 else (write, read)
        return self._own(theirs)

    def _own(self, fd: int) -> int:
        self._made.append(fd)
        return fd

    def handed_over(self) -> None:
        """Close the payload's ends: it has them now."""
        for fd in self._made:
            os.close(fd)
        self._made.clear()

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
