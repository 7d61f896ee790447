"""Init: what it reports, passes on and outlives, and what its payload cannot do to it."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.stage.blob import REPORT, Slot, Step, const, step
from tests.stage.kernel import NEWNS, NEWPID, killing
from tests.stage.running import (
    EXTRA,
    STDERR,
    STDIN,
    STDOUT,
    STREAMS,
    Launcher,
    Running,
    descriptors,
    execute,
    opened,
    shell,
)

pytestmark = pytest.mark.root

INIT = step("INIT", 0, None)
OUTSIDE, REAPER = const("INIT_OUTSIDE"), const("INIT_REAPER")
PROC = step("MOUNT", None, "/proc", "proc", 0, None)

#: how init may stand to its payload: (namespaces, steps)
STANDINGS: dict[str, tuple[int, list[Step]]] = {
    "pid 1": (NEWPID, [INIT]),
    "outside": (0, [step("INIT", OUTSIDE, None)]),
    "outside, of pid 1": (0, [step("UNSHARE", NEWPID), step("INIT", OUTSIDE, None)]),
    "reaper": (0, [step("INIT", OUTSIDE | REAPER, None)]),
    "pid 1 below fork": (0, [step("UNSHARE", NEWPID), step("FORK"), INIT]),
}
everywhere = pytest.mark.parametrize("standing", STANDINGS)


def start(launcher: Launcher, standing: str, script: str, owner: int | None = None) -> Running:
    namespaces, steps = STANDINGS[standing]
    return launcher.start([*steps, *shell(script)], namespaces=namespaces, owner=owner)


# -- reports ------------------------------------------------------------------------------------------------------


@everywhere
def test_reports_the_start_and_the_end(standing: str, launcher: Launcher) -> None:
    script = "echo $$; i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; exit 7"
    with start(launcher, standing, script) as stage:
        started = stage.expect("STARTED")
        (pidfd,) = started.fds
        stage.expect("EXITED")
        done = stage.finish()
    _, exited = done.reports
    status, user, system, memory, _ = exited.value
    assert os.waitstatus_to_exitcode(status) == done.status == 7
    assert 0 < user + system < 10_000_000, "microseconds"
    assert 100 < memory < 1_000_000, "KiB"
    if standing != "outside, of pid 1":
        assert int(done.output) == started.value[0]
    assert pidfd > 0


@everywhere
def test_payload_is_reached_by_its_pidfd(standing: str, launcher: Launcher) -> None:
    with start(launcher, standing, "echo ready; read x") as stage:
        (pidfd,) = stage.expect("STARTED").fds
        assert stage.line() == "ready"
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        done = stage.finish()
    assert os.waitstatus_to_exitcode(done.of("EXITED")[0].value[0]) == -signal.SIGKILL
    assert done.status == 128 + signal.SIGKILL


@everywhere
def test_reports_stops(standing: str, launcher: Launcher) -> None:
    """Pid 1 cannot be stopped from inside its namespace: there the payload stops by the owner's hand."""
    with start(launcher, standing, "echo ready; read x") as stage:
        stage.expect("STARTED")
        stage.line()
        stage.control("SIGNAL", signal.SIGSTOP)
        assert stage.expect("STOPPED").value[0] == signal.SIGSTOP
        stage.control("SIGNAL", signal.SIGCONT)
        stage.control("SIGNAL", signal.SIGKILL)
        stage.expect("EXITED")


def fill(queue: socket.socket) -> int:
    """Send reports until there is room for no more; their number."""
    report = REPORT.pack(const("REPORT_TRACE"), 0, 0, 0, *[0] * 5)
    for number in itertools.count():
        try:
            queue.send(report, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return number
    raise AssertionError("a queue without an end")


def test_end_is_reported_even_to_a_full_queue(launcher: Launcher) -> None:
    """The owner has not read for long; the last report waits for room."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with launcher.start([INIT, *shell("read x; exit 3")], namespaces=NEWPID, pair=(ours, theirs)) as stage:
        stage.expect("STARTED")
        filler = fill(theirs)
        theirs.close()
        stage.feed(b"go\n")
        assert stage.output() == "", "the payload is gone"
        for _ in range(filler):
            stage.expect("TRACE")
        stage.expect("EXITED")
        assert stage.process.wait() == 3


# -- signals ------------------------------------------------------------------------------------------------------


def probe_signals(launcher: Launcher, standing: str) -> Running:
    namespaces, steps = STANDINGS[standing]
    plan = [*steps, step("SETSID"), STREAMS, execute(str(launcher.probe), "signals")]
    stage = launcher.start(plan, namespaces=namespaces)
    stage.expect("STARTED")
    assert stage.line() == "ready"
    return stage


def inits_pid(stage: Running, standing: str) -> int:
    children = Path(f"/proc/{stage.pid}/task/{stage.pid}/children").read_text().split()
    return int(children[0]) if standing == "pid 1 below fork" else stage.pid


@everywhere
def test_passes_signals_on(standing: str, launcher: Launcher) -> None:
    with probe_signals(launcher, standing) as stage:
        for name in ("HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "CONT", "TSTP", "WINCH", "TERM"):
            os.kill(inits_pid(stage, standing), signal.Signals[f"SIG{name}"])
            assert stage.line() == name
        assert stage.finish().status == 0


@everywhere
@pytest.mark.parametrize("control", ["SIGNAL", "SIGNAL_GROUP", "SIGNAL_ALL"])
def test_sends_what_the_owner_asks_for(standing: str, control: str, launcher: Launcher) -> None:
    with probe_signals(launcher, standing) as stage:
        for name in ("USR1", "PIPE", "TERM"):
            stage.control(control, signal.Signals[f"SIG{name}"])
            assert stage.line() == name
        assert stage.finish().status == 0


def test_group_of_the_caller_is_left_alone(launcher: Launcher) -> None:
    """A payload outside, in the caller's own process group: only it is signalled, or this test would end here."""
    plan = [*STANDINGS["outside"][1], STREAMS, execute(str(launcher.probe), "signals")]
    with launcher.start(plan) as stage:
        stage.expect("STARTED")
        stage.line()
        stage.control("SIGNAL_GROUP", signal.SIGTERM)
        assert stage.line() == "TERM"
        assert stage.finish().status == 0


def test_all_means_all_but_init(launcher: Launcher) -> None:
    probe = f"{launcher.probe} signals"
    with launcher.start([INIT, *shell(f"{probe} & trap '' HUP; {probe}; :")], namespaces=NEWPID) as stage:
        stage.expect("STARTED")
        assert [stage.line(), stage.line()] == ["ready", "ready"]
        stage.control("SIGNAL_ALL", signal.SIGHUP)
        stage.control("SIGNAL_ALL", signal.SIGKILL)
        assert stage.finish().status == 128 + signal.SIGKILL


# -- ends ---------------------------------------------------------------------------------------------------------


def test_reaps_a_thousand_orphans(launcher: Launcher) -> None:
    script = """
        i=0; while [ $i -lt 1000 ]; do (: &); i=$((i + 1)); done
        tries=0
        while set -- /proc/[0-9]*; [ $# -gt 2 ]; do tries=$((tries + 1)); [ $tries -lt 100000 ] || exit 1; done
        echo $#
    """
    done = launcher.run([PROC, INIT, *shell(script)], namespaces=NEWPID | NEWNS)
    assert (done.output, done.status) == ("2\n", 0)


@everywhere
def test_dies_with_its_owner(standing: str, launcher: Launcher) -> None:
    """So does the payload, which ignores all that it can; its output ends."""
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as owner:
        watched = os.pidfd_open(owner.pid)
        with start(launcher, standing, "trap '' TERM HUP INT; echo ready; read x", owner=watched) as stage:
            stage.expect("STARTED")
            stage.line()
            owner.kill()
            assert stage.output() == ""
            assert stage.receive() is None
            assert stage.process.wait() in (128 + signal.SIGKILL, -signal.SIGKILL)
        os.close(watched)


@everywhere
def test_lives_on_when_nobody_listens(standing: str, launcher: Launcher) -> None:
    """The owner lives but has closed its socket: detached."""
    with start(launcher, standing, "read word; echo $word; exit 4") as stage:
        stage.expect("STARTED")
        stage.socket.close()
        stage.feed(b"on\n")
        assert stage.output() == "on\n"
        assert stage.process.wait() == 4


@pytest.mark.parametrize("standing", [name for name in STANDINGS if name != "outside"])
def test_what_is_left_behind_dies_with_the_payload(standing: str, launcher: Launcher) -> None:
    """A daemon of its own session holds the pipe; the end of file is the proof."""
    with start(launcher, standing, "exec 3<&0; setsid sh -c 'trap \"\" TERM HUP; read x <&3' & exit 2") as stage:
        done = stage.finish()
    assert done.status == 2
    assert done.of("EXITED")


def test_reaper_kills_many_generations(launcher: Launcher, tmp_path: Path) -> None:
    """Each has a session of its own, starts the next and waits for ever; the last one lets the payload end."""
    chain = tmp_path / "chain"
    chain.write_text('[ $1 -eq 0 ] && echo || setsid sh "$0" $(($1 - 1)) & read x <&3')
    read, write = os.pipe()
    given = descriptors((STDIN, 0), (STDOUT, 1), (STDERR, 2), (EXTRA, 4))
    script = f"exec 3<&0; sh {chain} 9 & read word <&4; exit 6"
    plan = [*STANDINGS["reaper"][1], given, execute("/bin/sh", "-c", script)]
    with launcher.start(plan, extra=[read]) as stage:
        assert stage.line() == ""
        os.write(write, b"end\n")
        done = stage.finish()
    assert done.status == 6
    os.close(read)
    os.close(write)


@everywhere
def test_payload_that_is_not_there(standing: str, launcher: Launcher) -> None:
    namespaces, steps = STANDINGS[standing]
    done = launcher.run([*steps, STREAMS, execute("/nowhere")], namespaces=namespaces)
    done.failed(errno.ENOENT)
    assert not done.of("STARTED")
    assert not done.of("EXITED")


@everywhere
def test_killed_before_exec(standing: str, launcher: Launcher) -> None:
    """A filter that kills the launch's own last calls: nobody else could say so."""
    namespaces, steps = STANDINGS[standing]
    plan = [*steps, step("SECCOMP", killing("rt_sigprocmask"), 0, None), *shell("echo ran")]
    done = launcher.run(plan, namespaces=namespaces)
    failure = done.failed(errno.ECHILD, at="KILLED")
    assert failure.step == len(plan) - 1
    assert os.waitstatus_to_exitcode(failure.value[1] & 0x7F) == -signal.SIGSYS


def test_keeps_a_slot_open_as_long_as_it_lives(launcher: Launcher, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    ours = os.open(path, os.O_RDONLY)
    fcntl.flock(ours, fcntl.LOCK_EX)
    plan = [step("INIT", 0, Slot(EXTRA)), *shell("echo ready; read x")]
    with launcher.start(plan, namespaces=NEWPID, extra=[ours]) as stage, opened(path, os.O_RDONLY) as other:
        stage.expect("STARTED")
        stage.line()
        os.close(ours)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        stage.control("SIGNAL", signal.SIGKILL)
        stage.finish()
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_fork_dies_as_its_child_did(launcher: Launcher) -> None:
    """The payload is pid 1 of the new namespace, where only a signal from outside can kill it."""
    plan = [step("UNSHARE", NEWPID), step("FORK"), *shell("echo ready; read x")]
    with launcher.start(plan) as stage:
        assert stage.receive() is None, "the parent does not hold the report socket"
        stage.line()
        (payload,) = Path(f"/proc/{stage.pid}/task/{stage.pid}/children").read_text().split()
        os.kill(int(payload), signal.SIGKILL)
        assert stage.process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("standing", [*STANDINGS, "fork"])
def test_killing_init_kills_the_payload(standing: str, launcher: Launcher) -> None:
    """Outside by PDEATHSIG, which is asked for again after the change of ids that clears it."""
    namespaces, steps = STANDINGS.get(standing, (0, [step("UNSHARE", NEWPID), step("FORK")]))
    plan = [*steps, step("IDS", 1000, 1000), step("CAPS", 0, 0, 0, 0), *shell("trap '' TERM; echo ready; read x")]
    with launcher.start(plan, namespaces=namespaces) as stage:
        stage.line()
        os.kill(stage.pid, signal.SIGKILL)
        assert stage.output() == ""


# -- S49: what a payload of the same uid cannot do ----------------------------------------------------------------

REFUSED = {"pidfd_getfd": "EPERM", "mem": "EACCES", "environ": "EACCES", "auxv": "EACCES", "exe": "EACCES",
           "fd": "EACCES", "process_vm_readv": "EPERM", "ptrace": "EPERM"}  # fmt: skip

#: root in the sandbox, as init is, with init's one capability: fewer would alone be a reason to refuse a trace
SAME_CAPS = [step("BOUND", 1 << 5)]


def attack(output: str) -> dict[str, str]:
    """What was tried -> what came of it."""
    found = {}
    for line in output.splitlines():
        what, result = line.split()
        found[what] = result
    return found


def test_payload_cannot_get_at_init(launcher: Launcher) -> None:
    plan = [PROC, INIT, *SAME_CAPS, *shell(f"{launcher.probe} attack 1; echo alive yes")]
    done = launcher.run(plan, namespaces=NEWPID | NEWNS).succeeded()
    assert attack(done.output) == REFUSED | {"STOP": "done", "KILL": "done", "alive": "yes"}
    assert done.of("EXITED"), "init was neither stopped nor killed"


def test_the_same_succeeds_against_another_process(launcher: Launcher) -> None:
    """The control: what is refused above is refused because it is init."""
    plan = [PROC, INIT, *SAME_CAPS, *shell(f"exec {launcher.probe} attack")]
    done = launcher.run(plan, namespaces=NEWPID | NEWNS)
    assert set(attack(done.output).values()) == {"done"}


@everywhere
def test_init_is_not_dumpable_before_there_is_a_payload(standing: str, launcher: Launcher) -> None:
    """proc(5): its files then belong to root, whatever ids it has. Afterwards would be too late: CVE-2016-9962."""
    namespaces, steps = STANDINGS[standing]
    plan = [*steps[:-1], step("IDS", 1000, 1000), step("DUMPABLE", 1), steps[-1], step("GATE", 4, 0, 0)]
    with launcher.start(plan, namespaces=namespaces) as stage:
        stage.expect("GATE")
        assert Path(f"/proc/{inits_pid(stage, standing)}/stat").stat().st_uid == 0


def test_payload_cannot_starve_init(launcher: Launcher) -> None:
    """A flood of signals and of orphans: the owner's word is heard all the same."""
    script = "trap '' USR1; (while :; do kill -USR1 1; done) & echo flooding; while :; do (: &); done"
    with start(launcher, "pid 1", script) as stage:
        stage.expect("STARTED")
        assert stage.line() == "flooding"
        stage.control("SIGNAL", signal.SIGKILL)
        stage.expect("EXITED")


@pytest.mark.parametrize("standing", ["pid 1", "outside", "reaper"])
def test_init_keeps_nothing_that_it_does_not_need(standing: str, launcher: Launcher) -> None:
    namespaces, steps = STANDINGS[standing]
    plan = [*steps, STREAMS, execute(str(launcher.probe), "signals", env=["SECRET=canary"])]
    with launcher.start(plan, namespaces=namespaces) as stage:
        stage.expect("STARTED")
        assert stage.line() == "ready"
        stage.control("SIGNAL", signal.SIGUSR1)
        assert stage.line() == "USR1", "init is in its loop"
        proc = Path(f"/proc/{stage.pid}")
        status = dict(line.split(":\t", 1) for line in proc.joinpath("status").read_text().splitlines())
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 1 << 5, "CAP_KILL"
        assert (int(status["NoNewPrivs"]), int(status["Seccomp"])) == (1, 2)
        links = [os.readlink(fd) for fd in proc.joinpath("fd").iterdir()]
        kinds = sorted(link.split(":")[0] if "[" in link else "children" for link in links)
        assert [kind for kind in kinds if kind != "children"] == ["anon_inode", "anon_inode", "socket"]
        assert proc.joinpath("environ").read_bytes() == b""
        assert proc.joinpath("cmdline").read_bytes() == b"stage\0"
        leaked = b"canary" in memory(proc)
    assert not leaked


def memory(proc: Path) -> bytes:
    """All that is readable of a process, as a tracer with every capability sees it."""
    found = b""
    with open(proc / "mem", "rb", buffering=0) as file:
        for line in (proc / "maps").read_text().splitlines():
            start, end = (int(word, 16) for word in line.split()[0].split("-"))
            if line.split()[1].startswith("r") and "[v" not in line:
                file.seek(start)
                found += file.read(end - start)
    assert b"stage" in found, "the argument vector at least"
    return found
