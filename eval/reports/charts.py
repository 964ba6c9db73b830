"""The charts of a report, drawn with Pillow: bars, a confusion matrix, a reliability diagram.

Every chart is a picture, uint8 RGB of shape [H, W, 3], at twice the size that it is shown at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rsrag.models.base import Picture

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

INK, SOFT, LINE, PAPER = (28, 36, 48), (91, 102, 117), (223, 226, 230), (255, 255, 255)
OURS, THEIRS, WARM = (11, 110, 153), (168, 178, 189), (194, 65, 12)
_SCALE = 2
_TEXT, _SMALL, _TITLE = 13 * _SCALE, 11 * _SCALE, 15 * _SCALE
_MOST_CELLS = 32
"""Classes up to which the cells of a confusion matrix carry their counts."""


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def drawable(text: str, otherwise: str) -> str:
    """The text where the built-in font can write it (Latin scripts), else another one."""
    return text if text.isprintable() and all(ord(c) < 0x250 for c in text) else otherwise


def _wide(text: str, size: int) -> int:
    return math.ceil(_font(size).getlength(text))


def _clipped(text: str, size: int, width: int) -> str:
    while text and _wide(text, size) > width:
        text = text[:-2].rstrip() + "." if len(text) > 2 else ""
    return text


def _canvas(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (width, height), PAPER)
    return image, ImageDraw.Draw(image)


def _write(
    draw: ImageDraw.ImageDraw,
    x: float,
    y: float,
    text: str,
    *,
    size: int = _TEXT,
    fill: tuple[int, int, int] = INK,
    anchor: str = "lm",
) -> None:
    draw.text((x, y), text, font=_font(size), fill=fill, anchor=anchor)


def _pixels(image: Image.Image) -> Picture:
    return np.asarray(image, dtype=np.uint8)


def bars(rows: Mapping[str, Mapping[str, float]], names: Sequence[str], quiet: Sequence[str] = ()) -> Picture:
    """Horizontal bars, one panel a figure and one bar a row that has it.

    Args:
        rows: row → figure by name; negative values are drawn as 0.
        names: the figures to draw.
        quiet: rows drawn in grey, such as published ones.
    """
    panels = [(name, {row: f[name] for row, f in rows.items() if f.get(name) is not None}) for name in names]
    panels = [(name, found) for name, found in panels if found]
    step, head, pad = 24 * _SCALE, 40 * _SCALE, 20 * _SCALE
    used = {row for _, found in panels for row in found}
    shown = {row: drawable(row, f"row {number}") for number, row in enumerate(rows, 1) if row in used}
    labels = min(max([_wide(text, _TEXT) for text in shown.values()], default=0), 380 * _SCALE)
    width = pad + labels + pad // 2 + 360 * _SCALE + 70 * _SCALE
    height = sum(head + step * len(found) for _, found in panels) + pad
    image, draw = _canvas(width, max(height, 2 * pad))
    left, full = pad + labels + pad // 2, 360 * _SCALE
    y = 0
    for name, found in panels:
        _write(draw, pad, y + head / 2, drawable(name, "figure"), size=_TITLE)
        y += head
        top = _top(max(found.values()))
        for row, value in found.items():
            _write(draw, pad + labels, y + step / 2, _clipped(shown[row], _TEXT, labels), anchor="rm")
            end = left + full * max(0.0, min(1.0, value / top))
            colour = THEIRS if row in quiet else OURS
            draw.rectangle((left, y + 4 * _SCALE, max(left + _SCALE, end), y + step - 4 * _SCALE), fill=colour)
            _write(draw, end + 6 * _SCALE, y + step / 2, f"{value:.3g}" if top <= 1 else f"{value:.1f}", fill=SOFT)
            y += step
        draw.line((left, y - step * len(found), left, y), fill=LINE, width=_SCALE)
    return _pixels(image)


def _top(value: float) -> float:
    """End of an axis: 1 for shares, 100 for per cent, else the value itself."""
    return 1.0 if value <= 1 else 100.0 if value <= 100 else value


def matrix(labels: Sequence[str], counts: npt.NDArray[Any]) -> Picture:
    """A confusion matrix: rows are true classes, columns predicted ones, shades shares of the true class.

    Args:
        labels: class names in words, C of them; numbered on the columns.
        counts: int of shape [C, C], or [C, C + 1] with a last column for "unknown".
    """
    rows, columns = counts.shape
    names = [drawable(text, f"class {number}") for number, text in enumerate(labels, 1)]
    heads = names + ["unknown"] * (columns - rows)
    cell = max(14, min(44, 1000 // max(rows, 1))) * _SCALE
    size = max(7 * _SCALE, min(_TEXT, round(cell * 0.6)))
    label_width = min(max(_wide(text, size) for text in heads), 220 * _SCALE)
    pad, number_width = 16 * _SCALE, _wide(f"{rows} ", size) + 4 * _SCALE
    left, top = pad + label_width + number_width, pad + label_width + 26 * _SCALE
    image, draw = _canvas(left + cell * columns + pad, top + cell * rows + pad)
    _write(draw, left, pad + 4 * _SCALE, "predicted", size=_SMALL, fill=SOFT)
    _write(draw, pad, top - 10 * _SCALE, "true", size=_SMALL, fill=SOFT)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for row in range(rows):
        middle = top + cell * (row + 0.5)
        _write(draw, left - 6 * _SCALE, middle, _clipped(names[row], size, label_width), size=size, anchor="rm")
        for column in range(columns):
            share = float(shares[row, column])
            tint = OURS if row == column else WARM
            fill = tuple(round(p + (c - p) * share) for p, c in zip((247, 248, 250), tint, strict=True))
            x, y = left + cell * column, top + cell * row
            draw.rectangle((x, y, x + cell - _SCALE, y + cell - _SCALE), fill=fill)
            if counts[row, column] and rows <= _MOST_CELLS:
                ink = PAPER if share > 0.5 else INK
                text = str(int(counts[row, column]))
                fit = max(6 * _SCALE, min(size, round(cell * 0.9 * size / max(_wide(text, size), 1))))
                _write(draw, x + cell / 2, y + cell / 2, text, size=fit, fill=ink, anchor="mm")
    for column, text in enumerate(heads):
        _upright(image, _clipped(text, size, label_width), size, round(left + cell * (column + 0.5)), top - 5 * _SCALE)
    return _pixels(image)


def _upright(image: Image.Image, text: str, size: int, middle: int, bottom: int) -> None:
    """Text read from below, ending at ``bottom``."""
    from PIL import Image, ImageDraw

    height = round(size * 1.4)
    strip = Image.new("RGB", (max(1, _wide(text, size)), height), PAPER)
    ImageDraw.Draw(strip).text((0, height / 2), text, font=_font(size), fill=INK, anchor="lm")
    turned = strip.transpose(Image.Transpose.ROTATE_90)
    image.paste(turned, (middle - height // 2, bottom - turned.height))


def reliability(bins: Sequence[Mapping[str, float]]) -> Picture:
    """A reliability diagram: how often each bin of confidence is right, beside the diagonal where it should be.

    Args:
        bins: ``low``, ``high`` in [0, 1]; ``count``; ``confidence`` and ``accuracy`` in per cent.
    """
    side, left, top, strip = 340 * _SCALE, 62 * _SCALE, 24 * _SCALE, 60 * _SCALE
    image, draw = _canvas(left + side + 28 * _SCALE, top + side + strip + 56 * _SCALE)
    bottom = top + side
    for tick in range(0, 101, 20):
        y, x = bottom - side * tick / 100, left + side * tick / 100
        draw.line((left, y, left + side, y), fill=LINE, width=_SCALE)
        _write(draw, left - 8 * _SCALE, y, str(tick), size=_SMALL, fill=SOFT, anchor="rm")
        _write(draw, x, bottom + strip + 14 * _SCALE, str(tick), size=_SMALL, fill=SOFT, anchor="mm")
    most = max([b["count"] for b in bins], default=0) or 1
    for b in bins:
        if not b["count"]:
            continue
        x0, x1 = left + side * b["low"], left + side * b["high"] - _SCALE
        draw.rectangle((x0, bottom - side * b["accuracy"] / 100, x1, bottom), fill=OURS)
        y = bottom - side * b["confidence"] / 100
        draw.line((x0, y, x1, y), fill=WARM, width=2 * _SCALE)
        tall = (strip - 12 * _SCALE) * b["count"] / most
        draw.rectangle((x0, bottom + strip - tall, x1, bottom + strip), fill=THEIRS)
    draw.line((left, bottom, left + side, top), fill=SOFT, width=_SCALE)
    draw.line((left, bottom, left + side, bottom), fill=SOFT, width=_SCALE)
    caption = "accuracy (bars), mean confidence (marks), pictures (below)"
    _write(draw, left, top - 12 * _SCALE, _clipped(caption, _SMALL, side), size=_SMALL, fill=SOFT)
    _write(draw, left + side / 2, bottom + strip + 36 * _SCALE, "confidence, per cent", size=_SMALL, anchor="mm")
    return _pixels(image)
