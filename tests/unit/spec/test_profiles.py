from __future__ import annotations

from pathlib import Path

import pytest

from nsjail_py.errors import SpecError
from nsjail_py.spec.codec import decode, read
from nsjail_py.spec.namespaces import Uts
from nsjail_py.spec.profiles import DEFAULT, profile, profile_path, profiles, raw_profile
from nsjail_py.spec.spec import SandboxSpec
from tests.unit.spec.registry import TYPES


def test_what_there_is() -> None:
    assert profiles() == ("default", "trusted")
    assert DEFAULT in profiles()


@pytest.mark.parametrize("name", profiles())
def test_each_decodes(name: str) -> None:
    assert profile(name, TYPES) == decode(raw_profile(name), "toml", TYPES)


def test_the_default_profile_is_not_read_because_it_says_nothing() -> None:
    assert read(profile_path(DEFAULT)) == {}
    assert profile(DEFAULT, TYPES) == SandboxSpec()
    assert raw_profile(DEFAULT) == {}


def test_today_trusted_says_no_more_than_the_defaults() -> None:
    spec = profile("trusted", TYPES)
    assert spec.names() == ("user", "privileges")
    assert all(section == type(section)() for _, section in spec.items())


def test_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[uts]\nhostname = "mine"\n')
    assert profile(str(file), TYPES) == SandboxSpec(uts=Uts(hostname="mine"))


def test_what_is_a_path() -> None:
    for path in ("mine.toml", "mine.json", "./mine", "/etc/mine"):
        assert profile_path(path) == path


def test_an_unknown_name() -> None:
    with pytest.raises(SpecError) as caught:
        profile("trustet", TYPES)
    expected = "profile: no such profile: 'trustet'\nhint: did you mean trusted?, or give the path of a file"
    assert str(caught.value) == expected


def test_a_missing_file() -> None:
    with pytest.raises(SpecError) as caught:
        profile("/nonexistent/mine", TYPES)
    assert str(caught.value) == "/nonexistent/mine: cannot be read: No such file or directory"
