"""Changes in words: how much, where, from what into what; areas in m², ha or km², shares where there is no scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rsrag.adapters.measure import area_text
from rsrag.types import Sentence

if TYPE_CHECKING:
    from rsrag.adapters.change.request import ChangeResult, Transition

CELLS = (
    ("top-left", "top-center", "top-right"),
    ("center-left", "center", "center-right"),
    ("bottom-left", "bottom-center", "bottom-right"),
)
CELL_NAMES = tuple(name for row in CELLS for name in row)
CELL_SHARE = 0.02
"""Share of a cell that must have changed for the cell to be named as a place of change."""
_NAMED = 0.05
"""Share of all changes that a kind of change must have to be told in a sentence."""
_WIDE = 7


def cell_shares(counts: npt.NDArray[np.int64]) -> dict[str, float]:
    """Changed share of each cell from changed and compared pixels, [3, 3, 2]."""
    return {
        CELLS[row][col]: float(counts[row, col, 0] / max(1, counts[row, col, 1]))
        for row in range(3)
        for col in range(3)
    }


def cells_of(pixels: npt.NDArray[Any]) -> tuple[str, ...]:
    """Names of the cells that hold at least a tenth of the pixels [3, 3], most first."""
    total = pixels.sum()
    order = sorted(((int(pixels[r, c]), CELLS[r][c]) for r in range(3) for c in range(3)), reverse=True)
    return tuple(name for number, name in order if number and number >= 0.1 * total)


def places(result: ChangeResult) -> tuple[str, ...]:
    """Cells in which something changed, in reading order: 2 % of the cell, or where most of a small change lies."""
    if not result.changed:
        return ()
    top = max(result.cells.values())
    least = min(CELL_SHARE, top)
    return tuple(name for name in CELL_NAMES if result.cells.get(name, 0.0) >= least and result.cells[name] > 0)


def label(before: str, after: str) -> str:
    """A kind of change for people."""
    if not before or not after:
        return "change"
    return f"{before} to {after}" if before != after else f"change within {before}"


def amount(area_m2: float | None, share: float) -> str:
    """An area with its share, or the share of the pixels where there is no scale."""
    percent = f"{100 * share:.1f} %" if share >= 0.001 else "less than 0.1 %"
    return f"{area_text(area_m2)} ({percent})" if area_m2 is not None else f"{percent} of the pixels"


def listed(names: tuple[str, ...] | list[str]) -> str:
    """Names joined: a; a and b; a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def where(cells: tuple[str, ...]) -> str:
    """Cells as an adverb: "in the top-left and in the centre", "all over the image"."""
    if len(cells) >= _WIDE:
        return "all over the area"
    return f"in the {listed([c.replace('center', 'centre') for c in cells])}" if cells else "in places"


def counted(number: int) -> str:
    """A number of changed areas."""
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    told = words[number] if number < len(words) else f"{number:,}"
    return f"{told} changed area{'' if number == 1 else 's'}"


def sentences(result: ChangeResult) -> tuple[Sentence, ...]:
    """What a comparison says, most important first."""
    first, second = result.before.when, result.after.when
    if result.compared == 0:
        why = f"no pixel is valid at both dates, {first} and {second}"
        return (_said("No change was found."), _said(f"Nothing could be compared: {why}."))
    if not result.changed:
        return (_said(f"No change was found between {first} and {second}."),)
    found = [
        _said(
            f"Between {first} and {second}, {amount(result.area_m2, result.share)} of the compared ground changed,"
            f" in {counted(result.count)} {where(places(result))}."
            if result.area_m2 is not None
            else f"Between {first} and {second}, {amount(None, result.share)} changed,"
            f" in {counted(result.count)} {where(places(result))}."
        )
    ]
    total = sum(t.pixels for t in result.transitions) or 1
    told = [t for t in result.transitions if t.before != t.after and t.pixels >= _NAMED * total][:4]
    found += [_said(transition(t, result)) for t in told]
    within = [t for t in result.transitions if t.before == t.after and t.pixels >= 0.2 * total]
    if within and len(told) < 4:
        names = listed([t.before for t in within])
        share = sum(t.pixels for t in within) / total
        found.append(_said(f"{100 * share:.0f} % of it changed its look but stayed {names}."))
    largest = result.regions[0] if result.regions else None
    area = next((f.value for f in largest.facts if f.name == "area"), None) if largest is not None else None
    if largest is not None and result.count > 1 and isinstance(area, int | float):
        cell = next((str(f.value) for f in largest.facts if f.name == "cell"), "")
        kind = "" if largest.label == "change" else f", {largest.label},"
        place = f" in the {cell.replace('center', 'centre')}" if cell else ""
        found.append(_said(f"The largest single change{kind} covers {area_text(float(area))}{place}."))
    return tuple(found)


_VERBS = {
    ("vegetation", "built-up"): "Vegetation gave way to buildings, roads or other built-up ground",
    ("bare ground", "built-up"): "Bare ground was built over",
    ("water", "built-up"): "Water was filled and built over",
    ("built-up", "bare ground"): "Built-up ground was cleared",
    ("built-up", "vegetation"): "Built-up ground became green",
    ("vegetation", "bare ground"): "Vegetation was lost to bare ground",
    ("bare ground", "vegetation"): "Vegetation grew on bare ground",
    ("vegetation", "water"): "Water took the place of vegetation",
    ("bare ground", "water"): "Water covered bare ground",
    ("built-up", "water"): "Water covered built-up ground",
    ("water", "vegetation"): "Vegetation grew where water had been",
    ("water", "bare ground"): "Water retreated from bare ground",
}


def transition(found: Transition, result: ChangeResult) -> str:
    """One kind of change with its extent and place."""
    total = sum(t.pixels for t in result.transitions) or 1
    share = f"{100 * found.pixels / total:.0f} % of it"
    extent = area_text(found.area_m2) if found.area_m2 is not None else share
    return f"{_VERBS[found.before, found.after]} on {extent}, mostly {where(found.cells[:3])}."


_NEW = {
    "built-up": ("building", "buildings"), "water": ("water body", "water bodies"),
    "vegetation": ("patch of vegetation", "patches of vegetation"), "bare ground": ("bare patch", "bare patches"),
}  # fmt: skip
_ON = {
    "built-up": "the built-up ground", "water": "the water", "vegetation": "the vegetation",
    "bare ground": "the bare ground",
}  # fmt: skip


def caption(result: ChangeResult) -> str:
    """One short line in the manner of change captions: what appeared, on what, where; no numbers, no dates."""
    if not result.changed:
        return "nothing has changed"
    told = [t for t in result.transitions if t.before != t.after]
    if not told:
        return f"{_quantity(result.count, 'area', 'areas')} changed {where(places(result))}"
    top = max(told, key=lambda t: (t.after == "built-up" and t.pixels >= 0.1 * told[0].pixels, t.pixels))
    number = max(1, top.count)
    verb = "is" if number == 1 else "are"
    done = "built" if top.after == "built-up" else "now"
    what = _quantity(number, *_NEW[top.after])
    return f"{what} {verb} {done} on {_ON[top.before]} {where(top.cells[:2])}"


def _quantity(number: int, one: str, many: str) -> str:
    if number == 1:
        return f"a {one}"
    return f"{'a few' if number < 4 else 'several' if number < 10 else 'many'} {many}"


def _said(text: str) -> Sentence:
    return Sentence(text, ())
