"""Run and start commands in a sandbox that is checked and planned: a new one each, or one that runs already."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nsjail_py import errors as failures
from nsjail_py.engine.arrange import Arrangement, arrange, arrange_driven, arrange_terminal
from nsjail_py.engine.compile import Compiled
from nsjail_py.engine.launch import close, launch
from nsjail_py.engine.payload import DEFAULT_PATH, Payload, working_directory
from nsjail_py.engine.process import Process, watch
from nsjail_py.engine.programs import Programs
from nsjail_py.engine.result import Result
from nsjail_py.engine.stdio import PIPE, STDOUT, Stdio, Stream, passed
from nsjail_py.engine.terminal import DEFAULT_SIZE
from nsjail_py.errors import Problem, SpecError
from nsjail_py.spec.process import LONGEST
from nsjail_py.spec.spec import SandboxSpec

#: What every payload finds in its environment.
ENVIRONMENT = {"PATH": DEFAULT_PATH, "TERM": "xterm", "LANG": "C.UTF-8"}


class Commands:
    """What ``Sandbox`` and a sandbox that is entered have in common.

    :param compiled: the sandbox
    """

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self._programs = Programs(compiled)

    @property
    def spec(self) -> SandboxSpec:
        """What is wanted, as it was planned."""
        return self._compiled.spec

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        input: str | bytes | None = None,  # noqa: A002 - as in subprocess
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        capture_output: bool = False,
        text: bool = False,
        encoding: str | None = None,
        errors: str | None = None,
        pass_fds: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
        check: bool = False,
        name: str | None = None,
        tty: bool = False,
    ) -> Result[Any]:
        """Run a command and wait for its end; everything it started is dead when this returns.

        The payload never holds a terminal of the caller's. Where stdin and stdout both are one, it gets a terminal of
        the sandbox's own, joined to the caller's, which is raw meanwhile; a lone one is copied through a pipe. A
        regular file as stdin is read-only to it, and one that is appended to is written through a pipe.

        :param argv: the command
        :param input: what it reads from stdin
        :param stdin: ``None`` the caller's, ``PIPE``, ``DEVNULL``, a descriptor or a file
        :param stdout: the same
        :param stderr: the same, or ``STDOUT``
        :param capture_output: collect stdout and stderr
        :param text: they are text, not bytes; any end of a line becomes ``\\n``
        :param encoding: of that text (UTF-8); implies ``text``
        :param errors: how bytes that are not text are treated (``strict``); implies ``text``
        :param pass_fds: descriptors to pass, under their numbers
        :param env: variables for this call, added to the sandbox's
        :param cwd: the working directory inside, for this call
        :param timeout: seconds, for this call; running out of time is a result, not an exception
        :param check: raise CommandError unless it exits with 0
        :param name: a name under which other commands find it while it runs
        :param tty: give it a terminal; what it writes there is ``stdout``
        :returns: how it ended
        :raises SpecError: a parameter is wrong
        :raises SetupError: the sandbox could not be made; the command has not run
        :raises ProgramError: the command is missing or cannot be executed
        :raises CommandError: it ran and failed, and ``check`` is true
        """
        if capture_output:
            if stdout is not None or stderr is not None:
                raise ValueError("capture_output excludes stdout and stderr")
            stdout, stderr = PIPE, STDOUT if tty or self._compiled.section.tty else PIPE
        if input is not None:
            if stdin is not None:
                raise ValueError("input excludes stdin")
            stdin = PIPE
        decide = arrange_terminal if tty or self._compiled.section.tty else arrange
        process = self._start(
            argv,
            decide(stdin, stdout, stderr),
            text=text,
            encoding=encoding,
            errors=errors,
            pass_fds=pass_fds,
            env=env,
            cwd=cwd,
            timeout=timeout,
            name=name,
        )
        try:
            result = process.communicate(input)
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            process.close()
        if check and not result.ok:
            raise failures.CommandError(result)
        return result

    def start(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        text: bool = False,
        encoding: str | None = None,
        errors: str | None = None,
        pass_fds: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
        name: str | None = None,
        tty: bool = False,
        window: tuple[int, int] = DEFAULT_SIZE,
        join: bool = False,
        trace: bool = False,
    ) -> Process:
        """Start a command and return while it runs. Parameters as in ``run``.

        A terminal that is joined to the caller's is served while somebody waits for the process.

        :param timeout: seconds after which it is killed, whether somebody waits for it or not
        :param tty: give it a terminal, whose other side is ``Process.terminal``, for the caller to read and write
        :param window: rows and columns of that terminal
        :param join: have that terminal joined to stdin and stdout instead, as ``run`` has it
        :param trace: have every step of the set-up reported with its time: ``Process.trace``
        :raises SpecError: a parameter is wrong
        :raises SetupError: the sandbox could not be made
        """
        if tty or self._compiled.section.tty:
            if join:
                arrangement = arrange_terminal(stdin, stdout, stderr)
            else:
                arrangement = arrange_driven(stdin, stdout, stderr, window)
        else:
            arrangement = arrange(stdin, stdout, stderr)
        process = self._start(
            argv,
            arrangement,
            text=text,
            encoding=encoding,
            errors=errors,
            pass_fds=pass_fds,
            env=env,
            cwd=cwd,
            timeout=timeout,
            name=name,
            trace=trace,
        )
        watch(process)
        return process

    def _payload(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None,
        cwd: str | os.PathLike[str] | None,
        numbers: Sequence[int],
        tty: tuple[int, int] | None,
    ) -> Payload:
        command = () if isinstance(argv, (str, bytes)) else tuple(map(os.fsdecode, argv))
        given = {os.fsdecode(variable): os.fsdecode(value) for variable, value in env.items()} if env else {}
        place = os.fsdecode(cwd) if cwd is not None else None
        section = self._compiled.section
        home = self._compiled.identity.home
        whole = {**ENVIRONMENT, "HOME": home, **section.env, **given}
        problems = list(_problems(command, given, place))
        if problems:
            raise SpecError(problems)
        wanted = place or section.cwd
        return Payload(
            argv=command,
            env=whole,
            cwd=(wanted,) if wanted else (*working_directory(), home, "/"),
            numbers=tuple(numbers),
            tty=tty,
        )

    def _start(
        self,
        argv: Sequence[str | os.PathLike[str]],
        arrangement: Arrangement,
        *,
        text: bool,
        encoding: str | None,
        errors: str | None,
        pass_fds: Sequence[int],
        env: Mapping[str, str] | None,
        cwd: str | os.PathLike[str] | None,
        timeout: float | None,
        name: str | None,
        trace: bool = False,
    ) -> Process:
        began = time.monotonic_ns()
        numbers = passed(pass_fds) if pass_fds else ()
        if arrangement.size is not None:
            numbers = (*arrangement.streams, *numbers)
        payload = self._payload(argv, env=env, cwd=cwd, numbers=numbers, tty=arrangement.size)
        compiled, payload = self._programs.find(payload)
        limit = timeout if timeout is not None else self._compiled.section.timeout
        if limit is not None and not limit <= LONGEST:  # nor what is not a number
            raise SpecError([Problem("$.timeout", f"not at most {LONGEST} seconds: {limit}", "give none for no limit")])
        as_text = text or encoding is not None or errors is not None
        stdio = Stdio(arrangement.streams)
        started = None
        try:
            given = {number: number for number in numbers} | stdio.given
            deadline = began / 1e9 + limit if limit is not None else None
            started = launch(compiled, payload, given, trace=trace, began=began, deadline=deadline, name=name)
            stdio.handed_over()
            return Process(
                compiled,
                started,
                payload,
                stdio,
                name=started.name,
                encoding=(encoding or "utf-8", errors or "strict") if as_text else None,
                deadline=deadline,
                joined=arrangement.joined,
            )
        except BaseException:
            # a KeyboardInterrupt may come between any two lines
            if started is not None:
                started.kill()
                close(started)
            stdio.close()
            raise


def _problems(command: Sequence[str], env: Mapping[str, str], cwd: str | None) -> Iterable[Problem]:
    """What is wrong with the parameters of one call."""
    if not command:
        hint = "use shlex.split, or ['sh', '-c', …]"
        yield Problem("$.argv", "a command is a list of strings, not one string and not empty", hint)
    elif not command[0]:
        yield Problem("$.argv", "the name of the program is empty", "name one")
    if any("\0" in word for word in command):
        yield Problem("$.argv", "a word with a NUL character", "no program can be given one")
    for name, value in env.items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            yield Problem("$.env", f"not a variable: {name!r}", "a name has no = and is not empty; neither has a NUL")
    if cwd is not None and (not cwd.startswith("/") or "\0" in cwd):
        yield Problem("$.cwd", f"not an absolute path: {cwd!r}", "name a directory as the sandbox sees it")
