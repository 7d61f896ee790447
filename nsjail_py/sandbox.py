"""The public face of the engine: ``Sandbox``, ``enter`` and ``run``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict, Unpack

from nsjail_py.engine.commands import Commands
from nsjail_py.engine.compile import Compiled
from nsjail_py.engine.result import Result
from nsjail_py.engine.stdio import Stream
from nsjail_py.engine.terminal import DEFAULT_SIZE
from nsjail_py.linux.host import Host
from nsjail_py.plan.plan import Plan
from nsjail_py.plugin.manager import Plugins
from nsjail_py.spec.codec import check
from nsjail_py.spec.mnt import Mnt, Mount, Root
from nsjail_py.spec.namespaces import Net, Uts
from nsjail_py.spec.process import Process as ProcessSection
from nsjail_py.spec.profiles import profile as load_profile
from nsjail_py.spec.profiles import profiles, raw_profile
from nsjail_py.spec.spec import SandboxSpec


class Sandbox(Commands):
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
    :raises TypeError: ``spec`` is none
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
        cwd: str | os.PathLike[str] | None = None,
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
            if not isinstance(spec, SandboxSpec):
                raise TypeError(f"spec must be a SandboxSpec, not {type(spec).__name__}")
            self._plugins.load_for(spec.names())
            base = base.overlay(spec)
        keywords = SandboxSpec(
            mnt=Mnt(root=Root(path=os.path.abspath(rootfs)) if rootfs is not None else None, mounts=tuple(mounts)),
            uts=Uts(hostname=hostname) if hostname is not None else Uts(),
            net=Net(mode=net) if net is not None else Net(),
            process=ProcessSection(
                user=str(user) if user is not None else None,
                env=dict(env or {}),
                cwd=os.fspath(cwd) if cwd is not None else None,
                timeout=timeout,
            ),
        )
        spec = check(base.overlay(keywords), self._plugins.types)
        super().__init__(Compiled(spec, self._plugins, Host.probe()))

    def __repr__(self) -> str:
        return f"<Sandbox {self.spec!r}>"

    def plan(self, argv: Sequence[str | os.PathLike[str]] = ("/bin/true",)) -> Plan:
        """What would be done for a command, without doing any of it."""
        size = DEFAULT_SIZE if self._compiled.section.tty else None
        payload = self._payload(argv, env=None, cwd=None, numbers=(), tty=size)
        return self._programs.compiled(payload.argv[0], payload.env).plan(payload)


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
    cwd: str | os.PathLike[str] | None
    timeout: float | None
    check: bool
    name: str | None
    tty: bool


def enter(name: str, *, plugins: Iterable[object] | Plugins = ()) -> Commands:
    """A running sandbox, to run further commands in it: same namespaces, groups, limits and rights as its payload.

    :param name: its name, as ``nsjail-py ps`` lists it
    :param plugins: plugins by someone else
    :returns: what ``run`` and ``start`` work on
    :raises UnsupportedError: no sandbox of that name is running
    """
    from nsjail_py.engine.enter import entering_named  # most sandboxes are never entered

    return Commands(entering_named(name, plugins if isinstance(plugins, Plugins) else Plugins(plugins), Host.probe()))


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
