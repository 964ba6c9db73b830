"""An image on the grid of another one: warped in windows by GDAL, so that two dates can be compared pixel by pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import numpy as np

from rsrag.crs import full_turn, is_geographic
from rsrag.errors import BadFootprint
from rsrag.ingest.readers.base import Affine, Array, Mask, Pixels, RasterSource, check_inside
from rsrag.ingest.readers.shrink import read_scaled
from rsrag.types import Window

_MARGIN = 4
"""Source pixels read around what a window needs: bilinear weights and the curvature of its edges."""
_EDGE = 65
"""Points on each edge of the whole grid when it is placed on the source."""
_STAND_IN = "EPSG:3857"
"""For images without a position, whose grids are related by their pixels alone."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Pixels that two images are brought to.

    Attributes:
        width: in pixels.
        height: in pixels.
        transform: affine (a, b, c, d, e, f) from pixel to ``crs``.
        crs: coordinate reference system; None for images without a position.
    """

    width: int
    height: int
    transform: Affine
    crs: str | None = None


class AlignedSource:
    """A RasterSource on another grid. Where the image has no pixel, nothing is valid.

    Longitudes a whole turn apart are the same ground: an image at -180.01° lies on a grid that starts at 179.99°.

    Values are bilinear, from pixels that a source finer than the grid has averaged down first. A grid that is the
    source's own, or a part of it at whole pixels, is read as it is.

    Args:
        source: the image; closed together with this one.
        grid: what it is brought to.
        shift: columns and rows by which the image's content lies right of and below the truth, in pixels of the grid.

    Raises:
        BadFootprint: the coordinate reference systems cannot be related to one another.
    """

    def __init__(self, source: RasterSource, grid: Grid, shift: tuple[float, float] = (0.0, 0.0)) -> None:
        self._source = source
        self.grid = grid
        self.shift = shift
        self.bands = source.bands
        self.units = source.units
        self.stretch = source.stretch
        self.block_shape = (256, 256)
        self.copies: tuple[int, ...] = ()
        self.scene = replace(
            source.scene, width=grid.width, height=grid.height, crs=grid.crs,
            transform=grid.transform if grid.crs else None,
        )  # fmt: skip
        self._crs = source.scene.crs if grid.crs else None
        own = source.scene.transform if grid.crs else (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
        if own is None or (grid.crs is not None and self._crs is None):
            raise BadFootprint(f"{source.scene.source}: no position, so it fits no grid on the map")
        self._turn = full_turn(self._crs) if self._crs else None
        self._middle = self._middle_x()
        self._owns = self._on_every_turn(own)
        self._jumps = self._turns_of_warp()
        self._offset = self._whole_offset()
        self._scale = self._source_scale()

    # --- what is read where ---

    def _whole_offset(self) -> tuple[int, int] | None:
        """Column and row of the grid's first pixel in the source, if the grids differ by whole pixels only."""
        if self.grid.crs != self._crs or self.shift != (0.0, 0.0) or len(self._owns) > 1:
            return None
        a, b, c, d, e, f = self._owns[0]
        ga, gb, gc, gd, ge, gf = self.grid.transform
        extent = max(self.grid.width, self.grid.height)
        if max(abs(ga - a), abs(gb - b), abs(gd - d), abs(ge - e)) * extent > 0.01 * math.hypot(a, d):
            return None
        determinant = a * e - b * d
        col, row = (e * (gc - c) - b * (gf - f)) / determinant, (a * (gf - f) - d * (gc - c)) / determinant
        near = abs(col - round(col)) < 0.01 and abs(row - round(row)) < 0.01
        return (round(col), round(row)) if near else None

    def _source_scale(self) -> int:
        """The power of two by which source pixels are averaged first."""
        if self._offset is not None:
            return 1
        middle = Window(self.grid.width // 2, self.grid.height // 2, 1, 1)
        left, top, right, bottom = self._bounds_in_source(middle, self._owns[0])
        ratio = max(right - left, bottom - top)
        scale = 1
        while scale * 2 <= ratio + 0.01:
            scale *= 2
        return scale

    def _shifted(self, col: float, row: float) -> Affine:
        """The grid's transform with its origin at a pixel, moved to where the source has that ground."""
        a, b, c, d, e, f = self.grid.transform
        x, y = col + self.shift[0], row + self.shift[1]
        return (a, b, c + a * x + b * y, d, e, f + d * x + e * y)

    def _in_source_crs(self, window: Window, steps: int) -> tuple[Array, Array]:
        """Map coordinates, in the source's CRS, of points along the edges of a window of the grid."""
        from pyproj import Transformer
        from pyproj.exceptions import CRSError, ProjError

        along = np.linspace(0.0, 1.0, steps)
        zero, one = np.zeros_like(along), np.ones_like(along)
        u = np.concatenate([along, along, zero, one]) * window.width
        v = np.concatenate([zero, one, along, along]) * window.height
        a, b, c, d, e, f = self._shifted(window.col, window.row)
        x, y = a * u + b * v + c, d * u + e * v + f
        if self.grid.crs == self._crs:
            return x, y
        try:
            x, y = Transformer.from_crs(self.grid.crs, self._crs, always_xy=True).transform(x, y)
        except (CRSError, ProjError) as error:
            raise BadFootprint(f"{self._source.scene.source}: its coordinates cannot be related: {error}") from error
        return np.asarray(x), np.asarray(y)

    def _near_middle(self, x: Array) -> Array:
        """Longitudes that a transformation brought into one turn, in the turn about the grid's middle."""
        if self._turn is None or self.grid.crs == self._crs:
            return x
        half = self._turn / 2
        return np.asarray(self._middle + (x - self._middle + half) % self._turn - half)

    def _middle_x(self) -> float:
        """Longitude of the grid's middle in the source's CRS; 0 where it has none."""
        if self._turn is None:
            return 0.0
        x, _ = self._in_source_crs(Window(self.grid.width // 2, self.grid.height // 2, 1, 1), 2)
        return float(x[0]) if np.isfinite(x[0]) else 0.0

    def _on_every_turn(self, own: Affine) -> tuple[Affine, ...]:
        """The source's transform, once for every turn round the Earth on which the source meets the grid."""
        if self._turn is None:
            return (own,)
        x, _ = self._in_source_crs(Window(0, 0, self.grid.width, self.grid.height), _EDGE)
        x = self._near_middle(x[np.isfinite(x)])
        if not x.size:
            return (own,)
        a, b, c, d, e, f = own
        scene = self._source.scene
        corners = [c + a * col + b * row for col in (0, scene.width) for row in (0, scene.height)]
        touch = 0.01 * math.hypot(a, d)
        first = math.ceil((float(x.min()) - max(corners) + touch) / self._turn)
        last = math.floor((float(x.max()) - min(corners) - touch) / self._turn)
        return tuple((a, b, c + self._turn * k, d, e, f) for k in range(first, last + 1)) or (own,)

    def _turns_of_warp(self) -> tuple[int, ...]:
        """By how many turns what GDAL finds for the grid lies west of where it is kept together.

        Degrees GDAL brings together itself. Metres end at the edge of the projection, and start again at the other.
        """
        if self._turn is None or self.grid.crs == self._crs or is_geographic(str(self._crs)):
            return (0,)
        x, _ = self._in_source_crs(Window(0, 0, self.grid.width, self.grid.height), _EDGE)
        x = x[np.isfinite(x)]
        jumps = np.unique(np.round((self._near_middle(x) - x) / self._turn).astype(int))
        return tuple(jumps.tolist()) or (0,)

    def _bounds_in_source(self, window: Window, own: Affine) -> tuple[float, float, float, float]:
        """Left, top, right, bottom in pixels of the source, placed by ``own``, of a window of the grid."""
        x, y = self._in_source_crs(window, 9)
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise BadFootprint(f"{self._source.scene.source}: the grid lies outside the domain of {self._crs}")
        x = self._near_middle(x)
        a, b, c, d, e, f = own
        determinant = a * e - b * d
        cols, rows = (e * (x - c) - b * (y - f)) / determinant, (a * (y - f) - d * (x - c)) / determinant
        return float(cols.min()), float(rows.min()), float(cols.max()), float(rows.max())

    # --- reading ---

    def read(self, window: Window, scale: int = 1) -> Pixels:
        """See :meth:`rsrag.ingest.readers.base.RasterSource.read`."""
        check_inside(window, self.scene)
        return read_scaled(window, scale, (), self._read, len(self.bands))

    def _read(self, window: Window, scale: int) -> Pixels:
        if self._offset is not None:
            col, row = self._offset
            return self._cut(Window(window.col + col, window.row + row, window.width, window.height))
        found, *others = (part for own in self._owns for part in self._placed(own, window))
        for other in others:
            found = Pixels(np.where(found.mask, found.data, other.data), found.mask | other.mask)
        return found

    def _placed(self, own: Affine, window: Window) -> list[Pixels]:
        """A window of the grid from the source as it lies on one turn, in the parts in which GDAL finds it."""
        left, top, right, bottom = self._bounds_in_source(window, own)
        step, margin = self._scale, _MARGIN * self._scale
        scene = self._source.scene
        col0 = max(0, math.floor((left - margin) / step) * step)
        row0 = max(0, math.floor((top - margin) / step) * step)
        col1, row1 = min(scene.width, math.ceil(right + margin)), min(scene.height, math.ceil(bottom + margin))
        if col1 - col0 < 1 or row1 - row0 < 1:
            return [self._nothing(window)]
        pixels = self._source.read(Window(col0, row0, col1 - col0, row1 - row0), step)
        a, b, c, d, e, f = own
        left, top = c + a * col0 + b * row0, f + d * col0 + e * row0
        turns = [left - jump * (self._turn or 0.0) for jump in self._jumps]
        return [self._warp(pixels, (a * step, b * step, x, d * step, e * step, top), window) for x in turns]

    def _cut(self, wanted: Window) -> Pixels:
        """Source pixels as they are; invalid where the window lies outside the source."""
        scene = self._source.scene
        col0, row0 = max(0, wanted.col), max(0, wanted.row)
        col1, row1 = min(scene.width, wanted.col + wanted.width), min(scene.height, wanted.row + wanted.height)
        if col1 <= col0 or row1 <= row0:
            return self._nothing(wanted)
        found = self._source.read(Window(col0, row0, col1 - col0, row1 - row0))
        if (col1 - col0, row1 - row0) == (wanted.width, wanted.height):
            return found
        blank = self._nothing(wanted, found.data.dtype)
        rows, cols = slice(row0 - wanted.row, row1 - wanted.row), slice(col0 - wanted.col, col1 - wanted.col)
        blank.data[:, rows, cols] = found.data
        blank.mask[rows, cols] = found.mask
        return blank

    def _nothing(self, window: Window, dtype: Any = np.float32) -> Pixels:
        shape = (window.height, window.width)
        return Pixels(np.zeros((len(self.bands), *shape), dtype=dtype), np.zeros(shape, dtype=np.bool_))

    def _warp(self, pixels: Pixels, origin: Affine, window: Window) -> Pixels:
        """Source pixels on the grid: float32 data, and a mask without a pixel that invalid neighbours had a part in."""
        import rasterio
        from rasterio.warp import Resampling, reproject

        values = np.where(pixels.mask, pixels.data.astype(np.float32), np.float32(np.nan))
        warped: Array = np.full((len(values), window.height, window.width), np.nan, dtype=np.float32)
        # GDAL looks at some points of the edges only to see what it needs, and may miss where a turn begins.
        extra = {"SOURCE_EXTRA": max(values.shape[1:]) // 8} if len(self._jumps) > 1 else {}
        with rasterio.Env():
            reproject(
                values, warped, src_transform=rasterio.Affine(*origin), src_crs=self._crs or _STAND_IN,
                dst_transform=rasterio.Affine(*self._shifted(window.col, window.row)),
                dst_crs=self.grid.crs or _STAND_IN, src_nodata=np.nan, dst_nodata=np.nan,
                resampling=Resampling.bilinear, num_threads=1, warp_mem_limit=64, **extra,
            )  # fmt: skip
        mask: Mask = np.asarray(np.isfinite(warped).all(axis=0))
        return Pixels(np.where(mask, warped, np.float32(0)), mask)

    def reopen(self) -> AlignedSource:
        """See :meth:`rsrag.ingest.readers.base.RasterSource.reopen`."""
        return AlignedSource(self._source.reopen(), self.grid, self.shift)

    def moved(self, shift: tuple[float, float]) -> AlignedSource:
        """The same source with a further shift of its content corrected; shares the open file."""
        return AlignedSource(self._source, self.grid, (self.shift[0] + shift[0], self.shift[1] + shift[1]))

    def close(self) -> None:
        """Release the file."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
