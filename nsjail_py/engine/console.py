"""The caller's terminal, or what it gave instead, joined to the sandbox's own one while somebody waits for the sandbox.

The payload never holds the caller's terminal (CVE-2017-5226): keys are read here and typed into the sandbox's pty, and
what is written there is shown here. While that lasts the caller's terminal is raw, so Ctrl-C and Ctrl-Z are keys like
any other, and the sandbox's pty makes signals of them.

A change of the window's size is found by looking, four times a second: a handler for SIGWINCH would be the caller's
process's only one, and could be installed from its main thread alone.
"""

from __future__ import annotations

import os
import select
import signal
import termios
from typing import Any, Protocol

from nsjail_py.engine.arrange import Joined
from nsjail_py.engine.exchange import Served
from nsjail_py.engine.relay import CHUNK, write_all
from nsjail_py.engine.terminal import (
    end_of_input,
    foreground_group,
    get_size,
    in_foreground,
    is_terminal,
    raw,
    set_size,
    suspends,
)

#: Seconds between two looks at the window's size.
LOOK = 0.25


class Job(Protocol):
    """What a console needs of the process whose terminal it serves."""

    @property
    def pid(self) -> int:
        """The payload's pid on the host."""

    def signal_group(self, signal: int) -> None:
        """Send a signal to the payload's process group."""


class Console:
    """Keys in, output out.

    :param master: the sandbox's side of its terminal; it is made non-blocking
    :param job: whose it is
    :param joined: what it is joined to
    :param beside: the streams that are not on the terminal
    :param data: what is typed first, followed by the end of the input unless keys are read
    """

    def __init__(self, master: int, job: Job, joined: Joined, beside: Served, data: bytes = b"") -> None:
        self._master = master
        self._job = job
        self._joined = joined
        self._beside = beside
        self._keyboard = is_terminal(joined.source)
        self._screen = is_terminal(joined.sink)
        self.patience = LOOK if self._keyboard or self._screen else None
        self._reading = joined.source >= 0
        self._showing = True
        self._chunks: list[bytes] = []
        self._typed = data if self._reading else data + end_of_input(master)
        self._stopping = False
        self._saved: list[Any] | None = None
        self._size: tuple[int, int] | None = None
        os.set_blocking(master, False)

    # ---- the caller's terminal ----

    def enter(self) -> None:
        """Make the caller's terminal raw, unless it is another job's at the moment, and take over its size."""
        self._look()
        source = self._joined.source
        if self._saved is None and self._keyboard and self._screen and in_foreground(source):
            self._saved = termios.tcgetattr(source)
            termios.tcsetattr(source, termios.TCSADRAIN, raw(self._saved))

    def leave(self) -> None:
        """Give the caller's terminal its settings back."""
        if self._saved is not None:
            termios.tcsetattr(self._joined.source, termios.TCSADRAIN, self._saved)
            self._saved = None

    def suspend(self) -> bool:
        """The payload has been stopped: where it was by the key, stop the caller's job as well, then go on with both.

        :returns: whether it goes on
        """
        if not self._stopping:
            return False
        self._stopping = False
        self.leave()
        # as the key would have; a job without a shell that could continue it is not stopped (setpgid(2), orphans)
        os.kill(0, signal.SIGTSTP)
        self.enter()
        self._job.signal_group(signal.SIGCONT)
        return True

    def _look(self) -> None:
        shown = self._joined.sink if self._screen else self._joined.source if self._keyboard else -1
        if shown >= 0 and (size := get_size(shown)) != self._size:
            self._size = size
            set_size(self._master, *size)

    # ---- between two polls ----

    def register(self, poll: select.poll) -> None:
        """Have what can be done now watched; called before every poll."""
        self._look()
        wanted = (select.POLLIN if self._showing else 0) | (select.POLLOUT if self._typed else 0)
        if wanted:
            poll.register(self._master, wanted)
        if self._reading:
            # from the background, reading would stop this process (SIGTTIN) for keys that are meant for others
            ready = not self._typed and (not self._keyboard or in_foreground(self._joined.source))
            poll.register(self._joined.source, select.POLLIN if ready else 0)
        self._beside.register(poll)

    def handle(self, poll: select.poll, fd: int, events: int) -> None:
        """Serve a descriptor that is ready."""
        if fd == self._master:
            if events & select.POLLOUT and self._typed:
                self._type(b"")
            if events & ~select.POLLOUT:
                self._show()
            if not self._showing:
                poll.unregister(fd)
        elif fd == self._joined.source:
            self._read_keys()
            if not self._reading:
                poll.unregister(fd)
        else:
            self._beside.handle(poll, fd, events)

    def drain(self) -> None:
        """Show what an ended sandbox has still written."""
        self._reading = False
        poll = select.poll()
        while self._showing:
            poll.register(self._master, select.POLLIN)
            if not poll.poll(0):
                break
            self._show()
        self._beside.drain()

    def output(self, number: int) -> bytes | None:
        """What was written to the terminal, where it was kept: as stdout, whichever descriptor it was written to."""
        if number == 1:
            return b"".join(self._chunks) if self._joined.keep else None
        return self._beside.output(number)

    def _read_keys(self) -> None:
        try:
            data = os.read(self._joined.source, CHUNK)
        except OSError:  # EIO: the terminal has been hung up
            data = b""
        if data:
            self._type(data)
            if suspends(self._master, data) and self._leads_alone():
                self._stopping = True
                self._job.signal_group(signal.SIGSTOP)
        else:
            self._reading = False
            self._type(end_of_input(self._master))

    def _type(self, data: bytes) -> None:
        self._typed += data
        try:
            self._typed = self._typed[os.write(self._master, self._typed) :]
        except BlockingIOError:
            pass
        except OSError:  # nobody has it open any more
            self._typed = b""

    def _show(self) -> None:
        try:
            data = os.read(self._master, CHUNK)
        except BlockingIOError:
            return
        except OSError:  # EIO: nobody has the other side open any more
            data = b""
        if not data:
            self._showing = False
        elif self._joined.keep:
            self._chunks.append(data)
        elif self._joined.sink >= 0:
            self._write(data)

    def _write(self, data: bytes) -> None:
        try:
            write_all(self._joined.sink, data)
        except BrokenPipeError:
            # as if the program had written there itself
            self._showing = False
            self._job.signal_group(signal.SIGPIPE)

    def _leads_alone(self) -> bool:
        """The payload's own group is in the foreground, and SIGTSTP has its default meaning.

        The payload leads its session, so its process group is orphaned and the kernel drops the SIGTSTP that its
        terminal makes of the key (setpgid(2)). A program that catches SIGTSTP got it; a shell's own jobs stop as usual.
        """
        try:
            group = foreground_group(self._master)
            with open(f"/proc/{self._job.pid}/status", "rb") as file:
                status = dict(line.split(b":", 1) for line in file if b":" in line)
        except OSError:
            return False
        handled = int(status[b"SigCgt"], 16) | int(status[b"SigIgn"], 16)
        return group == self._job.pid and not handled >> (signal.SIGTSTP - 1) & 1
