"""A running sandbox, as its owner holds it."""

from __future__ import annotations

import os
import select
import signal as signals
import time
from collections.abc import Mapping
from threading import Lock, RLock, Thread
from typing import IO, Any, Self

import msgspec

from nsjail_py.engine.compile import Compiled
from nsjail_py.engine.launch import Started, close
from nsjail_py.engine.payload import Payload
from nsjail_py.engine.relay import Relay
from nsjail_py.engine.reports import read_report, send_control
from nsjail_py.engine.result import Result
from nsjail_py.engine.stdio import Stdio
from nsjail_py.engine.terminal import set_size
from nsjail_py.engine.update import update
from nsjail_py.engine.verdict import conclude
from nsjail_py.linux import constants as c
from nsjail_py.linux.process import pidfd_send_signal, wait
from nsjail_py.linux.procfs import pid_of_pidfd
from nsjail_py.plugin.evidence import Evidence
from nsjail_py.spec.spec import SandboxSpec

CHUNK = 65536


class Process:
    """A sandbox whose payload runs. Made by ``Sandbox.start`` and ``Process.exec``; leaving its ``with`` block kills it.

    :ivar args: the command
    :ivar name: the name under which other commands find it, or ``None``
    :ivar stdin: where ``stdin=PIPE``: a file to write to
    :ivar stdout: where ``stdout=PIPE``: a file to read from, by line too
    :ivar stderr: the same
    :ivar terminal: the master side of its terminal, or ``None``
    :ivar stopped: the signal that stopped the payload, or ``None`` while it runs
    """

    def __init__(
        self,
        compiled: Compiled,
        started: Started,
        payload: Payload,
        stdio: Stdio | None,
        *,
        name: str | None,
        encoding: tuple[str, str] | None,
        deadline: float | None,
    ) -> None:
        self.args = payload.argv
        self.name = name
        self.stopped: int | None = None
        self._compiled = compiled
        self._payload = payload
        self._started = started
        self._encoding = encoding
        self._deadline = deadline
        # one thread serves the streams and reports; the other lock only keeps descriptors open while they are used
        self._attending = Lock()
        self._lock = RLock()
        self._ended = False
        self._killed = False
        self._timed_out = False
        self._status: int | None = None
        self._rusage = (0, 0, 0)
        self._ended_at = 0
        self._result: Result[Any] | None = None
        self._relay: Relay | None = None
        self._pid = 0
        self._ours = dict(stdio.ours) if stdio is not None else {}
        self._files: dict[int, IO[Any]] = {}
        self.terminal: int | None = started.terminal if started.terminal >= 0 else None
        if stdio is not None and stdio.copies:
            self._relay = Relay(*stdio.take_copies())

    def __repr__(self) -> str:
        state = f"returned {self._result.returncode}" if self._result is not None else f"pid {self.pid}"
        label = f" {self.name}" if self.name else ""
        return f"<Process{label} {self.args[0]!r} {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._result is None:
            self.kill()
            self.wait()
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_result", self) is None:
            self.kill()
            self.wait()

    # ---- what it is ----

    @property
    def pid(self) -> int:
        """The payload's pid on the host."""
        if not self._pid:
            self._pid = pid_of_pidfd(self._started.payload) or 0
        return self._pid

    @property
    def init_pid(self) -> int:
        """The host pid of its init, or of the payload where that is pid 1."""
        return self._started.pid

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
        """A pidfd of the payload. It belongs to this object."""
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
        return self._file(0, "w")

    @property
    def stdout(self) -> IO[Any] | None:
        return self._file(1, "r")

    @property
    def stderr(self) -> IO[Any] | None:
        return self._file(2, "r")

    def _file(self, number: int, mode: str) -> IO[Any] | None:
        if number not in self._files and number in self._ours:
            fd = self._ours.pop(number)
            if self._encoding is None:
                self._files[number] = open(fd, mode + "b", buffering=-1 if mode == "r" else 0)
            else:
                encoding, errors = self._encoding
                self._files[number] = open(fd, mode, encoding=encoding, errors=errors)
        return self._files.get(number)

    # ---- what is done to it ----

    def send_signal(self, signal: int) -> None:
        """Send a signal to the payload. Nothing happens where it has ended."""
        with self._lock:
            if self._result is None:
                try:
                    pidfd_send_signal(self._started.payload, signal)
                except ProcessLookupError:
                    pass

    def signal_group(self, signal: int) -> None:
        """Send a signal to the payload's process group, as a terminal's keys do."""
        with self._lock:
            if self._result is None:
                try:
                    send_control(self._started.report, c.NSJ_CONTROL_SIGNAL_GROUP, signal)
                except ProcessLookupError:
                    pass

    def terminate(self) -> None:
        """SIGTERM to the payload."""
        self.send_signal(signals.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to everything in it."""
        with self._lock:
            if self._result is None and not self._ended:
                self._killed = True
                self._kill()

    def _kill(self) -> None:
        try:
            if self._compiled.facts.get("own_pids"):
                pidfd_send_signal(self._started.pidfd, signals.SIGKILL)
            else:
                send_control(self._started.report, c.NSJ_CONTROL_SIGNAL_ALL, signals.SIGKILL)
        except ProcessLookupError:
            pass

    def resize(self, rows: int, columns: int) -> None:
        """Tell its terminal how large the window is.

        :raises ValueError: it has no terminal
        """
        if self.terminal is None:
            raise ValueError("this sandbox has no terminal")
        set_size(self.terminal, rows, columns)

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
        """The return code, or ``None`` while it runs; never waits."""
        self._attend({}, b"", time.monotonic())
        return self.returncode

    def wait(self, timeout: float | None = None) -> Result[Any]:
        """Wait for the end; everything in the sandbox is dead when this returns.

        Output that nobody reads may keep it from ending: see ``communicate``.

        :param timeout: seconds to wait; the sandbox goes on after them
        :raises TimeoutError: it has not ended by then
        """
        self._attend({}, b"", None if timeout is None else time.monotonic() + timeout)
        if self._result is None:
            raise TimeoutError(f"{self.args[0]} is still running after {timeout} seconds")
        return self._result

    def communicate(self, input: str | bytes | None = None, timeout: float | None = None) -> Result[Any]:
        """Feed its stdin, collect what it writes to pipes, and wait for the end.

        :param input: what its stdin is to read; needs ``stdin=PIPE``
        :param timeout: seconds to wait
        :returns: the result, with ``stdout`` and ``stderr`` where those were pipes
        :raises TimeoutError: it has not ended by then; what it wrote so far is lost
        """
        if self._result is not None:
            return self._result
        collected: dict[int, list[bytes]] = {number: [] for number in self._ours if number != 0}
        if self.terminal is not None:
            collected = {1: []}
        data = input.encode(self._encoding[0] if self._encoding else "utf-8") if isinstance(input, str) else input
        self._attend(collected, data or b"", None if timeout is None else time.monotonic() + timeout)
        if self._result is None:
            raise TimeoutError(f"{self.args[0]} is still running after {timeout} seconds")
        output = {number: self._decoded(b"".join(chunks)) for number, chunks in collected.items()}
        self._result = msgspec.structs.replace(self._result, stdout=output.get(1), stderr=output.get(2))
        return self._result

    def close(self) -> None:
        """Close the caller's ends of its streams."""
        with self._lock:
            for file in self._files.values():
                try:
                    file.close()
                except BrokenPipeError:
                    pass
            for fd in self._ours.values():
                os.close(fd)
            self._ours.clear()
            if self.terminal is not None and self._result is not None:
                os.close(self.terminal)
                self.terminal = None

    def _decoded(self, data: bytes) -> str | bytes:
        if self._encoding is None:
            return data
        return data.decode(*self._encoding).replace("\r\n", "\n").replace("\r", "\n")

    def _attend(self, collected: Mapping[int, list[bytes]], data: bytes, until: float | None) -> None:
        """Serve streams and reports until the sandbox and the collected streams have ended, or it is time to return."""
        patience = -1.0 if until is None else max(0.0, until - time.monotonic())
        if self._result is not None or not self._attending.acquire(timeout=patience):
            return
        try:
            if self._result is None:
                self._serve(collected, data, until)
        finally:
            self._attending.release()

    def _serve(self, collected: Mapping[int, list[bytes]], data: bytes, until: float | None) -> None:
        poll = select.poll()
        sources: dict[int, list[bytes]] = {}
        for number, chunks in collected.items():
            fd = self.terminal if self.terminal is not None else self._ours[number]
            sources[fd] = chunks
            poll.register(fd, select.POLLIN)
        feeding = self._feed(poll, data, bool(collected) or bool(data))
        watched = self.fileno()
        poll.register(watched, select.POLLIN)
        while not self._ended or sources:
            timeout = self._patience(until)
            ready = poll.poll(timeout)
            if not ready and not self._overdue(until):
                return
            for fd, _ in ready:
                if fd == watched:
                    if self._news():
                        poll.unregister(watched)
                        self._reap()
                elif fd in sources:
                    if not _read(fd, sources[fd]):
                        poll.unregister(fd)
                        del sources[fd]
                elif fd == feeding:
                    data = self._write(poll, fd, data)
        self._finish()

    def _feed(self, poll: select.poll, data: bytes, closing: bool) -> int:
        fd = self.terminal if self.terminal is not None and data else self._ours.get(0, -1)
        if fd < 0 or not closing:
            return -1
        if not data:
            os.close(self._ours.pop(0))
            return -1
        os.set_blocking(fd, False)
        if self.terminal is None:
            poll.register(fd, select.POLLOUT)
            return fd
        os.write(fd, data)
        return -1

    def _write(self, poll: select.poll, fd: int, data: bytes) -> bytes:
        try:
            data = data[os.write(fd, data[:CHUNK]) :]
        except BlockingIOError:
            return data
        except BrokenPipeError:
            data = b""
        if not data:
            poll.unregister(fd)
            os.close(self._ours.pop(0))
        return data

    def _patience(self, until: float | None) -> float | None:
        limits = [each for each in (until, None if self._ended else self._deadline) if each is not None]
        return max(0.0, (min(limits) - time.monotonic()) * 1000) if limits else None

    def _overdue(self, until: float | None) -> bool:
        """Kill what is past its deadline. False: only the caller's patience has ended."""
        now = time.monotonic()
        if self._deadline is not None and not self._ended and now >= self._deadline:
            if not self._timed_out:
                self._timed_out = True
                self._kill()
            return True
        return until is None or now < until

    def _news(self) -> bool:
        """Read one report. True: the payload has ended."""
        if not self._compiled.facts.get("init", True):
            return True
        received = read_report(self._started.report)
        if received is None:
            return True
        report = received[0]
        if report.kind == c.NSJ_REPORT_EXITED:
            self._status = report.value[0]
            self._rusage = (report.value[1], report.value[2], report.value[3])
            self._ended_at = report.ns
            return True
        if report.kind == c.NSJ_REPORT_STOPPED:
            self.stopped = report.value[0]
        return False

    def _reap(self) -> None:
        """Wait until init, and with it everything in the pid namespace, is gone."""
        end = wait(self._started.pidfd)
        if self._status is None and end is not None:
            self._status = end.status
            self._rusage = (end.user_us, end.system_us, end.peak_kib)
        self._ended = True

    def _finish(self) -> None:
        if self._relay is not None:
            self._relay.stop()
        status = self._status if self._status is not None else int(signals.SIGKILL)
        code = os.waitstatus_to_exitcode(status)
        started = self._started
        user, system, peak = self._rusage
        run_time = ((self._ended_at or time.monotonic_ns()) - started.started) / 1e9
        usage: dict[str, Any] = {
            "wall_time": run_time,
            "user_time": user / 1e6,
            "system_time": system / 1e6,
            "cpu_time": (user + system) / 1e6,
            "memory_peak": peak << 10,
        }
        evidence = Evidence(status=status, killed=self._killed, timed_out=self._timed_out, usage=usage)
        verdict = conclude(self, self._compiled.plugins, evidence)
        self._result = Result(
            args=self.args,
            returncode=code,
            reason=verdict.reason,
            signal=-code if code < 0 else None,
            setup_time=(started.started - started.began) / 1e9,
            run_time=run_time,
            usage=verdict.usage,
            warnings=(*started.warnings, *verdict.warnings),
        )
        started.terminal = -1  # the caller may still read from it; close() closes it
        with self._lock:
            close(started)

    def deadline(self) -> tuple[int, float | None]:
        """A pidfd of its init, for the taker to close, and when it is to be killed, by the monotonic clock."""
        with self._lock:
            return os.dup(self._started.pidfd), self._deadline

    def expire(self) -> None:
        """Kill it as past its deadline."""
        with self._lock:
            if self._result is None:
                self._timed_out = True
                self._kill()


def watch(process: Process) -> None:
    """Keep the deadline of a process that nobody may be waiting for."""
    pidfd, deadline = process.deadline()
    if deadline is None:
        os.close(pidfd)
        return

    def keep() -> None:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if not poll.poll(max(0.0, (deadline - time.monotonic()) * 1000)):
            process.expire()
        os.close(pidfd)

    Thread(target=keep, name="nsjail-py deadline", daemon=True).start()


def _read(fd: int, chunks: list[bytes]) -> bool:
    try:
        data = os.read(fd, CHUNK)
    except BlockingIOError:
        return True
    except OSError:  # EIO: the terminal's other side is closed
        return False
    chunks.append(data)
    return bool(data)
