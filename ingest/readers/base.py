"""What every image reader offers, and what a user may say about an image that its file does not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from rsrag.errors import UnreadableSource
from rsrag.ingest.digest import digest_file, make_id
from rsrag.ingest.guard import Limits
from rsrag.types import Band, Footprint, Scene, TimeSpan, Window

if TYPE_CHECKING:
    from rsrag.ingest.stretch import Stretch

Affine = tuple[float, float, float, float, float, float]
Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """Band values of a window.

    Attributes:
        data: values as stored (scale and offset not applied), [bands, height, width]; uint8 or uint16 as in the file,
            everything else float32 with NaN where a band has no value.
        mask: True where the picture is valid, bool of shape [height, width].
    """

    data: Array
    mask: Mask


class RasterSource(Protocol):
    """A scene that can be read in windows. A context manager; not shared between threads.

    Attributes:
        scene: what is known about the image.
        bands: the bands of ``Pixels.data`` in order, all with a role.
        units: unit of each band's physical values.
        stretch: how values become the 8-bit picture, the same for every window.
        block_shape: rows and columns of the blocks the file is stored in.
        copies: scales of the reduced copies (overviews) in the file.
    """

    scene: Scene
    bands: tuple[Band, ...]
    units: tuple[str, ...]
    stretch: Stretch
    block_shape: tuple[int, int]
    copies: tuple[int, ...]

    def read(self, window: Window, scale: int = 1) -> Pixels:
        """Values of a window that lies inside the scene.

        Args:
            window: scene pixels.
            scale: scene pixels per pixel of the result, whose size is rounded up; see
                :mod:`rsrag.ingest.readers.shrink`.

        Raises:
            UnreadableSource: the window is damaged.
        """

    def reopen(self) -> Self:
        """The same source with its own file handle, for another thread."""

    def close(self) -> None:
        """Release the file."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class BandRule:
    """Roles that a user gives to bands, by number from 1. ``pattern`` limits the rule to matching paths."""

    roles: Mapping[str, int]
    pattern: str | None = None

    def fits(self, path: Path) -> bool:
        """Whether the rule speaks about this file; patterns are matched from the right, as in ``landsat/*.tif``."""
        return self.pattern is None or path.match(self.pattern)


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a user says about images.

    Attributes:
        bands: explicit band roles; the first rule that fits a path is used.
        sensor: overrides what names and metadata say.
        collection: overrides the STAC collection or the folder's name.
        crs: for images that have a transform (a world file) but no coordinate reference system.
        asset: key of the STAC asset to read.
        allow_unlocated: take images without a position.
        allow_outside: follow STAC links that leave the folder.
        limits: sizes that are refused.
    """

    bands: tuple[BandRule, ...] = ()
    sensor: str | None = None
    collection: str | None = None
    crs: str | None = None
    asset: str | None = None
    allow_unlocated: bool = False
    allow_outside: bool = False
    limits: Limits = field(default_factory=Limits)

    def rule(self, path: Path) -> BandRule | None:
        """The explicit band roles for a file."""
        return next((rule for rule in self.bands if rule.fits(path)), None)

    def signature(self, path: Path) -> str:
        """What of the options changes the scene that is read from a file: part of its digest."""
        rule = self.rule(path)
        roles = sorted(rule.roles.items()) if rule else []
        said = {"bands": roles, "sensor": self.sensor, "crs": self.crs, "collection": self.collection}
        return "; ".join(f"{k}={v}" for k, v in said.items() if v)


@dataclass(frozen=True, slots=True)
class SceneHints:
    """What a catalogue entry says about an image: used where the file itself says nothing, except for time, sensor,
    licence, title and collection, where the entry knows better than names and tags.

    ``roles`` are band roles in file order; ``extra`` the digest of the entry, which belongs to the scene's digest.
    """

    title: str | None = None
    collection: str | None = None
    time: TimeSpan | None = None
    footprint: Footprint | None = None
    crs: str | None = None
    transform: Affine | None = None
    sensor: str | None = None
    gsd_m: float | None = None
    licence: str | None = None
    roles: tuple[str | None, ...] = ()
    properties: Mapping[str, Any] = field(default_factory=dict)
    extra: str = ""


NO_HINTS = SceneHints()


def scene_digest(path: Path, options: ReadOptions, hints: SceneHints = NO_HINTS, side_cars: Iterable[Path] = ()) -> str:
    """Digest of a scene: of its file alone, or together with its side-cars, its catalogue entry and what the user said.

    Raises:
        UnreadableSource: a file cannot be read.
    """
    signature = options.signature(path)
    try:
        digest = digest_file(path)
        parts = [digest_file(car) for car in side_cars]
    except OSError as error:
        raise UnreadableSource(f"{path.name}: {error.strerror or error}") from error
    parts += [hints.extra] if hints.extra else []
    parts += [signature] if signature else []
    return hashlib.sha256("\x1f".join([digest, *parts]).encode()).hexdigest() if parts else digest


def scene_id(digest: str) -> str:
    """Id of a scene: the same content has the same id everywhere."""
    return make_id("scene", digest)


def check_inside(window: Window, scene: Scene) -> None:
    """Guard of every reader: GDAL cuts windows that reach beyond a raster without a word.

    Raises:
        ValueError: the window is empty or not wholly inside the scene.
    """
    left, top, width, height = window
    if min(left, top) < 0 or min(width, height) < 1 or left + width > scene.width or top + height > scene.height:
        raise ValueError(f"{window} is not inside {scene.width}×{scene.height} pixels")
