"""Facts about a tile that its pixels themselves tell, in physical values, and what identifies those pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from rsrag import geo
from rsrag.errors import BadFootprint
from rsrag.ingest.readers.base import Array, Mask
from rsrag.ingest.stretch import Picture
from rsrag.ingest.windows import TilePixels
from rsrag.types import Band, Fact, Footprint, Scene, Window

MIN_VALID = 0.2
"""Tiles with a smaller share of valid pixels count as blank."""
VEGETATION_NDVI = 0.4
"""NDVI above which a pixel counts as green vegetation; on soil and water it stays well below."""
_DIGITS = 32
"""Hexadecimal digits of a digest of pixels."""
_GLANCE = 256
"""Pixels that are compared before all of them are."""
WATER_NDWI = 0.0
"""NDWI above which a pixel counts as open water (McFeeters 1996)."""

_INDICES = {
    # (first - second) / (first + second)
    "ndvi": ("nir", "red"),  # Rouse et al. 1974
    "ndwi": ("green", "nir"),  # McFeeters 1996
    "ndbi": ("swir16", "nir"),  # Zha et al. 2003
}
_NIR = ("nir", "nir08")
_LUMA = (0.299, 0.587, 0.114)
_EXACT = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.int16))


def tile_footprint(scene: Scene, window: Window) -> Footprint | None:
    """Where a window of a scene lies; None for an un-located scene.

    A scene that is placed by an outline alone (of its catalogue entry) gives it to the window of the whole scene only.
    """
    whole = window == Window(0, 0, scene.width, scene.height)
    if whole and scene.footprint is not None:
        return scene.footprint
    if scene.crs is not None and scene.transform is not None:
        try:
            return geo.footprint_from_raster(scene.crs, scene.transform, window)
        except BadFootprint:
            return None
    return None


def tile_facts(
    pixels: TilePixels, bands: Sequence[Band], units: Sequence[str], footprint: Footprint | None = None
) -> tuple[Fact, ...]:
    """What the pixels of a tile tell.

    ``valid_fraction``, ``area_km2``, ``brightness`` (mean of the 8-bit picture over 255), ``mean_<role>`` and
    ``std_<role>`` of each band after scale and offset, ``ndvi_mean``, ``ndwi_mean``, ``ndbi_mean`` where the bands
    allow, and ``vegetation_fraction`` and ``water_fraction`` where they are not 8-bit pictures, whose contrast may
    have been changed.

    Args:
        pixels: the tile as read.
        bands: of ``pixels.data``, in order.
        units: of the bands' physical values.
        footprint: of the tile.
    """
    mask = pixels.mask
    facts = [Fact("valid_fraction", _rounded(float(mask.mean())))]
    if footprint is not None:
        facts.append(Fact("area_km2", _rounded(geo.area_km2(footprint)), "km2"))
    if not mask.any():
        return tuple(facts)
    red, green, blue, _ = cv2.mean(np.ascontiguousarray(pixels.picture), _for_opencv(mask))
    facts.append(Fact("brightness", _rounded(float(np.dot((red, green, blue), _LUMA)) / 255)))
    layers: dict[str, tuple[Array, Band]] = {}
    for band, unit, layer in zip(bands, units, pixels.data, strict=True):
        role = band.role or f"band{band.index}"
        layers[role] = (layer, band)
        if (told := _mean_and_std(layer, mask, band)) is not None:
            facts.append(Fact(f"mean_{role}", _rounded(told[0]), unit))
            facts.append(Fact(f"std_{role}", _rounded(told[1]), unit))
    pictures = all(band.dtype == "uint8" for band in bands)
    facts += _index_facts(layers, mask, fractions=not pictures)
    return tuple(facts)


def _for_opencv(mask: Mask) -> npt.NDArray[np.uint8] | None:
    """A mask as OpenCV takes it; none where all is valid, which takes half the time."""
    return None if mask.all() else mask.astype(np.uint8)


def _mean_and_std(layer: Array, mask: Mask, band: Band) -> tuple[float, float] | None:
    """Of the physical values of a band where it is valid and finite; None where it is nowhere."""
    if layer.dtype in _EXACT:  # sums of such numbers and of their squares are exact in float64
        mean, std = (float(v.item()) for v in cv2.meanStdDev(np.ascontiguousarray(layer), mask=_for_opencv(mask)))
        return mean * band.scale + band.offset, std * abs(band.scale)
    physical = _physical(layer, mask, band)
    present = physical[np.isfinite(physical)]
    return (float(present.mean()), float(present.std())) if present.size else None


def _physical(layer: Array, mask: Mask, band: Band) -> npt.NDArray[np.float64]:
    """Physical values of the valid pixels of a band."""
    return layer[mask].astype(np.float64) * band.scale + band.offset


def _index_facts(layers: Mapping[str, tuple[Array, Band]], mask: Mask, *, fractions: bool) -> list[Fact]:
    facts: list[Fact] = []
    thresholds = {"ndvi": ("vegetation_fraction", VEGETATION_NDVI), "ndwi": ("water_fraction", WATER_NDWI)}
    for name, roles in _INDICES.items():
        first, second = (_layer(layers, role) for role in roles)
        if first is None or second is None:
            continue
        index = _normalised_difference(*(_physical(layer, mask, band) for layer, band in (first, second)))
        if not index.size:
            continue
        facts.append(Fact(f"{name}_mean", _rounded(float(index.mean()))))
        if fractions and name in thresholds:
            fact, threshold = thresholds[name]
            facts.append(Fact(fact, _rounded(float((index > threshold).mean()))))
    return facts


def _layer(layers: Mapping[str, tuple[Array, Band]], role: str) -> tuple[Array, Band] | None:
    names = _NIR if role == "nir" else (role,)
    return next((layers[name] for name in names if name in layers), None)


def _normalised_difference(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(first - second) / (first + second) where that has a meaning: both present, their sum above zero."""
    total = first + second
    usable = np.isfinite(total) & (total > 0)
    return np.clip((first[usable] - second[usable]) / total[usable], -1.0, 1.0)


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def blank_reason(pixels: TilePixels, min_valid: float = MIN_VALID) -> str | None:
    """Why a tile shows nothing: no valid pixel, too few of them, or all alike. None for a tile worth keeping."""
    share = float(pixels.mask.mean())
    if share == 0:
        return "no valid pixels"
    if share < min_valid:
        return f"{share:.0%} of its pixels are valid"
    if share == 1:
        seen = pixels.picture.reshape(-1, 3)
        if (seen[:_GLANCE] != seen[0]).any():
            return None
    else:
        seen = pixels.picture[pixels.mask]
    return "all pixels alike" if bool((seen == seen[0]).all()) else None


def pixel_digest(picture: Picture) -> str:
    """Digest of an 8-bit picture and its shape: the first 128 bits of SHA-256, hexadecimal."""
    state = hashlib.sha256(repr(picture.shape).encode())
    state.update(np.ascontiguousarray(picture).data)
    return state.hexdigest()[:_DIGITS]


def perceptual_hash(picture: Picture) -> int:
    """64-bit difference hash: of the grey picture at 9×8 pixels, whether each is brighter than its right neighbour.

    Pictures that look the same differ in few bits (Hamming distance); the first bit is the most significant one.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
    bits = np.packbits((small[:, :-1] > small[:, 1:]).ravel())
    return int.from_bytes(bits.tobytes(), "big")
