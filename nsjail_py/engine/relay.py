"""Copy bytes between descriptors of the caller's and of a sandbox while it runs.

One thread a pair: a reader that is slow, or a payload that does not read, holds up nobody else, and no descriptor of
the caller's is made non-blocking, which all who share it would notice.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterable
from threading import Thread

CHUNK = 65536


class Relay:
    """Threads that copy until their sources have ended, or they are stopped.

    :param pairs: (source, destination) each
    :param owned: those of them that are the relay's to close; the others are the caller's
    """

    def __init__(self, pairs: Iterable[tuple[int, int]], owned: Iterable[int]) -> None:
        self._owned = frozenset(owned)
        self._woken, self._wake = os.pipe2(os.O_CLOEXEC)
        self._threads = [Thread(target=self._copy, args=pair, name="nsjail-py relay", daemon=True) for pair in pairs]
        for thread in self._threads:
            thread.start()

    def __repr__(self) -> str:
        return f"<Relay of {len(self._threads)} streams>"

    def stop(self) -> None:
        """Copy what the sandbox's side still holds, then end. May be called again."""
        if self._wake >= 0:
            os.close(self._wake)
            self._wake = -1
        for thread in self._threads:
            thread.join()
        if self._woken >= 0:
            os.close(self._woken)
            self._woken = -1

    def _copy(self, source: int, destination: int) -> None:
        poll = select.poll()
        poll.register(source, select.POLLIN)
        poll.register(self._woken, 0)
        from_sandbox = source in self._owned
        while True:
            ready = {fd for fd, _ in poll.poll()}
            # the caller's own descriptor may never end; what the sandbox has written is in its pipe by now
            if self._woken in ready and (not from_sandbox or source not in ready):
                break
            if source in ready and not _move(source, destination):
                break
        for fd in (source, destination):
            if fd in self._owned:
                os.close(fd)


def _move(source: int, destination: int) -> bool:
    """Copy once. False at the end, of either."""
    try:
        data = os.read(source, CHUNK)
        write_all(destination, data)
    except OSError:  # EIO: the terminal has been hung up; EPIPE: the reader has gone
        return False
    return bool(data)


def write_all(fd: int, data: bytes) -> None:
    """Write to a descriptor of the caller's, which may be non-blocking."""
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()
