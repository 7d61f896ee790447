"""Who the payload is: names and defaults into numbers, read from the root's own files and never out of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nsjail_py.engine.identity import Identity, settle
from nsjail_py.errors import SpecError
from nsjail_py.linux.host import Host
from nsjail_py.plugin import SandboxSpec, Section
from nsjail_py.plugin.sections import Mnt, Process, User
from nsjail_py.spec.mnt import OverlayRoot, Root
from tests.plugins.mnt.hosts import ROOT, USER

PASSWD = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:2:daemon:/usr/sbin:/usr/sbin/nologin
web:x:33:34::/srv/web:/bin/sh
broken:x:many:many::/:/bin/sh
short:x
relative:x:44:44::srv:/bin/sh
"""
GROUP = "root:x:0:\nwww:x:55:web\nbroken:x:many:\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root directory with accounts of its own."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text(PASSWD)
    (tmp_path / "etc" / "group").write_text(GROUP)
    return tmp_path


def settled(who: str | None, *, root: Path | None = None, host: Host = ROOT, **sections: Section) -> Identity:
    mnt = {"mnt": Mnt(root=Root(path=str(root)))} if root is not None else {}
    spec, identity = settle(SandboxSpec(**{"process": Process(user=who), **mnt, **sections}), host)
    assert spec.section("process", Process).user == f"{identity.uid}:{identity.gid}"
    return identity


def refusal(user: str, root: Path | None = None) -> str:
    with pytest.raises(SpecError) as caught:
        settled(user, root=root)
    return str(caught.value)


# ---- defaults ----


def test_root_of_a_root_directory(root: Path) -> None:
    assert settled(None, root=root) == Identity(0, 0, "/root")
    assert settled(None, root=root, host=USER) == Identity(0, 0, "/root")


def test_user_in_the_host_view() -> None:
    assert settled(None) == Identity(1000, 1000, "/home/user")
    assert settled(None, host=USER) == Identity(1234, 1234, "/home/user")


def test_the_callers_own_ids_where_they_are_kept() -> None:
    assert settled(None, host=USER, user=User(map="keep")) == Identity(1234, 1234, "/home/user")
    assert settled(None, user=User(map="keep")) == Identity(0, 0, "/root")


def test_never_the_hosts_root_unasked() -> None:
    assert settled(None, user=User(mode="off")) == Identity(65534, 65534, "/home/user")
    assert settled(None, host=USER, user=User(mode="off")) == Identity(1234, 1234, "/home/user")
    assert settled("0", user=User(mode="off")).uid == 0


def test_an_empty_root_has_no_homes() -> None:
    assert settled(None, mnt=Mnt(view="empty")).home == "/"


# ---- names and numbers ----


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("web", (33, 34, "/srv/web")),
        ("33", (33, 34, "/srv/web")),
        ("web:www", (33, 55, "/srv/web")),
        ("web:7", (33, 7, "/srv/web")),
        ("700", (700, 700, "/")),
        ("700:55", (700, 55, "/")),
        ("root", (0, 0, "/root")),
        ("relative", (44, 44, "/")),
    ],
)
def test_names_are_those_of_the_root(root: Path, user: str, expected: tuple[int, int, str]) -> None:
    assert settled(user, root=root) == Identity(*expected)


def test_the_lowest_layer_has_the_accounts_of_an_overlay(root: Path) -> None:
    mnt = Mnt(overlay=OverlayRoot(lower=(str(root),)))
    assert settled("web", mnt=mnt).uid == 33


@pytest.mark.parametrize(("user", "uid"), [("root", 0), ("user", 1000), ("nobody", 65534)])
def test_names_of_the_host_view(user: str, uid: int) -> None:
    assert settled(user).uid == uid


@pytest.mark.parametrize("user", ["nobody-there", "broken", "4294967295", "99999999999"])
def test_a_user_that_is_none(root: Path, user: str) -> None:
    hint = "give a number, or a name of the root's /etc/passwd"
    assert refusal(user, root) == f"$.process.user: there is no user {user} inside\nhint: {hint}"


@pytest.mark.parametrize("group", ["nothing", "broken"])
def test_a_group_that_is_none(root: Path, group: str) -> None:
    hint = "give a number, or a name of the root's /etc/group"
    assert refusal(f"web:{group}", root) == f"$.process.user: there is no group {group} inside\nhint: {hint}"


# ---- hostile roots ----


def test_accounts_are_never_read_out_of_the_root(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "passwd"
    outside.write_text("intruder:x:1:1::/:/bin/sh\n")
    (root / "etc" / "passwd").unlink()
    for target in (str(outside), "../" * 30 + str(outside).lstrip("/")):
        (root / "etc" / "passwd").symlink_to(target)
        assert "there is no user intruder" in refusal("intruder", root)
        (root / "etc" / "passwd").unlink()


def test_a_link_within_the_root_is_followed_as_the_payload_would(root: Path) -> None:
    os.rename(root / "etc" / "passwd", root / "accounts")
    (root / "etc" / "passwd").symlink_to("/accounts")
    assert settled("web", root=root).uid == 33


def test_a_fifo_keeps_nobody_waiting(root: Path) -> None:
    (root / "etc" / "passwd").unlink()
    os.mkfifo(root / "etc" / "passwd")
    assert settled("700", root=root) == Identity(700, 700, "/")


def test_a_directory_holds_no_accounts(root: Path) -> None:
    (root / "etc" / "passwd").unlink()
    (root / "etc" / "passwd").mkdir()
    assert settled("nobody", root=root).uid == 65534


@pytest.mark.parametrize("number", ["9" * 5000, str(2**32 - 1), "-1", "²", ""])
def test_numbers_that_are_no_ids(root: Path, number: str) -> None:
    (root / "etc" / "passwd").write_text(f"web:x:33:{number}::/:\nbad:x:{number}:33::/:\n")
    assert settled("web", root=root).gid == 33
    with pytest.raises(SpecError, match="there is no user bad inside"):
        settled("bad", root=root)


def test_a_home_that_is_no_path(root: Path) -> None:
    (root / "etc" / "passwd").write_text("root:x:0:0::/a\0b:/bin/sh\n")
    assert settled("root", root=root).home == "/root"


def test_an_endless_file_is_not_read_to_its_end(root: Path) -> None:
    with (root / "etc" / "passwd").open("ab") as file:
        file.truncate(1 << 40)
    assert settled("web", root=root).uid == 33


def test_bytes_that_are_no_text(root: Path) -> None:
    (root / "etc" / "passwd").write_bytes(b"\xff\xfe:x:1:1::/:\nweb:x:33:34::/srv/web:\n")
    assert settled("web", root=root).uid == 33


def test_a_root_without_accounts(tmp_path: Path) -> None:
    assert settled("0", root=tmp_path) == Identity(0, 0, "/root")
    assert settled("root", root=tmp_path).uid == 0
    assert settled("5", root=tmp_path / "missing").uid == 5
