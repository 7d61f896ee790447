"""``nsjail-py run``: run a command in a sandbox."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import IO, Any

import msgspec

from nsjail_py.cli.attend import attend, exit_status
from nsjail_py.cli.messages import UsageError, complain, error_status, printable
from nsjail_py.cli.options import INTERACTIVE, Choices, SandboxOptions, name, own, tty
from nsjail_py.engine.payload import working_directory
from nsjail_py.engine.process import Process
from nsjail_py.engine.resolve import missing_argument_hint, resolve
from nsjail_py.engine.result import Result
from nsjail_py.engine.stdio import DEVNULL
from nsjail_py.engine.terminal import is_terminal
from nsjail_py.errors import SandboxError
from nsjail_py.sandbox import Sandbox
from nsjail_py.spec.mnt import Bind, Mnt
from nsjail_py.spec.process import Process as ProcessSection
from nsjail_py.spec.spec import SandboxSpec

_OWN = (
    own("--name", "a name for exec, ps and joining", "name", metavar="NAME", read=name),
    tty(lambda value: {"process": {"tty": value}}),
    INTERACTIVE,
    own("--result", "write how it ended, as JSON", "result", metavar="FILE"),
    own("--trace", "show every step of the set-up with its time", "trace"),
)


def main(argv: Sequence[str], plugins: Sequence[str]) -> int:
    """Run it and exit as the program does."""
    options = SandboxOptions("run [OPTIONS] [--] COMMAND…", "Run a command in a sandbox.", plugins, _OWN)
    spec, choices, command = options.parse(argv)
    if not command:
        raise options.parser.missing("the command")
    if choices.result is None:
        return exit_status(_run(options, spec, choices, command))
    with _opened(choices.result) as file:
        try:
            result = _run(options, spec, choices, command)
        except SandboxError as error:
            _write(file, {"status": error_status(error), "error": error.message, "hint": error.hint})
            raise
        fields = msgspec.structs.asdict(result)
        # What it wrote went to the command's own stdout and stderr.
        kept = {key: value for key, value in fields.items() if key not in ("stdout", "stderr")}
        _write(file, {"status": exit_status(result), **kept})
    return exit_status(result)


def _run(options: SandboxOptions, spec: SandboxSpec, choices: Choices, command: Sequence[str]) -> Result[Any]:
    sandbox = Sandbox(spec, plugins=options.plugins)
    wants_tty = spec.section("process", ProcessSection).tty

    def start() -> Process:
        stdin = terminal_input(choices.interactive) if wants_tty else None
        return sandbox.start(command, stdin=stdin, name=choices.name, join=True, trace=choices.trace)

    result = attend(start, _show_trace)
    if choices.trace:
        for warning in result.warnings:
            complain(f"warning: {warning}")
    if result.returncode > 0 and (absent := _absent(sandbox, command)):
        complain(absent)
    return result


def _absent(sandbox: Sandbox, command: Sequence[str]) -> str | None:
    """Which argument names a file of the host that the host view does not show: the likely reason of a failure."""
    mnt = sandbox.spec.section("mnt", Mnt)
    cwd = next(iter(working_directory()), None)
    if cwd is None or mnt.root is not None or mnt.overlay is not None or mnt.view != "host" or mnt.mode == "off":
        return None
    shown = [mount.target for mount in mnt.mounts if isinstance(mount, Bind) and mount.source == mount.target]
    shown += resolve(command[0], os.environ.get("PATH", ""), cwd).prefixes
    return missing_argument_hint(command, shown, cwd)


def terminal_input(interactive: bool) -> int | None:
    """What a terminal that was asked for is fed from: nothing that is no terminal itself, unless that was asked for."""
    return None if interactive or is_terminal(0) else DEVNULL


def _show_trace(process: Process) -> None:
    """Only in trace mode is there anything."""
    for owner, text, ns in process.trace:
        print(f"{ns / 1e6:9.3f} ms  {owner:10}  {printable(text)}", file=sys.stderr)


def _opened(path: str) -> IO[bytes]:
    """Opened before anything runs: a result that cannot be written is no surprise at the end."""
    try:
        return open(path, "wb")
    except OSError as error:
        raise UsageError(f"--result: cannot write {path}: {error.strerror}") from error


def _write(file: IO[bytes], value: object) -> None:
    file.write(msgspec.json.format(msgspec.json.encode(value)) + b"\n")
