"""What a payload, a signal or another thread does at the worst moment, and what must hold all the same.

The rows of the threat model that are about mounts, devices and privileges have files of their own.
"""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path
from typing import Any, NoReturn

import psutil
import pytest

from nsjail_py import PIPE, ExitReason, Sandbox, SandboxSpec, SetupError
from nsjail_py.engine import commands, enter, launch
from nsjail_py.engine.launch import launch as launched
from nsjail_py.engine.process import Process
from nsjail_py.linux.process import Child, spawn
from nsjail_py.spec.mnt import Mnt
from nsjail_py.spec.namespaces import Pid, User
from tests.leaks import eventually


def interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


# -- a signal handler that raises; the fixture ``leaks`` looks for what is left -------------------------------------


def test_interrupt_while_the_stage_is_cloned(any_box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signals are blocked in the clone, so one that comes meanwhile is handled before Python has its result."""

    def interrupted(*slots: object, **request: object) -> NoReturn:
        spawn(*slots, **request)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "spawn", interrupted)
    with pytest.raises(KeyboardInterrupt):
        any_box.start(["sleep", "1000"])


def test_interrupt_as_a_launch_is_handed_over(any_box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "launch", lambda *words, **call: interrupt(launched(*words, **call)))
    with pytest.raises(KeyboardInterrupt):
        any_box.start(["sleep", "1000"])


@pytest.mark.root  # an ordinary user's launch has fewer descriptors to give up
def test_interrupt_between_closing_two_descriptors(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is closed is closed once, and the error is the caller's own."""
    close, closed = os.close, []

    def closing(fd: int) -> None:
        close(fd)
        closed.append(fd)
        if len(closed) == 3:
            raise KeyboardInterrupt

    def release(started: launch.Started) -> None:
        monkeypatch.setattr(os, "close", closing)
        given_up(started)

    given_up = launch.Started.release
    monkeypatch.setattr(launch.Started, "release", release)
    with pytest.raises(KeyboardInterrupt):
        box.start(["sleep", "1000"])


def test_no_descriptor_left(any_box: Sandbox) -> None:
    """Wherever the caller's descriptors end, the error is one of a set-up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    first = os.dup(0)
    os.close(first)
    for limit in range(first, first + 24):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        try:
            with pytest.raises(SetupError):
                any_box.start(["true"])
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# -- another thread that forks --------------------------------------------------------------------------------------


def test_fork_while_the_stage_is_cloned(any_box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The forked child holds no end of the report socket, whose end is all that tells of an exec as pid 1."""
    forked = 0

    def forking(*slots: object, **request: object) -> Child:
        nonlocal forked
        forked = os.fork()
        if not forked:
            signal.alarm(20)  # the launch would end with it
            signal.pause()
        return spawn(*slots, **request)  # type: ignore[arg-type]

    monkeypatch.setattr(launch, "spawn", forking)
    process = any_box.start(["true"])
    assert process.wait().returncode == 0
    assert os.waitpid(forked, os.WNOHANG) == (0, 0)
    os.kill(forked, signal.SIGKILL)
    os.waitpid(forked, 0)


# -- a payload against the one that waits for it --------------------------------------------------------------------


def sharing_pids(root: Path, **user: Any) -> Sandbox:
    """A payload that sees its init, which is not pid 1."""
    return Sandbox(SandboxSpec(pid=Pid(mode="off"), mnt=Mnt(proc="try"), user=User(**user)), rootfs=root, user="0")


@pytest.mark.root
@pytest.mark.parametrize("count", [65536, 2])
@pytest.mark.parametrize("sent", ["KILL", "STOP", "0"])
def test_init_of_another_uid_takes_no_signal(busybox_root: Path, count: int, sent: str) -> None:
    script = f"kill -{sent} $PPID; echo $?; id -u; exit 3"
    result = sharing_pids(busybox_root, count=count).run(["sh", "-c", script], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (3, "1\n0\n")
    assert "Operation not permitted" in result.stderr


@pytest.mark.root
def test_who_waits_for_a_program_that_enters_takes_no_signal(busybox_root: Path) -> None:
    with sharing_pids(busybox_root).start(["sleep", "1000"]) as process:
        entering = process.exec(["sh", "-c", "kill -KILL $PPID; echo $?; id -u"], stdout=PIPE, text=True)
        assert entering.communicate().stdout == "1\n0\n"


def test_init_that_is_stopped_is_no_shield(busybox_root: Path) -> None:
    """With one id for both, it can be."""
    stopping = "sleep 1000 & read go; while :; do kill -STOP $PPID; done"
    process = sharing_pids(busybox_root, map="single").start(["sh", "-c", stopping], stdin=PIPE)
    # not before it has said that the payload runs: that would keep a start without a timeout waiting
    assert process.stdin is not None
    process.stdin.write(b"go\n")
    init = psutil.Process(process.init_pid)
    assert eventually(lambda: init.status() == psutil.STATUS_STOPPED)
    process.kill()
    assert process.wait(60).reason is ExitReason.KILLED


def test_stopped_stage_keeps_nobody_waiting(any_box: Sandbox) -> None:
    process = any_box.start(["sleep", "1000"])
    stage = psutil.Process(process._started.pid)
    stage.suspend()
    assert eventually(lambda: stage.status() == psutil.STATUS_STOPPED)
    process.kill()
    assert process.wait(60).reason is ExitReason.KILLED


def enter_until_it_fails(process: Process) -> None:
    for _ in range(1000):
        process.exec(["true"], timeout=0).wait()


def test_payload_that_stops_newcomers(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that enters can be stopped before it executes; with a timeout, whoever waits for that comes back."""
    monkeypatch.setattr(launch, "GRACE", 0.2)
    with box.start(["sh", "-c", "while :; do kill -STOP -1; done"]) as process, pytest.raises(SetupError) as caught:
        enter_until_it_fails(process)
    assert "it did not start within the timeout" in str(caught.value)


# -- a process that is not what it was ------------------------------------------------------------------------------


def test_ended_process_does_not_pass_for_one_that_shares_our_namespaces() -> None:
    """What was entered would be the host."""
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(FileNotFoundError):
        enter._own_namespaces(pid)
    os.waitpid(pid, 0)
