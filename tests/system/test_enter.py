"""Further commands in a running sandbox: the same namespaces, groups, limits and rights as its payload."""

from __future__ import annotations

import os
import resource
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from nsjail_py import PIPE, ExitReason, Process, ProgramError, Sandbox, SandboxSpec, UnsupportedError, enter
from nsjail_py.spec.mnt import Mnt
from nsjail_py.spec.namespaces import Pid, User
from nsjail_py.spec.process import Privileges

SCRIPT = "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp)' /proc/self/status; cat /proc/self/cgroup /proc/self/limits"
WAITING = ["/bin/busybox", "sh", "-c", f"{SCRIPT}; echo ready; exec sleep 1000"]


def until_ready(process: Process) -> str:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        if line == "ready\n":
            break
        lines.append(line)
    return "".join(lines)


@pytest.fixture
def sandbox(busybox_root: Path) -> Sandbox:
    return Sandbox(rootfs=busybox_root)


@pytest.fixture
def running(sandbox: Sandbox) -> Iterator[Process]:
    with sandbox.start(WAITING, stdout=PIPE, text=True, name=f"t{secrets.token_hex(6)}") as process:
        yield process


def said(process: Process, *argv: str) -> str:
    return str(process.exec(argv, stdout=PIPE, text=True).communicate().stdout)


def test_same_status_groups_and_limits(running: Process) -> None:
    payload = until_ready(running)
    assert said(running, "/bin/busybox", "sh", "-c", SCRIPT) == payload
    assert "CapEff:\t0000000000000000" in payload


def test_same_limits_from_a_process_with_others(sandbox: Sandbox) -> None:
    with sandbox.start(WAITING, stdout=PIPE, text=True) as running:
        payload = until_ready(running)
        soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0 if soft else 1, hard) if hard else (0, 0))
        try:
            assert said(running, "/bin/busybox", "sh", "-c", SCRIPT) == payload
        finally:
            resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


def test_same_namespaces(running: Process) -> None:
    until_ready(running)
    script = f"for kind in {' '.join(KINDS)}; do readlink /proc/self/ns/$kind; done"
    inside = said(running, "sh", "-c", script).split()
    assert inside == [os.readlink(f"/proc/{running.pid}/ns/{kind}") for kind in KINDS]


KINDS = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")


def test_by_name(running: Process) -> None:
    until_ready(running)
    assert running.name is not None
    result = enter(running.name).run(["hostname"], capture_output=True, text=True)
    assert (result.stdout, result.returncode) == ("sandbox\n", 0)


def test_its_end_leaves_the_sandbox_running(running: Process) -> None:
    until_ready(running)
    assert running.exec(["sh", "-c", "exit 3"]).wait().returncode == 3
    command = running.exec(["sleep", "1000"])
    command.kill()
    assert command.wait().reason is ExitReason.KILLED
    assert running.poll() is None


def test_dies_with_the_sandbox(running: Process) -> None:
    until_ready(running)
    command = running.exec(["sleep", "1000"])
    running.kill()
    running.wait()
    assert command.wait().signal == 9


def test_deadline_of_the_payload_is_not_its_own(busybox_root: Path) -> None:
    with Sandbox(rootfs=busybox_root, timeout=1000).start(WAITING, stdout=PIPE, text=True) as running:
        until_ready(running)
        result = enter_run(running, ["sleep", "1000"], timeout=0.05)
        assert result is ExitReason.TIMED_OUT
        assert running.poll() is None


def enter_run(process: Process, argv: list[str], timeout: float) -> ExitReason:
    return process.exec(argv, timeout=timeout).wait().reason


def test_terminal_of_its_own(running: Process) -> None:
    until_ready(running)
    assert running.name is not None
    result = enter(running.name).run(["tty"], capture_output=True, text=True, tty=True)
    assert result.stdout == "/dev/pts/0\n"


def test_missing_program(running: Process) -> None:
    until_ready(running)
    with pytest.raises(ProgramError, match=r"^payload: execute /bin/missing: No such file or directory \[EXEC, step"):
        running.exec(["/bin/missing"])


def test_no_descriptors_but_its_own(running: Process, tmp_path: Path) -> None:
    until_ready(running)
    opened = [os.open(tmp_path, os.O_RDONLY) for _ in range(50)]
    try:
        # ls has the directory itself open as 3
        assert said(running, "ls", "/proc/self/fd").split() == ["0", "1", "2", "3"]
    finally:
        for fd in opened:
            os.close(fd)


def test_environment_is_not_the_callers(running: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    until_ready(running)
    monkeypatch.setenv("CANARY", "secret")
    assert "CANARY" not in said(running, "env")
    assert "secret" not in said(running, "sh", "-c", "cat /proc/*/environ 2>/dev/null; :")


@pytest.mark.parametrize(
    "spec",
    [
        SandboxSpec(pid=Pid(init=False)),
        SandboxSpec(pid=Pid(init=False, die_with_owner=False), user=User(map="single")),
        SandboxSpec(pid=Pid(mode="off"), mnt=Mnt(proc="try")),
        pytest.param(SandboxSpec(user=User(mode="off")), marks=pytest.mark.root),
        SandboxSpec(user=User(map="single")),
        SandboxSpec(privileges=Privileges(capabilities=("CAP_NET_ADMIN",))),
    ],
    ids=["pid 1 below a watcher", "pid 1", "no pid namespace", "no user namespace", "single id", "a capability"],
)
def test_every_kind_of_sandbox(spec: SandboxSpec, busybox_root: Path) -> None:
    with Sandbox(spec, rootfs=busybox_root).start(WAITING, stdout=PIPE, text=True) as running:
        payload = until_ready(running)
        assert said(running, "/bin/busybox", "sh", "-c", SCRIPT) == payload


def test_ended_sandbox(sandbox: Sandbox) -> None:
    process = sandbox.start(["true"])
    process.wait()
    with pytest.raises(UnsupportedError, match=r"^the sandbox of true has ended$"):
        process.exec(["true"])


def test_unknown_name() -> None:
    with pytest.raises(UnsupportedError, match=r"^no sandbox named nobody is running\nhint: nsjail-py ps lists"):
        enter("nobody")
