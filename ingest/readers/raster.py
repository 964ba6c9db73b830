"""GeoTIFF and JPEG 2000 files as scenes: any number of bands and any real data type, read in windows through GDAL."""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from rsrag.errors import BadFootprint, SourceTooLarge, UnreadableSource, UnsupportedSource
from rsrag.ingest import guard
from rsrag.ingest import stretch as stretching
from rsrag.ingest.readers import bands as band_roles
from rsrag.ingest.readers import names
from rsrag.ingest.readers.base import (
    NO_HINTS,
    Affine,
    Pixels,
    ReadOptions,
    SceneHints,
    check_inside,
    scene_digest,
    scene_id,
)
from rsrag.ingest.readers.geometry import IDENTITY, place, side_cars
from rsrag.ingest.readers.layout import Layout, band_layout, file_bands, first_line, palette_layout, read_pixels
from rsrag.ingest.readers.shrink import read_scaled
from rsrag.types import Band, Scene, Window

SAMPLE_SIDE = 1024
"""The stretch is found on at most this many pixels a side."""
_SAMPLE_GRID, _SAMPLE_WINDOW = 8, 128
_log = logging.getLogger("rsrag.ingest")
_lock = threading.Lock()


def _rasterio() -> Any:
    """rasterio with GDAL made safe first, and its own logging kept out of the user's way."""
    with _lock:
        guard.harden_gdal()
        import rasterio

        return rasterio


class _Stored:
    """The open file and its reduced copies, each through a handle of its own."""

    def __init__(self, path: Path, driver: str, layout: Layout, dataset: Any) -> None:
        self.path, self.driver, self.layout, self.dataset = path, driver, layout, dataset
        self.copies: dict[int, Any] = {}
        for level, factor in enumerate(dataset.overviews(layout.indexes[0])):
            with contextlib.suppress(UnreadableSource):  # damaged: those scales are made from finer pixels
                copy = _open(path, driver, level)
                # Writers round the size of a copy up or down; one that lacks the last row does not fit the grid.
                if (copy.width, copy.height) == (-(-dataset.width // factor), -(-dataset.height // factor)):
                    self.copies[factor] = copy
                else:
                    copy.close()

    def read(self, window: Window, scale: int) -> Pixels:
        return read_scaled(window, scale, self.copies, self._read, len(self.layout.indexes))

    def _read(self, window: Window, scale: int) -> Pixels:
        dataset = self.copies[scale] if scale > 1 else self.dataset
        left, top = window.col // scale, window.row // scale
        area = Window(left, top, -(-window.width // scale), -(-window.height // scale))
        return read_pixels(dataset, self.layout, self.path, area)

    def close(self) -> None:
        for dataset in (self.dataset, *self.copies.values()):
            dataset.close()


class RasterFile:
    """A GeoTIFF or JPEG 2000 file as a RasterSource. Made by :func:`open_raster`."""

    def __init__(
        self,
        stored: _Stored,
        scene: Scene,
        bands: tuple[Band, ...],
        units: tuple[str, ...],
        stretch: stretching.Stretch,
        block_shape: tuple[int, int],
    ) -> None:
        self.scene = scene
        self.bands = bands
        self.units = units
        self.stretch = stretch
        self.block_shape = block_shape
        self.copies = tuple(stored.copies)
        self._stored = stored

    def read(self, window: Window, scale: int = 1) -> Pixels:
        """See :meth:`rsrag.ingest.readers.base.RasterSource.read`."""
        check_inside(window, self.scene)
        return self._stored.read(window, scale)

    def reopen(self) -> RasterFile:
        """See :meth:`rsrag.ingest.readers.base.RasterSource.reopen`."""
        old = self._stored
        with _rasterio().Env():
            again = _Stored(old.path, old.driver, old.layout, _open(old.path, old.driver))
        return RasterFile(again, self.scene, self.bands, self.units, self.stretch, self.block_shape)

    def close(self) -> None:
        """Release the file."""
        self._stored.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_raster(
    path: Path, kind: guard.SourceType, options: ReadOptions | None = None, hints: SceneHints = NO_HINTS
) -> RasterFile:
    """Open a GeoTIFF or JPEG 2000 file.

    Args:
        path: absolute local path, checked by the guard.
        kind: its type by content; decides the one driver that may open it.
        options: what the user says.
        hints: what a catalogue entry says.

    Raises:
        UnreadableSource: damaged.
        UnsupportedSource: complex values, or bands of unknown meaning.
        SourceTooLarge: blocks that do not fit in memory.
        BadFootprint: no position, or one that is not on Earth.
    """
    options = options or ReadOptions()
    driver = guard.DRIVERS[kind]
    with _rasterio().Env():  # else GDAL writes its warnings to the terminal
        dataset = _open(path, driver)
        try:
            return _describe(path, driver, dataset, options, hints)
        except BaseException:
            dataset.close()
            raise


def _open(path: Path, driver: str, level: int | None = None) -> Any:
    rasterio = _rasterio()
    # With several threads GDAL hands out garbage for damaged blocks after the first failed read (seen with 3.10).
    options: dict[str, Any] = {"num_threads": 1} if driver == "GTiff" else {}
    if level is not None:
        options["overview_level"] = level
    with warnings.catch_warnings():
        # That a file has no position is said by an error of our own.
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            return rasterio.open(str(path), driver=driver, sharing=False, **options)
        except (rasterio.errors.RasterioError, rasterio.errors.CRSError, OSError) as error:
            raise UnreadableSource(f"{path.name}: {first_line(error)}", hint="the file is damaged") from error


def _describe(path: Path, driver: str, dataset: Any, options: ReadOptions, hints: SceneHints) -> RasterFile:
    name = path.name
    dtypes = [np.dtype(d) if "complex_int" not in d else None for d in dataset.dtypes]
    if dataset.count == 0:
        raise UnsupportedSource(f"{name}: no bands", hint="a file of subdatasets: convert the one you need to GeoTIFF")
    if any(d is None or d.kind == "c" for d in dtypes):
        raise UnsupportedSource(
            f"{name}: complex values ({dataset.dtypes[0]})", hint="convert to amplitude or dB first"
        )
    if dataset.width * dataset.height > options.limits.max_pixels_scene:
        raise SourceTooLarge(
            f"{name}: {dataset.width}×{dataset.height} pixels, the limit is {options.limits.max_pixels_scene:,}",
            hint="cut it into parts",
        )
    block = tuple(int(v) for v in dataset.block_shapes[0])
    interleave = str(dataset.tags(ns="IMAGE_STRUCTURE").get("INTERLEAVE", "")).upper()
    itemsize = max(d.itemsize for d in dtypes if d is not None)
    guard.check_block(
        name, (block[0], block[1]), dataset.count if interleave == "PIXEL" else 1, itemsize, options.limits
    )
    tags = {**dataset.tags(), **dataset.tags(ns="IMAGERY")}
    sensor = options.sensor or hints.sensor or names.guess_sensor(path, tags)
    colours = [c.name for c in dataset.colorinterp]
    if colours[0] == "palette" and dataset.count == 1:
        bands, layout = palette_layout(dataset)
        read_bands = tuple(replace(bands[0], role=role) for role in ("red", "green", "blue"))
    else:
        roles = band_roles.find_roles(
            name,
            dataset.count,
            rule=options.rule(path),
            hinted=hints.roles,
            descriptions=[d or None for d in dataset.descriptions],
            colours=colours,
            sensor=sensor,
            eight_bit=all(d == np.uint8 for d in dtypes),
        )
        if band_roles.unnamed(roles):
            _log.warning(
                "%s: %d bands of unknown meaning, shown as stored, without indices; say which is which with --bands",
                name,
                dataset.count,
            )
        roles = _radar_role(roles, sensor, name)
        bands = file_bands(dataset, roles)
        layout = band_layout(dataset, bands)
        read_bands = tuple(bands[i - 1] for i in layout.indexes)
    transform, crs = _georeference(path, dataset)
    why_not = "only ground control points or rational polynomials: warp it to a map projection first"
    cars = side_cars(path) if transform is None or crs is None else ()
    placement = place(
        path,
        dataset.width,
        dataset.height,
        crs,
        transform,
        options,
        hints,
        cars,
        why_not=why_not if dataset.gcps[0] or dataset.rpcs else "",
    )
    stored = _Stored(path, driver, layout, dataset)
    stretch = _stretch(stored, read_bands)
    digest = scene_digest(path, options, hints, cars)
    scene = Scene(
        id=scene_id(digest),
        source=str(path),
        digest=digest,
        collection=options.collection or hints.collection or path.parent.name or "images",
        width=dataset.width,
        height=dataset.height,
        bands=bands,
        footprint=placement.footprint,
        crs=placement.crs,
        transform=placement.transform,
        gsd_m=placement.gsd_m,
        time=hints.time or names.guess_time(path, tags),
        sensor=sensor,
        title=hints.title or tags.get("TIFFTAG_IMAGEDESCRIPTION") or None,
        licence=hints.licence or tags.get("TIFFTAG_COPYRIGHT") or None,
        stretch=stretch.text,
        properties=hints.properties,
    )
    units = tuple(_unit(dataset, band, sensor, name) for band in read_bands)
    return RasterFile(stored, scene, read_bands, units, stretch, (block[0], block[1]))


def _georeference(path: Path, dataset: Any) -> tuple[Affine | None, str | None]:
    rasterio = _rasterio()
    transform: Affine | None = tuple(float(v) for v in tuple(dataset.transform)[:6])  # type: ignore[assignment]
    if transform == IDENTITY:
        transform = None
    try:
        crs = dataset.crs
        text = crs.to_string() if crs else None
    except rasterio.errors.CRSError as error:
        raise BadFootprint(f"{path.name}: unknown coordinate reference system ({first_line(error)})") from error
    return transform, text or None


def _radar_role(roles: tuple[str | None, ...], sensor: str | None, name: str) -> tuple[str | None, ...]:
    """A single grey band of a radar gets the polarisation that the file's name tells."""
    if roles != ("grey",) or not (sensor or "").startswith("sentinel-1"):
        return roles
    words = name.lower().replace(".", "_").replace("-", "_").split("_")
    return next(((p,) for p in ("vv", "vh", "hh", "hv") if p in words), roles)


def _unit(dataset: Any, band: Band, sensor: str | None, name: str) -> str:
    """Unit of physical values: the file's own, dB for radar that says so, reflectance where scaled, else as stored."""
    unit = dataset.units[band.index - 1]
    if unit:
        return str(unit)
    if band.role in ("vv", "vh", "hh", "hv"):
        return "dB" if "db" in name.lower().replace(".", "_").split("_") else "DN"
    optical = band.role not in ("grey", "lwir", "lwir11", "lwir12")
    scaled = band.scale != 1.0 or np.dtype(band.dtype).kind == "f"
    return "reflectance" if optical and scaled and sensor else "DN"


# --- the stretch -----------------------------------------------------------------------------------------------------


def _stretch(stored: _Stored, bands: tuple[Band, ...]) -> stretching.Stretch:
    layout = stored.layout
    roles = [bands[p].role or "grey" for p in layout.picture]
    bits = int(stored.dataset.tags(layout.indexes[0], ns="IMAGE_STRUCTURE").get("NBITS", 8))
    if layout.dtype == np.uint8:
        if bits < 8 and layout.palette is None:
            return stretching.full_range(layout.picture, roles, bits)
        return stretching.identity(layout.picture, roles)
    samples = []
    for window, scale in _sample_windows(stored):
        with contextlib.suppress(UnreadableSource):  # the damaged window is reported when its tiles are read
            samples.append(stored.read(window, scale))
    return stretching.percentiles(layout.picture, roles, samples)


def _sample_windows(stored: _Stored) -> list[tuple[Window, int]]:
    """What the stretch is measured on: the scene made small, or a grid of windows where that means reading it all."""
    width, height = stored.dataset.width, stored.dataset.height
    scale = 1
    while max(width, height) > SAMPLE_SIDE * scale:
        scale *= 2
    if scale <= 4 or any(scale % f == 0 and scale // f <= 4 for f in stored.copies):
        return [(Window(0, 0, width, height), scale)]
    side_x, side_y = min(_SAMPLE_WINDOW, width), min(_SAMPLE_WINDOW, height)
    cols = sorted({int(v) for v in np.linspace(0, width - side_x, _SAMPLE_GRID)})
    rows = sorted({int(v) for v in np.linspace(0, height - side_y, _SAMPLE_GRID)})
    return [(Window(c, r, side_x, side_y), 1) for r in rows for c in cols]
