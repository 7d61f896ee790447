"""Where a command's program is, and what of the host it needs to run in the host view."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping

import msgspec

from nsjail_py.engine.compile import Compiled
from nsjail_py.engine.payload import Payload, working_directory
from nsjail_py.engine.resolve import not_shown, resolve
from nsjail_py.errors import ProgramError
from nsjail_py.spec.mnt import Bind, Mnt


class Programs:
    """Compiled sandboxes by the host directories that a program needs beyond those everybody sees.

    :param base: the sandbox as its spec says
    """

    def __init__(self, base: Compiled) -> None:
        self._base = base
        self._by_prefixes: dict[tuple[str, ...], Compiled] = {(): base}
        mnt = base.spec.section("mnt", Mnt)
        host_view = mnt.root is None and mnt.overlay is None and mnt.view == "host" and mnt.mode in ("on", "try")
        # into a sandbox that runs nothing can be bound any more
        self._resolving = host_view and base.purpose == "start"

    def find(self, payload: Payload) -> tuple[Compiled, Payload]:
        """The sandbox for a payload, and the payload with the paths of its program.

        :raises ProgramError: there is no such program on the host
        """
        if not self._resolving:
            return self._base, payload
        resolved = resolve(payload.argv[0], self._path(payload.env), *working_directory() or ("/",))
        if resolved.note is not None:
            raise ProgramError(
                f"find {payload.argv[0]}", owner="engine", errno=errno.ENOENT, path=payload.argv[0], hint=resolved.note
            )
        if not resolved.prefixes:
            return self._base, payload
        argv = (*resolved.words, *payload.argv[1:])
        return self._with(resolved.prefixes), msgspec.structs.replace(
            payload, argv=argv, candidates=resolved.candidates
        )

    def compiled(self, program: str, env: Mapping[str, str]) -> Compiled:
        """The sandbox for a program."""
        if not self._resolving:
            return self._base
        return self._with(resolve(program, self._path(env), *working_directory() or ("/",)).prefixes)

    def _path(self, env: Mapping[str, str]) -> str:
        # a command is what the caller's shell would run; what the sandbox's own PATH adds comes after
        return os.pathsep.join(filter(None, (os.environ.get("PATH"), env.get("PATH"))))

    def _with(self, prefixes: tuple[str, ...]) -> Compiled:
        found = self._by_prefixes.get(prefixes)
        if found is None:
            base = self._base
            mnt = base.spec.section("mnt", Mnt)
            needed = not_shown(prefixes, mnt.mounts)
            mounts = (*mnt.mounts, *(Bind(target=each, source=each) for each in needed))
            spec = base.spec.replace(mnt=msgspec.structs.replace(mnt, mounts=mounts))
            found = self._by_prefixes[prefixes] = Compiled(spec, base.plugins, base.host)
        return found
