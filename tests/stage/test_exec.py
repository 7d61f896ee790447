"""What the payload finds: its descriptors, signals and environment, and nothing besides."""

from __future__ import annotations

import errno
import os
import re
import signal
from pathlib import Path

import pytest

from tests.stage.blob import CONTRACT, Out, Slot, step
from tests.stage.kernel import NEWNS, NEWPID, NR, allowing
from tests.stage.running import EXTRA, STREAMS, Finished, Launcher, execute, opened, shell

pytestmark = pytest.mark.root


def signals(field: str, status: str) -> int:
    (line,) = [line for line in status.splitlines() if line.startswith(field)]
    return int(line.split()[1], 16)


def bit(signal: int) -> int:
    return 1 << signal - 1


SIGHUP, SIGPIPE, SIGXFSZ = 1, 13, 25


def test_signals_are_as_a_program_expects_them(launcher: Launcher) -> None:
    """Blocked ones are unblocked, and what Python ignores is reset; what nohup ignores stays so."""
    ignoring = launcher.tracing("/bin/sh", "-c", "trap '' HUP PIPE XFSZ; exec \"$@\"", "sh")
    done = ignoring.run([STREAMS, execute("/bin/cat", "/proc/self/status")]).succeeded()
    assert signals("SigBlk", done.output) == 0
    assert signals("SigIgn", done.output) & (bit(SIGPIPE) | bit(SIGXFSZ)) == 0
    assert signals("SigIgn", done.output) & bit(SIGHUP)


def test_only_the_given_descriptors(launcher: Launcher) -> None:
    """Whatever the caller holds, what a step leaves in a slot, and even what a plain call leaks."""
    fds = [os.open("/", os.O_RDONLY) for _ in range(50)]
    for fd in fds:
        os.set_inheritable(fd, True)
    plan = [
        step("OPEN", None, "/", os.O_RDONLY, 0, Out(30)),
        step("SYSCALL", NR["dup"], Slot(30)),  # without close-on-exec
        STREAMS,
        execute("/bin/ls", "/proc/self/fd"),
    ]
    with opened("/", os.O_RDONLY) as extra:
        assert launcher.run(plan, extra=[extra]).succeeded().output.split() == ["0", "1", "2", "3"], "3 is ls's own"
    for fd in fds:
        os.close(fd)


def test_nothing_of_the_stage_in_the_environment(launcher: Launcher) -> None:
    plan = [STREAMS, step("EXEC", ["/bin/cat"], ["cat", "/proc/self/environ", "/proc/self/cmdline"], ["ONLY=this"])]
    output = launcher.run(plan).succeeded().output
    assert output == "ONLY=this\0cat\0/proc/self/environ\0/proc/self/cmdline\0"


def test_denied_candidate_is_what_is_reported(launcher: Launcher, tmp_path: Path) -> None:
    """execvp(3): others are tried first."""
    (tmp_path / "denied").write_text("#!/bin/sh\n")
    paths = ["/nowhere", str(tmp_path / "denied"), str(tmp_path / "denied/below"), "/nowhere/either"]
    argv = ["x"]
    launcher.run([STREAMS, step("EXEC", paths, argv, [])]).failed(errno.EACCES, at="ENTRY", index=1)
    found = [*paths, "/bin/true"]
    launcher.run([STREAMS, step("EXEC", found, argv, [])]).succeeded()


def test_candidate_of_another_kind_ends_the_search(launcher: Launcher, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    (tmp_path / "text").chmod(0o755)
    paths = ["/nowhere", str(tmp_path / "text"), "/bin/true"]
    launcher.run([STREAMS, step("EXEC", paths, ["x"], [])]).failed(errno.ENOEXEC, at="ENTRY", index=1)


def test_many_arguments(launcher: Launcher) -> None:
    argv = [str(number) for number in range(20000)]
    done = launcher.run([STREAMS, execute("/bin/echo", *argv, env=[f"V{n}=x" for n in range(5000)])]).succeeded()
    assert done.output.split() == argv


def test_working_directory_outside_the_root(launcher: Launcher, tmp_path: Path) -> None:
    """CVE-2024-21626: by a slot that was open when the root changed, and by staying where the stage was."""
    (tmp_path / "proc").mkdir()
    new_root = [
        step("NEW_FS", "tmpfs", [], 0, Out(20)),
        step("ATTACH", None, Slot(20), "/", 0),
        step("NEW_FS", "proc", [], 0, Out(21)),
        step("ATTACH", Slot(20), Slot(21), "/proc", 1),
        step("PIVOT", Slot(20)),
    ]
    with opened("/etc", os.O_RDONLY) as fd:
        plan = [*new_root, step("CHDIR", [f"/proc/self/fd/{64 + EXTRA}"]), *shell("echo ran")]
        launcher.run(plan, namespaces=NEWNS, extra=[fd]).failed(errno.EXDEV)


def documented(after: str) -> list[str]:
    """The calls that the contract lists in the line after these words."""
    (line,) = re.findall(re.escape(after) + r".*:\n//   (.*)", CONTRACT)
    return list(line.split())


def assert_launched(done: Finished) -> None:
    """The payload was executed, and died of its own first call, which the filter does not allow."""
    assert not done.failure, done
    assert os.waitstatus_to_exitcode(done.of("EXITED")[0].value[0] & 0x7F) == -signal.SIGSYS
    assert done.output == ""


def test_filter_need_only_allow_what_is_documented(launcher: Launcher) -> None:
    allowed = documented("which a filter must allow")
    end = [STREAMS, step("SECCOMP", allowing(allowed), 0, None), execute(str(launcher.probe), "attributes")]
    assert_launched(launcher.run([step("INIT", 0, None), *end], namespaces=NEWPID))
    for call in set(allowed) - {"close", "clock_gettime", "exit_group", "sendmsg"}:
        fewer = step("SECCOMP", allowing([name for name in allowed if name != call]), 0, None)
        done = launcher.run([step("INIT", 0, None), STREAMS, fewer, end[-1]], namespaces=NEWPID)
        assert call == "execve" or done.failed(errno.ECHILD, at="KILLED"), "nothing is listed in vain"


def test_parking_after_the_filter(launcher: Launcher) -> None:
    allowed = documented("which a filter must allow") + documented("for a plan that parks after it")
    plan = [step("INIT", 0, None), step("SECCOMP", allowing(allowed), 0, None), step("GATE", 4, 0, 0)]
    with launcher.start(plan, namespaces=NEWPID) as stage:
        stage.expect("GATE")
        end = [STREAMS, step("CHDIR", ["/"]), execute(str(launcher.probe), "attributes")]
        stage.release("PARKED", steps=end)
        assert_launched(stage.finish())


def test_optional_step_is_skipped(launcher: Launcher) -> None:
    plan = [step("HOSTNAME", "x" * 65, optional=True), *shell("echo ran")]
    done = launcher.run(plan)
    assert (done.output, done.status) == ("ran\n", 0)
    (skipped,) = done.of("SKIPPED")
    assert (skipped.step, skipped.error) == (0, errno.EINVAL)
    assert not done.failure


def test_trace_has_one_report_a_step(launcher: Launcher) -> None:
    plan = [step("UMASK", 0), step("HOSTNAME", "x" * 65, optional=True), step("CHDIR", ["/"]), *shell(":")]
    done = launcher.run(plan, trace=True)
    assert [report.step for report in done.of("TRACE")] == [0, 2, 3]
    times = [report.ns for report in done.reports]
    assert times == sorted(times)
    assert times[0] > 0
