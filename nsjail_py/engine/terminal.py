"""Terminals: window sizes and modes (ioctl_tty(2), termios(3))."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from typing import Any

_WINSIZE = struct.Struct("=HHHH")
DEFAULT_SIZE = (24, 80)

# struct termios as termios.tcgetattr returns it
LFLAG, CC = 3, 6


def get_size(fd: int) -> tuple[int, int]:
    """Rows and columns of a terminal; 24 by 80 where it does not say."""
    rows, columns, _, _ = _WINSIZE.unpack(fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(_WINSIZE.size)))
    return (rows, columns) if rows and columns else DEFAULT_SIZE


def set_size(fd: int, rows: int, columns: int) -> None:
    """Set them; the foreground process group gets SIGWINCH where they change."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, _WINSIZE.pack(rows, columns, 0, 0))


def is_terminal(fd: int) -> bool:
    """Whether an open descriptor is a terminal; false for one that is not open."""
    try:
        return os.isatty(fd)
    except ValueError:  # a negative number
        return False


def in_foreground(fd: int) -> bool:
    """Whether a terminal is this job's at the moment, so that it can be read without being stopped (SIGTTIN)."""
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:  # it is not the controlling terminal, so nobody takes it away
        return True


def raw(settings: list[Any]) -> list[Any]:
    """Settings of a terminal that passes every byte as it is (cfmakeraw(3))."""
    t = termios
    iflag, oflag, cflag, lflag, ispeed, ospeed, cc = settings
    iflag &= ~(t.IGNBRK | t.BRKINT | t.PARMRK | t.ISTRIP | t.INLCR | t.IGNCR | t.ICRNL | t.IXON)
    lflag &= ~(t.ECHO | t.ECHONL | t.ICANON | t.ISIG | t.IEXTEN)
    cflag = cflag & ~(t.CSIZE | t.PARENB) | t.CS8
    cc = cc.copy()
    cc[t.VMIN], cc[t.VTIME] = b"\x01", b"\x00"
    return [iflag, oflag & ~t.OPOST, cflag, lflag, ispeed, ospeed, cc]


def end_of_input(master: int) -> bytes:
    """The key that ends the input of a terminal: once after a whole line, and in case it was none, once more."""
    settings = termios.tcgetattr(master)
    key: bytes = settings[CC][termios.VEOF]
    return key * 2 if settings[LFLAG] & termios.ICANON else b""


def suspends(master: int, data: bytes) -> bool:
    """Whether what is typed into a terminal holds the key that stops its foreground job."""
    settings = termios.tcgetattr(master)
    return bool(settings[LFLAG] & termios.ISIG and settings[CC][termios.VSUSP] in data)


def foreground_group(master: int) -> int:
    """The process group in a terminal's foreground, as the owner of its other side sees it."""
    group: int = struct.unpack("=i", fcntl.ioctl(master, termios.TIOCGPGRP, bytes(4)))[0]
    return group
