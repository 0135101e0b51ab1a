"""Accelerator descriptions: YAML in, checked parts out, every fault of a file in one raise."""

from simhw.description.loading import load_accelerator
from simhw.description.mappings import MAPPINGS, load_mapping
from simhw.description.model import Description
from simhw.description.plugins import load_plugins
from simhw.description.tunings import TUNINGS, Tuning, load_tuning

__all__ = [
    "MAPPINGS",
    "TUNINGS",
    "Description",
    "Tuning",
    "load_accelerator",
    "load_mapping",
    "load_plugins",
    "load_tuning",
]
