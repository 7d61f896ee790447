"""Mounts of all parts, put in order by where they go, never by who asked.

A parent directory comes before what is mounted in it, so a mount can never hide one that was made before it. Two
parts on one target are an error, unless exactly one of them was named by the user: the user wins.
"""

from __future__ import annotations

from collections.abc import Iterable

from nsjail_py.errors import PlanError
from nsjail_py.plan.part import Mount


def order(mounts: Iterable[tuple[str, Mount]]) -> list[tuple[str, Mount]]:
    """Sort mounts by target and settle who owns each.

    :param mounts: pairs of the owner's name and the mount
    :returns: the pairs that take effect, parents before children
    :raises PlanError: two mounts want one target and neither or both were named by the user
    """
    taken: dict[str, tuple[str, Mount]] = {}
    for owner, mount in mounts:
        other = taken.get(mount.target)
        if other is None or (mount.named and not other[1].named):
            taken[mount.target] = (owner, mount)
        elif mount.named == other[1].named:
            raise PlanError(
                f"two mounts on {mount.target}: {other[0]}: {other[1].text}, and {owner}: {mount.text}",
                hint="name each target once",
            )
    return sorted(taken.values(), key=lambda pair: pair[1].target.split("/"))
