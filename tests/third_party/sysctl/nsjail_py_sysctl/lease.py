"""What the plugin leaves on the host while a sandbox lives: one file, named as the sandbox is on record."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from nsjail_py.plugin import Launch, LiveProcess, Phase, Slot


class TakeLease(msgspec.Struct, frozen=True, kw_only=True):
    """The parent makes the file before the sandbox exists, and removes it when the sandbox has ended or failed.

    :param folder: where
    """

    folder: str
    phase: Phase = Phase.HOST
    rank: int = 0
    fills: tuple[Slot, ...] = ()

    @property
    def text(self) -> str:
        return f"take a lease in {self.folder}"

    def run(self, launch: Launch) -> None:
        # the name is that of the record, and the record is written already: a sweep finds the file by it
        path = os.path.join(self.folder, str(launch.name))
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        launch.on_end(lambda: give_back(path))


def give_back(path: str) -> bool:
    """Remove a lease. False: it was gone already, since whoever ended the sandbox removed it."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def lease_of(process: LiveProcess) -> str | None:
    """The path of a running sandbox's lease, or ``None`` where it has none."""
    return _path(process.facts, process.name)


def lease_on_record(record: Mapping[str, Any]) -> str | None:
    """The same of a sandbox whose owner is dead."""
    return _path(record["facts"], record["name"])


def _path(facts: Mapping[str, Any], name: str | None) -> str | None:
    folder = facts.get("leases")
    return os.path.join(folder, name) if folder is not None and name is not None else None
