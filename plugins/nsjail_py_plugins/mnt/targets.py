"""Where a target leads in a root directory, before anything is mounted.

Only an early, readable error: the stage resolves each target by descriptor and is not led astray by what has changed
since (openat2(2), RESOLVE_IN_ROOT).
"""

from __future__ import annotations

import os

import msgspec

#: As many as the kernel follows in one path (path_resolution(7)).
_MOST_LINKS = 40


class Found(msgspec.Struct, frozen=True):
    """What a target is in a root.

    :param exists: it is there
    :param escape: the symbolic link on the way that leads out of the root, as ``/link -> text``
    """

    exists: bool
    escape: str | None = None


def find(root: str, target: str) -> Found:
    """Walk a target through a root directory as if that were ``/``.

    A relative link that climbs above the root leads out, and so does an absolute one to what only the host has. An
    absolute link to what the root has is followed there: the sandbox will see it so.

    :param root: the root directory
    :param target: an absolute path in it
    """
    todo = _parts(target)
    at: list[str] = []
    links = 0
    while todo:
        name = todo.pop()
        if name == "..":
            if not at:
                return Found(False, f"{target} -> ..")
            at.pop()
            continue
        here = os.path.join(root, *at, name)
        try:
            text = os.readlink(here)
        except OSError:
            if not os.path.lexists(here):
                return Found(False)
            at.append(name)
            continue
        links += 1
        shown = f"/{'/'.join((*at, name))} -> {text}"
        if links > _MOST_LINKS or _climbs(text, len(at)):
            return Found(False, shown)
        if text.startswith("/"):
            if not os.path.lexists(os.path.join(root, text.lstrip("/"))):
                return Found(False, shown)
            at = []
        todo += _parts(text)
    return Found(True)


def _parts(path: str) -> list[str]:
    """The components, the last one first."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _climbs(text: str, depth: int) -> bool:
    if text.startswith("/"):
        depth = 0
    for part in text.split("/"):
        if part == "..":
            depth -= 1
        elif part not in ("", "."):
            depth += 1
        if depth < 0:
            return True
    return False
