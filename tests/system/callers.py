"""One sandbox as it is started by root and by an ordinary user: the same spec, the same questions."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from nsjail_py import Sandbox, SandboxSpec
from tests.conftest import OrdinaryUser

#: What an ordinary user's Python does with a spec and a command that it is given as JSON.
_SCRIPT = """
import json, os, sys
from nsjail_py import Sandbox, SandboxError
from nsjail_py.plugin.manager import Plugins
from nsjail_py.spec.codec import decode

raw, argv = json.loads(sys.argv[1]), json.loads(sys.argv[2])
try:
    result = Sandbox(decode(raw, "json", Plugins().types)).run(argv, capture_output=True, text=True)
except SandboxError as error:
    print(json.dumps({"error": str(error)}))
else:
    print(json.dumps({"code": result.returncode, "out": result.stdout, "err": result.stderr,
                      "warnings": list(result.warnings)}))
"""


class Ran(msgspec.Struct, frozen=True):
    """How a command ended.

    :param error: the text of the error, where there was no command
    """

    code: int = -1
    out: str = ""
    err: str = ""
    warnings: tuple[str, ...] = ()
    error: str = ""

    def lines(self) -> list[str]:
        """What it printed, which has to be all that happened."""
        assert (self.code, self.err, self.error) == (0, "", ""), self
        return self.out.splitlines()


class Caller(Protocol):
    """Somebody who starts sandboxes.

    :ivar root: it is root
    :ivar uid: its uid
    """

    root: bool
    uid: int

    def run(self, spec: dict[str, Any], argv: Sequence[str]) -> Ran:
        """Run a command.

        :param spec: tables by section, as in a file
        """

    def shell(self, spec: dict[str, Any], script: str) -> Ran:
        """Run a script of the shell."""


class Root:
    """This process, which is root."""

    root = True
    uid = 0

    def run(self, spec: dict[str, Any], argv: Sequence[str]) -> Ran:
        from nsjail_py import SandboxError
        from nsjail_py.plugin.manager import Plugins
        from nsjail_py.spec.codec import decode

        wanted: SandboxSpec = decode(spec, "json", Plugins().types)
        try:
            result = Sandbox(wanted).run(argv, capture_output=True, text=True)
        except SandboxError as error:
            return Ran(error=str(error))
        return Ran(result.returncode, str(result.stdout), str(result.stderr), result.warnings)

    def shell(self, spec: dict[str, Any], script: str) -> Ran:
        return self.run(spec, ["/bin/sh", "-c", script])


class Ordinary:
    """An ordinary user, in a process of its own."""

    root = False

    def __init__(self, user: OrdinaryUser) -> None:
        self.user = user
        self.uid = user.uid

    def run(self, spec: dict[str, Any], argv: Sequence[str]) -> Ran:
        return msgspec.json.decode(self.user.python(_SCRIPT, json.dumps(spec), json.dumps(list(argv))), type=Ran)

    def shell(self, spec: dict[str, Any], script: str) -> Ran:
        return self.run(spec, ["/bin/sh", "-c", script])


def callers() -> list[str]:
    """Who can be tried here."""
    return ["root", "ordinary"] if os.geteuid() == 0 else ["ordinary"]
