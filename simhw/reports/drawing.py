"""The machine as a drawing: its parts with their sizes, its grids shaded by how much they worked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from typing import Any

from simhw.reports import words
from simhw.result import Result

INK, FAINT, LINE = "#1f2933", "#7b8794", "#9aa5b1"
CHIP, BOX, OFF_CHIP = "#fbfcfd", "#ffffff", "#fdf6f6"
LIGHT, DARK = (0xEA, 0xF1, 0xF7), (0x2F, 0x5D, 0x8A)
WIDTH, MARGIN, GAP = 960, 16, 18
ROW = 16  # height of a line of text
BOX_WIDTH, DRAM_WIDTH = 236, 168
_CELL = re.compile(r"^(?P<role>\w+)\[(?P<row>\d+),(?P<column>\d+)\]")


@dataclass(frozen=True)
class Box:
    """A part as it is drawn: what stands in it, line by line."""

    role: str
    kind: str
    lines: tuple[str, ...]

    @property
    def height(self) -> int:
        return 40 + ROW * len(self.lines) + (6 if self.lines else 0)


def machine_drawing(result: Result) -> str:
    """Return the machine as SVG text; empty if the result names no parts.

    What lies outside the chip stands left, single parts in the middle, grids right, each cell
    shaded by the share of all cycles in which it worked.
    """
    roles = [path for path in result.parts if "." not in path]
    outside = [_box(result, role) for role in roles if result.is_off_chip(role)]
    grids = {role: cells for role in roles if (cells := busy_cells(result, role))}
    inside = [_box(result, role) for role in roles if role not in grids and not result.is_off_chip(role)]
    if not roles:
        return ""
    chip_x = MARGIN + (DRAM_WIDTH + 2 * GAP if outside else 0)
    middle_x = chip_x + GAP
    grid_x = middle_x + (BOX_WIDTH + GAP if inside else 0)
    grid_width = WIDTH - MARGIN - GAP - grid_x
    drawn: list[str] = []
    top = MARGIN + GAP + 14
    y_middle = _stack(drawn, inside, middle_x, top, BOX_WIDTH, BOX)
    y_grid = top
    for role, cells in grids.items():
        y_grid = _grid(drawn, result, role, cells, grid_x, y_grid, grid_width)
    bottom = max(y_middle, y_grid, top + sum(box.height + GAP for box in outside)) - GAP
    frame = [_rectangle(chip_x, MARGIN, WIDTH - MARGIN - chip_x, bottom - MARGIN + GAP, CHIP, dash="4 3")]
    frame.append(
        _text(chip_x + GAP, MARGIN + 20, f"{result.accelerator}, {result.clock_mhz:g} MHz", FAINT, 11)
    )
    if outside:
        height = sum(box.height + GAP for box in outside) - GAP
        y = max(top, (top + bottom - height) // 2)
        _stack(drawn, outside, MARGIN, y, DRAM_WIDTH, OFF_CHIP)
        middle = y + height // 2
        frame.append(_wire(MARGIN + DRAM_WIDTH, middle, chip_x))
    height = bottom + GAP + MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(f"the parts of {result.accelerator}", quote=True)}">'
        + "".join(frame + drawn)
        + "</svg>"
    )


def busy_cells(result: Result, role: str) -> dict[tuple[int, int], float]:
    """Return, per cell of a grid, the share of all cycles in which it worked; empty for a single part.

    Where the run kept no account of a cell's cycles, its multiplications stand for them.
    """
    busy = _cells_of(result, role, "activity", lambda key: key.endswith("].busy") or key.endswith(".busy"))
    if not busy:
        busy = _cells_of(result, role, "actions", lambda key: key.endswith(".mul"))
    if not busy:
        return {}
    rows = 1 + max(row for row, _ in busy)
    columns = 1 + max(column for _, column in busy)
    if rows * columns < result.parts[role].get("instances", 1):
        rows, columns = _whole_grid(rows, columns, result.parts[role]["instances"])
    cycles = max(result.cycles, 1)
    return {(i, j): busy.get((i, j), 0) / cycles for i in range(rows) for j in range(columns)}


def _cells_of(result: Result, role: str, books: str, wanted: Any) -> dict[tuple[int, int], int]:
    found: dict[tuple[int, int], int] = {}
    for layer in result.layers:
        for key, n in getattr(layer, books).items():
            match = _CELL.match(key)
            if match and match["role"] == role and wanted(key):
                cell = int(match["row"]), int(match["column"])
                found[cell] = found.get(cell, 0) + n
    return found


def _whole_grid(rows: int, columns: int, instances: int) -> tuple[int, int]:
    """Return the smallest grid of that many cells around the ones that worked."""
    for wide in range(columns, instances + 1):
        if instances % wide == 0 and instances // wide >= rows:
            return instances // wide, wide
    return rows, columns


def _box(result: Result, role: str) -> Box:
    part = result.parts[role]
    sizes = _sizes(part["spec"])
    inner = [line for line in _inner(result, role) if words.plain(line.replace(":", "")) not in sizes]
    return Box(role, part["kind"], (*sizes, *inner))


def _inner(result: Result, role: str) -> list[str]:
    """Return a line for each block inside a part."""
    outer = result.parts[role]["spec"]
    inner = {path: part for path, part in result.parts.items() if path.startswith(f"{role}.")}
    sizes = {path: _inner_sizes(part["spec"], outer) for path, part in inner.items()}
    return [f"{path.removeprefix(f'{role}.')}: {size}" for path, size in sizes.items() if size]


def _inner_sizes(spec: dict[str, Any], outer: dict[str, Any]) -> str:
    """Return an inner part's numbers in one line, less a word width that is the outer part's own."""
    same = spec.get("word_bits") == outer.get("word_bits")
    return ", ".join(_sizes({k: v for k, v in spec.items() if not (same and k == "word_bits")}))


def _sizes(spec: dict[str, Any]) -> list[str]:
    """Return a part's numbers, a short line for each kind of thing."""
    units = (("_kib", "KiB"), ("_mhz", "MHz"), ("_bits", "bits"), ("_cycles", "cycles"), ("_words", "words"))
    lines = []
    for name, value in spec.items():
        if value is None or isinstance(value, bool) or name == "word_bits":
            continue
        unit = next((u for ending, u in units if name.endswith(ending)), "")
        ending = next((ending for ending, u in units if u == unit and unit), "")
        what = words.plain(name.removesuffix(ending))
        if name == "words":
            what, unit = "", "words"
        lines.append(" ".join(x for x in (what, words.setting(value), unit) if x))
    if "word_bits" in spec:
        lines.append(f"{spec['word_bits']}-bit words")
    return lines


def _stack(drawn: list[str], boxes: list[Box], x: int, y: int, width: int, fill: str) -> int:
    for box in boxes:
        drawn.append(_rectangle(x, y, width, box.height, fill))
        drawn.append(_text(x + 12, y + 20, box.role, INK, 12, bold=True))
        drawn.append(_text(x + width - 12, y + 20, words.plain(box.kind), FAINT, 10, end=True))
        for i, line in enumerate(box.lines):
            drawn.append(_text(x + 12, y + 40 + ROW * i, _fitting(line, width), INK, 11))
        y += box.height + GAP
    return y


def _grid(
    drawn: list[str],
    result: Result,
    role: str,
    cells: dict[tuple[int, int], float],
    x: int,
    y: int,
    width: int,
) -> int:
    part = result.parts[role]
    rows, columns = 1 + max(i for i, _ in cells), 1 + max(j for _, j in cells)
    cell = min(30.0, (width - 24) / columns)
    inner = _inner(result, role)
    height = int(40 + rows * cell + 26 + ROW * len(inner) + 12)
    drawn.append(_rectangle(x, y, width, height, BOX))
    drawn.append(_text(x + 12, y + 20, f"{role}: {rows} x {columns}", INK, 12, bold=True))
    drawn.append(_text(x + width - 12, y + 20, words.plain(part["kind"]), FAINT, 10, end=True))
    most = max(cells.values()) or 1.0
    left = x + 12
    for (i, j), share in sorted(cells.items()):
        drawn.append(
            f'<rect x="{left + j * cell:.1f}" y="{y + 34 + i * cell:.1f}" width="{cell - 2:.1f}" '
            f'height="{cell - 2:.1f}" rx="2" fill="{_shade(share / most)}">'
            f"<title>{escape(role)}[{i},{j}]: worked in {words.percent(share)} of all cycles</title></rect>"
        )
    below = y + 34 + int(rows * cell)
    least = min(cells.values())
    drawn.append(
        _text(
            left,
            below + 16,
            f"worked in {words.percent(least)} (light) to {words.percent(most)} (dark) of all cycles",
            FAINT,
            10,
        )
    )
    for i, line in enumerate(inner):
        drawn.append(_text(left, below + 38 + ROW * i, _fitting(line, width), INK, 11))
    return y + height + GAP


def _shade(strength: float) -> str:
    mixed = [round(light + (dark - light) * strength) for light, dark in zip(LIGHT, DARK, strict=True)]
    return "#" + "".join(f"{value:02x}" for value in mixed)


def _fitting(line: str, width: int) -> str:
    room = (width - 24) // 6
    return line if len(line) <= room else f"{line[: room - 1]}…"


def _rectangle(x: int, y: int, width: int, height: int, fill: str, dash: str | None = None) -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{fill}" '
        f'stroke="{LINE}" stroke-width="1"{dashes}/>'
    )


def _text(x: float, y: float, text: str, fill: str, size: int, bold: bool = False, end: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    anchor = ' text-anchor="end"' if end else ""
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{fill}"{weight}{anchor}>{escape(text)}</text>'


def _wire(x: int, y: int, to_x: int) -> str:
    """Return a line with an arrow head at either end."""
    left = f"M{x + 9} {y - 5} L{x + 2} {y} L{x + 9} {y + 5}"
    right = f"M{to_x - 9} {y - 5} L{to_x - 2} {y} L{to_x - 9} {y + 5}"
    return f'<path d="M{x + 3} {y} H{to_x - 3} {left} {right}" fill="none" stroke="{LINE}" stroke-width="2"/>'
