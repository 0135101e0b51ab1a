"""Components, dataflows and twins from outside the source tree, taken in only when named."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable
from pathlib import Path

from simhw import core
from simhw.errors import PluginError, did_you_mean

GROUP = "simhw.plugins"


def load_plugins(files: Iterable[str | Path] = (), entry_points: Iterable[str] = ()) -> None:
    """Let Python files, and installed packages by their entry points' names, register what they define."""
    for file in files:
        core.load_plugin(file)
    installed = {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}
    for name in entry_points:
        if name not in installed:
            raise PluginError(f"{name}: no plug-in of that name is installed{did_you_mean(name, installed)}")
        try:
            installed[name].load()
        except PluginError:
            raise
        except Exception as error:
            raise PluginError(f"{name}: could not be loaded: {type(error).__name__}: {error}") from error
