"""The shims of pyenv: small shell scripts that choose a Python when they run. Here they are read instead of run."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator

from nsjail_py.record import Record

_ROOT = re.compile(rb'^exec "?(?P<root>/[^"\n]+)/libexec/pyenv"? exec', re.MULTILINE)


class Missing(Record):
    """No selected version has the program.

    :param reason: for people
    """

    reason: str


def chosen(path: str, cwd: str, beside: Callable[[str, str], str | None]) -> str | Missing | None:
    """The program that a shim would run.

    :param path: a program
    :param cwd: where a ``.python-version`` is looked for, and above
    :param beside: finds a program in PATH without a directory of shims; for the version ``system``
    :returns: a path; or why there is none; ``None`` where the program is no shim
    """
    shims, name = os.path.split(path)
    if os.path.basename(shims) != "shims":
        return None
    root = _root(path)
    if root is None:
        return None
    versions = list(_selected(root, cwd))
    for version in versions:
        found = beside(name, os.path.realpath(shims)) if version == "system" else _in_version(root, version, name)
        if found is not None:
            return found
    return Missing(f"pyenv: {name} is in none of the selected versions ({', '.join(versions)})")


def _root(shim: str) -> str | None:
    """Where pyenv is, as its shim has it written."""
    try:
        with open(shim, "rb") as file:
            match = _ROOT.search(file.read(4096))
    except OSError:
        return None
    return os.fsdecode(match["root"]) if match else None


def _selected(root: str, cwd: str) -> Iterator[str]:
    """The selected versions, in order: PYENV_VERSION, the nearest ``.python-version``, the global one."""
    environment = os.environ.get("PYENV_VERSION")
    if environment:
        yield from environment.split(":")
        return
    directory = os.environ.get("PYENV_DIR") or cwd
    while True:
        local = _words(os.path.join(directory, ".python-version"))
        if local:
            yield from local
            return
        parent = os.path.dirname(directory)
        if parent == directory:
            break
        directory = parent
    yield from _words(os.path.join(root, "version")) or ["system"]


def _words(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return [word for line in file for word in line.partition("#")[0].split()]
    except OSError:
        return []


def _in_version(root: str, version: str, name: str) -> str | None:
    """A program of a version; ``3.11`` means the latest 3.11 that is installed."""
    folder = os.path.join(root, "versions")
    version = version.removeprefix("python-")
    if not os.path.isdir(os.path.join(folder, version)):
        try:
            same = [each for each in os.listdir(folder) if each.startswith(f"{version}.")]
        except OSError:
            return None
        if not same:
            return None
        version = max(same, key=_order)
    found = os.path.join(folder, version, "bin", name)
    return found if os.access(found, os.X_OK) else None


def _order(version: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in version.split(".")]
