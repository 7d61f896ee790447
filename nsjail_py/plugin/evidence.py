"""What hooks on a running or ended sandbox are given."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import msgspec


class LiveProcess(Protocol):
    """A sandbox, as hooks see it."""

    @property
    def name(self) -> str | None:
        """The name of its record; ``None`` where it has none."""

    @property
    def pid(self) -> int:
        """The payload's pid on the host."""

    @property
    def facts(self) -> dict[str, Any]:
        """The united facts of its plan."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """How a sandbox ended, as far as the engine knows.

    :param status: the payload's wait status
    :param killed: the caller killed it
    :param timed_out: its deadline passed
    :param usage: the merged measurements
    """

    status: int
    killed: bool
    timed_out: bool
    usage: dict[str, Any]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``nsjail-py doctor``.

    :param topic: what it is about
    :param state: ``yes``, ``no``, or ``part`` for something that works with a restriction
    :param detail: what was found
    :param remedy: what to do about it; required for a ``no``
    """

    topic: str
    state: Literal["yes", "no", "part"]
    detail: str
    remedy: str | None = None
