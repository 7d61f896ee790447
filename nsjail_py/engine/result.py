"""What a run gives back."""

from __future__ import annotations

import signal as signals
from enum import StrEnum
from typing import Any, Generic, TypeVar

import msgspec

Output = TypeVar("Output", str, bytes)


class ExitReason(StrEnum):
    """What ended a sandbox."""

    EXITED = "exited"
    SIGNALED = "signaled"
    TIMED_OUT = "timed out"
    KILLED = "killed"


class Result(msgspec.Struct, Generic[Output], frozen=True, kw_only=True):
    """How a sandbox ended.

    :param args: the command
    :param returncode: the exit status; -n where signal n ended it
    :param reason: what ended it: an ``ExitReason``, or what a plugin calls it
    :param signal: the signal that ended it, or ``None``
    :param stdout: what was captured, or ``None``
    :param stderr: what was captured, or ``None``
    :param setup_time: seconds from the call to the payload's exec
    :param run_time: seconds from there to its end
    :param usage: measurements, by name
    :param warnings: what was asked for with ``try``, or is a default, and could not be applied
    """

    args: tuple[str, ...]
    returncode: int
    reason: ExitReason | str
    signal: int | None = None
    # not "or None" for type checkers: whoever reads it has captured it, as in subprocess.CompletedProcess
    stdout: Output = None  # type: ignore[assignment]
    stderr: Output = None  # type: ignore[assignment]
    setup_time: float = 0.0
    run_time: float = 0.0
    usage: dict[str, Any] = {}
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it exited with 0 by itself."""
        return self.returncode == 0 and self.reason is ExitReason.EXITED

    def check_returncode(self) -> None:
        """As that of ``subprocess.CompletedProcess``.

        :raises CommandError: it is not ``ok``
        """
        if not self.ok:
            from nsjail_py.errors import CommandError

            raise CommandError(self)

    def describe(self) -> str:
        """One line for people: ``exited with 3``, ``killed by SIGSEGV``."""
        if self.reason is ExitReason.EXITED:
            return f"exited with {self.returncode}"
        if self.reason is ExitReason.SIGNALED and self.signal is not None:
            return f"killed by {signal_name(self.signal)}"
        return str(self.reason)


def signal_name(number: int) -> str:
    """``SIGTERM`` for 15; ``signal 40`` for one without a name."""
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"
