"""What a detailed caption adds, every number computed: indices of the bands, kinds of ground and where they lie."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from rsrag.adapters.base import Context
from rsrag.adapters.change.indices import VEGETATION_NDVI, WATER_NDWI, available, index
from rsrag.adapters.heat import BACKGROUND, HeatMapper
from rsrag.adapters.look import View
from rsrag.adapters.measure import area_text, cell_of, pixel_area_m2
from rsrag.adapters.sweep import sweep
from rsrag.models.base import Picture
from rsrag.types import Fact, Sentence

_CORE = 1024
_SEEN = 448
_LEAST = 0.08
"""Share of the picture that a kind of ground must have to be told."""
_COLOURS = {
    "black": (15, 15, 15), "dark grey": (70, 70, 70), "grey": (130, 130, 130), "light grey": (185, 185, 185),
    "white": (240, 240, 240), "dark green": (40, 65, 40), "green": (85, 130, 70), "light green": (150, 180, 120),
    "brown": (115, 85, 60), "beige": (200, 180, 145), "reddish brown": (150, 85, 65), "dark blue": (25, 45, 85),
    "blue": (60, 100, 160), "turquoise": (80, 165, 165), "olive": (105, 105, 70),
}  # fmt: skip


def indices(view: View, context: Context) -> tuple[list[Sentence], list[Fact]]:
    """Mean NDVI and NDWI and the shares of vegetation and water, over the whole scene in windows.

    Vegetation is NDVI above 0.4, water NDWI above 0, of valid pixels (digital numbers where no reflectance is given).
    Nothing where the bands allow no index.
    """
    roles = [str(band.role) for band in view.source.bands]
    names = [name for name in available(roles) if name in ("ndvi", "ndwi")]
    if not names:
        return [], []
    totals, over, valid = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0), 0
    line = {"ndvi": VEGETATION_NDVI, "ndwi": WATER_NDWI}
    for step in sweep(view.subject.width, view.subject.height, core=_CORE, margin=0):
        pixels = view.source.read(step.core)
        values = np.stack([
            pixels.data[n].astype(np.float32) * band.scale + band.offset for n, band in enumerate(view.source.bands)
        ])  # fmt: skip
        mask = pixels.mask
        valid += int(mask.sum())
        for name in names:
            found = index(name, values, roles)[mask]
            totals[name] += float(found.sum(dtype=np.float64))
            over[name] += int((found > line[name]).sum())
    if not valid:
        return [], []
    facts = [Fact(f"{name}_mean", totals[name] / valid) for name in names]
    said = []
    pixel = pixel_area_m2(view.subject)
    for name, what in (("ndvi", "vegetation"), ("ndwi", "water")):
        if name in names:
            share = over[name] / valid
            facts.append(Fact(f"share of {what}", share))
            area = f", {area_text(pixel * over[name])}" if pixel else ""
            said.append(f"{what} covers {share:.0%}{area} ({name.upper()} above {line[name]:g})")
    text = " and ".join(said)
    return [Sentence(f"{text[0].upper()}{text[1:]}.", ())], facts


def regions(picture: Picture, context: Context, words: Sequence[str] = BACKGROUND) -> tuple[list[Sentence], list[Fact]]:
    """Kinds of ground that the dense cells look most like, with share, colour and place in a 3×3 grid.

    Args:
        picture: uint8 RGB [h, w, 3].
        context: with the encoder.
        words: kinds that compete.
    """
    height, width = picture.shape[:2]
    scale = min(1.0, _SEEN / max(height, width))
    size = max(16, round(width * scale)), max(16, round(height * scale))
    seen = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8) if scale < 1 else picture
    mapper = HeatMapper(context, zooms=(1.0,))
    heats = mapper.heats(seen, [mapper.query(word, background=[w for w in words if w != word]) for word in words])
    best = np.argmax(heats, axis=0)
    shares = np.bincount(best.ravel(), minlength=len(words)) / best.size
    parts, facts = [], []
    for number in np.argsort(-shares, kind="stable")[:4]:
        share = float(shares[number])
        if share < _LEAST:
            break
        mask = best == number
        rows, cols = np.nonzero(mask)
        heat = np.where(mask, heats[number], 0)
        cells = {}
        for row in range(3):
            for col in range(3):
                top, bottom, left, right = (n * side // 3 for n, side in (
                    (row, size[1]), (row + 1, size[1]), (col, size[0]), (col + 1, size[0])
                ))  # fmt: skip
                name = cell_of((left, top, right, bottom), *size)
                cells[name] = float(heat[top:bottom, left:right].mean())
        where = max(cells, key=lambda n: cells[n])
        colour = colour_name(seen[rows, cols].reshape(-1, 3).mean(axis=0))
        place = "" if share > 0.7 else f", most of all at the {where.replace('-', ' ')}"
        parts.append(f"{colour} {words[number]} ({share:.0%} of the picture{place})")
        facts.append(Fact(f"looks like {words[number]}", share))
    if not parts:
        return [], []
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return [Sentence(f"The ground looks like {listed}.", ())], facts


def colour_name(colour: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    """The nearest of fifteen colour names in CIELAB, for RGB from 0 to 255."""
    names = list(_COLOURS)
    rows = np.array([[float(v) for v in colour], *_COLOURS.values()], dtype=np.float32)[None] / 255
    lab = cv2.cvtColor(rows, cv2.COLOR_RGB2LAB)[0]
    return names[int(np.argmin(((lab[1:] - lab[0]) ** 2).sum(axis=1)))]
