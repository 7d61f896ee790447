"""What is wanted: an immutable record of sections by name.

The sections and their types come from plugins, so nothing here lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar, cast

import msgspec

from nsjail_py.spec.section import Section, defaults

S = TypeVar("S", bound=Section)


class SandboxSpec:
    """A sandbox as it is wanted: ``SandboxSpec(uts=Uts(hostname="web"), mnt=Mnt(view="empty"))``.

    It is never changed; two of the same content are equal, hash alike and have one digest.

    :param sections: sections by name
    :raises TypeError: a value is not a section
    """

    __slots__ = ("_hash", "_sections")

    def __init__(self, **sections: Section) -> None:
        for name, section in sections.items():
            if not isinstance(section, Section):
                raise TypeError(f"{name} must be a section, not {type(section).__name__}")
        self._sections = sections
        self._hash: int | None = None

    def names(self) -> tuple[str, ...]:
        """The names of the sections that are given, in the order in which they were."""
        return tuple(self._sections)

    def section(self, name: str, kind: type[S]) -> S:
        """A section, or its type's defaults where it is not given.

        :param name: its name
        :param kind: its type
        :raises TypeError: the section is of another type
        """
        section = self._sections.get(name)
        if section is None:
            return cast(S, _defaults(kind))
        if not isinstance(section, kind):
            raise TypeError(f"section {name} is a {type(section).__name__}, not a {kind.__name__}")
        return section

    def items(self) -> tuple[tuple[str, Section], ...]:
        """The given sections with their names."""
        return tuple(self._sections.items())

    def replace(self, **sections: Section) -> SandboxSpec:
        """A copy with these sections in place of those of the same name."""
        return SandboxSpec(**{**self._sections, **sections})

    def overlay(self, other: SandboxSpec) -> SandboxSpec:
        """A copy with another spec laid over it, as an option over a profile.

        A value of ``other`` that differs from its default replaces; tables merge by key; a list is appended to one
        that itself differs from the default. Where explicit defaults must win too, lay the undecoded tables over one
        another instead (``codec.merge_raw``).

        :param other: the upper one
        """
        merged = dict(self._sections)
        for name, section in other._sections.items():
            merged[name] = _overlay(merged[name], section) if name in merged else section
        return SandboxSpec(**merged)

    def digest(self) -> str:
        """A SHA-256 of the content, defaults included, in hexadecimal. It is the same in every process."""
        # hashlib loads OpenSSL, most of a cold start, and the default path needs no digest.
        from hashlib import sha256

        # ascii() and not JSON: it also writes undecodable bytes of a path (PEP 383), which are valid here.
        return sha256(ascii(_frozen(self._sections)).encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return self._sections == other._sections if isinstance(other, SandboxSpec) else NotImplemented

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(_frozen(self._sections))
        return self._hash

    def __repr__(self) -> str:
        return f"SandboxSpec({', '.join(f'{name}={section!r}' for name, section in self._sections.items())})"

    def __copy__(self) -> SandboxSpec:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> SandboxSpec:
        return self

    def __reduce__(self) -> tuple[Callable[..., SandboxSpec], tuple[Mapping[str, Section]]]:
        return _rebuild, (self._sections,)


def _frozen(value: Any) -> Any:
    """The content as nested tuples that are equal, and print alike, exactly where the values are equal."""
    if isinstance(value, Section):
        fields = [(name, _frozen(getattr(value, name))) for name in value.__struct_fields__]
        return (type(value).__qualname__, *fields)
    if isinstance(value, Mapping):
        return tuple(sorted((key, _frozen(inner)) for key, inner in value.items()))
    if isinstance(value, (tuple, list)):
        return tuple(_frozen(inner) for inner in value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _rebuild(sections: Mapping[str, Section]) -> SandboxSpec:
    return SandboxSpec(**sections)


@cache
def _defaults(kind: type[Section]) -> Section:
    return kind()


def _overlay(lower: Section, upper: Section) -> Section:
    """``upper`` over ``lower``, field by field. Another type (another kind of one union) replaces as a whole."""
    if type(lower) is not type(upper):
        return upper
    changes: dict[str, Any] = {}
    for name, default in defaults(type(lower)).items():
        old, new = getattr(lower, name), getattr(upper, name)
        if new != default:
            changes[name] = new if old == default else _merge(old, new)
    return msgspec.structs.replace(lower, **changes)


def _merge(old: Any, new: Any) -> Any:
    if isinstance(old, Section) and isinstance(new, Section):
        return _overlay(old, new)
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return {**old, **{key: _merge(old[key], value) if key in old else value for key, value in new.items()}}
    if isinstance(old, (tuple, list)) and isinstance(new, (tuple, list)):
        return (*old, *new)
    return new
