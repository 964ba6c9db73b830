"""Boxes in the text of a vision-language model: each model's convention as data, and a reader that trusts nothing.

Models write boxes in pixels of the picture they were shown, in thousandths, in hundredths or as fractions of its sides,
as two corners or as corner and size, x first or y first; the published code of one model has been known to disagree
with its own comments. The convention is therefore part of a model's registry row (``options = { boxes = "..." }``) and
nothing is guessed from the numbers.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rsrag.errors import ConfigError

Box = tuple[float, float, float, float]
_SPANS: Mapping[str, float | None] = {
    "absolute": None, "absolute pixels": None, "pixels": None, "0-1000": 1000.0, "0-999": 999.0, "0-100": 100.0,
    "0-1": 1.0, "normalised": 1.0, "normalized": 1.0,
}  # fmt: skip
_ORDERS = ("xyxy", "yxyx", "xywh", "yxhw", "cxcywh")
_NUMBER = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"
_FOUR = re.compile(
    rf"[\[({{<]\s*({_NUMBER})[,;><\s]+({_NUMBER})[,;><\s)\]]+(?:[(\[]\s*)?({_NUMBER})[,;><\s]+({_NUMBER})\s*[\])}}>]"
)
"""No two neighbouring parts share a sign, so that a long run of blanks is read once."""
_FENCED = re.compile(r"```(?:json)?\s*(.*?)(?:```|$)", re.DOTALL)
_NEXT = re.compile(r"[\s,;]*(?=[\[{])")
_KEYS = ("bbox_2d", "bbox", "box", "box_2d", "bounding_box")
_LABELS = ("label", "name", "class", "category", "description")
MOST = 1000
"""Boxes taken of one answer: a model that repeats itself does not fill memory."""
_LONGEST = 200_000


@dataclass(frozen=True, slots=True)
class BoxConvention:
    """How a model writes boxes.

    Attributes:
        span: number that stands for the far side of the picture; None for pixels.
        order: "xyxy" (left, top, right, bottom), "yxyx", "xywh" (left, top, width, height), "yxhw", or "cxcywh".
    """

    span: float | None = None
    order: str = "xyxy"

    @classmethod
    def from_text(cls, text: str) -> BoxConvention:
        """Read a row's option: a span, then perhaps an order: "absolute pixels", "0-1000", "0-100 xywh", "0-1 yxyx".

        Raises:
            ConfigError: neither a known span nor a known order.
        """
        words = " ".join(text.lower().split())
        span, _, order = words.rpartition(" ")
        if order not in _ORDERS:
            span, order = words, "xyxy"
        if span not in _SPANS:
            known = f"one of {', '.join(_SPANS)}, then perhaps one of {', '.join(_ORDERS)}"
            raise ConfigError(f"box convention {text!r} is unknown", hint=known)
        return cls(_SPANS[span], order)

    def to_pixels(self, numbers: Box, width: float, height: float) -> Box:
        """Four numbers of an answer as left, top, right, bottom in pixels; corners in the wrong order are swapped.

        Args:
            numbers: as the model wrote them.
            width: of the picture that the model saw, in pixels.
            height: of it.
        """
        a, b, c, d = numbers
        if self.order in ("yxyx", "yxhw"):
            a, b, c, d = b, a, d, c
        if self.order in ("xywh", "yxhw"):
            c, d = a + c, b + d
        elif self.order == "cxcywh":
            a, b, c, d = a - c / 2, b - d / 2, a + c / 2, b + d / 2
        across, down = (width / self.span, height / self.span) if self.span else (1.0, 1.0)
        a, b, c, d = a * across, b * down, c * across, d * down
        return min(a, c), min(b, d), max(a, c), max(b, d)

    def from_pixels(self, box: Box, width: float, height: float) -> Box:
        """The inverse: what a model of this convention writes for a box."""
        across, down = (self.span / width, self.span / height) if self.span else (1.0, 1.0)
        left, top, right, bottom = box[0] * across, box[1] * down, box[2] * across, box[3] * down
        found = {
            "xyxy": (left, top, right, bottom),
            "yxyx": (top, left, bottom, right),
            "xywh": (left, top, right - left, bottom - top),
            "yxhw": (top, left, bottom - top, right - left),
            "cxcywh": ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top),
        }
        return found[self.order]


@dataclass(frozen=True, slots=True)
class Read:
    """What an answer holds: boxes in pixels with their labels ("" where none was given), and what was wrong with it."""

    boxes: tuple[Box, ...]
    labels: tuple[str, ...]
    warnings: tuple[str, ...]


def read_boxes(text: str, convention: BoxConvention, width: int, height: int) -> Read:
    """Boxes of a model's answer: JSON with or without a fence around it, or groups of four numbers in brackets.

    Boxes are clipped to the picture. Dropped with a warning: what is not four finite numbers, what lies outside of the
    picture, what is smaller than a pixel, repetitions, and everything beyond :data:`MOST`.

    Args:
        text: the answer.
        convention: of the model.
        width: of the picture that the model saw, in pixels.
        height: of it.
    """
    boxes: dict[tuple[Box, str], None] = {}
    wrong: dict[str, int] = {}
    for numbers, label in _numbers(text[:_LONGEST]):
        box = None if numbers is None else convention.to_pixels(numbers, width, height)
        reason = _fault(box, width, height)
        if reason is None and box is not None:
            inside = max(0.0, box[0]), max(0.0, box[1]), min(float(width), box[2]), min(float(height), box[3])
            if inside != box:
                wrong["clipped to the picture"] = wrong.get("clipped to the picture", 0) + 1
            reason = "repeated" if (inside, label) in boxes else "too many" if len(boxes) >= MOST else None
            if reason is None:
                boxes[inside, label] = None
        if reason is not None:
            wrong[reason] = wrong.get(reason, 0) + 1
    warnings = [f"{count} {'box' if count == 1 else 'boxes'} of the model: {why}" for why, count in wrong.items()]
    return Read(tuple(box for box, _ in boxes), tuple(label for _, label in boxes), tuple(warnings))


def _fault(box: Box | None, width: int, height: int) -> str | None:
    if box is None or not all(math.isfinite(v) for v in box):
        return "not four numbers"
    left, top, right, bottom = box
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        return "outside of the picture"
    if min(right, width) - max(left, 0) < 1 or min(bottom, height) - max(top, 0) < 1:
        return "smaller than a pixel"
    return None


def _numbers(text: str) -> Iterator[tuple[Box | None, str]]:
    """Groups of four numbers and their labels; None for an entry that should be a box and is not."""
    table = _json_of(text)
    found = list(_walk(table, 0)) if table is not None else []
    groups = list(_FOUR.finditer(text))
    if found and not (len(found) == 1 and not found[0][1] and len(groups) > 1):  # one bracket of several is no table
        yield from found
        return
    for match in groups:
        yield (float(match[1]), float(match[2]), float(match[3]), float(match[4])), ""


def _json_of(text: str) -> Any:
    """The JSON of a text that is complete, or None; cut-off arrays give their whole entries.

    Objects or tables that follow one another, such as one a line or one a fence, are a list of them; what comes after
    other words is left out.
    """
    decoder = json.JSONDecoder()
    fenced = _FENCED.findall(text)
    body = "\n".join(fenced) if fenced else text
    start = re.search(r"[\[{]", body)
    if start is None:
        return None
    values: list[Any] = []
    at = start.start()
    while len(values) <= MOST:
        try:
            value, at = decoder.raw_decode(body, at)
        except (ValueError, RecursionError):
            break
        values.append(value)
        after = _NEXT.match(body, at)
        if after is None or not _tabular(value):
            break
        at = after.end()
    if values:
        return values if len(values) > 1 else values[0]
    entries: list[Any] = []
    at = start.start() + 1
    while (brace := body.find("{", at)) >= 0 and len(entries) <= MOST:
        try:
            entry, at = decoder.raw_decode(body, brace)
        except (ValueError, RecursionError):
            at = brace + 1
            continue
        entries.append(entry)
    return entries or None


def _tabular(value: Any) -> bool:
    """Whether a value is an object or a list that begins with one, not bare numbers."""
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _walk(value: Any, depth: int) -> Iterator[tuple[Box | None, str]]:
    if depth > 6:
        return
    if isinstance(value, dict):
        key = next((k for k in _KEYS if k in value), None)
        if key is not None:
            label = next((str(value[k])[:80] for k in _LABELS if isinstance(value.get(k), str)), "")
            yield _four(value[key]), label
            return
        for inner in value.values():
            if isinstance(inner, list | dict):
                yield from _walk(inner, depth + 1)
    elif isinstance(value, list):
        if (box := _four(value)) is not None:
            yield box, ""
            return
        for inner in value:
            if isinstance(inner, list | dict):
                yield from _walk(inner, depth + 1)


def _four(value: Any) -> Box | None:
    """Four plain numbers, flat or as two pairs."""
    if isinstance(value, list) and len(value) == 2 and all(isinstance(v, list) and len(v) == 2 for v in value):
        value = [*value[0], *value[1]]
    if not isinstance(value, list) or len(value) != 4:
        return None
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in value):
        return None
    try:
        return float(value[0]), float(value[1]), float(value[2]), float(value[3])
    except OverflowError:
        return None
