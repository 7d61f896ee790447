"""``nsjail-py schema``: print the JSON Schema of specs."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from nsjail_py.cli.arguments import Parser
from nsjail_py.cli.options import configured, plugin_option
from nsjail_py.spec.schema import json_schema


def main(argv: Sequence[str], plugins: Sequence[str]) -> int:
    """Print the schema of the loaded plugins' sections."""
    loaded = configured(plugins)[1]
    parser = Parser("schema [OPTIONS]", "Print the JSON Schema of specs, for editors.")
    parser.add("options", (plugin_option(loaded),))
    _, words = parser.parse(argv)
    parser.nothing_left(words)
    print(msgspec.json.format(msgspec.json.encode(json_schema(loaded.types))).decode())
    return 0
