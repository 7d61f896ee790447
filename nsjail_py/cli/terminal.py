"""The caller's terminal joined to the sandbox's own one.

The payload never holds the caller's terminal (CVE-2017-5226): keys are read here and typed into the sandbox's pty, and
what is written there is shown here. While that lasts the caller's terminal is raw, so Ctrl-C and Ctrl-Z are keys like
any other, and the sandbox's pty makes signals of them.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import termios
from typing import Any, Self

from nsjail_py.engine.process import Process
from nsjail_py.engine.terminal import get_size

CHUNK = 65536

# struct termios as termios.tcgetattr returns it
_IFLAG, _OFLAG, _CFLAG, _LFLAG, _ISPEED, _OSPEED, _CC = range(7)


def window() -> tuple[int, int] | None:
    """Rows and columns of the terminal that the caller looks at: stdout's, else stdin's."""
    for fd in (1, 0):
        if os.isatty(fd):
            return get_size(fd)
    return None


class Terminal:
    """Keys in, output out, while its ``with`` block lasts; the caller's terminal is restored whatever happens.

    :param process: a sandbox with a terminal
    :param source: the caller's side of the keyboard
    :param sink: the caller's side of the screen
    :param feed: read from ``source`` even where it is no terminal
    """

    def __init__(self, process: Process, *, source: int = 0, sink: int = 1, feed: bool = False) -> None:
        if process.terminal is None:
            raise ValueError("this sandbox has no terminal")
        self._process = process
        self._master = process.terminal
        self._source = source
        self._sink = sink
        self._keyboard = os.isatty(source)
        self._reading = self._keyboard or feed
        self._showing = True
        self._typed = b""
        self._saved: list[Any] | None = None
        # Typing into a pty whose program does not read must not keep this from showing its output.
        os.set_blocking(self._master, False)

    def __enter__(self) -> Self:
        self.enter()
        return self

    def __exit__(self, *exception: object) -> None:
        self.leave()

    def enter(self) -> None:
        """Make the caller's terminal raw, unless it is another job's at the moment, and take over its size."""
        self.resize()
        if self._saved is None and self._foreground():
            self._saved = termios.tcgetattr(self._source)
            termios.tcsetattr(self._source, termios.TCSADRAIN, _raw(self._saved))

    def leave(self) -> None:
        """Give the caller's terminal its settings back."""
        if self._saved is not None:
            termios.tcsetattr(self._source, termios.TCSADRAIN, self._saved)
            self._saved = None

    def resize(self) -> None:
        """Tell the sandbox's terminal how large the window is now."""
        if (size := window()) is not None:
            self._process.resize(*size)

    def interests(self) -> dict[int, int]:
        """Descriptors to poll and for what."""
        wanted: dict[int, int] = {}
        if self._showing:
            wanted[self._master] = select.POLLIN
        if self._typed:
            wanted[self._master] = wanted.get(self._master, 0) | select.POLLOUT
        elif self._reading and (not self._keyboard or self._foreground()):
            # From the background, reading would stop this process (SIGTTIN) for keys that are meant for others.
            wanted[self._source] = select.POLLIN
        return wanted

    def handle(self, fd: int, events: int) -> None:
        """Serve a descriptor of ``interests`` that is ready."""
        if fd == self._source:
            self._read_keys()
        elif fd == self._master:
            if events & select.POLLOUT and self._typed:
                self._type(b"")
            if events & ~select.POLLOUT:
                self._show()

    def drain(self) -> None:
        """Show what the ended sandbox has still written."""
        while self._showing:
            self._show()

    def _foreground(self) -> bool:
        """Whether the caller's terminal is this job's at the moment."""
        try:
            return self._keyboard and os.tcgetpgrp(self._source) == os.getpgrp()
        except OSError:  # it is not the controlling terminal, so nobody takes it away
            return self._keyboard

    def _read_keys(self) -> None:
        try:
            data = os.read(self._source, CHUNK)
        except OSError:  # EIO: the terminal has been hung up
            data = b""
        if data:
            self._type(data)
            self._suspend_by_key(data)
        else:
            self._reading = False
            self._type(self._end_of_file())

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
            data = b""
            # Between two chunks only while somebody may still write.
            self._showing = self._process.returncode is None
        except OSError:  # EIO: nobody has the other side open any more
            data = b""
            self._showing = False
        try:
            _write_all(self._sink, data)
        except BrokenPipeError:
            # As if the program had written there itself.
            self._showing = False
            self._process.signal_group(signal.SIGPIPE)

    def _end_of_file(self) -> bytes:
        """The key that ends input: once after a whole line, and in case it was none, once more."""
        settings = termios.tcgetattr(self._master)
        key: bytes = settings[_CC][termios.VEOF]
        return key * 2 if settings[_LFLAG] & termios.ICANON else b""

    def _suspend_by_key(self, data: bytes) -> None:
        """Stop a payload whose user has pressed the suspend key.

        The payload leads its session, so its process group is orphaned and the kernel drops the SIGTSTP that its
        terminal makes of the key (setpgid(2)). A program that catches SIGTSTP got it; a shell's own jobs stop as usual.
        """
        settings = termios.tcgetattr(self._master)
        if settings[_LFLAG] & termios.ISIG and settings[_CC][termios.VSUSP] in data and self._leads_alone():
            self._process.signal_group(signal.SIGSTOP)

    def _leads_alone(self) -> bool:
        """The payload's own group is in the foreground, and SIGTSTP has its default meaning."""
        try:
            group = struct.unpack("=i", fcntl.ioctl(self._master, termios.TIOCGPGRP, bytes(4)))[0]
            with open(f"/proc/{self._process.pid}/status", "rb") as file:
                status = dict(line.split(b":", 1) for line in file if b":" in line)
        except OSError:
            return False
        handled = int(status[b"SigCgt"], 16) | int(status[b"SigIgn"], 16)
        return group == self._process.pid and not handled >> (signal.SIGTSTP - 1) & 1


def _raw(settings: list[Any]) -> list[Any]:
    """Settings of a terminal that passes every byte as it is (cfmakeraw(3))."""
    t = termios
    iflag, oflag, cflag, lflag, ispeed, ospeed, cc = settings
    iflag &= ~(t.IGNBRK | t.BRKINT | t.PARMRK | t.ISTRIP | t.INLCR | t.IGNCR | t.ICRNL | t.IXON)
    lflag &= ~(t.ECHO | t.ECHONL | t.ICANON | t.ISIG | t.IEXTEN)
    cflag = cflag & ~(t.CSIZE | t.PARENB) | t.CS8
    cc = cc.copy()
    cc[t.VMIN], cc[t.VTIME] = b"\x01", b"\x00"
    return [iflag, oflag & ~t.OPOST, cflag, lflag, ispeed, ospeed, cc]


def _write_all(fd: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            # A terminal that another program has made non-blocking.
            waiting = select.poll()
            waiting.register(fd, select.POLLOUT)
            waiting.poll()
