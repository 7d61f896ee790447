"""``nsjail-py exec``: run one more command in a running sandbox."""

from __future__ import annotations

from collections.abc import Sequence

from nsjail_py.cli.arguments import Parser
from nsjail_py.cli.attend import attend, exit_status
from nsjail_py.cli.options import INTERACTIVE, OWN, configured, plugin_option, tty
from nsjail_py.cli.run import terminal_input
from nsjail_py.engine.process import Process
from nsjail_py.sandbox import enter
from nsjail_py.spec.codec import decode
from nsjail_py.spec.process import Process as ProcessSection

#: Options of the process plugin that say something about one command; the others describe the sandbox.
_OF_A_COMMAND = ("--env", "--env-file", "--cwd", "--timeout")


def main(argv: Sequence[str], plugins: Sequence[str]) -> int:
    """Run it with the namespaces, groups, limits and rights of the sandbox's payload; exit as the program does."""
    loaded = configured(plugins)[1]
    parser = Parser("exec [OPTIONS] NAME [--] COMMAND…", "Run one more command in a running sandbox.")
    parser.add("options", (plugin_option(loaded), tty(lambda value: {OWN: {"tty": value}}), INTERACTIVE))
    for owner, options in loaded.options():
        if owner == "process":
            parser.add(owner, [option for option in options if option.flag in _OF_A_COMMAND])
    filled, words = parser.parse(argv)
    own = filled.pop(OWN, {})
    call = decode(filled, "toml", loaded.types).section("process", ProcessSection)
    if not words:
        raise parser.missing("the sandbox's name")
    name, *command = words
    if command[:1] == ["--"]:
        command = command[1:]
    if not command:
        raise parser.missing("the command")
    sandbox = enter(name, plugins=loaded)
    wants_tty = own.get("tty", False)

    def start() -> Process:
        return sandbox.start(
            command,
            stdin=terminal_input(own.get("interactive", False)) if wants_tty else None,
            env=call.env,
            cwd=call.cwd,
            timeout=call.timeout,
            tty=wants_tty,
            join=True,
        )

    return exit_status(attend(start))
