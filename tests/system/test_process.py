"""``start``: a sandbox that runs while its owner does something else."""

from __future__ import annotations

import gc
import os
import select
import signal
import threading
from pathlib import Path

import psutil
import pytest

from nsjail_py import PIPE, STDOUT, ExitReason, Sandbox
from nsjail_py.engine.process import Process
from tests.leaks import eventually

#: Says when it is ready, and then what it is told to do.
TALKER = """
trap 'echo term; exit 5' TERM
trap 'echo usr1; woken=1' USR1
echo ready
while :; do
    if read x; then echo $x; elif [ -z "$woken" ]; then exit 7; fi
    woken=
done
"""


def talker(box: Sandbox, timeout: float | None = None) -> Process:
    process = box.start(["sh", "-c", TALKER], stdin=PIPE, stdout=PIPE, text=True, timeout=timeout)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def say(process: Process, text: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(text)
    return str(process.stdout.readline())


# -- streams ------------------------------------------------------------------------------------------------------


def test_streams_by_line(any_box: Sandbox) -> None:
    with talker(any_box) as process:
        assert say(process, "one\n") == "one\n"
        assert say(process, "two\n") == "two\n"
        assert process.stderr is None
        assert process.returncode is None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        assert list(process.stdout) == []
        assert process.wait().returncode == process.returncode == 7


def test_streams_are_iterable(box: Sandbox) -> None:
    with box.start(["sh", "-c", "echo 1; echo 2; echo 3 >&2"], stdout=PIPE, stderr=STDOUT) as process:
        assert process.stdout is not None
        assert list(process.stdout) == [b"1\n", b"2\n", b"3\n"]
    assert process.args == ("sh", "-c", "echo 1; echo 2; echo 3 >&2")


def test_communicate_after_lines_were_read_and_written(box: Sandbox) -> None:
    with talker(box) as process:
        say(process, "one\n")
        result = process.communicate("two\nthree\n")
    assert (result.returncode, result.stdout) == (7, "two\nthree\n")


def test_communicate_goes_on_after_a_timeout(box: Sandbox) -> None:
    commands = "trap 'echo two; exit' USR1; echo one; while :; do sleep 1000 & wait; done"
    with box.start(["sh", "-c", commands], stdin=PIPE, stdout=PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"one\n"
        with pytest.raises(TimeoutError, match=r"sh is still running after 0\.05 seconds"):
            process.communicate(timeout=0.05)
        process.send_signal(signal.SIGUSR1)
        assert process.communicate().stdout == b"two\n"
        assert process.communicate().stdout == b"two\n"


def test_input_is_given_once(box: Sandbox) -> None:
    with box.start(["cat"], stdin=PIPE, stdout=PIPE) as process:
        assert process.communicate(b"x").stdout == b"x"
        with pytest.raises(ValueError, match="it has been given its input"):
            process.communicate(b"y")
    with box.start(["true"], stdout=PIPE) as process, pytest.raises(ValueError, match="input needs stdin=PIPE"):
        process.communicate(b"x")


def test_output_can_be_collected_after_the_end(box: Sandbox) -> None:
    with box.start(["echo", "kept"], stdout=PIPE) as process:
        assert process.wait().stdout is None
        assert process.communicate().stdout == b"kept\n"


# -- waiting ------------------------------------------------------------------------------------------------------


def test_poll_and_wait(any_box: Sandbox) -> None:
    with talker(any_box) as process:
        assert process.poll() is None
        with pytest.raises(TimeoutError):
            process.wait(0.01)
        assert process.stdin is not None
        process.stdin.close()
        result = process.wait(60)
        assert (result.returncode, result.reason, process.poll()) == (7, ExitReason.EXITED, 7)
        assert process.wait() is result


def test_poll_sees_the_end_without_waiting(any_box: Sandbox) -> None:
    with any_box.start(["true"]) as process:
        assert eventually(lambda: process.poll() is not None)
        assert process.returncode == 0


def test_several_threads_wait(box: Sandbox) -> None:
    with talker(box) as process:
        results: list[object] = []
        threads = [threading.Thread(target=lambda: results.append(process.wait())) for _ in range(8)]
        for thread in threads:
            thread.start()
        process.kill()
        for thread in threads:
            thread.join()
    assert len(results) == 8
    assert len(set(map(id, results))) == 1


def test_a_loop_of_the_callers_own(any_box: Sandbox) -> None:
    with talker(any_box) as process:
        poll = select.poll()
        poll.register(process.fileno(), select.POLLIN)
        assert poll.poll(0) == []
        process.kill()
        while process.poll() is None:
            poll.poll()


# -- signals ------------------------------------------------------------------------------------------------------


def test_pid_and_pidfd_are_the_payloads(any_box: Sandbox) -> None:
    with talker(any_box) as process:
        assert psutil.Process(process.pid).cmdline() == ["sh", "-c", TALKER]
        assert f"Pid:\t{process.pid}\n" in Path(f"/proc/self/fdinfo/{process.pidfd}").read_text()
        assert str(process.pid) in repr(process)
        pid = process.pid
    assert (process.pid, process.pidfd) == (pid, -1)
    assert repr(process) == "<Process 'sh' returned -9>"


def test_signals_reach_the_payload(any_box: Sandbox) -> None:
    with talker(any_box) as process:
        process.send_signal(signal.SIGUSR1)
        assert process.stdout is not None
        assert process.stdout.readline() == "usr1\n"
        process.terminate()
        assert process.stdout.readline() == "term\n"
        assert (process.wait().returncode, process.wait().reason) == (5, ExitReason.EXITED)
        process.send_signal(signal.SIGUSR1)
        process.kill()
        process.terminate()
    assert process.wait().reason is ExitReason.EXITED


def test_an_unhandled_signal_ends_it(box: Sandbox) -> None:
    with box.start(["sleep", "1000"]) as process:
        process.terminate()
        result = process.wait()
    assert (result.returncode, result.reason) == (-15, ExitReason.SIGNALED)


def test_a_number_that_is_no_signal(box: Sandbox) -> None:
    with box.start(["sleep", "1000"]) as process, pytest.raises(OSError, match="Invalid argument"):
        process.send_signal(1000)


def test_stops_are_seen(box: Sandbox) -> None:
    with talker(box) as process:
        process.send_signal(signal.SIGSTOP)
        assert eventually(lambda: process.poll() is None and process.stopped == signal.SIGSTOP)
        process.send_signal(signal.SIGCONT)
        assert say(process, "on\n") == "on\n"


@pytest.mark.parametrize(
    "commands",
    ["sleep 1000", "kill -STOP $$; sleep 1000", "trap '' TERM; (setsid sleep 1000 &); sleep 1000"],
    ids=["sleeps", "is stopped", "has daemons"],
)
def test_kill_kills_everything(any_box: Sandbox, commands: str) -> None:
    with any_box.start(["sh", "-c", f"echo ready; {commands}"], stdout=PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.kill()
        result = process.wait()
        assert (result.returncode, result.reason, result.describe()) == (-9, ExitReason.KILLED, "killed")
        assert process.stdout.read() == b"", "somebody in there lives and holds the pipe"


def test_killing_what_has_ended_changes_nothing(any_box: Sandbox) -> None:
    with any_box.start(["sh", "-c", "exit 3"], stdout=PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read() == b""
        assert select.select([process], [], [], 60)[0], "init has reported the end, or there is none"
        process.kill()
        assert (process.wait().returncode, process.wait().reason) == (3, ExitReason.EXITED)


# -- lifetime -----------------------------------------------------------------------------------------------------


def test_leaving_the_block_kills(any_box: Sandbox) -> None:
    with pytest.raises(KeyError), talker(any_box) as process:
        raise KeyError
    assert process.wait().reason is ExitReason.KILLED
    assert not psutil.pid_exists(process.pid)


def test_forgetting_it_kills(any_box: Sandbox) -> None:
    """Also where a deadline is kept, whose thread must not keep the sandbox."""
    process = talker(any_box, timeout=1000)
    pid = process.pid
    del process
    gc.collect()
    assert not psutil.pid_exists(pid)


def test_deadline_is_kept_though_nobody_waits(any_box: Sandbox) -> None:
    process = any_box.start(["sh", "-c", "(setsid sleep 1000 &) ; exec sleep 1000"], stdout=PIPE, timeout=0.2)
    with process:
        assert process.stdout is not None
        assert process.stdout.read() == b""
        assert process.returncode is None
        assert process.wait().reason is ExitReason.TIMED_OUT
        process.kill()
    assert process.wait().reason is ExitReason.TIMED_OUT


def test_killing_it_after_its_deadline_does_not_change_the_reason(box: Sandbox) -> None:
    with box.start(["sleep", "1000"], stdout=PIPE, timeout=0.1) as process:
        assert process.stdout is not None
        assert process.stdout.read() == b""
        process.kill()
        assert process.wait().reason is ExitReason.TIMED_OUT


def test_a_forked_child_cannot_end_it(box: Sandbox) -> None:
    """Leaving the block or forgetting it in the child must not kill what belongs to the parent."""
    with talker(box) as process:
        child = os.fork()
        if child == 0:
            try:
                process.wait()
            except ChildProcessError:
                process.__exit__()
                del process
                gc.collect()
                os._exit(17)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 17
        assert say(process, "alive\n") == "alive\n"


def test_trace_names_every_step(box: Sandbox) -> None:
    with box.start(["true"], trace=True) as process:
        process.wait()
    owners = {owner for owner, _, _ in process.trace}
    times = [ns for _, _, ns in process.trace]
    assert {"mnt", "user", "pid"} <= owners
    assert times == sorted(times)
    assert times[0] > 0


# -- terminals ----------------------------------------------------------------------------------------------------


def test_a_terminal_for_the_caller_to_drive(box: Sandbox) -> None:
    commands = "tty; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && stty size; read x; stty size; echo $x"
    with box.start(["sh", "-c", commands], tty=True, window=(30, 100)) as process:
        assert process.terminal is not None
        assert process.stdin is process.stdout is None
        seen = b""
        while seen.count(b"\n") < 2:
            seen += os.read(process.terminal, 1000)
        assert seen == b"/dev/pts/0\r\n30 100\r\n"
        process.resize(40, 120)
        os.write(process.terminal, b"typed\n")
        result = process.communicate()
        assert result.stdout == b"typed\r\n40 120\r\ntyped\r\n"
        assert result.returncode == 0
    assert process.terminal is None


def test_resizing_needs_a_terminal(box: Sandbox) -> None:
    with box.start(["sleep", "1000"]) as process, pytest.raises(ValueError, match="this sandbox has no terminal"):
        process.resize(1, 1)


def test_a_driven_terminal_is_stdin_and_stdout(box: Sandbox) -> None:
    with pytest.raises(ValueError, match=r"read from and write to Process\.terminal"):
        box.start(["true"], tty=True, stdout=PIPE)


def test_a_terminal_that_is_captured(box: Sandbox) -> None:
    result = box.run(
        ["sh", "-c", "tty; echo err >&2; cat"], tty=True, input=b"in\nrest", capture_output=True, text=True
    )
    assert [result.stdout.count(word) for word in ("/dev/pts/0\n", "err\n")] == [1, 1]
    assert [result.stdout.count(word) for word in ("in", "rest")] == [2, 2], "what is typed is echoed"
    assert result.stderr is None


def test_stderr_can_be_kept_off_the_terminal(box: Sandbox) -> None:
    result = box.run(["sh", "-c", "tty; tty <&2 >&2"], tty=True, input=b"", stdout=PIPE, stderr=PIPE)
    assert (result.stdout, result.stderr) == (b"/dev/pts/0\r\n", b"not a tty\n")
