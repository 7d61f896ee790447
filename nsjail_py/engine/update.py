"""Change a sandbox while it runs, as far as the plugins of the changed sections can."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from nsjail_py.engine.compile import Compiled
from nsjail_py.errors import SpecError
from nsjail_py.plugin.evidence import LiveProcess
from nsjail_py.spec.codec import decode
from nsjail_py.spec.section import Section


def update(process: LiveProcess, compiled: Compiled, changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Have the owner of each section apply its changes. All are checked before the first is applied.

    :param process: the sandbox
    :param compiled: what it was started from
    :param changes: by section, the fields that change and their new values
    :raises SpecError: with every problem of the spec as it would be
    :raises UnsupportedError: a section cannot be changed while the sandbox runs
    """
    # `decode` knows the type of every field; only those that were given are then taken from the decoded sections
    decoded = dict(decode(changes, "toml", compiled.plugins.types).items())
    values = {name: {field: getattr(decoded[name], field) for field in given} for name, given in changes.items()}
    spec = compiled.spec
    for name, fields in values.items():
        section: Section = spec.section(name, type(decoded[name]))
        spec = spec.replace(**{name: msgspec.structs.replace(section, **fields)})
    problems = compiled.plugins.check(spec, compiled.host)
    if problems:
        raise SpecError(problems)
    for name, fields in values.items():
        compiled.plugins.update(name, process, fields)
