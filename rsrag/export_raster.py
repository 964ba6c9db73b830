"""A computed raster for a GIS: one float32 band as a cloud-optimised GeoTIFF."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    with refused_by_gdal(path), replacing(path) as partial:
        partial.touch()  # says in Python's words what GDAL says in errors of its own
        with rasterio.Env(), rasterio.open(partial, "w", **profile) as target:
            target.write(bands)
            target.descriptions = tuple(text or None for text in descriptions)
            if len(bands) == 3:
                target.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
            target.update_tags(**dict(tags or {}))


@contextmanager
def refused_by_gdal(what: object, hint: str = "is the disk full?") -> Iterator[None]:
    """Writing by GDAL, whose errors become a UsageError.

    Not all of them are errors of rasterio: some come out as GDAL's own, or as a SystemError without a reason, as when
    the disk is full.

    Args:
        what: cannot be written then.
        hint: what may be wrong.

    Raises:
        UsageError: GDAL or the operating system refused.
    """
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import CRSError, RasterioError

    try:
        yield
    except CRSError as error:
        raise UsageError(f"cannot write {what}: {error}") from error
    except (RasterioError, CPLE_BaseError, OSError) as error:
        reason = getattr(error, "strerror", None) or error.__cause__ or error
        raise UsageError(f"cannot write {what}: {reason}", hint=hint) from error
    except SystemError as error:
        raise UsageError(f"cannot write {what}: GDAL gives no reason", hint=hint) from error
