"""Tunings: the (Th, N) by which each filter of a network predicts that a sum ends below zero.

A threshold is a real number in the units of the layer's sums, its bias included; a number of groups is how
many products are looked at before it. (0, 1) leaves a filter in exact mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, Field

from simhw import core
from simhw.core import reading
from simhw.core.parameters import ParameterKind
from simhw.errors import DescriptionError, TuningError
from simhw.parameters.file import VERSION, count
from simhw.transforms import speculation
from simhw.yamlfile import Document, Place

TENTHS = 10  # of a layer's positive outputs, by which mispredictions are told
Amount = Annotated[int, Field(strict=True, ge=0), core.Wants("a whole number of at least 0", any_size=True)]
Share = Annotated[
    float, Field(strict=True, ge=0, le=1), core.Wants("a share from 0 to 1", any_size=True)
]  # fmt: skip
Interval = Annotated[
    list[Share],
    Field(min_length=2, max_length=2),
    AfterValidator(lambda ends: _so(ends, ends[0] <= ends[1])),
    core.Wants("two shares from 0 to 1, the smaller first"),
]
Tenths = Annotated[
    list[Share],
    AfterValidator(lambda shares: _so(shares, len(shares) in (0, TENTHS))),
    core.Wants(f"{TENTHS} shares from 0 to 1, or none"),
]


def _so(value: list[float], is_right: bool) -> list[float]:
    if not is_right:
        raise ValueError
    return value


@dataclass(frozen=True, kw_only=True)
class Filters(core.Spec):
    """(Th, N) of each filter of a layer; (0, 1) is exact mode."""

    thresholds: Annotated[tuple[core.Finite, ...], core.Wants("a list of numbers, one for each filter")]
    groups: Annotated[tuple[core.Count, ...], core.Wants("a list of whole numbers, one for each filter")]

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.thresholds) != len(self.groups):
            raise DescriptionError(
                f"groups: {len(self.groups)} given beside {len(self.thresholds)} thresholds; wants one of "
                "each for each filter"
            )
        # one number is written in one way: 1 and 1.0 are the same threshold, and so are 0 and -0
        object.__setattr__(self, "thresholds", tuple(float(limit) + 0.0 for limit in self.thresholds))
        object.__setattr__(self, "groups", tuple(self.groups))

    @property
    def predictive(self) -> int:
        """How many filters predict."""
        exact = zip(self.thresholds, self.groups, strict=True)
        return sum(pair != speculation.EXACT for pair in exact)


@dataclass(frozen=True, kw_only=True)
class Measured(core.Spec):
    """Under `reached.measured`: what the tuning did on the images kept for that. All may be left out."""

    images: Amount = 0
    exact_accuracy: Share = 0.0
    accuracy: Share = 0.0
    agreement: Share = 0.0
    agreement_interval: Interval = field(default_factory=lambda: [0.0, 1.0])
    whole_macs: Amount = 0
    exact_macs: Amount = 0
    macs: Amount = 0
    predictive_share: Share = 0.0
    true_negative_rate: Share = 0.0
    false_negative_rate: Share = 0.0
    small_share: Share = 0.0
    mispredictions: Tenths = field(default_factory=list)


class Speculation(ParameterKind, kind="speculation"):
    """By what each filter predicts that a sum ends below zero."""

    NOUN = "tuning"
    ERROR = TuningError
    DIGESTS = ("network", "weights")
    MAKE = "simhw tune"
    Layer = Filters

    @classmethod
    def older_form(cls, document: Document) -> tuple[Place, str] | None:
        given, version = document.value, document.value.get("version")
        if "optimize" in given and "layers" not in given:
            return (), "is a recipe of tunings; wants a tuning, which simhw tune makes of it"
        if type(version) is not int or not 0 < version < VERSION:
            return None
        values = count(given.get("layers", {}))
        return ("version",), (
            f"is {version}, of tunings alone; wants {VERSION}: make it again with '{cls.MAKE}', or write "
            f"{VERSION}, 'values: {values}' in place of filters if it is whole, and no digests.layers"
        )

    @classmethod
    def check_head(cls, document: Document) -> None:
        reached = document.value.get("reached")
        if not isinstance(reached, dict) or "measured" not in reached:
            return
        place = ("reached", "measured")
        measured = document.mapping(place, f"a mapping ({', '.join(reading.names(Measured))})")
        reading.check(document, place, Measured, measured)

    @classmethod
    def layer_faults(cls, own: Filters, layer: Any) -> Iterator[tuple[Place, str]]:
        weights = np.asarray(layer.weights)
        filters, size, fraction = len(weights), weights[0].size, layer.formats["bias"].fraction
        for part in ("thresholds", "groups"):
            if len(getattr(own, part)) != filters:
                yield (part,), f"{len(getattr(own, part))} given; wants {filters}, one for each filter"
        for i, limit in enumerate(own.thresholds):
            if not speculation.has_place(limit, fraction):
                yield ("thresholds", i), speculation.no_place(limit, fraction)
        for i, groups in enumerate(own.groups):
            if groups > size:
                yield ("groups", i), f"is {groups}; wants 1 to {size}, the weights of the filter"
        if layer.activation not in ("relu", "relu6"):
            yield (), "no ReLU follows this layer, and its sums below zero count; leave it out"

    @classmethod
    def summary(cls, reached: Mapping[str, Any]) -> str:
        agreement = reached.get("measured", {}).get("agreement")
        said = [("loss", reached.get("loss")), ("agreement", agreement)]
        return ", ".join(f"{name} {value:g}" for name, value in said if value is not None)
