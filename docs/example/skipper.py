"""An example of a machine as a plug-in: one lane that multiplies by the weights that are not zero."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from simpy import Event

from simhw import core, fast
from simhw.core.dataflow import Layer, Outcome, Phase, Role
from simhw.core.machine import Machine


class SkipLane(core.Component, kind="skip_lane"):
    """Multiplies a weight and an input in a cycle, and adds the product to a sum."""

    ACTIONS = ("mul", "add")

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        word_bits: core.Count = 16

    def accumulate(self, total: int, weight: int, value: int) -> int:
        self.count("mul")
        self.count("add")
        return total + weight * value

    @classmethod
    def structure(cls, spec: Spec) -> dict[str, int]:
        return {"multipliers": 1, "adders": 1}


class NonzeroWeights(core.Transform, kind="nonzero_weights"):
    """The places of the weights that are not zero, filter by filter."""

    def side(self, layer: Layer, parameters: Any) -> list[np.ndarray]:
        return [
            np.flatnonzero(own) for own in np.asarray(layer.weights).reshape(layer.shape.out_channels, -1)
        ]

    def storage_bits(self, side: list[np.ndarray]) -> int:
        return sum(len(places) for places in side) * 16


@dataclass(frozen=True)
class Work:
    """What a layer asks for: products of each filter, link words of all that moves, and its outputs."""

    products: np.ndarray
    filter_words: np.ndarray
    input_words: int
    output_words: int
    outputs: np.ndarray


class Skipper(core.Dataflow, kind="skipper"):
    """Filter after filter over all windows; the next filter comes while one is at work."""

    ROLES: Mapping[str, Role] = {
        "lane": Role(fields=("word_bits",), about="the multiplier"),
        "dram": Role(fields=("word_bits", "clock_mhz"), about="off-chip memory"),
    }
    TRANSFORMS = ("nonzero_weights",)

    def plan(
        self, layers: Sequence[Layer], mapping: Mapping[str, Mapping[str, Any]] | None = None
    ) -> Iterable[Phase]:
        for layer in layers:
            yield Phase(name=layer.name, layers=(layer,))

    def execute(self, phase: Phase, values: bool) -> Work:
        (layer,) = phase.layers
        shape, places = layer.shape, layer.side("nonzero_weights")
        used = np.array([len(own) for own in places])
        sums = fast.conv_accumulate(
            np.asarray(layer.inputs), np.asarray(layer.weights), np.asarray(layer.bias),
            shape.stride, shape.pad, shape.dilation, shape.groups,
        )  # fmt: skip
        form, relu = layer.formats["expected"], fast.RELU if layer.activation == "relu" else fast.NONE
        outputs, _ = fast.requantize(sums, layer.shift, form.lowest, form.highest, relu, form.highest)
        windows = shape.outputs // shape.out_channels
        return Work(
            products=used * windows,
            filter_words=2 * used,  # each weight with its place
            input_words=int(np.prod(shape.input_shape)),
            output_words=shape.outputs,
            outputs=outputs.astype(np.int16),
        )

    def schedule(self, phase: Phase, work: Work) -> core.Schedule:
        table = core.Schedule()
        inputs = table.mover("inputs", "dram", [work.input_words])
        filters = table.mover("filters", "dram", work.filter_words)
        outputs = table.mover("outputs", "dram", [work.output_words], writes=True)
        lane = table.worker("lane", [*work.products, 0], doing="filter")  # and the wait for what leaves
        lane.wait(inputs.done, "dram_inputs", tasks=slice(0, 1))
        lane.wait(filters.done, "dram_filters", tasks=slice(0, -1))
        filters.wait(lane.done[:-3], tasks=slice(2, None))  # room for two
        outputs.wait(lane.done[-2:-1])
        lane.wait(outputs.done, "dram_outputs", tasks=slice(-1, None))
        return table

    def account(self, machine: Machine, phase: Phase, work: Work, played: core.Played) -> Outcome:
        (layer,) = phase.layers
        products, stalls = int(work.products.sum()), played["lane"].waited
        for action in ("mul", "add"):
            machine.sim.ledger.add("lane", action, products)
        for what, cycles in {"busy": products, **stalls}.items():
            machine.sim.activity.add("lane", what, cycles)
        details = {"cycles": played.cycles, "stall_cycles": stalls, "macs_executed": products}
        return Outcome(outputs={layer.name: work.outputs}, details={layer.name: details})


class SkipperTwin(core.Twin, kind="skipper"):
    """The same, product by product."""

    def run(self, machine: Machine, phase: Phase) -> Generator[Event, Any, Outcome]:
        (layer,) = phase.layers
        sim, lane, dram, shape = machine.sim, machine["lane"], machine["dram"], layer.shape
        weights = np.asarray(layer.weights).reshape(shape.out_channels, -1).tolist()
        places = [own.tolist() for own in layer.side("nonzero_weights")]
        padded = np.pad(np.asarray(layer.inputs), ((0, 0), (0, 0), shape.pad[:2], shape.pad[2:])).tolist()
        outputs = np.zeros(shape.output_shape, np.int16)
        stalls = {"dram_inputs": 0, "dram_filters": 0, "dram_outputs": 0}
        there = [sim.event() for _ in weights]
        left = [sim.event() for _ in weights]

        def bring() -> Generator[Event, Any, None]:
            for m, own in enumerate(places):
                if m >= 2:
                    yield left[m - 2]
                yield dram.read(1, 2 * len(own))
                there[m].succeed()

        def wait(event: Event, cause: str) -> Generator[Event, Any, None]:
            since = sim.cycle
            yield event
            stalls[cause] += sim.cycle - since

        inputs = dram.read(0, int(np.prod(shape.input_shape)))
        sim.process(bring())
        yield from wait(inputs, "dram_inputs")
        for m, own in enumerate(places):
            yield from wait(there[m], "dram_filters")
            for place in np.ndindex(shape.batch, shape.out_height, shape.out_width):
                total = int(layer.bias[m])
                for at in own:
                    total = lane.accumulate(total, weights[m][at], self.value(padded, shape, m, place, at))
                    yield sim.timeout(1)
                outputs[place[0], m, place[1], place[2]] = self.stored(layer, total)
            left[m].succeed()
        products = sim.ledger["lane", "mul"]
        yield from wait(dram.write(2, shape.outputs), "dram_outputs")
        for what, cycles in {"busy": products, **stalls}.items():
            sim.activity.add("lane", what, cycles)
        sim.activity.add("dram", "idle", sim.cycle - sim.activity["dram", "busy"])
        details = {"cycles": sim.cycle, "stall_cycles": stalls, "macs_executed": products}
        return Outcome(outputs={layer.name: outputs}, details={layer.name: details})

    def value(self, padded: Any, shape: Any, m: int, place: tuple[int, ...], at: int) -> int:
        """Return the input under weight `at` of filter m, for the output at a place."""
        taps = shape.kernel_height * shape.kernel_width
        channel = m // shape.group_out_channels * shape.group_in_channels + at // taps
        row, column = divmod(at % taps, shape.kernel_width)
        image, y, x = place
        row = y * shape.stride[0] + row * shape.dilation[0]
        return padded[image][channel][row][x * shape.stride[1] + column * shape.dilation[1]]

    def stored(self, layer: Layer, total: int) -> int:
        """Return a sum as it is stored: rounded half to even, saturated, behind its ReLU."""
        form = layer.formats["expected"]
        rounded = min(max(round(total / 2**layer.shift), form.lowest), form.highest)
        return max(rounded, 0) if layer.activation == "relu" else rounded
