"""Groups of an ordinary caller that a sandbox with a single id keeps, since setgroups(2) is denied in it.

What such a group opens stays open to whatever the sandbox can see of it (user_namespaces(7), CVE-2014-8989).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from nsjail_py.plugin import Launch, Phase, Slot

#: Groups that amount to root, or read what only root should: containers' sockets, raw disks, system logs.
POWERFUL = ("adm", "disk", "docker", "lxd")


def powerful(gids: Iterable[int]) -> list[str]:
    """The names of those of the groups that are powerful."""
    from grp import getgrnam  # loads the host's name service, which nobody needs who is in no further group

    held = set(gids)
    found = []
    for name in POWERFUL:
        try:
            if getgrnam(name).gr_gid in held:
                found.append(name)
        except KeyError:
            continue
    return found


def kept(names: Sequence[str]) -> str:
    """What to tell about powerful groups."""
    word = "group" if len(names) == 1 else "groups"
    return f"the {word} {', '.join(names)} cannot be dropped by an ordinary user with a single id"


class WarnOfGroups(msgspec.Struct, frozen=True, kw_only=True):
    """Say in the result which powerful groups the payload keeps.

    :param gids: the caller's groups
    """

    gids: tuple[int, ...]
    phase: Phase = Phase.HOST
    rank: int = 0
    fills: tuple[Slot, ...] = ()
    text: str = "look whether the caller is in a powerful group"

    def run(self, launch: Launch) -> None:
        names = powerful(self.gids)
        if names:
            launch.warnings.append(f"user: {kept(names)}")
