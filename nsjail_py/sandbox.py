"""The public face of the engine: ``Sandbox`` and ``run``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

import msgspec

from nsjail_py.engine.compile import Compiled
from nsjail_py.engine.launch import launch
from nsjail_py.engine.payload import DEFAULT_PATH, Payload
from nsjail_py.engine.process import Process, watch
from nsjail_py.engine.programs import Programs
from nsjail_py.engine.result import Result
from nsjail_py.engine.stdio import DEVNULL, PIPE, Stdio, Stream
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
        input: str | bytes | None = None,
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

        :param argv: the command
        :param input: what it reads from stdin
        :param stdin: ``None`` the caller's, ``PIPE``, ``DEVNULL``, a descriptor or a file
        :param stdout: the same
        :param stderr: the same, or ``STDOUT``
        :param capture_output: collect stdout and stderr
        :param text: they are text, not bytes
        :param encoding: of that text (UTF-8)
        :param errors: how undecodable bytes are treated (``strict``)
        :param pass_fds: descriptors to pass, under their numbers
        :param env: variables for this call, added to the sandbox's
        :param cwd: the working directory inside, for this call
        :param timeout: seconds, for this call; running out of time is a result, not an exception
        :param check: raise CommandError unless it exits with 0
        :param name: a name under which other commands find it while it runs
        :param tty: give it a terminal; what it writes there is ``stdout``
        :returns: how it ended
        :raises SetupError: the sandbox could not be made; the command has not run
        :raises ProgramError: the command is missing or cannot be executed
        :raises CommandError: it ran and failed, and ``check`` is true
        """
        if capture_output:
            if stdout is not None or stderr is not None:
                raise ValueError("capture_output excludes stdout and stderr")
            stdout = stderr = PIPE
        if input is not None:
            if stdin is not None:
                raise ValueError("input excludes stdin")
            stdin = PIPE
        process = self._start(
            argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            text=text,
            encoding=encoding,
            errors=errors,
            pass_fds=pass_fds,
            env=env,
            cwd=cwd,
            timeout=timeout,
            name=name,
            tty=tty,
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

        :param window: rows and columns of its terminal
        :param trace: have every step of the set-up reported with its time: ``Process.trace``
        :raises SetupError: the sandbox could not be made
        """
        process = self._start(
            argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            text=text,
            encoding=encoding,
            errors=errors,
            pass_fds=pass_fds,
            env=env,
            cwd=cwd,
            timeout=timeout,
            name=name,
            tty=tty,
            window=window,
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
        if isinstance(argv, str) or not command:
            problem = Problem("$.argv", "a command is a list of strings, not one string", "use shlex.split, or ['sh', '-c', …]")
            raise SpecError([problem])
        section = self._compiled.section
        home = self._compiled.identity.home
        whole = {**ENVIRONMENT, "HOME": home, **section.env, **(env or {})}
        wanted = cwd or section.cwd
        return Payload(
            argv=command,
            env=whole,
            cwd=(wanted,) if wanted else (os.getcwd(), home, "/"),
            numbers=tuple(numbers),
            tty=tty,
        )

    def _start(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        stdin: Stream,
        stdout: Stream,
        stderr: Stream,
        text: bool,
        encoding: str | None,
        errors: str | None,
        pass_fds: Sequence[int],
        env: Mapping[str, str] | None,
        cwd: str | None,
        timeout: float | None,
        name: str | None,
        tty: bool,
        window: tuple[int, int] = DEFAULT_SIZE,
        trace: bool = False,
    ) -> Process:
        began = time.monotonic_ns()
        section = self._compiled.section
        terminal = window if tty or section.tty else None
        payload = self._payload(argv, env=env, cwd=cwd, numbers=pass_fds, tty=terminal)
        compiled, payload = self._programs.find(payload)
        stdio = Stdio(stdin, stdout, stderr) if terminal is None else None
        try:
            given = {number: number for number in pass_fds} | (stdio.given if stdio is not None else {})
            started = launch(compiled, payload, given, trace=trace, began=began, name=name)
        except BaseException:
            if stdio is not None:
                stdio.close()
            raise
        if stdio is not None:
            stdio.handed_over()
        limit = timeout if timeout is not None else section.timeout
        as_text = text or encoding is not None or errors is not None
        return Process(
            compiled,
            started,
            payload,
            stdio,
            name=started.name,
            encoding=(encoding or "utf-8", errors or "strict") if as_text else None,
            deadline=began / 1e9 + limit if limit is not None else None,
        )


def run(argv: Sequence[str | os.PathLike[str]], *, spec: SandboxSpec | None = None, **keywords: Any) -> Result[Any]:
    """Run a command in a sandbox of its own; reads like ``subprocess.run``.

    >>> from nsjail_py import run
    >>> run(["echo", "hello"], capture_output=True, text=True).stdout
    'hello\\n'

    :param argv: the command
    :param spec: as in ``Sandbox``
    :param keywords: those of ``Sandbox`` and of ``Sandbox.run``
    """
    made = {name: keywords.pop(name) for name in _SANDBOX if name in keywords}
    return Sandbox(spec, **made).run(argv, **keywords)


#: Keywords of ``run`` that describe the sandbox; all others belong to the call.
_SANDBOX = ("profile", "plugins", "rootfs", "mounts", "hostname", "net", "user")
