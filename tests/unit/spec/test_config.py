from __future__ import annotations

from pathlib import Path

import pytest

from nsjail_py.errors import SpecError
from nsjail_py.spec.config import Config, config_path, load_config


@pytest.mark.parametrize(
    ("environment", "path"),
    [
        ({"XDG_CONFIG_HOME": "/x", "HOME": "/h"}, "/x/nsjail-py/config.toml"),
        ({"HOME": "/h"}, "/h/.config/nsjail-py/config.toml"),
        ({"XDG_CONFIG_HOME": "", "HOME": "/h"}, "/h/.config/nsjail-py/config.toml"),
        ({"XDG_CONFIG_HOME": "relative", "HOME": "/h"}, "/h/.config/nsjail-py/config.toml"),
        ({"HOME": "relative"}, None),
        ({}, None),
    ],
)
def test_where_it_is(environment: dict[str, str], path: str | None) -> None:
    assert config_path(environment) == path


def test_without_a_file_the_defaults_apply(tmp_path: Path) -> None:
    assert load_config(str(tmp_path / "none.toml")) == Config(profile="default", plugins=())
    assert load_config(None) == Config()


def test_what_it_says(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('profile = "trusted"\nplugins = ["quota", "gpu"]\n')
    assert load_config(str(file)) == Config(profile="trusted", plugins=("quota", "gpu"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("profil = 'x'", "$.profil: unknown key\nhint: did you mean profile?"),
        ("profile = 3", "$.profile: expected a profile's name or path, got 3"),
        ("plugins = 'x'", "$.plugins: expected a list, got 'x'"),
        ("plugins = ['x', '']", "$.plugins[1]: expected a plugin's name, got ''"),
        ("x", "$: not TOML: expected '=' after a key in a key/value pair (at end of document)"),
    ],
)
def test_what_is_wrong_with_it(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(SpecError) as caught:
        load_config(str(file))
    assert str(caught.value) == f"{file}: {message}"


def test_a_broken_link_is_an_error_not_a_missing_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.symlink_to(tmp_path / "gone")
    with pytest.raises(SpecError) as caught:
        load_config(str(file))
    assert str(caught.value) == f"{file}: cannot be read: No such file or directory"
