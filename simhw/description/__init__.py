"""Accelerator descriptions: YAML in, checked parts out, every fault of a file in one raise."""

from simhw.description.loading import load_accelerator
from simhw.description.mappings import MAPPINGS, load_mapping
from simhw.description.model import Description
from simhw.description.plugins import load_plugins

__all__ = ["MAPPINGS", "Description", "load_accelerator", "load_mapping", "load_plugins"]
