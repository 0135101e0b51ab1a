"""Numbers and names as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PREFIXES = (
    (1e12, "T"),
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1, ""),
    (1e-3, "m"),
    (1e-6, "µ"),
    (1e-9, "n"),
    (1e-12, "p"),
)


def engineering(value: float | None, unit: str) -> str:
    """Return three digits and a prefix: 1.37 mJ, 812 kB, 0 s."""
    if value is None:
        return "–"
    if value == 0:
        return f"0 {unit}".rstrip()
    size = abs(value)
    # what would print as 1000 moves up to 1.00 of the next prefix
    fits = [pair for pair in _PREFIXES if size >= pair[0] * (1 - 5e-4)]
    scale, prefix = fits[0] if fits else _PREFIXES[-1]
    number = size / scale
    digits = 2 if number < 9.995 else 1 if number < 99.95 else 0
    sign = "-" if value < 0 else ""
    return f"{sign}{number:.{digits}f} {prefix}{unit}".rstrip()


def energy(value: float | None, unit: str | None, bare: bool = False) -> str:
    """Return an energy in joules where the unit is pJ, else in the table's own unit, if not `bare`."""
    if value is None or unit is None:
        return "–"
    if unit == "pJ":
        return engineering(value * 1e-12, "J")
    number = engineering(value, "")
    return number if bare else f"{number} {unit}"


def count(value: int | float | None) -> str:
    """Return a count with its digits in groups: 12,345."""
    return "–" if value is None else f"{value:,}"


def percent(share: float | None) -> str:
    """Return a share as 12.3 %."""
    return "–" if share is None else f"{100 * share:.1f} %"


def plain(name: str) -> str:
    """Return a name of the code as words: filter_load becomes filter load."""
    return name.replace("_", " ")


def verdict(matches: bool | None, exact: bool = True, error: Mapping[str, float] | None = None) -> str:
    """Return what became of the comparison with the reference's output.

    Where outputs are meant to be near and not equal, how far off the worst is, if `error` tells.
    """
    if matches is False and not exact:
        return "near" if error is None else f"near, {error['max']:.3g} off"
    return {True: "equal", False: "DIFFERS", None: "–"}[matches]


def listed(shares: dict[str, float], whole: float) -> str:
    """Return the largest first, each as a share of the whole: dram 40.2 %, pes.mac 12.0 %."""
    ordered = sorted(shares.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{name} {percent(n / whole)}" for name, n in ordered if n and whole)


def setting(value: Any) -> str:
    """Return a value of a description as its YAML says it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
