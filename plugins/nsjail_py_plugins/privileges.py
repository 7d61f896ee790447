"""The privileges plugin: what the payload may do (capabilities(7), PR_SET_NO_NEW_PRIVS)."""

from __future__ import annotations

from collections.abc import Iterable

from nsjail_py.plugin import Part, Problem, SandboxSpec, caps, hookimpl, steps
from nsjail_py.plugin.sections import Privileges


@hookimpl
def nsjail_section() -> tuple[str, type[Privileges]]:
    return "privileges", Privileges


@hookimpl
def nsjail_check(spec: SandboxSpec) -> Iterable[Problem]:
    for index, name in enumerate(spec.section("privileges", Privileges).capabilities):
        if name.removeprefix("CAP_").lower() not in caps.NUMBERS:
            yield Problem(
                f"$.privileges.capabilities[{index}]", f"there is no capability {name}", "see capabilities(7)"
            )


@hookimpl
def nsjail_plan(spec: SandboxSpec) -> Part | None:
    section = spec.section("privileges", Privileges)
    mask = caps.mask(section.capabilities)
    text = ", ".join(section.capabilities) or "none"
    made = [
        steps.bounding_set(mask, text),
        # ambient, so that they also survive the exec of a payload that is not root inside
        steps.capabilities(mask, mask, mask, mask, text),
    ]
    if section.no_new_privs:
        made.append(steps.no_new_privs())
    return Part(steps=tuple(made), capabilities=mask)
