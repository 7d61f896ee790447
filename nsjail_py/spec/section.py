"""What every section of a spec is: frozen, keyword-only data that refuses unknown fields."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec


class Section(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, repr_omit_defaults=True
):
    """The base of every section; your own is ``class Quota(Section, frozen=True, kw_only=True)``.

    (Type checkers want ``frozen`` said again, and msgspec does not hand ``kw_only`` down.)

    Every field needs a default, since a spec that does not name the section means its defaults; a record within a
    section may do without. Constraints belong into the annotations (``msgspec.Meta``), where the decoder and the JSON
    Schema find them; a ``description`` there is what an error message says was expected.
    """


@cache
def defaults(kind: type[Section]) -> dict[str, Any]:
    """The default of every field, ``msgspec.NODEFAULT`` for a required one."""
    try:
        whole = kind()
    except TypeError:
        return {
            field.name: field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
            for field in msgspec.structs.fields(kind)
        }
    # msgspec.structs.fields evaluates every annotation, which is most of the cost of a first spec.
    return {name: getattr(whole, name) for name in kind.__struct_fields__}
