"""Many threads, other threads, and callers that treat their children in their own way."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nsjail_py import PIPE, ExitReason, Sandbox
from tests.system import script

THREADS = 64


def _start_many(box: Sandbox, starts: int) -> None:
    """64 threads that begin at once; each start runs to its end and is looked at."""
    barrier = threading.Barrier(THREADS)

    def work(thread: int) -> list[tuple[int, bytes]]:
        barrier.wait()
        results = []
        for turn in range(starts // THREADS):
            logging.getLogger("nsjail_py").debug("%s %s", thread, turn)
            result = box.run(["sh", "-c", f"echo {thread} {turn}; exit {turn % 7}"], capture_output=True)
            results.append((result.returncode, result.stdout))
        return results

    with ThreadPoolExecutor(THREADS) as pool:
        for thread, results in enumerate(pool.map(work, range(THREADS))):
            assert results == [(turn % 7, f"{thread} {turn}\n".encode()) for turn in range(starts // THREADS)]


def test_64_threads_at_once(box: Sandbox) -> None:
    _start_many(box, 512)


@pytest.mark.slow
def test_five_thousand_starts_from_64_threads(box: Sandbox) -> None:
    _start_many(box, 5056)


def test_it_outlives_the_thread_that_started_it(box: Sandbox) -> None:
    """S45: what a sandbox dies with is a process, not a thread (PDEATHSIG is bound to the thread)."""
    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(box.start, ["sh", "-c", "echo here; read x"], stdin=PIPE, stdout=PIPE)
        process = started.result()
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        assert process.communicate(b"x\n").ok


def test_killed_from_another_thread(box: Sandbox) -> None:
    with box.start(["sleep", "1000"]) as process:
        waiting = threading.Thread(target=process.wait)
        waiting.start()
        process.kill()
        waiting.join()
        assert process.wait().reason is ExitReason.KILLED


# -- how the caller treats its children ---------------------------------------------------------------------------

ROUNDS = """
import os, signal, sys, threading
from nsjail_py import PIPE, ProgramError, Sandbox, SandboxSpec
from nsjail_py.spec.namespaces import Pid
boxes = [Sandbox(SandboxSpec(pid=Pid(init=init)), rootfs=sys.argv[1]) for init in (True, False)]
def rounds():
    found = set()
    for turn in range(10):
        for box in boxes:
            found.add((box.run(["sh", "-c", "exit 3"]).returncode, "exit"))
            if box is boxes[0]:  # pid 1 cannot kill itself
                found.add((box.run(["sh", "-c", "kill -USR1 $$"]).signal, "signal"))
            with box.start(["sleep", "1000"]) as process:
                process.kill()
                found.add((process.wait().signal, str(process.wait().reason)))
            try:
                box.run(["missing"])
            except ProgramError as error:
                found.add((error.exit_status, "missing"))
    return sorted(found, key=str)
"""

EXPECTED = sorted([(3, "exit"), (10, "signal"), (9, "killed"), (127, "missing")], key=str)


def test_a_caller_that_ignores_sigchld(busybox_root: Path) -> None:
    """The kernel reaps its children: waitid(2) says ECHILD, and the status is asked of the pidfd."""
    end = "signal.signal(signal.SIGCHLD, signal.SIG_IGN); print(rounds())"
    assert script.output(ROUNDS + end, busybox_root) == f"{EXPECTED}\n"


def test_a_caller_with_a_handler_for_sigchld(busybox_root: Path) -> None:
    end = """
seen = []
signal.signal(signal.SIGCHLD, lambda *_: seen.append(1))
print(rounds(), signal.getsignal(signal.SIGCHLD).__name__, bool(seen))
"""
    assert script.output(ROUNDS + end, busybox_root) == f"{EXPECTED} <lambda> True\n"


def test_a_caller_whose_other_thread_reaps_everybody(busybox_root: Path) -> None:
    end = """
stop = False
def reap():
    while not stop:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            pass
thread = threading.Thread(target=reap, daemon=True)
thread.start()
print(rounds())
stop = True
"""
    assert script.output(ROUNDS + end, busybox_root) == f"{EXPECTED}\n"


def test_signals_that_interrupt_the_launch(busybox_root: Path) -> None:
    """A timer that fires every 100 microseconds interrupts every call that blocks."""
    end = """
count = 0
def tick(*_):
    global count
    count += 1
signal.signal(signal.SIGALRM, tick)
signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
found = rounds()
signal.setitimer(signal.ITIMER_REAL, 0)
print(found, count > 100)
"""
    assert script.output(ROUNDS + end, busybox_root) == f"{EXPECTED} True\n"


def test_a_forked_child_of_the_caller(busybox_root: Path) -> None:
    end = """
before = rounds()
child = os.fork()
if child == 0:
    os._exit(0 if rounds() == before else 1)
print(os.waitpid(child, 0)[1], rounds() == before)
"""
    assert script.output(ROUNDS + end, busybox_root) == "0 True\n"


def test_ignored_sigpipe_is_reset_for_the_payload(busybox_root: Path) -> None:
    """Python ignores it, and a payload that inherited that would write on for ever."""
    end = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])
shown = boxes[0].run(["grep", "^Sig[BI]", "/proc/self/status"], stdout=PIPE, text=True).stdout
_, blocked, _, ignored = shown.split()
# whoever started this process may have had others ignored: posix_spawn ignores the C library's own
print(int(blocked, 16), int(ignored, 16) & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1))
"""
    assert script.output(ROUNDS + end, busybox_root) == "0 0\n"


# -- large callers, and small limits ------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_caller_of_a_gibibyte(busybox_root: Path) -> None:
    end = "ballast = bytearray(os.urandom(1 << 20) * 1024); print(rounds(), len(ballast))"
    assert script.output(ROUNDS + end, busybox_root) == f"{EXPECTED} {1 << 30}\n"


@pytest.mark.parametrize("limit", [256, 100])
def test_few_descriptors(busybox_root: Path, limit: int) -> None:
    end = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))
print(rounds())
"""
    assert script.output(ROUNDS + end, busybox_root) == f"{EXPECTED}\n"


def test_too_few_descriptors_is_an_error_that_says_so(busybox_root: Path) -> None:
    end = """
import resource
from nsjail_py import SetupError
boxes[0].run(["true"])
before = sorted(os.listdir("/proc/self/fd"))
resource.setrlimit(resource.RLIMIT_NOFILE, (65, 65))
try:
    boxes[0].run(["true"])
except SetupError as error:
    print(error)
print(sorted(os.listdir("/proc/self/fd")) == before)
"""
    assert script.output(ROUNDS + end, busybox_root).splitlines() == [
        "engine: start the stage: dup of a descriptor into its slot: Bad file descriptor [HOST]",
        "hint: raise the limit on open files: ulimit -n",
        "True",
    ]
