"""Read a command line: options up to the first word that is none, then whatever follows.

Not argparse: importing it costs more than a launch, it looks for options behind the command too, and it cannot learn
new ones while it reads (``--plugin``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from nsjail_py.cli.messages import PROGRAM, UsageError
from nsjail_py.errors import PluginError, SandboxError
from nsjail_py.plugin.command import Option
from nsjail_py.spec.codec import merge_raw


class Parser:
    """The options of one verb.

    :param usage: what follows the program's name, as in ``ps [OPTIONS]``
    :param about: one line: what the verb does
    """

    def __init__(self, usage: str, about: str) -> None:
        self.usage = usage
        self.about = about
        self.groups: dict[str, list[Option]] = {}
        self._options: dict[str, Option] = {}

    def add(self, title: str, options: Iterable[Option]) -> None:
        """More options, in a help group of their own.

        :raises PluginError: one is already taken
        """
        group = self.groups.setdefault(title, [])
        for option in options:
            for flag in filter(None, (option.flag, option.short)):
                if flag in self._options or flag in ("-h", "--help"):
                    raise PluginError(f"plugin {title}: the option {flag} is taken")
                self._options[flag] = option
            group.append(option)

    def parse(self, argv: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
        """Read the words after the verb.

        :returns: what the options fill, merged, and the words after them
        :raises UsageError: an option is unknown, lacks its value, or says why the value is wrong
        :raises SystemExit: help was asked for, and given
        """
        filled: list[dict[str, Any]] = []
        words = list(argv)
        wants_help = False
        while words and words[0].startswith("-") and words[0] != "-":
            word = words.pop(0)
            if word == "--":
                break
            if word in ("-h", "--help"):
                wants_help = True
            elif word.startswith("--"):
                flag, equals, value = word.partition("=")
                filled.append(self._take(self._find(flag), flag, value if equals else None, words))
            else:
                filled += self._cluster(word, words)
        if wants_help:
            from nsjail_py.cli.help import parser_help

            print(parser_help(self), end="")
            raise SystemExit(0)
        return merge_raw(filled), words

    def nothing_left(self, words: Sequence[str]) -> None:
        """Refuse words that the verb does not take."""
        if words:
            raise UsageError(f"unexpected argument: {words[0]}", hint=f"usage: {PROGRAM} {self.usage}")

    def missing(self, what: str) -> UsageError:
        """The error for a word that the verb needs."""
        return UsageError(f"{what} is missing", hint=f"usage: {PROGRAM} {self.usage}")

    def _find(self, flag: str) -> Option:
        if flag in self._options:
            return self._options[flag]
        from nsjail_py.spec.explain import closest_option

        verb = self.usage.split(maxsplit=1)[0]
        hint = closest_option(flag, self._options) or f"{PROGRAM} {verb} --help lists them"
        raise UsageError(f"unknown option: {flag}", hint=hint)

    def _cluster(self, word: str, words: list[str]) -> list[dict[str, Any]]:
        """Short options in one word, as in ``-it``; the rest of the word is the value of one that takes a value."""
        filled: list[dict[str, Any]] = []
        for index, letter in enumerate(word[1:], 2):
            option = self._find(f"-{letter}")
            if option.metavar is not None:
                filled.append(self._take(option, f"-{letter}", word[index:] or None, words))
                break
            filled.append(self._take(option, f"-{letter}", None, words))
        return filled

    def _take(self, option: Option, flag: str, value: str | None, words: list[str]) -> dict[str, Any]:
        if option.metavar is None:
            if value is not None:
                raise UsageError(f"{flag} takes no value")
        elif value is None:
            if not words:
                raise UsageError(f"{flag} needs a value: {option.metavar}")
            value = words.pop(0)
        try:
            return option.fill(True if value is None else value)
        except SandboxError:
            raise
        except ValueError as error:
            raise UsageError(f"{flag}: {error}") from error
