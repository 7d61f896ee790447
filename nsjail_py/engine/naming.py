"""Put a sandbox on record, so that other commands find it by its name and a sweep finds what a crash left of it."""

from __future__ import annotations

import errno
import os
import time
from types import TracebackType
from typing import TYPE_CHECKING

import msgspec

from nsjail_py import running
from nsjail_py.engine.sweep import SWEEP, sweep_record
from nsjail_py.errors import Problem, SetupError, SpecError
from nsjail_py.linux.procfs import boot_id, pid_of_pidfd, start_time
from nsjail_py.spec.codec import encode

if TYPE_CHECKING:
    from nsjail_py.engine.compile import Compiled
    from nsjail_py.engine.launch import Started


def put_on_record(started: Started, compiled: Compiled, argv: tuple[str, ...], name: str | None) -> None:
    """Write the record of a sandbox that has a name or leaves something on the host, before any of it exists.

    It is removed when everything else has been undone; where undoing something failed, it is kept for a sweep.

    :param name: its name; one is made up where it has none and needs a record
    :raises SpecError: another sandbox has the name, or it is none
    :raises SetupError: the record cannot be written
    """
    if name is None:
        if not compiled.facts.get(SWEEP):
            return
        name = f"unnamed-{os.urandom(6).hex()}"
    elif not running.valid_name(name):
        hint = "at most 64 letters, digits, '_', '.' and '-', the first a letter or digit"
        raise SpecError([Problem("$.name", f"not a name for a sandbox: {name!r}", hint)])
    record = running.Running(
        name=name,
        init=0,
        init_started=0,
        payload=0,
        owner=os.getpid(),
        owner_started=start_time(os.getpid()),
        boot=boot_id(),
        pids=running.pid_namespace(),
        created=time.time(),
        argv=tuple(os.fsencode(word).decode(errors="replace") for word in argv),
        facts=compiled.facts,
        spec=encode(compiled.spec, "json"),
        plugins=compiled.plugins.strangers,
    )
    _create(record)
    started.name, started.record = name, record
    started.undo.push(_Forget(name))


def complete_record(started: Started) -> None:
    """Add to the record, where there is one, what is known once the payload runs."""
    if started.record is not None:
        init = started.init_pid
        known = msgspec.structs.replace(
            started.record,
            init=init,
            init_started=start_time(init),
            payload=pid_of_pidfd(started.payload) or init,
        )
        running.replace(known)


def _create(record: running.Running) -> None:
    try:
        other = running.load(record.name)
        if other is not None and other.abandoned:
            sweep_record(record.name)
        running.create(record)
    except FileExistsError:
        hint = "choose another name; nsjail-py ps lists those that run, nsjail-py gc removes what a crash left"
        raise SpecError([Problem("$.name", f"there is a sandbox named {record.name} already", hint)]) from None
    except OSError as error:
        raise SetupError(
            f"put the sandbox {record.name} on record",
            owner="engine",
            errno=error.errno or errno.EIO,
            phase="HOST",
            path=error.filename if isinstance(error.filename, str) else None,
            reason=error.strerror,
        ) from error


class _Forget:
    """The first entry of an undo stack, hence the last to run: it knows whether all others have succeeded."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        """Nothing: only its exit counts."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            running.remove(self._name)
