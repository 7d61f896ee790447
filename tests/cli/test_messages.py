from __future__ import annotations

import io
import os

import pytest

from nsjail_py.cli.messages import complain, printable, report
from nsjail_py.cli.ps import age
from nsjail_py.cli.table import show
from nsjail_py.errors import PlanError, Problem, SpecError


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, with spaces and ümläuts 漢", "plain, with spaces and ümläuts 漢"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x9b31m", "\\x9b31m"),
        ("right\u202eleft", "right\\u202eleft"),
        ("undecodable \udcff", "undecodable \\udcff"),
        ("\x7f\x00", "\\x7f\\x00"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_complain(capsys: pytest.CaptureFixture[str]) -> None:
    complain("it\x1b is broken", "mend\n it")
    complain("so is that")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "nsjail-py: it\\x1b is broken\nhint: mend\\n it\nnsjail-py: so is that\n"


def test_report(capsys: pytest.CaptureFixture[str]) -> None:
    report(PlanError("two roots", hint="name one"))
    report(SpecError([Problem("$.a", "is missing"), Problem("$.b", "unknown key", "did you mean c?")]))
    assert capsys.readouterr().err == (
        "nsjail-py: two roots\nhint: name one\n"
        "nsjail-py: $.a: is missing\n"
        "nsjail-py: $.b: unknown key\nhint: did you mean c?\n"
    )


def test_a_table_elsewhere_than_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show(("NAME", "COMMAND"), [("a-long-name", "x"), ("b", "\x1b[31mred")])
    assert capsys.readouterr().out == "NAME         COMMAND\na-long-name  x\nb            \\x1b[31mred\n"


def test_a_table_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = os.openpty()
    with io.TextIOWrapper(open(slave, "wb", buffering=0), write_through=True) as screen:
        monkeypatch.setattr("sys.stdout", screen)
        show(("NAME", "COMMAND"), [("[red]web", "\x1b]0;title\x07")])
    shown = os.read(master, 65536)
    os.close(master)
    assert b"[red]web" in shown, "a cell is no markup"
    assert b"\\x1b]0;title\\x07" in shown
    assert b"\x1b]0;" not in shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (0, "0s"), (59.9, "59s"), (60, "1m 0s"), (3725, "1h 2m"), (86400, "1d 0h"), (200000, "2d 7h")],
)
def test_age(seconds: float, text: str) -> None:
    assert age(seconds) == text
