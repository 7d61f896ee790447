"""A plan: what will be done, in order, checked and printable."""

from __future__ import annotations

from typing import Any

import msgspec

from nsjail_py.plan.part import Action, Step


class OwnedAction(msgspec.Struct, frozen=True):
    """A parent action and the plugin it comes from."""

    action: Action
    owner: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The whole launch, as ``assemble`` made it.

    :param flags: ``CLONE_NEW*`` of the clone
    :param actions: what the parent does, in order
    :param steps: what the stage does, in order; a report names a step by its index here
    :param slots: the number of every named slot
    :param birth: how many slots are filled when the stage starts; they are the first ones
    :param capabilities: those that the stage holds in a new user namespace
    :param facts: the united facts of all parts
    :param warnings: for ``Result.warnings``
    """

    flags: int
    actions: tuple[OwnedAction, ...]
    steps: tuple[Step, ...]
    slots: dict[str, int]
    birth: int
    capabilities: int
    facts: dict[str, Any]
    warnings: tuple[str, ...]
