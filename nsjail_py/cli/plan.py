"""``nsjail-py plan``: show what would be done for a command, without doing any of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from nsjail_py.cli.messages import complain, printable
from nsjail_py.cli.options import SandboxOptions, own
from nsjail_py.linux import constants
from nsjail_py.plan.phases import PARENT_PHASES, Phase
from nsjail_py.plan.plan import Plan
from nsjail_py.plugin.command import Option
from nsjail_py.sandbox import Sandbox

_OWN = (
    Option(flag="--tty", short="-t", help="with a terminal", fill=lambda value: {"process": {"tty": value}}),
    own("--json", "JSON instead of text", "json"),
)

_FLAGS = {
    constants.CLONE_NEWUSER: "user",
    constants.CLONE_NEWPID: "pid",
    constants.CLONE_NEWNS: "mnt",
    constants.CLONE_NEWUTS: "uts",
    constants.CLONE_NEWIPC: "ipc",
    constants.CLONE_NEWNET: "net",
    constants.CLONE_NEWCGROUP: "cgroup",
    constants.CLONE_NEWTIME: "time",
}


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One thing on the timeline.

    :param phase: the name of its phase
    :param by: who does it: the ``caller``, the ``stage`` in the sandbox, or the ``payload`` to be
    :param step: its number as errors give it; a caller's action has none
    :param owner: the section of the plugin
    :param text: what
    :param path: the path that it is about
    :param optional: a failure is a warning
    """

    phase: str
    by: str
    step: int | None
    owner: str
    text: str
    path: str | None = None
    optional: bool = False


def main(argv: Sequence[str], plugins: Sequence[str]) -> int:
    """Print the timeline; it needs no privilege that the run itself would need."""
    options = SandboxOptions("plan [OPTIONS] [--] [COMMAND…]", "Show what would be done for a command.", plugins, _OWN)
    spec, choices, command = options.parse(argv)
    plan = Sandbox(spec, plugins=options.plugins).plan(command or ["/bin/true"])
    if choices.json:
        document = {"clone": namespaces(plan), "timeline": list(timeline(plan)), "warnings": plan.warnings}
        print(msgspec.json.format(msgspec.json.encode(document)).decode())
        return 0
    _print(plan)
    for warning in plan.warnings:
        complain(f"warning: {warning}")
    return 0


def namespaces(plan: Plan) -> list[str]:
    """The new namespaces that the child is born in."""
    return [name for flag, name in _FLAGS.items() if plan.flags & flag]


def timeline(plan: Plan) -> Iterator[Line]:
    """Actions of the caller and steps of the stage in the order of their phases."""
    for phase in Phase:
        by = "caller" if phase in PARENT_PHASES else "payload" if phase > Phase.INIT else "stage"
        for owned in plan.actions:
            if owned.action.phase is phase:
                yield Line(phase=phase.name, by="caller", step=None, owner=owned.owner, text=owned.action.text)
        for number, step in enumerate(plan.steps, 1):
            if step.phase is phase:
                yield Line(
                    phase=phase.name,
                    by="stage" if by == "caller" else by,
                    step=number,
                    # The gates are nobody's: assembling the plan adds them.
                    owner=step.owner or "engine",
                    text=step.text,
                    path=step.path,
                    optional=step.optional,
                )


def _print(plan: Plan) -> None:
    lines = list(timeline(plan))
    width = max(len(line.owner) for line in lines)
    born = False
    heading = ""
    for line in lines:
        if not born and line.phase != Phase.HOST.name:
            born = True
            print(f"clone: new namespaces {', '.join(namespaces(plan)) or 'none'}")
        if heading != line.phase:
            heading = line.phase
            print(f"{heading} ({'caller' if Phase[heading] in PARENT_PHASES else line.by})")
        number = "" if line.step is None else str(line.step)
        optional = " (optional)" if line.optional else ""
        print(f"{number:>4}  {line.owner:{width}}  {printable(line.text)}{optional}")
