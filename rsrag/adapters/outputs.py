"""A result as files: GeoTIFF layers, a picture, or the form that a file's ending names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rsrag._version import __version__
from rsrag.adapters.base import TaskResult
from rsrag.errors import UsageError
from rsrag.replacing import replacing

ENDINGS = (".geojson", ".gpkg", ".tif", ".png", ".html")


def write(result: TaskResult, path: Path) -> None:
    """See :meth:`rsrag.adapters.base.TaskResult.write`."""
    check_ending(path)
    forms: Mapping[str, Callable[[Path], Any]] = {
        ".geojson": result.to_geojson, ".json": result.to_geojson, ".gpkg": result.to_gpkg, ".tif": result.to_geotiff,
        ".tiff": result.to_geotiff, ".png": result.to_png, ".html": result.to_html,
    }  # fmt: skip
    forms[path.suffix.lower()](path)


def check_ending(path: Path) -> None:
    """Refuse a file whose ending names no form, before any work is done.

    Raises:
        UsageError: unknown ending, or no folder for the file.
    """
    if path.suffix.lower() not in (*ENDINGS, ".json", ".tiff"):
        raise UsageError(f"cannot write {path.name!r}", hint=f"the ending must be one of {', '.join(ENDINGS)}")
    if not path.parent.is_dir():
        raise UsageError(f"no folder {path.parent} for {path.name}")


def write_geotiffs(result: TaskResult, path: Path) -> tuple[Path, ...]:
    """See :meth:`rsrag.adapters.base.TaskResult.to_geotiff`."""
    if not result.layers:
        raise UsageError(f"{result.task} gave no raster", hint="write .geojson, .gpkg, .png or .html")
    written = []
    for number, layer in enumerate(result.layers):
        own = path if number == 0 else path.with_name(f"{path.stem}_{layer.name.replace(' ', '_')}{path.suffix}")
        tags = {"TIFFTAG_SOFTWARE": f"rsrag {__version__}", "RSRAG_TASK": result.task, "RSRAG_UNIT": layer.unit}
        layer.save(own, tags=tags | {f"RSRAG_MODEL_{k.upper()}": v for k, v in result.provenance.models.items()})
        written.append(own)
    return tuple(written)


def write_png(result: TaskResult, path: Path) -> None:
    """See :meth:`rsrag.adapters.base.TaskResult.to_png`."""
    from PIL import Image

    from rsrag.adapters.draw import draw

    with replacing(path) as partial:
        Image.fromarray(draw(result)).save(partial, "PNG")
