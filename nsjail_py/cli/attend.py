"""Start a sandbox and stay with it until it ends, as a shell's job that behaves as if the program ran bare.

Signals that reach the command are passed on, a stopped payload stops the command, and a continued command continues
it. Handlers run while the main thread waits (PEP 475), and a pipe has it look up for a signal that came in the instant
before. They are in place before anything is started: a signal that comes while that lasts is kept for the program.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Self

from nsjail_py.engine.process import Process
from nsjail_py.engine.result import ExitReason, Result
from nsjail_py.engine.terminal import get_size, is_terminal

TIMED_OUT = 124

#: Signals that a terminal sends to a whole process group, and those that one process is sent.
_TO_GROUP = (signal.SIGINT, signal.SIGQUIT)
_TO_PAYLOAD = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def attend(start: Callable[[], Process], started: Callable[[Process], object] | None = None) -> Result[Any]:
    """Start a sandbox and wait for its end.

    :param start: starts it
    :param started: called once it runs, with the process
    """
    with _Job() as job, start() as process:
        if started is not None:
            started(process)
        job.adopt(process)
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

    def __init__(self) -> None:
        self._process: Process | None = None
        self._early: list[int] = []
        self._previous: dict[int, Any] = {}
        self._woken, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._former = -1

    def __enter__(self) -> Self:
        self._former = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for number in (*_TO_GROUP, *_TO_PAYLOAD, signal.SIGTSTP):
            self._handle(number, self._pass_on)
        self._handle(signal.SIGWINCH, self._resize)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._former)
        os.close(self._wake)
        os.close(self._woken)

    def adopt(self, process: Process) -> None:
        """Pass signals on to this process, first those that came before it was there."""
        process.on_stop = _stop
        process.wakeup = self._woken
        self._process = process
        for number in self._early:
            self._pass_on(number, None)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._process is None:
            if number in self._early:
                # Asked for twice: somebody does not want to wait for the set-up.
                raise KeyboardInterrupt
            self._early.append(number)
        elif number == signal.SIGTSTP:
            # Not the signal itself, which the kernel drops: the payload's group is orphaned (setpgid(2)).
            self._process.signal_group(signal.SIGSTOP)
        elif number in _TO_GROUP:
            self._process.signal_group(number)
        else:
            self._process.send_signal(number)

    def _resize(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._process is not None and self._process.terminal is not None and is_terminal(1):
            with suppress(ValueError):  # it has just ended
                self._process.resize(*get_size(1))

    def _handle(self, number: int, handler: Callable[[int, FrameType | None], None]) -> None:
        # What was ignored stays ignored: nohup(1), or a background job of a script.
        if signal.getsignal(number) is not signal.SIG_IGN:
            self._previous[number] = signal.signal(number, handler)


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
