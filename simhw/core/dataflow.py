"""How a machine moves data: dataflows (compiled) and their twins (stepped), and what they are given."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from numpy.typing import NDArray
from simpy import Event

from simhw.core.link import Link
from simhw.core.machine import Machine, Part
from simhw.core.registry import register
from simhw.core.schedule import Schedule
from simhw.core.spec import Spec
from simhw.shapes import LayerShape, NumberFormat
from simhw.stream import Operation, StreamShape

Array = NDArray[Any]
Steps = Generator[Event, Any, Any]


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The pooling that alone reads a layer's output: window, stride, and the size of what it makes."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]  # top, left
    height: int
    width: int


class Layer(Protocol):
    """What a dataflow sees of one layer of a trace. Arrays are read-only."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def shape(self) -> LayerShape: ...
    @property
    def activation(self) -> str | None: ...
    @property
    def formats(self) -> Mapping[str, NumberFormat]: ...
    @property
    def shift(self) -> int: ...
    @property
    def reads_network_input(self) -> bool: ...
    @property
    def weights(self) -> Array: ...
    @property
    def bias(self) -> Array: ...
    @property
    def inputs(self) -> Array: ...
    @property
    def expected(self) -> Array: ...
    def side(self, transform: str) -> Any: ...  # data that a transform left with it, or None
    def stored(self, tensor: str) -> Array | None: ...  # that its trace holds beside the four above

    # its place in the network, where nothing but pooling, joining and flattening lies between two layers
    @property
    def fed_by(self) -> tuple[str, ...] | None: ...  # layers whose outputs it reads; None: other things, too
    @property
    def feeds(self) -> tuple[str, ...] | None: ...  # layers that read its output; None: other things, too
    @property
    def pool(self) -> Pool | None: ...


class StreamLayer(Protocol):
    """What a dataflow sees of a layer of kind `elementwise`. Arrays are read-only."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def shape(self) -> StreamShape: ...
    @property
    def operations(self) -> tuple[Operation, ...]: ...
    @property
    def operands(self) -> Mapping[str, Array]: ...  # arrays that it reads, and its numbers (no axes), by name
    @property
    def expected(self) -> Array: ...
    @property
    def formats(self) -> Mapping[str, NumberFormat]: ...  # of every array and number by name, and of expected
    def side(self, transform: str) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Role:
    """What a dataflow needs of whatever fills a role: fields or properties of its Spec, and whether it
    is a grid."""

    fields: tuple[str, ...] = ()
    grid: bool = False
    about: str = ""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """What runs between two moments at which the machine is drained: a layer, several at once, or once more.

    Layers that run at once stand in their order; what one hands to the next comes from the machine.
    `mapping` is the plan's choice, as plain data a file can hold.
    """

    name: str
    layers: tuple[Layer, ...]
    mapping: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(kw_only=True)
class Outcome:
    """What a phase left: outputs by layer (none in a run without values) and the dataflow's own numbers.

    `details` has, by layer, cycles, stall_cycles, macs_executed and what the dataflow adds. A phase of
    several layers has cycles and stalls of its own; `of_phase` is what belongs to no single layer: the
    images of an iteration, say.
    """

    outputs: dict[str, Array] = field(default_factory=dict[str, Array])
    details: dict[str, Any] = field(default_factory=dict[str, Any])
    cycles: int | None = None
    stall_cycles: Mapping[str, int] | None = None
    of_phase: dict[str, Any] = field(default_factory=dict[str, Any])


class Dataflow:
    """One behaviour of machines. A subclass with a kind registers it.

    `plan` decides what goes where; `execute` computes values and work without time; `schedule` says when
    it happens, as a table that is then played; `account` enters what was done in the books. Values and
    executed work are a function of mapping order alone, never of when anything arrives.
    """

    KIND: ClassVar[str] = ""
    KINDS: ClassVar[tuple[str, ...]] = ("conv", "linear")  # of layers that it takes
    ROLES: ClassVar[Mapping[str, Role]] = {}
    TRANSFORMS: ClassVar[tuple[str, ...]] = ()  # whose side data it takes, where a description lists them
    Options: ClassVar[type[Spec]] = Spec

    def __init_subclass__(cls, *, kind: str = "", **rest: Any) -> None:
        super().__init_subclass__(**rest)
        if kind:
            register(_DATAFLOWS, cls, kind)

    def __init__(self, parts: Mapping[str, Part], options: Any, clock_mhz: float) -> None:
        self.parts = parts
        self.options = options
        self.clock_mhz = clock_mhz

    def plan(
        self, layers: Sequence[Layer], mapping: Mapping[str, Mapping[str, Any]] | None = None
    ) -> Iterable[Phase]:
        """Yield the phases of a network, in its order; `mapping` is a published one, by layer name.

        A generator is sent the Outcome of each phase, from which it may decide on the next.
        """
        raise NotImplementedError

    def map_shape(self, name: str, shape: LayerShape) -> dict[str, Any]:
        """Return the mapping that `plan` would choose for a layer of this shape."""
        raise NotImplementedError

    def map_layer(self, layer: Layer) -> dict[str, Any]:
        """Return the same of a layer, whose side data may have a part in it."""
        return self.map_shape(layer.name, layer.shape)

    def mapping_note(self, layer: Layer) -> str:
        """Return what the reader of a layer's mapping must know to run it; of most, nothing."""
        return ""

    def refuse_parameters(self, kind: str) -> str | None:
        """Return why parameters of a kind, which one of its transforms takes, would have no effect here."""
        return None

    def execute(self, phase: Phase, values: bool) -> Any:
        """Return the phase's work: what every unit performs, and the outputs if `values`."""
        raise NotImplementedError

    def schedule(self, phase: Phase, work: Any) -> Schedule:
        """Return when the work happens, as a table; its links are roles of the machine."""
        raise NotImplementedError

    def shortcut(self, work: Any, links: Mapping[str, Link]) -> Any:
        """Return what `account` needs of the schedule played over links, if there is a faster way to it.

        As a `Played` it has cycles, busy and moved; a test holds it to the schedule. As a rule there is none.
        """
        return None

    def account(self, machine: Machine, phase: Phase, work: Any, played: Any) -> Outcome:
        """Enter what the work did in the machine's books, and return the outcome; `played` is a Played."""
        raise NotImplementedError


class Twin:
    """The same machine in plain Python, cycle by cycle. It shares no formula with its dataflow."""

    KIND: ClassVar[str] = ""

    def __init_subclass__(cls, *, kind: str = "", **rest: Any) -> None:
        super().__init_subclass__(**rest)
        if kind:
            register(_TWINS, cls, kind)

    def __init__(self, options: Any) -> None:
        self.options = options

    def run(self, machine: Machine, phase: Phase) -> Generator[Event, Any, Outcome]:
        """Simulate the phase; the return value is its outcome."""
        raise NotImplementedError


_DATAFLOWS: dict[str, type[Dataflow]] = {}  # filled when classes are defined, never written otherwise
_TWINS: dict[str, type[Twin]] = {}


def dataflow_kinds() -> dict[str, type[Dataflow]]:
    """Return every registered dataflow."""
    return dict(sorted(_DATAFLOWS.items()))


def twin_kinds() -> dict[str, type[Twin]]:
    """Return every registered twin, under the kind of its dataflow."""
    return dict(sorted(_TWINS.items()))


def fits_role(role: Role, part: Part) -> list[str]:
    """Return what `role` needs of a Spec and the part's kind lacks."""
    return [name for name in role.fields if not hasattr(part.spec, name)]
