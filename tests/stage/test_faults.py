"""Each system call of a full plan is made to fail in turn: the error names its step, and the payload never runs.

strace(1) injects the failures. A first run without any, traced, says which calls there are and to which step each
belongs: a traced stage sends one report at the end of every step.
"""

from __future__ import annotations

import errno
import re
import shutil
from collections import Counter
from dataclasses import dataclass

import pytest

from tests.stage.blob import Out, Slot, Step, const, step
from tests.stage.cases_mounts import NEW_ROOT, ROOT
from tests.stage.kernel import MS_PRIVATE, NEWIPC, NEWNET, NEWNS, NEWPID, NEWUTS, refusing
from tests.stage.running import Finished, Launcher, shell

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not shutil.which("strace"), reason="needs strace"),
]

SHARES = 8
NAMESPACES = NEWNS | NEWPID | NEWUTS | NEWIPC | NEWNET

BEFORE: list[Step] = [
    step("IDENTITY", 0, 0, const("IDENTITY_DROP_GROUPS")),
    step("PROPAGATION", "/", MS_PRIVATE, 1),
    *NEW_ROOT,
    step("NEW_FS", "proc", [], 0, Out(30)),
    step("ATTACH", ROOT, Slot(30), "proc", const("ATTACH_MKDIR")),
    step("FILE", ROOT, "etc/hostname", b"box\n", 0o644),
    step("CHOWN", ROOT, "etc/hostname", 1, 1),
    step("NEW_FS", "devpts", ["newinstance", "ptmxmode=0666"], 0, Out(31)),
    step("ATTACH", ROOT, Slot(31), "dev/pts", const("ATTACH_MAKE")),
    step("PIVOT", ROOT),
    step("HOSTNAME", "box"),
    step("LOOPBACK", 1),
    step("PTY", Out(32), 24 << 16 | 80),
    step("SET_ATTR", ROOT, None, 1, 0, 0, 0, None),
    step("MASK", ["/proc/acpi", "/proc/timer_list", "/etc/hostname"]),
    step("READONLY", ["/proc/sys"]),
]
AFTER: list[Step] = [
    step("RLIMIT", 4, 0, 0),
    step("RLIMIT", 3, 1 << 20, 1 << 30),
    step("KEYRING"),
    step("SETSID"),
    step("CHDIR", ["/usr"]),
    step("UMASK", 0o22),
    step("GROUPS", None),
    step("BOUND", 0),
    step("IDS", 1000, 1000),
    step("CAPS", 0, 0, 0, 0),
    step("NO_NEW_PRIVS"),
    step("SECCOMP", refusing("uname", 1), 0, None),
    *shell("echo the payload ran"),
]

PLANS: dict[str, list[Step]] = {
    "payload as pid 1": [*BEFORE, *AFTER],
    "init": [*BEFORE, step("INIT", 0, None), *AFTER],
}

#: calls whose failure is nobody's concern (reports, what is closed), or not the plan's
NOT_STEPS = {"sendmsg", "clock_gettime", "close", "munmap", "exit_group"}


@dataclass(frozen=True)
class Call:
    """The n-th call of a name that some process makes, and the step that it belongs to."""

    name: str
    number: int
    step: int


def calls(log: str) -> list[Call]:
    """The calls of the stage and of the payload's side in a traced run, as far as strace can tell them apart.

    strace counts for each process apart: where another process, say the launcher, makes its n-th call of a name
    earlier, that one would be hit, and the call is left out.
    """
    counts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, int], Call | None] = {}
    others: set[str] = set()
    acting: str | None = None  # who carries out the plan
    number = 0
    for pid, name, rest in re.findall(r"^(\d+) +(\w+)\((.*)", log, re.MULTILINE):
        if acting is None and pid not in others and number:
            acting = pid  # the payload's side, after INIT's clone
        counts[pid, name] += 1
        belongs = pid == acting and name not in NOT_STEPS
        first.setdefault((name, counts[pid, name]), Call(name, counts[pid, name], number) if belongs else None)
        if name == "execveat":
            acting = pid
        elif pid != acting:
            others.add(pid)
        elif name == "sendmsg" and 'iov_base="\\3\\0' in rest:
            number += 1
        elif name == "clone":
            others.add(pid)
            acting = None
        elif name == "execve":
            break
    return [call for call in first.values() if call]


@dataclass(frozen=True)
class Run:
    """A plan, and the calls of a run of it in which nothing is made to fail."""

    launcher: Launcher
    plan: list[Step]
    calls: list[Call]

    def injected(self, name: str, number: int) -> Finished:
        """The same with one call failing."""
        inject = f"inject={name}:error=EIO:when={number}"
        traced = self.launcher.tracing("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={name}", "-e", inject)
        return traced.run(self.plan, namespaces=NAMESPACES)


@pytest.fixture(scope="module", params=PLANS)
def run(request: pytest.FixtureRequest, launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Run:
    log = tmp_path_factory.mktemp("strace") / "log"
    traced = launcher.tracing("strace", "-f", "-o", str(log))
    plan = PLANS[request.param]
    done = traced.run(plan, namespaces=NAMESPACES, trace=True).succeeded()
    assert done.output == "the payload ran\n"
    assert len(done.of("TRACE")) == len(plan) - 1
    return Run(launcher, plan, calls(log.read_text()))


@pytest.mark.parametrize("share", range(SHARES))
def test_each_call_in_turn(share: int, run: Run) -> None:
    for call in run.calls[share::SHARES]:
        done = run.injected(call.name, call.number)
        assert done.failure, call
        assert (done.failure.step, done.failure.error) == (call.step, errno.EIO), call
        assert (done.output, done.status) == ("", 125), call
        assert not done.of("STARTED"), call


def test_nearly_every_step_is_reached(run: Run) -> None:
    """Or the test above would say little. After INIT another process begins to count from one."""
    steps = {item.op for item in run.plan}
    missing = steps - {run.plan[call.step].op for call in run.calls}
    assert missing <= {"CLOSE"} | ({"RLIMIT", "GROUPS", "DESCRIPTORS"} if "INIT" in steps else set())
    assert len(run.calls) > 100


def test_init_that_cannot_give_up_its_privileges(launcher: Launcher) -> None:
    """The one failure after the exec: everything is killed, and the payload is never reported as started."""
    run = Run(launcher, PLANS["init"], [])
    done = run.injected("signalfd4", 1)
    assert done.failure
    assert done.failure.error == errno.EIO
    assert done.failure.value[0] == const("AT_GUARD")
    assert run.plan[done.failure.step].op == "INIT"
    assert not done.of("STARTED")
    assert done.status == 125
