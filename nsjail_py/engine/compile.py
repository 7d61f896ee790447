"""A spec into a plan: plugins are asked, their parts assembled, the result encoded once."""

from __future__ import annotations

from collections.abc import Sequence

from nsjail_py.engine.identity import settle
from nsjail_py.engine.payload import OWNER, Payload, descriptor_number, payload_part
from nsjail_py.errors import SpecError
from nsjail_py.linux.host import Host
from nsjail_py.plan.assemble import RESERVED, assemble, owned_by
from nsjail_py.plan.encode import Encoding
from nsjail_py.plan.part import Part, Slot, Step
from nsjail_py.plan.phases import Phase
from nsjail_py.plan.plan import Plan
from nsjail_py.plugin.hookspecs import Purpose
from nsjail_py.plugin.manager import Plugins
from nsjail_py.spec.process import Process
from nsjail_py.spec.spec import SandboxSpec

#: Shapes of payloads that are kept. Who passes descriptors, each time others, would fill the memory with them.
MAX_TEMPLATES = 64


class Compiled:
    """A spec, checked and planned; only the payload is still open.

    :param spec: what is wanted
    :param plugins: who plans it
    :param host: what this kernel and user can do
    :param purpose: why
    :param extra: parts of the engine's own
    :raises SpecError: with every problem that any plugin found
    """

    __slots__ = ("_parts", "_templates", "facts", "host", "identity", "plugins", "purpose", "section", "spec")

    def __init__(
        self,
        spec: SandboxSpec,
        plugins: Plugins,
        host: Host,
        purpose: Purpose = "start",
        *,
        extra: Sequence[tuple[str, Part]] = (),
    ) -> None:
        self.plugins = plugins
        self.host = host
        self.purpose = purpose
        self.spec, self.identity = settle(spec, host)
        self.section = self.spec.section("process", Process)
        # a sandbox that runs was checked when it started; what it was made of may be gone by now
        problems = plugins.check(self.spec, host) if purpose == "start" else []
        if problems:
            raise SpecError(problems)
        self._parts: list[tuple[str, Part]] = [*plugins.plan(self.spec, host, purpose), *extra]
        self._templates: dict[tuple[object, ...], Template] = {}
        self.facts = {name: value for _, part in self._parts for name, value in part.facts.items()}

    def template(self, payload: Payload) -> Template:
        """The plan and its encoding for payloads of this shape."""
        found = self._templates.get(payload.shape)
        if found is None:
            if len(self._templates) >= MAX_TEMPLATES:
                self._templates.clear()
            parts = [*self._parts, (OWNER, payload_part(payload))]
            found = self._templates[payload.shape] = Template(assemble(parts, held=payload.slots))
        return found

    def plan(self, payload: Payload) -> Plan:
        """The whole plan for one payload, for people to read."""
        return assemble([*self._parts, (OWNER, payload_part(payload))], held=payload.slots)


class Template:
    """A plan whose payload's steps are replaced at each call.

    :param plan: the plan for one payload of the shape

    :ivar born: what fills the slots after the reserved ones at birth: a descriptor's number in the payload, or a slot
    :ivar handed: the actions whose slots are filled at the gate
    """

    __slots__ = ("_encoding", "_last", "_places", "born", "handed", "plan")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._encoding = Encoding(plan)
        names = list(plan.slots)[len(RESERVED) : plan.birth]
        self.born = tuple(number if (number := descriptor_number(name)) is not None else Slot(name) for name in names)
        self.handed = tuple(each.action for each in plan.actions if each.action.phase is Phase.CREATED)
        self._places = [index for index, step in enumerate(plan.steps) if step.owner == OWNER]
        # most callers run one command again and again
        self._last: tuple[Payload, bool, bool, bytes, dict[int, Step]] | None = None

    def blob(self, payload: Payload, *, trace: bool, owned: bool) -> tuple[bytes, dict[int, Step]]:
        """The blob for a payload, and its steps by index, for errors."""
        last = self._last
        if last is not None and last[:3] == (payload, trace, owned):
            return last[3:]
        made = [owned_by(step, OWNER) for step in payload_part(payload).steps]
        made.sort(key=lambda step: (step.phase, step.rank))
        changed = dict(zip(self._places, made, strict=True))
        blob = self._encoding.blob(changed, trace=trace, owned=owned)
        self._last = (payload, trace, owned, blob, changed)
        return blob, changed
