"""The JSON Schema of a spec, for editors and for people.

Descriptions come from the sections' docstrings: the text before the first ``:param`` describes the table, each
``:param`` its key.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import msgspec

from nsjail_py.spec.codec import Types

_PARAM = re.compile(r"^:param (\w+): ((?:.|\n(?!:))*)", re.MULTILINE)
_FIELD = re.compile(r"^:", re.MULTILINE)


def json_schema(types: Types) -> dict[str, Any]:
    """The schema (draft 2020-12) of specs with these sections; every section may be left out.

    :param types: section types by name
    """
    tables, definitions = msgspec.json.schema_components(types.values(), ref_template="#/$defs/{name}")
    for definition in definitions.values():
        _describe(definition)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "SandboxSpec",
        "type": "object",
        "properties": dict(zip(types, tables, strict=True)),
        "additionalProperties": False,
        "$defs": definitions,
    }


def _describe(definition: dict[str, Any]) -> None:
    """Distribute a docstring over the table and its keys."""
    docstring = inspect.cleandoc(definition.pop("description", ""))
    head = _FIELD.split(docstring, maxsplit=1)[0]
    if head.strip():
        definition["description"] = _plain(head)
    for key, text in _PARAM.findall(docstring):
        if field := definition["properties"].get(key):
            field["description"] = _plain(text)


def _plain(text: str) -> str:
    return " ".join(text.replace("``", "").split())
