"""Which plugins are loaded, what makes one refused, and whose mistake an error names."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pluggy
import pytest

from nsjail_py.errors import PluginError, UnsupportedError
from nsjail_py.linux.host import Host
from nsjail_py.plugin import Evidence, Line, Part, Problem, SandboxSpec, Section, SpecError, hookimpl
from nsjail_py.plugin.manager import BUILTINS, Plugins, installed

HOST = Host.probe()
MISTAKE = "hint: a mistake in the plugin, not in the spec: tell its author"


class Quota(Section, frozen=True, kw_only=True):
    bytes: int = 0


def plugin(**hooks: Any) -> SimpleNamespace:
    """An object with hooks, and the section ``quota``."""
    made = {name: hookimpl(function) for name, function in hooks.items()}
    return SimpleNamespace(**{"nsjail_section": hookimpl(lambda: ("quota", Quota)), **made})


class Live:
    """A running sandbox, as hooks see it."""

    name = "live"
    pid = 1
    facts: dict[str, Any] = {}  # noqa: RUF012


EVIDENCE = Evidence(status=0, killed=False, timed_out=False, usage={})


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Makes packages that seem to be installed, each with one entry point."""
    names: set[str] = set()

    def make(code: str, *, point: str = "quota", name: str = "nsjail_py_quota") -> None:
        (tmp_path / f"{name}.py").write_text(code)
        info = tmp_path / f"{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[nsjail_py.plugins]\n{point} = {name}\n")
        names.add(name)
        importlib.invalidate_caches()

    monkeypatch.syspath_prepend(tmp_path)
    yield make
    for name in names:
        sys.modules.pop(name, None)


QUOTA = """
from nsjail_py.plugin import Section, hookimpl

class Quota(Section, frozen=True, kw_only=True):
    bytes: int = 0

@hookimpl
def nsjail_section():
    return "quota", Quota
"""


# ---- what is loaded ----


def test_the_built_in_ones_are_always_there() -> None:
    plugins = Plugins()
    assert set(plugins.types) == set(BUILTINS)
    assert plugins.strangers == ()


def test_an_object_is_loaded_for_one_sandbox_alone() -> None:
    mine = plugin()
    plugins = Plugins([mine, mine])
    assert plugins.types["quota"] is Quota
    assert plugins.strangers == ("quota",)
    assert "quota" not in Plugins().types


def test_a_package_is_imported_only_where_its_section_is_used(package: Callable[..., None]) -> None:
    package(QUOTA)
    plugins = Plugins()
    assert ("quota", "nsjail_py_quota") in installed()
    plugins.load_for(["uts", "nothing"])
    assert "nsjail_py_quota" not in sys.modules
    plugins.load_for(["quota"])
    assert plugins.types["quota"] is sys.modules["nsjail_py_quota"].Quota
    plugins.load("quota")
    assert plugins.strangers == ("quota",)


def test_a_package_is_loaded_by_its_name(package: Callable[..., None]) -> None:
    package(QUOTA)
    assert Plugins(["quota"]).strangers == ("quota",)


def test_a_plugin_without_a_section_has_the_name_of_its_entry_point(package: Callable[..., None]) -> None:
    package(
        "from nsjail_py.plugin import Line, hookimpl\n"
        "@hookimpl\n"
        "def nsjail_doctor():\n    yield Line(topic='t', state='yes', detail='d')\n"
    )
    plugins = Plugins(["quota"])
    assert "quota" not in plugins.types
    assert [owner for owner, _ in plugins.doctor(HOST) if owner == "quota"] == ["quota"]


def test_it_says_which_are_loaded() -> None:
    assert repr(Plugins([plugin()])) == f"<Plugins {', '.join([*BUILTINS, 'quota'])}>"


# ---- what is refused ----


def refusal(extra: object) -> str:
    with pytest.raises(PluginError) as caught:
        Plugins([extra])
    return str(caught.value)


def test_one_that_is_not_installed() -> None:
    hint = "install the package that provides it into this environment; nsjail-py plugins lists those there are"
    assert refusal("nobody") == f"no plugin nobody is installed\nhint: {hint}"


def test_one_whose_import_fails(package: Callable[..., None]) -> None:
    package("1 / 0")
    with pytest.raises(PluginError) as caught:
        Plugins(["quota"])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert str(caught.value) == (
        "plugin quota cannot be imported: ZeroDivisionError: division by zero\n"
        "hint: it comes from the package nsjail_py_quota; reinstall or uninstall that"
    )


def test_one_that_two_packages_provide(package: Callable[..., None]) -> None:
    package(QUOTA, name="first")
    package(QUOTA, name="second")
    assert refusal("quota") == "several packages provide a plugin quota: first, second\nhint: uninstall all but one"


def test_one_whose_entry_point_has_another_name(package: Callable[..., None]) -> None:
    package(QUOTA, point="limits")
    assert refusal("limits") == "the entry point limits owns the section quota: the two names must be equal"


def test_two_of_one_section() -> None:
    with pytest.raises(PluginError) as caught:
        Plugins([plugin(), plugin()])
    assert str(caught.value) == "two plugins own the section quota\nhint: load one of them"


def test_one_that_would_replace_a_built_in_one() -> None:
    assert refusal(plugin(nsjail_section=lambda: ("uts", Quota))).startswith("two plugins own the section uts")
    assert Plugins().types["uts"] is not Quota


def test_an_object_without_a_section() -> None:
    assert refusal(3) == "3 owns no section: it needs the hook nsjail_section"


@pytest.mark.parametrize("answer", [None, "quota", ("quota", dict), ("not a name", Quota), (1, Quota)])
def test_a_section_that_is_none(answer: object) -> None:
    text = refusal(plugin(nsjail_section=lambda: answer))
    assert text.endswith(f": nsjail_section: returned {answer!r}, not a name and a type of Section\n{MISTAKE}")


def test_a_hook_that_is_not_marked() -> None:
    mine = plugin()
    mine.nsjail_plan = lambda: None
    assert refusal(mine) == "plugin quota: nsjail_plan is not marked as a hook\nhint: write @hookimpl above it"


def test_a_hook_that_does_not_exist() -> None:
    assert "plugin quota: unknown hook 'nsjail_plna'" in refusal(plugin(nsjail_plna=lambda: None))


def test_a_parameter_that_the_hook_has_not() -> None:
    text = refusal(plugin(nsjail_plan=lambda spec, kernel: None))
    assert text.startswith("plugin quota: ")
    assert "kernel" in text


def test_a_wrapper() -> None:
    def nsjail_plan() -> Iterator[None]:
        yield

    mine = plugin()
    mine.nsjail_plan = pluggy.HookimplMarker("nsjail_py")(nsjail_plan, hookwrapper=True)
    expected = "plugin quota: nsjail_plan is a wrapper, which would come between another and the core"
    assert refusal(mine) == expected


def test_a_refused_plugin_leaves_nothing() -> None:
    plugins = Plugins()
    with pytest.raises(PluginError):
        plugins.load(plugin(nsjail_plna=lambda: None))
    assert "quota" not in plugins.types
    plugins.load(plugin())
    assert plugins.types["quota"] is Quota


# ---- what hooks say ----


def problems_of(check: Callable[..., Any]) -> list[Problem]:
    return Plugins([plugin(nsjail_check=check)]).check(SandboxSpec(), HOST)


def test_a_generator_runs_where_its_mistakes_are_named() -> None:
    def check() -> Iterable[Problem]:
        yield Problem("$.quota", "first")
        raise KeyError("second")

    with pytest.raises(PluginError) as caught:
        problems_of(check)
    assert str(caught.value) == f"plugin quota: nsjail_check: KeyError: 'second'\n{MISTAKE}"
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("error", [SpecError([Problem("$.quota", "wrong")]), FileNotFoundError(2, "missing")])
def test_errors_that_a_hook_may_raise_pass(error: Exception) -> None:
    def check() -> Iterable[Problem]:
        raise error

    with pytest.raises(type(error)) as caught:
        problems_of(check)
    assert caught.value is error


def test_no_problems_may_be_none() -> None:
    assert problems_of(lambda: None) == Plugins().check(SandboxSpec(), HOST)


ASKED: Mapping[str, Callable[[Plugins], object]] = {
    "nsjail_options": lambda plugins: plugins.options(),
    "nsjail_commands": lambda plugins: plugins.commands(),
    "nsjail_check": lambda plugins: plugins.check(SandboxSpec(), HOST),
    "nsjail_plan": lambda plugins: plugins.plan(SandboxSpec(), HOST, "start"),
    "nsjail_usage": lambda plugins: plugins.usage(Live()),
    "nsjail_verdict": lambda plugins: plugins.verdicts(Live(), EVIDENCE),
    "nsjail_explain": lambda plugins: plugins.explain(OSError(), "quota", SandboxSpec(), HOST),
    "nsjail_doctor": lambda plugins: plugins.doctor(HOST),
}


@pytest.mark.parametrize(
    ("hook", "answer", "text"),
    [
        ("nsjail_check", ["text"], "returned str 'text' in place of Problem"),
        ("nsjail_check", "text", "returned str 'text' in place of Problem"),
        ("nsjail_options", [1], "returned int 1 in place of Option"),
        ("nsjail_commands", [1], "returned int 1 in place of Command"),
        ("nsjail_doctor", [1], "returned int 1 in place of Line"),
        ("nsjail_plan", {"flags": 0}, "returned dict {'flags': 0} in place of Part"),
        ("nsjail_usage", 1, "returned int 1 in place of Mapping"),
        ("nsjail_verdict", 1, "returned int 1 in place of str"),
        ("nsjail_explain", 1, "returned int 1 in place of str"),
    ],
)
def test_what_a_hook_must_not_return(hook: str, answer: object, text: str) -> None:
    plugins = Plugins([plugin(**{hook: lambda: answer})])
    with pytest.raises(PluginError) as caught:
        ASKED[hook](plugins)
    assert str(caught.value) == f"plugin quota: {hook}: {text}\n{MISTAKE}"


def test_parts_have_their_owners() -> None:
    part = Part(warnings=("mine",))
    parts = Plugins([plugin(nsjail_plan=lambda: part)]).plan(SandboxSpec(), HOST, "start")
    assert ("quota", part) in parts
    assert [owner for owner, _ in parts] == sorted(owner for owner, _ in parts)


def test_facts_are_plain_data() -> None:
    plugins = Plugins([plugin(nsjail_plan=lambda: Part(facts={"object": object()}))])
    with pytest.raises(PluginError, match="plugin quota: nsjail_plan: its facts cannot be written as JSON: "):
        plugins.plan(SandboxSpec(), HOST, "start")


def test_a_hint_comes_from_the_owner_first() -> None:
    mine = plugin(nsjail_explain=lambda owner: f"mine for {owner}")
    other = plugin(nsjail_section=lambda: ("aaa", Quota), nsjail_explain=lambda owner: f"aaa for {owner}")
    plugins = Plugins([mine, other])
    assert plugins.explain(OSError(), "quota", SandboxSpec(), HOST) == "mine for quota"
    assert plugins.explain(OSError(), "uts", SandboxSpec(), HOST) == "aaa for uts"


def test_another_gives_a_hint_where_the_owner_has_none() -> None:
    mine = plugin(nsjail_explain=lambda: None)
    other = plugin(nsjail_section=lambda: ("zzz", Quota), nsjail_explain=lambda: "zzz")
    assert Plugins([mine, other]).explain(OSError(), "quota", SandboxSpec(), HOST) == "zzz"
    assert Plugins([mine]).explain(OSError(), "quota", SandboxSpec(), HOST) is None


def test_changes_go_to_the_owner_of_the_section_alone() -> None:
    seen: list[tuple[str, Mapping[str, Any]]] = []
    mine = plugin(nsjail_update=lambda changes: seen.append(("quota", changes)))
    other = plugin(nsjail_section=lambda: ("zzz", Quota), nsjail_update=lambda changes: seen.append(("zzz", changes)))
    plugins = Plugins([mine, other])
    plugins.update("quota", Live(), {"bytes": 1})
    assert seen == [("quota", {"bytes": 1})]
    with pytest.raises(UnsupportedError, match="uts cannot be changed while the sandbox runs\nhint: start another one"):
        plugins.update("uts", Live(), {})


def test_a_sweep_that_fails_keeps_no_other_from_its_work() -> None:
    def fail(record: Mapping[str, Any]) -> Iterable[str]:
        raise PermissionError(1, "not yours", record["name"])

    plugins = Plugins(
        [
            plugin(nsjail_sweep=fail),
            plugin(nsjail_section=lambda: ("bbb", Quota), nsjail_sweep=lambda record: [f"swept {record['name']}"]),
            plugin(nsjail_section=lambda: ("ccc", Quota), nsjail_sweep=lambda: 1 / 0),
            plugin(nsjail_section=lambda: ("ddd", Quota), nsjail_sweep=lambda: None),
        ]
    )
    facts = {
        name: value for _, part in plugins.plan(SandboxSpec(), HOST, "start") for name, value in part.facts.items()
    }
    done, failed = plugins.sweep({"name": "box", "facts": facts})
    assert done == ["swept box"]
    assert [(owner, type(error)) for owner, error in failed] == [("ccc", PluginError), ("quota", PermissionError)]


def test_measurements_and_reasons_have_their_owners() -> None:
    plugins = Plugins([plugin(nsjail_usage=lambda process: {"name": process.name}, nsjail_verdict=lambda: "spent")])
    assert ("quota", {"name": "live"}) in plugins.usage(Live())
    assert plugins.verdicts(Live(), EVIDENCE) == [("quota", "spent")]


def test_lines_of_doctor_have_their_owners() -> None:
    line = Line(topic="quota", state="no", detail="none", remedy="buy some")
    assert ("quota", [line]) in Plugins([plugin(nsjail_doctor=lambda: [line])]).doctor(HOST)
