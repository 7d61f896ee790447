"""What is read of a host's root, in made-up ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from nsjail_py.linux.host import Host
from nsjail_py.linux.hostview import Entry, HostView, in_home, is_home, read_host_view


def test_a_merged_usr_is_links_and_an_older_one_directories(tmp_path: Path) -> None:
    (tmp_path / "usr" / "bin").mkdir(parents=True)
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "sbin").symlink_to("/usr/bin")
    (tmp_path / "lib").mkdir()
    assert read_host_view(str(tmp_path)).programs == (
        Entry("/bin", link="usr/bin"),
        Entry("/lib", directory=True),
        Entry("/sbin", link="/usr/bin"),
        Entry("/usr", directory=True),
    )


def test_a_link_is_kept_where_it_leads_to_something_that_is_shown(tmp_path: Path) -> None:
    """A link to elsewhere becomes what it leads to, and one to nowhere is left out."""
    etc = tmp_path / "etc"
    for directory in ("usr/share/zoneinfo/UTC", "etc/ssl", "etc/pki/tls/certs", "run"):
        (tmp_path / directory).mkdir(parents=True)
    (etc / "localtime").symlink_to("../usr/share/zoneinfo/UTC")
    (etc / "ssl" / "certs").symlink_to("../pki/tls/certs")
    (tmp_path / "run" / "resolv.conf").touch()
    (etc / "resolv.conf").symlink_to("../run/resolv.conf")
    (etc / "alternatives").symlink_to("/nowhere")
    assert read_host_view(str(tmp_path)).settings == (
        Entry("/etc/localtime", link="../usr/share/zoneinfo/UTC"),
        Entry("/etc/pki/tls/certs", directory=True),
        Entry("/etc/resolv.conf"),
        Entry("/etc/ssl/certs", link="../pki/tls/certs"),
    )


def test_accounts_and_keys_are_never_shown(tmp_path: Path) -> None:
    for name in ("passwd", "shadow", "group", "hosts", "ssl/private/key"):
        (tmp_path / "etc" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "etc" / name).touch()
    assert read_host_view(str(tmp_path)) == HostView(programs=(), settings=())


def test_a_recorded_host_keeps_its_view() -> None:
    host = Host.probe()
    assert Host.from_dict(host.to_dict()).view == host.view == read_host_view("/")


@pytest.mark.parametrize(
    ("path", "home", "inside"),
    [
        ("/root", True, False),
        ("/home", True, False),
        ("/home/somebody", True, True),
        ("/home/somebody/project", False, True),
        ("/root/.pyenv/versions/3.11.7", False, True),
        ("/srv/people/me", True, False),
        ("/srv/people", True, False),
        ("/srv/people/me/project", False, True),
        ("/srv/people/metoo", False, False),
        ("/usr", False, False),
    ],
)
def test_what_is_a_home(monkeypatch: pytest.MonkeyPatch, path: str, home: bool, inside: bool) -> None:
    monkeypatch.setenv("HOME", "/srv/people/me")
    assert (is_home(path), in_home(path)) == (home, inside)
