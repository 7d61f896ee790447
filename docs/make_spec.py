"""Write docs/spec.md from the sections' own docstrings: ``python docs/make_spec.py``. A test keeps the two equal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nsjail_py.plugin.manager import Plugins
from nsjail_py.spec.schema import json_schema

PAGE = Path(__file__).with_name("spec.md")

HEAD = """# What a spec may say

Made from the sections' docstrings by `python docs/make_spec.py`; `nsjail-py schema` prints the same for editors, as a
JSON Schema.

A spec is TOML or JSON with a table for each plugin; what is left out has its default. Unknown keys and values of a
wrong type are errors that name their place, such as `$.mnt.mounts[0].target`. In Python the spec
`SandboxSpec(uts=Uts(hostname="web"))` is the same with objects: the kinds of mounts are in
`nsjail_py`, the sections in `nsjail_py.plugin.sections`, the two kinds of roots (`Root`, `OverlayRoot`) in
`nsjail_py.spec.mnt`.

```toml
[uts]
hostname = "web"

[net]
mode = "none"

[process]
timeout = 10
env = { MODE = "test" }

[[mnt.mounts]]
kind = "tmpfs"
target = "/scratch"
size = "32M"
```

Sizes are bytes or text such as `"256M"`, times are seconds. The `mode` of a namespace (`ModeText`) is `on` (a new one),
`off` (the caller's), `try` (a new one where the kernel allows it), or one to join: `path:/run/netns/blue`, `pid:1234`,
`fd:5`, `name:web`.
"""


def _type(schema: dict[str, Any]) -> str:
    """The type of a field in words."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(each) for each in schema["anyOf"] if each != {"type": "null"}))
    if schema["type"] == "array":
        return f"list of {_type(schema['items'])}"
    if schema["type"] == "object":
        return "table"
    words = {"string": "text", "integer": "integer", "number": "number", "boolean": "true or false"}
    return words[schema["type"]]


def _default(field: dict[str, Any], *, required: bool) -> str:
    if required:
        return "required"
    value = field.get("default")
    return "" if value in (None, (), [], {}) else "`" + json.dumps(value).strip("[]") + "`"


def _fields(definition: dict[str, Any]) -> list[str]:
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, field in definition["properties"].items():
        if "const" in field or field.get("enum") == [definition.get("title", "").lower()]:
            lines.append(
                f"| `{key}` | `{json.dumps(field.get('const', field.get('enum', [''])[0]))}` | required | this kind |"
            )
            continue
        default = _default(field, required=key in definition["required"])
        lines.append(f"| `{key}` | {_type(field)} | {default} | {field.get('description', '')} |".replace("  ", " "))
    return lines


def page() -> str:
    """The whole page."""
    schema = json_schema(Plugins().types)
    tables = {name: reference["$ref"].rsplit("/", 1)[1] for name, reference in schema["properties"].items()}
    parts = [HEAD]
    for title, name in [*tables.items(), *((name, name) for name in schema["$defs"] if name not in tables.values())]:
        definition = schema["$defs"][name]
        parts.append("\n".join([f"## {title}", "", definition.get("description", ""), "", *_fields(definition), ""]))
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
