from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nsjail_py.errors import SpecError
from nsjail_py.spec import codec
from nsjail_py.spec.mnt import Bind, Dev, Directory, File, Mnt, Mount, Proc, Root, Symlink, Tmpfs
from nsjail_py.spec.namespaces import Timens, Uts
from nsjail_py.spec.process import Process
from nsjail_py.spec.spec import SandboxSpec
from tests.unit.spec.registry import TYPES, Quota, Rule

PATH = "an absolute path without .. and NUL characters"

EXAMPLE = SandboxSpec(
    mnt=Mnt(
        view="empty",
        proc="try",
        mounts=(
            Bind(source="/usr", target="/usr"),
            Bind(source="/srv/data", target="/data", writable=True),
            Tmpfs(target="/tmp", size="256M"),
            Symlink(target="/bin", to="usr/bin"),
            File(target="/etc/motd", content="hello\n"),
        ),
    ),
    uts=Uts(hostname="web"),
    process=Process(env={"LANG": "C", "odd key.": '"'}, timeout=2.5),
)

TOML = r"""[mnt]
view = "empty"
proc = "try"

[[mnt.mounts]]
kind = "bind"
target = "/usr"
source = "/usr"

[[mnt.mounts]]
kind = "bind"
target = "/data"
source = "/srv/data"
writable = true

[[mnt.mounts]]
kind = "tmpfs"
target = "/tmp"
size = "256M"

[[mnt.mounts]]
kind = "symlink"
target = "/bin"
to = "usr/bin"

[[mnt.mounts]]
kind = "file"
target = "/etc/motd"
content = "hello\n"

[uts]
hostname = "web"

[process]
timeout = 2.5

[process.env]
LANG = "C"
"odd key." = "\""
"""


def wrong(raw: object, format: codec.Format = "toml") -> str:  # noqa: A002
    with pytest.raises(SpecError) as caught:
        codec.decode(raw, format, TYPES)  # type: ignore[arg-type]
    return str(caught.value)


def test_toml_in_and_out() -> None:
    assert codec.encode(EXAMPLE, "toml") == TOML
    assert codec.decode(TOML, "toml", TYPES) == EXAMPLE
    assert codec.decode(TOML.encode(), "toml", TYPES) == EXAMPLE


def test_json_in_and_out() -> None:
    text = codec.encode(SandboxSpec(uts=Uts(hostname="web"), quota=Quota(ratio=None)), "json")
    assert text == '{\n  "uts": {\n    "hostname": "web"\n  },\n  "quota": {\n    "ratio": null\n  }\n}\n'
    assert codec.decode(codec.encode(EXAMPLE, "json"), "json", TYPES) == EXAMPLE


def test_plain_dictionaries() -> None:
    assert codec.decode(codec.raw(EXAMPLE), "toml", TYPES) == EXAMPLE
    assert codec.decode({}, "json", TYPES) == SandboxSpec()


def test_defaults_are_left_out_by_value_not_by_identity() -> None:
    decoded = codec.decode('[uts]\nmode = "on"\nhostname = "sandbox"\n', "toml", TYPES)
    assert codec.raw(decoded) == {"uts": {}}
    assert codec.encode(decoded, "toml") == "[uts]\n"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            {"mnt": {"mounts": [{"kind": "bind", "target": "srv"}]}},
            "$.mnt.mounts[0].target: expected an absolute path without .. and NUL characters, got 'srv'",
        ),
        (
            {"mnt": {"mounts": [{"kind": "proc", "target": "/proc"}, {"kind": "tmpfs", "target": "/x", "size": "1x"}]}},
            "$.mnt.mounts[1].size: expected a size: bytes as a number, or text such as 64k, 256M or 1.5G, got '1x'",
        ),
        (
            {"mnt": {"mounts": [{"kind": "bind", "target": "/a", "sorce": "/b"}]}},
            "$.mnt.mounts[0].sorce: unknown key\nhint: did you mean source?",
        ),
        (
            {"mnt": {"mounts": [{"kind": "symlnk", "target": "/a"}]}},
            "$.mnt.mounts[0].kind: unknown value 'symlnk'\nhint: did you mean symlink?",
        ),
        (
            {"mnt": {"mounts": [{"target": "/a"}]}},
            "$.mnt.mounts[0].kind: is missing\nhint: one of: bind, tmpfs, proc, dev, mqueue, sysfs, overlay, "
            "directory, symlink, file, mask",
        ),
        ({"mnt": {"mounts": [{"kind": "proc"}]}}, f"$.mnt.mounts[0].target: is missing\nhint: give it {PATH}"),
        ({"mnt": {"mounts": ["/a"]}}, "$.mnt.mounts[0]: expected a table, got '/a'"),
        ({"mnt": {"mounts": {}}}, "$.mnt.mounts: expected a list, got a table"),
        ({"mnt": {"root": {"writable": True}}}, f"$.mnt.root.path: is missing\nhint: give it {PATH}"),
        ({"mnt": {"root": {"path": "/a", "rw": True}}}, "$.mnt.root.rw: unknown key\nhint: one of: path, writable"),
        (
            {"mnt": {"overlay": {"lower": []}}},
            "$.mnt.overlay.lower: expected a list of at least one absolute path, got an empty list",
        ),
        ({"mnt": {"view": "hots"}}, "$.mnt.view: unknown value 'hots'\nhint: did you mean host?"),
        ({"mnt": {"view": "full"}}, "$.mnt.view: unknown value 'full'\nhint: one of: empty, host"),
        ({"mnt": {"view": 3}}, "$.mnt.view: expected 'empty' or 'host', got 3"),
        ({"mnt": {"proc": "no"}}, "$.mnt.proc: expected true or false or 'try', got 'no'"),
        ({"mnt": 3}, "$.mnt: expected a table, got 3"),
        (
            {"uts": {"hostname": "web\n"}},
            "$.uts.hostname: expected a host name of letters, digits, '-' and '.', at most 64 long, got 'web\\n'",
        ),
        (
            {"net": {"mode": "bridge"}},
            "$.net.mode: expected loopback, none, host, on, off, try, path:PATH, pid:PID, fd:FD or name:NAME, "
            "got 'bridge'",
        ),
        (
            {"ipc": {"mode": True}},
            "$.ipc.mode: expected on, off, try, path:PATH, pid:PID, fd:FD or name:NAME, got true",
        ),
        ({"user": {"count": 0}}, "$.user.count: expected a whole number >= 1 and <= 4294967294, got 0"),
        (
            {"user": {"uids": ["0:1000"]}},
            "$.user.uids[0]: expected a range of ids as INSIDE:OUTSIDE:COUNT, got '0:1000'",
        ),
        ({"process": {"env": {"A": 1}}}, "$.process.env.A: expected text without a NUL character, got 1"),
        (
            {"process": {"env": {"A": "1", "B": "\0"}}},
            r"$.process.env.B: expected text without a NUL character, got '\x00'",
        ),
        (
            {"process": {"env": {"A=B": "1"}}},
            "$.process.env: expected each key to be a variable's name without '=' and NUL characters",
        ),
        ({"process": {"timeout": 0}}, "$.process.timeout: expected a number > 0 and <= 2000000, got 0"),
        ({"process": {"timeout": "5s"}}, "$.process.timeout: expected a number > 0 and <= 2000000, got '5s'"),
        (
            {"process": {"umask": 22}},
            "$.process.umask: expected permission bits in octal as text, such as '755', got 22",
        ),
        ({"process": {"user": "a b"}}, "$.process.user: expected UID, UID:GID, NAME or NAME:GROUP, got 'a b'"),
        (
            {"privileges": {"capabilities": ["net_raw"]}},
            "$.privileges.capabilities[0]: expected a capability's name, such as CAP_NET_BIND_SERVICE, got 'net_raw'",
        ),
        (
            {"timens": {"boottime": 1e30}},
            "$.timens.boottime: expected a number >= -4611686018 and <= 4611686018, got 1e+30",
        ),
        ({"quota": {"levels": {"a": 1, "b": "x"}}}, "$.quota.levels.b: expected a whole number >= 0, got 'x'"),
        ({"quota": {"levels": {"a": -1}}}, "$.quota.levels.a: expected a whole number >= 0, got -1"),
        (
            {"quota": {"named": {"a": {"pattern": "x"}, "b": {}}}},
            "$.quota.named.b.pattern: is missing\nhint: give it text",
        ),
        ({"quota": {"matrix": [[1], [2, "x"]]}}, "$.quota.matrix[1][1]: expected a whole number, got 'x'"),
        ({"quota": {"strict": None}}, "$.quota.strict: expected true or false, got null"),
        ({"quota": {"words": "x" * 99}}, f"$.quota.words: expected a list, got '{'x' * 56}..."),
        (
            {"utz": {}},
            "$.utz: unknown section\n"
            "hint: did you mean uts? (a section of another package needs its plugin to be named)",
        ),
    ],
)
def test_every_problem_names_its_path(raw: dict[str, Any], message: str) -> None:
    assert wrong(raw) == message


def test_the_sections_problems_come_together() -> None:
    problems = wrong({"uts": {"host": "x"}, "net": {"mode": 1}, "nett": {}}).splitlines()
    assert [line.partition(": ")[0] for line in problems if not line.startswith("hint")] == [
        "$.uts.host",
        "$.net.mode",
        "$.nett",
    ]


def test_an_empty_table() -> None:
    assert codec.decode("[uts]\n[quota]\n", "toml", TYPES) == SandboxSpec(uts=Uts(), quota=Quota())
    with pytest.raises(SpecError) as caught:
        codec.decode("[rule]\n", "toml", {"rule": Rule})
    assert str(caught.value) == "$.rule.pattern: is missing\nhint: give it text"


def test_a_section_where_no_plugin_is_loaded() -> None:
    with pytest.raises(SpecError) as caught:
        codec.decode({"uts": {}}, "toml", {})
    assert caught.value.problems[0].hint == (
        "no plugin is loaded (a section of another package needs its plugin to be named)"
    )


def test_text_that_is_not_of_the_format() -> None:
    assert wrong("uts = ") == "$: not TOML: invalid value (at end of document)"
    assert wrong("{", "json") == "$: not JSON: input data was truncated"
    assert wrong(b"\xff") == "$: not TOML: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"
    assert wrong(b'{"\xff": 1}', "json").startswith("$: not JSON: ")
    assert wrong("[]", "json") == "$: expected one table a section, got an empty list"


class TestCheck:
    def test_a_spec_made_in_python_comes_back_in_the_decoders_types(self) -> None:
        loose = SandboxSpec(
            mnt=Mnt(mounts=[Bind(source=Path("/srv"), target="/data")]),  # type: ignore[arg-type]
            timens=Timens(boottime=3),
        )
        strict = codec.check(loose, TYPES)
        assert strict == SandboxSpec(
            mnt=Mnt(mounts=(Bind(source="/srv", target="/data"),)), timens=Timens(boottime=3.0)
        )
        assert codec.check(strict, TYPES) == strict

    def test_it_finds_what_a_constructor_does_not(self) -> None:
        with pytest.raises(SpecError) as caught:
            codec.check(SandboxSpec(uts=Uts(hostname="-"), mnt=Mnt(root=Root(path="x"))), TYPES)
        assert [problem.path for problem in caught.value.problems] == ["$.uts.hostname", "$.mnt.root.path"]

    def test_an_object_that_no_spec_can_hold(self) -> None:
        with pytest.raises(SpecError) as caught:
            codec.check(SandboxSpec(uts=Uts(hostname=object())), TYPES)  # type: ignore[arg-type]
        assert str(caught.value).startswith("$.uts: holds what a spec cannot hold: ")

    def test_undecodable_paths_are_valid(self) -> None:
        odd = os.fsdecode(b"/srv/\xff")
        spec = SandboxSpec(mnt=Mnt(mounts=(Bind(source=odd, target="/a"),)))
        assert codec.check(spec, TYPES) == spec


class TestEncode:
    def test_a_null_in_toml(self) -> None:
        with pytest.raises(SpecError) as caught:
            codec.encode(SandboxSpec(quota=Quota(ratio=None)), "toml")
        assert str(caught.value) == "$: TOML cannot express null in quota.ratio\nhint: JSON can express it"

    @pytest.mark.parametrize("format", ["toml", "json"])
    def test_an_undecodable_path(self, format: codec.Format) -> None:  # noqa: A002
        with pytest.raises(SpecError) as caught:
            codec.encode(SandboxSpec(mnt=Mnt(root=Root(path="/srv/\udcff"))), format)
        assert str(caught.value) == f"$: {format.upper()} is UTF-8, which cannot express '\\udcff'"


class TestFiles:
    def test_the_suffix_tells_the_format(self, tmp_path: Path) -> None:
        for suffix, format in (("toml", "toml"), ("json", "json"), ("conf", "toml")):  # noqa: A001
            file = tmp_path / f"box.{suffix}"
            file.write_text(codec.encode(EXAMPLE, format))  # type: ignore[arg-type]
            assert codec.load(file, TYPES) == EXAMPLE
            assert codec.read(str(file)) == codec.raw(EXAMPLE)

    def test_problems_name_the_file(self, tmp_path: Path) -> None:
        file = tmp_path / "box.toml"
        file.write_text("[uts]\nhost = 1\n")
        with pytest.raises(SpecError) as caught:
            codec.load(file, TYPES)
        assert str(caught.value) == f"{file}: $.uts.host: unknown key\nhint: did you mean hostname?"
        file.write_text("[uts\n")
        with pytest.raises(SpecError) as caught:
            codec.load(file, TYPES)
        assert caught.value.problems[0].path == f"{file}: $"
        assert caught.value.problems[0].message.startswith("not TOML: expected ']' ")

    def test_a_file_that_cannot_be_read(self, tmp_path: Path) -> None:
        for path, reason in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
            with pytest.raises(SpecError) as caught:
                codec.load(path, TYPES)
            assert str(caught.value) == f"{path}: cannot be read: {reason}"


class TestMergeRaw:
    def test_tables_by_key_lists_by_appending_others_replace(self) -> None:
        merged = codec.merge_raw(
            [
                {"mnt": {"mounts": [1], "view": "host"}, "uts": {"hostname": "a"}},
                {"mnt": {"mounts": (2,), "view": "empty"}},
                {"mnt": {"mounts": [3]}, "net": {"mode": "none"}},
            ]
        )
        assert merged == {
            "mnt": {"mounts": [1, 2, 3], "view": "empty"},
            "uts": {"hostname": "a"},
            "net": {"mode": "none"},
        }

    def test_an_explicit_default_wins(self) -> None:
        merged = codec.merge_raw([{"uts": {"mode": "off"}}, {"uts": {"mode": "on"}}])
        assert codec.decode(merged, "toml", TYPES).section("uts", Uts).mode == "on"

    def test_what_is_merged_stays_as_it_was(self) -> None:
        first: dict[str, Any] = {"mnt": {"mounts": [1]}}
        codec.merge_raw([first, {"mnt": {"mounts": [2]}}])
        assert first == {"mnt": {"mounts": [1]}}

    def test_a_table_over_a_value_and_a_value_over_a_table(self) -> None:
        assert codec.merge_raw([{"a": 1}, {"a": {"b": 1}}, {"a": [1]}]) == {"a": [1]}
        assert codec.merge_raw([]) == {}


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
paths = texts.filter(lambda text: ".." not in text).map(lambda text: f"/{text}")
sizes = st.integers(0, 2**62) | st.from_regex(r"\A[0-9]{1,4}(\.[0-9]{1,3})?[kKMGTP]\Z").filter(str.isascii)
floats = st.floats(allow_nan=False, allow_infinity=False)
mounts: st.SearchStrategy[Mount] = st.one_of(
    st.builds(
        Bind, target=paths, source=st.none() | paths, writable=st.booleans(), idmap=st.sampled_from(["auto", "no"])
    ),
    st.builds(Tmpfs, target=paths, size=sizes, inodes=st.none() | st.integers(1, 2**40), owned=st.booleans()),
    st.builds(Proc, target=paths),
    st.builds(Dev, target=paths, shm=sizes),
    st.builds(Directory, target=paths, mode=st.sampled_from(["700", "1777", "755"])),
    st.builds(File, target=paths, content=texts),
)
rules = st.builds(Rule, pattern=texts, weight=floats)
specs = st.builds(
    SandboxSpec,
    mnt=st.builds(
        Mnt,
        root=st.none() | st.builds(Root, path=paths, writable=st.booleans()),
        mounts=st.lists(mounts, max_size=4).map(tuple),
        proc=st.sampled_from([True, False, "try"]),
        masks=st.lists(paths, max_size=3).map(tuple),
    ),
    process=st.builds(
        Process,
        env=st.dictionaries(texts.filter(lambda text: text != "" and "=" not in text), texts, max_size=4),
        groups=st.lists(st.integers(0, 2**32 - 2), max_size=3).map(tuple),
        timeout=st.none() | st.floats(0.001, 2e6),
    ),
    quota=st.builds(
        Quota,
        bytes=sizes,
        memory=st.none() | sizes.map(lambda size: f"try {size}"),
        rules=st.lists(rules, max_size=3).map(tuple),
        first=st.none() | rules,
        named=st.dictionaries(texts, rules, max_size=3),
        matrix=st.lists(st.lists(st.integers(-(2**62), 2**62), max_size=3).map(tuple), max_size=3).map(tuple),
        levels=st.dictionaries(texts, st.integers(0, 9), max_size=3),
        words=st.lists(texts, max_size=3).map(tuple),
        ratio=floats,
        strict=st.booleans(),
    ),
)


@given(specs, st.sampled_from(["toml", "json"]))
def test_every_spec_survives_the_round_trip(spec: SandboxSpec, format: codec.Format) -> None:  # noqa: A002
    again = codec.decode(codec.encode(spec, format), format, TYPES)
    assert again == spec
    assert hash(again) == hash(spec)
    assert again.digest() == spec.digest()
    assert codec.encode(again, format) == codec.encode(spec, format)


@given(specs)
def test_checking_a_right_spec_changes_nothing(spec: SandboxSpec) -> None:
    assert codec.check(spec, TYPES) == spec


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | floats | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
SECTIONS = st.sampled_from(["mnt", "uts", "process", "quota", "user", "timens"])
KEYS = st.sampled_from(["mode", "mounts", "env", "named", "levels", "rules", "first", "proc", "root", "uids", "matrix"])


@example({"quota": {"named": {"": None}}})
@given(st.dictionaries(SECTIONS, json_values | st.dictionaries(KEYS, json_values), max_size=3))
def test_any_plain_value_is_a_spec_or_a_spec_error(raw: dict[str, Any]) -> None:
    try:
        spec = codec.decode(raw, "json", TYPES)
    except SpecError as error:
        for problem in error.problems:
            assert problem.path.partition(".")[0] == "$"
            assert problem.message
    else:
        assert set(spec.names()) == set(raw)
