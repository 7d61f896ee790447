"""Find the verb and run it; turn what goes wrong into a message and an exit status.

Exit statuses of the command itself: 124 timeout, 125 wrong usage or a set-up that failed, 126 a program that cannot
be executed, 127 one that is missing, 137 a sandbox that was killed, 128+n the program's signal.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from nsjail_py.cli.messages import PROGRAM, SETUP_FAILED, UsageError, complain, error_status, report
from nsjail_py.errors import SandboxError

#: Verbs and what they do; each is a module of this package with a function ``main``.
VERBS = {
    "run": "run a command in a sandbox",
    "plan": "show what would be done for a command",
    "exec": "run one more command in a running sandbox",
    "ps": "list running sandboxes",
    "gc": "undo what sandboxes left whose owner is dead",
    "doctor": "what this kernel, user and machine can do",
    "plugins": "list plugins",
    "profiles": "list profiles, or show one",
    "schema": "print the JSON Schema of specs",
}


def main(argv: Sequence[str] | None = None) -> int:
    """The command.

    :param argv: the words after its name; by default those of this process
    :returns: the exit status
    """
    try:
        status = _dispatch(list(sys.argv[1:] if argv is None else argv))
        _flush()
    except SandboxError as error:
        report(error)
        return error_status(error)
    except KeyboardInterrupt:
        return _die_of_interrupt()
    except BrokenPipeError:
        # Whoever read the output has seen enough; Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + signal.SIGPIPE
    except Exception as error:
        # 1 would look like the program's own status.
        import traceback

        traceback.print_exc()
        complain(f"internal error: {type(error).__name__}: {error}", "this is a bug: report it with the lines above")
        return SETUP_FAILED
    return status


def command() -> NoReturn:
    """The command as a process of its own.

    Taking the interpreter down costs as much as starting two sandboxes, and so does looking for garbage while modules
    load; a process that ends at once needs neither.
    """
    gc.set_threshold(100_000)
    status = main()
    if any(word in VERBS for word in sys.argv[1:2]):
        os._exit(status)  # main() has flushed what was written
    sys.exit(status)  # a plugin's verb may have left work for the end


def _dispatch(words: list[str]) -> int:
    """Take the options before the verb, then hand over to it."""
    plugins: list[str] = []
    while words and words[0].startswith("-"):
        word = words.pop(0)
        flag, equals, value = word.partition("=")
        if word in ("-h", "--help"):
            _help(plugins)
            return 0
        if word == "--version":
            from nsjail_py.version import __version__

            print(f"{PROGRAM} {__version__}")
            return 0
        if flag != "--plugin":
            raise UsageError(
                f"unknown option: {word}", hint=f"options go behind the verb; {PROGRAM} --help lists the verbs"
            )
        if not equals and not words:
            raise UsageError("--plugin needs a value: NAME")
        plugins.append(value if equals else words.pop(0))
    if not words:
        raise UsageError("no verb is given", hint=f"{PROGRAM} run -- COMMAND, or {PROGRAM} --help")
    verb, *rest = words
    if verb in VERBS:
        run: int = import_module(f"nsjail_py.cli.{verb}").main(rest, plugins)
        return run
    return _plugin_verb(verb, rest, plugins)


def _plugin_verb(verb: str, rest: Sequence[str], names: Sequence[str]) -> int:
    from nsjail_py.cli.options import configured

    commands = {command.name: command for command in configured(names)[1].commands()}
    if verb in commands:
        return commands[verb].run(rest)
    from nsjail_py.spec.explain import closest

    raise UsageError(f"unknown verb: {verb}", hint=closest(verb, [*VERBS, *commands]))


def _help(names: Sequence[str]) -> None:
    from nsjail_py.cli.help import entries
    from nsjail_py.cli.options import configured

    print(f"usage: {PROGRAM} [--plugin NAME]… VERB …\n\nRun programs in namespaces of their own.\n\nverbs:")
    print(entries(VERBS.items()))
    if commands := configured(names)[1].commands():
        print("verbs of plugins:")
        print(entries((command.name, command.help) for command in commands))
    print(f"{PROGRAM} VERB --help explains a verb; {PROGRAM} --version says which version this is.")


def _flush() -> None:
    # There is no stdout where the caller has closed descriptor 1.
    if sys.stdout is not None:
        sys.stdout.flush()


def _die_of_interrupt() -> int:
    """End by the signal itself, so that a shell sees an interrupt and stops its script too."""
    _flush()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
    return 128 + signal.SIGINT
