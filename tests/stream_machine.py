"""A machine for tests of streams, as a plug-in: one unit that does an operation on an element in a cycle."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from simhw import core
from simhw.core.dataflow import Outcome, Phase, Role
from simhw.stream import KIND, shifted


class Unit(core.Component, kind="test_unit"):
    """Adds, multiplies and takes roots of float32, each rounded once; mac is a product and then a sum."""

    ACTIONS = ("add", "mul", "mac", "sqrt")

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        word_bits: core.Count = 32

    def do(self, kind: str, operands: list[Any]) -> Any:
        self.count(kind)
        with np.errstate(all="ignore"):
            if kind == "sqrt":
                return np.sqrt(operands[0])
            if kind == "add":
                return operands[0] + operands[1]
            product = operands[0] * operands[1]
            return product + operands[2] if kind == "mac" else product

    @classmethod
    def structure(cls, spec: Any) -> dict[str, int]:
        return {"adders": 1, "multipliers": 1}


ROLES = {"unit": Role(), "dram": Role(fields=("word_bits", "clock_mhz"))}


class Streams(core.Dataflow, kind="test_streams"):
    """Image by image: what a stream reads comes over the link, then each operation takes a cycle an element.

    The image's output leaves while the unit is at the next; two images never are in the unit at once.
    """

    KINDS = (KIND,)
    ROLES = ROLES

    def plan(self, layers, mapping=None):
        return [Phase(name=layer.name, layers=(layer,)) for layer in layers]

    def execute(self, phase, values):
        (layer,) = phase.layers
        live = dict(layer.operands)
        with np.errstate(all="ignore"):
            for one in layer.operations:
                a, *rest = [shifted(live[x.name], x) for x in one.operands]
                live[one.makes] = {
                    "add": lambda a, b: a + b,
                    "mul": lambda a, b: a * b,
                    "mac": lambda a, b, c: a * b + c,
                    "sqrt": np.sqrt,
                }[one.kind](a, *rest)
        return live[layer.operations[-1].makes]

    def schedule(self, phase, work):
        (layer,) = phase.layers
        batch, image = layer.shape.batch, layer.shape.elements // layer.shape.batch
        arrays = sum(array.ndim > 0 for array in layer.operands.values())
        table = core.Schedule()
        inputs = table.mover("inputs", "dram", [arrays * image] * batch)
        outputs = table.mover("outputs", "dram", [image] * batch, writes=True)
        unit = table.worker("unit", [image * len(layer.operations)] * batch, doing="image")
        unit.wait(inputs.done, "waiting")
        outputs.wait(unit.done)
        return table

    def account(self, machine, phase, work, played):
        (layer,) = phase.layers
        for kind, n in layer.shape.counts.items():
            machine.sim.ledger.add("unit", kind, n)
        return outcome(layer, work, played.cycles, played["unit"].waited["waiting"])


def outcome(layer, output, cycles, waiting):
    details = {
        "cycles": cycles,
        "stall_cycles": {"waiting": waiting},
        "macs_executed": layer.shape.macs,
        "operations": layer.shape.counts,
    }
    return Outcome(outputs={layer.name: output}, details={layer.name: details})


class StreamsTwin(core.Twin, kind="test_streams"):
    """The same, an element and a cycle at a time: all operations of an element before the next element."""

    def run(self, machine, phase):
        (layer,) = phase.layers
        sim, unit, batch = machine.sim, machine["unit"], layer.shape.batch
        arrays = {name: array for name, array in layer.operands.items() if array.ndim}
        numbers = {name: array[()] for name, array in layer.operands.items() if not array.ndim}
        output = np.zeros(layer.shape.output_shape, np.float32)
        brought, made = ([sim.event() for _ in range(batch)] for _ in range(2))
        waited = Counter()

        def value(operand, place, live):
            if operand.name in live or operand.name in numbers:
                return live.get(operand.name, numbers.get(operand.name))
            n, c, y, x = place
            y, x = y + operand.down, x + operand.right
            inside = 0 <= y < layer.shape.height and 0 <= x < layer.shape.width
            return arrays[operand.name][n, c, y, x] if inside else np.float32(0)

        def bring():
            for image in range(batch):
                yield machine["dram"].read(0, len(arrays) * output[image].size)
                brought[image].succeed()

        def work():
            for image in range(batch):
                since = sim.cycle
                yield brought[image]
                waited["waiting"] += sim.cycle - since
                for place in np.ndindex(output[image].shape):
                    live = {}
                    for one in layer.operations:
                        operands = [value(x, (image, *place), live) for x in one.operands]
                        live[one.makes] = unit.do(one.kind, operands)
                        yield sim.timeout(1)
                    output[(image, *place)] = live[layer.operations[-1].makes]
                made[image].succeed()

        def take():
            for image in range(batch):
                yield made[image]
                yield machine["dram"].write(1, output[image].size)

        yield sim.all_of([sim.process(process()) for process in (bring, work, take)])
        sim.activity.add("dram", "idle", sim.cycle - sim.activity["dram", "busy"])
        return outcome(layer, output, sim.cycle, waited["waiting"])
