"""Referring expressions made from labelled boxes: sentences that mean one box, by a fixed and seeded procedure.

For every image and class the expressions that are true of exactly one of its boxes, by a margin, are listed:

* ``class``: the only box of its class: "the bridge".
* ``side``: its middle is farther to a side than any other's by 5 % of that side: "the leftmost ship".
* ``corner``: its middle is nearest to a corner, by a factor of 1.3 and 5 % of the diagonal: "the ship in the
  upper left".
* ``size``: its box is largest or smallest by a factor of 1.3: "the largest storage tank".
* ``relation``: it is nearest to the only box of another class, by a factor of 1.3 and 5 % of the diagonal, measured
  between the nearest points of the boxes: "the vehicle nearest to the bridge".

Of these at most so many an image are drawn with a seed, kinds in turn, so that no kind outnumbers the others by much.
Boxes at the image's edge take part like all others. Nothing here uses the parser that is measured with them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rsrag.models.boxes import Boxes, areas

KINDS = ("class", "side", "corner", "size", "relation")
_FACTOR, _SHARE = 1.3, 0.05
_CORNERS = {"upper left": (0, 0), "upper right": (1, 0), "lower left": (0, 1), "lower right": (1, 1)}
_PHRASES = ("the {0} in the {1}", "the {1} {0}")


@dataclass(frozen=True, slots=True)
class Said:
    """An expression: its words, kind, class, and the row of the box that it means among those of the class."""

    text: str
    kind: str
    name: str
    row: int


def expressions(
    boxes: Mapping[str, Boxes], width: int, height: int, *, most: int = 3, seed: int | Sequence[int] = 0
) -> list[Said]:
    """Expressions for an image.

    Args:
        boxes: of every class, [N, 4] in pixels.
        width: of the image in pixels.
        height: of the image in pixels.
        most: expressions an image.
        seed: of the choice.
    """
    rng = np.random.default_rng(seed)
    known: dict[str, list[Said]] = {kind: [] for kind in KINDS}
    for said in _all(boxes, width, height, rng):
        known[said.kind].append(said)
    for kind in KINDS:
        known[kind] = [known[kind][n] for n in rng.permutation(len(known[kind]))]
    order = [KINDS[n] for n in rng.permutation(len(KINDS))]
    chosen: list[Said] = []
    while len(chosen) < most and any(known.values()):
        for kind in order:
            if known[kind] and len(chosen) < most:
                chosen.append(known[kind].pop())
    return chosen


def _all(boxes: Mapping[str, Boxes], width: int, height: int, rng: np.random.Generator) -> list[Said]:
    found: list[Said] = []
    diagonal = math.hypot(width, height)
    for name, own in sorted(boxes.items()):
        if len(own) == 1:
            found.append(Said(f"the {name}", "class", name, 0))
        if len(own) < 2:
            continue
        x, y = (own[:, 0] + own[:, 2]) / 2, (own[:, 1] + own[:, 3]) / 2
        for word, values, side in (
            ("leftmost", x, width), ("rightmost", -x, width), ("topmost", y, height), ("bottommost", -y, height),
        ):  # fmt: skip
            if (row := _first(values, _SHARE * side, 1.0)) is not None:
                found.append(Said(f"the {word} {name}", "side", name, row))
        for word, (right, bottom) in _CORNERS.items():
            away = np.hypot(x - right * width, y - bottom * height)
            if (row := _first(away, _SHARE * diagonal, _FACTOR)) is not None:
                phrase = _PHRASES[int(rng.integers(len(_PHRASES)))]
                found.append(Said(phrase.format(name, word), "corner", name, row))
        size = areas(own)
        for word, values in (("largest", 1 / np.maximum(size, 1e-9)), ("smallest", size)):
            if (row := _first(values, 0.0, _FACTOR)) is not None:
                found.append(Said(f"the {word} {name}", "size", name, row))
        for other, anchors in sorted(boxes.items()):
            if other != name and len(anchors) == 1:
                gaps = np.array([_gap(box, anchors[0]) for box in own])
                if (row := _first(gaps, _SHARE * diagonal, _FACTOR)) is not None:
                    found.append(Said(f"the {name} nearest to the {other}", "relation", name, row))
    return found


def _first(values: np.ndarray, margin: float, factor: float) -> int | None:
    """Row of the least value, if it is less than every other by a margin and a factor."""
    order = np.argsort(values, kind="stable")
    least, second = float(values[order[0]]), float(values[order[1]])
    clear = second - least >= margin and second > least and (factor == 1.0 or second >= factor * least)
    return int(order[0]) if clear else None


def _gap(one: np.ndarray, other: np.ndarray) -> float:
    dx = max(one[0] - other[2], other[0] - one[2], 0.0)
    dy = max(one[1] - other[3], other[1] - one[3], 0.0)
    return math.hypot(dx, dy)
