"""The section types that these tests decode with: the built-in ones and one by someone else."""

from __future__ import annotations

from typing import Annotated

import msgspec

from nsjail_py.spec.mnt import Mnt
from nsjail_py.spec.namespaces import Cgroupns, Ipc, Net, Pid, Timens, User, Uts
from nsjail_py.spec.process import Privileges, Process
from nsjail_py.spec.section import Section
from nsjail_py.spec.units import Size, SoftSize


class Rule(Section, frozen=True, kw_only=True):
    """A record in a section, with a required field."""

    pattern: str
    weight: float = 1


class Quota(Section, frozen=True, kw_only=True):
    """A section by someone else.

    It has a field of every shape.

    :param bytes: most bytes, in
        all files together
    :param memory: a soft limit
    """

    bytes: Size = 0
    memory: SoftSize | None = None
    rules: tuple[Rule, ...] = ()
    first: Rule | None = None
    named: dict[str, Rule] = {}  # noqa: RUF012 - msgspec copies it
    matrix: tuple[tuple[int, ...], ...] = ()
    levels: dict[str, Annotated[int, msgspec.Meta(ge=0)]] = {}  # noqa: RUF012 - msgspec copies it
    words: tuple[str, ...] = ("one", "two")
    ratio: float | None = 0.5
    strict: bool = True


TYPES: dict[str, type[Section]] = {
    "user": User,
    "pid": Pid,
    "mnt": Mnt,
    "uts": Uts,
    "ipc": Ipc,
    "net": Net,
    "cgroupns": Cgroupns,
    "timens": Timens,
    "process": Process,
    "privileges": Privileges,
    "quota": Quota,
}
