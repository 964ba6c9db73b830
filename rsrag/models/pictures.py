"""Pictures on their way to a vision-language model: smaller, few, without metadata."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rsrag.models.base import Picture

if TYPE_CHECKING:
    from PIL import Image

QUERY_SIDE = 768
EVIDENCE_SIDE = 448
MOST = 5
"""The picture asked about and four of the evidence: more cost memory and blur the answer."""


def chosen(pictures: Sequence[Picture]) -> list[Image.Image]:
    """The query picture and the first evidence thumbnails as RGB images of limited size."""
    return [_shrunk(p, EVIDENCE_SIDE if i else QUERY_SIDE) for i, p in enumerate(pictures[:MOST])]


def _shrunk(picture: Picture, side: int) -> Image.Image:
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(picture))
    longest = max(image.size)
    if longest > side:
        width, height = (max(1, round(s * side / longest)) for s in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return image


def data_url(image: Image.Image) -> str:
    """The image as a JPEG in a data URL; made from pixels alone, it carries no EXIF, GPS or file name."""
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def contact_sheet(images: Sequence[Image.Image]) -> Image.Image:
    """All pictures on one: the first on the left, labelled Q, the others in two columns beside it, E1, E2, ..."""
    from PIL import Image, ImageDraw

    gap, cell = 8, QUERY_SIDE // 2
    rows = max(1, -(-(len(images) - 1) // 2))
    sheet = Image.new("RGB", (QUERY_SIDE + 3 * gap + 2 * cell, max(QUERY_SIDE, rows * (cell + gap)) + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for number, image in enumerate(images):
        fitted = image.copy()
        fitted.thumbnail((QUERY_SIDE, QUERY_SIDE) if number == 0 else (cell - gap, cell - gap))
        row, column = divmod(max(0, number - 1), 2)
        x = gap if number == 0 else QUERY_SIDE + 2 * gap + column * (cell + gap)
        y = gap if number == 0 else gap + row * (cell + gap)
        sheet.paste(fitted, (x, y))
        text = "Q" if number == 0 else f"E{number}"
        box = draw.textbbox((x + 4, y + 4), text, font_size=24)
        draw.rectangle((box[0] - 4, box[1] - 4, box[2] + 4, box[3] + 4), fill="white")
        draw.text((x + 4, y + 4), text, fill="black", font_size=24)
    return sheet


SHEET_NOTE = (
    "All pictures are on one sheet: the one asked about is labelled Q, those of the evidence E1, E2 and so on, in the "
    "order of the evidence."
)
