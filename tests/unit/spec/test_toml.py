from __future__ import annotations

import math
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsjail_py.spec.toml import dumps

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(texts, values, max_size=5))
def test_what_is_written_reads_back(table: dict[str, Any]) -> None:
    assert tomllib.loads(dumps(table)) == table


def test_layout() -> None:
    table = {
        "plain": 1,
        "only tables": {"a": {"x": []}},
        "list": [{"a": 1, "inner": {"b": True}}, {}],
        "mixed": [1, {"a": "x"}, [{}]],
        "empty": {},
    }
    assert dumps(table) == (
        "plain = 1\n"
        'mixed = [1, { a = "x" }, [{  }]]\n'
        '\n["only tables".a]\nx = []\n'
        "\n[[list]]\na = 1\n"
        "\n[list.inner]\nb = true\n"
        "\n[[list]]\n"
        "\n[empty]\n"
    )
    assert tomllib.loads(dumps(table)) == table


def test_nothing_is_an_empty_document() -> None:
    assert dumps({}) == ""


def test_numbers_without_a_json_form() -> None:
    read = tomllib.loads(dumps({"a": math.inf, "b": -math.inf, "c": math.nan, "d": 1e16}))
    assert (read["a"], read["b"], read["d"]) == (math.inf, -math.inf, 1e16)
    assert math.isnan(read["c"])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"a": {"b": None}}, "TOML cannot express null in a.b"),
        ({"a": [1, None]}, "TOML cannot express null in a"),
        ({"a": b"x"}, "TOML cannot express bytes in a"),
    ],
)
def test_what_toml_cannot_express(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        dumps(table)
    assert str(caught.value) == message
