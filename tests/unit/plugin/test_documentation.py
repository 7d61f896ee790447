"""docs/plugins.md against the code: the example is the package that is tested, and every hook is as it says."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from nsjail_py.plan.phases import Phase
from nsjail_py.plugin import Part, hookspecs

SOURCES = Path(__file__).resolve().parents[3]
EXAMPLE = SOURCES / "tests" / "third_party" / "sysctl"
TEXT = (SOURCES / "docs" / "plugins.md").read_text()

FILES = sorted(path.relative_to(EXAMPLE).as_posix() for path in EXAMPLE.rglob("*") if path.suffix in (".py", ".toml"))
HOOKS = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("nsjail_")}


@pytest.mark.parametrize("name", FILES)
def test_every_file_of_the_example_is_shown_as_it_is(name: str) -> None:
    shown = re.search(rf"^`{re.escape(name)}`:\n\n```\w+\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert shown, f"docs/plugins.md does not show {name}"
    assert shown[1] == (EXAMPLE / name).read_text()


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_explained_under_its_signature(name: str) -> None:
    parameters = ", ".join(inspect.signature(HOOKS[name]).parameters)
    heading, _, rest = TEXT.partition(f"\n### `{name}({parameters})`\n")
    assert heading != TEXT, f"no heading {name}({parameters})"
    explanation = rest.partition("\n#")[0]
    assert len(explanation.split()) > 10


@pytest.mark.parametrize("name", HOOKS)
def test_the_example_has_every_hook(name: str) -> None:
    assert f"\n@hookimpl\ndef {name}(" in (EXAMPLE / "nsjail_py_sysctl" / "__init__.py").read_text()


def test_the_phases_stand_there_in_their_order() -> None:
    assert re.findall(r"^\| `([A-Z]+)` \|", TEXT, re.MULTILINE) == [phase.name for phase in Phase]


def test_every_field_of_a_part_is_explained() -> None:
    table = TEXT.partition("\n## A part\n")[2].partition("\n### ")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == Part.__struct_fields__
