"""The marks that make functions hooks: those of ``pluggy.HookspecMarker`` and ``pluggy.HookimplMarker``.

Written out here because importing pluggy, with ``inspect`` and all that it needs, takes three times as long as
starting a sandbox. The built-in plugins carry the marks and are read without pluggy; a plugin by someone else is
registered with it. A test keeps the two kinds of marks equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

F = TypeVar("F", bound=Callable[..., Any])


@overload
def hookspec(function: F, /) -> F: ...
@overload
def hookspec(*, firstresult: bool = False) -> Callable[[F], F]: ...
def hookspec(function: F | None = None, /, *, firstresult: bool = False) -> F | Callable[[F], F]:
    """Declare a hook.

    :param firstresult: the first answer that is not ``None`` counts
    """

    def mark(declared: F) -> F:
        options = {"firstresult": firstresult, "historic": False, "warn_on_impl": None, "warn_on_impl_args": None}
        setattr(declared, "nsjail_py_spec", options)  # noqa: B010 - a function has no such attribute to a type checker
        return declared

    return mark if function is None else mark(function)


def hookimpl(function: F) -> F:
    """Mark a function of a plugin as its implementation of the hook of that name."""
    options = {
        "wrapper": False,
        "hookwrapper": False,
        "optionalhook": False,
        "tryfirst": False,
        "trylast": False,
        "specname": None,
    }
    setattr(function, "nsjail_py_impl", options)  # noqa: B010
    return function
