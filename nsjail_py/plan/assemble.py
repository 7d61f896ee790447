"""Parts of all plugins into one ordered, checked plan.

The only place where an order is decided, a gate is put in, and an invariant is enforced. Pure: the same parts give
the same plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import or_
from typing import Any

from nsjail_py.errors import PlanError
from nsjail_py.linux import constants as c
from nsjail_py.linux.caps import mask
from nsjail_py.plan import mounttable, steps
from nsjail_py.plan.invariants import check
from nsjail_py.plan.part import Descriptors, Fill, Part, Slot, Step
from nsjail_py.plan.phases import Phase
from nsjail_py.plan.plan import OwnedAction, Plan

#: Filled by the engine for every stage, in this order, before all others.
RESERVED = ("report", "plan", "owner")


#: What the stage's own opcodes need. Raising one costs a system call of a microsecond, and there are forty-one.
STAGE_CAPABILITIES = mask(
    (
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_DAC_READ_SEARCH",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_KILL",
        "CAP_NET_ADMIN",
        "CAP_SETGID",
        "CAP_SETPCAP",
        "CAP_SETUID",
        "CAP_SYS_ADMIN",
        "CAP_SYS_NICE",
        "CAP_SYS_RESOURCE",
        "CAP_SYS_TIME",
    )
)


def assemble(parts: Iterable[tuple[str, Part]], *, held: Sequence[Slot] = ()) -> Plan:
    """Unite the parts of all plugins.

    :param parts: pairs of a plugin's section name and what it returned
    :param held: slots that the engine itself fills at birth, such as the payload's descriptors
    :raises PlanError: two parts contradict each other, or the result would break an invariant
    """
    listed = list(parts)
    flags = 0
    warnings: list[str] = []
    for _, part in listed:
        flags |= part.flags
        warnings += part.warnings
    mounts = mounttable.order((owner, mount) for owner, part in listed for mount in part.mounts)
    actions = [OwnedAction(action, owner) for owner, part in listed for action in part.actions]
    actions += [OwnedAction(action, owner) for owner, mount in mounts for action in mount.actions]
    actions.sort(key=lambda each: (each.action.phase, each.action.rank, each.owner))

    sequence = [owned_by(step, owner) for owner, part in listed for step in part.steps]
    sequence += [owned_by(step, owner) for owner, mount in mounts for step in mount.prepare]
    birth_flags, joining = _joining(flags, sequence)
    sequence += joining
    handed = [slot for each in actions if each.action.phase is Phase.CREATED for slot in each.action.fills]
    born = [slot for each in actions if each.action.phase is Phase.HOST for slot in each.action.fills]
    numbers = _number([*held, *born], handed, sequence, [step for _, mount in mounts for step in mount.attach])
    birth = len(RESERVED) + len({slot.name for slot in (*held, *born)})
    if birth_flags & c.CLONE_NEWUSER or any(each.action.phase is Phase.CREATED for each in actions):
        text = "wait until the id maps are written" if birth_flags & c.CLONE_NEWUSER else "wait for what is handed over"
        sequence.append(steps.gate(c.NSJ_GATE_CREATED, birth, len(handed), phase=Phase.CREATED, text=text))
    if any(each.action.phase is Phase.READY for each in actions):
        sequence.append(
            steps.gate(c.NSJ_GATE_READY, birth + len(handed), 0, phase=Phase.READY, text="wait until ready")
        )
    sequence.sort(key=lambda step: (step.phase, step.rank, step.owner))
    before = next((i for i, step in enumerate(sequence) if step.phase > Phase.MOUNT), len(sequence))
    attached = [owned_by(step, owner) for owner, mount in mounts for step in mount.attach]
    plan = Plan(
        flags=birth_flags,
        actions=tuple(actions),
        steps=(*sequence[:before], *attached, *sequence[before:]),
        slots=numbers,
        birth=birth,
        capabilities=reduce(or_, (part.capabilities for _, part in listed), STAGE_CAPABILITIES),
        facts=_unite(listed),
        warnings=tuple(warnings),
    )
    check(plan, flags)
    return plan


def owned_by(step: Step, owner: str) -> Step:
    """The same step with its owner named."""
    # msgspec.structs.replace is four times slower, and a plan has eighty steps
    return Step(
        op=step.op,
        args=step.args,
        phase=step.phase,
        text=step.text,
        path=step.path,
        rank=step.rank,
        optional=step.optional,
        hint=step.hint,
        owner=owner,
    )


def _joining(flags: int, sequence: Sequence[Step]) -> tuple[int, list[Step]]:
    """Move new namespaces behind the joins, where there are any.

    A new user namespace has no rights over a namespace that it does not own, so joining comes first, then the user
    namespace with a map gate of its own, then everything else, owned by it (user_namespaces(7)). A new pid namespace
    begins with a fork, and procfs can only be mounted by a process in it, so that fork comes at once.
    """
    if not any(step.phase is Phase.JOIN for step in sequence):
        return flags, []
    late: list[Step] = []
    if flags & c.CLONE_NEWUSER:
        late.append(steps.unshare(c.CLONE_NEWUSER, phase=Phase.JOIN, text="new user namespace", rank=100))
        text = "wait until the id maps are written"
        late.append(steps.gate(c.NSJ_GATE_MAPPED, 0, 0, phase=Phase.IDENTITY, text=text))
    rest = flags & ~c.CLONE_NEWUSER
    if rest:
        late.append(steps.unshare(rest, phase=Phase.IDENTITY, text="new namespaces, owned by the sandbox", rank=90))
    if rest & c.CLONE_NEWPID:
        late.append(steps.fork(rank=91))
    return 0, late


def _number(
    born: Sequence[Slot], handed: Sequence[Slot], sequence: Sequence[Step], attaching: Sequence[Step]
) -> dict[str, int]:
    """Give every slot its number: reserved, filled at birth, handed over at the gate, made by a step."""
    numbers = {name: number for number, name in enumerate(RESERVED)}
    for slot in (*born, *handed):
        numbers.setdefault(slot.name, len(numbers))
    for step in (*sequence, *attaching):
        for argument in step.args:
            if isinstance(argument, Fill):
                numbers.setdefault(argument.slot.name, len(numbers))
    for step in (*sequence, *attaching):
        for slot in _read(step):
            if slot.name not in numbers:
                raise PlanError(f"{step.owner}: {step.text}: reads slot {slot.name}, which nothing fills")
    return numbers


def _read(step: Step) -> Iterable[Slot]:
    for argument in step.args:
        if isinstance(argument, Slot):
            yield argument
        elif isinstance(argument, Descriptors):
            yield from (slot for _, slot in argument.numbers)


def _unite(parts: Iterable[tuple[str, Part]]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for owner, part in parts:
        for name, value in part.facts.items():
            if facts.setdefault(name, value) != value:
                raise PlanError(f"{owner}: {name} = {value!r} contradicts {facts[name]!r}")
    return facts
