from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsjail_py.spec import units
from nsjail_py.spec.units import Limit, Mode, parse_mode, size_bytes, size_limit, whole


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (4096, 4096),
        ("4096", 4096),
        ("64k", 64 << 10),
        ("64K", 64 << 10),
        ("256M", 256 << 20),
        ("1.5G", 3 << 29),
        ("2T", 2 << 40),
        ("1P", 1 << 50),
        ("0.3k", 307),
        ("9007199254740993k", 9007199254740993 << 10),
        ("0.1G", (1 << 30) // 10),
    ],
)
def test_size_bytes(value: int | str, expected: int) -> None:
    assert size_bytes(value) == expected


NO_SIZES = ["", "k", "1.5", "1.k", ".5k", "-1", "1 k", "64kB", "64KiB", "1e3", "64k\n", "٣k", "0x10", "try"]


@pytest.mark.parametrize("text", NO_SIZES)
def test_text_that_is_no_size(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        size_bytes(text)
    assert str(caught.value) == f"not a size: bytes as a number, or text such as 64k, 256M or 1.5G: {text!r}"
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, units.Size)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, units.SoftSize)


def test_a_negative_size() -> None:
    with pytest.raises(ValueError) as caught:
        size_bytes(-1)
    assert str(caught.value) == "a size is not negative: -1"


def test_a_soft_size_where_none_is_expected() -> None:
    with pytest.raises(ValueError) as caught:
        size_bytes("try 1M")
    assert str(caught.value) == "'try' has no meaning for this size: 'try 1M'"
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert("try 1M", units.Size)


def test_size_limit() -> None:
    assert size_limit("try 256M") == Limit(256 << 20, soft=True)
    assert size_limit("try 5") == Limit(5, soft=True)
    assert size_limit("256M") == Limit(256 << 20)
    assert size_limit(7) == Limit(7)
    assert msgspec.convert("try 256M", units.SoftSize) == "try 256M"


@given(st.integers(0, 2**40), st.sampled_from("kKMGTP"))
def test_whole_units_are_exact(number: int, unit: str) -> None:
    assert size_bytes(f"{number}{unit}") == number * size_bytes(f"1{unit}")


@given(st.integers(0, 2**20), st.from_regex("[0-9]{1,6}", fullmatch=True).filter(str.isascii))
def test_a_fraction_lies_between_its_neighbours(number: int, fraction: str) -> None:
    assert number << 20 <= size_bytes(f"{number}.{fraction}M") < (number + 1) << 20


@pytest.mark.parametrize(
    ("text", "mode", "joined"),
    [
        ("on", Mode("on"), False),
        ("off", Mode("off"), False),
        ("try", Mode("try"), False),
        ("path:/run/netns/blue", Mode("path", "/run/netns/blue"), True),
        ("path:/odd:name", Mode("path", "/odd:name"), True),
        ("pid:1234", Mode("pid", "1234"), True),
        ("fd:0", Mode("fd", "0"), True),
        ("name:web-1", Mode("name", "web-1"), True),
    ],
)
def test_parse_mode(text: str, mode: Mode, joined: bool) -> None:
    assert parse_mode(text) == mode
    assert parse_mode(text).joined is joined
    assert msgspec.convert(text, units.ModeText) == text
    assert msgspec.convert(text, units.NetModeText) == text


def test_the_number_of_a_mode() -> None:
    assert parse_mode("pid:12").number == 12
    assert parse_mode("fd:3").number == 3
    with pytest.raises(ValueError):
        parse_mode("on").number  # noqa: B018


NO_MODES = [
    "",
    "On",
    "path:run",
    "path:/a/../b",
    "path:/a\0",
    "pid:0",
    "pid:x",
    "pid:1\n",
    "fd:-1",
    "name:",
    "name:/x",
    "x:y",
]


@pytest.mark.parametrize("text", NO_MODES)
def test_text_that_is_no_mode(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_mode(text)
    expected = f"not a namespace mode: {text!r} (on, off, try, path:PATH, pid:PID, fd:FD or name:NAME)"
    assert str(caught.value) == expected
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, units.ModeText)


@pytest.mark.parametrize("text", ["/", "/a", "/a/b/", "/..a", "/a..", "/a/...", "/with\nnewline", "/ü"])
def test_absolute_paths(text: str) -> None:
    assert msgspec.convert(text, units.AbsolutePath) == text


@pytest.mark.parametrize("text", ["", "a", "./a", "/..", "/../a", "/a/..", "/a/../b", "/a\0b", "/a\n/../b"])
def test_no_absolute_paths(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, units.AbsolutePath)


def test_a_whole_pattern_ends_with_the_text() -> None:
    assert re.search(whole("a|b"), "b")
    for text in ("b\n", "xb", "ab"):
        assert re.search(whole("a|b"), text) is None
