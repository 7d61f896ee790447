"""What the stage and init report over the socket, and what the owner says to them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence

from nsjail_py.linux import constants as c
from nsjail_py.linux.sockets import recv, send
from nsjail_py.linux.stage import REPORT_SIZE, Report, control, parse_report


def read_report(fd: int) -> tuple[Report, list[int]] | None:
    """The next report and the descriptors that came with it, or ``None`` at the end of the connection."""
    try:
        message, fds = recv(fd, REPORT_SIZE, max_fds=1)
    except ConnectionResetError:
        # it ended without reading what we had sent; that is said once, before what it had reported itself
        message, fds = recv(fd, REPORT_SIZE, max_fds=1)
    if not message:
        return None
    return parse_report(message), fds


def send_control(
    fd: int, kind: int, value: int, *, slot: int = 0, fds: Sequence[int] = (), suffix: bool = False
) -> None:
    """Say something to the stage or to init.

    :param kind: ``NSJ_CONTROL_*``
    :param value: a gate or a signal
    :param slot: the first slot that the descriptors go to
    :param fds: descriptors; with ``suffix`` the last is the further plan
    :raises ProcessLookupError: nobody is there to hear it
    """
    try:
        send(fd, control(kind, value=value, slot=slot, count=len(fds) - suffix, suffix=suffix), fds)
    except (BrokenPipeError, ConnectionResetError):
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH)) from None


def release(fd: int, gate: int, fds: Iterable[int] = (), slot: int = 0) -> None:
    """Let the stage pass a gate."""
    send_control(fd, c.NSJ_CONTROL_RELEASE, gate, slot=slot, fds=tuple(fds))
