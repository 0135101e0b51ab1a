"""What a tuning does on images: what it loses, what it takes, and how often its predictions are right."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from simhw.errors import TuningError
from simhw.parameters import Parameters, load
from simhw.parameters.speculation import TENTHS
from simhw.trace import Trace
from simhw.transforms.speculation import orderings
from simhw.tuning.network import Images, Network, NetworkLayer, Outcome, network_of
from simhw.workload import Workload, load_workload

Progress = Callable[[int, int, str], None]
Array = np.ndarray
NORMAL_95 = 1.959963984540054  # of the normal distribution, 2.5 % lie above
_VALUES = 1 << 15  # outputs above zero, and zero, that 16 bits can hold


@dataclass(kw_only=True)
class MeasuredLayer:
    """A layer in the running network: its windows, by what they would end as and what was predicted.

    A window is positive if its complete sum is above zero, of the inputs that it had; what an earlier
    layer mispredicted is in these.
    """

    name: str
    kind: str
    filters: int
    predictive_filters: int  # 0: the layer runs in exact mode, or to the end
    whole_macs: int = 0
    exact_macs: int = 0
    macs: int = 0
    positives: int = 0
    negatives: int = 0
    true_negatives: int = 0  # negative, and predicted to be
    false_negatives: int = 0  # positive, and predicted not to be
    _values: Array = field(default_factory=lambda: np.zeros(_VALUES, np.int64), repr=False)
    _mispredicted: Array = field(default_factory=lambda: np.zeros(_VALUES, np.int64), repr=False)

    @property
    def true_negative_rate(self) -> float:
        """The share of negative outcomes that were predicted."""
        return self.true_negatives / self.negatives if self.negatives else 0.0

    @property
    def false_negative_rate(self) -> float:
        """The share of positive outcomes that were predicted negative."""
        return self.false_negatives / self.positives if self.positives else 0.0

    @property
    def mispredictions(self) -> tuple[float, ...]:
        """The share of mispredictions in each tenth of the layer's positive outputs, the smallest first.

        Outputs of one value that lie in two tenths are shared out between them. Empty if there are none.
        """
        if not self.false_negatives:
            return ()
        ends = np.linspace(0, 1, TENTHS + 1)
        below = np.interp(ends * self.positives, *self._below())
        return tuple((np.diff(below) / self.false_negatives).tolist())

    @property
    def small_share(self) -> float:
        """The share of mispredictions that fall on small values: the lower half of the positive outputs."""
        return sum(self.mispredictions[: TENTHS // 2])

    def _below(self) -> tuple[Array, Array]:
        """Return how many positive, and mispredicted, outputs lie below each value that occurs."""
        occurs = np.flatnonzero(self._values)
        return tuple(
            np.concatenate([[0], counts[occurs].cumsum()]) for counts in (self._values, self._mispredicted)
        )  # type: ignore[return-value]

    def add(self, outcome: Outcome) -> None:
        """Count some windows."""
        self.macs += int(outcome.macs.sum(dtype=np.int64))
        positive = outcome.complete > 0
        positives = int(np.count_nonzero(positive))
        self.positives += positives
        self.negatives += positive.size - positives
        if not self.predictive_filters:
            return
        wrong = positive & outcome.predicted
        false_negatives = int(np.count_nonzero(wrong))
        self.false_negatives += false_negatives
        self.true_negatives += int(np.count_nonzero(outcome.predicted)) - false_negatives
        self._values += np.bincount(outcome.outputs[positive], minlength=_VALUES)
        self._mispredicted += np.bincount(outcome.outputs[wrong], minlength=_VALUES)

    def to_dict(self) -> dict[str, Any]:
        return {
            "layer": self.name,
            "kind": self.kind,
            "filters": self.filters,
            "predictive_filters": self.predictive_filters,
            "whole_macs": self.whole_macs,
            "exact_macs": self.exact_macs,
            "macs": self.macs,
            "positives": self.positives,
            "negatives": self.negatives,
            "true_negative_rate": self.true_negative_rate,
            "false_negative_rate": self.false_negative_rate,
            "small_share": self.small_share if self.false_negatives else None,
            "mispredictions": list(self.mispredictions),
        }


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A tuning on some images, beside exact mode on the same; shares are from 0 to 1."""

    tuning: str
    images: int
    exact_accuracy: float | None  # None without labels
    accuracy: float | None
    agreeing: int  # images of which the exact network names the same class
    layers: tuple[MeasuredLayer, ...]

    @property
    def agreement(self) -> float:
        return self.agreeing / self.images

    @property
    def agreement_interval(self) -> tuple[float, float]:
        """Wilson's interval of the agreement, 95 %."""
        return wilson(self.agreeing, self.images)

    @property
    def loss(self) -> float | None:
        """The accuracy lost against the exact network, in percentage points."""
        if self.accuracy is None or self.exact_accuracy is None:
            return None
        return 100 * (self.exact_accuracy - self.accuracy)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def exact_macs(self) -> int:
        return sum(layer.exact_macs for layer in self.layers)

    @property
    def whole_macs(self) -> int:
        return sum(layer.whole_macs for layer in self.layers)

    @property
    def predictive(self) -> tuple[MeasuredLayer, ...]:
        """The layers of which a filter predicts."""
        return tuple(layer for layer in self.layers if layer.predictive_filters)

    @property
    def predictive_share(self) -> float:
        """The share of convolution layers that run in predictive mode (Table 3.4)."""
        convolutions = [layer for layer in self.layers if layer.kind == "conv"]
        predictive = [layer for layer in convolutions if layer.predictive_filters]
        return len(predictive) / len(convolutions) if convolutions else 0.0

    @property
    def true_negative_rate(self) -> float | None:
        """The plain mean of the predictive layers' rates, as in Table 3.5.

        The paper says "all the convolutional layers"; those in exact mode predict nothing, and AlexNet's
        61.84 %, spread over its three predictive layers of five, would make more than 100 % of each.
        """
        return _mean([layer.true_negative_rate for layer in self.predictive])

    @property
    def false_negative_rate(self) -> float | None:
        """The plain mean of the predictive layers' rates, as in Table 3.5."""
        return _mean([layer.false_negative_rate for layer in self.predictive])

    @property
    def small_share(self) -> float | None:
        """The share of all mispredictions on small values, those of the lower half of their layer's."""
        wrong = sum(layer.false_negatives for layer in self.layers)
        if not wrong:
            return None
        return sum(layer.small_share * layer.false_negatives for layer in self.layers) / wrong

    @property
    def mispredictions(self) -> tuple[float, ...]:
        """The share of all mispredictions in each tenth of their layer's positive outputs."""
        wrong = sum(layer.false_negatives for layer in self.layers)
        parts = [np.array(x.mispredictions) * x.false_negatives for x in self.layers if x.false_negatives]
        return tuple((np.sum(parts, axis=0) / wrong).tolist()) if wrong else ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "tuning": self.tuning,
            "images": self.images,
            "exact_accuracy": self.exact_accuracy,
            "accuracy": self.accuracy,
            "loss": self.loss,
            "agreement": self.agreement,
            "agreement_interval": list(self.agreement_interval),
            "whole_macs": self.whole_macs,
            "exact_macs": self.exact_macs,
            "macs": self.macs,
            "predictive_share": self.predictive_share,
            "true_negative_rate": self.true_negative_rate,
            "false_negative_rate": self.false_negative_rate,
            "small_share": self.small_share,
            "mispredictions": list(self.mispredictions),
            "layers": [layer.to_dict() for layer in self.layers],
        }


@dataclass(frozen=True, kw_only=True)
class Exact:
    """What exact mode does on some images: what every tuning is held against."""

    network: Network
    classes: Array
    macs: dict[str, int]


def evaluate(
    tuning: str | Path | Parameters,
    network: str | Path | Workload | Trace | Network | Exact,
    images: Images | None = None,
    *,
    data: str | Path | None = None,
    weights: str | Path | None = None,
    progress: Progress | None = None,
) -> Measured:
    """Measure a tuning on the images of a trace, or on some of a workload's.

    What `run_exact` returned may be given in place of the network, and is then not run again.
    """
    exact = network
    if not isinstance(exact, Exact):
        exact = run_exact(network, images, data=data, weights=weights, progress=progress)  # type: ignore
    own = exact.network
    loaded = load(tuning, "speculation", own)
    unfit = [name for name in loaded.layers if name not in own.stopping]
    if unfit:
        raise TuningError([f"{loaded.where}: layers.{name}: reads numbers below zero" for name in unfit])
    ordered = {name: own.by_name[name].exact for name in own.stopping} | orderings(loaded, own)
    layers = {
        layer.name: MeasuredLayer(
            name=layer.name,
            kind=layer.kind,
            filters=layer.shape.out_channels,
            predictive_filters=loaded.layers[layer.name].predictive if layer.name in loaded.layers else 0,
            whole_macs=layer.shape.macs * own.images,
            exact_macs=exact.macs[layer.name],
        )
        for layer in own.layers
    }

    def observe(layer: NetworkLayer, outcome: Outcome) -> None:
        layers[layer.name].add(outcome)

    classes = own.predictions(ordered, observe, _named(progress, loaded.name))
    labelled = own.labels is not None
    return Measured(
        tuning=loaded.name,
        images=own.images,
        exact_accuracy=float(np.mean(exact.classes == own.labels)) if labelled else None,
        accuracy=float(np.mean(classes == own.labels)) if labelled else None,
        agreeing=int(np.count_nonzero(classes == exact.classes)),
        layers=tuple(layers.values()),
    )


def run_exact(
    network: str | Path | Workload | Trace | Network,
    images: Images | None = None,
    *,
    data: str | Path | None = None,
    weights: str | Path | None = None,
    progress: Progress | None = None,
) -> Exact:
    """Run exact mode on the images of a trace, or on some of a workload's."""
    if not isinstance(network, Network):
        if isinstance(network, Trace) and images is not None:
            raise TuningError(f"{network.name}: a trace has its images; name none")
        source = network if isinstance(network, Trace | Workload) else load_workload(network)
        network = network_of(source, images, data, weights)
    macs = {layer.name: 0 for layer in network.layers}

    def observe(layer: NetworkLayer, outcome: Outcome) -> None:
        macs[layer.name] += int(outcome.macs.sum(dtype=np.int64))

    ordered = {name: network.by_name[name].exact for name in network.stopping}
    classes = network.predictions(ordered, observe, _named(progress, "exact mode"))
    return Exact(network=network, classes=classes, macs=macs)


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of which `hits` of `trials` were seen (Wilson, JASA 1927)."""
    share, z = hits / trials, NORMAL_95
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    reach = math.sqrt(share * (1 - share) / trials + z * z / (4 * trials**2)) * z / (1 + z * z / trials)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _named(progress: Progress | None, name: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(done, total, name)
