"""Computed rasters of any size on disk: written by windows, read back reduced, saved as COGs, cut into polygons."""

from __future__ import annotations

import shutil
import tempfile
import warnings
import weakref
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from rsrag.errors import UsageError
from rsrag.export_raster import refused_by_gdal
from rsrag.replacing import replacing
from rsrag.types import Window

Affine = tuple[float, float, float, float, float, float]
Kind = Literal["class", "mask", "score"]
Colour = tuple[int, int, int]
PIXELS: Affine = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
"""The transform of an image without a position: map coordinates are pixels, rows counted downwards."""
NODATA: dict[Kind, float] = {"class": 255, "mask": 255, "score": float("nan")}
"""What stands where nothing is known, by kind."""
_DTYPES: dict[Kind, str] = {"class": "uint8", "mask": "uint8", "score": "float32"}
_BLOCK = 256
_MORE_SPACE = "is the disk full? TMPDIR names the folder for temporary files"


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """What a value of a class raster means, and its colour."""

    value: int
    label: str
    colour: Colour


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One computed band in the grid of a scene, on disk.

    Attributes:
        name: of the layer, such as "classes" or "change magnitude".
        kind: "class" (uint8 numbers of ``legend``), "mask" (uint8, 1 where it is true) or "score" (float32);
            :data:`NODATA` where nothing is known.
        path: a GeoTIFF in a folder that lives as long as ``keeper``.
        width: of the grid in pixels.
        height: of the grid in pixels.
        crs: of the grid; None for an image without a position.
        transform: affine (a, b, c, d, e, f) from pixel to ``crs``; :data:`PIXELS` without a position.
        legend: meaning of the values of a class raster.
        unit: of the values; "1" for a ratio.
        keeper: holds the temporary folder.
    """

    name: str
    kind: Kind
    path: Path
    width: int
    height: int
    crs: str | None
    transform: Affine
    legend: tuple[LegendEntry, ...] = ()
    unit: str = "1"
    keeper: Any = field(default=None, repr=False)

    def read(self, window: Window | None = None, *, longest: int = 0) -> npt.NDArray[Any]:
        """Values of a window (all by default), [h, w]; with ``longest`` reduced to that many pixels a side."""
        import rasterio
        from rasterio.enums import Resampling
        from rasterio.windows import Window as Part

        whole = window or Window(0, 0, self.width, self.height)
        size = whole.height, whole.width
        if longest and max(size) > longest:
            size = tuple(max(1, round(side * longest / max(size))) for side in size)  # type: ignore[assignment]
        with _quiet(), rasterio.open(self.path, driver="GTiff") as source:
            part = Part(whole.col, whole.row, whole.width, whole.height)
            how = Resampling.average if self.kind == "score" else Resampling.nearest
            return np.asarray(source.read(1, window=part, out_shape=size, resampling=how))

    def windows(self, side: int = 1024) -> Iterator[Window]:
        """Windows that share out the grid."""
        for row in range(0, self.height, side):
            for col in range(0, self.width, side):
                yield Window(col, row, min(side, self.width - col), min(side, self.height - row))

    def polygons(self, values: Sequence[int] | None = None) -> Iterator[tuple[int, Any]]:
        """Connected areas of equal value (4-neighbours) as shapely polygons in pixel coordinates (column, row).

        Streamed by GDAL: memory grows with the outlines, not with the raster.

        Args:
            values: which ones; by default all but "nothing known", and for masks the 1.
        """
        import rasterio
        import shapely
        from rasterio.features import shapes

        wanted = set(values) if values is not None else ({1} if self.kind == "mask" else set(range(255)))
        with _quiet(), rasterio.Env(), rasterio.open(self.path, driver="GTiff") as source:
            a, b, c, d, e, f = tuple(~source.transform)[:6]  # GDAL gives the file's own coordinates

            def to_pixels(points: npt.NDArray[Any]) -> npt.NDArray[Any]:
                x, y = points[:, 0], points[:, 1]
                return np.round(np.column_stack([a * x + b * y + c, d * x + e * y + f]))

            band = rasterio.band(source, 1)
            # Left out of the search where it is not asked for: its one outline would have those of all others as holes.
            for geometry, value in shapes(band, mask=None if 0 in wanted else band, connectivity=4):
                if int(value) in wanted:
                    yield int(value), shapely.transform(shapely.geometry.shape(geometry), to_pixels)

    def save(self, path: Path, *, tags: dict[str, str] | None = None) -> None:
        """Write as a cloud-optimised GeoTIFF with CRS, transform, nodata, description and (classes) a colour table.

        Raises:
            UsageError: the file cannot be written.
        """
        import rasterio
        from rasterio.shutil import copy

        with refused_by_gdal(path), replacing(path) as partial:
            partial.touch()  # says in Python's words what GDAL says in errors of its own
            with _quiet(), rasterio.Env():
                with rasterio.open(self.path, "r+", driver="GTiff") as source:
                    source.update_tags(**self._tags(), **(tags or {}))
                score = self.kind == "score"
                copy(
                    str(self.path), str(partial), driver="COG", compress="deflate",
                    predictor="YES" if score else "NO", overview_resampling="AVERAGE" if score else "NEAREST",
                )  # fmt: skip

    def _tags(self) -> dict[str, str]:
        return {f"CLASS_{entry.value}": entry.label for entry in self.legend}


class _Folder:
    """A temporary folder that goes when nobody refers to this object any more."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="rsrag-layer-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """A layer of an image without a position is meant to have none: GDAL need not warn of it."""
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


class LayerWriter:
    """Writes a :class:`Layer` window by window; a context manager whose :attr:`layer` is complete after it.

    GDAL writes most of it when the file is closed, and rasterio hands on no failure of that: whether every block that
    was given values is on disk is looked at afterwards.

    Args:
        name: of the layer.
        kind: see :class:`Layer`.
        width: of the grid in pixels.
        height: of the grid in pixels.
        crs: of the grid, or None.
        transform: affine from pixel to ``crs``, or None.
        legend: meaning of class values, at most 255.
        unit: of the values.

    Raises:
        UsageError: the temporary file cannot be written, here or in :meth:`write` or at the end.
    """

    def __init__(
        self,
        name: str,
        kind: Kind,
        width: int,
        height: int,
        crs: str | None,
        transform: Affine | None,
        *,
        legend: Sequence[LegendEntry] = (),
        unit: str = "1",
    ) -> None:
        import rasterio

        self._what = f"the layer {name!r} to a temporary file"
        with self._writing():
            keeper = _Folder()
        path = keeper.path / "layer.tif"
        located = crs is not None and transform is not None
        affine = transform if located and transform is not None else PIXELS
        self.layer = Layer(
            name, kind, path, width, height, crs if located else None, affine, tuple(legend), unit, keeper
        )
        profile: dict[str, Any] = {
            "driver": "GTiff", "dtype": _DTYPES[kind], "count": 1, "width": width, "height": height,
            "nodata": NODATA[kind], "tiled": True, "blockxsize": _BLOCK, "blockysize": _BLOCK,
            "compress": "deflate", "zlevel": 1, "BIGTIFF": "IF_SAFER", "SPARSE_OK": True,
        }  # fmt: skip
        if located:
            profile |= {"crs": crs, "transform": rasterio.Affine(*affine)}
        with self._writing(), _quiet():
            self._file = rasterio.open(path, "w+", **profile)
            self._file.set_band_description(1, name)
            if legend:
                colours = {entry.value: (*entry.colour, 255) for entry in legend}
                self._file.write_colormap(1, {**colours, 255: (0, 0, 0, 0)})
        self._block = self._file.block_shapes[0]
        self._filled = np.zeros([-(-n // side) for n, side in zip((height, width), self._block, strict=True)], np.bool_)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import rasterio

        with self._writing(), rasterio.Env():  # without it GDAL prints its errors
            self._file.close()
            if error is None:
                self._check()

    def write(self, window: Window, values: npt.NDArray[Any]) -> None:
        """Put in the values of a window, [h, w]; no pixel is written twice."""
        from rasterio.windows import Window as Part

        array = np.asarray(values).astype(self._file.dtypes[0], copy=False)
        with self._writing():
            self._file.write(array, 1, window=Part(window.col, window.row, window.width, window.height))
        nothing = NODATA[self.layer.kind]
        self._mark(window, ~np.isnan(array) if np.isnan(nothing) else array != nothing)

    def _mark(self, window: Window, known: npt.NDArray[np.bool_]) -> None:
        """Remember the blocks with values: of the others nothing is written."""
        parts, found = [], known
        for axis, (start, size) in enumerate(((window.row, window.height), (window.col, window.width))):
            side = self._block[axis]
            blocks = slice(start // side, -(-(start + size) // side))
            cuts = np.maximum(np.arange(blocks.start, blocks.stop) * side - start, 0)
            found = np.logical_or.reduceat(found, cuts, axis=axis)
            parts.append(blocks)
        self._filled[parts[0], parts[1]] |= found

    def _check(self) -> None:
        """Look whether the blocks with values are on disk."""
        import rasterio

        size = self.layer.path.stat().st_size
        with _quiet(), rasterio.open(self.layer.path, driver="GTiff") as source:
            for row, col in np.argwhere(self._filled):
                offset, length = (
                    int(source.get_tag_item(f"BLOCK_{name}_{col}_{row}", "TIFF", bidx=1) or 0)
                    for name in ("OFFSET", "SIZE")
                )
                if not offset or not length or offset + length > size:
                    raise UsageError(f"cannot write {self._what}: not all of it is on disk", hint=_MORE_SPACE)

    def _writing(self) -> AbstractContextManager[None]:
        return refused_by_gdal(self._what, _MORE_SPACE)
