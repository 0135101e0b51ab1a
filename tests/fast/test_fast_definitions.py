"""Every compiled function of the room stands under its plain definition."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest

import simhw.fast

MODULES = sorted(module.name for module in pkgutil.iter_modules(simhw.fast.__path__))


# functions whose definition is a schedule played as processes, in core, and the tests that hold them to it
ELSEWHERE = {
    "play_schedule": "tests/core/test_core_schedule.py",
    "play_columns": "tests/dataflows/test_lane_schedule.py",
}


def compiled_names(module):
    """Functions that numba compiles; with compilation switched off they look like any other."""
    from numba.core.registry import CPUDispatcher

    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, CPUDispatcher) and value.__module__ == module.__name__
    ]


@pytest.mark.parametrize("name", MODULES)
def test_each_compiled_function_has_a_plain_twin(name):
    module = importlib.import_module(f"simhw.fast.{name}")
    without = {found for found in compiled_names(module) if not hasattr(module, f"{found}_plain")}
    assert without <= set(ELSEWHERE)


@pytest.mark.parametrize(("name", "file"), ELSEWHERE.items())
def test_a_function_defined_elsewhere_is_held_to_it(name, file):
    text = (Path(__file__).parents[2] / file).read_text("utf-8")
    assert "play_processes" in text
    assert {"play_schedule": "outcome(play", "play_columns": "shortcut("}[name] in text


@pytest.mark.parametrize("name", MODULES)
def test_compiled_functions_are_kept_on_disk_and_round_nothing(name):
    module = importlib.import_module(f"simhw.fast.{name}")
    for found in compiled_names(module):
        options = getattr(module, found).targetoptions
        assert not options.get("fastmath"), found
        assert type(getattr(module, found)._cache).__name__ == "FunctionCache", found
