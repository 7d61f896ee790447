from __future__ import annotations

from nsjail_py.spec.schema import json_schema
from tests.unit.spec.registry import TYPES


def test_one_property_a_section_and_no_others() -> None:
    schema = json_schema(TYPES)
    assert list(schema["properties"]) == list(TYPES)
    assert schema["additionalProperties"] is False
    assert "required" not in schema
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_docstrings_describe_tables_and_keys() -> None:
    quota = json_schema(TYPES)["$defs"]["Quota"]
    assert quota["description"] == "A section by someone else. It has a field of every shape."
    assert quota["properties"]["bytes"]["description"] == "most bytes, in all files together"
    assert quota["properties"]["memory"]["description"] == "a soft limit"
    assert "description" not in quota["properties"]["rules"]


def test_every_key_of_the_built_in_sections_is_described() -> None:
    definitions = json_schema(TYPES)["$defs"]
    described = {name for name in definitions if name not in ("Quota", "Rule")}
    missing = [
        f"{name}.{key}"
        for name in described
        for key, field in definitions[name]["properties"].items()
        if key not in ("kind", "target") and "description" not in field
    ]
    assert missing == []


def test_sizes_are_numbers_or_text_with_a_unit() -> None:
    size = json_schema(TYPES)["$defs"]["Tmpfs"]["properties"]["size"]
    assert [option["type"] for option in size["anyOf"]] == ["integer", "string"]
    assert size["anyOf"][0]["minimum"] == 0
    assert size["default"] == 64 << 20


def test_references_lead_somewhere() -> None:
    schema = json_schema(TYPES)

    def references(value: object) -> list[str]:
        if isinstance(value, dict):
            here = [value["$ref"]] if "$ref" in value else []
            return here + [found for inner in value.values() for found in references(inner)]
        return [found for inner in value for found in references(inner)] if isinstance(value, list) else []

    found = references(schema)
    assert len(found) > len(TYPES)
    assert {f"#/$defs/{name}" for name in schema["$defs"]} == set(found)
