"""Targets walked through a root directory as if that were the root."""

from __future__ import annotations

from pathlib import Path

import pytest

from nsjail_py_plugins.mnt.targets import Found, find


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    (made / "run" / "lock").mkdir(parents=True)
    (made / "var").mkdir()
    (made / "var" / "run").symlink_to("/run")
    (made / "var" / "lock").symlink_to("../run/lock")
    (made / "var" / "far").symlink_to("../../host")
    (made / "var" / "host").symlink_to("/host")
    (made / "var" / "chain").symlink_to("far/on")
    (made / "loop").symlink_to("loop")
    (made / "file").touch()
    (made / "dangling").symlink_to("nowhere")
    return made


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/run", Found(True)),
        ("/run/./lock/", Found(True)),
        ("/file", Found(True)),
        ("/run/absent", Found(False)),
        ("/absent/deep/er", Found(False)),
        ("/var/run/lock", Found(True)),
        ("/var/run/absent", Found(False)),
        ("/var/lock", Found(True)),
        ("/dangling", Found(False)),
        ("/var/far", Found(False, "/var/far -> ../../host")),
        ("/var/far/below", Found(False, "/var/far -> ../../host")),
        ("/var/chain", Found(False, "/var/far -> ../../host")),
        ("/var/host/x", Found(False, "/var/host -> /host")),
        ("/loop", Found(False, "/loop -> loop")),
        ("/../etc", Found(False, "/../etc -> ..")),
    ],
)
def test_where_a_target_leads(root: Path, target: str, expected: Found) -> None:
    assert find(str(root), target) == expected


def test_a_root_that_is_named_with_a_slash(root: Path) -> None:
    assert find(f"{root}/", "/var/run") == Found(True)
