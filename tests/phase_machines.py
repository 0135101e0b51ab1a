"""Two machines for tests of phases, as a plug-in: two layers at once, and iterations until all is settled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from simhw import core
from simhw.core.dataflow import Outcome, Phase, Role

QUARTERS = 4


def stored(layer: Any, sums: np.ndarray) -> np.ndarray:
    """Return sums as the layer stores them: rounded half to even, saturated, behind its ReLU."""
    form = layer.formats["expected"]
    out = np.clip(np.round(sums / 2.0**layer.shift), form.lowest, form.highest).astype(np.int16)
    return np.maximum(out, 0) if layer.activation == "relu" else out


def product(layer: Any, inputs: np.ndarray, upto: int | None = None) -> np.ndarray:
    """Return the sums [N, M, 1, 1] of a linear layer's first inputs."""
    weights = np.asarray(layer.weights, np.int64).reshape(layer.shape.out_channels, -1)[:, :upto]
    flat = inputs.reshape(len(inputs), -1)[:, :upto].astype(np.int64)
    return (flat @ weights.T + np.asarray(layer.bias))[:, :, None, None]


def per_image(layer: Any) -> int:
    return layer.shape.macs // layer.shape.batch


class Stage(core.Component, kind="test_stage"):
    """One multiplier and one adder: a product in a cycle."""

    ACTIONS = ("mul", "add")

    @dataclass(frozen=True, kw_only=True)
    class Spec(core.Spec):
        word_bits: core.Count = 16

    @classmethod
    def structure(cls, spec: Any) -> dict[str, int]:
        return {"multipliers": 1, "adders": 1}


ROLES = {"first": Role(), "second": Role(), "dram": Role(fields=("word_bits", "clock_mhz"))}


def busy(sim: core.Simulation, layer: str, unit: str, cycles: int, of: int) -> None:
    sim.on(layer)
    sim.activity.add(unit, "busy", cycles)
    sim.activity.add(unit, "idle", of - cycles)


class Pair(core.Dataflow, kind="test_pair"):
    """Two linear layers at once: image by image, the second works on what the first has just made.

    Inputs of the first come over the link, and outputs of the second leave over it; what lies between
    them never does. Other layers run alone on the first stage.
    """

    ROLES = ROLES

    def plan(self, layers, mapping=None):
        waiting = list(layers)
        while waiting:
            layer = waiting.pop(0)
            group = [layer]
            if waiting and layer.feeds == (waiting[0].name,) and waiting[0].fed_by == (layer.name,):
                group.append(waiting.pop(0))
            yield Phase(name="+".join(x.name for x in group), layers=tuple(group))

    def execute(self, phase, values):
        maps = [np.asarray(phase.layers[0].inputs)]
        for layer in phase.layers:
            maps.append(stored(layer, product(layer, maps[-1])))
        return maps

    def schedule(self, phase, work):
        table = core.Schedule()
        batch = phase.layers[0].shape.batch
        words = [work[0][0].size, work[-1][0].size]
        inputs = table.mover("inputs", "dram", [words[0]] * batch, layer=phase.layers[0].name)
        outputs = table.mover("outputs", "dram", [words[1]] * batch, writes=True, layer=phase.layers[-1].name)
        before = inputs
        for role, layer in zip(("first", "second"), phase.layers, strict=False):
            stage = table.worker(role, [per_image(layer)] * batch, doing="image")
            stage.wait(before.done, "waiting")
            before = stage
        outputs.wait(before.done)
        return table

    def account(self, machine, phase, work, played):
        details = {}
        for role, layer in zip(("first", "second"), phase.layers, strict=False):
            products = layer.shape.macs
            busy(machine.sim, layer.name, role, products, played.cycles)
            machine.sim.ledger.add(role, "mul", products)
            machine.sim.ledger.add(role, "add", products)
            details[layer.name] = {
                "cycles": played.cycles,
                "stall_cycles": {},
                "macs_executed": products,
                "last_cycle": int(played[role].done[-1]),
            }
        outputs = {layer.name: made for layer, made in zip(phase.layers, work[1:], strict=True)}
        stalls = {"waiting": played["first"].waited["waiting"]}
        return Outcome(outputs=outputs, details=details, cycles=played.cycles, stall_cycles=stalls)


class PairTwin(core.Twin, kind="test_pair"):
    """The same, a cycle at a time."""

    def run(self, machine, phase):
        sim, layers, batch = machine.sim, phase.layers, phase.layers[0].shape.batch
        maps = [np.asarray(layers[0].inputs)]
        made = [[sim.event() for _ in range(batch)] for _ in range(len(layers) + 1)]
        ends = [0] * len(layers)
        waited = [0]

        def bring():
            for image in range(batch):
                sim.on(layers[0].name)
                yield machine["dram"].read(0, maps[0][image].size)
                made[0][image].succeed()

        def work(at, role, layer):
            for image in range(batch):
                since = sim.cycle
                yield made[at][image]
                waited[0] += sim.cycle - since if at == 0 else 0
                for _ in range(per_image(layer)):
                    sim.on(layer.name)
                    machine[role].count("mul")
                    machine[role].count("add")
                    yield sim.timeout(1)
                made[at + 1][image].succeed()
            ends[at] = sim.cycle

        def take():
            for image in range(batch):
                yield made[-1][image]
                sim.on(layers[-1].name)
                yield machine["dram"].write(1, layers[-1].shape.out_channels)

        running = [sim.process(bring()), sim.process(take())]
        roles = ("first", "second")[: len(layers)]
        running += [sim.process(work(i, role, layers[i])) for i, role in enumerate(roles)]
        yield sim.all_of(running)
        for layer in layers:
            maps.append(stored(layer, product(layer, maps[-1])))
        moved = {name: book.activity["dram", "busy"] for name, book in sim.books.items()}
        for book in sim.books.values():
            book.activity.add("dram", "busy", -book.activity["dram", "busy"])
        busy(sim, layers[0].name, "dram", sum(moved.values()), sim.cycle)
        details = {}
        for role, layer, end in zip(roles, layers, ends, strict=True):
            busy(sim, layer.name, role, layer.shape.macs, sim.cycle)
            details[layer.name] = {
                "cycles": sim.cycle,
                "stall_cycles": {},
                "macs_executed": layer.shape.macs,
                "last_cycle": end,
            }
        return Outcome(
            outputs={layer.name: made for layer, made in zip(layers, maps[1:], strict=True)},
            details=details,
            cycles=sim.cycle,
            stall_cycles={"waiting": waited[0]},
        )


def counted(phase: Phase) -> list[int]:
    """How many of a window's inputs each image has been through, in quarters."""
    size = phase.layers[0].shape.window
    return [-(-size * n // QUARTERS) for n in phase.mapping["quarters"]]


def iterated(phase: Phase) -> tuple[np.ndarray, list[int], list[int]]:
    """Return the outputs, the images that go on, and this iteration's products of each image."""
    (layer,) = phase.layers
    inputs, reached = np.asarray(layer.inputs), counted(phase)
    made = np.concatenate([stored(layer, product(layer, inputs[[i]], n)) for i, n in enumerate(reached)])
    size, running = layer.shape.window, phase.mapping["running"]
    again, products = [], [0] * len(inputs)
    for i in running:
        before = -(-size * (phase.mapping["quarters"][i] - 1) // QUARTERS)
        products[i] = (reached[i] - before) * layer.shape.out_channels
        settled = (stored(layer, product(layer, inputs[[i]], before)) == made[[i]]).all()
        if phase.mapping["quarters"][i] < QUARTERS and not settled:
            again.append(i)
    return made, again, products


class Quarters(core.Dataflow, kind="test_quarters"):
    """A quarter of each window more, for the images whose outputs the last quarter changed."""

    ROLES = ROLES

    def plan(self, layers, mapping=None):
        for layer in layers:
            quarters, running = [0] * layer.shape.batch, list(range(layer.shape.batch))
            while running:
                for i in running:
                    quarters[i] += 1
                outcome = yield Phase(
                    name=f"{layer.name} {max(quarters)}",
                    layers=(layer,),
                    mapping={"quarters": list(quarters), "running": running},
                )
                running = outcome.of_phase["again"]

    def execute(self, phase, values):
        return iterated(phase)

    def schedule(self, phase, work):
        table = core.Schedule()
        table.worker("first", [sum(work[2])], doing="quarter")
        return table

    def account(self, machine, phase, work, played):
        made, again, products = work
        (layer,) = phase.layers
        total = sum(products)
        machine.sim.ledger.add("first", "mul", total)
        machine.sim.ledger.add("first", "add", total)
        machine.sim.activity.add("first", "busy", total)
        details = {"cycles": played.cycles, "stall_cycles": {}, "macs_executed": total, "iterations": 1}
        of_phase = {"again": again, "images": len(phase.mapping["running"])}
        return Outcome(outputs={layer.name: made}, details={layer.name: details}, of_phase=of_phase)


class QuartersTwin(core.Twin, kind="test_quarters"):
    def run(self, machine, phase):
        (layer,) = phase.layers
        made, again, products = iterated(phase)
        for n in products:
            for _ in range(n):
                machine["first"].count("mul")
                machine["first"].count("add")
                yield machine.sim.timeout(1)
        total = sum(products)
        machine.sim.activity.add("first", "busy", total)
        details = {"cycles": machine.sim.cycle, "stall_cycles": {}, "macs_executed": total, "iterations": 1}
        of_phase = {"again": again, "images": len(phase.mapping["running"])}
        return Outcome(outputs={layer.name: made}, details={layer.name: details}, of_phase=of_phase)
