"""One launch: parent actions, the clone, the gates, until the payload runs or an error says which step failed.

The only caller of ``spawn``. Whatever fails, the child is killed and reaped and every action undone.
"""

from __future__ import annotations

import errno
import os
import select
import time
from collections.abc import Mapping
from contextlib import suppress
from signal import SIGCONT, SIGKILL

from nsjail_py.engine.compile import Compiled, Template
from nsjail_py.engine.failure import action_failed, bad_plan, out_of_time, spawn_failed, stage_died, step_failed
from nsjail_py.engine.naming import complete_record, put_on_record
from nsjail_py.engine.payload import Payload
from nsjail_py.engine.reports import read_report, release
from nsjail_py.engine.stage import stage
from nsjail_py.engine.sweep import sweep_once
from nsjail_py.linux import constants as c
from nsjail_py.linux.files import sealed_memfd
from nsjail_py.linux.idmap import map_text
from nsjail_py.linux.process import Child, only_child, pidfd_open, pidfd_send_signal, spawn, wait
from nsjail_py.linux.procfs import children
from nsjail_py.linux.sockets import seqpacket_pair
from nsjail_py.linux.stage import Report
from nsjail_py.plan.launch import IdMaps, Launch
from nsjail_py.plan.part import Step
from nsjail_py.plan.phases import Phase
from nsjail_py.running import Running

_owner: tuple[int, int] = (0, -1)

#: Seconds that a launch may go on past the payload's deadline: a short one is still the payload's to run out of.
GRACE = 5.0

#: The stages' ends of report sockets that are open here as well, for the time of a clone. A child that another thread
#: forks meanwhile would hold them, and the end of a stage, or the exec of a payload that is pid 1, would not be heard.
_passing: set[int] = set()


def _forked() -> None:
    while _passing:
        os.close(_passing.pop())


os.register_at_fork(after_in_child=_forked)


class Started(Launch):
    """A launch whose payload runs.

    :ivar report: the owner's end of the report socket
    :ivar payload: pidfd of the payload
    :ivar terminal: the master of the sandbox's terminal, or -1
    :ivar began: CLOCK_MONOTONIC nanoseconds of the call
    :ivar started: of the payload's exec
    :ivar trace: ``(step, nanoseconds)`` of every step, in trace mode
    :ivar record: the sandbox's record, where it has one, as it was before the start
    """

    __slots__ = (
        *("_changed", "_owner", "_planned", "began", "payload"),
        *("record", "report", "started", "terminal", "trace"),
    )

    def __init__(self, compiled: Compiled, planned: tuple[Step, ...], changed: Mapping[int, Step], began: int) -> None:
        super().__init__(compiled.host)
        self.report = -1
        self.payload = -1
        self.terminal = -1
        self.began = began
        self.started = 0
        self.trace: list[tuple[int, int]] = []
        self.record: Running | None = None
        self._planned = planned
        self._changed = changed
        self._owner = os.getpid()

    def __del__(self) -> None:
        # a signal handler has raised when this was about to be handed over: it is nobody's
        if getattr(self, "_owner", 0) == os.getpid() and self.pidfd >= 0:
            self.kill()
            close(self)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps as they were carried out."""
        return tuple(self._changed.get(index, step) for index, step in enumerate(self._planned))

    def kill(self) -> None:
        """SIGKILL to everything that was started, and wait until it is gone.

        A stage that waits outside for a child inside is left to reap that child and to end by itself: an orphan in a
        pid namespace is given to the nearest subreaper of the host, and the namespace cannot end until that reaps.
        """
        if self.pidfd < 0:
            return
        with suppress(OSError):
            below = children(self.pid)
            pidfd_send_signal(self.pidfd, 0)  # nobody has waited for it yet: the pid is still its own
            for child in below:
                with suppress(ProcessLookupError):
                    os.kill(child, SIGKILL)
            # one outside of a pid namespace can be stopped by a payload of the same uid, and must reap now
            pidfd_send_signal(self.pidfd, SIGCONT if below else SIGKILL)
        with suppress(ChildProcessError):
            wait(self.pidfd)

    @property
    def _forked(self) -> bool:
        return any(step.op == c.NSJ_OP_FORK for step in self._planned)

    @property
    def init_pid(self) -> int:
        """The host pid of its init, or of a payload that is pid 1: the stage's own, or that of its only child."""
        below = children(self.pid) if self._forked else []
        return below[0] if below else self.pid

    def kill_pid_1(self) -> None:
        """SIGKILL to pid 1 of the sandbox's own pid namespace, with which all others in it die.

        Where the stage had to fork into that namespace, pid 1 is its only child; the stage reaps that and follows. To
        kill the stage instead would leave pid 1 to whoever adopts orphans, dying after it was said to be dead.
        """
        inner = only_child(self.pid) if self._forked else -1
        try:
            pidfd_send_signal(self.pidfd, 0)  # another thread may have waited for it: then that was a stranger's child
            pidfd_send_signal(inner if inner >= 0 else self.pidfd, SIGKILL)
            if inner >= 0:
                pidfd_send_signal(self.pidfd, SIGCONT)  # somebody may have stopped it, and it has to reap
        finally:
            if inner >= 0:
                os.close(inner)


def launch(
    compiled: Compiled,
    payload: Payload,
    descriptors: Mapping[int, int],
    *,
    began: int,
    deadline: float | None = None,
    trace: bool = False,
    name: str | None = None,
) -> Started:
    """Start a payload.

    :param compiled: the checked and planned spec
    :param payload: what to execute
    :param descriptors: the caller's descriptor for each number of the payload; they stay the caller's
    :param began: CLOCK_MONOTONIC of the call, in nanoseconds
    :param deadline: CLOCK_MONOTONIC in seconds; a launch that hangs is given up a while after it
    :param trace: have every step reported
    :param name: a name to be put on record under
    :returns: the launch; its undo stack is to be closed when the sandbox has ended
    :raises SetupError: a step failed; nothing is left
    """
    sweep_once()
    template = compiled.template(payload)
    owned = bool(compiled.facts.get("die_with_owner", True))
    blob, changed = template.blob(payload, trace=trace, owned=owned)
    started = Started(compiled, template.plan.steps, changed, began)
    started.warnings.extend(template.plan.warnings)
    try:
        put_on_record(started, compiled, payload.argv, name)
        _run_actions(started, compiled, template, Phase.HOST)
        _spawn(started, compiled, template, blob, descriptors)
        _follow(started, compiled, template, deadline)
        complete_record(started)
        started.release()
    except BaseException:
        started.kill()
        close(started)
        raise
    return started


def _run_actions(started: Started, compiled: Compiled, template: Template, phase: Phase) -> None:
    for owned in template.plan.actions:
        if owned.action.phase is phase:
            try:
                owned.action.run(started)
            except OSError as error:
                raise action_failed(compiled, owned, error) from error


def _spawn(
    started: Started, compiled: Compiled, template: Template, blob: bytes, descriptors: Mapping[int, int]
) -> None:
    plan = template.plan
    theirs = -1
    program = -1
    child = Child()
    try:
        started.report, theirs = seqpacket_pair()
        _passing.add(theirs)
        program = sealed_memfd("nsjail-py-plan", blob)
        slots = [theirs, program, owner_pidfd()]
        for born in template.born:
            slots.append(descriptors[born] if isinstance(born, int) else started.descriptor(born))
        writes, gate = _map_writes(started.maps, plan.flags)
        spawn(
            child=child,
            flags=plan.flags,
            stage=stage(),
            slots=slots,
            cgroup=started.cgroup,
            keep=plan.capabilities,
            report=started.report,
            writes=writes,
            release_gate=0 if template.handed else gate,
        )
    except OSError as error:
        raise spawn_failed(compiled, error) from error
    finally:
        started.pid, started.pidfd = child.pid, child.pidfd
        _passing.discard(theirs)
        for fd in (theirs, program):
            if fd >= 0:
                os.close(fd)


def _map_writes(maps: IdMaps | None, flags: int) -> tuple[list[tuple[str, bytes]], int]:
    """What the parent writes into ``/proc/PID`` right after the clone, and the gate that waits for it."""
    if maps is None or maps.helper or not flags & c.CLONE_NEWUSER:
        return [], 0
    return map_files(maps), c.NSJ_GATE_CREATED


def map_files(maps: IdMaps) -> list[tuple[str, bytes]]:
    """File names below ``/proc/PID`` and what is written to them, in order (user_namespaces(7))."""
    writes = [] if maps.setgroups else [("setgroups", b"deny")]
    return [*writes, ("uid_map", map_text(maps.uids)), ("gid_map", map_text(maps.gids))]


def _follow(started: Started, compiled: Compiled, template: Template, deadline: float | None) -> None:
    """Read reports until the payload runs."""
    plan = template.plan
    if template.handed:
        _run_actions(started, compiled, template, Phase.CREATED)
        fds = [started.descriptor(slot) for each in template.handed for slot in each.fills]
        release(started.report, c.NSJ_GATE_CREATED, fds, plan.birth)
    init = bool(plan.facts.get("init", True))
    poll = select.poll()
    poll.register(started.report, select.POLLIN)
    while True:
        # what enters a running sandbox can be stopped by a payload there before it executes anything
        if deadline is not None and not poll.poll(max(0.0, deadline + GRACE - time.monotonic()) * 1000):
            raise out_of_time()
        received = read_report(started.report)
        if received is None:
            if init:
                raise stage_died(wait(started.pidfd))
            # payload as pid 1: exec has closed the stage's end of the socket
            started.started = time.monotonic_ns()
            started.payload = only_child(started.pid) if plan.flags & c.CLONE_NEWPID == 0 else -1
            if started.payload < 0:
                started.payload = os.dup(started.pidfd)
            return
        report, fds = received
        _take(started, compiled, report, fds)
        if report.kind == c.NSJ_REPORT_GATE and report.value[0] == c.NSJ_GATE_READY:
            _run_actions(started, compiled, template, Phase.READY)
            release(started.report, c.NSJ_GATE_READY)
        if report.kind == c.NSJ_REPORT_STARTED:
            return


def _take(started: Started, compiled: Compiled, report: Report, fds: list[int]) -> None:
    """Act on one report of the set-up."""
    match report.kind:
        case c.NSJ_REPORT_STARTED:
            started.payload = fds[0]
            started.started = report.ns
        case c.NSJ_REPORT_FAILED:
            raise step_failed(compiled, started.steps, report)
        case c.NSJ_REPORT_BAD_PLAN:
            raise bad_plan(started.steps, report)
        case c.NSJ_REPORT_SKIPPED:
            _skipped(started, report)
        case c.NSJ_REPORT_TRACE:
            started.trace.append((report.step, report.ns))
        case c.NSJ_REPORT_GATE:
            _gate(started, report)
        case c.NSJ_REPORT_FD:
            started.terminal = fds[0]


def _skipped(started: Started, report: Report) -> None:
    # not there, or in need of what was not there: as the author of an optional step foresaw
    if report.error not in (errno.ENOENT, errno.EBADF):
        step = started.steps[report.step]
        started.warnings.append(f"{step.owner}: {step.text}: {os.strerror(report.error)}")


def _gate(started: Started, report: Report) -> None:
    if report.value[0] == c.NSJ_GATE_MAPPED and started.maps is not None:
        for name, text in map_files(started.maps):
            with open(f"/proc/{started.pid}/{name}", "wb") as file:
                file.write(text)
        release(started.report, c.NSJ_GATE_MAPPED)


def owner_pidfd() -> int:
    """A pidfd of this process, made once; a forked child makes its own."""
    global _owner
    pid = os.getpid()
    if _owner[0] != pid:
        _owner = (pid, pidfd_open(pid))
    return _owner[1]


def close(started: Started) -> None:
    """Close every descriptor of a launch, and take back what its actions did."""
    try:
        for name in ("report", "pidfd", "payload", "terminal"):
            fd = getattr(started, name)
            setattr(started, name, -1)  # first: a signal handler may raise, and no number may be closed twice
            if fd >= 0:
                os.close(fd)
        started.release()
    finally:
        started.undo.close()
