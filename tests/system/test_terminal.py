"""A caller on a terminal: the payload finds one too, and never that one (S22, S48)."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import SOURCES

RUN = """
import os, sys
from nsjail_py import PIPE, Sandbox
box = Sandbox(rootfs=sys.argv[1])
"""


class Session:
    """A Python whose stdin, stdout and stderr are a terminal, which it also is controlled by."""

    def __init__(self, script: str, root: Path) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.environ["PYTHONPATH"] = f"{SOURCES}:{SOURCES / 'plugins'}"
            os.execv(sys.executable, [sys.executable, "-c", RUN + script, str(root)])
        self.seen = ""

    def until(self, text: str) -> str:
        """Read until a text appears; returns everything before it."""
        while text not in self.seen:
            assert select.select([self.master], [], [], 60)[0], f"only {self.seen!r}"
            try:
                data = os.read(self.master, 1000)
            except OSError:  # EIO: it has ended
                data = b""
            assert data, f"only {self.seen!r}"
            self.seen += data.decode()
        before, _, self.seen = self.seen.partition(text)
        return before

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("=HHHH", rows, columns, 0, 0))

    def end(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        os.close(self.master)


@pytest.fixture
def session(busybox_root: Path) -> Iterator[Callable[[str], Session]]:
    """Starts them."""
    opened: list[Session] = []

    def start(script: str) -> Session:
        opened.append(Session(script, busybox_root))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def test_stdin_and_stdout_on_a_terminal_are_joined_to_one_inside(session: Callable[[str], Session]) -> None:
    here = session(
        """
before = __import__("termios").tcgetattr(0)
script = "tty; stty size; read x; echo got $x; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo all three; exit 3"
result = box.run(["sh", "-c", script])
print(result.returncode, result.stdout, __import__("termios").tcgetattr(0) == before)
"""
    )
    here.until("/dev/pts/0\r\n")
    here.until("24 80\r\n")
    here.type("typed\r")
    here.until("got typed\r\n")
    here.until("all three\r\n")
    here.until("3 None True\r\n")
    assert here.end() == 0


def test_keys_make_signals_inside(session: Callable[[str], Session]) -> None:
    here = session(
        """
result = box.run(["sh", "-c", "trap 'echo int; exit 5' INT; echo ready; while :; do read x; done"])
print("ended", result.returncode)
"""
    )
    here.until("ready\r\n")
    here.type("\x03")
    here.until("int\r\n")
    here.until("ended 5\r\n")
    assert here.end() == 0


def test_the_size_of_the_window_follows(session: Callable[[str], Session]) -> None:
    here = session(
        """
box.run(["sh", "-c", "trap 'stty size; exit' WINCH; echo ready; while :; do read x; done"])
"""
    )
    here.until("ready\r\n")
    here.resize(50, 132)
    here.until("50 132\r\n")
    assert here.end() == 0


def test_the_terminal_is_restored_after_an_interrupt(session: Callable[[str], Session]) -> None:
    here = session(
        """
import signal, termios
before = termios.tcgetattr(0)
try:
    box.run(["sh", "-c", "echo ready; sleep 1000"])
except KeyboardInterrupt:
    print("interrupted", termios.tcgetattr(0) == before)
"""
    )
    here.until("ready\r\n")
    os.kill(here.pid, signal.SIGINT)
    here.until("interrupted True\r\n")
    assert here.end() == 0


def test_a_lone_terminal_becomes_a_pipe(session: Callable[[str], Session]) -> None:
    here = session(
        """
out = box.run(["sh", "-c", "[ -p /proc/self/fd/0 ] && echo pipe; read x; echo $x"], stdout=PIPE, text=True).stdout
print("captured", out.split())
box.run(["sh", "-c", "[ -p /proc/self/fd/1 ] && [ -p /proc/self/fd/2 ] && echo pipes"], input=b"")
"""
    )
    here.type("typed\r")
    here.until("captured ['pipe', 'typed']\r\n")
    here.until("pipes\r\n")
    assert here.end() == 0


def test_nothing_inside_is_the_callers_terminal(session: Callable[[str], Session]) -> None:
    """The payload's session has no terminal but its own, and what it injects there stays there (CVE-2017-5226)."""
    here = session(
        """
import fcntl, struct, termios
script = "ls -l /proc/self/fd; (: </dev/tty) 2>/dev/null || echo no terminal; cut -d' ' -f7 /proc/self/stat"
shown = box.run(["sh", "-c", script], stdout=PIPE, stderr=PIPE, input=b"", text=True).stdout
print("leaked", os.ttyname(0) in shown, shown.splitlines()[-2:])
waiting = struct.unpack("i", fcntl.ioctl(0, termios.FIONREAD, b"1234"))[0]
print("waiting", waiting)
"""
    )
    here.until("leaked False ['no terminal', '0']\r\n")
    here.until("waiting 0\r\n")
    assert here.end() == 0


def test_a_job_in_the_background_is_not_stopped(session: Callable[[str], Session]) -> None:
    """It takes over no terminal that is another job's (SIGTTOU)."""
    here = session(
        """
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os._exit(box.run(["sh", "-c", "echo from behind; exit 4"]).returncode)
print("child", os.waitstatus_to_exitcode(os.waitpid(child, os.WUNTRACED)[1]))
"""
    )
    here.until("from behind\r\n")
    here.until("child 4\r\n")
    assert here.end() == 0
