"""Maps as SVG: pictures laid where they belong, outlines, numbered marks, a graticule and a scale bar.

Equirectangular: plate carrée for the world, with the standard parallel in the middle of the map for a part of it.
Nothing is loaded from anywhere; pictures are embedded.
"""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import shapely

from rsrag import geo
from rsrag.types import BBox, Footprint, Position

_STEPS = (60, 30, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
_BADGE = 11.0
"""Radius of a numbered mark, in pixels."""
_EDGE = 8
"""Points of a raster window's outline on each of its edges, at least."""
_COARSE = 12.0
"""Maps narrower than this, in degrees, show no land: its outlines are too coarse for them."""
_LEGIBLE = 14.0
"""Outlines smaller than this on the map, in pixels, get a ring around them."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The part of the Earth on a map: ``west`` to ``east`` may run beyond ±180.

    Attributes:
        width: of the map in pixels; the height follows.
    """

    west: float
    south: float
    east: float
    north: float
    width: float = 960.0

    @property
    def stretch(self) -> float:
        """How much longer a degree of latitude is drawn than one of longitude."""
        whole = self.east - self.west >= 180
        return 1.0 if whole else 1 / _shrink((self.south + self.north) / 2)

    @property
    def height(self) -> float:
        return self.width * (self.north - self.south) * self.stretch / (self.east - self.west)

    def x(self, lon: float) -> float:
        """Pixels from the left of an unwrapped longitude."""
        return (lon - self.west) / (self.east - self.west) * self.width

    def y(self, lat: float) -> float:
        """Pixels from the top of a latitude."""
        return (self.north - lat) / (self.north - self.south) * self.height

    def turn(self, lon: float) -> float:
        """Degrees, a multiple of 360, that bring a longitude nearest to the middle of the map."""
        return 360.0 * round(((self.west + self.east) / 2 - lon) / 360)

    def shows(self, other: Frame) -> bool:
        """Whether another frame lies inside this one and is hardly smaller."""
        inside = self.west <= other.west and other.east <= self.east
        return inside and (other.east - other.west) > 0.5 * (self.east - self.west)


WORLD = Frame(-180, -90, 180, 90)


@dataclass(frozen=True, slots=True)
class Mark:
    """Something with a number on the map: an outline, or a point when it has none."""

    number: str
    position: Position
    footprint: Footprint | None = None
    link: str = ""
    strong: bool = True


@dataclass(frozen=True, slots=True)
class Map:
    """What is drawn.

    Attributes:
        title: what the map shows, for people who do not see it.
        pictures: footprint and encoded JPEG or PNG, from back to front.
        marks: numbered evidence.
        outline: where the query image lies.
        target: its middle.
        circle: the error about it.
        crowded: whether weak marks shrink to dots without a number.
    """

    frame: Frame
    title: str
    pictures: Sequence[tuple[Footprint, bytes]] = ()
    marks: Sequence[Mark] = ()
    outline: Footprint | None = None
    target: Position | None = None
    circle: Footprint | None = None
    crowded: bool = False

    def svg(self) -> str:
        """The map as an SVG element; classes are styled by the page around it."""
        frame, parts = self.frame, []
        size = f"0 0 {frame.width:.0f} {frame.height:.0f}"
        kind = "map imagery" if self._covered() else "map"
        parts.append(f'<svg class="{kind}" viewBox="{size}" role="img" aria-label="{_attribute(self.title)}">')
        ground = "blank" if frame.east - frame.west < _COARSE else "sea"
        parts.append(f'<rect class="{ground}" width="{frame.width:.0f}" height="{frame.height:.1f}"/>')
        parts.append(_land(frame))
        parts += [_picture(frame, footprint, data) for footprint, data in self.pictures]
        parts += _graticule(frame)
        if self.circle is not None:
            parts += [f'<path class="circle" d="{d}"/>' for d in _paths(frame, self.circle)]
        parts += [
            f'<path class="{"area" if mark.strong else "area weak"}" d="{d}"/>'
            for mark in self.marks
            if mark.footprint is not None
            for d in _paths(frame, mark.footprint)
        ]
        if self.outline is not None:
            parts += [f'<path class="outline" d="{d}"/>' for d in _paths(frame, self.outline)]
        if self.target is not None:
            parts.append(_target(frame, self.target, self.outline))
        parts += _badges(frame, self.marks, dots=self.crowded)
        parts += _scale_bar(frame)
        parts.append("</svg>")
        return "".join(parts)

    def _covered(self) -> bool:
        """Whether pictures lie behind most of the map, so that its lettering must stand out from them."""
        frame = self.frame
        ground = shapely.box(frame.west, frame.south, frame.east, frame.north)
        behind = shapely.union_all([_unwrapped(frame, footprint) for footprint, _ in self.pictures])
        return bool(shapely.intersection(behind, ground).area > 0.6 * ground.area)


# --- frames ---------------------------------------------------------------------------------------------------------


def frame_around(boxes: Iterable[BBox], *, margin: float, least: float, width: float, ratio: float) -> Frame | None:
    """The frame that holds boxes, in the shape asked for.

    Args:
        boxes: what shall be inside; boxes across the antimeridian and on either side of it stay together.
        margin: share of the size added on every side.
        least: smallest height in degrees.
        width: of the map in pixels.
        ratio: width to height.

    Returns:
        None when there are no boxes; the world when they are spread over more than half of it.
    """
    found = list(boxes)
    if not found:
        return None
    west, east = _span([(b.west, b.east + 360 if b.crosses_antimeridian else b.east) for b in found])
    south, north = min(b.south for b in found), max(b.north for b in found)
    if east - west > 180 or north - south > 90:
        return Frame(-180, -90, 180, 90, width)
    lat = (south + north) / 2
    shrink = _shrink(lat)
    high = max((north - south) * (1 + 2 * margin), least, (east - west) * (1 + 2 * margin) * shrink / ratio)
    if high >= 120:
        return Frame(-180, -90, 180, 90, width)
    south, north = _inside(lat - high / 2, lat + high / 2)
    wide = min(360.0, (north - south) * ratio / _shrink((south + north) / 2))
    if wide >= 180:
        return Frame(-180, -90, 180, 90, width)
    middle = (west + east) / 2
    return Frame(middle - wide / 2, south, middle + wide / 2, north, width)


def _shrink(lat: float) -> float:
    """How much shorter a degree of longitude is than one of latitude; bounded near the poles."""
    return max(math.cos(math.radians(lat)), 0.05)


def _inside(south: float, north: float) -> tuple[float, float]:
    """A range of latitudes pushed back between the poles."""
    shift = max(0.0, -90 - south) - max(0.0, north - 90)
    return max(-90.0, south + shift), min(90.0, north + shift)


def _span(ranges: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The shortest range of longitudes that holds all ranges, going round the Earth where that is shorter."""
    ordered = sorted(((w % 360), (w % 360) + (e - w)) for w, e in ranges)
    best, start = -1.0, 0.0
    reach = max(ordered[0][1], max(east for _, east in ordered) - 360)
    for west, east in [*ordered[1:], (ordered[0][0] + 360, 0.0)]:
        if west - reach > best:
            best, start = west - reach, west
        reach = max(reach, east)
    if best <= 0:
        return -180.0, 180.0
    west = (start + 180) % 360 - 180
    return west, west + 360 - best


# --- drawing --------------------------------------------------------------------------------------------------------


def data_uri(data: bytes) -> str | None:
    """An embedded picture; None for bytes that are neither JPEG nor PNG."""
    kinds = {b"\xff\xd8\xff": "jpeg", b"\x89PNG\r\n\x1a\n": "png"}
    for magic, kind in kinds.items():
        if data.startswith(magic):
            return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return None


@lru_cache(maxsize=1)
def _land_rings() -> tuple[np.ndarray[Any, Any], ...]:
    """Outlines of land, each float64 [N, 2] in degrees."""
    stored = json.loads(files("rsrag").joinpath("land.json").read_text(encoding="utf-8"))
    return tuple(np.array(ring, dtype=np.float64).reshape(-1, 2) / 10 for ring in stored["rings"])


def _land(frame: Frame) -> str:
    """Coarse land, on maps so wide that it is true enough."""
    if frame.east - frame.west < _COARSE:
        return ""
    paths = []
    for ring in _land_rings():
        for turn in (-360.0, 0.0, 360.0):
            (west, south), (east, north) = ring.min(0).tolist(), ring.max(0).tolist()
            beside = east + turn < frame.west or west + turn > frame.east
            if not beside and north > frame.south and south < frame.north:
                points = [f"{frame.x(lon + turn):.1f} {frame.y(lat):.1f}" for lon, lat in ring.tolist()]
                paths.append("M" + "L".join(points) + "Z")
    return f'<path class="land" d="{"".join(paths)}"/>'


def _unwrapped(frame: Frame, footprint: Footprint) -> shapely.Geometry:
    """The footprint in the frame's longitudes; its two halves at the antimeridian joined."""
    parts = []
    for part in shapely.get_parts(geo.shape(footprint)).tolist():
        turn = frame.turn((part.bounds[0] + part.bounds[2]) / 2)
        parts.append(shapely.transform(part, lambda xy, t=turn: np.add(xy, [t, 0.0])))
    return shapely.union_all(parts) if len(parts) > 1 else parts[0]


def _paths(frame: Frame, footprint: Footprint) -> list[str]:
    found = []
    for part in shapely.get_parts(_unwrapped(frame, footprint)).tolist():
        if part.geom_type != "Polygon":
            continue
        rings = []
        for ring in (part.exterior, *part.interiors):
            points = [f"{frame.x(x):.2f} {frame.y(y):.2f}" for x, y in ring.coords[:-1]]
            rings.append("M" + "L".join(points) + "Z")
        found.append("".join(rings))
    return found


def _picture(frame: Frame, footprint: Footprint, data: bytes) -> str:
    """A picture stretched over its footprint: an affine through three of its corners."""
    uri = data_uri(data)
    outline = _unwrapped(frame, footprint)
    west, south, east, north = outline.bounds
    apart = east < frame.west or west > frame.east or north < frame.south or south > frame.north
    if uri is None or apart or east <= west or north <= south:
        return ""
    corners = _raster_corners(outline) or _corners(outline)
    (x0, y0), (x2, y2), _, (x1, y1) = [(frame.x(x), frame.y(y)) for x, y in corners]
    matrix = " ".join(f"{v:.4f}" for v in (x1 - x0, y1 - y0, x2 - x0, y2 - y0, x0, y0))
    # Neighbours overlap by a hair, so that no seam shines through.
    return (
        f'<image transform="matrix({matrix})" x="-.002" y="-.002" width="1.004" height="1.004" '
        f'preserveAspectRatio="none" href="{uri}"/>'
    )


def _raster_corners(outline: shapely.Geometry) -> list[list[float]] | None:
    """Upper left, lower left, lower right and upper right corner of a picture whose outline is that of a raster window.

    Such an outline runs from the first pixel along the first row, whichever way the raster lies: its first row may be
    in the south, or in the east. None for outlines of another make, whose picture is taken to have north up.
    """
    points = shapely.get_coordinates(outline)
    if outline.geom_type != "Polygon" or len(points) < 4 * _EDGE + 1:
        return None
    corners = _sharpest(points[:-1]) if len(points) > 4 * _EDGE + 1 else [0, _EDGE, 2 * _EDGE, 3 * _EDGE]
    if corners is None:
        return None
    found = points[[corners[0], corners[3], corners[2], corners[1]]]
    if shapely.Polygon(found).area < 0.9 * outline.area:
        return None
    return [[float(x), float(y)] for x, y in found]


def _sharpest(ring: np.ndarray[Any, Any]) -> list[int] | None:
    """The four corners, the first point one of them, of a ring with more points where its edges bend; None for others.

    Args:
        ring: longitude and latitude, float64 [N, 2], not closed.
    """
    steps = np.diff(ring[:, 0], append=ring[0, 0]) * np.cos(np.radians(ring[:, 1]))
    headings = np.arctan2(np.diff(ring[:, 1], append=ring[0, 1]), steps)
    turns = np.abs((np.diff(headings, prepend=headings[-1]) + np.pi) % (2 * np.pi) - np.pi)
    order = np.argsort(-turns, kind="stable")
    corners = sorted(order[:4].tolist())
    return corners if corners[0] == 0 and turns[order[4]] < 0.5 * turns[order[3]] else None


def _corners(outline: shapely.Geometry) -> list[list[float]]:
    """North-west, south-west, south-east and north-east corner of a four-sided outline; of its box for other shapes."""
    west, south, east, north = outline.bounds
    size = np.array([east - west, north - south])
    box = np.array([[west, north], [west, south], [east, south], [east, north]])
    hull = shapely.convex_hull(outline).simplify(0.02 * float(size.max()))
    found = shapely.get_coordinates(shapely.orient_polygons(hull))[:-1]
    chosen = box
    if len(found) == 4:
        turned = [np.roll(found, -k, axis=0) for k in range(4)]
        chosen = min(turned, key=lambda corners: float((np.abs(corners - box) / size).sum()))
    return [[float(x), float(y)] for x, y in chosen]


def _graticule(frame: Frame) -> list[str]:
    step = next((s for s in _STEPS if (frame.east - frame.west) / s >= 4), _STEPS[-1])
    digits = max(0, -math.floor(math.log10(step)))
    lines, labels = [], []
    for lon in np.arange(math.ceil(frame.west / step), math.floor(frame.east / step) + 1) * step:
        x = frame.x(float(lon))
        lines.append(f"M{x:.1f} 0V{frame.height:.1f}")
        if 24 < x < frame.width - 24:
            text = _degrees(geo.wrap(float(lon)), "E", "W", digits)
            labels.append(
                f'<text class="tick" x="{x:.1f}" y="{frame.height - 6:.1f}" text-anchor="middle">{text}</text>'
            )
    for lat in np.arange(math.ceil(frame.south / step), math.floor(frame.north / step) + 1) * step:
        y = frame.y(float(lat))
        lines.append(f"M0 {y:.1f}H{frame.width:.0f}")
        if 16 < y < frame.height - 24:
            text = _degrees(float(lat), "N", "S", digits)
            labels.append(_tick(6, y - 4, text, "start"))
    return [f'<path class="graticule" d="{"".join(lines)}"/>', *labels]


def _tick(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text class="tick" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _degrees(value: float, plus: str, minus: str, digits: int) -> str:
    text = f"{abs(value):.{digits}f}"
    return f"{text}°" + ("" if float(text) in (0.0, 180.0) else plus if value > 0 else minus)


def _target(frame: Frame, position: Position, outline: Footprint | None) -> str:
    x, y = frame.x(position[0] + frame.turn(position[0])), frame.y(position[1])
    small = outline is None or _largest(frame, outline) < _LEGIBLE
    ring = f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="16"/>' if small else ""
    cross = f"M{x - 7:.1f} {y:.1f}H{x + 7:.1f}M{x:.1f} {y - 7:.1f}V{y + 7:.1f}"
    return f'{ring}<path class="cross" d="{cross}"/>'


def _largest(frame: Frame, footprint: Footprint) -> float:
    west, south, east, north = _unwrapped(frame, footprint).bounds
    return max(frame.x(east) - frame.x(west), frame.y(south) - frame.y(north))


def _badges(frame: Frame, marks: Sequence[Mark], *, dots: bool) -> list[str]:
    """Numbered marks; one that would cover another moves to the right, and a line leads back to its place."""
    taken: list[tuple[float, float]] = []
    parts: list[str] = []
    for mark in marks:
        lon, lat = mark.position
        x0, y0 = frame.x(lon + frame.turn(lon)), frame.y(lat)
        if not (0 <= x0 <= frame.width and 0 <= y0 <= frame.height):
            continue
        if dots and not mark.strong:
            parts.insert(0, f'<circle class="badge weak" cx="{x0:.1f}" cy="{y0:.1f}" r="3.5"/>')
            continue
        x, y = _free(x0, y0, taken, frame)
        taken.append((x, y))
        if (x, y) != (x0, y0):
            parts.append(f'<path class="leader" d="M{x0:.1f} {y0:.1f}L{x:.1f} {y:.1f}"/>')
        kind = "badge" if mark.strong else "badge weak"
        inner = (
            f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{_BADGE}"/>'
            f'<text class="number" x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">{_attribute(mark.number)}</text>'
        )
        parts.append(f'<a href="{_attribute(mark.link)}">{inner}</a>' if mark.link else inner)
    return parts


def _free(x: float, y: float, taken: Sequence[tuple[float, float]], frame: Frame) -> tuple[float, float]:
    apart = 2 * _BADGE + 2

    def clear(px: float, py: float) -> bool:
        inside = _BADGE <= px <= frame.width - _BADGE and _BADGE <= py <= frame.height - _BADGE
        return inside and all(math.hypot(px - a, py - b) >= apart for a, b in taken)

    for radius in range(8):
        for angle in range(0, 360, 45) if radius else (0,):
            px = x + radius * apart * math.cos(math.radians(angle))
            py = y - radius * apart * math.sin(math.radians(angle))
            if clear(px, py) or (radius == 0 and all(math.hypot(px - a, py - b) >= apart for a, b in taken)):
                return px, py
    return x, y


def _scale_bar(frame: Frame) -> list[str]:
    if frame.east - frame.west >= 180:
        return []
    middle = (frame.south + frame.north) / 2
    across = geo.distance_km((0.0, middle), (min(frame.east - frame.west, 90.0), middle))
    km_per_pixel = across / (frame.width * min(frame.east - frame.west, 90.0) / (frame.east - frame.west))
    target = km_per_pixel * frame.width / 5
    power = 10 ** math.floor(math.log10(target))
    length = max(n * power for n in (1, 2, 5) if n * power <= target)
    pixels = length / km_per_pixel
    label = f"{length:g} km" if length >= 1 else f"{length * 1000:g} m"
    x, y = frame.width - 14 - pixels, frame.height - 26
    line = f"M{x:.1f} {y - 4:.1f}v4h{pixels:.1f}v-4"
    return [
        f'<path class="casing" d="{line}"/><path class="bar" d="{line}"/>',
        _tick(x + pixels / 2, y - 6, label, "middle"),
    ]


def _attribute(text: str) -> str:
    return html.escape(text, quote=True)
