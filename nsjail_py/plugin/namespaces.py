"""What the plugins of all eight namespaces do alike: new, off, ``try``, or joined."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

import msgspec

from nsjail_py.errors import Problem
from nsjail_py.linux import constants as c
from nsjail_py.linux.host import Host
from nsjail_py.linux.namespaces import namespace_kind, open_namespace
from nsjail_py.plan import steps
from nsjail_py.plan.launch import Launch
from nsjail_py.plan.part import Part, Slot
from nsjail_py.plan.phases import Phase
from nsjail_py.plugin.evidence import Line
from nsjail_py.running import pid_of
from nsjail_py.spec.namespaces import Cgroupns, Ipc, Net, Pid, Timens, User, Uts
from nsjail_py.spec.units import Mode, parse_mode

__all__ = ["Cgroupns", "Ipc", "Namespace", "Net", "OpenNamespace", "Pid", "Timens", "User", "Uts", "joined"]


def joined(mode: str) -> bool:
    """Whether a mode names an existing namespace."""
    return parse_mode(mode).joined


class OpenNamespace(msgspec.Struct, frozen=True, kw_only=True):
    """Open a namespace to join, in the parent, while its path still means what the caller meant.

    :param kind: as in ``/proc/PID/ns``
    :param mode: which one
    :param slot: where its descriptor goes
    """

    kind: str
    mode: Mode
    slot: Slot
    phase: Phase = Phase.HOST
    rank: int = 0

    @property
    def text(self) -> str:
        return f"open the {self.kind} namespace of {self.mode.kind} {self.mode.value}"

    @property
    def fills(self) -> tuple[Slot, ...]:
        return (self.slot,)

    def run(self, launch: Launch) -> None:
        if self.mode.kind == "fd":
            launch.fill(self.slot, _checked(os.dup(self.mode.number), self.kind))
        elif self.mode.kind == "path":
            launch.fill(self.slot, open_namespace(self.kind, path=self.mode.value))
        else:
            launch.fill(self.slot, self._of_process())

    def _of_process(self) -> int:
        if self.mode.kind == "pid":
            return open_namespace(self.kind, pid=self.mode.number)
        try:
            fd = open_namespace(self.kind, pid=pid_of(self.mode.value))
        except LookupError as error:
            raise ProcessLookupError(errno.ESRCH, str(error.args[0])) from None
        try:
            pid_of(self.mode.value)  # still running: meanwhile its pid could have been given to another process
        except LookupError as error:
            os.close(fd)
            raise ProcessLookupError(errno.ESRCH, str(error.args[0])) from None
        return fd


def _checked(fd: int, kind: str) -> int:
    try:
        found = namespace_kind(fd)
    except OSError as error:
        os.close(fd)
        raise OSError(error.errno, "the descriptor is not a namespace") from None
    if found != kind:
        os.close(fd)
        raise OSError(errno.EINVAL, f"the descriptor is a namespace of kind {found}, not {kind}")
    return fd


class Namespace:
    """One kind of namespace.

    :param section: the spec section that owns it, which is also its name for people
    :param flag: its ``CLONE_NEW*``
    :param kind: its name in ``/proc/PID/ns``
    """

    def __init__(self, section: str, flag: int, kind: str | None = None) -> None:
        self.section = section
        self.flag = flag
        self.kind = kind or section

    def __repr__(self) -> str:
        return f"Namespace({self.section!r})"

    def exists(self, host: Host) -> bool:
        """Whether this kernel and user can have a new one."""
        return self.kind in host.namespaces

    def is_new(self, mode: str, host: Host) -> bool:
        """Whether the sandbox gets one of its own."""
        kind = parse_mode(mode).kind
        return kind == "on" or (kind == "try" and self.exists(host))

    def check(self, mode: str, host: Host) -> Iterable[Problem]:
        """Problems with a mode on this host."""
        parsed = parse_mode(mode)
        path = f"$.{self.section}.mode"
        if parsed.kind == "on" and not self.exists(host):
            yield Problem(
                path,
                f"this kernel or user cannot have a new {self.section} namespace",
                f"see nsjail-py doctor, or set {self.section}.mode to try",
            )
        elif parsed.kind == "path" and not os.path.exists(parsed.value):
            hint = "name a file such as /run/netns/NAME or /proc/PID/ns/KIND"
            yield Problem(path, f"{parsed.value} does not exist", hint)
        elif parsed.kind == "pid" and not os.path.exists(f"/proc/{parsed.value}"):
            yield Problem(path, f"there is no process {parsed.value}", "name a running process")
        elif parsed.kind == "name":
            try:
                pid_of(parsed.value)
            except LookupError as error:
                yield Problem(path, str(error.args[0]), "nsjail-py ps lists the running ones")

    def part(self, mode: str, host: Host) -> Part:
        """The clone flag, the joining, or nothing."""
        parsed = parse_mode(mode)
        if parsed.kind in ("on", "try"):
            if self.exists(host):
                return Part(flags=self.flag)
            warning = f"{self.section}: no namespace of its own: this kernel or user cannot have one"
            return Part(warnings=(warning,))
        if parsed.kind == "off":
            return Part()
        slot = Slot(f"ns:{self.section}")
        text = f"join the {self.section} namespace of {parsed.kind} {parsed.value}"
        # the user namespace first: it gives the right to join the others; mnt last: paths change with it
        rank = {c.CLONE_NEWUSER: -50, c.CLONE_NEWNS: 50}.get(self.flag, 0)
        step = steps.setns(slot, self.flag, text=text, rank=rank)
        if not host.privileged and self.flag != c.CLONE_NEWUSER:
            hint = "an ordinary user joins it together with the user namespace that it belongs to: set user.mode too"
            step = msgspec.structs.replace(step, hint=hint)
        return Part(actions=(OpenNamespace(kind=self.kind, mode=parsed, slot=slot),), steps=(step,))

    def doctor(self, host: Host) -> Iterable[Line]:
        """Whether there can be one."""
        if self.exists(host):
            yield Line(topic=f"{self.section} namespace", state="yes", detail="can be made")
        else:
            yield Line(
                topic=f"{self.section} namespace",
                state="no",
                detail="cannot be made by this user on this kernel",
                remedy=host.namespace_remedy(self.kind),
            )
