"""What a plugin contributes to a plan: steps, mounts and actions, as frozen data.

A plugin returns a ``Part`` and never touches a shared plan, so a part can be attributed to its owner,
compared in a test, and assembled in any order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import msgspec

from nsjail_py.plan.phases import Phase

if TYPE_CHECKING:
    from nsjail_py.plan.launch import Launch


class Slot(msgspec.Struct, frozen=True):
    """A descriptor of the stage, by name. As an argument of a step it is read.

    :param name: unique in a plan; two parts that use one name mean the same descriptor
    """

    name: str


class Fill(msgspec.Struct, frozen=True):
    """The slot that a step fills with the descriptor it makes."""

    slot: Slot


class Data(msgspec.Struct, frozen=True):
    """Bytes that a step takes as they are."""

    value: bytes


class Descriptors(msgspec.Struct, frozen=True):
    """Which slot becomes which descriptor of the payload.

    :param numbers: pairs of the payload's descriptor number and the slot
    """

    numbers: tuple[tuple[int, Slot], ...]


#: How an argument is encoded follows from its type: ``None`` absent, ``int`` itself, ``str`` and ``bytes`` a
#: NUL-terminated string, ``Data`` bytes with a length, ``tuple`` an array of strings, ``Slot`` read, ``Fill`` made,
#: ``Descriptors`` the table that the step of that name takes.
Argument = None | int | str | bytes | Data | tuple[str | bytes, ...] | Slot | Fill | Descriptors


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing the stage does.

    :param op: an ``NSJ_OP_*`` number of the contract
    :param args: its arguments, as the contract lists them
    :param phase: when
    :param text: what it does, for people: ``bind /srv/data -> /data (read-only)``
    :param path: the path it is about, for errors
    :param rank: order within the phase; lower is earlier
    :param optional: a failure becomes a warning of the result and the next step goes on
    :param hint: the remedy shown where this step fails and no plugin knows a better one
    :param owner: the section name of the plugin; set by ``assemble``
    """

    op: int
    args: tuple[Argument, ...] = ()
    phase: Phase
    text: str
    path: str | None = None
    rank: int = 0
    optional: bool = False
    hint: str | None = None
    owner: str = ""


@runtime_checkable
class Action(Protocol):
    """One thing the parent does, in phase HOST, CREATED or READY.

    ``run`` registers on ``launch.undo`` what takes it back; whatever fails later, undo runs in reverse order. It is
    also run when the sandbox has ended, so it must not mind that its object is already gone.
    """

    @property
    def phase(self) -> Phase:
        """HOST, CREATED or READY."""

    @property
    def text(self) -> str:
        """What it does, for people."""

    @property
    def rank(self) -> int:
        """Order within the phase; lower is earlier."""

    @property
    def fills(self) -> tuple[Slot, ...]:
        """The slots that it fills."""

    def run(self, launch: Launch) -> None:
        """Do it. Raises OSError, which the engine turns into a SetupError that names this action."""


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """One thing at one place in the new root.

    :param target: where: absolute, normalised, as the payload sees it
    :param text: what, for people
    :param attach: steps that put it there (phase MOUNT); they come in the order of the targets, parents first
    :param prepare: steps that fetch it while the old root is still there (phase ROOT)
    :param actions: what the parent does for it
    :param named: the user asked for it; it takes the place of another part's mount on the same target
    """

    target: str
    text: str
    attach: tuple[Step, ...] = ()
    prepare: tuple[Step, ...] = ()
    actions: tuple[Action, ...] = ()
    named: bool = False


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one plugin wants done.

    :param flags: ``CLONE_NEW*`` of the clone
    :param steps: steps of the stage
    :param mounts: things in the new root
    :param actions: what the parent does
    :param capabilities: mask of those that its steps need, beyond what the stage's own opcodes do
    :param facts: what other parts and the engine may rely on, by name, such as ``{"init": True}``; two parts that
        state different values for one name are an error
    :param warnings: what was asked for with ``try`` and is not applied, for ``Result.warnings``
    """

    flags: int = 0
    steps: tuple[Step, ...] = ()
    mounts: tuple[Mount, ...] = ()
    actions: tuple[Action, ...] = ()
    capabilities: int = 0
    facts: dict[str, Any] = {}
    warnings: tuple[str, ...] = ()
