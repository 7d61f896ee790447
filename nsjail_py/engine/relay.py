"""Copy bytes between descriptors of the caller's and of a sandbox, in a thread, while it runs."""

from __future__ import annotations

import os
import select
from collections.abc import Iterable
from threading import Thread

CHUNK = 65536


class Relay:
    """A thread that copies until every source has ended, or it is stopped.

    :param pairs: (source, destination) each
    :param owned: descriptors that the relay closes when it is done with them
    """

    def __init__(self, pairs: Iterable[tuple[int, int]], owned: Iterable[int]) -> None:
        self._pairs = dict(pairs)
        self._owned = set(owned)
        self._woken, self._wake = os.pipe2(os.O_CLOEXEC)
        self._thread = Thread(target=self._copy, name="nsjail-py relay", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<Relay of {len(self._pairs)} streams>"

    def stop(self) -> None:
        """Copy what the sandbox's side still holds, then end."""
        os.close(self._wake)
        self._thread.join()
        os.close(self._woken)

    def _copy(self) -> None:
        poll = select.poll()
        for source in self._pairs:
            poll.register(source, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        stopping = False
        while self._pairs:
            ready = poll.poll(0 if stopping else None)
            if stopping and not ready:
                break
            for fd, _ in ready:
                if fd == self._woken:
                    stopping = True
                    poll.unregister(fd)
                    # the caller's own descriptors may never end
                    for source in [each for each in self._pairs if each not in self._owned]:
                        poll.unregister(source)
                        self._end(source)
                elif fd in self._pairs and not self._move(fd):
                    poll.unregister(fd)
                    self._end(fd)
        for source in list(self._pairs):
            self._end(source)

    def _move(self, source: int) -> bool:
        try:
            data = os.read(source, CHUNK)
            while data:
                data = data[os.write(self._pairs[source], data) :]
                if not data:
                    return True
        except OSError:  # EIO: the terminal's other side is closed; EPIPE: the reader has gone
            return False
        return False

    def _end(self, source: int) -> None:
        destination = self._pairs.pop(source)
        for fd in (source, destination):
            if fd in self._owned:
                self._owned.discard(fd)
                os.close(fd)
