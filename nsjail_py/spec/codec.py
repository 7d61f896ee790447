"""Specs as text: TOML and JSON, one table a plugin, in and out.

A spec is *raw* while it consists of plain dictionaries: what a file holds, or what command-line options fill. Raw
specs are laid over one another and decoded once. Every problem found is reported at once, each with its path.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeVar

import msgspec

from nsjail_py.errors import Problem, SpecError
from nsjail_py.spec.section import Section, defaults
from nsjail_py.spec.spec import SandboxSpec

T = TypeVar("T")
Format = Literal["toml", "json"]

#: Section types by name, as the plugins declare them.
Types = Mapping[str, type[Section]]


def decode(data: bytes | str | Mapping[str, Any], format: Format, types: Types) -> SandboxSpec:  # noqa: A002
    """A spec from text or from a raw spec.

    :param data: the text, or plain dictionaries
    :param format: of the text
    :param types: the section types that there are
    :raises SpecError: it is not of that format, or a table, key or value is not what it should be
    """
    raw = parse(data, format) if isinstance(data, (bytes, str)) else data
    problems: list[Problem] = []
    sections: dict[str, Section] = {}
    for name, table in raw.items():
        try:
            if (kind := types.get(name)) is None:
                problems.append(_unknown(name, types))
            else:
                sections[name] = _convert(table, kind)
        except msgspec.ValidationError as error:
            from nsjail_py.spec.explain import explain

            problems.append(explain(name, table, types[name], error))
    if problems:
        raise SpecError(problems)
    return SandboxSpec(**sections)


def check(spec: SandboxSpec, types: Types) -> SandboxSpec:
    """A spec made in Python, checked as one from a file is, and in the decoder's own types.

    A constructor checks nothing, and takes a list for a tuple or a ``Path`` for text.

    :param spec: the spec
    :param types: the section types that there are
    :raises SpecError: as ``decode``
    """
    return decode(raw(spec), "toml", types)


def raw(spec: SandboxSpec) -> dict[str, Any]:
    """A spec as plain dictionaries, without what equals its default.

    :raises SpecError: it holds an object that no spec can hold
    """
    tables: dict[str, Any] = {}
    for name, section in spec.items():
        try:
            tables[name] = msgspec.to_builtins(_sparse(section), enc_hook=os.fspath)
        except TypeError as error:
            raise SpecError([Problem(f"$.{name}", f"holds what a spec cannot hold: {error}")]) from None
    return tables


def encode(spec: SandboxSpec, format: Format) -> str:  # noqa: A002
    """A spec as text that decodes to an equal one; what equals its default is left out.

    :param spec: the spec
    :param format: of the text
    :raises SpecError: the format cannot express a value: a null in TOML, an undecodable path
    """
    tables = raw(spec)
    try:
        if format == "json":
            return msgspec.json.format(msgspec.json.encode(tables)).decode() + "\n"
        from nsjail_py.spec import toml

        text = toml.dumps(tables)
        text.encode()
    except UnicodeEncodeError as error:
        wrong = error.object[error.start : error.end]
        message = f"{format.upper()} is UTF-8, which cannot express {wrong!r}"
        raise SpecError([Problem("$", message)]) from None
    except ValueError as error:
        raise SpecError([Problem("$", str(error), "JSON can express it")]) from None
    return text


def parse(data: bytes | str, format: Format) -> dict[str, Any]:  # noqa: A002
    """A raw spec from text.

    :param data: UTF-8 or decoded text
    :param format: of the text
    :raises SpecError: the text is not of that format
    """
    try:
        if format == "json":
            found = msgspec.json.decode(data)
        else:
            # Loaded late: a sandbox without files needs no parser.
            import tomllib

            found = tomllib.loads(data if isinstance(data, str) else data.decode())
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        # tomllib.TOMLDecodeError is a ValueError.
        text = str(error)
        raise SpecError([Problem("$", f"not {format.upper()}: {text[:1].lower()}{text[1:]}")]) from None
    if not isinstance(found, dict):
        from nsjail_py.spec.explain import describe

        raise SpecError([Problem("$", f"expected one table a section, got {describe(found)}")])
    return found


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A raw spec from a file: JSON where its name ends in ``.json``, TOML otherwise.

    :param path: the file
    :raises SpecError: it cannot be read, or is not of that format; the file's name is part of the path
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            data = file.read()
    except OSError as error:
        raise SpecError([Problem(name, f"cannot be read: {error.strerror}")]) from None
    return _located(name, lambda: parse(data, "json" if name.endswith(".json") else "toml"))


def load(path: str | os.PathLike[str], types: Types) -> SandboxSpec:
    """A spec from a file.

    :param path: the file, as ``read`` takes it
    :param types: the section types that there are
    :raises SpecError: as ``read`` and ``decode``
    """
    tables = read(path)
    return _located(os.fspath(path), lambda: decode(tables, "toml", types))


def merge_raw(tables: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Lay raw specs over one another: tables merge by key, lists are appended, any other value replaces.

    :param tables: the lowest first
    """
    merged: dict[str, Any] = {}
    for table in tables:
        for key, value in table.items():
            merged[key] = _merge(merged[key], value) if key in merged else value
    return merged


def _merge(old: Any, new: Any) -> Any:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return merge_raw((old, new))
    if isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)):
        return [*old, *new]
    return new


def _sparse(value: Any) -> Any:
    """A section's fields that differ from their defaults; msgspec's own omission goes by identity, not equality."""
    if isinstance(value, Section):
        config = value.__struct_config__
        tag = {config.tag_field: config.tag} if config.tag_field else {}
        known = defaults(type(value))
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        return {**tag, **{name: _sparse(inner) for name, inner in fields.items() if inner != known[name]}}
    if isinstance(value, Mapping):
        return {key: _sparse(inner) for key, inner in value.items()}
    return [_sparse(inner) for inner in value] if isinstance(value, (tuple, list)) else value


def _convert(table: Any, kind: type[Section]) -> Section:
    # A type's first conversion evaluates all its annotations, which an empty table can do without.
    if table == {} and msgspec.NODEFAULT not in defaults(kind).values():
        return kind()
    return msgspec.convert(table, kind)


def _located(file: str, action: Callable[[], T]) -> T:
    """Run an action; the problems that it finds are located in a file."""
    try:
        return action()
    except SpecError as error:
        problems = [Problem(f"{file}: {found.path}", found.message, found.hint) for found in error.problems]
        raise SpecError(problems) from None


def _unknown(name: str, types: Types) -> Problem:
    from nsjail_py.spec.explain import closest

    hint = closest(name, types) or "no plugin is loaded"
    return Problem(
        f"$.{name}", "unknown section", f"{hint} (a section of another package needs its plugin to be named)"
    )
