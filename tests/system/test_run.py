"""``run``: what goes in, what comes out, and how it is said to have ended."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from nsjail_py import CommandError, ExitReason, Result, Sandbox, SandboxSpec, SpecError, run
from nsjail_py.spec.process import Process


def test_reads_like_subprocess_run(busybox_root: Path) -> None:
    result = run(["echo", "hello"], rootfs=busybox_root, hostname="box", capture_output=True, text=True)
    assert (result.args, result.returncode, result.stdout, result.stderr) == (("echo", "hello"), 0, "hello\n", "")
    assert result.ok
    assert result.reason is ExitReason.EXITED
    assert result.signal is None


def test_keywords_of_the_sandbox_and_of_the_call(busybox_root: Path) -> None:
    script = "hostname; id -u; pwd; echo $WORD; cat"
    result = run(
        ["sh", "-c", script],
        spec=SandboxSpec(),
        profile="trusted",
        rootfs=busybox_root,
        hostname="named",
        net="none",
        user=7,
        env={"WORD": "one"},
        cwd="/tmp",
        input="from stdin",
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )
    assert result.stdout == "named\n7\n/tmp\none\nfrom stdin"


def test_environment_is_fixed_and_added_to(busybox_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "of the caller")
    box = Sandbox(rootfs=busybox_root, env={"OURS": "1", "BOTH": "sandbox"})
    result = box.run(["env"], env={"BOTH": "call"}, capture_output=True, text=True)
    assert set(result.stdout.splitlines()) == {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME=/root",
        "TERM=xterm",
        "LANG=C.UTF-8",
        "OURS=1",
        "BOTH=call",
    }


# -- how it ended -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [0, 1, 127, 255])
def test_exit_status(any_box: Sandbox, status: int) -> None:
    result = any_box.run(["sh", "-c", f"exit {status}"])
    assert (result.returncode, result.signal, result.reason) == (status, None, ExitReason.EXITED)
    assert result.ok == (status == 0)
    assert result.describe() == f"exited with {status}"


def test_signal_is_negative(box: Sandbox) -> None:
    result = box.run(["sh", "-c", "kill -SEGV $$"])
    assert (result.returncode, result.signal, result.reason) == (-11, 11, ExitReason.SIGNALED)
    assert result.describe() == "killed by SIGSEGV"
    assert not result.ok


def test_killing_itself_is_not_being_killed(box: Sandbox) -> None:
    assert box.run(["sh", "-c", "kill -KILL $$"]).reason is ExitReason.SIGNALED


def test_times_and_usage_are_plausible(any_box: Sandbox) -> None:
    result = any_box.run(["sh", "-c", "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done"])
    assert 0 < result.setup_time < 10
    assert 0 < result.run_time == result.usage["wall_time"]
    assert result.usage["cpu_time"] == pytest.approx(result.usage["user_time"] + result.usage["system_time"])
    assert 0.001 < result.usage["cpu_time"] < 60
    assert 100 << 10 < result.usage["memory_peak"] < 1 << 30


def test_check_raises_what_subprocess_does(box: Sandbox) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        box.run(["sh", "-c", "echo out; echo err >&2; exit 3"], capture_output=True, text=True, check=True)
    error = caught.value
    assert isinstance(error, CommandError)
    assert isinstance(error.result, Result)
    assert (error.returncode, error.stdout, error.stderr) == (3, "out\n", "err\n")
    assert str(error) == "sh -c 'echo out; echo err >&2; exit 3': exited with 3"


def test_check_is_content_with_success(box: Sandbox) -> None:
    assert box.run(["true"], check=True).ok
    box.run(["true"]).check_returncode()


def test_a_result_can_be_checked_later(box: Sandbox) -> None:
    late = box.run(["sleep", "1000"], timeout=0.05)
    with pytest.raises(CommandError, match=r"^sleep 1000: timed out$"):
        late.check_returncode()


# -- the deadline -------------------------------------------------------------------------------------------------

#: Payloads that a politer way of ending them would miss; each says when it is ready.
STUBBORN = {
    "sleeps": "exec sleep 1000",
    "ignores signals": "trap '' TERM INT HUP QUIT; while :; do sleep 1000; done",
    "is stopped": "kill -STOP $$; sleep 1000",
    "has left its session": "setsid sh -c 'sleep 1000' & wait",
    "has forked twice": "(setsid sh -c 'trap \"\" TERM; sleep 1000 & sleep 1000' &) ; sleep 1000",
    "spins": "while :; do :; done",
}


@pytest.mark.parametrize("script", STUBBORN.values(), ids=STUBBORN)
def test_deadline_is_kept_from_outside(any_box: Sandbox, script: str) -> None:
    for timeout in (0.2, 2, 20):
        result = any_box.run(["sh", "-c", f"echo ready; {script}"], timeout=timeout, stdout=subprocess.PIPE)
        assert (result.reason, result.returncode, result.signal) == (ExitReason.TIMED_OUT, -9, 9)
        if result.stdout:  # on a busy machine the shortest may not be enough to get there
            break
    assert result.stdout == b"ready\n"
    assert result.describe() == "timed out"


def test_deadline_does_not_wait_for_pipes_that_daemons_hold(any_box: Sandbox) -> None:
    result = any_box.run(["sh", "-c", "setsid sleep 1000 & echo done"], timeout=60, capture_output=True)
    assert (result.reason, result.stdout) == (ExitReason.EXITED, b"done\n")


def test_deadline_of_the_spec_and_of_the_call(busybox_root: Path) -> None:
    spec = SandboxSpec(process=Process(timeout=0.1))
    assert run(["sleep", "1000"], spec=spec, rootfs=busybox_root).reason is ExitReason.TIMED_OUT
    assert Sandbox(rootfs=busybox_root, timeout=0.1).run(["sleep", "1000"]).reason is ExitReason.TIMED_OUT
    assert Sandbox(rootfs=busybox_root, timeout=0.1).run(["true"], timeout=60).ok


def test_deadline_that_is_over_already(box: Sandbox) -> None:
    assert box.run(["sleep", "1000"], timeout=0).reason is ExitReason.TIMED_OUT


# -- wrong parameters ---------------------------------------------------------------------------------------------

WRONG = {
    "a string": (["true"], {"argv": "true"}, "$.argv: a command is a list of strings, not one string and not empty"),
    "nothing": (["true"], {"argv": []}, "$.argv: a command is a list of strings, not one string and not empty"),
    "no list": (["true"], {"argv": b"true"}, "$.argv: a command is a list of strings, not one string and not empty"),
    "no name": (["true"], {"argv": [""]}, "$.argv: the name of the program is empty"),
    "NUL": (["true"], {"argv": ["a\0b"]}, "$.argv: a word with a NUL character"),
    "variable": (["true"], {"env": {"A=B": "1"}}, "$.env: not a variable: 'A=B'"),
    "value": (["true"], {"env": {"A": "\0"}}, "$.env: not a variable: 'A'"),
    "relative": (["true"], {"cwd": "tmp"}, "$.cwd: not an absolute path: 'tmp'"),
    "endless": (["true"], {"timeout": float("inf")}, "$.timeout: not at most 2000000 seconds: inf"),
    "no number": (["true"], {"timeout": float("nan")}, "$.timeout: not at most 2000000 seconds: nan"),
}


@pytest.mark.parametrize(("argv", "keywords", "message"), WRONG.values(), ids=WRONG)
def test_wrong_parameters(box: Sandbox, argv: list[str], keywords: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        box.run(**{"argv": argv, **keywords})  # type: ignore[arg-type]
    assert str(caught.value).splitlines()[0] == message


def test_words_and_paths_may_be_what_subprocess_takes(box: Sandbox) -> None:
    argv: list[Any] = [Path("/bin/sh"), b"-c", "echo $PWD $A"]
    result = box.run(argv, cwd=Path("/tmp"), env={"A": Path("/b")}, capture_output=True)  # type: ignore[dict-item]
    assert (result.args, result.stdout) == (("/bin/sh", "-c", "echo $PWD $A"), b"/tmp /b\n")
    with pytest.raises(TypeError, match="not int"):
        box.run(["true"], env={"A": 1})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="not int"):
        box.run(["sleep", 1])  # type: ignore[list-item]


def test_a_spec_is_no_dictionary() -> None:
    with pytest.raises(TypeError, match="spec must be a SandboxSpec, not dict"):
        Sandbox({"uts": {"hostname": "box"}})  # type: ignore[arg-type]


def test_parameters_that_exclude_each_other(box: Sandbox) -> None:
    with pytest.raises(ValueError, match="capture_output excludes"):
        box.run(["true"], capture_output=True, stdout=subprocess.DEVNULL)
    with pytest.raises(ValueError, match="input excludes"):
        box.run(["true"], input=b"", stdin=subprocess.PIPE)


# -- the caller is as it was --------------------------------------------------------------------------------------


def _state_of_this_process() -> dict[str, object]:
    status = Path("/proc/self/status").read_text().splitlines()
    kept = ("Umask", "SigBlk", "SigIgn", "SigCgt", "Cap", "Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp")
    return {
        "cwd": os.getcwd(),
        "environ": dict(os.environ),
        "status": [line for line in status if line.startswith(kept)],
        "limits": Path("/proc/self/limits").read_text(),
        "namespaces": {name: os.readlink(f"/proc/self/ns/{name}") for name in sorted(os.listdir("/proc/self/ns"))},
        "handlers": [signal.getsignal(number) for number in range(1, signal.NSIG)],
        "session": (os.getsid(0), os.getpgrp()),
        "oom": Path("/proc/self/oom_score_adj").read_text(),
    }


def test_nothing_of_the_caller_changes(any_box: Sandbox) -> None:
    before = _state_of_this_process()
    any_box.run(["true"], capture_output=True)
    any_box.run(["sleep", "1000"], timeout=0.05)
    with any_box.start(["sleep", "1000"]):
        assert _state_of_this_process() == before
    assert _state_of_this_process() == before


def test_working_directory_of_the_caller_may_be_gone(box: Sandbox, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    before = os.getcwd()
    os.chdir(gone)
    try:
        gone.rmdir()
        assert box.run(["pwd"], capture_output=True).ok
    finally:
        os.chdir(before)
