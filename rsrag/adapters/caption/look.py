"""What a detailed caption adds, every number computed: indices of the bands, kinds of ground and where they lie."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from rsrag.adapters.base import Context
from rsrag.adapters.change.indices import (
    INDICES,
    VEGETATION_NDVI,
    WATER_NDWI,
    available,
    index,
    not_green,
    tells_classes,
)
from rsrag.adapters.heat import BACKGROUND, HeatMapper
from rsrag.adapters.look import View, contrast_warning
from rsrag.adapters.measure import area_text, cell_of, pixel_areas_m2
from rsrag.adapters.segment.refine import Counts
from rsrag.adapters.sweep import sweep
from rsrag.adapters.waterline import waterline
from rsrag.ingest.readers.base import Mask, Pixels
from rsrag.models.base import Picture
from rsrag.types import Fact, Sentence

_CORE = 1024
_SEEN = 448
_LEAST_SIDE = 16
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

    Vegetation is NDVI above 0.4, water NDWI above the scene's :func:`rsrag.adapters.waterline.waterline` (0 without a
    red band), of the pixels that are valid and have both bands (digital numbers where no reflectance is given). Nothing
    where the bands allow no index, or no pixel has one.
    """
    roles = [str(band.role) for band in view.source.bands]
    names = [name for name in available(roles) if name in ("ndvi", "ndwi")]
    if not names:
        return [], []
    totals, over, counted = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    areas = dict.fromkeys(names, 0.0)
    line = {"ndvi": VEGETATION_NDVI, "ndwi": _waterline(view, roles) if tells_classes(roles) else WATER_NDWI}
    for step in sweep(view.subject.width, view.subject.height, core=_CORE, margin=0):
        pixels = view.source.read(step.core)
        values = _values(view, pixels)
        each = pixel_areas_m2(view.subject, step.core)
        for name in names:
            pair = [next(roles.index(role) for role in side if role in roles) for side in INDICES[name]]
            usable = pixels.mask & np.isfinite(values[pair]).all(axis=0)
            found = index(name, values, roles)
            above = usable & (found > line[name])
            totals[name] += float(found[usable].sum(dtype=np.float64))
            over[name] += int(np.count_nonzero(above))
            areas[name] += np.nan if each is None else float(each.sum(where=above))
            counted[name] += int(np.count_nonzero(usable))
    names = [name for name in names if counted[name]]
    facts = [Fact(f"{name}_mean", totals[name] / counted[name]) for name in names]
    said = []
    for name, what in (("ndvi", "vegetation"), ("ndwi", "water")):
        if name in names:
            share = over[name] / counted[name]
            facts.append(Fact(f"share of {what}", share))
            measured = f", {area_text(areas[name])}" if np.isfinite(areas[name]) else ""
            said.append(f"{what} covers {share:.0%}{measured} ({name.upper()} above {round(line[name], 2) + 0.0:g})")
    if not said:
        return [], []
    text = " and ".join(said)
    return [Sentence(f"{text[0].upper()}{text[1:]}.", ())], facts


def _values(view: View, pixels: Pixels) -> npt.NDArray[np.float32]:
    """Physical values of all bands, float32 [bands, h, w]."""
    bands = enumerate(view.source.bands)
    return np.stack([pixels.data[n].astype(np.float32) * band.scale + band.offset for n, band in bands])


def _waterline(view: View, roles: Sequence[str]) -> float:
    counts = Counts(-1.0, 1.0)
    for step in sweep(view.subject.width, view.subject.height, core=_CORE, margin=0):
        pixels = view.source.read(step.core)
        counts.add(not_green(_values(view, pixels), roles)[pixels.mask])
    return waterline(counts)


def index_warnings(view: View, facts: Sequence[Fact]) -> list[str]:
    """That stored contrast shifts the indices, where a picture of 8 bits gave any."""
    names = [name.upper() for name in ("ndvi", "ndwi") if any(fact.name == f"{name}_mean" for fact in facts)]
    warning = contrast_warning(view, " and ".join(names)) if names else None
    return [warning] if warning else []


def regions(
    picture: Picture, valid: Mask, context: Context, words: Sequence[str] = BACKGROUND
) -> tuple[list[Sentence], list[Fact]]:
    """Kinds of ground that the dense cells look most like, with share, colour and place in a 3×3 grid.

    Args:
        picture: uint8 RGB [h, w, 3].
        valid: its pixels that count, bool [h, w].
        context: with the encoder.
        words: kinds that compete.
    """
    height, width = picture.shape[:2]
    scale = min(1.0, _SEEN / max(height, width))
    # Long thin pictures are made wider: cells and the parts of the grid need some pixels a side.
    size = max(_LEAST_SIDE, round(width * scale)), max(_LEAST_SIDE, round(height * scale))
    if size != (width, height):
        picture, valid = _resized(picture, valid, size)
    if not valid.any():
        return [], []
    whole = "the picture" if valid.all() else "what is valid"
    mapper = HeatMapper(context, zooms=(1.0,))
    heats = mapper.heats(picture, [mapper.query(word, background=[w for w in words if w != word]) for word in words])
    best = np.argmax(heats, axis=0)
    shares = np.bincount(best[valid], minlength=len(words)) / np.count_nonzero(valid)
    parts, facts = [], []
    for number in np.argsort(-shares, kind="stable")[:4]:
        share = float(shares[number])
        if share < _LEAST:
            break
        mask = valid & (best == number)
        heat = np.where(mask, heats[number], 0)
        cells = {}
        for row in range(3):
            for col in range(3):
                top, bottom, left, right = (n * side // 3 for n, side in (
                    (row, size[1]), (row + 1, size[1]), (col, size[0]), (col + 1, size[0])
                ))  # fmt: skip
                if pixels := np.count_nonzero(valid[top:bottom, left:right]):
                    name = cell_of((left, top, right, bottom), *size)
                    cells[name] = float(heat[top:bottom, left:right].sum()) / pixels
        where = max(cells, key=lambda n: cells[n])
        colour = colour_name(picture[mask].mean(axis=0))
        place = "" if share > 0.7 else f", most of all at the {where.replace('-', ' ')}"
        parts.append(f"{colour} {words[number]} ({share:.0%} of {whole}{place})")
        facts.append(Fact(f"looks like {words[number]}", share))
    if not parts:
        return [], []
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return [Sentence(f"The ground looks like {listed}.", ())], facts


def _resized(picture: Picture, valid: Mask, size: tuple[int, int]) -> tuple[Picture, Mask]:
    """Averages of the valid pixels, valid where there is one."""
    weight = cv2.resize(valid.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    total = cv2.resize(np.where(valid[..., None], picture, 0).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    mean = total / np.maximum(weight, np.float32(1e-6))[..., None]
    return np.clip(np.rint(mean), 0, 255).astype(np.uint8), weight > 0


def colour_name(colour: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    """The nearest of fifteen colour names in CIELAB, for RGB from 0 to 255."""
    names = list(_COLOURS)
    rows = np.array([[float(v) for v in colour], *_COLOURS.values()], dtype=np.float32)[None] / 255
    lab = cv2.cvtColor(rows, cv2.COLOR_RGB2LAB)[0]
    return names[int(np.argmin(((lab[1:] - lab[0]) ** 2).sum(axis=1)))]
