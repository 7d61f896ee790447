"""The caller's ends of a payload's pipes: as files, one line after the other, or for ``communicate``, all at once."""

from __future__ import annotations

import os
from typing import IO, Any

from nsjail_py.engine.exchange import Exchange


class Streams:
    """Pipes by the payload's number. A pipe becomes a file when somebody asks for it.

    :param pipes: the caller's ends; they belong to this object
    :param encoding: encoding and error handling; ``None``: bytes
    """

    __slots__ = ("_encoding", "_files", "_pipes")

    def __init__(self, pipes: dict[int, int], encoding: tuple[str, str] | None) -> None:
        self._pipes = pipes
        self._encoding = encoding
        self._files: dict[int, IO[Any]] = {}

    def __repr__(self) -> str:
        return f"<Streams {', '.join(map(str, sorted({*self._pipes, *self._files})))}>"

    def file(self, number: int) -> IO[Any] | None:
        """The file of a pipe, or ``None`` where that descriptor is none."""
        if number in self._pipes:
            fd = self._pipes.pop(number)
            mode = "r" if number else "w"
            if self._encoding is None:
                file: IO[Any] = os.fdopen(fd, mode + "b", buffering=-1 if number else 0)
            else:
                encoding, errors = self._encoding
                file = os.fdopen(fd, mode, buffering=1, encoding=encoding, errors=errors)
            self._files[number] = file
        return self._files.get(number)

    def exchange(self, data: bytes) -> Exchange:
        """Everything that is still open, to be served together; stdin is closed after ``data``.

        :raises ValueError: there is data, and no stdin
        """
        sources = {fd: number for number, fd in self._pipes.items() if number}
        sources |= {file.fileno(): number for number, file in self._files.items() if number and not file.closed}
        stdin = self._files.get(0)
        if stdin is not None and not stdin.closed:
            stdin.flush()
            sink = stdin.fileno()
        else:
            sink = self._pipes.get(0, -1)
        if sink >= 0:
            os.set_blocking(sink, False)
        elif data:
            raise ValueError("input needs stdin=PIPE")
        return Exchange(sources, sink, data, self._close_stdin)

    def encoded(self, data: str | bytes | None) -> bytes:
        """Input as bytes."""
        if isinstance(data, str):
            return data.encode(*self._encoding or ("utf-8",))
        return data or b""

    def decoded(self, data: bytes | None) -> str | bytes | None:
        """Output as the caller wants it, with universal newlines where that is text."""
        if self._encoding is None or data is None:
            return data
        return data.decode(*self._encoding).replace("\r\n", "\n").replace("\r", "\n")

    def close(self) -> None:
        """Close everything; what a file has not written yet is lost where nobody reads it any more."""
        for file in self._files.values():
            try:
                file.close()
            except BrokenPipeError:
                pass
        while self._pipes:
            os.close(self._pipes.popitem()[1])

    def _close_stdin(self) -> None:
        if 0 in self._pipes:
            os.close(self._pipes.pop(0))
        elif 0 in self._files:
            self._files[0].close()
