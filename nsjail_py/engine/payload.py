"""What one call wants executed: the part of a plan that differs from call to call."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import msgspec

from nsjail_py.plan import steps
from nsjail_py.plan.part import Part, Slot, Step

OWNER = "payload"
TERMINAL = Slot("terminal")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """A command and its surroundings.

    :param argv: the argument vector
    :param candidates: paths to try in order; empty: ``argv[0]``, searched in the environment's PATH
    :param env: the whole environment
    :param cwd: the working directory; several: the first of them that exists inside
    :param numbers: descriptors of the payload above 2 that the caller passes; 2 where it is not on the terminal
    :param tty: give it a terminal of this many rows and columns
    """

    argv: tuple[str, ...]
    candidates: tuple[str, ...] = ()
    env: dict[str, str]
    cwd: tuple[str, ...] = ("/",)
    numbers: tuple[int, ...] = ()
    tty: tuple[int, int] | None = None

    @property
    def shape(self) -> tuple[object, ...]:
        """Two payloads of one shape have the same steps, with other arguments."""
        return (self.tty is not None, self.numbers)

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The slots that the engine fills with descriptors of the caller's."""
        own = () if self.tty is not None else (0, 1, 2)
        return tuple(descriptor_slot(number) for number in (*own, *self.numbers))


def working_directory() -> tuple[str, ...]:
    """The caller's, or none where it has been removed."""
    try:
        return (os.getcwd(),)
    except FileNotFoundError:
        return ()


def descriptor_slot(number: int) -> Slot:
    """The slot of one of the payload's descriptors."""
    return Slot(f"fd:{number}")


def descriptor_number(name: str) -> int | None:
    """The payload's descriptor that a slot of this name is, or ``None`` for another slot."""
    return int(name[3:]) if name.startswith("fd:") else None


def search(program: str, env: Mapping[str, str]) -> tuple[str, ...]:
    """Where the stage looks for a program, as execvp(3) does.

    :param program: ``argv[0]``; with a slash it is taken as it is
    :param env: the payload's environment, for PATH
    """
    if "/" in program:
        return (program,)
    folders = env.get("PATH", DEFAULT_PATH).split(":")
    return tuple(os.path.join(folder or ".", program) for folder in folders)


def payload_part(payload: Payload) -> Part:
    """The steps that a payload adds to a plan."""
    made: list[Step] = []
    if payload.tty is not None:
        made.append(steps.pty(TERMINAL, *payload.tty))
        made.append(steps.terminal(TERMINAL))
    made.append(steps.chdir(payload.cwd))
    on_terminal = {0, 1, 2}.difference(payload.numbers) if payload.tty is not None else ()
    terminal = dict.fromkeys(on_terminal, TERMINAL)
    numbers = {number: descriptor_slot(number) for number in ((0, 1, 2, *payload.numbers))} | terminal
    made.append(steps.descriptors(numbers))
    candidates: Sequence[str] = payload.candidates or search(payload.argv[0], payload.env)
    made.append(steps.execute(candidates, payload.argv, payload.env))
    return Part(steps=tuple(made))
