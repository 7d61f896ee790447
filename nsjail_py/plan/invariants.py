"""What no plan may break, whichever plugins made it."""

from __future__ import annotations

from nsjail_py.errors import PlanError
from nsjail_py.linux import constants as c
from nsjail_py.plan.part import Step
from nsjail_py.plan.phases import Phase
from nsjail_py.plan.plan import Plan


def check(plan: Plan, flags: int) -> None:
    """Raise PlanError for the first invariant that the plan breaks.

    :param flags: the ``CLONE_NEW*`` that the parts asked for, wherever the plan makes them
    """
    joined = {kind for step in _of(plan, c.NSJ_OP_SETNS) if isinstance(kind := step.args[1], int)}
    owned = flags | (joined.pop() if len(joined) == 1 else 0)
    for unshared in (step.args[0] for step in _of(plan, c.NSJ_OP_UNSHARE)):
        owned |= unshared if isinstance(unshared, int) else 0
    executes = _of(plan, c.NSJ_OP_EXEC)
    if len(executes) != 1 or plan.steps[-1].op != c.NSJ_OP_EXEC:
        raise PlanError(f"a plan ends with exactly one exec, this one has {len(executes)}")
    if len(_of(plan, c.NSJ_OP_INIT)) > 1:
        raise PlanError("a plan has at most one init")
    if len(_of(plan, c.NSJ_OP_PIVOT)) > 1:
        raise PlanError("a plan pivots at most once")
    if _of(plan, c.NSJ_OP_PIVOT) and not flags & c.CLONE_NEWNS:
        raise PlanError("pivot_root needs a mount namespace of the sandbox's own")
    if not flags & c.CLONE_NEWNS and any(step.phase in (Phase.ROOT, Phase.MOUNT) for step in plan.steps):
        raise PlanError("mounts need a mount namespace of the sandbox's own")
    if not _of(plan, c.NSJ_OP_CAPS):
        raise PlanError("nothing drops the capabilities that the set-up holds")
    if _of(plan, c.NSJ_OP_SECCOMP) and not _of(plan, c.NSJ_OP_NO_NEW_PRIVS):
        raise PlanError("a seccomp filter needs no_new_privs")
    made = {step.args[0] for step in _of(plan, c.NSJ_OP_NEW_FS)}
    for kind, flag, name in (
        ("proc", c.CLONE_NEWPID, "pid"),
        ("sysfs", c.CLONE_NEWNET, "network"),
        ("mqueue", c.CLONE_NEWIPC, "ipc"),
    ):
        if kind in made and not owned & flag:
            raise PlanError(f"{kind} needs a {name} namespace of the sandbox's own")


def _of(plan: Plan, op: int) -> list[Step]:
    return [step for step in plan.steps if step.op == op]
