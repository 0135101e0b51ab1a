"""What a paper prints, beside what comes out here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from simhw.errors import SimhwError, did_you_mean

Verdict = Literal[
    "exact", "within", "differs", "printed value inconsistent", "data not at hand", "not readable in the copy"
]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One number of a paper: `printed` is always the paper's own, `simulated` always this run's.

    `tolerance` is the relative difference accepted: 0.06 is 6 %; None means the comparison carries
    no pass mark, and the verdict is then never more than "differs": two numbers that need not agree
    may be alike by coincidence.
    """

    id: str
    printed: float | None
    simulated: float | None
    unit: str
    tolerance: float | None
    verdict: Verdict
    why: str | None = None

    @property
    def difference(self) -> float | None:
        """Return simulated over printed, less one."""
        if self.printed is None or self.simulated is None:
            return None
        if self.printed == 0:
            return 0.0 if self.simulated == 0 else None
        return self.simulated / self.printed - 1

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def chosen(sections: Mapping[tuple[str, ...], Callable[[], Iterable[Item]]], wanted: str) -> list[Item]:
    """Return the items of the sections that `wanted` (table2.case3) may be of, of all if it is empty.

    A section is called by what its items' names begin with: table2, or table2.case3.
    """
    own = [make for names, make in sections.items() if any(_overlap(name, wanted) for name in names)]
    if not own:
        known = [name for names in sections for name in names]
        first = wanted.partition(".")[0]
        near = [name for name in known if name.startswith(f"{first}.")]
        groups = list(dict.fromkeys(name.partition(".")[0] for name in known))
        raise SimhwError(
            f"reproduce: no item {wanted!r}{did_you_mean(wanted if near else first, near or groups)}"
        )
    return [one for make in own for one in make()]


def _overlap(name: str, wanted: str) -> bool:
    """Whether items of one name may be among those of the other."""
    return not wanted or f"{name}.".startswith(f"{wanted}.") or f"{wanted}.".startswith(f"{name}.")


def item(
    id: str,
    printed: float | None,
    simulated: float | None,
    unit: str,
    *,
    tolerance: float | None = 0.0,
    digits: int | None = None,
    why: str | None = None,
    inconsistent: bool = False,
) -> Item:
    """Judge one number. The verdict follows from the numbers, by one rule for every paper.

    exact: equal, as far as the `digits` after the point that the paper prints can tell (equal
    altogether if None), where there is a tolerance; a closed form has 0. within: not so, but no
    further off than `tolerance` of the printed value. differs: further off. Without a printed value
    the copy cannot be read there; without a simulated one its data are not at hand. `inconsistent`
    marks a printed value that the paper's own other numbers contradict; `why` then says how.
    """
    if inconsistent and not why:
        raise ValueError(f"{id}: a printed value called inconsistent wants a why")
    return Item(
        id=id,
        printed=printed,
        simulated=simulated,
        unit=unit,
        tolerance=tolerance,
        verdict=_verdict(printed, simulated, tolerance, digits, inconsistent),
        why=why,
    )


def _verdict(
    printed: float | None,
    simulated: float | None,
    tolerance: float | None,
    digits: int | None,
    inconsistent: bool,
) -> Verdict:
    if printed is None:
        return "not readable in the copy"
    if simulated is None:
        return "data not at hand"
    if inconsistent:
        return "printed value inconsistent"
    if tolerance is None:
        return "differs"
    off = abs(simulated - printed) * (1 - 1e-9)  # in floating point 16.5 - 16.45 is more than 0.05
    if off <= (0.0 if digits is None else 0.5 * 10**-digits):
        return "exact"
    if off <= tolerance * abs(printed):
        return "within"
    return "differs"
