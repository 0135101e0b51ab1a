"""Accelerator descriptions: YAML in, checked parts out, every fault of a file in one raise."""

from simhw.description.loading import load_accelerator
from simhw.description.model import Description
from simhw.description.plugins import load_plugins

__all__ = ["Description", "load_accelerator", "load_plugins"]
