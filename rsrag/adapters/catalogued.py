"""Scenes and tiles of the archive, opened with all that the catalogue knows: position, date and bands that came from a
STAC item or from who ingested them are not in the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from rsrag.errors import UnreadableSource
from rsrag.ingest import guard
from rsrag.ingest.readers.base import BandRule, Pixels, RasterSource, ReadOptions, SceneHints, check_inside
from rsrag.ingest.readers.images import open_image
from rsrag.types import Scene, Tile, Window


def open_scene(scene: Scene, options: ReadOptions, tile: Tile | None = None) -> RasterSource:
    """Open the image of a scene.

    Args:
        scene: of the catalogue; its id and digest stay.
        options: what the user says, which goes before what the catalogue says.
        tile: the part of the scene that is meant; all of it when None.

    Raises:
        SourceError: the file is gone, cannot be used, or is of another size than the catalogue says.
    """
    path = guard.check_path(scene.source)
    rule = band_rule(scene)
    if rule is not None:
        options = replace(options, bands=(*options.bands, rule))  # the first that fits counts
    source = open_image(path, guard.sniff(path), options, hints(scene, options))
    size = source.scene.width, source.scene.height
    if size != (scene.width, scene.height):
        source.close()
        raise UnreadableSource(
            f"{path.name}: {size[0]}×{size[1]} pixels, but {scene.width}×{scene.height} in the archive",
            hint="it changed since: rsrag ingest it again",
        )
    source.scene = replace(source.scene, id=scene.id, digest=scene.digest)
    if tile is None or tile.window == Window(0, 0, *size):
        return source
    return PartSource(source, tile)


def hints(scene: Scene, options: ReadOptions) -> SceneHints:
    """What the catalogue says of a scene, for a reader; another CRS that the user gives replaces the catalogue's."""
    replaced = scene.crs is not None and options.crs not in (None, scene.crs)
    return SceneHints(
        title=scene.title, collection=scene.collection, time=scene.time, footprint=scene.footprint,
        crs=None if replaced else scene.crs, transform=scene.transform, sensor=scene.sensor,
        gsd_m=None if replaced else scene.gsd_m, licence=scene.licence, properties=scene.properties,
    )  # fmt: skip


def band_rule(scene: Scene) -> BandRule | None:
    """The roles of a scene's bands as a user would say them; None where they have no names to say."""
    roles = {band.role: band.index for band in scene.bands if band.role and _sayable(band.role)}
    return BandRule(roles) if roles else None


def _sayable(role: str) -> bool:
    """Colours of a palette, and bands that nobody named, are found in the file alone."""
    return role != "palette" and not role.startswith("band")


class PartSource:
    """A tile's window of a scene as an image of its own, on the scene's pixels and with the scene's stretch.

    Args:
        source: the whole scene; closed together with this one.
        tile: of that scene, inside of it.
    """

    def __init__(self, source: RasterSource, tile: Tile) -> None:
        scene, window = source.scene, tile.window
        name = scene.title or Path(scene.source).name
        self._source, self._tile = source, tile
        transform = scene.transform
        if transform is not None:
            a, b, c, d, e, f = transform
            transform = (a, b, c + a * window.col + b * window.row, d, e, f + d * window.col + e * window.row)
        self.scene = replace(
            scene, width=window.width, height=window.height, transform=transform, footprint=tile.footprint,
            title=f"{name}, tile at {window.col},{window.row}",
        )  # fmt: skip
        self.bands = source.bands
        self.units = source.units
        self.stretch = source.stretch
        self.block_shape = source.block_shape
        self.copies = source.copies

    def read(self, window: Window, scale: int = 1) -> Pixels:
        """See :meth:`rsrag.ingest.readers.base.RasterSource.read`."""
        check_inside(window, self.scene)
        origin = self._tile.window
        moved = Window(window.col + origin.col, window.row + origin.row, window.width, window.height)
        return self._source.read(moved, scale)

    def reopen(self) -> PartSource:
        """See :meth:`rsrag.ingest.readers.base.RasterSource.reopen`."""
        return PartSource(self._source.reopen(), self._tile)

    def close(self) -> None:
        """Release the file."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
