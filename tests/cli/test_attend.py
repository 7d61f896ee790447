"""Signals while a sandbox is being started, and exit statuses."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from nsjail_py import ExitReason, Process, Result, Sandbox
from nsjail_py.cli.attend import attend, exit_status
from tests.leaks import eventually

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    return Sandbox()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_comes_before_the_program_is_kept_for_it(sandbox: Sandbox, number: signal.Signals) -> None:
    def start() -> Process:
        os.kill(os.getpid(), number)
        return sandbox.start(["sleep", "600"])

    result = attend(start)
    assert (result.reason, result.signal) == (ExitReason.SIGNALED, number)


@pytest.mark.parametrize("number", SIGNALS)
def test_who_asks_twice_does_not_wait_for_the_set_up(number: signal.Signals) -> None:
    def start() -> Process:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        raise AssertionError("the set-up went on")

    with pytest.raises(KeyboardInterrupt):
        attend(start)


def test_a_signal_that_interrupts_no_wait_is_not_late(sandbox: Sandbox) -> None:
    # Of another thread it leaves the main one in poll(2), as one does that comes in the instant before that.
    main = f"/proc/self/task/{threading.get_native_id()}/wchan"
    released = threading.Event()
    other = threading.Thread(target=released.wait)
    other.start()

    def interrupt() -> None:
        assert eventually(lambda: "poll" in Path(main).read_text())
        signal.pthread_kill(other.ident or 0, signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    result = attend(lambda: sandbox.start(["sleep", "600"], timeout=20), lambda process: interrupter.start())
    released.set()
    for thread in (other, interrupter):
        thread.join()
    assert (result.reason, result.signal) == (ExitReason.SIGNALED, signal.SIGINT)


def test_handlers_are_as_before_afterwards(sandbox: Sandbox) -> None:
    handled = [*SIGNALS, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTSTP, signal.SIGWINCH]
    before = [signal.getsignal(number) for number in handled]
    attend(lambda: sandbox.start(["true"]))
    assert [signal.getsignal(number) for number in handled] == before
    assert signal.set_wakeup_fd(-1) == -1

    def fail() -> Process:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        attend(fail)
    assert [signal.getsignal(number) for number in handled] == before


def test_the_process_is_shown_once_it_runs(sandbox: Sandbox) -> None:
    seen: list[int | None] = []
    attend(lambda: sandbox.start(["true"]), lambda process: seen.append(process.returncode))
    assert seen == [None]


@pytest.mark.parametrize(
    ("returncode", "reason", "status"),
    [
        (0, ExitReason.EXITED, 0),
        (3, ExitReason.EXITED, 3),
        (124, ExitReason.EXITED, 124),
        (-15, ExitReason.SIGNALED, 143),
        (-9, ExitReason.SIGNALED, 137),
        (-9, ExitReason.TIMED_OUT, 124),
        (-9, ExitReason.KILLED, 137),
        (0, ExitReason.KILLED, 137),
    ],
)
def test_exit_status(returncode: int, reason: ExitReason, status: int) -> None:
    assert exit_status(Result[str](args=("x",), returncode=returncode, reason=reason)) == status
