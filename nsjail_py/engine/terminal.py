"""Window sizes of terminals (ioctl_tty(2))."""

from __future__ import annotations

import fcntl
import struct
import termios

_WINSIZE = struct.Struct("=HHHH")
DEFAULT_SIZE = (24, 80)


def get_size(fd: int) -> tuple[int, int]:
    """Rows and columns of a terminal; 24 by 80 where it does not say."""
    rows, columns, _, _ = _WINSIZE.unpack(fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(_WINSIZE.size)))
    return (rows, columns) if rows and columns else DEFAULT_SIZE


def set_size(fd: int, rows: int, columns: int) -> None:
    """Set them; the foreground process group gets SIGWINCH where they change."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, _WINSIZE.pack(rows, columns, 0, 0))
