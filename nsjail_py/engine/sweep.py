"""Undo what sandboxes left behind whose owner was killed: ``nsjail-py gc``, and once in the life of each process.

Every sandbox that leaves something on the host is on record before it does (``engine/naming.py``), so a sweep goes
by the records alone and never by what things look like.
"""

from __future__ import annotations

import os
import select

import msgspec

from nsjail_py import running
from nsjail_py.errors import PluginError
from nsjail_py.linux.process import pidfd_open, pidfd_send_signal
from nsjail_py.plugin.manager import Plugins

#: The fact of a plan that leaves something on the host, which a crash would leave for ``nsjail_sweep``.
SWEEP = "sweep"

#: Seconds that a killed sandbox is given to end. One that is frozen does not; the next sweep tries again.
PATIENCE = 5.0

_swept_by = 0


def sweep() -> list[str]:
    """Go over all records; where nobody is left to undo what a sandbox did, have the plugins undo it.

    A failure keeps no other sandbox from being swept; what failed stays on record.

    :returns: what was done and what could not be done, a line each
    :raises OSError: the state directory cannot be used
    """
    lines = [line for record in list(running.records()) if record.abandoned for line in sweep_record(record.name)]
    return [*lines, *(f"{path}: removed an unfinished record" for path in running.remove_unfinished())]


def sweep_once() -> None:
    """Sweep, unless this process has done so: what a crash left is gone at the next start."""
    global _swept_by
    if _swept_by == os.getpid():
        return
    _swept_by = os.getpid()
    try:
        lines = sweep()
    except OSError:
        return  # a start that needs the state directory says so itself, and says it better
    if lines:
        from logging import getLogger  # costs more to import than a sandbox takes to start

        for line in lines:
            getLogger("nsjail_py").info("sweep: %s", line)


def sweep_record(name: str) -> list[str]:
    """Sweep one abandoned sandbox.

    :param name: its name
    :returns: what was done and what could not be done; nothing where another process is at it
    """
    with running.claimed(name) as record:
        if record is None or not record.abandoned:
            return []
        if record.alive:
            if not record.facts.get("die_with_owner", True):
                return []
            if not _kill(record):
                return [f"{name}: killed, but it does not end: perhaps it is frozen"]
        lines, complete = _undo(record)
        if complete:
            running.remove(name)
            lines.append("forgotten")
    return [f"{name}: {line}" for line in lines]


def _kill(record: running.Running) -> bool:
    """End a sandbox that should not have outlived its owner: its init was stopped or frozen when the owner died.

    :returns: whether it has ended
    """
    try:
        pidfd = pidfd_open(record.init)
    except ProcessLookupError:
        return True
    try:
        if record.alive:  # checked again, now that the pid cannot be given to another
            pidfd_send_signal(pidfd, 9)
        gone = select.poll()
        gone.register(pidfd, select.POLLIN)
        return bool(gone.poll(PATIENCE * 1000))
    finally:
        os.close(pidfd)


def _undo(record: running.Running) -> tuple[list[str], bool]:
    """Have the plugins that took part undo it.

    :returns: lines, and whether everything is undone
    """
    if not record.facts.get(SWEEP):
        return [], True
    try:
        plugins = Plugins(record.plugins)
    except PluginError as error:
        return [f"kept on record: {error.message}"], False
    lines, failed = plugins.sweep(msgspec.to_builtins(record))
    lines += [f"{owner}: kept on record: {error}" for owner, error in failed]
    return lines, not failed
