"""The windows a scene is cut into, and reading them: block by block, one reading thread ahead of the consumer.

At scale *s* a tile of ``tile_size`` pixels covers ``tile_size``·*s* scene pixels. Tiles lie on a regular grid; the last
one of a row or column is moved back inside, so that every tile is full and overlaps its neighbour more, instead of
being padded. A scene smaller than a tile gives one smaller tile. Scales double from 1 until the scene fits into one.
"""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rsrag.errors import SourceTooLarge, UnreadableSource, UsageError
from rsrag.ingest.background import give_way
from rsrag.ingest.readers.base import Array, Mask, Pixels, RasterSource
from rsrag.ingest.readers.shrink import inner_scale, shrink
from rsrag.ingest.stretch import Picture
from rsrag.types import Window

READ_VALUES = 8_000_000
"""Band values read at once, about: what bounds memory, whatever the size of the scene."""
REDUCED_BYTES = 32 * 2**20
"""A reduced copy of the scene up to this size is kept while fine scales are read, to make the coarse ones from."""
_SPANS = (4, 2)
"""Scales up to this many times coarser are made from the same reading, as memory allows."""
_TALL = 2048
_AHEAD = 2


@dataclass(frozen=True, slots=True)
class TileWindow:
    """A tile to be read: its window in scene pixels, and how many of them make one tile pixel."""

    window: Window
    scale: int

    @property
    def out_size(self) -> tuple[int, int]:
        """Width and height of the tile in pixels."""
        return (math.ceil(self.window.width / self.scale), math.ceil(self.window.height / self.scale))


@dataclass(frozen=True, slots=True)
class TilePlan:
    """Every tile of a scene, known by arithmetic before a pixel is read."""

    width: int
    height: int
    tile_size: int
    scales: tuple[int, ...]
    overlap: float

    @property
    def count(self) -> int:
        """Number of tiles over all scales."""
        return sum(self._steps(self.width, scale) * self._steps(self.height, scale) for scale in self.scales)

    def _stride(self, scale: int) -> int:
        return max(1, round(self.tile_size * (1 - self.overlap))) * scale

    def _last(self, length: int, scale: int) -> int:
        """Start of the last tile: whole tile pixels from the origin.

        So a window read alone equals the same window cut from a larger read; less than one tile pixel is left over.
        """
        return max(0, (length - self.tile_size * scale) // scale * scale)

    def _steps(self, length: int, scale: int) -> int:
        return math.ceil(self._last(length, scale) / self._stride(scale)) + 1

    def _spans(self, length: int, scale: int) -> list[tuple[int, int]]:
        side, last = min(length, self.tile_size * scale), self._last(length, scale)
        return [(min(i * self._stride(scale), last), side) for i in range(self._steps(length, scale))]

    def columns(self, scale: int) -> list[tuple[int, int]]:
        """Start and width of the tiles of one row, in scene pixels."""
        return self._spans(self.width, scale)

    def rows(self, scale: int) -> list[tuple[int, int]]:
        """Start and height of the rows of tiles, in scene pixels."""
        return self._spans(self.height, scale)

    def __iter__(self) -> Iterator[TileWindow]:
        """Every tile, fine scales first, row by row."""
        for scale in self.scales:
            for row, height in self.rows(scale):
                for col, width in self.columns(scale):
                    yield TileWindow(Window(col, row, width, height), scale)


@dataclass(frozen=True, slots=True, eq=False)
class TilePixels:
    """A tile as read.

    Attributes:
        tile: which one.
        picture: what the encoder sees, uint8 of shape [height, width, 3]; invalid pixels are black.
        data: values as stored, [bands, height, width]; NaN where a float band has none.
        mask: True where valid, bool of shape [height, width].
    """

    tile: TileWindow
    picture: Picture
    data: Array
    mask: Mask


@dataclass(frozen=True, slots=True)
class TileFailure:
    """A tile that cannot be read: its siblings go on."""

    tile: TileWindow
    reason: str


def plan_tiles(
    width: int,
    height: int,
    tile_size: int = 256,
    scales: Literal["auto"] | Sequence[int] = "auto",
    overlap: float = 0.0,
    max_tiles: int = 100_000,
) -> TilePlan:
    """Plan the tiles of a scene.

    Args:
        width: of the scene in pixels.
        height: of the scene in pixels.
        tile_size: side of a tile in pixels.
        scales: scene pixels per tile pixel; "auto": 1, 2, 4, ... until the scene fits into one tile.
        overlap: share of a tile that the next one repeats, in [0, 1).
        max_tiles: limit over all scales.

    Raises:
        UsageError: a tile size, scale or overlap that makes no grid.
        SourceTooLarge: more tiles than the limit; nothing has been read.
    """
    if tile_size < 1 or not 0 <= overlap < 1 or min(width, height) < 1:
        raise UsageError(f"no tiles of {tile_size} pixels with overlap {overlap:g} on {width}×{height} pixels")
    if scales == "auto":
        chosen = [1]
        while max(width, height) > tile_size * chosen[-1]:
            chosen.append(chosen[-1] * 2)
    else:
        chosen = sorted(set(scales))
        if not chosen or chosen[0] < 1:
            raise UsageError(f"scales {scales!r} are not whole numbers from 1", hint="such as 1,4,16")
        # Beyond the first scale that shows the whole scene there is nothing more to see.
        whole = [s for s in chosen if max(width, height) <= tile_size * s]
        chosen = [s for s in chosen if s not in whole[1:]]
    plan = TilePlan(width, height, tile_size, tuple(chosen), overlap)
    if plan.count > max_tiles:
        raise SourceTooLarge(
            f"{width}×{height} pixels give {plan.count} tiles, the limit is {max_tiles}",
            hint=f"raise it with --max-tiles {plan.count}, or leave out fine scales with --scales 4,8,16,…",
        )
    return plan


def read_tile(source: RasterSource, tile: TileWindow) -> TilePixels:
    """Read one tile by itself; the same pixels as :func:`read_tiles` gives.

    Raises:
        UnreadableSource: its window is damaged.
    """
    return _finish(source, tile, source.read(tile.window, tile.scale))


def read_tiles(
    source: RasterSource, plan: TilePlan, wanted: Callable[[TileWindow], bool] | None = None
) -> Iterator[TilePixels | TileFailure]:
    """Read the tiles of a plan, one thread reading ahead with its own file handle.

    Neighbouring tiles of several scales are made from one reading of the file.

    Args:
        source: an open scene; it stays open.
        plan: its tiles.
        wanted: which of them to read, all by default; for resuming.

    Yields:
        Tiles, in an order that depends on plan and file alone; a damaged one as a TileFailure.
    """
    ahead: queue.Queue[list[TilePixels | TileFailure] | BaseException | None] = queue.Queue(maxsize=_AHEAD)
    stop = threading.Event()
    own = source.reopen()

    def put(item: list[TilePixels | TileFailure] | BaseException | None) -> None:
        while not stop.is_set():
            try:
                ahead.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        give_way()
        try:
            with own:
                for group in _Stream(own, plan, wanted):
                    if stop.is_set():
                        return
                    put(group)
            put(None)
        except BaseException as error:  # handed to the consumer, which raises it
            put(error)

    thread = threading.Thread(target=work, name="rsrag-reader", daemon=True)
    thread.start()
    try:
        while (item := ahead.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield from item
    finally:
        stop.set()
        thread.join()


@dataclass(frozen=True, slots=True, eq=False)
class _Reduced:
    """The whole scene at a coarse scale, in memory."""

    scale: int
    pixels: Pixels

    def take(self, area: Window, pixels: Pixels) -> None:
        """Put in the pixels of an area."""
        height, width = pixels.mask.shape
        rows, cols = slice(area.row // self.scale, None), slice(area.col // self.scale, None)
        self.pixels.data[:, rows, cols][:, :height, :width] = pixels.data
        self.pixels.mask[rows, cols][:height, :width] = pixels.mask


class _Stream:
    """The reading order: passes over the scene, each at a base scale from which some scales are made.

    A pass goes in areas of about ``READ_VALUES``, and fills the reduced copy that the next pass reads instead of the
    file, where that copy is small enough.
    """

    def __init__(self, source: RasterSource, plan: TilePlan, wanted: Callable[[TileWindow], bool] | None) -> None:
        self._source, self._plan, self._wanted = source, plan, wanted
        self._reduced: _Reduced | None = None

    def __iter__(self) -> Iterator[list[TilePixels | TileFailure]]:
        passes: dict[int, list[int]] = {}
        for scale in self._plan.scales:
            inner = inner_scale(scale, self._source.copies)
            passes.setdefault(inner if scale // inner <= self._span() else scale, []).append(scale)
        bases = sorted(passes)
        for base, coarser in zip(bases, [*bases[1:], None], strict=True):
            filling = self._empty(coarser) if coarser and self._feeds(base, coarser) else None
            for core in self._cores(base, passes[base], coarser or base):
                tiles = self._tiles(core, passes[base])
                if tiles or filling:
                    read, filling = self._area(base, core, tiles, filling)
                    yield read
            self._reduced = filling

    def _span(self) -> int:
        values = len(self._source.bands) * self._plan.tile_size**2
        return next((span for span in _SPANS if values * span**2 <= 2 * READ_VALUES), 1)

    def _feeds(self, base: int, coarser: int) -> bool:
        """Whether the next pass is made from this one's pixels, and has anything to do."""
        if inner_scale(coarser, self._source.copies) != base:
            return False
        return self._wanted is None or any(self._wanted(tile) for tile in self._plan if tile.scale >= coarser)

    def _empty(self, scale: int) -> _Reduced | None:
        """Room for the whole scene at a scale; None where that is too much, or cannot be known."""
        height, width = math.ceil(self._plan.height / scale), math.ceil(self._plan.width / scale)
        try:
            data_type = self._source.read(Window(0, 0, 1, 1)).data.dtype
        except UnreadableSource:  # the first block is damaged: coarse scales are read from the file
            return None
        bands = len(self._source.bands)
        if height * width * (bands * data_type.itemsize + 1) > REDUCED_BYTES:
            return None
        pixels = Pixels(np.zeros((bands, height, width), data_type), np.zeros((height, width), dtype=np.bool_))
        return _Reduced(scale, pixels)

    def _cores(self, base: int, scales: list[int], coarser: int) -> Iterator[Window]:
        """Areas that share out the scene; each starts at whole pixels of every scale made from it."""
        plan, whole = self._plan, math.lcm(self._plan.tile_size * max(scales), coarser)
        tall = whole * max(1, min(self._source.block_shape[0], _TALL) // whole)
        row_values = len(self._source.bands) * math.ceil(tall / base)
        wide = whole * max(1, READ_VALUES // row_values * base // whole)
        for top in range(0, plan.height, tall):
            for left in range(0, plan.width, wide):
                yield Window(left, top, min(wide, plan.width - left), min(tall, plan.height - top))

    def _tiles(self, core: Window, scales: list[int]) -> list[TileWindow]:
        """The tiles that start in an area."""
        found = []
        for scale in scales:
            rows = [r for r in self._plan.rows(scale) if core.row <= r[0] < core.row + core.height]
            cols = [c for c in self._plan.columns(scale) if core.col <= c[0] < core.col + core.width]
            found += [TileWindow(Window(c, r, w, h), scale) for r, h in rows for c, w in cols]
        return [tile for tile in found if self._wanted is None or self._wanted(tile)]

    def _area(
        self, base: int, core: Window, tiles: list[TileWindow], filling: _Reduced | None
    ) -> tuple[list[TilePixels | TileFailure], _Reduced | None]:
        """The tiles of an area, and the reduced copy with the area in it; None once a part of it is damaged."""
        area = _around([*(t.window for t in tiles), *([core] if filling else [])])
        try:
            pixels = self._read(area, base)
        except UnreadableSource:
            return [self._alone(tile) for tile in tiles], None
        if filling:
            filling.take(core, shrink(_part(pixels, area, core, base), filling.scale // base))
        read: list[TilePixels | TileFailure] = []
        for scale in sorted({t.scale for t in tiles}):
            same = [t for t in tiles if t.scale == scale]
            part = _around([t.window for t in same])
            small = shrink(_part(pixels, area, part, base), scale // base)
            read += [_finish(self._source, t, _part(small, part, t.window, scale)) for t in same]
        return read, filling

    def _read(self, area: Window, base: int) -> Pixels:
        if self._reduced is not None:
            return _part(self._reduced.pixels, Window(0, 0, self._plan.width, self._plan.height), area, base)
        return self._source.read(area, base)

    def _alone(self, tile: TileWindow) -> TilePixels | TileFailure:
        try:
            return read_tile(self._source, tile)
        except UnreadableSource as error:
            return TileFailure(tile, error.message)


def _around(windows: Sequence[Window]) -> Window:
    left, top = min(w.col for w in windows), min(w.row for w in windows)
    right, bottom = max(w.col + w.width for w in windows), max(w.row + w.height for w in windows)
    return Window(left, top, right - left, bottom - top)


def _part(pixels: Pixels, area: Window, part: Window, scale: int) -> Pixels:
    """The pixels of a window inside an area that was read at a scale."""
    top, left = (part.row - area.row) // scale, (part.col - area.col) // scale
    rows, cols = slice(top, top + -(-part.height // scale)), slice(left, left + -(-part.width // scale))
    return Pixels(pixels.data[:, rows, cols], pixels.mask[rows, cols])


def _finish(source: RasterSource, tile: TileWindow, pixels: Pixels) -> TilePixels:
    # Copies, so that a tile that is kept does not keep everything read with it.
    own = Pixels(pixels.data.copy(), pixels.mask.copy())
    return TilePixels(tile, source.stretch.apply(own), own.data, own.mask)
