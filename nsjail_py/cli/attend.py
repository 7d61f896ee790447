"""Stay with a running sandbox until it ends, as a shell's job that behaves as if the program ran bare.

Signals that reach the command are passed on, a stopped payload stops the command, and a continued command continues
it. Handlers run between two polls (PEP 475), so they need no other thread and no pipe.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

from nsjail_py.cli.terminal import Terminal
from nsjail_py.engine.process import Process
from nsjail_py.engine.result import ExitReason, Result

TIMED_OUT = 124

#: Signals that a terminal sends to a whole process group, and those that one process is sent.
_TO_GROUP = (signal.SIGINT, signal.SIGQUIT)
_TO_PAYLOAD = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def attend(process: Process, terminal: Terminal | None) -> Result[Any]:
    """Wait for the end of a sandbox.

    :param process: the sandbox
    :param terminal: joins its terminal to the caller's; entered and left by the caller
    """
    with _Job(process, terminal) as job:
        while process.poll() is None:
            if process.stopped is not None:
                job.suspend()
                continue
            poll = select.poll()
            poll.register(process.fileno(), select.POLLIN)
            for fd, events in (terminal.interests() if terminal is not None else {}).items():
                poll.register(fd, events)
            for fd, events in poll.poll():
                if terminal is not None:
                    terminal.handle(fd, events)
    if terminal is not None:
        terminal.drain()
    return process.wait()


def exit_status(result: Result[Any]) -> int:
    """What the command exits with, as a shell and timeout(1) have it."""
    if result.reason is ExitReason.TIMED_OUT:
        return TIMED_OUT
    if result.reason is ExitReason.KILLED:
        return 128 + signal.SIGKILL
    return result.returncode if result.returncode >= 0 else 128 - result.returncode


class _Job:
    """Signal handlers for as long as its ``with`` block lasts."""

    def __init__(self, process: Process, terminal: Terminal | None) -> None:
        self._process = process
        self._terminal = terminal
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in _TO_GROUP:
            self._handle(number, lambda number, _: self._process.signal_group(number))
        for number in _TO_PAYLOAD:
            self._handle(number, lambda number, _: self._process.send_signal(number))
        self._handle(signal.SIGTSTP, lambda *_: self._process.signal_group(signal.SIGSTOP))
        if (terminal := self._terminal) is not None:
            self._handle(signal.SIGWINCH, lambda *_: terminal.resize())
            # After `fg` the caller's terminal is this job's again.
            self._handle(signal.SIGCONT, lambda *_: terminal.enter())
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def suspend(self) -> None:
        """Stop as the payload has, and go on together with it."""
        if self._terminal is not None:
            self._terminal.leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        if self._terminal is not None:
            self._terminal.enter()
        self._process.stopped = None
        self._process.signal_group(signal.SIGCONT)

    def _handle(self, number: int, handler: Callable[[int, FrameType | None], object]) -> None:
        # What was ignored stays ignored: nohup(1), or a background job of a script.
        if signal.getsignal(number) is not signal.SIG_IGN:
            self._previous[number] = signal.signal(number, handler)
