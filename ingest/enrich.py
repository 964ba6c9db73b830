"""Facts about a tile that its pixels themselves tell, in physical values, and what identifies those pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from rsrag import geo
from rsrag.errors import BadFootprint
from rsrag.ingest.stretch import Picture
from rsrag.ingest.windows import TilePixels
from rsrag.types import Band, Fact, Footprint, Scene, Window

MIN_VALID = 0.2
"""Tiles with a smaller share of valid pixels count as blank."""
VEGETATION_NDVI = 0.4
"""NDVI above which a pixel counts as green vegetation; on soil and water it stays well below."""
WATER_NDWI = 0.0
"""NDWI above which a pixel counts as open water (McFeeters 1996)."""

_INDICES = {
    # (first - second) / (first + second)
    "ndvi": ("nir", "red"),  # Rouse et al. 1974
    "ndwi": ("green", "nir"),  # McFeeters 1996
    "ndbi": ("swir16", "nir"),  # Zha et al. 2003
}
_NIR = ("nir", "nir08")
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def tile_footprint(scene: Scene, window: Window) -> Footprint | None:
    """Where a window of a scene lies; None for an un-located scene.

    A scene that is placed by an outline alone (of its catalogue entry) gives it to the window of the whole scene only.
    """
    if scene.crs is not None and scene.transform is not None:
        try:
            return geo.footprint_from_raster(scene.crs, scene.transform, window)
        except BadFootprint:
            return None
    return scene.footprint if window == Window(0, 0, scene.width, scene.height) else None


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
    facts.append(Fact("brightness", _rounded(float((pixels.picture[mask] @ _LUMA).mean()) / 255)))
    values: dict[str, npt.NDArray[np.float64]] = {}
    for band, unit, layer in zip(bands, units, pixels.data, strict=True):
        role = band.role or f"band{band.index}"
        physical = layer[mask].astype(np.float64) * band.scale + band.offset
        values[role] = physical
        present = physical[np.isfinite(physical)]
        if present.size:
            facts.append(Fact(f"mean_{role}", _rounded(float(present.mean())), unit))
            facts.append(Fact(f"std_{role}", _rounded(float(present.std())), unit))
    pictures = all(band.dtype == "uint8" for band in bands)
    facts += _index_facts(values, fractions=not pictures)
    return tuple(facts)


def _index_facts(values: dict[str, npt.NDArray[np.float64]], *, fractions: bool) -> list[Fact]:
    facts: list[Fact] = []
    thresholds = {"ndvi": ("vegetation_fraction", VEGETATION_NDVI), "ndwi": ("water_fraction", WATER_NDWI)}
    for name, roles in _INDICES.items():
        first, second = (_layer(values, role) for role in roles)
        if first is None or second is None:
            continue
        index = _normalised_difference(first, second)
        if not index.size:
            continue
        facts.append(Fact(f"{name}_mean", _rounded(float(index.mean()))))
        if fractions and name in thresholds:
            fact, threshold = thresholds[name]
            facts.append(Fact(fact, _rounded(float((index > threshold).mean()))))
    return facts


def _layer(values: dict[str, npt.NDArray[np.float64]], role: str) -> npt.NDArray[np.float64] | None:
    names = _NIR if role == "nir" else (role,)
    return next((values[name] for name in names if name in values), None)


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
    seen = pixels.picture[pixels.mask]
    return "all pixels alike" if bool((seen == seen[0]).all()) else None


def pixel_digest(picture: Picture) -> str:
    """Digest of an 8-bit picture and its shape: BLAKE2b, 128 bits, hexadecimal."""
    state = hashlib.blake2b(repr(picture.shape).encode(), digest_size=16)
    state.update(np.ascontiguousarray(picture).data)
    return state.hexdigest()


def perceptual_hash(picture: Picture) -> int:
    """64-bit difference hash: of the grey picture at 9×8 pixels, whether each is brighter than its right neighbour.

    Pictures that look the same differ in few bits (Hamming distance); the first bit is the most significant one.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
    bits = np.packbits((small[:, :-1] > small[:, 1:]).ravel())
    return int.from_bytes(bits.tobytes(), "big")
