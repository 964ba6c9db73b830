"""The one function that opens a discovered image with the reader of its type."""

from __future__ import annotations

from rsrag.errors import UnsupportedSource
from rsrag.ingest.discover import Discovered
from rsrag.ingest.guard import SourceType
from rsrag.ingest.readers.base import RasterSource, ReadOptions
from rsrag.ingest.readers.photo import open_photo
from rsrag.ingest.readers.raster import open_raster


def is_imagery(item: Discovered) -> bool:
    """Whether a discovered file is an image."""
    return item.type is not None and item.type.is_raster


def open_scene(item: Discovered, options: ReadOptions) -> RasterSource:
    """Open a discovered image.

    Raises:
        SourceError: it cannot be used; which one says why.
    """
    if item.type in (SourceType.GEOTIFF, SourceType.JP2):
        return open_raster(item.path, item.type, options, item.hints)
    if item.type in (SourceType.PNG, SourceType.JPEG):
        return open_photo(item.path, item.type, options, item.hints)
    raise UnsupportedSource(f"{item.path.name}: a {item.type} is not an image")
