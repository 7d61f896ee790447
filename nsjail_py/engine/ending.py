"""The end of a sandbox: bringing it about, and what becomes of it in the result."""

from __future__ import annotations

import os
import select
import signal as signals
import time
from contextlib import suppress
from typing import Any

from nsjail_py.engine.compile import Compiled
from nsjail_py.engine.launch import Started
from nsjail_py.engine.reports import send_control
from nsjail_py.engine.result import Result
from nsjail_py.engine.verdict import conclude
from nsjail_py.linux import constants as c
from nsjail_py.linux.process import Exit, kill_below, pidfd_send_signal, wait
from nsjail_py.linux.stage import Report
from nsjail_py.plugin.evidence import Evidence, LiveProcess


class Ending:
    """What ended a sandbox, as far as it is known.

    :param compiled: its spec and plan
    :param started: its launch
    :ivar ended: everything in it is dead
    :ivar killed: it has been killed, by its owner or its deadline
    """

    __slots__ = ("_compiled", "_exit", "_ns", "_started", "_timed_out", "ended", "killed")

    def __init__(self, compiled: Compiled, started: Started) -> None:
        self._compiled = compiled
        self._started = started
        self.ended = False
        self.killed = False
        self._timed_out = False
        self._exit: Exit | None = None
        self._ns = 0

    def kill(self, *, timed_out: bool) -> None:
        """SIGKILL to everything; what comes first is what it is said to have ended of.

        :param timed_out: its deadline has passed
        """
        if self.ended:
            return
        if not self.killed:
            self._timed_out = timed_out
        self.killed = True
        facts = self._compiled.facts
        with suppress(ProcessLookupError):
            if not facts.get("own_pids"):
                # an init outside of a pid namespace of its own can be stopped by a payload of the same uid
                kill_below(self._started.pid, self._started.pidfd)
                pidfd_send_signal(self._started.pidfd, signals.SIGCONT)
                send_control(self._started.report, c.NSJ_CONTROL_SIGNAL_ALL, signals.SIGKILL)
            else:
                self._started.kill_pid_1()

    def note(self, report: Report) -> None:
        """Take init's report of the payload's end; it is on its way out itself."""
        status, user, system, peak, _ = report.value
        self._exit = Exit(status, user, system, peak)
        self._ns = report.ns

    def reap(self) -> None:
        """Wait until init, and with it everything in the pid namespace, is gone."""
        if self._exit is None and not self._compiled.facts.get("own_pids"):
            # somebody killed an init that is outside the sandbox: the payload lives on without it
            self._kill_payload()
        try:
            end = wait(self._started.pidfd)
        except ChildProcessError:
            # the kernel, or a waitpid(-1) of the caller's, has reaped it, and before 6.15 nothing remembers its status
            end = None
            poll = select.poll()
            poll.register(self._started.pidfd, select.POLLIN)
            poll.poll()
        self._exit = self._exit or end
        self.ended = True

    def _kill_payload(self) -> None:
        with suppress(ProcessLookupError):
            pidfd_send_signal(self._started.payload, signals.SIGKILL)

    def result(self, process: LiveProcess, args: tuple[str, ...]) -> Result[Any]:
        """What the caller is told.

        :param process: the sandbox, for plugins
        :param args: the command
        """
        started = self._started
        end = self._exit or Exit(int(signals.SIGKILL))
        code = os.waitstatus_to_exitcode(end.status)
        run_time = ((self._ns or time.monotonic_ns()) - started.started) / 1e9
        usage = {
            "wall_time": run_time,
            "user_time": end.user_us / 1e6,
            "system_time": end.system_us / 1e6,
            "cpu_time": (end.user_us + end.system_us) / 1e6,
            "memory_peak": end.peak_kib << 10,
        }
        # one that had ended before the signal came has ended by itself
        killed = self.killed and code == -signals.SIGKILL
        evidence = Evidence(
            status=end.status,
            killed=killed and not self._timed_out,
            timed_out=killed and self._timed_out,
            usage=usage,
        )
        verdict = conclude(process, self._compiled.plugins, evidence)
        return Result(
            args=args,
            returncode=code,
            reason=verdict.reason,
            signal=-code if code < 0 else None,
            setup_time=(started.started - started.began) / 1e9,
            run_time=run_time,
            usage=verdict.usage,
            warnings=(*started.warnings, *verdict.warnings),
        )
