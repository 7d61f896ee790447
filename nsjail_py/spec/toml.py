"""Write TOML (version 1.0); the standard library only reads it.

Takes what a spec consists of: tables, lists, text, numbers and booleans.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")
_ESCAPED = re.compile('[\x00-\x1f"\\\\\x7f]')
_SHORT = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def dumps(table: Mapping[str, Any]) -> str:
    """A document that reads back as ``table``.

    :param table: the root table
    :raises ValueError: it holds what TOML has no notation for: a null, or a value of another type
    """
    lines: list[str] = []
    _table(lines, (), table)
    return "\n".join(lines).strip("\n") + "\n" if lines else ""


def _table(lines: list[str], path: tuple[str, ...], table: Mapping[str, Any]) -> None:
    """One table: its plain values first, since whatever follows a header belongs to that header's table."""
    below: list[tuple[str, Any]] = []
    for key, value in table.items():
        if isinstance(value, Mapping) or _is_tables(value):
            below.append((key, value))
        else:
            lines.append(f"{_key(key)} = {_value(value, (*path, key))}")
    for key, value in below:
        inner = (*path, key)
        header = ".".join(map(_key, inner))
        if isinstance(value, Mapping):
            # A table of nothing but tables exists by theirs.
            if not value or not all(isinstance(entry, Mapping) or _is_tables(entry) for entry in value.values()):
                lines += ["", f"[{header}]"]
            _table(lines, inner, value)
        else:
            for entry in value:
                lines += ["", f"[[{header}]]"]
                _table(lines, inner, entry)


def _is_tables(value: Any) -> bool:
    return _is_list(value) and len(value) > 0 and all(isinstance(entry, Mapping) for entry in value)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _key(key: str) -> str:
    return key if _BARE.match(key) else _text(key)


def _value(value: Any, path: tuple[str, ...]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float(value)
    if _is_list(value):
        return f"[{', '.join(_value(entry, path) for entry in value)}]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_key(key)} = {_value(entry, (*path, key))}' for key, entry in value.items())} }}"
    name = "null" if value is None else type(value).__name__
    raise ValueError(f"TOML cannot express {name} in {'.'.join(path)}")


def _float(value: float) -> str:
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    # 1e+16 and 1e16 are both TOML, and a repr without exponent always has its point.
    return repr(value)


def _text(text: str) -> str:
    return f'"{_ESCAPED.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    return _SHORT.get(character) or f"\\u{ord(character):04x}"
