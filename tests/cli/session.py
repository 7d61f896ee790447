"""A terminal with the command on it: what is typed, what is shown, how large its window is."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path

from tests.cli.command import COMMAND, PATIENCE, environment

#: Takes the terminal on its stdin as its controlling one, then becomes the program.
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY); os.execvp(sys.argv[1], sys.argv[1:])"
)


class Session:
    """A session on a terminal of its own.

    :param folder: see ``environment``
    :param words: the command's words
    :param rows: of the window
    :param columns: of the window
    :param program: what to run instead of the command; ``words`` follow it
    """

    def __init__(
        self, folder: Path, words: Sequence[str], *, rows: int, columns: int, program: Sequence[str] | None = None
    ) -> None:
        self.master, slave = os.openpty()
        self.shown = b""
        self.resize(rows, columns)
        self.cooked = termios.tcgetattr(self.master)
        self.process = subprocess.Popen(
            [sys.executable, "-ISc", _TAKE_TERMINAL, *(COMMAND if program is None else program), *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(folder),
            cwd=folder,
            start_new_session=True,
        )
        os.close(slave)

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self.master, keys)

    def resize(self, rows: int, columns: int) -> None:
        """Change the size of the window."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("=HHHH", rows, columns, 0, 0))

    def until(self, text: bytes) -> bytes:
        """Wait until a text is shown; returns what was shown before it, and goes on behind it."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown:
            assert time.monotonic() < deadline, f"{text!r} was not shown, but {self.shown!r}"
            assert self._read(deadline), f"the session ended with {self.shown!r}"
        before, _, self.shown = self.shown.partition(text)
        return before

    def end(self) -> int:
        """Wait for the end; returns the exit status, negative for a signal. ``shown`` is the rest of the output."""
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline):
            pass
        return self.process.wait(PATIENCE)

    def stopped(self) -> int:
        """Wait until it is stopped; returns by which signal."""
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), f"it ended instead with status {status:#x}"
        return os.WSTOPSIG(status)

    def resume(self) -> None:
        """Continue it, as a shell's ``fg`` does."""
        os.killpg(self.process.pid, signal.SIGCONT)

    @property
    def is_cooked(self) -> bool:
        """The terminal has the settings that it had before."""
        return termios.tcgetattr(self.master) == self.cooked

    def close(self) -> None:
        """End what still runs, and the terminal."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:  # EIO: nobody has the terminal open any more
            return False
        self.shown += data
        return bool(data)
