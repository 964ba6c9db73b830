"""A computed raster for a GIS: one float32 band as a cloud-optimised GeoTIFF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rsrag.errors import UsageError
from rsrag.replacing import replacing


def write_float_raster(
    path: Path,
    values: npt.NDArray[np.floating],
    crs: str,
    transform: Sequence[float],
    *,
    description: str = "",
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write one band as float32 with NaN for "no data"; an existing file is replaced once the new one is complete.

    Args:
        path: file to write; its folder exists.
        values: [H, W]; NaN where there is none.
        crs: coordinate reference system, anything that PROJ reads.
        transform: affine (a, b, c, d, e, f) from pixel to ``crs``.
        description: of the band.
        tags: further metadata of the file.

    Raises:
        UsageError: the file cannot be written.
    """
    _write(path, np.asarray(values, dtype=np.float32)[None], crs, transform, (description,), tags, nodata=float("nan"))


def write_picture_raster(
    path: Path,
    picture: npt.NDArray[np.uint8],
    crs: str,
    transform: Sequence[float],
    *,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write an RGB picture, uint8 [H, W, 3], losslessly; see :func:`write_float_raster` for the rest."""
    _write(path, picture.transpose(2, 0, 1), crs, transform, ("red", "green", "blue"), tags, nodata=None)


def _write(
    path: Path,
    bands: npt.NDArray[Any],
    crs: str,
    transform: Sequence[float],
    descriptions: Sequence[str],
    tags: Mapping[str, str] | None,
    nodata: float | None,
) -> None:
    import rasterio
    from rasterio.enums import ColorInterp
    from rasterio.errors import CRSError, RasterioError

    profile: dict[str, Any] = {
        "driver": "COG",
        "dtype": bands.dtype.name,
        "count": len(bands),
        "height": bands.shape[1],
        "width": bands.shape[2],
        "crs": crs,
        "transform": rasterio.Affine(*transform),
        "nodata": nodata,
        "compress": "deflate",
        "predictor": "yes",
    }
    try:
        with replacing(path) as partial:
            partial.touch()  # says in Python's words what GDAL says in errors of its own
            with rasterio.Env(), rasterio.open(partial, "w", **profile) as target:
                target.write(bands)
                target.descriptions = tuple(text or None for text in descriptions)
                if len(bands) == 3:
                    target.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
                target.update_tags(**dict(tags or {}))
    except (RasterioError, CRSError) as error:
        raise UsageError(f"cannot write {path}: {error}") from error
