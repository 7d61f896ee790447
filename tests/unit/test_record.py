"""Records behave as frozen dataclasses do."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from nsjail_py.record import Record


class Point(Record):
    x: int
    y: int = 0


class Named(Point):
    name: str = ""

    @property
    def text(self) -> str:
        return f"{self.name}({self.x}, {self.y})"


def test_fields_by_position_and_by_name() -> None:
    assert Point(1, 2) == Point(1, y=2) == Point(y=2, x=1)
    assert (Point(1).x, Point(1).y) == (1, 0)
    assert Named(1, 2, "p").text == "p(1, 2)"
    assert repr(Named(1, name="p")) == "Named(x=1, y=0, name='p')"


@pytest.mark.parametrize(
    ("args", "kwargs", "said"),
    [
        ((), {}, "Point needs a value for x"),
        ((1, 2, 3), {}, "Point takes the fields x, y, each once"),
        ((1,), {"x": 1}, "Point takes the fields x, y, each once"),
        ((1,), {"z": 1}, "Point takes the fields x, y, each once"),
    ],
)
def test_wrong_fields(args: tuple[Any, ...], kwargs: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        Point(*args, **kwargs)


def test_they_are_values() -> None:
    assert hash(Point(1)) == hash(Point(1, 0))
    assert Point(1) != Named(1)
    assert Point(1) != (1, 0)
    assert Point(1).replace(y=5) == Point(1, 5)
    assert pickle.loads(pickle.dumps(Named(1, 2, "p"))) == Named(1, 2, "p")
    match Point(3, 4):
        case Point(x, y):
            assert (x, y) == (3, 4)


def test_they_are_frozen() -> None:
    with pytest.raises(AttributeError, match="Point is frozen"):
        Point(1).x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError, match="Point is frozen"):
        del Point(1).x
