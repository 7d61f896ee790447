"""What moves through pipes, without a sandbox at the other end."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator

import pytest

from nsjail_py.engine.exchange import Exchange
from nsjail_py.engine.relay import Relay
from nsjail_py.engine.streams import Streams


class Ends:
    """The other side of a payload's three pipes."""

    def __init__(self) -> None:
        self.stdin, sink = os.pipe()
        out, self.stdout = os.pipe()
        err, self.stderr = os.pipe()
        self.pipes = {0: sink, 1: out, 2: err}

    def close(self) -> None:
        for fd in (self.stdin, self.stdout, self.stderr):
            os.close(fd)


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.close()


def serve(exchange: Exchange) -> None:
    """One round of the loop."""
    poll = select.poll()
    exchange.register(poll)
    for fd, events in poll.poll(0):
        exchange.handle(poll, fd, events)


def test_input_is_written_as_far_as_it_fits(ends: Ends) -> None:
    streams = Streams(ends.pipes, None)
    exchange = streams.exchange(b"x" * 100_000)
    for _ in range(5):
        serve(exchange)
    assert len(os.read(ends.stdin, 1 << 20)) == 65536, "the pipe was full, and nothing has waited"
    for _ in range(5):
        serve(exchange)
    assert len(os.read(ends.stdin, 1 << 20)) == 100_000 - 65536
    assert os.read(ends.stdin, 1) == b"", "it is closed after its last byte"
    streams.close()


def test_output_is_kept_by_number(ends: Ends) -> None:
    streams = Streams(ends.pipes, None)
    exchange = streams.exchange(b"")
    os.write(ends.stderr, b"err")
    serve(exchange)
    os.write(ends.stdout, b"out")
    exchange.drain()
    assert (exchange.output(1), exchange.output(2), exchange.output(0)) == (b"out", b"err", None)
    streams.close()


def test_draining_does_not_wait_for_an_end_of_file(ends: Ends) -> None:
    streams = Streams(ends.pipes, None)
    os.write(ends.stdout, b"all that there is")
    exchange = streams.exchange(b"never read")
    exchange.drain()
    assert exchange.output(1) == b"all that there is"
    streams.close()


def test_files_are_made_once_and_of_the_right_kind(ends: Ends) -> None:
    streams = Streams(ends.pipes, ("utf-8", "strict"))
    stdin, stdout = streams.file(0), streams.file(1)
    assert stdin is not None
    assert stdout is not None
    assert streams.file(0) is stdin
    stdin.write("ü\n")
    assert os.read(ends.stdin, 10) == "ü\n".encode()
    os.write(ends.stdout, b"a\r\nb\n")
    assert (stdout.readline(), stdout.readline()) == ("a\n", "b\n")
    assert streams.file(3) is None
    streams.close()
    streams.close()


def test_text_and_bytes() -> None:
    text, data = Streams({}, ("latin-1", "replace")), Streams({}, None)
    assert (text.encoded("ü"), data.encoded("ü"), data.encoded(None)) == (b"\xfc", b"\xc3\xbc", b"")
    assert text.decoded(b"\xfc\r\n\r") == "ü\n\n"
    assert (data.decoded(b"\r\n"), text.decoded(None)) == (b"\r\n", None)


def test_a_relay_copies_what_is_left_when_it_is_stopped() -> None:
    source, theirs = os.pipe()
    ours, destination = os.pipe()
    relay = Relay([(source, destination)], [source])
    os.write(theirs, b"written before the end")
    relay.stop()
    relay.stop()
    assert os.read(ours, 100) == b"written before the end"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(source)
    for fd in (theirs, ours, destination):
        os.close(fd)


def test_a_relay_gives_up_the_callers_input_at_once() -> None:
    source, theirs = os.pipe()
    ours, destination = os.pipe()
    relay = Relay([(source, destination)], [destination])
    relay.stop()
    assert os.read(ours, 1) == b"", "the destination is closed"
    for fd in (source, theirs, ours):
        os.close(fd)
