"""What is wrong with a value, for people: from msgspec's message to a path, a sentence and a remedy.

What would have been right is read from the JSON Schema of the section, so a ``description`` in a field's annotation is
also what its error says. Only imported when something is wrong.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from nsjail_py.errors import Problem
from nsjail_py.spec.section import Section

Schema = Mapping[str, Any]

_MESSAGE = re.compile(r"(?P<what>.*?)(?: - at (?P<key>`key` in )?`(?P<path>\$[^`]*)`)?\Z", re.DOTALL)
_TOKEN = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`\Z", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`\Z", re.DOTALL)
_NOUNS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a table",
}
_BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
_LENGTHS = {"minLength": ">=", "maxLength": "<=", "minItems": ">=", "maxItems": "<="}


def explain(name: str, raw: Any, kind: type[Section], error: msgspec.ValidationError) -> Problem:
    """The problem that an error of ``msgspec.convert(raw, kind)`` reports.

    :param name: the section's name
    :param raw: its undecoded value
    :param kind: its type
    :param error: the error
    """
    match = _MESSAGE.match(str(error))
    assert match is not None, "the pattern matches every text"
    what, key = match["what"], match["key"]
    walk = _Walk(kind, raw, error)
    path, value, schema = walk.to(match["path"] or "$")
    path = f"$.{name}{path[1:]}"
    if key:
        return Problem(path, f"expected each key to be {_phrase(schema.get('propertyNames', {'type': 'string'}))}")
    if unknown := _UNKNOWN.match(what):
        valid = schema.get("properties", {})
        return Problem(f"{path}.{unknown[1]}", "unknown key", closest(unknown[1], valid))
    if missing := _MISSING.match(what):
        inner = walk.resolve(walk.field(schema, missing[1]), None)
        hint = _one_of(_tags(schema, missing[1])) or f"give it {_phrase(inner)}"
        return Problem(f"{path}.{missing[1]}", "is missing", hint)
    words = _words(schema)
    if words and isinstance(value, str):
        return Problem(path, f"unknown value {describe(value)}", closest(value, words))
    return Problem(path, f"expected {_phrase(schema)}, got {describe(value)}")


def closest(word: str, valid: Iterable[str]) -> str | None:
    """A hint for a mistyped word: the one that was probably meant, else all that there are."""
    words = sorted(valid)
    near = difflib.get_close_matches(word, words, n=1)
    return f"did you mean {near[0]}?" if near else _one_of(words)


def closest_option(flag: str, valid: Iterable[str]) -> str | None:
    """The same for a long option, but without a hint where none is like it. The dashes make no two of them alike."""
    names = [name[2:] for name in valid if name.startswith("--")]
    near = difflib.get_close_matches(flag.lstrip("-"), names, n=1)
    return f"did you mean --{near[0]}?" if near else None


def describe(value: object) -> str:
    """What a value is: a short one itself, others by their kind."""
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, (list, tuple)):
        return "a list" if value else "an empty list"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _one_of(words: Sequence[str]) -> str | None:
    return f"one of: {', '.join(words)}" if words else None


class _Walk:
    """Follow an error's path through the value and the schema of its type at once."""

    def __init__(self, kind: type[Section], raw: Any, error: msgspec.ValidationError) -> None:
        root = msgspec.json.schema(kind)
        self.definitions: Schema = root.pop("$defs", {})
        self.root: Schema = root
        self.kind = kind
        self.raw = raw
        self.error = str(error)

    def to(self, path: str) -> tuple[str, Any, Schema]:
        """The path with its placeholders filled in, and the value and schema there."""
        walked: list[str | int] = []
        value, schema = self.raw, self.resolve(self.root, self.raw)
        for key, index in _TOKEN.findall(path):
            step: str | int = key
            if key:
                schema = self.field(schema, key)
            elif index == "...":
                step = self.culprit(walked, value)
                schema = schema.get("additionalProperties", {})
            else:
                step = int(index)
                schema = schema.get("items", {})
            walked.append(step)
            value = value[step]
            schema = self.resolve(schema, value)
        text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in walked)
        return f"${text}", value, schema

    def culprit(self, path: Sequence[str | int], table: Mapping[str, Any]) -> str:
        """The key that msgspec does not tell: with no other key beside it, the error stays the same."""
        for key, value in table.items():
            try:
                msgspec.convert(_replaced(self.raw, path, {key: value}), self.kind)
            except msgspec.ValidationError as error:
                if str(error) == self.error:
                    return key
        raise AssertionError(f"no key of {path} leads to: {self.error}")

    def field(self, schema: Schema, key: str) -> Schema:
        """The schema of one key of a table; a union's tag is an enumeration of its kinds."""
        tags = _tags(schema, key)
        if tags:
            return {"enum": list(tags)}
        inner: Schema = schema.get("properties", {}).get(key, {})
        return inner

    def resolve(self, schema: Schema, value: Any) -> Schema:
        """Follow references, and choose the member of a union that the value means where that is clear."""
        if "$ref" in schema:
            schema = self.definitions[schema["$ref"].rpartition("/")[2]]
        if "anyOf" not in schema:
            return schema
        options = [self.resolve(option, value) for option in schema["anyOf"] if option.get("type") != "null"]
        tables = [option for option in options if option.get("type") == "object"]
        if isinstance(value, Mapping) and tables:
            if tag := schema.get("discriminator", {}).get("propertyName"):
                tables = [option for option in tables if value.get(tag) in option["properties"][tag]["enum"]]
            return tables[0] if tables else schema
        return options[0] if len(options) == 1 else {**schema, "anyOf": options}


def _replaced(value: Any, path: Sequence[str | int], new: Any) -> Any:
    """A copy of a nested value with another one at a path."""
    if not path:
        return new
    head, rest = path[0], path[1:]
    if isinstance(value, Mapping):
        return {**value, head: _replaced(value[head], rest, new)}
    return [_replaced(inner, rest, new) if index == head else inner for index, inner in enumerate(value)]


def _tags(schema: Schema, key: str) -> tuple[str, ...]:
    discriminator = schema.get("discriminator", {})
    return tuple(discriminator["mapping"]) if discriminator.get("propertyName") == key else ()


def _words(schema: Schema) -> list[str]:
    """The words that are valid where only certain words are."""
    options = schema.get("anyOf", [schema])
    if any("enum" not in option for option in options):
        return []
    return [word for option in options for word in option["enum"] if isinstance(word, str)]


def _phrase(schema: Schema) -> str:
    """What a schema wants, in words."""
    kind = schema.get("type")
    # The description of a table is its class's docstring.
    if "description" in schema and kind != "object":
        return str(schema["description"])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_phrase(option) for option in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(describe(word) for word in schema["enum"])
    text = _NOUNS.get(str(kind), "another value")
    bounds = [f"{sign} {schema[bound]:.15g}" for bound, sign in _BOUNDS.items() if bound in schema]
    lengths = [f"of length {sign} {schema[bound]}" for bound, sign in _LENGTHS.items() if bound in schema]
    patterns = [f"matching {schema['pattern']}"] if "pattern" in schema else []
    return f"{text} {' and '.join(bounds + lengths + patterns)}".strip()
