"""The one exception of :mod:`nsjail_py.errors` that is loaded on first use."""

from __future__ import annotations

import shlex
import subprocess
from typing import Any, Protocol

from nsjail_py.errors import SandboxError


class Finished(Protocol):
    """The part of a result that the exception reads."""

    @property
    def args(self) -> Any: ...
    @property
    def returncode(self) -> int: ...
    @property
    def stdout(self) -> Any: ...
    @property
    def stderr(self) -> Any: ...
    def describe(self) -> str: ...


class CommandError(SandboxError, subprocess.CalledProcessError):
    """The program ran and failed, and the caller had asked for ``check=True``.

    It is also a :class:`subprocess.CalledProcessError`, so that code written for `subprocess.run` catches it.

    :param result: what became of the program; kept as ``.result``
    """

    def __init__(self, result: Finished) -> None:
        subprocess.CalledProcessError.__init__(
            self, result.returncode, result.args, output=result.stdout, stderr=result.stderr
        )
        self.result = result
        # its own words know neither a time that ran out nor who killed it
        self.message = f"{shlex.join(result.args)}: {result.describe()}"

    __str__ = SandboxError.__str__

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.result,)


CommandError.__module__ = "nsjail_py.errors"  # where users know it from
