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

from rsrag.errors import SourceTooLarge, UnreadableSource, UsageError
from rsrag.ingest.readers.base import Array, Mask, Pixels, RasterSource
from rsrag.ingest.stretch import Picture
from rsrag.types import Window

READ_VALUES = 8_000_000
"""Band values read at once, about: what bounds memory, whatever the size of the scene."""
READ_SIDE = 2048
"""Pixels that one read spans at most in height when it gathers rows of tiles to match the file's blocks."""
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
    return _cut(source, tile, tile.window, _read(source, tile.window, tile.scale))


def read_tiles(
    source: RasterSource, plan: TilePlan, wanted: Callable[[TileWindow], bool] | None = None
) -> Iterator[TilePixels | TileFailure]:
    """Read the tiles of a plan, one thread reading ahead with its own file handle.

    Args:
        source: an open scene; it stays open.
        plan: its tiles.
        wanted: which of them to read, all by default; for resuming.

    Yields:
        Tiles group by group (fine scales first); a damaged one as a TileFailure.
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
        try:
            with own:
                for group in _groups(plan, own, wanted):
                    if stop.is_set():
                        return
                    put(_read_group(own, group))
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


def _groups(
    plan: TilePlan, source: RasterSource, wanted: Callable[[TileWindow], bool] | None
) -> Iterator[list[TileWindow]]:
    """Tiles that are read together: as many rows as make up the file's blocks, as many columns as memory allows."""
    for scale in plan.scales:
        rows, cols = plan.rows(scale), plan.columns(scale)
        per_row = min(math.ceil(source.block_shape[0] / (plan.tile_size * scale)), READ_SIDE // plan.tile_size)
        tall = max(1, per_row)
        wide = max(1, READ_VALUES // (len(source.bands) * plan.tile_size**2 * tall))
        for top in range(0, len(rows), tall):
            for left in range(0, len(cols), wide):
                group = [
                    TileWindow(Window(col, row, width, height), scale)
                    for row, height in rows[top : top + tall]
                    for col, width in cols[left : left + wide]
                ]
                if group := [tile for tile in group if wanted is None or wanted(tile)]:
                    yield group


def _read_group(source: RasterSource, group: list[TileWindow]) -> list[TilePixels | TileFailure]:
    left = min(t.window.col for t in group)
    top = min(t.window.row for t in group)
    right = max(t.window.col + t.window.width for t in group)
    bottom = max(t.window.row + t.window.height for t in group)
    area = Window(left, top, right - left, bottom - top)
    try:
        pixels = _read(source, area, group[0].scale)
    except UnreadableSource as error:
        if len(group) == 1:
            return [TileFailure(group[0], error.message)]
        return [one for tile in group for one in _read_group(source, [tile])]
    return [_cut(source, tile, area, pixels) for tile in group]


def _read(source: RasterSource, area: Window, scale: int) -> Pixels:
    out = (math.ceil(area.width / scale), math.ceil(area.height / scale))
    return source.read(area, None if scale == 1 else out)


def _cut(source: RasterSource, tile: TileWindow, area: Window, pixels: Pixels) -> TilePixels:
    col, row = (tile.window.col - area.col) // tile.scale, (tile.window.row - area.row) // tile.scale
    width, height = tile.out_size
    # Copies, so that a tile that is kept does not keep its whole group.
    data = pixels.data[:, row : row + height, col : col + width].copy()
    mask = pixels.mask[row : row + height, col : col + width].copy()
    return TilePixels(tile, source.stretch.apply(Pixels(data, mask)), data, mask)
