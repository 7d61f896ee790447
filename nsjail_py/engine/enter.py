"""One more program in a running sandbox, by a plan like any other.

A fresh stage on the host's side, born without namespaces, enters the sandbox's control groups, then all its namespaces
in one setns(2), forks into its pid namespace, and gives up the same rights as the payload did. Python never shares
memory with a process inside, and what can be seen from inside is not dumpable before it executes (CVE-2016-9962).
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import msgspec

from nsjail_py import running
from nsjail_py.engine.compile import Compiled
from nsjail_py.errors import UnsupportedError
from nsjail_py.linux import procfs, rlimits
from nsjail_py.linux.groups import Membership, memberships
from nsjail_py.linux.host import Host
from nsjail_py.linux.namespaces import KINDS
from nsjail_py.linux.process import pidfd_open
from nsjail_py.plan import steps
from nsjail_py.plan.launch import Launch
from nsjail_py.plan.part import Part, Slot, Step
from nsjail_py.plan.phases import Phase
from nsjail_py.plugin.manager import Plugins
from nsjail_py.spec.codec import decode
from nsjail_py.spec.process import Process as ProcessSection
from nsjail_py.spec.spec import SandboxSpec

if TYPE_CHECKING:
    from nsjail_py.engine.process import Process

OWNER = "engine"
TARGET = Slot("target")


class Target(msgspec.Struct, frozen=True):
    """The process whose namespaces, groups and limits are entered: its init, which the payload cannot change.

    :param pid: its host pid; the payload's own where that is pid 1
    :param started: its start time, in clock ticks after boot
    """

    pid: int
    started: int


class OpenTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Open a pidfd of the target, and make sure that it is still the process that was meant.

    :param target: the process
    """

    target: Target
    phase: Phase = Phase.HOST
    rank: int = 0
    fills: tuple[Slot, ...] = (TARGET,)

    @property
    def text(self) -> str:
        return f"open the sandbox's process {self.target.pid}"

    def run(self, launch: Launch) -> None:
        launch.fill(TARGET, pidfd_open(self.target.pid))
        # looked at after it was opened: from now on the pid cannot become another's
        if not procfs.lives(self.target.pid, self.target.started):
            raise ProcessLookupError(errno.ESRCH, "the sandbox has ended")


class OpenGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Open the control group of one hierarchy for the stage to enter.

    :param group: the hierarchy and the path of the group in it
    """

    group: Membership
    phase: Phase = Phase.HOST
    rank: int = 0

    @property
    def text(self) -> str:
        return f"open the control group {self.group.path} of {self.group.name}"

    @property
    def fills(self) -> tuple[Slot, ...]:
        return () if self.group.unified else (Slot(f"group:{self.group.name}"),)

    def run(self, launch: Launch) -> None:
        if self.group.unified:
            launch.born_in(os.open(self.group.directory(), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        else:
            launch.fill(self.fills[0], os.open(f"{self.group.directory()}/tasks", os.O_WRONLY | os.O_CLOEXEC))


def entering(target: Target, spec: SandboxSpec, plugins: Plugins, host: Host) -> Compiled:
    """What it takes to run programs in a running sandbox.

    :param target: its process
    :param spec: its spec
    :param plugins: the plugins that planned it
    :raises UnsupportedError: it has no namespace of its own to enter, or has ended
    """
    try:
        groups = [group for group in memberships(target.pid) if group not in memberships(os.getpid())]
        flags = _own_namespaces(target.pid)
        limits = _limits(target.pid)
    except OSError as error:
        raise UnsupportedError(
            f"the sandbox cannot be entered: {error.strerror}", hint="nsjail-py ps lists the running ones"
        ) from error
    made: list[Step] = [
        steps.write(Slot(f"group:{group.name}"), b"0", phase=Phase.CGROUP, text=f"enter {group.path} of {group.name}")
        for group in groups
        if not group.unified
    ]
    if flags:
        made.append(steps.setns(TARGET, flags, text="enter the sandbox's namespaces"))
    part = Part(
        actions=(OpenTarget(target=target), *(OpenGroup(group=group) for group in groups)),
        steps=(*made, *limits),
    )
    # the deadline and the terminal were the payload's own
    process = msgspec.structs.replace(spec.section("process", ProcessSection), timeout=None, tty=False)
    return Compiled(spec.replace(process=process), plugins, host, "exec", extra=((OWNER, part),))


def entering_process(process: Process, compiled: Compiled) -> Compiled:
    """The same for a sandbox of this process's own.

    :param compiled: how it was made
    :raises UnsupportedError: it has ended
    """
    pid = process.init_pid if compiled.facts.get("init", True) else process.pid
    try:
        target = Target(pid, procfs.start_time(pid))
    except OSError:
        raise UnsupportedError(f"the sandbox of {process.args[0]} has ended") from None
    return entering(target, compiled.spec, compiled.plugins, compiled.host)


def entering_named(name: str, plugins: Plugins, host: Host) -> Compiled:
    """The same for a running sandbox by its name.

    :param plugins: the plugins to plan with; those that planned the sandbox are loaded too
    :raises UnsupportedError: none of that name is running
    """
    record = running.load(name)
    if record is None or not record.alive:
        raise UnsupportedError(f"no sandbox named {name} is running", hint="nsjail-py ps lists the running ones")
    for plugin in record.plugins:
        plugins.load(plugin)
    spec = decode(record.spec, "json", plugins.types)
    pid = record.init if record.facts.get("init", True) else record.payload
    return entering(Target(pid, procfs.start_time(pid)), spec, plugins, host)


def _own_namespaces(pid: int) -> int:
    """``CLONE_NEW*`` of the namespaces in which a process differs from this one."""
    flags = 0
    for kind, flag in KINDS.items():
        try:
            own = os.readlink(f"/proc/self/ns/{kind}")
        except FileNotFoundError:  # a kernel without that kind
            continue
        # a process that is ending has none any more (ENOENT), and must not pass for one that shares ours
        if os.readlink(f"/proc/{pid}/ns/{kind}") != own:
            flags |= flag
    return flags


def _limits(pid: int) -> list[Step]:
    """The limits of the target where this process's own differ."""
    made = []
    for name, number in rlimits.NUMBERS.items():
        theirs = rlimits.prlimit(number, pid=pid)
        if theirs != rlimits.prlimit(number):
            made.append(steps.rlimit(name, *theirs))
    return made
