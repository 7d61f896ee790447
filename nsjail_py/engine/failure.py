"""Failed launches into errors that say which step, which plugin, which path, what the kernel said, and a remedy."""

from __future__ import annotations

import errno

from nsjail_py.engine.compile import Compiled
from nsjail_py.errors import PlanError, ProgramError, SetupError
from nsjail_py.linux import constants as c
from nsjail_py.linux.process import Exit, SpawnError
from nsjail_py.linux.stage import Report
from nsjail_py.plan.part import Step
from nsjail_py.plan.phases import Phase
from nsjail_py.plan.plan import OwnedAction

_REASONS = {getattr(c, name): name.removeprefix("NSJ_BAD_").lower() for name in dir(c) if name.startswith("NSJ_BAD_")}


def step_failed(compiled: Compiled, steps: tuple[Step, ...], report: Report) -> SetupError:
    """The stage could not do a step."""
    step = steps[report.step]
    kind = ProgramError if step.op == c.NSJ_OP_EXEC else SetupError
    error = kind(
        step.text,
        owner=step.owner,
        errno=report.error,
        phase=step.phase.name,
        index=report.step,
        total=len(steps),
        path=step.path,
        hint=step.hint,
    )
    return _explained(compiled, error)


def action_failed(compiled: Compiled, owned: OwnedAction, error: OSError) -> SetupError:
    """The parent could not do an action."""
    failed = SetupError(
        owned.action.text,
        owner=owned.owner,
        errno=error.errno or errno.EIO,
        phase=owned.action.phase.name,
        path=error.filename if isinstance(error.filename, str) else None,
        reason=error.strerror,
        hint=getattr(error, "hint", None),
    )
    return _explained(compiled, failed)


def spawn_failed(compiled: Compiled, error: OSError) -> SetupError:
    """The child could not be made, or what it is to be given."""
    step = error.step if isinstance(error, SpawnError) else c.NSJ_SPAWN_SLOTS
    file = error.file if isinstance(error, SpawnError) else None
    hints = {
        c.NSJ_SPAWN_CLONE: "nsjail-py doctor says which namespaces this user can have",
        c.NSJ_SPAWN_SLOTS: "raise the limit on open files: ulimit -n",
        c.NSJ_SPAWN_MAP: "nsjail-py doctor says which ids this user can map",
    }
    failed = SetupError(
        "start the stage",
        owner="user" if step == c.NSJ_SPAWN_MAP else "engine",
        errno=error.errno or errno.EIO,
        phase=(Phase.CREATED if step == c.NSJ_SPAWN_MAP else Phase.HOST).name,
        path=file,
        reason=error.strerror,
        hint=hints.get(step),
    )
    return _explained(compiled, failed)


def bad_plan(steps: tuple[Step, ...], report: Report) -> PlanError:
    """The stage's verifier refused the plan: a mistake of ours or of a plugin, never of the user."""
    reason = _REASONS.get(report.value[0], str(report.value[0]))
    where = f"{steps[report.step].owner}: {steps[report.step].text}" if report.step < len(steps) else "header"
    return PlanError(f"the stage refused the plan: {reason} [{where}]")


def stage_died(end: Exit | None) -> SetupError:
    """The stage ended without a report."""
    code = end.returncode if end is not None else 0
    how = f"signal {-code}" if code < 0 else f"status {code}"
    return SetupError(
        "run the stage",
        owner="engine",
        errno=errno.ECHILD,
        reason=f"it ended with {how} and said nothing",
        hint="something outside killed it: see the kernel log (out of memory?)",
    )


def out_of_time() -> SetupError:
    """The payload had not been started by the deadline."""
    return SetupError(
        "start the program",
        owner="engine",
        errno=errno.ETIMEDOUT,
        reason="it did not start within the timeout",
        hint="give it more time; in a running sandbox a program there may have stopped it",
    )


def _explained(compiled: Compiled, error: SetupError) -> SetupError:
    if error.hint is None:
        error.hint = compiled.plugins.explain(error, error.owner, compiled.spec, compiled.host)
    return error
