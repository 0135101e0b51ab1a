"""Parameters: values by layer that somebody chose or learned for a network. What each kind of them is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from simhw.core import reading
from simhw.core.registry import register
from simhw.core.spec import Spec
from simhw.errors import ParameterError, SimhwError
from simhw.yamlfile import Document, Place


class ParameterKind:
    """One kind of parameter files. A subclass with a kind registers it; there are no objects of it.

    All kinds share one header, one loader and one check (`simhw.parameters`); a kind adds the Spec of a
    layer, and what a layer of the network must be for it.
    """

    KIND: ClassVar[str] = ""
    NOUN: ClassVar[str] = "parameters"  # what messages call such a file: tuning
    ERROR: ClassVar[type[SimhwError]] = ParameterError
    SUFFIX: ClassVar[str] = ".yaml"  # or .npz, where values are arrays
    DIGESTS: ClassVar[tuple[str, ...]] = ("network",)  # that a file of this kind must have
    MAKE: ClassVar[str] = ""  # the command that makes such files
    USE: ClassVar[str] = ""  # what to do with one that no machine takes by itself
    Layer: ClassVar[type[Spec]] = Spec

    def __init_subclass__(cls, *, kind: str = "", **rest: Any) -> None:
        super().__init_subclass__(**rest)
        if kind:
            register(_PARAMETERS, cls, kind)
            if "NOUN" not in vars(cls):
                cls.NOUN = kind  # pyright: ignore[reportConstantRedefinition]

    @classmethod
    def a_file(cls) -> str:
        """Return how messages call one: a tuning, coefficients."""
        return cls.NOUN if cls.NOUN.endswith("s") else f"a {cls.NOUN}"

    @classmethod
    def older_form(cls, document: Document) -> tuple[Place, str] | None:
        """Return the fault of a file that is not of today's form: its place, what it is and what would do."""
        return None

    @classmethod
    def check_head(cls, document: Document) -> None:
        """Look at what a kind alone has in its header."""

    @classmethod
    def read_layer(cls, document: Document, place: Place) -> Any:
        """Return what a file says of a layer, or None with the faults told."""
        values = document.mapping(place, ", ".join(reading.names(cls.Layer)))
        if not isinstance(document.at(place), dict):
            return None
        return reading.build(document, place, cls.Layer, values)

    @classmethod
    def layer_faults(cls, own: Any, layer: Any) -> Iterable[tuple[Place, str]]:
        """Yield (place in what the file says of it, what is wrong) for a layer of the network."""
        return ()

    @classmethod
    def summary(cls, reached: Any) -> str:
        """Return in a few words what such parameters do to a network, as far as their file says it."""
        return ""


_PARAMETERS: dict[str, type[ParameterKind]] = {}  # filled when classes are defined, never written otherwise


def kind_called(noun: str) -> str | None:
    """Return the kind whose files messages call so, None if there is none."""
    return next((kind for kind, cls in _PARAMETERS.items() if noun == cls.NOUN), None)


def parameter_kinds() -> dict[str, type[ParameterKind]]:
    """Return every registered kind; the shipped ones are there once simhw.parameters is imported."""
    return dict(sorted(_PARAMETERS.items()))
