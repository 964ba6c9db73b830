"""PNG and JPEG pictures: decoded whole, after the header has been held against the limits.

A picture lies on Earth by a world file (and a ``.prj``, or ``crs`` in the options) beside it, or by its catalogue
entry. The GPS position of a camera is not a footprint and is left alone. EXIF orientation is applied, except where a
world file speaks about the pixels as they are stored.
"""

from __future__ import annotations

import os
import struct
import tempfile
import warnings
import zlib
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from rsrag.errors import SourceTooLarge, UnreadableSource, UnsupportedSource, UsageError
from rsrag.ingest import guard
from rsrag.ingest import stretch as stretching
from rsrag.ingest.readers import names
from rsrag.ingest.readers.base import (
    NO_HINTS,
    Array,
    Mask,
    Pixels,
    RasterSource,
    ReadOptions,
    SceneHints,
    check_inside,
    scene_digest,
    scene_id,
)
from rsrag.ingest.readers.geometry import place, side_cars
from rsrag.ingest.readers.shrink import read_scaled, shrink
from rsrag.types import Band, QueryImage, Scene, Window

QUERY_SIDE = 2048
"""Longer side of a query image in pixels; larger ones are averaged down."""
MIN_SIDE = 16
"""A query image with a shorter side shows nothing."""

_FORMATS = {guard.SourceType.PNG: ("PNG",), guard.SourceType.JPEG: ("JPEG", "MPO")}
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, IndexError, struct.error, zlib.error, MemoryError)
_EXIF_IFD, _ORIGINAL, _DATE = 0x8769, 36867, 306


class PhotoFile:
    """A PNG or JPEG picture in memory as a RasterSource. Made by :func:`open_photo`."""

    def __init__(
        self, path: Path, scene: Scene, bands: tuple[Band, ...], stretch: stretching.Stretch, pixels: Pixels
    ) -> None:
        self.scene = scene
        self.bands = bands
        self.units = ("DN",) * len(bands)
        self.stretch = stretch
        self.block_shape = (scene.height, scene.width)
        self.copies: tuple[int, ...] = ()
        self._path, self._pixels = path, pixels

    def read(self, window: Window, scale: int = 1) -> Pixels:
        """See :meth:`rsrag.ingest.readers.base.RasterSource.read`."""
        check_inside(window, self.scene)
        return read_scaled(window, scale, (), self._read, len(self.bands))

    def _read(self, window: Window, _: int) -> Pixels:
        rows, cols = slice(window.row, window.row + window.height), slice(window.col, window.col + window.width)
        return Pixels(self._pixels.data[:, rows, cols], self._pixels.mask[rows, cols])

    def reopen(self) -> Self:
        """The same picture: it is only read, so threads may share it."""
        return self

    def close(self) -> None:
        """Nothing to release: the file was closed after decoding."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_photo(
    path: Path, kind: guard.SourceType, options: ReadOptions | None = None, hints: SceneHints = NO_HINTS
) -> PhotoFile:
    """Open a PNG or JPEG picture.

    Args:
        path: absolute local path, checked by the guard.
        kind: its type by content; decides the one decoder that may open it.
        options: what the user says.
        hints: what a catalogue entry says.

    Raises:
        UnreadableSource: damaged.
        SourceTooLarge: more pixels than the limit, by its header.
        UnsupportedSource: animated.
        BadFootprint: no position, or one that is not on Earth.
    """
    options = options or ReadOptions()
    cars = side_cars(path)
    # A side-car speaks about the pixels as they are stored.
    pixels, tags, bits = _decode(path, kind, options.limits, upright=not cars and hints.transform is None)
    height, width = pixels.mask.shape
    placement = place(path, width, height, None, None, options, hints, cars)
    roles = ("red", "green", "blue") if len(pixels.data) == 3 else ("grey",)
    bands = tuple(Band(i + 1, role, str(pixels.data.dtype)) for i, role in enumerate(roles))
    positions = tuple(range(len(roles)))
    if pixels.data.dtype == np.uint8:
        stretch = stretching.identity(positions, roles) if bits == 8 else stretching.full_range(positions, roles, bits)
    else:
        stretch = stretching.percentiles(positions, roles, [pixels])
    digest = scene_digest(path, options, hints, cars)
    scene = Scene(
        id=scene_id(digest),
        source=str(path),
        digest=digest,
        collection=options.collection or hints.collection or path.parent.name or "images",
        width=width,
        height=height,
        bands=bands,
        footprint=placement.footprint,
        crs=placement.crs,
        transform=placement.transform,
        gsd_m=placement.gsd_m,
        time=hints.time or names.guess_time(path, tags),
        sensor=options.sensor or hints.sensor or names.guess_sensor(path, {}),
        title=hints.title,
        licence=hints.licence,
        stretch=stretch.text,
        properties=hints.properties,
    )
    return PhotoFile(path, scene, bands, stretch, pixels)


def _decode(
    path: Path, kind: guard.SourceType, limits: guard.Limits, *, upright: bool
) -> tuple[Pixels, dict[str, str], int]:
    """Values, dates as tags, and the bits of one value."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # oddities of metadata and palettes, which do not matter here
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS[kind]) as image:
                _check_header(path, image, limits)
                image.load()
                tags, bits = _dates(image), 1 if image.mode == "1" else 8
                return _values(ImageOps.exif_transpose(image) if upright else image), tags, bits
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise _too_large(path, limits, str(error).split(" exceeds")[0].lower()) from error
    except _BROKEN as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UnreadableSource(f"{path.name}: damaged {kind}: {reason}", hint="fetch it again") from error


def _check_header(path: Path, image: Image.Image, limits: guard.Limits) -> None:
    if image.width * image.height > limits.max_pixels_photo:
        raise _too_large(path, limits, f"{image.width}×{image.height} pixels")
    # A phone's JPEG may carry a preview as second frame (MPO): the first one is the picture.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        frames = getattr(image, "n_frames", 0)
        raise UnsupportedSource(f"{path.name}: an animation of {frames} frames", hint="save the one you mean by itself")


def _too_large(path: Path, limits: guard.Limits, size: str) -> SourceTooLarge:
    return SourceTooLarge(
        f"{path.name}: {size}, the limit for a picture is {limits.max_pixels_photo}",
        hint="convert it to a tiled GeoTIFF, which is read in windows",
    )


def _dates(image: Image.Image) -> dict[str, str]:
    exif = image.getexif()
    original, general = exif.get_ifd(_EXIF_IFD).get(_ORIGINAL), exif.get(_DATE)
    found = {"DATETIME": original, "TIFFTAG_DATETIME": general}
    return {key: str(value) for key, value in found.items() if value}


def _values(image: Image.Image) -> Pixels:
    """Grey or RGB values: uint8, or uint16 and float32 for grey pictures of more than eight bits."""
    if image.mode in ("I;16", "I;16L", "I;16B", "I", "F"):
        grey = np.asarray(image)
        grey = grey.astype(np.uint16 if image.mode.startswith("I;16") else np.float32)
        return Pixels(grey[None], np.ones(grey.shape, dtype=np.bool_))
    if image.mode == "1":
        bits = np.asarray(image).astype(np.uint8)
        return Pixels(bits[None], np.ones(bits.shape, dtype=np.bool_))
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))
        return Pixels(_planes(rgba[..., :3]), rgba[..., 3] > 0)
    mode = "L" if image.mode == "L" else "RGB"
    array = np.asarray(image.convert(mode))
    return Pixels(_planes(array if array.ndim == 3 else array[..., None]), np.ones(array.shape[:2], dtype=np.bool_))


def _planes(array: Array) -> Array:
    return np.ascontiguousarray(array.transpose(2, 0, 1))


# --- images to ask about --------------------------------------------------------------------------------------------


QUERY_PIXELS = 1_000_000_000
"""Pixels of a raster that is asked about: without reduced copies all of them are read."""


def load_picture(
    image: str | Path | bytes | bytearray | memoryview | npt.NDArray[np.uint8],
    name: str | None = None,
    options: ReadOptions | None = None,
) -> QueryImage:
    """A query image from a file, encoded bytes or an array, through the same checks as ingest.

    Args:
        image: path, encoded GeoTIFF, JPEG 2000, PNG or JPEG, or uint8 RGB of shape [height, width, 3]; pixels that a
            masked array hides become black.
        name: what to call it; the file's name by default.
        options: band mapping and the like; a position is never required.

    Returns:
        At most 2048 pixels a side, with footprint, time and ground sample distance as far as the image tells them.

    Raises:
        SourceError: as in ingest; also UnsupportedSource for an image without content.
        UsageError: an array of another type or shape, or no image at all.
    """
    given = accepted(image)
    if isinstance(given, np.ndarray):
        return _from_array(given, Path(name or "image").name)
    if isinstance(given, bytes):
        with tempfile.TemporaryDirectory(prefix="rsrag-") as folder:
            file = Path(folder) / (Path(name or "").name or "image")
            file.write_bytes(given)
            return load_picture(file, file.name, options)
    path = guard.check_path(given)
    if path.is_dir():
        raise UnsupportedSource(f"{path.name}: a folder, not an image")
    from rsrag.ingest.readers.images import open_image

    options = replace(options or ReadOptions(), allow_unlocated=True)
    options = replace(options, limits=replace(options.limits, max_pixels_scene=QUERY_PIXELS))
    with open_image(path, guard.sniff(path), options) as source:
        return _from_source(source, name or path.name)


def accepted(image: Any) -> Any:
    """An image to ask about if it is of a kind that can be opened; a buffer becomes bytes.

    Raises:
        UsageError: of another kind, such as a list or a Pillow image.
    """
    if isinstance(image, bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | bytes | os.PathLike | np.ndarray):
        return image
    raise UsageError(
        f"an image cannot be given as {type(image).__name__}",
        hint="give a path, encoded bytes, or uint8 RGB of shape [height, width, 3]; numpy.asarray turns others into it",
    )


def check_array(array: Any, name: str) -> None:
    """Refuse what is no uint8 RGB array.

    Raises:
        UsageError: another type or shape.
    """
    if not isinstance(array, np.ndarray):
        raise UsageError(f"{name}: pixels as {type(array).__name__}", hint="give uint8 RGB of shape [height, width, 3]")
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        shape = "×".join(map(str, array.shape))
        raise UsageError(
            f"{name}: an array of {array.dtype} {shape}", hint="give uint8 RGB of shape [height, width, 3]"
        )


def array_pixels(array: npt.NDArray[Any]) -> Pixels:
    """RGB of shape [height, width, 3] as pixels; what a masked array hides in any colour is invalid."""
    hidden: Mask = np.any(np.ma.getmaskarray(array), axis=2)  # type: ignore[no-untyped-call]
    return Pixels(_planes(np.ma.getdata(array)), np.logical_not(hidden))  # type: ignore[no-untyped-call]


def _from_source(source: RasterSource, name: str) -> QueryImage:
    scene = source.scene
    _check_size(name, scene.width, scene.height)
    scale = _query_scale(scene.width, scene.height)
    pixels = source.read(Window(0, 0, scene.width, scene.height), scale)
    if not pixels.mask.any():
        raise UnsupportedSource(f"{name}: no valid pixels")
    gsd = None if scene.gsd_m is None else scene.gsd_m * scale
    return QueryImage(source.stretch.apply(pixels), name, scene.footprint, scene.time, gsd)


def _from_array(array: npt.NDArray[Any], name: str) -> QueryImage:
    check_array(array, name)
    height, width = array.shape[:2]
    _check_size(name, width, height)
    small = shrink(array_pixels(array), _query_scale(width, height))
    if not small.mask.any():
        raise UnsupportedSource(f"{name}: no valid pixels")
    seen = np.where(small.mask, small.data, np.uint8(0))
    return QueryImage(np.ascontiguousarray(seen.transpose(1, 2, 0)), name)


def _query_scale(width: int, height: int) -> int:
    """A power of two, for which a file may hold a reduced copy."""
    scale = 1
    while max(width, height) > QUERY_SIDE * scale:
        scale *= 2
    return scale


def _check_size(name: str, width: int, height: int) -> None:
    if min(width, height) < MIN_SIDE:
        raise UnsupportedSource(f"{name}: {width}×{height} pixels show nothing", hint=f"at least {MIN_SIDE} a side")
