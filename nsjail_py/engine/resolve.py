"""Which program a command is on the host, and what of the host it needs beside what the host view shows.

A command is followed as the caller's shell and the kernel would: along PATH, through symbolic links and ``#!`` lines
(execve(2)), from a virtual environment to the Python that it was made of (``pyvenv.cfg``), and through the shims of
pyenv, which choose an interpreter when they run. Files are read, nothing is run.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from stat import S_ISREG

from nsjail_py.engine import pyenv
from nsjail_py.linux.hostview import PROGRAMS, SETTINGS, in_home, is_home
from nsjail_py.record import Record
from nsjail_py.spec.mnt import Bind, Mount

#: What the host view shows anyway.
_VISIBLE = (*(f"/{name}/" for name in PROGRAMS), "/etc/alternatives/")

#: What the host view has of its own under names that the host has too.
_OWN = (
    *("/dev/", "/proc/", "/sys/"),
    *(f"/etc/{name}/" for name in ("passwd", "group", "hosts", "nsswitch.conf", *SETTINGS)),
)
_EVERYWHERE = frozenset({"/", "/etc", "/home", "/run", "/tmp", "/var", "/var/tmp"})

#: Where programs of the host's own are, and the sandbox's PATH leads too.
_STANDARD = frozenset(
    {"/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/usr/games", "/usr/local/games"}
)

#: The kernel follows five interpreters (BINPRM_MAX_RECURSION); links and shims come on top.
_MOST_TURNS = 16


class Resolved(Record):
    """A command, found.

    :param candidates: paths to execute, the first that exists; empty: it was not found, or is nothing special
    :param words: what takes the place of the command in the argument vector
    :param prefixes: files and directories of the host that it needs and the host view does not show, parents first
    :param note: what could not be followed, and why
    """

    candidates: tuple[str, ...]
    words: tuple[str, ...]
    prefixes: tuple[str, ...] = ()
    note: str | None = None


def resolve(command: str, path: str, cwd: str) -> Resolved:
    """Find a command on the host.

    :param command: ``argv[0]``
    :param path: the PATH to search
    :param cwd: what a relative command is relative to
    """
    found = _search(command, path, cwd)
    if found is None:
        return Resolved((), (command,))
    trail = _Trail(path, cwd)
    program = trail.follow(found)
    # Python finds its library by its own name, so a bare one must not be searched again in another PATH
    bare = os.path.dirname(found) in _STANDARD and program.path == found
    own_words = (command,) if bare else (program.path,)
    real = os.path.realpath(program.path) if trail.needed else program.path
    candidates = (program.path,) if real == program.path else (program.path, real)
    return Resolved(candidates, program.words or own_words, tuple(_topmost(trail.needed)), trail.note)


class _Program(Record):
    """What is executed in the end.

    :param path: the program
    :param words: for an interpreter that ``/usr/bin/env`` would not find inside: itself, its arguments, the script
    """

    path: str
    words: tuple[str, ...] = ()


class _Trail:
    """One command, followed to its end.

    :ivar needed: what it passed that the host view does not show
    :ivar note: what could not be followed
    """

    def __init__(self, path: str, cwd: str) -> None:
        self.path = path
        self.cwd = cwd
        self.needed: list[str] = []
        self.note: str | None = None

    def follow(self, found: str) -> _Program:
        """Follow a program, and note what it needs."""
        program = _Program(found)
        at: str | None = found
        for _ in range(_MOST_TURNS):
            if at is None:
                break
            shimmed = pyenv.chosen(at, self.cwd, self._beside)
            if shimmed is not None:
                if isinstance(shimmed, pyenv.Missing):
                    self.note = shimmed.reason
                    break
                if at == program.path:
                    program = _Program(shimmed)
                at = shimmed
                continue
            if at != found and not os.path.lexists(at):
                break  # a script of a missing interpreter; what the kernel says of it is an answer
            self._pass(at)
            interpreter, arguments, searched = _interpreter(at)
            if searched:
                interpreter = _search(interpreter, self.path, self.cwd) if interpreter else None
                if interpreter and at == program.path and os.path.dirname(interpreter) not in _STANDARD:
                    real = pyenv.chosen(interpreter, self.cwd, self._beside)
                    interpreter = real if isinstance(real, str) else interpreter
                    program = _Program(interpreter, (interpreter, *arguments, at))
            at = interpreter
        return program

    def _beside(self, name: str, shims: str) -> str | None:
        """A program elsewhere in PATH than among the shims."""
        others = os.pathsep.join(each for each in self.path.split(os.pathsep) if os.path.realpath(each) != shims)
        return _search(name, others, self.cwd)

    def _pass(self, path: str) -> None:
        """Note what a program needs: its own place, and each place that its links lead through."""
        for _ in range(_MOST_TURNS):
            self._need(path)
            try:
                path = os.path.join(os.path.dirname(path), os.readlink(path))
            except OSError:
                return

    def _need(self, path: str) -> None:
        path = os.path.normpath(path)
        if path.startswith(_VISIBLE):
            return
        prefix = os.path.dirname(os.path.dirname(path))
        if os.path.basename(os.path.dirname(path)) not in ("bin", "sbin") or is_home(os.path.realpath(prefix)):
            self.needed.append(path)
        elif base := _python_base(prefix):
            self.needed.append(prefix)
            if base != prefix and not base.startswith(_VISIBLE) and not is_home(os.path.realpath(base)):
                self.needed.append(base)
        elif prefix.count("/") < 2 or in_home(os.path.realpath(prefix)):
            # ~/.cargo and ~/.local hold far more than the program
            self.needed.append(path)
        else:
            self.needed.append(prefix)


def _search(command: str, path: str, cwd: str) -> str | None:
    folders = [""] if "/" in command else path.split(os.pathsep)
    for folder in folders:
        found = os.path.normpath(os.path.join(cwd, folder, command))
        try:
            if S_ISREG(os.stat(found).st_mode) and os.access(found, os.X_OK):
                return found
        except OSError:
            continue
    return None


def _interpreter(path: str) -> tuple[str | None, tuple[str, ...], bool]:
    """The ``#!`` line of a script.

    :returns: the interpreter, its arguments, and whether ``/usr/bin/env`` is to search for it
    """
    line = first_line(path)
    if not line.startswith(b"#!"):
        return None, (), False
    words = os.fsdecode(line[2:]).split()
    if not words or os.path.basename(words[0]) != "env":
        return (words[0] if words else None), (), False
    rest = [word for word in words[1:] if word not in ("-S", "--split-string")]
    while rest and (rest[0].startswith("-") or "=" in rest[0]):
        rest.pop(0)
    return (rest[0], tuple(rest[1:]), True) if rest else (None, (), True)


def first_line(path: str) -> bytes:
    """The first line of a file, as far as the kernel reads a ``#!`` line; empty where it cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return (file.read(256) or b"").split(b"\n", 1)[0]
    except OSError:
        return b""


def _python_base(prefix: str) -> str | None:
    """The prefix of the Python installation behind a prefix: itself, or what a virtual environment was made of."""
    try:
        with open(os.path.join(prefix, "pyvenv.cfg"), encoding="utf-8", errors="replace") as file:
            lines = [line.partition("=") for line in file]
    except OSError:
        try:
            libraries = os.listdir(os.path.join(prefix, "lib"))
        except OSError:
            return None
        return prefix if any(name.startswith(("python3.", "pypy3.")) for name in libraries) else None
    home = next((value.strip() for key, _, value in lines if key.strip() == "home"), "")
    base = os.path.dirname(home) if os.path.basename(home) == "bin" else home
    return base if os.path.isdir(base) else prefix


def _topmost(paths: Iterable[str]) -> list[str]:
    """Without duplicates, and without what lies below another."""
    kept: list[str] = []
    for path in sorted(set(paths)):
        if not kept or not path.startswith(f"{kept[-1]}/"):
            kept.append(path)
    return kept


def not_shown(prefixes: Iterable[str], mounts: Iterable[Mount]) -> tuple[str, ...]:
    """Those prefixes that a spec's own mounts do not show already, perhaps writable."""
    named = tuple(mounts)
    targets = {mount.target for mount in named}
    shown = tuple(f"{m.target.rstrip('/')}/" for m in named if isinstance(m, Bind) and m.source == m.target)
    return tuple(each for each in prefixes if each not in targets and not each.startswith(shown))


def missing_argument_hint(argv: Sequence[str], shown: Iterable[str], cwd: str) -> str | None:
    """Why a program may have failed: an argument names a file of the host that is not there inside.

    :param argv: the argument vector
    :param shown: what is mounted inside at the host's own paths
    :param cwd: the caller's working directory
    """
    visible = (*_VISIBLE, *_OWN, *(f"{path.rstrip('/')}/" for path in shown))
    for word in argv[1:]:
        name = word.partition("=")[2] if word.startswith("--") else word
        path = os.path.normpath(os.path.join(cwd, name))
        if not name or path in _EVERYWHERE or f"{path}/".startswith(visible) or not os.path.exists(path):
            continue
        near = f"{path}/".startswith(f"{cwd.rstrip('/')}/") and not is_home(os.path.realpath(cwd))
        return f"{name} is not in the sandbox: add --bind {'.' if near else path}"
    return None
