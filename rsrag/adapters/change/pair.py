"""Two dates of the same ground: ordered by time, refused where they cannot be compared, brought to one grid."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.affinity import translate

from rsrag import geo
from rsrag.adapters import measure
from rsrag.adapters.base import Context, Subject
from rsrag.adapters.look import View, opened
from rsrag.crs import full_turn
from rsrag.errors import BadFootprint, UsageError
from rsrag.ingest.readers.aligned import AlignedSource, Grid
from rsrag.ingest.readers.base import Pixels, ReadOptions
from rsrag.ingest.readers.photo import MIN_SIDE
from rsrag.times import format_span
from rsrag.types import TimeSpan, Window

_DAY_S = 86_400.0
_OUTLINE = 64
"""Points on each edge of an image when its overlap with another one is found."""


@dataclass(frozen=True, slots=True)
class Acquisition:
    """One date of a comparison.

    Attributes:
        name: of the image.
        time: when it was taken, if known.
        source: file or id.
        sensor: if known.
        gsd_m: metres a pixel of the image itself, if known.
    """

    name: str
    time: TimeSpan | None
    source: str
    sensor: str | None = None
    gsd_m: float | None = None

    @property
    def when(self) -> str:
        """The date for people, or the name where it is unknown."""
        return format_span(self.time) if self.time is not None else self.name


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two dates on one grid.

    Attributes:
        subject: the overlap, on the grid of the coarser image.
        before: the earlier image on that grid.
        after: the later one.
        first: about the earlier image.
        second: about the later one.
        roles: bands that both have, by name; empty when only their pictures can be compared.
        notes: what was done to make them comparable.
    """

    subject: Subject
    before: AlignedSource
    after: AlignedSource
    first: Acquisition
    second: Acquisition
    roles: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def read(self, window: Window) -> tuple[Pixels, Pixels]:
        """Both dates of a window of the grid; a pixel is valid where every band that is compared has a value."""
        return _complete(self.before, window, self.roles), _complete(self.after, window, self.roles)

    def values(self, before: Pixels, after: Pixels) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Comparable values of both dates, float32 [bands, h, w]: physical ones of common bands, else the pictures."""
        if not self.roles:
            pictures = self.before.stretch.apply(before), self.after.stretch.apply(after)
            first, second = (picture.transpose(2, 0, 1).astype(np.float32) for picture in pictures)
            return first, second
        return _physical(self.before, before, self.roles), _physical(self.after, after, self.roles)

    def moved(self, shift: tuple[float, float]) -> Pair:
        """The pair with a shift of the later image corrected, in pixels of the grid."""
        return replace(self, after=self.after.moved(shift))


def _complete(source: AlignedSource, window: Window, roles: tuple[str, ...]) -> Pixels:
    """A window whose mask leaves out pixels that lack one of the bands: a band outside the picture may have holes."""
    pixels = source.read(window)
    if not roles or pixels.data.dtype.kind != "f":
        return pixels
    return replace(pixels, mask=pixels.mask & np.isfinite(pixels.data[_positions(source, roles)]).all(axis=0))


def _positions(source: AlignedSource, roles: tuple[str, ...]) -> list[int]:
    return [next(i for i, band in enumerate(source.bands) if band.role == role) for role in roles]


def _physical(source: AlignedSource, pixels: Pixels, roles: tuple[str, ...]) -> npt.NDArray[np.float32]:
    layers = []
    for position in _positions(source, roles):
        band = source.bands[position]
        layers.append(pixels.data[position].astype(np.float32) * np.float32(band.scale) + np.float32(band.offset))
    return np.asarray(np.nan_to_num(np.stack(layers), nan=0.0, posinf=0.0, neginf=0.0), dtype=np.float32)


@contextmanager
def opened_pair(
    before: Any, after: Any, context: Context, *, options: ReadOptions | None = None, in_order: bool = False
) -> Iterator[Pair]:
    """Open two images of the same ground.

    Args:
        before: path, bytes, array, QueryImage, Scene or id of the archive.
        after: the same.
        context: with the archive, for ids.
        options: band mapping and the like.
        in_order: take them in the order given, whatever their dates say.

    Raises:
        SourceError: an image cannot be used, or their coordinate reference systems cannot be related.
        UsageError: no overlap, the same acquisition twice, grey against colour, or different sizes without a position.
    """
    with ExitStack() as stack:
        first = stack.enter_context(opened(before, context, options=options))
        second = stack.enter_context(opened(after, context, options=options))
        _check_different(first, second)
        notes: list[str] = []
        if not in_order and _starts_later(first, second):
            first, second = second, first
            notes.append(
                f"the images were given in reverse: {_when(first)} is taken as before, {_when(second)} as after"
            )
        _check_channels(first, second)
        grid, subject = _common_grid(first, second, notes)
        one, two = AlignedSource(first.source, grid), AlignedSource(second.source, grid)
        yield Pair(
            subject, one, two, _acquisition(first), _acquisition(second), _common_roles(first, second), tuple(notes)
        )


# --- what cannot be compared ---


def _check_different(first: View, second: View) -> None:
    one, two = first.source.scene, second.source.scene
    if one.digest and one.digest == two.digest:
        raise UsageError(
            f"{first.subject.name} and {second.subject.name} are the same image",
            hint="give two dates of the same ground",
        )
    times = (one.time, two.time)
    if one.sensor and one.sensor == two.sensor and times[0] is not None and times[0] == times[1] and _short(times[0]):
        raise UsageError(
            f"{first.subject.name} and {second.subject.name} are the same acquisition: {one.sensor},"
            f" {format_span(times[0])}",
            hint="give two dates of the same ground",
        )


def _short(span: TimeSpan) -> bool:
    return span.start is not None and span.end is not None and (span.end - span.start).total_seconds() <= _DAY_S


def _check_channels(first: View, second: View) -> None:
    counts = [len(view.source.stretch.channels) for view in (first, second)]
    if counts[0] != counts[1]:
        grey, colour = (first, second) if counts[0] < counts[1] else (second, first)
        raise UsageError(
            f"{grey.subject.name} is grey and {colour.subject.name} is in colour: their values mean different things",
            hint="compare images of the same kind; --bands says which bands to show",
        )


def _starts_later(first: View, second: View) -> bool:
    one, two = first.subject.time, second.subject.time
    if one is None or two is None or one.start is None or two.start is None:
        return False
    return one.start > two.start


def _when(view: View) -> str:
    return f"{view.subject.name} ({format_span(view.subject.time)})"


def _acquisition(view: View) -> Acquisition:
    scene = view.source.scene
    return Acquisition(view.subject.name, scene.time, scene.source, scene.sensor, view.subject.gsd_m)


def _common_roles(first: View, second: View) -> tuple[str, ...]:
    """Bands of the same meaning; pictures whose bands nobody named are compared as pictures."""
    theirs = {band.role for band in second.source.bands}
    roles = [b.role for b in first.source.bands if b.role in theirs and b.role and not b.role.startswith("band")]
    return tuple(dict.fromkeys(roles)) if len(roles) >= len(first.source.stretch.channels) else ()


# --- the grid ---


def _common_grid(first: View, second: View, notes: list[str]) -> tuple[Grid, Subject]:
    one, two = first.subject, second.subject
    if one.located and two.located:
        return _map_grid(first, second)
    if (one.width, one.height) != (two.width, two.height):
        unplaced = [s.name for s in (one, two) if not s.located]
        raise UsageError(
            f"{' and '.join(unplaced)} without a position, and the sizes differ: {one.width}×{one.height} against"
            f" {two.width}×{two.height} pixels",
            hint="images without a position must show the same ground at the same size",
        )
    if one.located or two.located:
        notes.append("one image has no position: both are taken to show the same ground")
    placed = one if one.located else two
    subject = replace(placed, name=_title(one, two), time=two.time, source=two.source, scene_id=two.scene_id)
    grid = Grid(one.width, one.height, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
    return grid, subject


def _map_grid(first: View, second: View) -> tuple[Grid, Subject]:
    """The part of the coarser image that the other one covers, on its own pixels."""
    coarser = second if (second.subject.gsd_m or 0) > 1.05 * (first.subject.gsd_m or 0) else first
    other = first if coarser is second else second
    reference = coarser.subject
    assert reference.crs is not None and reference.transform is not None
    outline = _in_pixels_of(reference, other.subject)
    whole = shapely.box(0, 0, reference.width, reference.height)
    shared = whole.intersection(outline)
    if shared.is_empty or shared.area <= 0:
        raise UsageError(
            f"{first.subject.name} and {second.subject.name} do not overlap", hint="give two images of the same ground"
        )
    left, top, right, bottom = (float(v) for v in shared.bounds)
    col, row = math.floor(left + 0.01), math.floor(top + 0.01)
    width, height = math.ceil(right - 0.01) - col, math.ceil(bottom - 0.01) - row
    if min(width, height) < MIN_SIDE:
        raise UsageError(
            f"{first.subject.name} and {second.subject.name} share only {width}×{height} pixels",
            hint=f"at least {MIN_SIDE} a side",
        )
    a, b, c, d, e, f = reference.transform
    transform = (a, b, c + a * col + b * row, d, e, f + d * col + e * row)
    footprint = geo.footprint_from_raster(reference.crs, transform, Window(0, 0, width, height))
    subject = Subject(
        name=_title(first.subject, second.subject), width=width, height=height, crs=reference.crs,
        transform=transform, footprint=footprint, time=second.subject.time, gsd_m=reference.gsd_m,
        source=second.subject.source, scene_id=second.subject.scene_id,
    )  # fmt: skip
    return Grid(width, height, transform, reference.crs), subject


def _in_pixels_of(reference: Subject, other: Subject) -> Any:
    """Outline of an image in pixels of another one's grid."""
    from pyproj import Transformer
    from pyproj.exceptions import CRSError, ProjError

    assert reference.crs is not None and reference.transform is not None
    assert other.crs is not None and other.transform is not None
    box = shapely.segmentize(
        shapely.box(0, 0, other.width, other.height), max(1.0, max(other.width, other.height) / _OUTLINE)
    )
    a, b, c, d, e, f = other.transform
    ra, rb, rc, rd, re, rf = reference.transform
    determinant = ra * re - rb * rd
    try:
        to_reference = Transformer.from_crs(other.crs, reference.crs, always_xy=True)
    except (CRSError, ProjError) as error:
        raise BadFootprint(f"{other.name} and {reference.name}: coordinates cannot be related: {error}") from error

    def to_map(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        x, y = points @ (a, b) + c, points @ (d, e) + f
        if other.crs != reference.crs:
            x, y = to_reference.transform(x, y)
        return np.column_stack([x, y])

    def to_pixels(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        x, y = points[:, 0] - rc, points[:, 1] - rf
        return np.column_stack([(re * x - rb * y) / determinant, (ra * y - rd * x) / determinant])

    placed = shapely.transform(box, to_map)
    if not np.isfinite(shapely.get_coordinates(placed)).all():
        raise BadFootprint(f"{other.name} lies outside the domain of {reference.name}'s coordinates")
    turn = full_turn(reference.crs)
    if turn is not None:
        placed = placed if other.crs == reference.crs else measure.unwrapped(placed, turn)
        placed = _on_every_turn(placed, reference, turn)
    return shapely.make_valid(shapely.transform(placed, to_pixels))


def _on_every_turn(placed: Any, reference: Subject, turn: float) -> Any:
    """An outline in longitudes, once for every turn round the Earth on which it may meet the reference."""
    assert reference.transform is not None
    a, b, c, *_ = reference.transform
    corners = [c + a * col + b * row for col in (0, reference.width) for row in (0, reference.height)]
    west, _, east, _ = placed.bounds
    first, last = math.ceil((min(corners) - east) / turn), math.floor((max(corners) - west) / turn)
    copies = [translate(placed, turn * k) for k in range(first, last + 1)]
    return shapely.union_all(shapely.make_valid(copies)) if copies else placed


def _title(first: Subject, second: Subject) -> str:
    return f"{first.name} → {second.name}"
