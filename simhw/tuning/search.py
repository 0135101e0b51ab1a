"""Algorithm 1 of SnaPEA (Akhlaghi et al., ISCA 2018): (Th, N) for every filter, within an accepted loss.

The three passes bear the algorithm's names. What it leaves open is read like this:

- *The set of values (th, n)*: those of `candidates`; exact mode, (0, 1), ends every list, and what takes
  no fewer operations than that is not tried.
- *op* of a filter is what its own windows take, all else in exact mode, summed over the profiled images;
  *err* is what the network loses, in images. Both passes before the last may look at a part of the
  images alone; the last looks at all of them.
- *T* is the length of the longest list of the layer's filters; a filter whose list is shorter stays with
  its last parameter, exact mode. So the last configuration of a layer is exact mode, which loses nothing:
  no list is ever empty, and the search ends with the exact network at the latest.
- *Merit* is -d_err / d_op, of a configuration against the layer's present one. By the formula a step back
  to fewer operations and a larger loss has a positive merit, too; so only configurations that take more
  operations than the present one are looked at. The chosen one is removed from the list (line 35), and
  with it all that take no more operations. Of equal merits the one of fewer added operations counts, then
  the earlier layer. A list that runs empty is skipped.
- The order of the steps does not depend on the loss of the whole network, so it is known beforehand. With
  `steps: each` the first that is accepted is the answer, as in the algorithm; with `bisect`, one that is
  accepted and whose predecessor is not, which is the same one if the loss falls with every step.
- *Equation 3.1* predicts at a partial sum of at most Th; here a sum must be below Th, as the section on
  the hardware says.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from simhw.trace import sha256_of
from simhw.transforms import speculation
from simhw.transforms.sign_order import Ordering
from simhw.tuning.candidates import Param, PartialSums, candidates
from simhw.tuning.journal import Journal
from simhw.tuning.network import Network, NetworkLayer, Outcome
from simhw.tuning.recipe import Recipe

Progress = Callable[[int, int, str], None]
ParamK = dict[str, list[list[Param]]]  # layer, filter: sorted by op
Array = np.ndarray


@dataclass(frozen=True)
class Configuration:
    """A parameter for each filter of a layer, and what the layer takes and loses with them, by itself."""

    params: tuple[Param, ...]
    op: int
    err: int


ParamL = dict[str, list[Configuration]]
ParamCNN = dict[str, Configuration]


@dataclass(frozen=True)
class Simulated:
    """What a whole network did: images lost against the exact network, and products taken."""

    lost: int
    macs: int


class Case:
    """The network, its images and what was found out about them: the algorithm's Simulate.

    Answers are kept in the journal, and asked for once.
    """

    def __init__(self, network: Network, recipe: Recipe, journal: Journal) -> None:
        self.network, self.recipe, self.journal = network, recipe, journal
        chosen = network.convolutions if recipe.layers == "conv" else network.stopping
        self.layers = tuple(network.by_name[name] for name in chosen)
        rng = np.random.default_rng(recipe.seed)
        some = min(recipe.profile_images or network.images, network.images)
        self.profiled = np.sort(rng.permutation(network.images)[:some])
        self._tensors: dict[str, Array] = {}
        self._classes = np.zeros(0, np.int64)
        self._sums: tuple[str, PartialSums | None] = ("", None)

    def allowed(self, budget: float, images: int) -> int:
        """Return how many images may be lost of so many, for a budget in percentage points."""
        return int(Fraction(str(budget)) * images / 100)

    def limit(self, budget: float) -> int:
        """Return how many of the profiled images may be lost."""
        return self.allowed(budget, len(self.profiled))

    def candidates(self, layer: NetworkLayer) -> list[list[Param | None]]:
        """Return what is tried for each filter of a layer."""
        question = f"candidates {layer.name}"
        if question not in self.journal:
            recipe = self.recipe
            made = candidates(self._partial_sums(layer), recipe.groups, recipe.quantiles, recipe.keep)
            plain = [[p and [p.threshold, p.groups, p.op] for p in own] for own in made]
            self.journal.add(question, plain)
        return [[p and Param(*p) for p in own] for own in self.journal[question]]

    def lost_by_filter(self, layer: NetworkLayer, filter: int, param: Param) -> int:
        """Return how many profiled images are lost where one filter alone predicts."""
        question = f"filter {layer.name} {filter} {param.threshold!r} {param.groups}"
        if question not in self.journal:
            self.journal.add(question, self._lost(layer, {filter: param}))
        return self.journal[question]

    def lost_by_layer(self, layer: NetworkLayer, params: Sequence[Param]) -> int:
        """Return how many profiled images are lost where one layer alone predicts."""
        question = f"layer {layer.name} {sha256_of([[p.threshold, p.groups] for p in params])}"
        if question not in self.journal:
            self.journal.add(question, self._lost(layer, dict(enumerate(params))))
        return self.journal[question]

    def whole_network(self, configurations: Mapping[str, Sequence[Param]]) -> Simulated:
        """Return what is lost, and taken, of all images where all layers predict together."""
        plain = {name: [[p.threshold, p.groups] for p in own] for name, own in configurations.items()}
        question = f"network {sha256_of(plain)}"
        if question not in self.journal:
            orderings = {name: self.network.by_name[name].exact for name in self.network.stopping}
            for name, params in configurations.items():
                orderings[name] = ordering_of(self.network.by_name[name], params)
            taken = 0

            def observe(layer: NetworkLayer, outcome: Outcome) -> None:
                nonlocal taken
                taken += int(outcome.macs.sum(dtype=np.int64))

            classes = self.network.predictions(orderings, observe)
            self.journal.add(question, [self._compared(classes, self._exact_classes(), None), taken])
        return Simulated(*self.journal[question])

    def exact_network(self) -> Simulated:
        """Return what exact mode takes."""
        return self.whole_network({})

    def _exact_classes(self) -> Array:
        if "exact classes" not in self.journal:
            self.journal.add("exact classes", self.network.predictions({}).tolist())
        return np.array(self.journal["exact classes"], np.int64)

    def _lost(self, layer: NetworkLayer, params: Mapping[int, Param]) -> int:
        """Return how many profiled images are lost where some filters of a layer predict."""
        predictive = {k: param for k, param in params.items() if not param.is_exact}
        if not predictive:
            return 0
        sums = self._partial_sums(layer)
        output = exact = self._tensors[layer.name]
        for k, param in predictive.items():
            wrong = sums.predicted(k, param.threshold, param.groups) & (exact[:, k] > 0)
            if wrong.any():
                output = exact.copy() if output is exact else output
                output[:, k][wrong] = 0
        if output is exact:
            return 0
        classes = self.network.classes_with(self._tensors, layer.name, output, self._classes)
        return self._compared(classes, self._classes, self.profiled)

    def _compared(self, classes: Array, exact: Array, which: Array | None) -> int:
        """Return how many images more are wrong than in exact mode, or are named another class."""
        if self.recipe.metric == "agreement":
            return int(np.count_nonzero(classes != exact))
        labels = self.network.labels
        assert labels is not None  # or the recipe had been refused
        labels = labels if which is None else labels[which]
        return int(np.count_nonzero(exact == labels) - np.count_nonzero(classes == labels))

    def _partial_sums(self, layer: NetworkLayer) -> PartialSums:
        """Return the sums of the layer in hand; those of the one before are forgotten."""
        if not self._tensors:
            self._tensors = self.network.tensors(self.profiled)
            self._classes = self._exact_classes()[self.profiled]
        if self._sums[0] != layer.name:
            self._sums = ("", None)
            inputs = self._tensors[self.network.graph[layer.name].inputs[0]]
            self._sums = (layer.name, PartialSums(layer, inputs))
        sums = self._sums[1]
        assert sums is not None
        return sums


def kernel_profiling_pass(case: Case, limit: int, progress: Progress | None = None) -> ParamK:
    """Find the parameters that each filter may have by itself, sorted by what they take (lines 4 to 13).

    Profiled by layer, a place in the lists of candidates is tried for all filters at once, and is for all
    of them or for none.
    """
    param_k: ParamK = {}
    filters = sum(layer.shape.out_channels for layer in case.layers)
    done = 0
    for layer in case.layers:
        table = case.candidates(layer)
        exact = [own[-1] for own in table if own[-1] is not None]
        if case.recipe.profile_by == "layer":
            columns = [[p or exact[k] for k, p in enumerate(column)] for column in zip(*table, strict=True)]
            fitting = [column for column in columns if case.lost_by_layer(layer, column) <= limit]
            fitting.sort(key=lambda column: sum(p.op for p in column))
            param_k[layer.name] = [list(own) for own in zip(*fitting, strict=True)]
            done += len(table)
        else:
            param_k[layer.name] = []
            for k, tried in enumerate(table):
                if progress:
                    progress(done, filters, f"profiling {layer.name}")
                own = [p for p in tried if p and (p.is_exact or case.lost_by_filter(layer, k, p) <= limit)]
                param_k[layer.name].append(sorted(own, key=lambda p: (p.op, p.groups, p.threshold)))
                done += 1
        if progress:
            progress(done, filters, f"profiling {layer.name}")
    return param_k


def local_optimization_pass(
    case: Case, limit: int, param_k: ParamK, progress: Progress | None = None
) -> ParamL:
    """Find the configurations that each layer may have by itself (lines 14 to 22)."""
    param_l: ParamL = {}
    for done, layer in enumerate(case.layers):
        lists = param_k[layer.name]
        param_l[layer.name] = []
        longest = max(map(len, lists))
        for t in range(longest):
            if progress:
                progress(done, len(case.layers), f"layer {layer.name}, {t + 1} of {longest}")
            params = tuple(own[min(t, len(own) - 1)] for own in lists)
            err = case.lost_by_layer(layer, params)
            if err <= limit:
                op = sum(param.op for param in params)
                param_l[layer.name].append(Configuration(params, op, err))
    return param_l


def adjust_param(param_cnn: ParamCNN, param_l: ParamL) -> tuple[str, int] | None:
    """Return the layer and the number of the configuration of largest merit (lines 23 to 28).

    None where no configuration takes more operations than the present one of its layer.
    """
    best: tuple[Fraction, int] | None = None
    chosen: tuple[str, int] | None = None
    for name, configurations in param_l.items():
        now = param_cnn[name]
        for t, one in enumerate(configurations):
            more = one.op - now.op
            if more <= 0:
                continue
            merit = Fraction(-(one.err - now.err), more)
            if best is None or (merit, -more) > best:
                best, chosen = (merit, -more), (name, t)
    return chosen


def global_optimization_pass(
    case: Case, allowed: int, param_l: ParamL, progress: Progress | None = None
) -> tuple[ParamCNN, Simulated]:
    """Adjust the layers until the whole network loses no more than allowed (lines 29 to 37)."""
    path = list(adjustments(param_l))
    found: dict[int, Simulated] = {}

    def is_accepted(step: int) -> bool:
        if progress:
            progress(step, len(path), "whole network")
        found[step] = case.whole_network({name: one.params for name, one in path[step].items()})
        return found[step].lost <= allowed

    if case.recipe.steps == "each":
        step = next(step for step in range(len(path)) if is_accepted(step))
    else:
        step = bisect.bisect_left(range(len(path)), True, lo=1, key=is_accepted) if not is_accepted(0) else 0
    return path[step], found[step]


def adjustments(param_l: ParamL) -> Iterator[ParamCNN]:
    """Yield the network's configurations in the order in which they are tried, the last one exact mode.

    Which comes next depends on the merits alone, and on no loss of the whole network.
    """
    left = {name: list(configurations) for name, configurations in param_l.items()}
    param_cnn = {name: configurations[0] for name, configurations in left.items()}
    yield dict(param_cnn)
    while step := adjust_param(param_cnn, left):
        name, t = step
        param_cnn[name] = left[name][t]
        left[name] = [one for one in left[name] if one.op > param_cnn[name].op]
        yield dict(param_cnn)


def ordering_of(layer: NetworkLayer, params: Sequence[Param]) -> Ordering:
    """Return the weights of a layer in the order of its parameters."""
    return speculation.apply(
        layer.weights,
        [param.threshold for param in params],
        [param.groups for param in params],
        fraction=layer.formats["bias"].fraction,
        where=layer.name,
    )
