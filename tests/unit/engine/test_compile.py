"""What a checked and planned sandbox keeps."""

from __future__ import annotations

from nsjail_py.engine import compile as compiling
from nsjail_py.engine.compile import Compiled
from nsjail_py.engine.payload import Payload
from nsjail_py.linux.host import Host
from nsjail_py.plugin.manager import Plugins
from nsjail_py.spec.spec import SandboxSpec


def payload(*numbers: int, word: str = "x") -> Payload:
    return Payload(argv=("/bin/echo", word), env={}, numbers=numbers)


def compiled() -> Compiled:
    return Compiled(SandboxSpec(), Plugins(), Host.probe())


def test_one_shape_has_one_plan() -> None:
    made = compiled()
    assert made.template(payload()) is made.template(payload(word="y"))
    assert made.template(payload()) is not made.template(payload(3))


def test_ever_new_descriptors_do_not_fill_the_memory() -> None:
    made = compiled()
    for number in range(3, 3 + 2 * compiling.MAX_TEMPLATES):
        made.template(payload(number))
    assert len(made._templates) <= compiling.MAX_TEMPLATES


def test_a_repeated_command_is_encoded_once() -> None:
    template = compiled().template(payload())
    first, _ = template.blob(payload(), trace=False, owned=True)
    assert template.blob(payload(), trace=False, owned=True)[0] is first
    other, steps = template.blob(payload(word="other"), trace=False, owned=True)
    assert b"other" in other
    assert any(
        "other" in step.args[1] for step in steps.values() if len(step.args) == 3 and isinstance(step.args[1], tuple)
    )
    assert template.blob(payload(), trace=True, owned=True)[0] != first
