"""The process plugin: who the payload is, its session and umask. What it executes comes from the call itself."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

from nsjail_py.plugin import Host, Option, Part, Problem, SandboxSpec, hookimpl, identity, steps
from nsjail_py.plugin.sections import Mnt, Process

#: Whose steps those of the call itself are: the program and where it starts.
_PAYLOAD = "payload"


@hookimpl
def nsjail_section() -> tuple[str, type[Process]]:
    return "process", Process


@hookimpl
def nsjail_options() -> Sequence[Option]:
    return (
        Option(
            flag="--user",
            metavar="USER[:GROUP]",
            help="who it runs as inside, by name or number (0 in a root directory, else 1000 or the caller)",
            fill=lambda value: {"process": {"user": value}},
        ),
        Option(
            flag="--env",
            metavar="NAME[=VALUE]",
            help="set a variable, or pass the caller's",
            repeat=True,
            fill=_environment,
        ),
        Option(flag="--env-file", metavar="FILE", help="NAME=VALUE a line", repeat=True, fill=_environment_file),
        Option(
            flag="--cwd",
            metavar="DIR",
            help="the working directory inside (the caller's where that is visible, else HOME)",
            fill=_directory,
        ),
        Option(flag="--umask", metavar="MODE", help="octal (022)", fill=lambda value: {"process": {"umask": value}}),
        Option(
            flag="--timeout",
            metavar="SECONDS",
            help="kill everything in it after this time",
            fill=_timeout,
        ),
    )


@hookimpl
def nsjail_check(spec: SandboxSpec, host: Host) -> Iterable[Problem]:
    section = spec.section("process", Process)
    if section.groups and not identity.may_setgroups(spec, host):
        yield Problem(
            "$.process.groups",
            "an ordinary user with a single id cannot set groups",
            "set user.map to range (needs lines in /etc/subuid and /etc/subgid)",
        )
    for name in section.env:
        if not name or "=" in name or "\0" in name:
            yield Problem("$.process.env", f"not a variable name: {name!r}", "a name has no = and is not empty")
    if section.cwd is not None and re.match(r"/proc/(self|thread-self|\d+)/(fd|cwd|root)(/|$)", section.cwd):
        # CVE-2024-21626: a working directory through a descriptor of the runtime is outside every root
        yield Problem("$.process.cwd", f"{section.cwd} is not a place in the sandbox", "name a directory")


@hookimpl
def nsjail_plan(spec: SandboxSpec, host: Host) -> Part | None:
    section = spec.section("process", Process)
    uid, gid = identity.payload_ids(spec)
    made = [steps.setsid(), steps.umask(int(section.umask, 8)), steps.ids(uid, gid)]
    if identity.may_setgroups(spec, host):
        made.append(steps.groups(section.groups))
    return Part(steps=tuple(made))


@hookimpl
def nsjail_explain(error: OSError, owner: str, spec: SandboxSpec) -> str | None:
    if owner != _PAYLOAD:
        return None
    if str(getattr(error, "step", "")).startswith("working directory"):
        return "name a directory that exists inside; a bind shows one of the host's"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return _missing_program(str(error.filename), spec.section("mnt", Mnt))
    if error.errno == errno.EACCES:
        return "name a file that the user inside may execute: chmod +x"
    if error.errno == errno.ENOEXEC:
        return "begin a script with #! and the path of its interpreter; a program has to be one for this machine"
    return None


def _missing_program(path: str, mnt: Mnt) -> str:
    host_view = mnt.root is None and mnt.overlay is None and mnt.view == "host"
    if "/" not in path:
        return f"install it{'' if host_view else ' in the root directory'}, or give its path inside"
    if not host_view or not os.path.isfile(path):
        return "it, or the interpreter or loader that it names, is not in the sandbox; a bind shows a file of the host"
    if not os.access(path, os.X_OK):
        return f"it is not executable: chmod +x {path}"
    return "the interpreter that it names in its first line, or its loader, is missing"


def _directory(path: str) -> dict[str, Any]:
    if not path.startswith("/"):
        raise ValueError(f"a place in the sandbox is an absolute path, not {path!r}")
    return {"process": {"cwd": path}}


def _timeout(text: str) -> dict[str, Any]:
    try:
        return {"process": {"timeout": float(text)}}
    except ValueError:
        raise ValueError(f"not a number of seconds: {text}") from None


def _environment(value: str) -> dict[str, Any]:
    name, equals, text = value.partition("=")
    if not name:
        raise ValueError(f"not NAME or NAME=VALUE: {value}")
    if not equals:
        if name not in os.environ:
            raise ValueError(f"{name} is not set in the caller's environment: give {name}=VALUE")
        text = os.environ[name]
    return {"process": {"env": {name: text}}}


def _environment_file(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    env: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, text = line.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"{path}:{number}: not NAME=VALUE")
        env[name.strip()] = text
    return {"process": {"env": env}}
