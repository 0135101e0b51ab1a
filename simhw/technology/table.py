"""What a technology table is once it has been read: prices of actions, areas of kinds."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

PLAIN = "printed"
FREE = "free"
STATUSES = (PLAIN, "derived", "fitted", "assumed")
RULES = ("exact", "proportional", "linear", "power_law")


@dataclass(frozen=True, kw_only=True)
class Price:
    """What one action costs in the table's `energy_unit`, and how that number came about.

    `status` is "printed" where the source prints the number for this very width and size, else
    "derived" (a stated rule made it), "fitted" or "assumed"; "free" where the table states that the
    action costs nothing.
    """

    energy: float
    how: str
    status: str = PLAIN
    source: str = ""


@dataclass(frozen=True)
class NoPrice:
    """Why a table has no price for an action, and what would do, as the end of a message."""

    place: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Numbers at a few sizes or widths, and the rule for what lies between and beyond them.

    power_law: the straight line through the two nearest points with both axes logarithmic.
    linear: the straight line through the two nearest points.
    proportional: one point, scaled with the size. exact: the points and nothing else.
    """

    points: tuple[tuple[float, float], ...]
    rule: str

    def at(self, x: float) -> tuple[float, bool] | None:
        """Return the number at x and whether it is one of the points; None where the rule has none."""
        sizes = [size for size, _ in self.points]
        for size, value in self.points:
            if size == x:
                return value, True
        if self.rule == "exact":
            return None
        if self.rule == "proportional":
            size, value = self.points[0]
            return value * x / size, False
        left = min(max(bisect_right(sizes, x) - 1, 0), len(sizes) - 2)
        (x0, y0), (x1, y1) = self.points[left], self.points[left + 1]
        if self.rule == "linear":
            return max(0.0, y0 + (y1 - y0) * (x - x0) / (x1 - x0)), False
        return y0 * (x / x0) ** (math.log(y1 / y0) / math.log(x1 / x0)), False

    def describe(self, x: float, unit: str) -> str:
        """Return where x lies among the points, for people."""
        low, high = self.points[0][0], self.points[-1][0]
        if any(size == x for size, _ in self.points):
            return f"at {x:g} {unit}"
        where = "between" if low < x < high else "beyond"
        return f"{self.rule} {where} {low:g} and {high:g} {unit}, at {x:g} {unit}"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One price of a table: flat, by width, or by size.

    `energy` is for one action, or for `per_bits` bits of the component's word. `by_bits` gives it at
    operand widths (`float_by_bits` for floating point), `by_size_kib` at sizes of a memory.
    """

    place: str
    source: str
    status: str = PLAIN
    energy: float = 0.0
    per_bits: float | None = None
    by_bits: Curve | None = None
    float_by_bits: Curve | None = None
    by_size_kib: Curve | None = None

    def price(self, component: str, spec: Mapping[str, Any], scale: float, unit: str) -> Price | NoPrice:
        """Return the price for a component of this spec, each number times `scale`."""
        bits = spec.get("word_bits")
        by_width = self.by_bits or self.float_by_bits
        if bits is None and (self.per_bits or by_width):
            return self._lacks(
                f"prices by the bit, and {component} has no word_bits",
                "give the component one, or price the action whole (energy_pj without per_bits)",
            )
        if self.by_size_kib:
            size = size_kib(spec)
            if size is None:
                return self._lacks(
                    f"prices by size, and {component} has none",
                    "give the component size_kib, or words and word_bits, or price the action whole",
                )
            found = self._read_off(self.by_size_kib, size, "KiB", component)
        elif by_width:
            is_float = str(spec.get("number", "")).startswith("float")
            curve = self.float_by_bits if is_float else self.by_bits
            if curve is None:
                name = "float_by_bits" if is_float else "by_bits"
                return self._lacks(f"has no {name}, which {component} wants", "give it")
            found = self._read_off(curve, float(bits or 0), "bits", component)
        else:
            found = self.energy, self.status, ""
        if isinstance(found, NoPrice):
            return found
        energy, status, how = found
        amount = f"{energy * scale:g} {unit}"
        if self.per_bits and bits:
            per = "bit" if self.per_bits == 1 else f"{self.per_bits:g} bits"
            amount = f"{amount} per {per} x {bits:g} bits"
            energy = energy * bits / self.per_bits
        return Price(energy=energy * scale, how=amount + how, status=status, source=self.source)

    def _read_off(self, curve: Curve, x: float, of: str, component: str) -> tuple[float, str, str] | NoPrice:
        """Return energy, status and how at x bits or KiB."""
        found = curve.at(x)
        if found is None:
            known = ", ".join(f"{size:g}" for size, _ in curve.points)
            return self._lacks(
                f"has nothing at {x:g} {of}, which {component} wants; known: {known}",
                "give it, or a rule such as power_law",
            )
        energy, is_point = found
        status = "derived" if self.status == PLAIN and not is_point else self.status
        return energy, status, f" ({curve.describe(x, of)})"

    def _lacks(self, what: str, what_would_do: str) -> NoPrice:
        return NoPrice(self.place, f"{what}; {what_would_do}")


@dataclass(frozen=True, kw_only=True)
class Area:
    """What one instance of a kind takes up: flat, or by the size of a memory."""

    source: str
    area_um2: float = 0.0
    by_size_kib: Curve | None = None
    status: str = PLAIN

    def of(self, spec: Mapping[str, Any]) -> float | None:
        if self.by_size_kib is None:
            return self.area_um2
        size = size_kib(spec)
        found = None if size is None else self.by_size_kib.at(size)
        return None if found is None else found[0]


PricesByPath = Callable[[str, str, Mapping[str, Any]], Price | NoPrice]


@dataclass(frozen=True, kw_only=True)
class Technology:
    """A technology table: prices by `kind.action`, or by component path where it came from Accelergy.

    A relative table (`unit` "ratio") without a scale prices in units of `relative_to`, and
    `energy_unit` says so; with `scale_pj_per_unit` it prices in pJ.
    """

    name: str
    file: str
    digest: str
    source: str
    unit: str = "pJ"
    relative_to: str = ""
    scale_pj_per_unit: float | None = None
    scale_status: str = ""
    node_nm: float | None = None
    volts: float | None = None
    entries: Mapping[str, Entry] = field(default_factory=dict)
    free: Mapping[str, str] = field(default_factory=dict)
    areas: Mapping[str, Area] = field(default_factory=dict)
    by_path: PricesByPath | None = None

    @property
    def energy_unit(self) -> str:
        """pJ, or what a relative table without a scale counts in, such as RF accesses."""
        return "pJ" if self.unit == "pJ" or self.scale_pj_per_unit is not None else self.relative_to

    def price(self, component: str, kind: str, action: str, spec: Mapping[str, Any]) -> Price | NoPrice:
        """Return what one action of a component costs; `component` is its path without indexes.

        What names the component's own path goes first (`free`, then an ERT), then what names its
        `kind.action`, then `kind.*`.
        """
        if f"{component}.{action}" in self.free:
            return self._free(f"{component}.{action}")
        missing: NoPrice | None = None
        if self.by_path is not None:
            found = self.by_path(component, action, spec)
            if isinstance(found, Price):
                return found
            missing = found
        for key in (f"{kind}.{action}", f"{kind}.*"):
            if key in self.free:
                return self._free(key)
            if key in self.entries:
                scale = self.scale_pj_per_unit if self.unit == "ratio" else None
                return self.entries[key].price(component, spec, scale or 1.0, self.energy_unit)
        return missing or NoPrice(
            f"entries.{kind}.{action}",
            "no price, and the machine counts it; give one, or name it under free with the reason",
        )

    def _free(self, key: str) -> Price:
        reason = self.free[key]
        return Price(energy=0.0, how=f"free: {reason}", status=FREE, source=reason)

    def area_um2(self, kind: str, spec: Mapping[str, Any]) -> float | None:
        """Return the area of one instance, None where the table has none."""
        area = self.areas.get(kind)
        return None if area is None else area.of(spec)


def size_kib(spec: Mapping[str, Any]) -> float | None:
    """Return the size of a memory from its spec: size_kib, or words times word_bits."""
    if spec.get("size_kib") is not None:
        return float(spec["size_kib"])
    words, bits = spec.get("words"), spec.get("word_bits")
    return None if words is None or bits is None else words * bits / 8192
