"""What a plugin adds to the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One option of ``run`` and ``plan``.

    :param flag: ``--hostname``
    :param help: one line
    :param metavar: how its value is called; ``None``: a switch without a value
    :param short: ``-t``
    :param repeat: may be given several times
    :param fill: takes the value (``True`` for a switch) and returns what it sets, as a nested dictionary of the
        spec's own shape: ``{"uts": {"hostname": value}}``. Several are merged: tables by key, lists by appending.
        Raises ValueError with what is wrong
    """

    flag: str
    help: str
    metavar: str | None = None
    short: str | None = None
    repeat: bool = False
    fill: Callable[[Any], dict[str, Any]]


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One verb: ``nsjail-py NAME …``.

    :param name: the verb
    :param help: one line
    :param run: takes the arguments after the verb and returns the exit status
    """

    name: str
    help: str
    run: Callable[[Sequence[str]], int]
