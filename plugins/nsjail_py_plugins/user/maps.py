"""Parent actions that decide and write the id maps."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache

import msgspec

from nsjail_py.plugin import IdMaps, IdRange, Launch, Phase, Slot
from nsjail_py_plugins.user import ranges

RANGE = Slot("range")


class TakeRange(msgspec.Struct, frozen=True, kw_only=True):
    """Take a range of host ids that nobody else has, for as long as the sandbox lives.

    :param count: how many ids are mapped, from 0 on
    """

    count: int
    phase: Phase = Phase.HOST
    rank: int = 0
    fills: tuple[Slot, ...] = (RANGE,)

    @property
    def text(self) -> str:
        return f"take a range of {self.count} host ids"

    def run(self, launch: Launch) -> None:
        first, lock = ranges.take(self.count)
        # ours until the end, and init's too: the lock must outlive whoever dies first
        launch.fill(RANGE, lock, keep=True)
        launch.on_end(lambda: ranges.give_back(first, lock))
        launch.maps = _whole(first, self.count)


@lru_cache(maxsize=64)
def _whole(first: int, count: int) -> IdMaps:
    mapped = (IdRange(0, first, count),)
    return IdMaps(mapped, mapped)


class SetMaps(msgspec.Struct, frozen=True, kw_only=True):
    """Maps that the plan knows beforehand.

    :param maps: them
    """

    maps: IdMaps
    phase: Phase = Phase.HOST
    rank: int = 0
    fills: tuple[Slot, ...] = ()

    @property
    def text(self) -> str:
        uids = ", ".join(f"{each.inside}:{each.outside}:{each.count}" for each in self.maps.uids)
        return f"map uids {uids}"

    def run(self, launch: Launch) -> None:
        launch.maps = self.maps


class WriteMapsByHelper(msgspec.Struct, frozen=True, kw_only=True):
    """Have newuidmap and newgidmap write maps that the caller itself may not write (newuidmap(1))."""

    phase: Phase = Phase.CREATED
    rank: int = 0
    fills: tuple[Slot, ...] = ()
    text: str = "write the id maps by newuidmap and newgidmap"

    def run(self, launch: Launch) -> None:
        if launch.maps is None:
            raise ValueError("no id maps were decided")
        _helper("newuidmap", launch.pid, launch.maps.uids)
        _helper("newgidmap", launch.pid, launch.maps.gids)


def _helper(program: str, pid: int, mapped: Iterable[IdRange]) -> None:
    # together 15 ms to import, and only this path needs them
    import subprocess
    from shutil import which

    path = which(program)
    if path is None:
        raise FileNotFoundError(2, f"{program} is not installed (Debian package uidmap)", program)
    numbers = [str(number) for each in mapped for number in (each.inside, each.outside, each.count)]
    done = subprocess.run([path, str(pid), *numbers], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(1, done.stderr.strip() or os.strerror(1), program)


def parse_ranges(texts: Iterable[str]) -> tuple[IdRange, ...]:
    """``INSIDE:OUTSIDE:COUNT`` each. Raises ValueError for anything else."""
    parsed = []
    for text in texts:
        numbers = text.split(":")
        if len(numbers) != 3 or not all(number.isdecimal() for number in numbers) or int(numbers[2]) == 0:
            raise ValueError(f"not an id range: {text}")
        parsed.append(IdRange(*map(int, numbers)))
    return tuple(parsed)
