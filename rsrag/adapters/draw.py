"""Results over the image: boxes, outlines, classes and heat, with a legend. Pictures are uint8 RGB [H, W, 3]."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from rsrag.adapters.base import Region, TaskResult
from rsrag.export_layers import Colour, Layer
from rsrag.models.base import Picture

SIDE = 1280
"""Longer side of the drawn image in pixels."""
_INK, _PAPER = (20, 24, 32), (255, 255, 255)
_HEAT = np.asarray(
    cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)[:, 0, ::-1], dtype=np.uint8
)


def palette(count: int) -> tuple[Colour, ...]:
    """Colours that differ from one another, the same for the same count."""
    golden = 0.61803398875
    found = []
    for number in range(count):
        hue = (0.58 + number * golden) % 1.0
        red, green, blue = colorsys.hsv_to_rgb(hue, (0.75, 0.55, 0.9)[number % 3], (0.95, 0.8, 0.65)[number // 3 % 3])
        found.append((round(255 * red), round(255 * green), round(255 * blue)))
    return tuple(found)


def draw(result: TaskResult) -> Picture:
    """The result over its picture: the first layer as colours, regions as outlines, a legend below.

    A map of classes has its borders and its legend already: its regions are not drawn again.
    """
    base, zoom = _canvas(result)
    colours = colours_of(result)
    for layer in result.layers[:1]:
        base = _over(base, layer)
    image = Image.fromarray(base)
    mapped = bool(result.layers) and result.layers[0].kind == "class"
    for region in () if mapped else result.regions:
        _outline(image, region, zoom, colours.get(region.label, (255, 210, 64)), named=len(result.regions) <= 60)
    return _with_legend(image, colours)


def _canvas(result: TaskResult) -> tuple[Picture, float]:
    """The picture at drawing size, and pixels of it a pixel of the image."""
    subject = result.subject
    zoom = min(SIDE / max(subject.width, subject.height), 8.0)
    size = max(1, round(subject.width * zoom)), max(1, round(subject.height * zoom))
    if result.picture is None:
        return np.full((size[1], size[0], 3), 235, dtype=np.uint8), zoom
    smaller = result.picture.shape[1] > size[0]
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(result.picture, size, interpolation=how), dtype=np.uint8), zoom


def colours_of(result: TaskResult) -> Mapping[str, Colour]:
    """A colour a label: that of the legend of the first class layer, else from the palette."""
    found = {entry.label: entry.colour for layer in result.layers for entry in layer.legend}
    labels = list(dict.fromkeys(region.label for region in result.regions if region.label not in found))
    return found | dict(zip(labels, palette(len(labels)), strict=True))


def _over(base: Picture, layer: Layer) -> Picture:
    height, width = base.shape[:2]
    values = layer.read(longest=max(width, height))
    if layer.kind == "score":
        return heat(base, np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)))
    values = cv2.resize(values, (width, height), interpolation=cv2.INTER_NEAREST)
    table = np.zeros((256, 3), dtype=np.float32)
    shown = np.zeros(256, dtype=np.float32)
    if layer.kind == "mask":
        table[1], shown[1] = (255, 64, 48), 0.5
    for entry in layer.legend:
        table[entry.value], shown[entry.value] = entry.colour, 0.55
    share = shown[values][..., None]
    return np.asarray(base * (1 - share) + table[values] * share, dtype=np.uint8)


def heat(picture: Picture, values: npt.NDArray[Any]) -> Picture:
    """A map in [0, 1] (NaN: unknown) over the greyed picture of the same size."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    known = np.nan_to_num(np.asarray(values, dtype=np.float32), nan=0.0)
    colours = _HEAT[np.clip(known * 255, 0, 255).astype(np.uint8)].astype(np.float32)
    share = np.where(np.isfinite(values), 0.4 + 0.3 * known, 0.0)[..., None]
    return np.asarray(np.clip(0.9 * grey * (1 - share) + colours * share, 0, 255), dtype=np.uint8)


def _outline(image: Image.Image, region: Region, zoom: float, colour: Colour, *, named: bool) -> None:
    pen = ImageDraw.Draw(image)
    lines: list[Sequence[tuple[float, float]]] = list(region.rings)
    if not lines and region.oriented:
        lines = [[*region.oriented, region.oriented[0]]]
    if not lines:
        left, top, right, bottom = region.box
        lines = [[(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]]
    for line in lines:
        points = [(x * zoom, y * zoom) for x, y in line]
        pen.line(points, _INK, width=4, joint="curve")
        pen.line(points, colour, width=2, joint="curve")
    if named:
        text = f"{drawable(region.label)} {region.score:.2f}"
        font = ImageFont.load_default(15)
        wide = font.getlength(text) + 3
        x, y = max(2.0, min(region.box[0] * zoom + 2, image.width - wide)), max(0.0, region.box[1] * zoom - 19)
        pen.rectangle((x - 2, y, x + wide, y + 18), fill=_INK)
        pen.text((x, y + 1), text, colour, font)


def drawable(text: str) -> str:
    """Text in the letters that the drawing font has; others become question marks."""
    return "".join(letter if letter.isprintable() and ord(letter) < 0x250 else "?" for letter in text)


def _with_legend(image: Image.Image, colours: Mapping[str, Colour]) -> Picture:
    if not colours:
        return np.asarray(image)
    font = ImageFont.load_default(16)
    wide = max(int(font.getlength(drawable(label))) for label in colours) + 44
    columns = max(1, image.width // wide)
    rows = -(-len(colours) // columns)
    # Of a small or narrow image the names are wider than the picture.
    sheet = Image.new("RGB", (max(image.width, wide), image.height + 24 * rows + 16), _PAPER)
    sheet.paste(image, (0, 0))
    pen = ImageDraw.Draw(sheet)
    for number, (label, colour) in enumerate(colours.items()):
        x, y = number % columns * wide + 8, image.height + 8 + number // columns * 24
        pen.rectangle((x, y + 2, x + 18, y + 18), fill=colour, outline=_INK)
        pen.text((x + 26, y + 1), drawable(label), _INK, font)
    return np.asarray(sheet)
