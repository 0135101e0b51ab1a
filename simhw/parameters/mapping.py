"""Mappings: which loop bounds each layer of a network has on a machine; letters with numbers.

Whether a mapping is legal on a machine is for its dataflow to say. A published one speaks of the layers of
a paper, whatever network they stand in, and need not be bound to one.
"""

from __future__ import annotations

from typing import Any

from simhw import core
from simhw.core.parameters import ParameterKind
from simhw.errors import MappingError
from simhw.parameters.file import VERSION, count
from simhw.yamlfile import Document, Place, show


class Mapping(ParameterKind, kind="mapping"):
    """What sits where and when, by layer: the letters of the dataflow that it is made for."""

    ERROR = MappingError
    DIGESTS = ()
    MAKE = "simhw map"

    @classmethod
    def older_form(cls, document: Document) -> tuple[Place, str] | None:
        given = document.value
        if "kind" in given or "version" in given or "layers" not in given:
            return None
        values = count(given["layers"])
        return (), (
            f"is a mapping of an older form, without kind and version; make it again with '{cls.MAKE}', or "
            f"write 'kind: mapping', 'version: {VERSION}' and 'values: {values}' above its layers"
        )

    @classmethod
    def read_layer(cls, document: Document, place: Place) -> dict[str, Any]:
        values = document.mapping(place, "a mapping of parameters (m: 96)")
        for parameter, value in values.items():
            if type(value) is not int or value < 1:
                document.fault((*place, parameter), f"wants {core.wanted(core.Count)}, got {show(value)}")
        return values
