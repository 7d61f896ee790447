"""Run a program in namespaces and control groups of its own.

The floors of the package; each imports from those below it only::

    F0  errors, record                what can go wrong; cheap frozen records
    F1  linux/                        the kernel, typed; no policy
    F2  spec/   plan/   running       what is wanted; what will be done; what runs
    F3  plugin/                       all that a plugin imports; the manager
    F4  engine/                       compile, launch, process
    F5  sandbox                       Sandbox, run
    F9  cli/                          the command

Public names are loaded on first use (PEP 562), so that importing the package costs next to nothing.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nsjail_py.engine.process import Process as Process
    from nsjail_py.engine.result import ExitReason as ExitReason
    from nsjail_py.engine.result import Result as Result
    from nsjail_py.engine.stdio import DEVNULL as DEVNULL
    from nsjail_py.engine.stdio import PIPE as PIPE
    from nsjail_py.engine.stdio import STDOUT as STDOUT
    from nsjail_py.errors import CommandError as CommandError
    from nsjail_py.errors import PlanError as PlanError
    from nsjail_py.errors import PluginError as PluginError
    from nsjail_py.errors import Problem as Problem
    from nsjail_py.errors import ProgramError as ProgramError
    from nsjail_py.errors import SandboxError as SandboxError
    from nsjail_py.errors import SetupError as SetupError
    from nsjail_py.errors import SpecError as SpecError
    from nsjail_py.errors import UnsupportedError as UnsupportedError
    from nsjail_py.sandbox import Sandbox as Sandbox
    from nsjail_py.sandbox import enter as enter
    from nsjail_py.sandbox import run as run
    from nsjail_py.spec.mnt import Bind as Bind
    from nsjail_py.spec.mnt import Dev as Dev
    from nsjail_py.spec.mnt import Directory as Directory
    from nsjail_py.spec.mnt import File as File
    from nsjail_py.spec.mnt import Mask as Mask
    from nsjail_py.spec.mnt import Mqueue as Mqueue
    from nsjail_py.spec.mnt import Overlay as Overlay
    from nsjail_py.spec.mnt import Proc as Proc
    from nsjail_py.spec.mnt import Symlink as Symlink
    from nsjail_py.spec.mnt import Sysfs as Sysfs
    from nsjail_py.spec.mnt import Tmpfs as Tmpfs
    from nsjail_py.spec.spec import SandboxSpec as SandboxSpec

_WHERE = {
    "Sandbox": "sandbox",
    "run": "sandbox",
    "enter": "sandbox",
    "Process": "engine.process",
    "Result": "engine.result",
    "ExitReason": "engine.result",
    "PIPE": "engine.stdio",
    "STDOUT": "engine.stdio",
    "DEVNULL": "engine.stdio",
    "SandboxSpec": "spec.spec",
    **dict.fromkeys(
        (
            "Bind",
            "Dev",
            "Directory",
            "File",
            "Mask",
            "Mqueue",
            "Overlay",
            "Proc",
            "Symlink",
            "Sysfs",
            "Tmpfs",
        ),
        "spec.mnt",
    ),
    **dict.fromkeys(
        (
            "SandboxError",
            "SpecError",
            "PlanError",
            "UnsupportedError",
            "SetupError",
            "ProgramError",
            "CommandError",
            "PluginError",
            "Problem",
        ),
        "errors",
    ),
}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from nsjail_py.version import __version__

        return __version__
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if sys.platform != "linux" and _WHERE[name] != "errors":
        from nsjail_py.errors import UnsupportedError

        raise UnsupportedError("namespaces and control groups exist on Linux only", hint="run it in a Linux machine")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
