"""A result as files: GeoTIFF layers, a picture, or the form that a file's ending names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rsrag._version import __version__
from rsrag.adapters.base import Subject, TaskResult
from rsrag.errors import UsageError
from rsrag.replacing import replacing

ENDINGS = (".geojson", ".gpkg", ".tif", ".png", ".html")
MAPS = (".geojson", ".json", ".gpkg")
"""Endings of the forms that need a position on Earth."""
RASTERS = (".tif", ".tiff")


def write(result: TaskResult, path: Path) -> None:
    """See :meth:`rsrag.adapters.base.TaskResult.write`."""
    check_ending(path)
    check_spared(path, result)
    forms: Mapping[str, Callable[[Path], Any]] = {
        ".geojson": result.to_geojson, ".json": result.to_geojson, ".gpkg": result.to_gpkg, ".tif": result.to_geotiff,
        ".tiff": result.to_geotiff, ".png": result.to_png, ".html": result.to_html,
    }  # fmt: skip
    forms[path.suffix.lower()](path)


def check_ending(path: Path, *, task: str = "", rasters: bool = True) -> None:
    """Refuse a file whose ending names no form that a task gives, before any work is done.

    Args:
        path: file to write.
        task: name of the task, for the message.
        rasters: whether the task gives layers.

    Raises:
        UsageError: unknown ending, or no folder for the file.
    """
    if not rasters and path.suffix.lower() in RASTERS:
        raise _no_raster(task, path)
    if path.suffix.lower() not in (*ENDINGS, ".json", ".tiff"):
        raise UsageError(f"cannot write {path.name!r}", hint=f"the ending must be one of {', '.join(ENDINGS)}")
    if not path.parent.is_dir():
        raise UsageError(f"no folder {path.parent} for {path.name}")


def check_located(path: Path, subject: Subject) -> None:
    """Refuse a file of a form that needs a position, as soon as the image is known.

    Raises:
        UsageError: the image has none.
    """
    if path.suffix.lower() in MAPS and not subject.located:
        raise UsageError(
            f"cannot write {path.name}: {subject.name} has no position",
            hint="write .png, .html or --json, which are in pixels; or locate the image with rsrag ask --image",
        )


def check_spared(path: Path, result: TaskResult) -> None:
    """Refuse to write over an image that the result is about, whatever the path is called.

    Raises:
        UsageError: the path is such an image.
    """
    for source in _sources(result):
        with suppress(OSError, ValueError):
            if path.samefile(source):
                raise UsageError(
                    f"cannot write {path.name}: it is the image that was looked at", hint="give the result another name"
                )


def _sources(result: TaskResult) -> tuple[str, ...]:
    """The images of a result: a comparison has one a date."""
    from rsrag.adapters.change.request import ChangeResult

    if not isinstance(result, ChangeResult):
        return (result.subject.source,)
    dates = (result.before, result.after, *(date for step in result.steps for date in (step.before, step.after)))
    return (result.subject.source, *(date.source for date in dates))


def _no_raster(task: str, path: Path) -> UsageError:
    return UsageError(
        f"cannot write {path.name}: {task} gives no raster here", hint="write .geojson, .gpkg, .png or .html"
    )


def write_geotiffs(result: TaskResult, path: Path) -> tuple[Path, ...]:
    """See :meth:`rsrag.adapters.base.TaskResult.to_geotiff`."""
    if not result.layers:
        raise _no_raster(result.task, path)
    written = []
    for number, layer in enumerate(result.layers):
        own = path if number == 0 else path.with_name(f"{path.stem}_{layer.name.replace(' ', '_')}{path.suffix}")
        check_spared(own, result)
        tags = {"TIFFTAG_SOFTWARE": f"rsrag {__version__}", "RSRAG_TASK": result.task, "RSRAG_UNIT": layer.unit}
        layer.save(own, tags=tags | {f"RSRAG_MODEL_{k.upper()}": v for k, v in result.provenance.models.items()})
        written.append(own)
    return tuple(written)


def write_png(result: TaskResult, path: Path) -> None:
    """See :meth:`rsrag.adapters.base.TaskResult.to_png`."""
    from PIL import Image

    from rsrag.adapters.draw import draw

    check_spared(path, result)
    with replacing(path) as partial:
        Image.fromarray(draw(result)).save(partial, "PNG")
