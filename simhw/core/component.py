"""Hardware blocks: what they can do, what that costs in counts, and what they hold."""

from __future__ import annotations

import importlib.util
import operator
import os
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import simpy

from simhw.core.engine import Simulation
from simhw.core.registry import register
from simhw.core.spec import Spec
from simhw.errors import PluginError

_KINDS: dict[str, type[Component]] = {}  # filled when classes are defined, never written otherwise


class Component:
    """One block of hardware. Defining a subclass with a kind registers it.

    ACTIONS are all that it may be charged for. `structure` says what it is built from, without
    running anything; `parts` names the blocks inside it.
    """

    KIND: ClassVar[str] = ""
    ACTIONS: ClassVar[tuple[str, ...]] = ()
    STRUCTURE: ClassVar[tuple[str, ...]] = ("adders", "multipliers", "register_bits", "sram_bits")
    IS_LINK: ClassVar[bool] = False  # whether a schedule's transfers may go over its `link`
    Spec: ClassVar[type[Spec]] = Spec

    def __init_subclass__(cls, *, kind: str = "", **rest: Any) -> None:
        super().__init_subclass__(**rest)
        if not kind:
            return
        register(_KINDS, cls, kind)

    def __init__(self, sim: Simulation, name: str, spec: Any) -> None:
        self.sim = sim
        self.name = name
        self.spec = spec

    def count(self, action: str, n: int = 1) -> None:
        """Charge `action` n times to this instance."""
        if action not in self.ACTIONS:
            raise ValueError(f"{self.name}: {action!r} is not an action of {self.KIND}: {self.ACTIONS}")
        self.sim.ledger.add(self.name, action, n)

    def cycles(self, n: int) -> simpy.Timeout:
        """Return the event of n cycles having passed."""
        return self.sim.timeout(operator.index(n))

    @classmethod
    def parts(cls, spec: Any) -> Mapping[str, tuple[type[Component], Spec]]:
        """Return the blocks inside, by the name that follows this one's: `filter_spad`."""
        return {}

    @classmethod
    def structure(cls, spec: Any) -> dict[str, int]:
        """Return adders, multipliers, register_bits, sram_bits of one instance, its parts included."""
        total: dict[str, int] = {}
        for kind, part in cls.parts(spec).values():
            for what, n in kind.structure(part).items():
                total[what] = total.get(what, 0) + n
        return total


def component_kinds() -> dict[str, type[Component]]:
    """Return every registered kind; the shipped ones are there once simhw.components is imported."""
    return dict(sorted(_KINDS.items()))


def load_plugin(path: str | Path) -> None:
    """Run a user's Python file so that its components, dataflows and twins register themselves."""
    file = Path(path)
    if not os.path.isfile(file):
        raise PluginError(f"{path}: no such file; --plugin wants a Python file")
    # two files of one name in two folders are two plug-ins, and one file read twice is one
    name = f"simhw_plugin_{file.stem}_{zlib.crc32(str(file.resolve()).encode()):08x}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path}: is not a Python file; --plugin wants a name that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except PluginError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(f"{path}: could not be loaded: {type(error).__name__}: {error}") from error
