"""simhw: cycle-level simulation of neural-network accelerators whose work depends on the data.

The public API: `load_accelerator`, `load_trace`, `simulate`, `compare`, `plot`. Everything else may
change. Importing simhw is cheap; what a name needs is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simhw.accelerator import simulate
    from simhw.comparison import compare
    from simhw.description import load_accelerator
    from simhw.reports.plots import plot
    from simhw.trace import Trace

    load_trace = Trace.load

__version__ = "0.1.0"
__all__ = ["__version__", "compare", "load_accelerator", "load_trace", "plot", "simulate"]

_HOMES = {
    "compare": ("simhw.comparison", "compare"),
    "load_accelerator": ("simhw.description", "load_accelerator"),
    "load_trace": ("simhw.trace", "Trace.load"),
    "plot": ("simhw.reports.plots", "plot"),
    "simulate": ("simhw.accelerator", "simulate"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'simhw' has no attribute {name!r}")
    module, path = _HOMES[name]
    value: Any = importlib.import_module(module)
    for step in path.split("."):
        value = getattr(value, step)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
