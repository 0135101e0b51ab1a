"""Who feeds whom in a trace's network, as far as a machine that keeps activations on chip must know."""

from __future__ import annotations

import functools
import weakref
from typing import TypedDict

from simhw.core.dataflow import Pool
from simhw.reference.graph import Graph
from simhw.reference.ops import Node
from simhw.trace import Trace

HANDS_ON = ("maxpool", "avgpool", "globalavgpool", "concat", "flatten")  # what may lie between two layers


class Around(TypedDict):
    """What lies around a layer, see the methods of `Network`."""

    fed_by: tuple[str, ...] | None
    feeds: tuple[str, ...] | None
    pool: Pool | None


NOWHERE = Around(fed_by=None, feeds=None, pool=None)  # of a layer whose neighbours do not count


class Network:
    """A trace's graph, seen from its layers."""

    def __init__(self, trace: Trace) -> None:
        self.graph = Graph.from_dict(trace.graph)
        self.layers = {layer.name for layer in trace.layers}
        _, *chw = trace.inputs.shape
        self.shapes = self.graph.shapes(chw)
        self.nodes = {node.name: node for node in self.graph.nodes}
        self.readers: dict[str, list[Node]] = {}
        for node in self.graph.nodes:
            for name in node.inputs:
                self.readers.setdefault(name, []).append(node)
        self.around = {
            name: Around(fed_by=self.fed_by(name), feeds=self.feeds(name), pool=self.pool(name))
            for name in self.layers
        }

    def fed_by(self, layer: str) -> tuple[str, ...] | None:
        """Return the layers whose outputs reach this one, or None if anything else does."""
        return self._above(self.nodes[layer].inputs)

    def _above(self, names: tuple[str, ...]) -> tuple[str, ...] | None:
        found: list[str] = []
        for name in names:
            if name in self.layers:
                found.append(name)
                continue
            node = self.nodes.get(name)
            above = self._above(node.inputs) if node is not None and node.op in HANDS_ON else None
            if above is None:
                return None
            found += above
        return tuple(dict.fromkeys(found))

    def feeds(self, name: str) -> tuple[str, ...] | None:
        """Return the layers that a node's output reaches, or None if anything else reads it."""
        if name == self.graph.output:
            return None
        found: list[str] = []
        for node in self.readers.get(name, []):
            if node.name in self.layers:
                found.append(node.name)
                continue
            below = self.feeds(node.name) if node.op in HANDS_ON else None
            if below is None:
                return None
            found += below
        return tuple(dict.fromkeys(found))

    def pool(self, name: str) -> Pool | None:
        """Return the pooling that alone reads a node's output, by itself or joined with other layers'."""
        readers = self.readers.get(name, [])
        if name == self.graph.output or len(readers) != 1:
            return None
        node = readers[0]
        if node.op == "concat":
            return self.pool(node.name)
        if node.op not in ("maxpool", "avgpool"):
            return None
        attrs = node.attrs
        _, _, height, width = self.shapes[node.name]
        return Pool(
            kernel=tuple(attrs["kernel"]),
            stride=tuple(attrs["stride"]),
            pad=(attrs["pad"][0], attrs["pad"][2]),
            height=height,
            width=width,
        )


def kept_network(trace: Trace) -> Network:
    """Return a trace's network, whose graph is never written; it is kept, which keeps no trace."""
    return _kept(weakref.ref(trace))


@functools.lru_cache(maxsize=64)
def _kept(trace: weakref.ref[Trace]) -> Network:
    found = trace()
    assert found is not None  # who asks has it
    return Network(found)
