"""One door to every image reader."""

from __future__ import annotations

from pathlib import Path

from rsrag.errors import UnsupportedSource
from rsrag.ingest import guard
from rsrag.ingest.readers.base import NO_HINTS, RasterSource, ReadOptions, SceneHints


def open_image(
    path: Path, kind: guard.SourceType, options: ReadOptions | None = None, hints: SceneHints = NO_HINTS
) -> RasterSource:
    """Open an image with the reader of its type.

    Args:
        path: absolute local path, checked by the guard.
        kind: its type by content (:func:`rsrag.ingest.guard.sniff`).
        options: what the user says.
        hints: what a catalogue entry says.

    Raises:
        SourceError: the image cannot be used; see the readers.
    """
    if kind in guard.DRIVERS:
        from rsrag.ingest.readers.raster import open_raster

        return open_raster(path, kind, options, hints)
    if kind in (guard.SourceType.PNG, guard.SourceType.JPEG):
        from rsrag.ingest.readers.photo import open_photo

        return open_photo(path, kind, options, hints)
    raise UnsupportedSource(f"{path.name}: a {kind}, not an image", hint="give a GeoTIFF, JPEG 2000, PNG or JPEG")
