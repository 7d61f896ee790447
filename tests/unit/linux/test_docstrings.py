"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import nsjail_py.linux

MODULES = [
    "nsjail_py.errors",
    "nsjail_py.record",
    *(f"nsjail_py.linux.{module.name}" for module in pkgutil.iter_modules(nsjail_py.linux.__path__)),
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name), optionflags=doctest.IGNORE_EXCEPTION_DETAIL).failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    found = {name: finder.find(importlib.import_module(name)) for name in MODULES}
    assert sum(len(test.examples) for tests in found.values() for test in tests) > 30
