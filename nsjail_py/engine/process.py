"""A running sandbox, as its owner holds it."""

from __future__ import annotations

import os
import select
import signal as signals
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from threading import Lock, RLock, Thread
from typing import IO, Any, Self

import msgspec

from nsjail_py.engine.arrange import Joined
from nsjail_py.engine.compile import Compiled
from nsjail_py.engine.console import Console
from nsjail_py.engine.ending import Ending
from nsjail_py.engine.exchange import Served
from nsjail_py.engine.launch import Started, close
from nsjail_py.engine.payload import Payload
from nsjail_py.engine.relay import Relay
from nsjail_py.engine.reports import read_report, send_control
from nsjail_py.engine.result import Result
from nsjail_py.engine.stdio import Stdio
from nsjail_py.engine.streams import Streams
from nsjail_py.engine.terminal import set_size
from nsjail_py.engine.update import update
from nsjail_py.linux import constants as c
from nsjail_py.linux.process import pidfd_send_signal
from nsjail_py.linux.procfs import pid_of_pidfd
from nsjail_py.spec.spec import SandboxSpec


class Process:
    """A sandbox whose payload runs. Made by ``Sandbox.start`` and ``Process.exec``.

    Leaving its ``with`` block kills it, and so does forgetting it. It belongs to the process that made it: a forked
    child of that one can send signals, and only that.

    :ivar args: the command
    :ivar name: the name under which other commands find it, or ``None``
    :ivar terminal: the master side of its terminal, or ``None``
    :ivar stopped: the signal that stopped the payload, or ``None`` while it runs
    :ivar on_stop: called by whoever waits where the payload has been stopped, by whatever; when it returns, the payload
        is continued. A shell's job stops itself there. Without one, only a terminal's key stops the caller as well
    :ivar wakeup: a non-blocking descriptor of the caller's that ends the poll of whoever waits, or -1: what
        ``signal.set_wakeup_fd`` writes to the other end of. Python runs a handler between two instructions, so one of a
        signal that comes in the instant before a poll would wait as long as that does
    """

    def __init__(
        self,
        compiled: Compiled,
        started: Started,
        payload: Payload,
        stdio: Stdio,
        *,
        name: str | None,
        encoding: tuple[str, str] | None,
        deadline: float | None,
        joined: Joined | None = None,
    ) -> None:
        self.args = payload.argv
        self.name = name
        self.stopped: int | None = None
        self.on_stop: Callable[[], object] | None = None
        self.wakeup = -1
        self._compiled = compiled
        self._started = started
        self._deadline = deadline
        self._owner = os.getpid()
        # one thread serves the streams and reports; the other lock only keeps descriptors open while they are used
        self._attending = Lock()
        self._lock = RLock()
        self._ending = Ending(compiled, started)
        self._result: Result[Any] | None = None
        self._outcome: Result[Any] | None = None
        self._pid = 0
        self._streams = Streams(stdio.ours, encoding)
        self._served: Served | None = None
        self.terminal: int | None = started.terminal if started.terminal >= 0 else None
        self._joined = joined
        self._relay = Relay(*stdio.take_copies()) if stdio.copies else None

    def __repr__(self) -> str:
        state = f"returned {self._result.returncode}" if self._result is not None else f"pid {self.pid}"
        label = f" {self.name}" if self.name else ""
        return f"<Process{label} {self.args[0]!r} {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._result is None and self._owner == os.getpid():
            self.kill()
            self.wait()
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_relay"):
            self.__exit__()

    # ---- what it is ----

    @property
    def pid(self) -> int:
        """The payload's pid on the host; 0 where it had ended before anybody asked."""
        with self._lock:
            if not self._pid and self._started.payload >= 0:
                self._pid = pid_of_pidfd(self._started.payload) or 0
        return self._pid

    @property
    def init_pid(self) -> int:
        """The host pid of its init, or of the payload where that is pid 1."""
        return self._started.init_pid

    @property
    def spec(self) -> SandboxSpec:
        """What was wanted."""
        return self._compiled.spec

    @property
    def trace(self) -> list[tuple[str, str, int]]:
        """In trace mode: owner, step and nanoseconds since the call, of every step of the set-up."""
        started = self._started
        return [
            (started.steps[index].owner, started.steps[index].text, ns - started.began) for index, ns in started.trace
        ]

    @property
    def pidfd(self) -> int:
        """A pidfd of the payload. It belongs to this object, which closes it at the end; -1 from then on."""
        return self._started.payload

    @property
    def facts(self) -> dict[str, Any]:
        """What the plan's parts state about it."""
        return self._compiled.facts

    @property
    def returncode(self) -> int | None:
        """As in the result, or ``None`` while it runs."""
        return self._result.returncode if self._result is not None else None

    @property
    def stdin(self) -> IO[Any] | None:
        """Where ``stdin=PIPE``: a file to write to, unbuffered or, of text, flushed at the end of a line."""
        return self._streams.file(0)

    @property
    def stdout(self) -> IO[Any] | None:
        """Where ``stdout=PIPE``: a file to read from, by line too."""
        return self._streams.file(1)

    @property
    def stderr(self) -> IO[Any] | None:
        """Where ``stderr=PIPE``: a file to read from, by line too."""
        return self._streams.file(2)

    # ---- what is done to it ----

    def send_signal(self, signal: int) -> None:
        """Send a signal to the payload. Nothing happens where it has ended.

        :raises OSError: EINVAL for what is no signal
        """
        with self._lock:
            if self._result is None:
                with suppress(ProcessLookupError):
                    pidfd_send_signal(self._started.payload, signal)

    def signal_group(self, signal: int) -> None:
        """Send a signal to the payload's process group, as a terminal's keys do; to the payload alone where that is
        pid 1 itself. Nothing happens where it has ended.
        """
        if not self._compiled.facts.get("init", True):
            self.send_signal(signal)
            return
        with self._lock:
            if self._result is None:
                with suppress(ProcessLookupError):
                    send_control(self._started.report, c.NSJ_CONTROL_SIGNAL_GROUP, signal)

    def terminate(self) -> None:
        """SIGTERM to the payload. One that is pid 1 itself gets it only where it has a handler."""
        self.send_signal(signals.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to everything in it. Nothing happens where it has ended."""
        with self._lock:
            if self._result is None:
                self._ending.kill(timed_out=False)

    def expire(self) -> None:
        """Kill it as past its deadline."""
        with self._lock:
            if self._result is None:
                self._ending.kill(timed_out=True)

    def resize(self, rows: int, columns: int) -> None:
        """Tell its terminal how large the window is.

        :raises ValueError: it has no terminal
        """
        if self.terminal is None:
            raise ValueError("this sandbox has no terminal")
        set_size(self.terminal, rows, columns)

    def exec(self, argv: Sequence[str | os.PathLike[str]], **call: Any) -> Process:
        """Start one more command in it: same namespaces, groups, limits and rights as its payload.

        :param argv: the command, searched inside
        :param call: as in ``Sandbox.start``
        :returns: the command; killing it leaves the sandbox running, and it dies with the sandbox
        :raises UnsupportedError: the sandbox has ended
        :raises ProgramError: the command is missing or cannot be executed
        """
        # a module that starts processes cannot be imported by the one that describes them
        from nsjail_py.engine.commands import Commands
        from nsjail_py.engine.enter import entering_process

        return Commands(entering_process(self, self._compiled)).start(argv, **call)

    def update(self, **changes: Mapping[str, Any]) -> None:
        """Change what can be changed while it runs: ``update(sysctl={"timer_slack": 1000})``.

        :param changes: by section, the fields that change
        :raises SpecError: with every problem of the spec as it would be
        :raises UnsupportedError: a section cannot be changed while the sandbox runs
        """
        update(self, self._compiled, changes)

    # ---- its end ----

    def fileno(self) -> int:
        """A descriptor that is readable when ``poll`` has something new to say: for loops of the caller's own."""
        return self._started.report if self._compiled.facts.get("init", True) else self._started.pidfd

    def poll(self) -> int | None:
        """The return code, or ``None`` while it runs; never waits.

        A terminal that was joined to the caller's is served by ``wait`` and ``communicate``, not by this.
        """
        self._attend(None, time.monotonic())
        return self.returncode

    def wait(self, timeout: float | None = None) -> Result[Any]:
        """Wait for the end; everything in the sandbox is dead when this returns.

        Output that nobody reads may keep it from ending: see ``communicate``.

        :param timeout: seconds to wait; the sandbox goes on after them
        :raises TimeoutError: it has not ended by then
        """
        if self._joined is not None and self._served is None:
            self._served = self._exchange(None)
        return self._attended(self._served if isinstance(self._served, Console) else None, timeout)

    def communicate(
        self,
        input: str | bytes | None = None,  # noqa: A002 - as in subprocess
        timeout: float | None = None,
    ) -> Result[Any]:
        """Feed its stdin, collect what it writes to pipes, and wait for the end.

        What was written to its terminal is ``stdout``. Of a stream that was read by its file before, only what the
        file has not read yet is collected.

        :param input: what its stdin is to read; needs ``stdin=PIPE`` or a terminal
        :param timeout: seconds to wait; nothing is lost after them, and a further call goes on
        :returns: the result, with ``stdout`` and ``stderr`` where those were pipes
        :raises TimeoutError: it has not ended by then
        :raises ValueError: there is nowhere to feed the input to, or a call before had some
        """
        if self._served is None:
            self._served = self._exchange(input)
        elif input:
            raise ValueError("it has been given its input")
        result = self._attended(self._served, timeout)
        stdout, stderr = (self._streams.decoded(self._served.output(number)) for number in (1, 2))
        if stdout is not None or stderr is not None:
            self._result = result = msgspec.structs.replace(result, stdout=stdout, stderr=stderr)
        return result

    def close(self) -> None:
        """Close the caller's ends of its streams, and its terminal once it has ended."""
        with self._lock:
            self._streams.close()
            if self.terminal is not None and self._result is not None:
                os.close(self.terminal)
                self.terminal = None

    def deadline(self) -> tuple[int, float | None]:
        """A pidfd of its init, for the taker to close, and when it is to be killed, by the monotonic clock."""
        with self._lock:
            return os.dup(self._started.pidfd), self._deadline

    # ---- the loop ----

    def _exchange(self, data: str | bytes | None) -> Served:
        given = self._streams.encoded(data)
        if self.terminal is None:
            return self._streams.exchange(given)
        joined = self._joined or Joined(-1, -1, keep=True)
        return Console(self.terminal, self, joined, self._streams.exchange(b""), given)

    def _attended(self, served: Served | None, timeout: float | None) -> Result[Any]:
        self._attend(served, None if timeout is None else time.monotonic() + timeout)
        if self._result is None:
            raise TimeoutError(f"{self.args[0]} is still running after {timeout} seconds")
        return self._result

    def _attend(self, served: Served | None, until: float | None) -> None:
        """Serve streams and reports until the sandbox has ended, or it is time to return."""
        if self._owner != os.getpid():
            raise ChildProcessError("a sandbox is waited for by the process that started it")
        patience = -1.0 if until is None else max(0.0, until - time.monotonic())
        if not self._attending.acquire(timeout=patience):
            return
        try:
            if served is not None:
                served.enter()
            if self._result is None:
                self._serve(served, until)
            elif served is not None:
                served.drain()
        finally:
            if served is not None:
                served.leave()
            self._attending.release()

    def _serve(self, served: Served | None, until: float | None) -> None:
        poll = select.poll()
        watched = self.fileno()
        poll.register(watched, select.POLLIN)
        if self.wakeup >= 0:
            poll.register(self.wakeup, select.POLLIN)
        while not self._ending.ended:
            if served is not None:
                served.register(poll)
            ready = poll.poll(self._patience(served, until))
            if not ready and self._out_of_time(until):
                return
            for fd, events in ready:
                if fd == watched:
                    self._news(served)
                elif fd == self.wakeup:
                    os.read(fd, select.PIPE_BUF)
                elif served is not None:
                    served.handle(poll, fd, events)
        if served is not None:
            served.drain()
        self._finish()

    def _patience(self, served: Served | None, until: float | None) -> float | None:
        now = time.monotonic()
        limits = [] if until is None else [until - now]
        if self._deadline is not None and not self._ending.killed:
            limits.append(self._deadline - now)
        if served is not None and served.patience is not None:
            limits.append(served.patience)
        return max(0.0, min(limits) * 1000) if limits else None

    def _out_of_time(self, until: float | None) -> bool:
        """Kill what is past its deadline. True: the caller's patience has ended."""
        now = time.monotonic()
        if self._deadline is not None and now >= self._deadline:
            self.expire()
        return until is not None and now >= until

    def _news(self, served: Served | None) -> None:
        """Read one report, or the end of them."""
        received = read_report(self._started.report) if self._compiled.facts.get("init", True) else None
        report = received[0] if received is not None else None
        if report is not None and report.kind == c.NSJ_REPORT_STOPPED:
            self._stopped(served, report.value[0])
        elif report is None:
            self._ending.reap()
            self._outcome = self._ending.result(self, self.args)
        elif report.kind == c.NSJ_REPORT_EXITED:
            self._ending.note(report)
            # before the wait: init takes as long to leave as this takes
            self._outcome = self._ending.result(self, self.args)
            self._ending.reap()

    def _stopped(self, served: Served | None, signal: int) -> None:
        self.stopped = signal
        if self.on_stop is None:
            if isinstance(served, Console) and served.suspend():
                self.stopped = None
            return
        if served is not None:
            served.leave()
        self.on_stop()
        if served is not None:
            served.enter()
        self.stopped = None
        self.signal_group(signals.SIGCONT)

    def _finish(self) -> None:
        if self._relay is not None:
            self._relay.stop()
        started = self._started
        self._result = self._outcome
        started.terminal = -1  # the caller may still read from it; close() closes it
        with self._lock:
            close(started)


def watch(process: Process) -> None:
    """Keep the deadline of a process that nobody may be waiting for, nor hold any more."""
    pidfd, deadline = process.deadline()
    if deadline is None:
        os.close(pidfd)
        return
    held = weakref.ref(process)

    def keep() -> None:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if not poll.poll(max(0.0, (deadline - time.monotonic()) * 1000)) and (late := held()) is not None:
            late.expire()
        os.close(pidfd)

    Thread(target=keep, name="nsjail-py deadline", daemon=True).start()
