"""Every exception of the package::

    SandboxError
    ├── SpecError (also ValueError)         the spec is wrong; .problems has every problem, with its path in the spec
    ├── PlanError                           the parts do not make a plan that could work
    ├── UnsupportedError                    this kernel, user or machine cannot do what was asked for
    ├── SetupError (also OSError)           a step failed; nothing was run, nothing is left behind
    │   └── ProgramError                    the program is missing or cannot be executed
    ├── CommandError (also subprocess.CalledProcessError)   the program ran and failed, and check=True
    └── PluginError                         a plugin is missing, broken or at odds with another

Messages say what was being done to what, in lower case and without a full stop. The remedy, where there is one, is
`hint`; `str()` shows it on a line of its own.
"""

from __future__ import annotations

import errno as _errno
import os

from nsjail_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from nsjail_py.command_error import CommandError as CommandError


class SandboxError(Exception):
    """The base of every exception that this package raises on purpose.

    :param message: what was being done to what
    :param hint: what to do about it
    """

    hint: str | None = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class Problem(Record):
    """One thing that is wrong with a spec.

    :param path: where, as in ``$.mnt.mounts[0].target``
    :param message: what
    :param hint: what to do about it
    """

    path: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        text = f"{self.path}: {self.message}"
        return f"{text}\nhint: {self.hint}" if self.hint else text


class SpecError(SandboxError, ValueError):
    """A spec is wrong. All its problems are found and raised together.

    :param problems: at least one

    >>> print(SpecError([Problem("$.uts.hostname", "is longer than 64 characters", "shorten it")]))
    $.uts.hostname: is longer than 64 characters
    hint: shorten it
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problems,)


class PlanError(SandboxError):
    """Parts contradict each other, or the plan would break an invariant of :mod:`nsjail_py.plan`."""


class UnsupportedError(SandboxError):
    """This kernel, user or machine cannot do what was asked for by name."""


class PluginError(SandboxError):
    """A plugin is missing, cannot be loaded, or claims what another owns."""


class SetupError(SandboxError, OSError):
    """A step of the set-up failed. The program has not run, and whatever was done has been undone.

    :param step: what was being done, as in ``bind /srv/data -> /data (read-only)``
    :param owner: the plugin whose step it is
    :param errno: the kernel's reason
    :param phase: the phase of the step
    :param index: its position in the plan, from 0; the message counts from 1
    :param total: how many steps the plan has
    :param path: the file that the failed call was about
    :param hint: what to do about it
    :param reason: what happened, where the kernel's words for ``errno`` do not say it

    >>> import errno
    >>> print(SetupError("bind /srv/data -> /data (read-only)", owner="mnt", errno=errno.ENOENT, phase="MOUNT",
    ...                  index=13, total=37, hint="create /srv/data, or write the bind as optional"))
    mnt: bind /srv/data -> /data (read-only): No such file or directory [MOUNT, step 14 of 37]
    hint: create /srv/data, or write the bind as optional
    """

    def __init__(
        self,
        step: str,
        *,
        owner: str,
        errno: int,
        phase: str | None = None,
        index: int | None = None,
        total: int | None = None,
        path: str | None = None,
        hint: str | None = None,
        reason: str | None = None,
    ) -> None:
        place = [phase] if phase else []
        if index is not None:
            place.append(f"step {index + 1}" + (f" of {total}" if total is not None else ""))
        where = f" [{', '.join(place)}]" if place else ""
        SandboxError.__init__(self, f"{owner}: {step}: {reason or os.strerror(errno)}{where}", hint=hint)
        self.errno = errno
        self.strerror = reason or os.strerror(errno)
        self.filename = path
        self.step = step
        self.owner = owner
        self.phase = phase
        self.index = index
        self.total = total

    @property
    def path(self) -> str | None:
        """The file that the failed call was about."""
        path: str | None = self.filename
        return path

    __str__ = SandboxError.__str__

    def __reduce__(self) -> tuple[Any, ...]:
        from functools import partial

        fields = ("owner", "errno", "phase", "index", "total", "path", "hint")
        values = {name: getattr(self, name) for name in fields}
        return partial(type(self), self.step, reason=self.strerror, **values), ()


class ProgramError(SetupError):
    """The program to run is missing or cannot be executed. Parameters are those of :class:`SetupError`."""

    @property
    def exit_status(self) -> int:
        """What a shell would exit with: 127 for a missing program, 126 for one that cannot be executed."""
        return 127 if self.errno in (_errno.ENOENT, _errno.ENOTDIR) else 126


def __getattr__(name: str) -> object:
    # Its other base is in `subprocess`, which takes longer to import than all the rest of a launch.
    if name == "CommandError":
        from nsjail_py.command_error import CommandError

        return CommandError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
