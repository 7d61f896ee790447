"""The rules of ARCHITECTURE.md, read off the syntax trees and off a fresh interpreter."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parent.parent
CORE = SOURCES / "nsjail_py"
PLUGINS = SOURCES / "plugins"

#: The floor of every module or package directly below nsjail_py. Imports go downward or stay on the floor.
FLOORS = {
    "version": 0,
    "record": 0,
    "errors": 0,
    "command_error": 0,
    "_native": 1,
    "linux": 1,
    "spec": 2,
    "profiles": 2,
    "plan": 2,
    "running": 2,
    "cgroups": 2,
    "plugin": 3,
    "engine": 4,
    "sandbox": 5,
    "aio": 5,
    "images": 6,
    "testing": 6,
    "containers": 7,
    "oci": 7,
    "daemon": 8,
    "cli": 9,
}

#: What a plugin may import besides the standard library and its own package.
PLUGIN_IMPORTS = {"nsjail_py.plugin", "nsjail_py_plugins", "msgspec", "pyroute2", "psutil"}

#: What is too slow or too much for the default path (import budget, DESIGN), and cffi's build-time half.
UNWANTED = {"pyroute2", "psutil", "asyncio", "http", "rich", "importlib.metadata", "subprocess", "dataclasses", "cffi"}


def _name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _typing_only(tree: ast.Module) -> set[ast.AST]:
    """Everything below ``if TYPE_CHECKING``: type checkers see it, the program does not."""
    guarded = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    ]
    return {inner for node in guarded for statement in node.body for inner in ast.walk(statement)}


def _imports(path: Path, root: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it, with absolute names."""
    tree = ast.parse(path.read_text(), str(path))
    # type checkers see these, the program does not
    skipped = _typing_only(tree)
    package = _name(path, root).split(".") if path.name == "__init__.py" else _name(path, root).split(".")[:-1]
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module.split(".") if node.module else [])])
            # `from nsjail_py import records` imports a module below the one it names
            yield from (_deeper(module, alias.name) for alias in node.names)


def _deeper(module: str, name: str) -> str:
    for root in (SOURCES, PLUGINS):
        below = root.joinpath(*module.split("."), name)
        if below.with_suffix(".py").exists() or below.is_dir():
            return f"{module}.{name}"
    return module


def _files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*.py"))


def test_the_rules_see_every_form_of_import(tmp_path: Path) -> None:
    (tmp_path / "nsjail_py" / "plan").mkdir(parents=True)
    module = tmp_path / "nsjail_py" / "plan" / "made.py"
    module.write_text(
        "import os.path\nfrom nsjail_py import engine\nfrom . import steps\nfrom ..spec import codec as c\n"
        "def late():\n    from nsjail_py.engine.result import Result\n"
        "if TYPE_CHECKING:\n    import nsjail_py.cli\n"
    )
    assert set(_imports(module, tmp_path)) == {
        "os.path",
        "nsjail_py.engine",
        "nsjail_py.plan.steps",
        "nsjail_py.spec.codec",
        "nsjail_py.engine.result",
    }


CORE_FILES = _files(CORE)
PLUGIN_FILES = _files(PLUGINS)


def _within(module: str, packages: set[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("path", CORE_FILES, ids=lambda path: _name(path, SOURCES))
def test_imports_go_downward(path: Path) -> None:
    room = _name(path, SOURCES).split(".")[1:]
    if not room:
        return  # the package itself offers names of every floor, on first use
    assert room[0] in FLOORS, f"{room[0]} has no floor: give it one here and in ARCHITECTURE.md"
    for module in _imports(path, SOURCES):
        if module.startswith("nsjail_py."):
            below = module.split(".")[1]
            assert FLOORS[below] <= FLOORS[room[0]], f"{'.'.join(room)} imports {module}, which is higher up"


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=lambda path: _name(path, PLUGINS))
def test_plugins_import_what_a_strangers_could(path: Path) -> None:
    for module in _imports(path, PLUGINS):
        allowed = _within(module, PLUGIN_IMPORTS) or module.split(".")[0] in sys.stdlib_module_names
        assert allowed, f"{_name(path, PLUGINS)} imports {module}"


@pytest.mark.parametrize("path", CORE_FILES, ids=lambda path: _name(path, SOURCES))
def test_the_core_reaches_plugins_only_through_the_manager(path: Path) -> None:
    if path == CORE / "plugin" / "manager.py":
        return
    strings = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
    named = {value for value in strings if isinstance(value, str) and re.fullmatch(r"nsjail_py_plugins[\w.]*", value)}
    assert not named
    assert not [module for module in _imports(path, SOURCES) if _within(module, {"nsjail_py_plugins", "pluggy"})] or (
        path == CORE / "plugin" / "hookspecs.py"
    )


@pytest.mark.parametrize("path", CORE_FILES + PLUGIN_FILES, ids=lambda path: path.relative_to(SOURCES).as_posix())
def test_nobody_imports_what_is_not_shipped(path: Path) -> None:
    root = CORE.parent if CORE in path.parents else PLUGINS
    assert not [module for module in _imports(path, root) if _within(module, {"cffi_build", "tests", "benchmarks"})]


@pytest.mark.parametrize("path", CORE_FILES + PLUGIN_FILES, ids=lambda path: path.relative_to(SOURCES).as_posix())
def test_every_module_says_what_it_is_for(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree) or not tree.body


def _loaded(script: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after a script."""
    script = f"{script}\nimport json, sys; print('\\n' + json.dumps(sorted(sys.modules)))"
    path = f"import sys; sys.path[:0] = {[str(SOURCES), str(PLUGINS)]!r}\n"
    done = subprocess.run([sys.executable, "-I", "-c", path + script], check=True, stdout=subprocess.PIPE, text=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def _unwanted(modules: set[str]) -> set[str]:
    # what the interpreter's own start loads (editable installs bring finders) is not ours
    return {module for module in modules - _loaded("") if _within(module, UNWANTED)}


def test_importing_loads_nothing_heavy() -> None:
    loaded = _loaded("import nsjail_py")
    assert not _unwanted(loaded)
    assert not {module for module in loaded if _within(module, {"msgspec", "pluggy", "nsjail_py_plugins"})}


def test_a_default_launch_loads_nothing_heavy() -> None:
    loaded = _loaded("from nsjail_py import run; assert run(['/bin/true'], capture_output=True).returncode == 0")
    assert "nsjail_py_plugins.mnt" in {module[: len("nsjail_py_plugins.mnt")] for module in loaded}
    assert not _unwanted(loaded)


def _hooks() -> set[str]:
    tree = ast.parse((CORE / "plugin" / "hookspecs.py").read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("nsjail_")}


def test_every_hook_is_documented() -> None:
    documented = set(re.findall(r"\bnsjail_[a-z]+\b", (SOURCES / "docs" / "plugins.md").read_text()))
    assert _hooks() - documented == set()
    assert documented - _hooks() <= {"nsjail_py"}


@pytest.mark.parametrize("hook", sorted(_hooks()))
def test_every_hook_is_called_by_the_core(hook: str) -> None:
    callers = [path for path in CORE_FILES if f'"{hook}"' in path.read_text()]
    called = hook == "nsjail_section" or bool(callers)
    assert called, f"no module of the core calls {hook}"


def test_entry_points_equal_the_built_in_list() -> None:
    import tomllib

    from nsjail_py.plugin.manager import BUILTINS, ENTRY_POINTS

    declared = tomllib.loads((SOURCES / "pyproject.toml").read_text())["project"]["entry-points"]
    assert declared[ENTRY_POINTS] == dict(BUILTINS)


def _opcodes() -> set[str]:
    return set(re.findall(r"\bX\((\w+), \d+,", (CORE.parent / "cffi_build" / "csrc" / "contract.h").read_text()))


def test_every_opcode_has_a_step() -> None:
    written = "".join((CORE / "plan" / name).read_text() for name in ("steps.py", "payload_steps.py"))
    assert len(_opcodes()) > 40
    assert not {name for name in _opcodes() if not re.search(rf"\bNSJ_OP_{name}\b", written)}
