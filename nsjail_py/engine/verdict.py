"""How a sandbox ended: what the engine knows, what plugins measured, and whose reason counts.

Nothing here raises: a plugin that fails at the end must not keep the sandbox from being taken down, so its failure
becomes a warning of the result.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from nsjail_py.engine.result import ExitReason
from nsjail_py.errors import SandboxError
from nsjail_py.plugin.evidence import Evidence, LiveProcess
from nsjail_py.plugin.manager import Plugins

T = TypeVar("T")


class Verdict(msgspec.Struct, frozen=True):
    """The outcome.

    :param reason: what ended it
    :param usage: the engine's and the plugins' measurements
    :param warnings: which plugins failed
    """

    reason: ExitReason | str
    usage: dict[str, Any]
    warnings: tuple[str, ...]


def conclude(process: LiveProcess, plugins: Plugins, evidence: Evidence) -> Verdict:
    """Ask the plugins, and rank the reasons.

    What the owner itself did comes first, since nobody knows it better: that its deadline passed, that it called
    ``kill``. Then what a plugin found, the first by name: it explains a signal or a status that is otherwise bare.

    :param process: the sandbox, ended, with nothing undone yet
    :param evidence: what the engine knows
    """
    warnings: list[str] = []
    usage = dict(evidence.usage)
    for _, measured in _asked(lambda: plugins.usage(process), warnings):
        usage.update(measured)
    evidence = msgspec.structs.replace(evidence, usage=usage)
    found = _asked(lambda: plugins.verdicts(process, evidence), warnings)
    if evidence.killed:
        reason: ExitReason | str = ExitReason.KILLED
    elif evidence.timed_out:
        reason = ExitReason.TIMED_OUT
    elif found:
        reason = found[0][1]
    else:
        reason = ExitReason.SIGNALED if os.WIFSIGNALED(evidence.status) else ExitReason.EXITED
    return Verdict(reason, usage, tuple(warnings))


def _asked(ask: Callable[[], list[T]], warnings: list[str]) -> list[T]:
    try:
        return ask()
    except SandboxError as error:
        warnings.append(error.message)
    except OSError as error:
        warnings.append(str(error))
    return []
