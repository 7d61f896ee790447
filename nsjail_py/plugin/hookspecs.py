"""Every hook, on one page. A plugin implements those it needs; built-ins use nothing else.

Hooks are called with keyword arguments by name; an implementation takes only the parameters it wants.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from nsjail_py.plugin.markers import hookimpl, hookspec

if TYPE_CHECKING:
    from nsjail_py.errors import Problem
    from nsjail_py.linux.host import Host
    from nsjail_py.plan.part import Part
    from nsjail_py.plugin.command import Command, Option
    from nsjail_py.plugin.evidence import Evidence, Line, LiveProcess
    from nsjail_py.spec.section import Section
    from nsjail_py.spec.spec import SandboxSpec

__all__ = ["Purpose", "hookimpl", "hookspec"]

#: Why a plan is made: to start a sandbox, to run one more program in a running one, or for a forked Python process.
Purpose = Literal["start", "exec", "fork"]


@hookspec
def nsjail_section() -> tuple[str, type[Section]]:  # type: ignore[empty-body]
    """The section of the spec that this plugin owns, and its type. Called when the plugin is loaded."""


@hookspec
def nsjail_options() -> Sequence[Option]:  # type: ignore[empty-body]
    """Command-line options that fill the plugin's section; they are shown in a help group of its name."""


@hookspec
def nsjail_commands() -> Sequence[Command]:  # type: ignore[empty-body]
    """Verbs of its own, such as ``network``."""


@hookspec
def nsjail_check(spec: SandboxSpec, host: Host) -> Iterable[Problem]:  # type: ignore[empty-body]
    """Problems with a spec on this host, before anything is planned. All plugins' are collected and raised together.

    May read files (does the source of a bind exist?) but changes nothing.
    """


@hookspec
def nsjail_plan(spec: SandboxSpec, host: Host, purpose: Purpose) -> Part | None:
    """What this plugin wants done, or ``None``. Pure: no system call, no file.

    :param purpose: in a running sandbox (``exec``) everything up to phase INIT has been done
    """


@hookspec
def nsjail_update(process: LiveProcess, changes: Mapping[str, Any]) -> None:
    """Apply changed values of the plugin's section to a running sandbox; only the section's owner is asked.

    :param changes: the new values by field name, decoded and checked as a spec's
    :raises UnsupportedError: one of them cannot be changed now
    """


@hookspec
def nsjail_usage(process: LiveProcess) -> Mapping[str, Any]:  # type: ignore[empty-body]
    """Measurements to merge into ``Result.usage``.

    Called when the payload has ended and nothing is undone yet. A failure becomes a warning of the result.
    """


@hookspec
def nsjail_verdict(process: LiveProcess, evidence: Evidence) -> str | None:
    """The reason for the end, as far as this plugin can tell, or ``None``; the core ranks the reasons.

    Called after ``nsjail_usage``. A failure becomes a warning of the result.
    """


@hookspec(firstresult=True)
def nsjail_explain(error: OSError, owner: str, spec: SandboxSpec, host: Host) -> str | None:
    """A hint for a step that failed, where this plugin knows one.

    :param error: the ``SetupError``: it has ``errno``, ``filename`` and ``step``
    :param owner: the section name of the plugin whose step it is
    """


@hookspec
def nsjail_doctor(host: Host) -> Iterable[Line]:  # type: ignore[empty-body]
    """Lines for ``nsjail-py doctor``: what works, what does not, what to do about it."""


@hookspec
def nsjail_sweep(record: Mapping[str, Any]) -> Iterable[str]:  # type: ignore[empty-body]
    """Undo what a sandbox whose owner is dead left behind; say in a line each what was undone.

    Also called for what was already undone in part, or never done. Where it raises, the record is kept and the next
    sweep tries again.

    :param record: the dead sandbox's record (``nsjail_py.running.Running``) as plain data: its ``name``, and in
        ``facts`` the facts of its plan
    """
