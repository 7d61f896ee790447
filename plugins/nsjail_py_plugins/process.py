"""The process plugin: who the payload is, its session and umask. What it executes comes from the call itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from nsjail_py.plugin import Host, Option, Part, Problem, SandboxSpec, hookimpl, identity, steps
from nsjail_py.plugin.sections import Process


@hookimpl
def nsjail_section() -> tuple[str, type[Process]]:
    return "process", Process


@hookimpl
def nsjail_options() -> Sequence[Option]:
    return (
        Option(
            flag="--user",
            metavar="USER[:GROUP]",
            help="who it runs as inside, by name or number",
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
            help="the working directory inside",
            fill=lambda value: {"process": {"cwd": value}},
        ),
        Option(flag="--umask", metavar="MODE", help="octal (022)", fill=lambda value: {"process": {"umask": value}}),
        Option(
            flag="--timeout",
            metavar="SECONDS",
            help="kill everything in it after this time",
            fill=lambda value: {"process": {"timeout": float(value)}},
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


def _environment(value: str) -> dict[str, Any]:
    import os

    name, equals, text = value.partition("=")
    if not name:
        raise ValueError(f"not NAME or NAME=VALUE: {value}")
    if not equals:
        if name not in os.environ:
            raise ValueError(f"{name} is not set in the caller's environment")
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
