"""Which of the payload's descriptors are on a terminal of the sandbox's own, and what its other side is joined to.

A payload gets such a terminal where it was asked for, and where stdin and stdout are on the caller's: that one is
never handed out (CVE-2017-5226), and a program that runs on a terminal should find one.
"""

from __future__ import annotations

import msgspec

from nsjail_py.engine.stdio import PIPE, STDOUT, Stream
from nsjail_py.engine.terminal import DEFAULT_SIZE, get_size, in_foreground, is_terminal


class Joined(msgspec.Struct, frozen=True):
    """What the terminal is joined to.

    :param source: a descriptor of the caller's that keys are read from; -1: none
    :param sink: one to show on; -1: none
    :param keep: what is written is collected
    """

    source: int
    sink: int
    keep: bool = False


class Arrangement(msgspec.Struct, frozen=True):
    """The payload's three descriptors.

    :param streams: those that are not on a terminal of the sandbox's own
    :param size: rows and columns of that terminal; ``None``: there is none
    :param joined: what it is joined to; ``None``: the caller drives it, or there is none
    """

    streams: dict[int, Stream]
    size: tuple[int, int] | None = None
    joined: Joined | None = None


def arrange(stdin: Stream, stdout: Stream, stderr: Stream) -> Arrangement:
    """Decide for a payload that nobody has asked a terminal for."""
    streams = {0: stdin, 1: stdout, 2: stderr}
    if isinstance(stdout, int) and stdout < 0:
        return Arrangement(streams)
    source, sink = callers(0, stdin), callers(1, stdout)
    # from the background, taking the terminal over would stop this process (SIGTTOU)
    if not (is_terminal(source) and is_terminal(sink) and in_foreground(source)):
        return Arrangement(streams)
    apart = stderr != STDOUT and not is_terminal(callers(2, stderr))
    return Arrangement({2: stderr} if apart else {}, get_size(sink), Joined(source, sink))


def arrange_terminal(stdin: Stream, stdout: Stream, stderr: Stream) -> Arrangement:
    """Decide for a payload that is to have a terminal, whatever the caller has. Its stderr is there too, unless it is
    to go somewhere else.
    """
    source, sink = callers(0, stdin), callers(1, stdout)
    size = get_size(sink) if is_terminal(sink) else DEFAULT_SIZE
    return Arrangement(_apart(stderr), size, Joined(source, sink, keep=stdout == PIPE))


def arrange_driven(stdin: Stream, stdout: Stream, stderr: Stream, size: tuple[int, int]) -> Arrangement:
    """Decide for a payload whose terminal the caller itself reads from and writes to.

    :param size: rows and columns
    :raises ValueError: stdin or stdout is given, which are on that terminal
    """
    if stdin is not None or stdout is not None:
        raise ValueError("stdin and stdout are on the terminal: read from and write to Process.terminal")
    return Arrangement(_apart(stderr), size)


def _apart(stderr: Stream) -> dict[int, Stream]:
    return {} if stderr is None or stderr == STDOUT else {2: stderr}


def callers(number: int, stream: Stream) -> int:
    """The descriptor of the caller's behind a stream; -1 where there is none."""
    fd = number if stream is None else stream if isinstance(stream, int) else stream.fileno()
    return max(fd, -1)
