"""The event core: engine, components, dataflows, and the books they keep."""

from simhw.core.component import Component, component_kinds, load_plugin
from simhw.core.dataflow import (
    Dataflow,
    Layer,
    Outcome,
    Phase,
    Role,
    StreamLayer,
    Twin,
    dataflow_kinds,
    twin_kinds,
)
from simhw.core.engine import ClockDomain, Simulation, Span
from simhw.core.link import Link, Service, SteadyLink
from simhw.core.machine import Grid, Machine
from simhw.core.packed import Ragged
from simhw.core.parameters import ParameterKind, parameter_kinds
from simhw.core.schedule import Played, Schedule, Units
from simhw.core.spec import Count, Cycles, Finite, Flag, Megahertz, Size, Spec, Wants, wanted
from simhw.core.tally import Tally, strip_indexes
from simhw.core.transform import Transform, transform_kinds, transforms_of

__all__ = [
    "ClockDomain",
    "Component",
    "Count",
    "Cycles",
    "Dataflow",
    "Finite",
    "Flag",
    "Grid",
    "Layer",
    "Link",
    "Machine",
    "Megahertz",
    "Outcome",
    "ParameterKind",
    "Phase",
    "Played",
    "Ragged",
    "Role",
    "Schedule",
    "Service",
    "Simulation",
    "Size",
    "Span",
    "Spec",
    "SteadyLink",
    "StreamLayer",
    "Tally",
    "Transform",
    "Twin",
    "Units",
    "Wants",
    "component_kinds",
    "dataflow_kinds",
    "load_plugin",
    "parameter_kinds",
    "strip_indexes",
    "transform_kinds",
    "transforms_of",
    "twin_kinds",
    "wanted",
]
