"""Words of place and size in a request ("the two largest ships left of the bridge") and the candidates they choose.

A request is read from the outside in: the thing something is near or beside is cut off first, then the part of the
picture, then sizes and numbers; what is left names the target. Up is north: a picture is taken as it is shown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rsrag.adapters.base import PixelBox
from rsrag.adapters.ground.words import is_plural, several
from rsrag.superlatives import ORDINALS

NEAR = 0.15
"""Part of the picture's diagonal within which things are near each other."""
LEVEL = 0.1
"""Part of the picture's width or height within which things lie equally far to a side."""
_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = {word: number for number, word in enumerate(_WORDS, start=1)}
_ORDINALS = (
    {word: number for number, word in enumerate(ORDINALS, start=1)}
    | {"1st": 1, "2nd": 2, "3rd": 3}
    | {f"{number}th": number for number in range(4, len(ORDINALS) + 1)}
)
_LEAD = re.compile(
    r"^(?:please|(?:can|could) you(?: see)?|(?:can|do) i see"
    r"|show(?: me)?|find(?: me)?|locate|mark|detect|point (?:out|to)|highlight|count|how many"
    r"|(?:what is )?the number of|number of|where (?:is|are)|what (?:is|are)|which|what|is there|are there"
    r"|there (?:is|are)|all|any|every|each)\b\s*"
)
_TAIL = re.compile(
    r"\s*\b(?:(?:are|is|were|was) there|are|is|were|was|(?:can|do) (?:you|we|i) see|can be (?:seen|found)|there|here"
    r"|visible|shown|in view|do(?:es)? (?:the|this|that) (?:image|picture|scene|photo|tile) (?:show|have|contain)"
    r"|(?:in|on|of|within|across|inside) (?:the|this|that) "
    r"(?:image|picture|scene|photo|photograph|tile|chip|view|frame|map))$"
)
_ARTICLE = re.compile(r"^(of the|of|the|a|an|this|that|these|those)\s+", re.IGNORECASE)
_SIDES = {
    "left": "left", "right": "right", "top": "top", "bottom": "bottom", "upper": "top", "lower": "bottom",
    "north": "top", "south": "bottom", "west": "left", "east": "right", "northern": "top", "southern": "bottom",
    "western": "left", "eastern": "right", "center": "center", "centre": "center", "middle": "center",
    "central": "center",
}  # fmt: skip
_SIDE = "|".join(sorted(_SIDES, key=len, reverse=True))
_CORNERS = {"northwest": "top-left", "northeast": "top-right", "southwest": "bottom-left", "southeast": "bottom-right"}
_WHERE = rf"(?:(?:{'|'.join(_CORNERS)}|{_SIDE})(?:[- ](?:{_SIDE}))?)"
_PART = r"(?:[- ]hand)?(?:[- ](?:corner|side|part|half|edge|end|margin|area))?"
_PLACED = re.compile(
    rf"\s+(?:in|on|at|to|toward|towards|along|near)\s+(?:the\s+)?(?:(?:far|very)\s+)?(?P<where>{_WHERE}){_PART}$"
)
_LEADING = re.compile(rf"^(?P<where>{_WHERE})\s+(?=\S)")
_BESIDE = r"(?:(?:to|on|at) the )?"
_HAND = r"(?:[- ]hand)?(?: side)? of"
_RELATIONS = {
    "near": "near|close to|next to|beside|around|by|adjacent to|alongside|along|in front of",
    "nearest": "nearest(?: to)?|closest(?: to)?",
    "farthest": "farthest from|furthest from|farthest away from|furthest away from",
    "far": "far from|away from|not (?:near|close to|next to|beside|by)",
    "left": f"{_BESIDE}(?:left|west){_HAND}",
    "right": f"{_BESIDE}(?:right|east){_HAND}",
    "top": f"above|{_BESIDE}north{_HAND}",
    "bottom": f"below|under|{_BESIDE}south{_HAND}",
    "outside": "outside(?: of)?|not (?:inside|within|in|on|at)",
    "inside": "on top of|inside|within|in|on|at|crossing|across|over",
}
_RELATION = re.compile(
    r"\s+(?:(?:that|which) (?:is|are) )?(?:(?:lying|standing|parked|moored|located) )?(?:"
    + "|".join(f"(?P<{name}>(?:{words}))" for name, words in _RELATIONS.items())
    + r")\s+(?P<anchor>\S.*)$"
)
_NEAREST = re.compile(r"^(?:the )?(?:nearest|closest) (?P<target>\S.*?) (?:to|from|of) (?P<anchor>\S.*)$")
_EXTREMES = {
    "largest": "largest", "biggest": "largest", "smallest": "smallest", "tiniest": "smallest", "leftmost": "left",
    "rightmost": "right", "topmost": "top", "uppermost": "top", "bottommost": "bottom", "lowermost": "bottom",
    "northernmost": "top", "southernmost": "bottom", "westernmost": "left", "easternmost": "right",
}  # fmt: skip
_EMPTY = {
    *_SIDES, *_CORNERS, *_NUMBERS, *_ORDINALS, *_EXTREMES, "nearest", "closest", "the", "a", "an", "this", "that",
    "these", "those", "of", "it", "they", "them", "ones", "thing", "things",
}  # fmt: skip
"""Words that name nothing to look for, alone or together: "the second one", "the two largest"."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A request, read.

    Attributes:
        target: what is looked for, in words.
        single: one thing is meant ("the ship"), not all there are.
        counting: the request asks for a number.
        extreme: "largest", "smallest", "left", "right", "top" or "bottom"; the first by that order are meant.
        rank: 2 for "the second largest".
        number: of things, 2 for "the two largest"; None where it is not said.
        where: part of the picture: "left", "top-right", "center" and the like.
        relation: key of the relations: "near", "nearest", "far", "farthest", "left", "right", "top", "bottom",
            "outside", "inside".
        anchor: what the relation refers to, in words.
    """

    target: str
    single: bool = False
    counting: bool = False
    extreme: str | None = None
    rank: int = 1
    number: int | None = None
    where: str | None = None
    relation: str | None = None
    anchor: str | None = None


def parse(text: str) -> Expression:
    """Read a request. The target is empty when the text names none."""
    words = " ".join(re.sub(r"[\"'`?!.,;:]+", " ", text.casefold()).split())
    counting = bool(re.match(r"(?:please )?(?:how many|count|(?:what is )?(?:the )?number of)\b", words))
    whole, words = words, _stripped(words)
    everything = not {"all", "every", "each"}.isdisjoint(whole[: whole.find(words)].split())
    relation = anchor = where = None
    if (placed := _PLACED.search(" " + words)) is not None:  # "near the left edge" is a place, not a relation
        where, words = _place(placed["where"]), (" " + words)[: placed.start()].strip()
    if (found := _NEAREST.match(words)) is not None:
        relation, words = "nearest", f"the {found['target']}"
        anchor = _ARTICLE.sub("", found["anchor"])
    elif (found := _RELATION.search(" " + words)) is not None:
        relation = next(name for name in _RELATIONS if found[name])
        anchor, words = _ARTICLE.sub("", found["anchor"].strip()), (" " + words)[: found.start()].strip()
    if where is None and (placed := _PLACED.search(" " + words)) is not None:
        where, words = _place(placed["where"]), (" " + words)[: placed.start()].strip()
    words = _stripped(words)
    definite = re.match(r"(?:the|this|that|a|an|nearest|closest)\b", words) is not None
    words, number, rank, extreme, leading = _adjectives(words)
    where = where or leading
    if all(word in _EMPTY for word in words.split()):
        words = ""
    plural = is_plural(words) or several(words) or (number or 1) > 1
    single = not plural and not counting and not everything and (definite or extreme is not None or number == 1)
    return Expression(words, single, counting, extreme, rank, number, where, relation, anchor)


def without_article(text: str) -> str:
    """A text without the articles and pointing words that it begins with; empty where it has no others."""
    words = " ".join(text.split())
    while (found := _ARTICLE.match(f"{words} ")) is not None:
        words = words[found.end() :]
    return words


def _stripped(words: str) -> str:
    """Without the words around a request that say nothing of its target."""
    while (shorter := _TAIL.sub("", _LEAD.sub("", words)).strip()) != words:
        words = shorter
    return words


def _adjectives(words: str) -> tuple[str, int | None, int, str | None, str | None]:
    """Target, number, rank, extreme and place of what stands before a noun."""
    number, rank, extreme, where = None, 1, None, None
    while True:
        words = _ARTICLE.sub("", words)
        first, _, rest = words.partition(" ")
        if not rest:
            return words, number, rank, extreme, where
        if first in _NUMBERS or (first.isdecimal() and len(first) < 4 and int(first) > 0):
            number = _NUMBERS.get(first) or int(first)
        elif first in _ORDINALS and rest.partition(" ")[0] in _EXTREMES:
            rank = _ORDINALS[first]
        elif first in _EXTREMES:
            extreme = _EXTREMES[first]
        elif (placed := _LEADING.match(words)) is not None:
            where, rest = _place(placed["where"]), words[placed.end() :]
        else:
            return words, number, rank, extreme, where
        words = rest


def _place(words: str) -> str:
    parts = [_CORNERS.get(w) or _SIDES.get(w, "") for w in re.split(r"[- ]", words)]
    sides = [side for part in parts for side in part.split("-") if side]
    vertical = next((s for s in sides if s in ("top", "bottom")), None)
    across = next((s for s in sides if s in ("left", "right")), None)
    return "-".join(filter(None, (vertical, across))) or "center"


Anchors = Callable[[str], Sequence[PixelBox]]
"""Boxes of what a phrase names."""


def choose(
    expression: Expression,
    boxes: Sequence[PixelBox],
    scores: Sequence[float],
    size: tuple[int, int],
    anchors: Anchors,
) -> list[int]:
    """The candidates that an expression means, the best first.

    Args:
        expression: from :func:`parse`.
        boxes: of the candidates.
        scores: of the candidates.
        size: width and height of the picture in pixels.
        anchors: finds what a relation refers to; when it finds nothing, nothing is meant.
    """
    kept = sorted(range(len(boxes)), key=lambda n: -scores[n])
    if expression.relation is not None:
        kept = _related(expression, kept, boxes, size, list(anchors(expression.anchor or "")))
    if expression.where is not None:
        kept = _placed(expression, kept, boxes, size)
    if expression.extreme is not None:
        kept = _by_extreme(expression.extreme, kept, boxes)[expression.rank - 1 :]
        if expression.single or expression.number:
            return kept[: expression.number or 1]
        sized = expression.extreme in ("largest", "smallest")
        return _alike(kept, boxes) if sized else _level(expression.extreme, kept, boxes, size)
    if expression.number is not None:
        return kept[: expression.number]
    return kept[:1] if expression.single else kept


def _related(
    expression: Expression,
    kept: list[int],
    boxes: Sequence[PixelBox],
    size: tuple[int, int],
    others: Sequence[PixelBox],
) -> list[int]:
    """Those that stand in the relation to any of the others; for one thing meant, the one that does most."""
    reach = NEAR * math.hypot(*size)
    # A thing is not its own neighbour.
    gaps = {n: min((gap(boxes[n], o) for o in others if o != boxes[n]), default=math.inf) for n in kept}
    kept = [n for n in kept if gaps[n] < math.inf]
    relation = expression.relation
    if relation in ("near", "nearest", "far", "farthest"):
        sign = 1 if relation in ("near", "nearest") else -1
        order = sorted(kept, key=lambda n: sign * gaps[n])
        if relation in ("nearest", "farthest"):
            return order[: expression.number or 1]
        fitting = [n for n in order if (gaps[n] <= reach) == (relation == "near")]
        return fitting or order[: 1 if expression.single else 0]
    if relation == "outside":
        return [n for n in kept if not any(_holds(o, middle(boxes[n])) for o in others if o != boxes[n])]
    if relation == "inside":  # the middle of a thing on a bridge, or of a ship in a harbour
        return [n for n in kept if any(_holds(o, middle(boxes[n])) for o in others if o != boxes[n])]
    across = relation in ("left", "right")
    sign = 1 if relation in ("left", "top") else -1

    def beyond(one: PixelBox, other: PixelBox) -> bool:
        (x, y), (u, v) = middle(one), middle(other)
        along, aside = (sign * (u - x), abs(v - y)) if across else (sign * (v - y), abs(u - x))
        return along > 0 and along >= aside / 2

    fitting = [n for n in kept if any(beyond(boxes[n], o) for o in others if o != boxes[n])]
    return sorted(fitting, key=lambda n: gaps[n])


def _placed(expression: Expression, kept: list[int], boxes: Sequence[PixelBox], size: tuple[int, int]) -> list[int]:
    """Those in a part of the picture, or the one furthest there when one is meant."""
    assert expression.where is not None
    sides = expression.where.split("-")
    goal = [0.5, 0.5]
    for side in sides:
        if side in ("left", "right"):
            goal[0] = float(side == "right")
        elif side in ("top", "bottom"):
            goal[1] = float(side == "bottom")

    def away(n: int) -> float:
        x, y = middle(boxes[n])
        dx, dy = abs(x - goal[0] * size[0]), abs(y - goal[1] * size[1])
        if expression.where in ("left", "right"):
            return dx
        return dy if expression.where in ("top", "bottom") else math.hypot(dx, dy)

    order = sorted(kept, key=away)
    if expression.single and expression.extreme is None and expression.relation is None:
        return order[:1]
    reach = 0.25 if expression.where == "center" else 0.5
    return [n for n in order if _within(boxes[n], size, goal, reach, sides)]


def _within(box: PixelBox, size: tuple[int, int], goal: Sequence[float], reach: float, sides: Sequence[str]) -> bool:
    """Whether the middle of a box is less than a share of the picture away from where the sides meet."""
    x, y = middle(box)
    across = sides == ["center"] or "left" in sides or "right" in sides
    down = sides == ["center"] or "top" in sides or "bottom" in sides
    near_x = not across or abs(x / size[0] - goal[0]) < reach
    return near_x and (not down or abs(y / size[1] - goal[1]) < reach)


def _by_extreme(extreme: str, kept: list[int], boxes: Sequence[PixelBox]) -> list[int]:
    keys: dict[str, Callable[[PixelBox], float]] = {
        "largest": lambda b: -_area(b), "smallest": _area, "left": lambda b: middle(b)[0],
        "right": lambda b: -middle(b)[0], "top": lambda b: middle(b)[1], "bottom": lambda b: -middle(b)[1],
    }  # fmt: skip
    return sorted(kept, key=lambda n: keys[extreme](boxes[n]))


def _alike(order: list[int], boxes: Sequence[PixelBox]) -> list[int]:
    """The first of an order and those nearly as large or small."""
    if not order:
        return []
    first = _area(boxes[order[0]])
    return [n for n in order if 0.8 * first <= _area(boxes[n]) <= 1.25 * first]


def _level(side: str, order: list[int], boxes: Sequence[PixelBox], size: tuple[int, int]) -> list[int]:
    """The first of an order and those hardly further from the same side of the picture."""
    axis = 0 if side in ("left", "right") else 1
    places = [middle(boxes[n])[axis] for n in order]
    return [n for n, place in zip(order, places, strict=True) if abs(place - places[0]) <= LEVEL * size[axis]]


def middle(box: PixelBox) -> tuple[float, float]:
    """Centre of a box."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def gap(one: PixelBox, other: PixelBox) -> float:
    """Distance between the nearest points of two boxes in pixels; 0 where they touch."""
    dx = max(one[0] - other[2], other[0] - one[2], 0.0)
    dy = max(one[1] - other[3], other[1] - one[3], 0.0)
    return math.hypot(dx, dy)


def _holds(box: PixelBox, point: tuple[float, float]) -> bool:
    return box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]


def _area(box: PixelBox) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
