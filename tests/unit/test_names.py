"""What can be imported from the package itself."""

from __future__ import annotations

import ast
import typing
from pathlib import Path

import nsjail_py
from nsjail_py.spec.mnt import Mount


def test_every_public_name_is_there_and_known_to_type_checkers() -> None:
    assert all(getattr(nsjail_py, name) is not None for name in nsjail_py.__all__)
    tree = ast.parse(Path(nsjail_py.__file__).read_text())
    (guarded,) = [node for node in tree.body if isinstance(node, ast.If)]
    imported = [node.names[0].asname for node in guarded.body if isinstance(node, ast.ImportFrom)]
    assert sorted(filter(None, imported)) == nsjail_py.__all__


def test_every_kind_of_mount_is_public() -> None:
    assert all(getattr(nsjail_py, kind.__name__) is kind for kind in typing.get_args(Mount))
