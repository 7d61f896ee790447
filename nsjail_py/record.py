"""Frozen records that cost nothing to define.

The layers below the spec are imported by every command and every launch, and `dataclasses`, `typing.NamedTuple` and
msgspec each take longer to import than a sandbox takes to start. A record is written like a dataclass, type checkers
read it as one, and no code is generated for it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Self, dataclass_transform
else:

    def dataclass_transform(**_options):  # what the real one does at run time
        return lambda cls: cls


@dataclass_transform(frozen_default=True)
class Record:
    """A frozen record: its fields are the annotated names of the class body, a class attribute is a default.

    >>> class Point(Record):
    ...     x: int
    ...     y: int = 0
    >>> Point(1, y=2)
    Point(x=1, y=2)
    >>> Point(1) == Point(1, 0)
    True
    """

    __match_args__: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        own = [name for name, kind in cls.__annotations__.items() if not kind.startswith("ClassVar")]
        cls.__match_args__ = cls.__match_args__ + tuple(own)  # type: ignore[misc]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        fields = self.__match_args__
        values = dict(zip(fields, args, strict=False))
        if len(args) == len(fields) and not kwargs:
            self.__dict__.update(values)
            return
        if len(args) > len(fields) or not values.keys().isdisjoint(kwargs) or not kwargs.keys() <= set(fields):
            raise TypeError(f"{type(self).__name__} takes the fields {', '.join(fields)}, each once")
        values |= kwargs
        for name in fields:
            if name not in values and not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} needs a value for {name}")
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def _values(self) -> tuple[object, ...]:
        return tuple([getattr(self, name) for name in self.__match_args__])

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        pairs = zip(self.__match_args__, self._values(), strict=True)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in pairs)})"

    def replace(self, **changes: Any) -> Self:
        """The same record with other values for the named fields."""
        return type(self)(**(dict(zip(self.__match_args__, self._values(), strict=True)) | changes))
