"""The public face of the engine: ``Sandbox`` and ``run``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict, Unpack

from nsjail_py.engine.arrange import Arrangement, arrange, arrange_driven, arrange_terminal
from nsjail_py.engine.compile import Compiled
from nsjail_py.engine.launch import close, launch
from nsjail_py.engine.payload import DEFAULT_PATH, Payload, working_directory
from nsjail_py.engine.process import Process, watch
from nsjail_py.engine.programs import Programs
from nsjail_py.engine.result import Result
from nsjail_py.engine.stdio import PIPE, STDOUT, Stdio, Stream, passed
from nsjail_py.engine.terminal import DEFAULT_SIZE
from nsjail_py.errors import CommandError, Problem, SpecError
from nsjail_py.linux.host import Host
from nsjail_py.plan.plan import Plan
from nsjail_py.plugin.manager import Plugins
from nsjail_py.spec.mnt import Mnt, Mount, Root
from nsjail_py.spec.namespaces import Net, Uts
from nsjail_py.spec.process import Process as ProcessSection
from nsjail_py.spec.profiles import profile as load_profile
from nsjail_py.spec.profiles import profiles, raw_profile
from nsjail_py.spec.spec import SandboxSpec

#: What every payload finds in its environment.
ENVIRONMENT = {"PATH": DEFAULT_PATH, "TERM": "xterm", "LANG": "C.UTF-8"}


class Sandbox:
    """A sandbox, checked and planned once, to run any number of commands, each in namespaces of its own.

    >>> from nsjail_py import Sandbox
    >>> with_name = Sandbox(hostname="box")
    >>> with_name.run(["uname", "-n"], capture_output=True, text=True).stdout
    'box\\n'

    :param spec: what is wanted, in full; the keywords below are laid over it
    :param profile: name or file of a profile that ``spec`` is laid over
    :param plugins: plugins by someone else: entry-point names or objects; or all plugins, loaded already
    :param rootfs: a directory to be the root, read-only; without one the host's programs are visible, its files not
    :param mounts: further mounts
    :param hostname: the host name inside
    :param net: ``loopback``, ``none``, ``host``, or a namespace to join
    :param env: variables added to PATH, HOME, TERM and LANG
    :param cwd: the working directory inside
    :param user: who it runs as inside
    :param timeout: seconds after which everything in it is killed
    :raises SpecError: with every problem that was found
    :raises PluginError: a plugin is missing or broken
    """

    def __init__(
        self,
        spec: SandboxSpec | None = None,
        *,
        profile: str | None = None,
        plugins: Iterable[object] | Plugins = (),
        rootfs: str | os.PathLike[str] | None = None,
        mounts: Iterable[Mount] = (),
        hostname: str | None = None,
        net: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: str | int | None = None,
        timeout: float | None = None,
    ) -> None:
        self._plugins = plugins if isinstance(plugins, Plugins) else Plugins(plugins)
        base = SandboxSpec()
        if profile is not None:
            if profile not in profiles():
                self._plugins.load_for(raw_profile(profile))
            base = load_profile(profile, self._plugins.types)
        if spec is not None:
            self._plugins.load_for(spec.names())
            base = base.overlay(spec)
        keywords = SandboxSpec(
            mnt=Mnt(root=Root(path=os.path.abspath(rootfs)) if rootfs is not None else None, mounts=tuple(mounts)),
            uts=Uts(hostname=hostname) if hostname is not None else Uts(),
            net=Net(mode=net) if net is not None else Net(),
            process=ProcessSection(
                user=str(user) if user is not None else None, env=dict(env or {}), cwd=cwd, timeout=timeout
            ),
        )
        self._compiled = Compiled(self._validated(base.overlay(keywords)), self._plugins, Host.probe())
        self._programs = Programs(self._compiled)

    def __repr__(self) -> str:
        return f"<Sandbox {self.spec!r}>"

    def _validated(self, spec: SandboxSpec) -> SandboxSpec:
        from nsjail_py.spec.codec import check

        return check(spec, self._plugins.types)

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
        cwd: str | None = None,
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
            raise CommandError(result)
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
        cwd: str | None = None,
        timeout: float | None = None,
        name: str | None = None,
        tty: bool = False,
        window: tuple[int, int] = DEFAULT_SIZE,
        trace: bool = False,
    ) -> Process:
        """Start a command and return while it runs. Parameters as in ``run``.

        A terminal that is joined to the caller's is served while somebody waits for the process.

        :param timeout: seconds after which it is killed, whether somebody waits for it or not
        :param tty: give it a terminal, whose other side is ``Process.terminal``, for the caller to read and write
        :param window: rows and columns of that terminal
        :param trace: have every step of the set-up reported with its time: ``Process.trace``
        :raises SpecError: a parameter is wrong
        :raises SetupError: the sandbox could not be made
        """
        if tty or self._compiled.section.tty:
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

    def plan(self, argv: Sequence[str | os.PathLike[str]] = ("/bin/true",)) -> Plan:
        """What would be done for a command, without doing any of it."""
        payload = self._payload(argv, env=None, cwd=None, numbers=(), tty=None)
        return self._programs.compiled(payload.argv[0], payload.env).plan(payload)

    def _payload(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None,
        cwd: str | None,
        numbers: Sequence[int],
        tty: tuple[int, int] | None,
    ) -> Payload:
        command = tuple(os.fspath(each) for each in argv)
        section = self._compiled.section
        home = self._compiled.identity.home
        whole = {**ENVIRONMENT, "HOME": home, **section.env, **(env or {})}
        problems = list(_problems(argv, command, env or {}, cwd))
        if problems:
            raise SpecError(problems)
        wanted = cwd or section.cwd
        return Payload(
            argv=command,
            env=whole,
            cwd=(wanted,) if wanted else (working_directory(), home, "/"),
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
        cwd: str | None,
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
        as_text = text or encoding is not None or errors is not None
        stdio = Stdio(arrangement.streams)
        started = None
        try:
            given = {number: number for number in numbers} | stdio.given
            started = launch(compiled, payload, given, trace=trace, began=began, name=name)
            stdio.handed_over()
            return Process(
                compiled,
                started,
                payload,
                stdio,
                name=started.name,
                encoding=(encoding or "utf-8", errors or "strict") if as_text else None,
                deadline=began / 1e9 + limit if limit is not None else None,
                joined=arrangement.joined,
            )
        except BaseException:
            # a KeyboardInterrupt may come between any two lines
            if started is not None:
                started.kill()
                close(started)
            stdio.close()
            raise


def _problems(argv: object, command: Sequence[str], env: Mapping[str, str], cwd: str | None) -> Iterable[Problem]:
    """What is wrong with the parameters of one call."""
    if isinstance(argv, str) or not command:
        hint = "use shlex.split, or ['sh', '-c', …]"
        yield Problem("$.argv", "a command is a list of strings, not one string and not empty", hint)
    if any("\0" in word for word in command):
        yield Problem("$.argv", "a word with a NUL character", "no program can be given one")
    for name, value in env.items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            yield Problem("$.env", f"not a variable: {name!r}", "a name has no = and is not empty; neither has a NUL")
    if cwd is not None and (not cwd.startswith("/") or "\0" in cwd):
        yield Problem("$.cwd", f"not an absolute path: {cwd!r}", "name a directory as the sandbox sees it")


class Call(TypedDict, total=False):
    """The keywords of ``Sandbox.run``."""

    input: str | bytes | None
    stdin: Stream
    stdout: Stream
    stderr: Stream
    capture_output: bool
    text: bool
    encoding: str | None
    errors: str | None
    pass_fds: Sequence[int]
    env: Mapping[str, str] | None
    cwd: str | None
    timeout: float | None
    check: bool
    name: str | None
    tty: bool


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    spec: SandboxSpec | None = None,
    profile: str | None = None,
    plugins: Iterable[object] | Plugins = (),
    rootfs: str | os.PathLike[str] | None = None,
    mounts: Iterable[Mount] = (),
    hostname: str | None = None,
    net: str | None = None,
    user: str | int | None = None,
    **call: Unpack[Call],
) -> Result[Any]:
    """Run a command in a sandbox of its own; reads like ``subprocess.run``.

    >>> from nsjail_py import run
    >>> run(["echo", "hello"], capture_output=True, text=True).stdout
    'hello\\n'

    Whoever runs more than one command in the same kind of sandbox makes a ``Sandbox``, which is planned only once.

    :param argv: the command
    :param spec: as in ``Sandbox``, like all others up to ``user``
    :param call: as in ``Sandbox.run``
    :returns: how it ended
    :raises SandboxError: as ``Sandbox`` and ``Sandbox.run`` do
    """
    sandbox = Sandbox(
        spec,
        profile=profile,
        plugins=plugins,
        rootfs=rootfs,
        mounts=mounts,
        hostname=hostname,
        net=net,
        user=user,
    )
    return sandbox.run(argv, **call)
