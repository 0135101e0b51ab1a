"""Workloads: a network described in YAML, the weights and inputs it runs with, and the trace they make."""

from __future__ import annotations

from pathlib import Path

from simhw import shipped
from simhw.errors import WorkloadError
from simhw.workload.description import parse
from simhw.workload.exporter import FORMATS, export, load_fitted_params, load_inputs, load_params
from simhw.workload.network import BareNetwork, DataSource, WeightsSource, Workload

__all__ = [
    "FORMATS",
    "BareNetwork",
    "DataSource",
    "WeightsSource",
    "Workload",
    "export",
    "load_fitted_params",
    "load_inputs",
    "load_params",
    "load_workload",
]

SUFFIX = ".yaml"


def load_workload(name_or_path: str | Path) -> Workload:
    """Return the workload of a file, or of the name of one that ships."""
    return parse(shipped.find("workloads", name_or_path, SUFFIX, WorkloadError))
