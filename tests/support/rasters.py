"""Builds tiny real raster files for tests."""

from __future__ import annotations

import json
import struct
import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rsrag.ingest.guard import harden_gdal

harden_gdal()

import rasterio  # noqa: E402
from rasterio.enums import ColorInterp, Resampling  # noqa: E402
from rasterio.transform import Affine  # noqa: E402

UTM31 = "EPSG:32631"
TEN_METRES = (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0)


def noise(bands: int = 3, height: int = 64, width: int = 64, dtype: str = "uint8", top: int = 250) -> npt.NDArray[Any]:
    """Random values from 1 to ``top``, the same on every call: [bands, height, width]."""
    return np.random.default_rng(7).integers(1, top, (bands, height, width)).astype(dtype)


def write_tiff(
    path: Path,
    data: npt.NDArray[Any],
    *,
    crs: str | None = UTM31,
    transform: Sequence[float] | None = TEN_METRES,
    colours: Sequence[str] | None = None,
    descriptions: Sequence[str] | None = None,
    nodata: float | None = None,
    mask: npt.NDArray[np.bool_] | None = None,
    scales: Sequence[float] | None = None,
    offsets: Sequence[float] | None = None,
    palette: Mapping[int, tuple[int, int, int, int]] | None = None,
    tags: Mapping[str, str] | None = None,
    overviews: Sequence[int] = (),
    driver: str = "GTiff",
    **options: Any,
) -> Path:
    """A GeoTIFF (or another GDAL format) with the given values [bands, height, width]."""
    profile = {
        "driver": driver,
        "count": data.shape[0],
        "height": data.shape[1],
        "width": data.shape[2],
        "dtype": data.dtype.name,
        "crs": crs,
        "transform": None if transform is None else Affine(*transform),
        "nodata": nodata,
        **options,
    }
    profile = {key: value for key, value in profile.items() if value is not None}
    with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile) as out:
            if colours is not None:
                out.colorinterp = [ColorInterp[c] for c in colours]
            for i, text in enumerate(descriptions or (), 1):
                out.set_band_description(i, text)
            if scales is not None:
                out.scales = scales
            if offsets is not None:
                out.offsets = offsets
            if palette is not None:
                out.write_colormap(1, palette)
            out.update_tags(**(tags or {}))
            out.write(data)
            if mask is not None:
                out.write_mask(mask)
        if overviews:
            with rasterio.open(path, "r+") as out:
                out.build_overviews(list(overviews), Resampling.average)
    return path


def write_rgb(path: Path, height: int = 64, width: int = 64, **options: Any) -> Path:
    """An RGB GeoTIFF of noise, ten metres a pixel, in UTM zone 31 north."""
    return write_tiff(path, noise(3, height, width), colours=["red", "green", "blue"], photometric="RGB", **options)


def write_sparse(path: Path, side: int) -> Path:
    """A raster that declares side × side pixels and stores none."""
    profile = {"driver": "GTiff", "count": 1, "height": side, "width": side, "dtype": "uint8", "crs": "EPSG:3857"}
    with rasterio.open(
        path,
        "w",
        transform=Affine(*TEN_METRES),
        tiled=True,
        blockxsize=8192,
        blockysize=8192,
        sparse_ok=True,
        **profile,
    ):
        pass
    return path


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header declares a size that its data do not hold."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 100)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def stac_item(identity: str = "scene-1", **changes: Any) -> dict[str, Any]:
    """A STAC Item over Paris with one visual asset, ``image.tif``."""
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": identity,
        "collection": "test-collection",
        "geometry": {"type": "Polygon", "coordinates": [[[2, 48], [3, 48], [3, 49], [2, 49], [2, 48]]]},
        "bbox": [2, 48, 3, 49],
        "properties": {"datetime": "2021-06-05T10:40:00Z", "platform": "sentinel-2a", "gsd": 10},
        "links": [],
        "assets": {"visual": {"href": "image.tif", "type": "image/tiff", "roles": ["visual"]}},
    }
    return {**item, **changes}


def write_json(path: Path, document: Any) -> Path:
    """A JSON file, with the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    return path
