"""Opening what a task is about (a file, bytes, an array, a scene of the archive) through the same guard as ingest."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rsrag import given
from rsrag.adapters.base import Context, Subject
from rsrag.adapters.catalogued import open_scene
from rsrag.errors import UnreadableSource, UnsupportedSource
from rsrag.ingest import guard
from rsrag.ingest import stretch as stretching
from rsrag.ingest.readers.base import Mask, Pixels, RasterSource, ReadOptions
from rsrag.ingest.readers.images import open_image
from rsrag.ingest.readers.photo import MIN_SIDE, PhotoFile, accepted, array_pixels, check_array
from rsrag.models.base import Picture
from rsrag.types import Band, QueryImage, Scene, Tile, Window

OVERVIEW = 2048
"""Longer side in pixels of the picture that results are drawn on."""
_GLANCE = 256
"""Side in pixels of the part that is looked at before all of an image is."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """An open image.

    Attributes:
        subject: name, grid and position.
        source: its pixels in windows; belongs to one thread.
    """

    subject: Subject
    source: RasterSource

    def picture(self, window: Window | None = None, *, longest: int = OVERVIEW) -> Picture:
        """A window (all by default) as uint8 RGB [h, w, 3], averaged down by a power of two to fit ``longest``."""
        return self.source.stretch.apply(self.reduced(window, longest))

    def seen(self, window: Window | None = None, *, longest: int = OVERVIEW) -> tuple[Picture, Mask]:
        """The same with its valid pixels, bool [h, w], for tasks that would invent something where there is nothing.

        Raises:
            UnsupportedSource: no pixel is valid.
        """
        pixels = self.reduced(window, longest)
        if not pixels.mask.any():
            part = "" if window is None else f" in window {window.col},{window.row} {window.width}×{window.height}"
            raise UnsupportedSource(f"{self.subject.name}: no valid pixels{part}")
        return self.source.stretch.apply(pixels), pixels.mask

    def reduced(self, window: Window | None, longest: int) -> Pixels:
        """Values of a window (all by default), averaged down by a power of two to fit ``longest``."""
        window = window or Window(0, 0, self.subject.width, self.subject.height)
        scale = 1
        while max(window.width, window.height) > longest * scale:
            scale *= 2
        return self.source.read(window, scale)

    def band(self, role: str) -> int | None:
        """Position in the data of the band with a role ("red", "nir", ...), or None."""
        return next((i for i, band in enumerate(self.source.bands) if band.role == role), None)

    def physical(self, pixels: Pixels, role: str) -> npt.NDArray[np.float32] | None:
        """Values of a band with its scale and offset applied, NaN where invalid; None if there is no such band."""
        position = self.band(role)
        if position is None:
            return None
        band = self.source.bands[position]
        values = pixels.data[position].astype(np.float32) * band.scale + band.offset
        return np.where(pixels.mask, values, np.float32(np.nan))


def contrast_warning(view: View, indices: str) -> str | None:
    """That stored contrast shifts indices, where the picture has 8 bits."""
    if any(band.dtype != "uint8" for band in view.source.bands):
        return None
    return f"{indices} of an 8-bit picture: its contrast may have been changed"


def flat_warning(view: View) -> str | None:
    """That there is nothing to see in a picture of one colour, of which the models say something all the same."""
    subject = view.subject
    side = min(_GLANCE, subject.width, subject.height)
    centre = Window((subject.width - side) // 2, (subject.height - side) // 2, side, side)
    for window in (centre, None):  # the whole is read only where its middle is of one colour
        pixels = view.reduced(window, _GLANCE)
        shown = view.source.stretch.apply(pixels)[pixels.mask]
        if (shown != shown[:1]).any():
            return None
    return "all pixels have the same colour: there is nothing to see, whatever the answer says"


def colour_warning(view: View) -> str | None:
    """That the models learned on pictures in colour, where an image of radar, heights or infrared is none.

    Of a picture of one colour :func:`flat_warning` instead.
    """
    if (flat := flat_warning(view)) is not None:
        return flat
    roles = tuple(channel.role for channel in view.source.stretch.channels)
    if roles == ("red", "green", "blue") or roles[0].startswith("band"):  # bands that nobody named are told when read
        return None
    shown = f"one band, {roles[0]}" if len(roles) == 1 else f"bands {', '.join(roles)}"
    return f"shown by {shown}: the models learned on pictures in natural colour and can be plainly wrong"


def reading(bands: str | None = None, crs: str | None = None) -> ReadOptions:
    """What a user says about images: band roles as text (``red=4,green=3``; rules separated by semicolons), and a CRS.

    Raises:
        UsageError: a band mapping that cannot be read.
    """
    from rsrag.ingest.readers.options import read_options

    return read_options({"bands": bands, "crs": crs})


@contextmanager
def opened(image: Any, context: Context, *, options: ReadOptions | None = None) -> Iterator[View]:
    """Open an image for a task.

    Args:
        image: path, encoded bytes, uint8 RGB array [H, W, 3], QueryImage, Scene, or the id of a scene or tile of the
            archive (``scene:ID``, ``tile:ID`` or the bare id). A tile is its window of the scene, at full resolution.
        context: with the archive, for ids.
        options: band mapping and the like; a position is never required. They go before what the catalogue says.

    Raises:
        SourceError: no such file or id, damaged, refused, or smaller than 16 pixels a side.
        UsageError: an array of another type or shape, or no image at all.
    """
    options = replace(options or ReadOptions(), allow_unlocated=True)
    if isinstance(image, QueryImage):
        given.query_image(image)
    elif not isinstance(image, Scene):
        image = accepted(image)
    with tempfile.TemporaryDirectory(prefix="rsrag-") as folder:
        if isinstance(image, bytes):
            file = Path(folder) / "image"
            file.write_bytes(image)
            image = file
        with _source(image, context, options) as source:
            subject = _subject(source.scene)
            if min(subject.width, subject.height) < MIN_SIDE:
                size = f"{subject.width}×{subject.height}"
                raise UnsupportedSource(
                    f"{subject.name}: {size} pixels show nothing", hint=f"at least {MIN_SIDE} a side"
                )
            yield View(subject, source)


def _source(image: Any, context: Context, options: ReadOptions) -> RasterSource:
    if isinstance(image, QueryImage):
        return _from_array(image.pixels, image)
    if isinstance(image, np.ndarray):
        return _from_array(image, None)
    if isinstance(image, Scene):
        return open_scene(image, options)
    if isinstance(image, str) and not _exists(image) and (found := _archived(image, context)) is not None:
        tile, scene = found
        return open_scene(scene, options, tile)
    return _open_file(image, options)


def _exists(text: str) -> bool:
    """Whether a text is a path of something; one that is too long for a path, or may not be looked at, is not."""
    try:
        return Path(text).exists()
    except OSError:
        return False


def _archived(image: str, context: Context) -> tuple[Tile | None, Scene] | None:
    """The tile, if it is one, and the scene that an id names."""
    if context.archive is None:
        return None
    identity = image.removeprefix("scene:").removeprefix("tile:")
    catalog = context.archive.catalog
    if found := catalog.resolve_tiles([identity]).get(identity):
        return found
    scene = catalog.scene(identity)
    return None if scene is None else (None, scene)


def _open_file(image: str | Path, options: ReadOptions) -> RasterSource:
    path = guard.check_path(image)
    if path.is_dir():
        raise UnsupportedSource(f"{path.name}: a folder, not an image")
    try:
        return open_image(path, guard.sniff(path), options)
    except UnicodeEncodeError as error:  # GDAL takes paths as UTF-8
        name = path.name.encode("utf-8", "backslashreplace").decode()
        raise UnreadableSource(f"{name}: a name that is not valid Unicode", hint="rename the file") from error


def _from_array(array: npt.NDArray[Any], about: QueryImage | None) -> RasterSource:
    check_array(array, about.name if about else "image")
    height, width = array.shape[:2]
    roles = ("red", "green", "blue")
    bands = tuple(Band(i + 1, role, "uint8") for i, role in enumerate(roles))
    scene = Scene(
        id="", source=about.name if about else "image", digest="", collection="", width=width, height=height,
        bands=bands,
        footprint=about.footprint if about else None, time=about.time if about else None,
        gsd_m=about.gsd_m if about else None,
    )  # fmt: skip
    stretch = stretching.identity((0, 1, 2), roles)
    return PhotoFile(Path(scene.source), scene, bands, stretch, array_pixels(array))


def _subject(scene: Scene) -> Subject:
    name = scene.title or Path(scene.source).name
    located = scene.crs is not None and scene.transform is not None
    return Subject(
        name=name,
        width=scene.width,
        height=scene.height,
        crs=scene.crs if located else None,
        transform=scene.transform if located else None,
        footprint=scene.footprint,
        time=scene.time,
        gsd_m=scene.gsd_m if scene.gsd_m and math.isfinite(scene.gsd_m) else None,
        source=scene.source,
        scene_id=scene.id or None,
    )
