"""Where a raster lies: its own coordinates, else a world file beside it, else its catalogue entry, else nowhere."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rsrag import geo
from rsrag.errors import BadFootprint
from rsrag.ingest.readers.base import Affine, ReadOptions, SceneHints
from rsrag.types import Footprint, Window

IDENTITY: Affine = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_MAX_PRJ_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a raster lies. All None: nowhere."""

    footprint: Footprint | None = None
    crs: str | None = None
    transform: Affine | None = None
    gsd_m: float | None = None


def side_cars(path: Path) -> tuple[Path, ...]:
    """World file and projection file that belong to an image, as far as they are there, in that order.

    Their suffixes may be in capitals, as in ``SHEET.JGW``.
    """
    stem = os.path.splitext(path)[0]  # noqa: PTH122  (as paths these eight looks take ten times as long)
    found = (_with_suffix(stem, suffix) for suffix in dict.fromkeys((*_world_suffixes(path), ".prj")))
    return tuple(Path(car) for car in found if car is not None)


def _with_suffix(stem: str, suffix: str) -> str | None:
    return next((car for car in (stem + suffix, stem + suffix.upper()) if os.path.isfile(car)), None)  # noqa: PTH113


def _world_suffixes(path: Path) -> tuple[str, ...]:
    suffix = path.suffix.lower().lstrip(".")
    short = f".{suffix[0]}{suffix[-1]}w" if suffix else ".wld"
    return (short, f".{suffix}w", ".wld")


def read_world_file(cars: Sequence[Path]) -> tuple[Affine | None, str | None]:
    """Transform and CRS from the side-cars of an image (:func:`side_cars`); None for what is not there.

    A world file gives the centre of the first pixel; the transform returned starts at its corner.

    Raises:
        BadFootprint: a world file without six finite numbers.
    """
    transform: Affine | None = None
    crs: str | None = None
    for car in cars:
        text = car.read_bytes()[:_MAX_PRJ_BYTES].decode("utf-8-sig", "replace").strip()
        if car.suffix.lower() == ".prj":
            crs = text or None
        elif transform is None:
            transform = _parse_world(car, text)
    return transform, crs


def _parse_world(path: Path, text: str) -> Affine:
    try:
        a, d, b, e, x, y = (float(v.replace(",", ".")) for v in text.split())
    except ValueError as error:
        raise BadFootprint(f"{path.name}: a world file holds six numbers") from error
    if not all(math.isfinite(v) for v in (a, b, d, e, x, y)):
        raise BadFootprint(f"{path.name}: numbers that are not finite")
    return (a, b, x - a / 2 - b / 2, d, e, y - d / 2 - e / 2)


def place(
    path: Path,
    width: int,
    height: int,
    crs: str | None,
    transform: Affine | None,
    options: ReadOptions,
    hints: SceneHints,
    cars: Sequence[Path],
    *,
    why_not: str = "",
) -> Placement:
    """Where a raster lies.

    Args:
        path: the file, for messages.
        width: pixels.
        height: pixels.
        crs: what the file itself says, if anything.
        transform: what the file itself says, if anything.
        options: the user's CRS and whether un-located images are allowed.
        hints: what a catalogue entry says.
        cars: the files beside it (:func:`side_cars`).
        why_not: what the file has instead of a transform, for the message.

    Raises:
        BadFootprint: coordinates that are not on Earth, or none at all when they are needed. A wrong position is never
            replaced by no position or by the whole world.
    """
    if transform is None or crs is None:
        world, prj = read_world_file(cars)
        transform = transform or world
        crs = crs or (prj if transform else None)
    if transform is None and hints.transform is not None:
        transform, crs = hints.transform, crs or hints.crs
    if transform is not None and crs is None:
        crs = options.crs or hints.crs
    if transform is not None and crs is not None:
        try:
            footprint = geo.footprint_from_raster(crs, transform, Window(0, 0, width, height))
            gsd = hints.gsd_m or geo.gsd_m(crs, transform, width, height)
        except BadFootprint as error:
            raise BadFootprint(f"{path.name}: {error.message}", hint=error.hint) from error
        return Placement(footprint, crs, transform, gsd if gsd and math.isfinite(gsd) and gsd > 0 else None)
    if hints.footprint is not None:
        return Placement(hints.footprint, gsd_m=hints.gsd_m)
    if options.allow_unlocated:
        return Placement(gsd_m=hints.gsd_m)
    if transform is not None:
        raise BadFootprint(
            f"{path.name}: coordinates without a coordinate reference system",
            hint="give it with --crs EPSG:…, or take the image without a position by --allow-unlocated",
        )
    missing = why_not or "neither coordinates in the file nor a world file beside it"
    raise BadFootprint(f"{path.name}: no position, {missing}", hint="take it without a position by --allow-unlocated")
