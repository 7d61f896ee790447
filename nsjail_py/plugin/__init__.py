"""All that a plugin author imports. Built-in plugins import this module and nothing else of the package."""

from nsjail_py.errors import Problem, SpecError, UnsupportedError
from nsjail_py.linux import caps, constants
from nsjail_py.linux.host import Host
from nsjail_py.linux.idmap import IdRange
from nsjail_py.plan import steps
from nsjail_py.plan.launch import IdMaps, Launch
from nsjail_py.plan.part import Action, Data, Descriptors, Fill, Mount, Part, Slot, Step
from nsjail_py.plan.phases import Phase
from nsjail_py.plugin import identity
from nsjail_py.plugin.command import Command, Option
from nsjail_py.plugin.evidence import Evidence, Line, LiveProcess
from nsjail_py.plugin.hookspecs import Purpose, hookimpl
from nsjail_py.running import state_directory
from nsjail_py.spec import units
from nsjail_py.spec.section import Section
from nsjail_py.spec.spec import SandboxSpec

__all__ = [
    "Action",
    "Command",
    "Data",
    "Descriptors",
    "Evidence",
    "Fill",
    "Host",
    "IdMaps",
    "IdRange",
    "Launch",
    "Line",
    "LiveProcess",
    "Mount",
    "Option",
    "Part",
    "Phase",
    "Problem",
    "Purpose",
    "SandboxSpec",
    "Section",
    "Slot",
    "SpecError",
    "Step",
    "UnsupportedError",
    "caps",
    "constants",
    "hookimpl",
    "identity",
    "state_directory",
    "steps",
    "units",
]
