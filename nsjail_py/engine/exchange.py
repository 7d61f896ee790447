"""What ``communicate`` moves through pipes: input to a sandbox and output from it, between two polls."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Mapping
from typing import Protocol

CHUNK = 65536


class Served(Protocol):
    """Streams that the loop of ``Process`` serves beside the reports.

    :ivar patience: seconds after which it wants to be looked at even where nothing is ready, or ``None``
    """

    patience: float | None

    def enter(self) -> None:
        """The loop begins."""

    def leave(self) -> None:
        """The loop ends, for now or for good."""

    def register(self, poll: select.poll) -> None:
        """Have what can be done now watched; called before every poll."""

    def handle(self, poll: select.poll, fd: int, events: int) -> None:
        """Serve a descriptor that is ready; what has ended is unregistered."""

    def drain(self) -> None:
        """Read what an ended sandbox has left."""

    def output(self, number: int) -> bytes | None:
        """What has been read so far of one of the payload's descriptors; ``None`` where that is not collected."""


class Exchange:
    """Input that is still to be written and output that has been read; a later call goes on where one stopped.

    :param sources: what is collected: descriptor and the payload's number for it
    :param sink: where the input goes, non-blocking; -1: nowhere
    :param data: the input
    :param close: called when all of it has been written, or nobody reads it any more
    """

    __slots__ = ("_chunks", "_close", "_data", "_sink", "_sources", "patience")

    def __init__(self, sources: Mapping[int, int], sink: int, data: bytes, close: Callable[[], object]) -> None:
        self.patience: float | None = None
        self._sources = dict(sources)
        self._chunks: dict[int, list[bytes]] = {number: [] for number in sources.values()}
        self._sink = sink
        self._data = memoryview(data)
        self._close = close
        if not data:
            self._end_input()

    def enter(self) -> None:
        """Pipes need no preparation."""

    def leave(self) -> None:
        """Nor anything afterwards."""

    def register(self, poll: select.poll) -> None:
        """Watch everything that is still open."""
        for fd in self._sources:
            poll.register(fd, select.POLLIN)
        if self._sink >= 0:
            poll.register(self._sink, select.POLLOUT)

    def handle(self, poll: select.poll, fd: int, events: int) -> None:  # noqa: ARG002 - see Served
        """Read or write once."""
        if fd in self._sources:
            ended = not self._read(fd)
        else:
            self._write()
            ended = self._sink < 0
        if ended:
            poll.unregister(fd)

    def drain(self) -> None:
        """Read what is left, and give up the input that was not read."""
        self._end_input()
        poll = select.poll()
        self.register(poll)
        while self._sources and (ready := poll.poll(0)):
            for fd, events in ready:
                self.handle(poll, fd, events)

    def output(self, number: int) -> bytes | None:
        """What has been read so far of one of the payload's descriptors; ``None`` where that is not collected."""
        return b"".join(self._chunks[number]) if number in self._chunks else None

    def _read(self, fd: int) -> bool:
        data = os.read(fd, CHUNK)
        if data:
            self._chunks[self._sources[fd]].append(data)
        else:
            del self._sources[fd]
        return bool(data)

    def _write(self) -> None:
        try:
            self._data = self._data[os.write(self._sink, self._data[:CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it does not read, or not all
            self._end_input()
        if not self._data:
            self._end_input()

    def _end_input(self) -> None:
        if self._sink >= 0:
            self._sink = -1
            self._data = memoryview(b"")
            self._close()
