"""Run a command as an ordinary user, even where its files lie below a directory that only root may enter.

``python ordinary_user.py UID PATH ... -- COMMAND ...``, started by root. In a mount namespace of its own every closed
directory above one of the paths is covered by an empty one that anybody may enter, and the path is bound back where
it was, so that names stay as they are. Then the command is executed without supplementary groups.

It stands alone: it imports nothing of this project, whose sources may be what has to be reached.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

CLONE_NEWNS = 0x20000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000

_libc = ctypes.CDLL(None, use_errno=True)


def command(argv: Sequence[str | Path], *, uid: int, reach: Iterable[Path] = ()) -> list[str]:
    """The argument vector that runs ``argv`` as another user.

    :param argv: the command
    :param uid: the user and group id
    :param reach: what the user must be able to reach besides this interpreter
    """
    paths = [Path(sys.prefix), Path(sys.base_prefix), Path(__file__), *reach]
    own = [sys.executable, "-IS", __file__, str(uid)]
    return [*own, *(str(path) for path in paths), "--", *(str(word) for word in argv)]


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str | None, target: Path, kind: str | None, flags: int, options: str | None = None) -> None:
    arguments = [None if text is None else os.fsencode(text) for text in (source, str(target), kind, options)]
    _check(_libc.mount(*arguments[:3], ctypes.c_ulong(flags), arguments[3]), f"mount {target}")


def _closed(path: Path) -> Path | None:
    """The topmost directory above the path that others may not enter."""
    above = (directory for directory in reversed(path.parents) if not directory.stat().st_mode & stat.S_IXOTH)
    return next(above, None)


def open_up(paths: Iterable[Path]) -> None:
    """Make the paths reachable for everybody, in this process's mount namespace only (unshare(2), mount(2))."""
    _check(_libc.unshare(CLONE_NEWNS), "unshare")
    _mount(None, Path("/"), None, MS_REC | MS_PRIVATE)
    below: dict[Path, list[tuple[Path, int]]] = {}
    for path in sorted({path.resolve() for path in paths}):
        closed = _closed(path)
        if closed is not None:
            # opened before anything is covered: afterwards the name leads elsewhere
            below.setdefault(closed, []).append((path, os.open(path, os.O_PATH)))
    for closed, found in below.items():
        _mount("tmpfs", closed, "tmpfs", 0, "mode=755")
        for path, descriptor in found:
            _make(path, directory=stat.S_ISDIR(os.fstat(descriptor).st_mode))
            _mount(f"/proc/self/fd/{descriptor}", path, None, MS_BIND | MS_REC)
            os.close(descriptor)


def _make(path: Path, *, directory: bool) -> None:
    """A place to mount on, unless a path above it has been bound back already and brought it."""
    if not path.exists():
        (path if directory else path.parent).mkdir(parents=True, exist_ok=True)
        if not directory:
            path.touch()


def main(arguments: Sequence[str]) -> None:
    """Open up, become the user, execute. Does not return."""
    split = arguments.index("--")
    uid, argv = int(arguments[0]), arguments[split + 1 :]
    os.umask(0o022)
    open_up(Path(path) for path in arguments[1:split])
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    os.execvp(argv[0], list(argv))


if __name__ == "__main__":
    main(sys.argv[1:])
