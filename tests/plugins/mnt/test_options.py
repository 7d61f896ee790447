"""Command-line options and what they set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from nsjail_py_plugins import mnt

OPTIONS = {option.flag: option for option in mnt.nsjail_options()}


def filled(flag: str, value: Any) -> Any:
    return OPTIONS[flag].fill(value)["mnt"]


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("--rootfs", "/srv/root", {"root": {"path": "/srv/root"}}),
        ("--rw", True, {"root": {"writable": True}}),
        ("--overlay", "/a:/b", {"overlay": {"lower": ["/a", "/b"]}}),
        ("--overlay", "/with\\:colon", {"overlay": {"lower": ["/with:colon"]}}),
        ("--overlay-keep", "/keep", {"overlay": {"upper": "/keep"}}),
        ("--empty", True, {"view": "empty"}),
        ("--proc", "try", {"proc": "try"}),
        ("--proc", "off", {"proc": False}),
        ("--proc", "on", {"proc": True}),
        ("--no-dev", True, {"dev": False}),
        ("--bind", "/a", {"mounts": [{"kind": "bind", "source": "/a", "target": "/a"}]}),
        ("--bind", "/a:/b", {"mounts": [{"kind": "bind", "source": "/a", "target": "/b"}]}),
        ("--bind", "/a:ro", {"mounts": [{"kind": "bind", "source": "/a", "target": "/a"}]}),
        ("--bind", "/a:rw", {"mounts": [{"kind": "bind", "source": "/a", "target": "/a", "writable": True}]}),
        ("--bind", "/a:/b:rw", {"mounts": [{"kind": "bind", "source": "/a", "target": "/b", "writable": True}]}),
        ("--bind", "/a\\:b", {"mounts": [{"kind": "bind", "source": "/a:b", "target": "/a:b"}]}),
        (
            "--bind-sensitive",
            "/run",
            {"mounts": [{"kind": "bind", "source": "/run", "target": "/run", "sensitive": True}]},
        ),
        ("--tmpfs", "/t", {"mounts": [{"kind": "tmpfs", "target": "/t"}]}),
        ("--tmpfs", "/t:16M", {"mounts": [{"kind": "tmpfs", "target": "/t", "size": "16M"}]}),
    ],
)
def test_an_option_sets(flag: str, value: Any, expected: Any) -> None:
    assert filled(flag, value) == expected


def test_relative_paths_are_the_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    [mount] = filled("--bind", ".")["mounts"]
    assert (mount["source"], mount["target"]) == (os.getcwd(), os.getcwd())
    assert filled("--rootfs", "root")["root"]["path"] == str(tmp_path / "root")
    assert filled("--overlay", "a:../b")["overlay"]["lower"] == [str(tmp_path / "a"), str(tmp_path.parent / "b")]


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--bind", "", "the source of a bind is empty"),
        ("--bind", "/a:/b:/c", "not SRC[:DST][:ro|rw]: /a:/b:/c"),
        ("--bind", "/a:b", "a place in the sandbox is an absolute path, not 'b'"),
        ("--tmpfs", "t", "a place in the sandbox is an absolute path, not 't'"),
        ("--tmpfs", "/t:1M:x", "not DST[:SIZE]: /t:1M:x"),
        ("--tmpfs", "/t:much", "not a size: bytes as a number, or text such as 64k, 256M or 1.5G: 'much'"),
        ("--overlay", "/a::/b", "a directory of an overlay is empty"),
        ("--rootfs", "", "the root is empty"),
        ("--overlay-keep", "", "the directory for changes is empty"),
        ("--proc", "maybe", "not on, off or try: maybe"),
    ],
)
def test_what_an_option_does_not_take(flag: str, value: str, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        filled(flag, value)
    assert str(raised.value) == message


def test_a_working_directory_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ValueError, match="data is relative to the working directory, which has been removed"):
        filled("--bind", "data")
    assert filled("--bind", "/data")["mounts"][0]["source"] == "/data"
