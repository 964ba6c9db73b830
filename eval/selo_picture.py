"""Heat maps for people: the scene with its targets, beside it where the encoder sees the text, with a legend.

A picture is uint8 RGB of shape [H, W, 3], at twice the size that a report shows it at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import shapely
from PIL import Image, ImageDraw, ImageFont

from rsrag.eval.metrics.selo import Centre, Map
from rsrag.eval.reports.charts import drawable
from rsrag.models.base import Picture

PANEL = 640
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_GAP, _MARGIN, _BAR = 24, 28, 22
_INK, _SOFT, _PAPER = (24, 28, 36), (96, 104, 118), (255, 255, 255)
_TARGET, _CENTRE = (255, 255, 255), (64, 224, 255)
_COLOURS = np.asarray(
    cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)[:, 0, ::-1], dtype=np.uint8
)


def draw_heat_map(
    picture: Picture,
    likelihood: Map,
    *,
    text: str,
    regions: Sequence[shapely.Polygon],
    centres: Sequence[Centre],
    figures: Mapping[str, float],
    note: str = "",
) -> Picture:
    """The picture of one map.

    Args:
        picture: the scene in map cells, uint8 [h, w, 3].
        likelihood: float32 [h, w] in [0, 1]; NaN where nothing is known.
        text: the query.
        regions: where it is true, in map cells.
        centres: attention centres in map cells.
        figures: written below the query.
        note: one more line, such as the model.
    """
    zoom = PANEL / max(likelihood.shape)
    width, height = (max(1, round(side * zoom)) for side in likelihood.shape[::-1])
    title, plain, small = (ImageFont.load_default(size) for size in (30, 22, 19))
    wide = 2 * width + _GAP + _GAP + _BAR + 56
    lines = _wrapped(f"“{drawable(text, 'a query in another script')}”", title, wide)
    top = _MARGIN + 38 * len(lines) + 34 + 34
    sheet = Image.new("RGB", (wide + 2 * _MARGIN, top + height + 30 + _MARGIN), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        pen.text((_MARGIN, _MARGIN - 8 + 38 * number), line, _INK, title)
    said = "    ".join(f"{name.capitalize()} {value:.3f}" for name, value in figures.items())
    pen.text((_MARGIN, _MARGIN + 38 * len(lines)), said, _INK, plain)
    left, right = _MARGIN, _MARGIN + width + _GAP
    pen.text((left, top - 28), "scene, targets outlined", _SOFT, small)
    pen.text((right, top - 28), "likelihood of the text; + attention centres", _SOFT, small)
    scene = _resized(picture, width, height)
    values = cv2.resize(likelihood, (width, height), interpolation=cv2.INTER_LINEAR)
    for corner, panel in ((left, scene), (right, blend(scene, np.asarray(values, dtype=np.float32)))):
        image = Image.fromarray(panel)
        _outlines(image, regions, zoom)
        if corner == right:
            _crosses(image, centres, zoom)
        sheet.paste(image, (corner, top))
        pen.rectangle((corner - 1, top - 1, corner + width, top + height), outline=(200, 204, 212))
    _legend(pen, (right + width + _GAP, top), height, small)
    if note:
        pen.text((left, top + height + 10), note, _SOFT, small)
    return np.asarray(sheet)


def blend(picture: Picture, likelihood: Map) -> Picture:
    """The map over a greyed scene: uint8 [H, W, 3]. The more likely, the less of the scene shines through."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    values = np.nan_to_num(likelihood, nan=0.0)
    colours = _COLOURS[np.clip(values * 255, 0, 255).astype(np.uint8)].astype(np.float32)
    share = np.where(np.isfinite(likelihood), 0.45 + 0.25 * values, 0.0)[..., None]
    return np.asarray(np.clip(0.85 * grey * (1 - share) + colours * share, 0, 255), dtype=np.uint8)


def _resized(picture: Picture, width: int, height: int) -> Picture:
    smaller = picture.shape[1] > width
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (width, height), interpolation=how), dtype=np.uint8)


def _outlines(image: Image.Image, regions: Sequence[shapely.Polygon], zoom: float) -> None:
    pen = ImageDraw.Draw(image)
    for region in regions:
        corners = [(x * zoom, y * zoom) for x, y in region.exterior.coords]
        pen.line(corners, _INK, width=5, joint="curve")
        pen.line(corners, _TARGET, width=2, joint="curve")


def _crosses(image: Image.Image, centres: Sequence[Centre], zoom: float) -> None:
    pen = ImageDraw.Draw(image)
    for x, y in ((x * zoom, y * zoom) for x, y in centres):
        for colour, thick, reach in ((_INK, 6, 11), (_CENTRE, 3, 10)):
            pen.line((x - reach, y, x + reach, y), colour, width=thick)
            pen.line((x, y - reach, x, y + reach), colour, width=thick)


def _legend(pen: ImageDraw.ImageDraw, corner: tuple[int, int], height: int, font: Font) -> None:
    left, top = corner
    for y in range(height):
        value = 1 - y / max(1, height - 1)
        pen.line((left, top + y, left + _BAR - 1, top + y), tuple(int(v) for v in _COLOURS[round(value * 255)]))
    for value in (1.0, 0.75, 0.5, 0.25, 0.0):
        y = top + round((1 - value) * (height - 1))
        pen.line((left + _BAR, y, left + _BAR + 4, y), _SOFT)
        pen.text((left + _BAR + 8, y), f"{value:g}", _SOFT, font, anchor="lm")


def _wrapped(text: str, font: Font, width: int, most: int = 3) -> list[str]:
    """Lines that fit; what does not fit into ``most`` of them ends in an ellipsis."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > most:
        lines = [*lines[: most - 1], f"{lines[most - 1]} …"]
    return lines
