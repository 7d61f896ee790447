from __future__ import annotations

from typing import Any

import pytest

from nsjail_py.cli.arguments import Parser
from nsjail_py.cli.messages import UsageError
from nsjail_py.errors import PluginError
from nsjail_py.plugin.command import Option


def fill(key: str) -> Any:
    return lambda value: {key: value}


def number(value: str) -> dict[str, Any]:
    if not value.isdigit():
        raise ValueError(f"not a number: {value}")
    return {"number": int(value)}


@pytest.fixture
def parser() -> Parser:
    made = Parser("eat [OPTIONS] FOOD", "Eat something.")
    made.add(
        "options",
        [
            Option(flag="--all", short="-a", help="all of it", fill=fill("all")),
            Option(flag="--fast", short="-f", help="quickly", fill=fill("fast")),
            Option(
                flag="--with",
                short="-w",
                metavar="TOOL",
                help="a tool",
                repeat=True,
                fill=lambda tool: {"tools": [tool]},
            ),
            Option(flag="--number", metavar="N", help="how many", fill=number),
        ],
    )
    return made


@pytest.mark.parametrize(
    ("line", "filled", "rest"),
    [
        ("", {}, []),
        ("soup", {}, ["soup"]),
        ("--all soup --fast", {"all": True}, ["soup", "--fast"]),
        ("--all -- --fast soup", {"all": True}, ["--fast", "soup"]),
        ("-- -- soup", {}, ["--", "soup"]),
        ("-a - x", {"all": True}, ["-", "x"]),
        ("-af soup", {"all": True, "fast": True}, ["soup"]),
        ("-afw fork soup", {"all": True, "fast": True, "tools": ["fork"]}, ["soup"]),
        ("-wfork -w knife soup", {"tools": ["fork", "knife"]}, ["soup"]),
        ("--with fork --with=knife soup", {"tools": ["fork", "knife"]}, ["soup"]),
        ("--with=a=b", {"tools": ["a=b"]}, []),
        ("--with= soup", {"tools": [""]}, ["soup"]),
        ("--with --all soup", {"tools": ["--all"]}, ["soup"]),
        ("--number 3 --number 4", {"number": 4}, []),
    ],
)
def test_options_and_the_words_after_them(parser: Parser, line: str, filled: dict[str, Any], rest: list[str]) -> None:
    assert parser.parse(line.split()) == (filled, rest)


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("--al", "unknown option: --al", "did you mean --all?"),
        ("--zzzz", "unknown option: --zzzz", "nsjail-py eat --help lists them"),
        ("-az", "unknown option: -z", "nsjail-py eat --help lists them"),
        ("--all=yes", "--all takes no value", None),
        ("--with", "--with needs a value: TOOL", None),
        ("-aw", "-w needs a value: TOOL", None),
        ("--number x", "--number: not a number: x", None),
    ],
)
def test_what_is_wrong(parser: Parser, line: str, message: str, hint: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        parser.parse(line.split())
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_words_that_a_verb_needs_or_does_not_take(parser: Parser) -> None:
    parser.nothing_left([])
    with pytest.raises(UsageError) as caught:
        parser.nothing_left(["soup", "bread"])
    assert str(caught.value) == "unexpected argument: soup\nhint: usage: nsjail-py eat [OPTIONS] FOOD"
    assert str(parser.missing("the food")) == "the food is missing\nhint: usage: nsjail-py eat [OPTIONS] FOOD"


def test_options_may_be_added_while_the_line_is_read(parser: Parser) -> None:
    def learn(name: str) -> dict[str, Any]:
        parser.add(name, [Option(flag=f"--{name}", help="learned", fill=fill(name))])
        return {}

    parser.add("learning", [Option(flag="--learn", metavar="NAME", help="learn an option", fill=learn)])
    assert parser.parse(["--learn", "cook", "--cook"]) == ({"cook": True}, [])
    with pytest.raises(UsageError):
        Parser("eat", "Eat.").parse(["--cook"])


@pytest.mark.parametrize("option", ["--all", "-a", "--help", "-h"])
def test_an_option_that_is_taken(parser: Parser, option: str) -> None:
    flag, short = (option, None) if option.startswith("--") else ("--other", option)
    with pytest.raises(PluginError) as caught:
        parser.add("quota", [Option(flag=flag, short=short, help="", fill=fill("x"))])
    assert str(caught.value) == f"plugin quota: the option {option} is taken"


def test_help_shows_groups_and_options(
    parser: Parser, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nsjail_py.cli.help._columns", lambda: 60)
    about = "a long explanation that does not fit into one line of a window that is so narrow"
    parser.add("drinks", [Option(flag="--a-very-long-name-of-a-drink", metavar="DRINK", help=about, fill=fill("x"))])
    with pytest.raises(SystemExit) as caught:
        parser.parse(["--help", "--all"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == (
        "usage: nsjail-py eat [OPTIONS] FOOD\n"
        "\n"
        "Eat something.\n"
        "\n"
        "options:\n"
        "  -a, --all                 all of it\n"
        "  -f, --fast                quickly\n"
        "  -w, --with TOOL           a tool (repeatable)\n"
        "  --number N                how many\n"
        "\n"
        "drinks:\n"
        "  --a-very-long-name-of-a-drink DRINK\n"
        "                            a long explanation that does not\n"
        "                            fit into one line of a window\n"
        "                            that is so narrow\n"
    )
