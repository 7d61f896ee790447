"""The command-line options of this plugin. Relative paths are those of the caller's working directory."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from nsjail_py.plugin import Option
from nsjail_py.plugin.mounting import size_bytes

Filled = dict[str, Any]


def _mounts(*mounts: Filled) -> Filled:
    return {"mnt": {"mounts": list(mounts)}}


def _absolute(path: str, what: str) -> str:
    if not path:
        raise ValueError(f"{what} is empty")
    try:
        return os.path.abspath(path)
    except FileNotFoundError:
        raise ValueError(f"{path} is relative to the working directory, which has been removed") from None


def _target(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError(f"a place in the sandbox is an absolute path, not {path!r}")
    return path


def _split(value: str) -> list[str]:
    r"""Parts between colons; ``\:`` is a colon that is part of a name."""
    return [part.replace("\0", ":") for part in value.replace("\\:", "\0").split(":")]


def _bind(sensitive: bool) -> Callable[[Any], Filled]:
    def fill(value: str) -> Filled:
        source, *rest = _split(value)
        writable = False
        if rest and rest[-1] in ("ro", "rw"):
            writable = rest.pop() == "rw"
        if len(rest) > 1:
            raise ValueError(f"not SRC[:DST][:ro|rw]: {value}")
        # without a name of its own it appears where it is, links and all
        path = _absolute(source, "the source of a bind")
        mount: Filled = {"kind": "bind", "source": path, "target": _target(rest[0]) if rest else path}
        if writable:
            mount["writable"] = True
        if sensitive:
            mount["sensitive"] = True
        return _mounts(mount)

    return fill


def _tmpfs(value: str) -> Filled:
    target, *rest = _split(value)
    mount: Filled = {"kind": "tmpfs", "target": _target(target)}
    if len(rest) > 1:
        raise ValueError(f"not DST[:SIZE]: {value}")
    if rest:
        size_bytes(rest[0])
        mount["size"] = rest[0]
    return _mounts(mount)


def _overlay(value: str) -> Filled:
    return {"mnt": {"overlay": {"lower": [_absolute(part, "a directory of an overlay") for part in _split(value)]}}}


def _proc(value: str) -> Filled:
    modes = {"on": True, "off": False, "try": "try"}
    if value not in modes:
        raise ValueError(f"not on, off or try: {value}")
    return {"mnt": {"proc": modes[value]}}


OPTIONS = (
    Option(
        flag="--rootfs",
        metavar="DIR",
        help="a directory of the host as the root, read-only",
        fill=lambda value: {"mnt": {"root": {"path": _absolute(value, "the root")}}},
    ),
    Option(
        flag="--rw",
        help="the directory of --rootfs is writable",
        fill=lambda value: {"mnt": {"root": {"writable": value}}},
    ),
    Option(
        flag="--overlay",
        metavar="DIR[:DIR…]",
        help="directories merged as the root, the topmost first; changes are thrown away",
        fill=_overlay,
    ),
    Option(
        flag="--overlay-keep",
        metavar="DIR",
        help="keep the changes to the overlay in this directory",
        fill=lambda value: {"mnt": {"overlay": {"upper": _absolute(value, "the directory for changes")}}},
    ),
    Option(
        flag="--empty",
        help="an empty root: nothing but what is mounted",
        fill=lambda value: {"mnt": {"view": "empty" if value else "host"}},
    ),
    Option(
        flag="--bind",
        metavar="SRC[:DST][:ro|rw]",
        help="show a file or directory of the host, read-only, at the same path",
        repeat=True,
        fill=_bind(sensitive=False),
    ),
    Option(
        flag="--bind-sensitive",
        metavar="SRC[:DST][:ro|rw]",
        help="the same for one that gives the host away: a socket, /, /run, /proc, a whole home",
        repeat=True,
        fill=_bind(sensitive=True),
    ),
    Option(flag="--tmpfs", metavar="DST[:SIZE]", help="an empty file system in memory", repeat=True, fill=_tmpfs),
    Option(flag="--proc", metavar="MODE", help="procfs on /proc: on (default), off, try", fill=_proc),
    Option(flag="--no-dev", help="no /dev", fill=lambda value: {"mnt": {"dev": not value}}),
)
