"""What lies in a collection whichever engine holds it: the payload layout, what may be written, what fits what."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from rsrag.errors import BadGeometry, BadTimeSpan, BadVector, IndexFailure, ModelMismatch, SchemaMismatch
from rsrag.geo import check_bbox, wrap
from rsrag.indexes.base import CollectionSpec, Point, Vector
from rsrag.types import BBox, TimeSpan

SCHEMA_VERSION = 1
"""Of the layout below and of the stored specification; another one is refused."""

WHERE = "_where"
"""Payload key of a point's box: west, south, east, north as floats (``east`` is counted on past 180 when the box
crosses the antimeridian, so that west ≤ east always) and ``centre`` as a geo point."""
WHEN = "_when"
"""Payload key of a point's time: ``start`` and ``end`` in seconds since 1970 UTC; an open end is ∓ ``FOREVER``."""
BOX_KEYS = tuple(f"{WHERE}.{side}" for side in ("west", "south", "east", "north"))
CENTRE_KEY = f"{WHERE}.centre"
TIME_KEYS = (f"{WHEN}.start", f"{WHEN}.end")
FOREVER = 1e15
"""Seconds; beyond every datetime, and finite because JSON has no infinity."""

_RESERVED = (WHERE, WHEN)
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_INT64 = range(-(2**63), 2**63)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REINDEX = "`rsrag reindex` rebuilds it from the catalogue"


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A checked point, ready for an engine: float32 vectors, a payload of JSON values only."""

    id: str
    vectors: dict[str, Vector]
    payload: dict[str, Any]
    text: str | None


# --- what may be written --------------------------------------------------------------------------------------------


def rows(spec: CollectionSpec, points: Iterable[Point]) -> list[Row]:
    """Check a whole batch before any of it is written; of several points with one id the last one counts.

    Raises:
        BadVector: NaN, inf, zero, wrong size, or a name that the collection does not have.
        IndexFailure: an id that is no UUID, or a payload, box or time that cannot be stored.
    """
    checked = (_row(spec, point) for point in points)
    return list({row.id: row for row in checked}.values())


def _row(spec: CollectionSpec, point: Point) -> Row:
    what = f"point {point.id} for {spec.name!r}"
    vectors = {name: check_vector(spec, name, vector, what) for name, vector in point.vectors.items()}
    try:
        payload = {_top_key(key): _json(value, str(key)) for key, value in point.payload.items()}
        if taken := [key for key in _RESERVED if key in payload]:
            raise IndexFailure(f"the payload key {taken[0]!r} is reserved")
        if point.box is not None:
            payload[WHERE] = _stored_box(point.box)
        if point.when is not None:
            start, end = time_range(point.when)
            payload[WHEN] = {"start": start, "end": end}
        return Row(check_id(point.id), vectors, payload, point.text)
    except (IndexFailure, BadGeometry, BadTimeSpan) as error:
        raise IndexFailure(f"{what}: {error.message}", hint=error.hint) from error


def check_vector(spec: CollectionSpec, name: str, vector: npt.ArrayLike, what: str = "query") -> Vector:
    """A vector as float32 of shape [size], finite and not zero.

    Raises:
        BadVector: it is anything else, or the collection has no vector of this name.
    """
    if name not in spec.vectors:
        known = ", ".join(spec.vectors) or "none"
        raise BadVector(f"{what}: {spec.name!r} has no vector {name!r}", hint=f"it has {known}")
    size = spec.vectors[name]
    try:
        array = np.asarray(vector, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise BadVector(f"{what}: vector {name!r} is not made of numbers") from error
    if array.shape != (size,):
        raise BadVector(f"{what}: vector {name!r} has shape {list(array.shape)}, not [{size}]")
    if not np.isfinite(array).all():
        raise BadVector(f"{what}: vector {name!r} holds NaN or infinity")
    if not 1e-12 < float(np.linalg.norm(array.astype(np.float64))) < 1e18:
        raise BadVector(f"{what}: vector {name!r} is zero or far out of range")
    return array


def check_id(identifier: str) -> str:
    """A point id in the one spelling that engines give back: a UUID in lower case with dashes.

    Raises:
        IndexFailure: anything else.
    """
    try:
        same = str(uuid.UUID(identifier)) == identifier
    except (ValueError, AttributeError, TypeError):
        same = False
    if not same:
        raise IndexFailure(f"point id {identifier!r} is not a UUID in lower case")
    return identifier


def check_name(collection: str) -> str:
    """A collection name, which is also a directory name.

    Raises:
        IndexFailure: not lower-case letters, digits, dash or underscore.
    """
    if not _NAME.fullmatch(collection):
        raise IndexFailure(f"collection name {collection!r} is not lower-case letters, digits, '-' and '_'")
    return collection


def _key(key: object) -> str:
    if not isinstance(key, str) or not key or '"' in key:
        raise IndexFailure(f"the payload key {key!r} is not a string without quotation marks")
    return key


def _top_key(key: object) -> str:
    if "." in (name := _key(key)):
        raise IndexFailure(f"the payload key {name!r} holds a dot", hint="filters read dots as nesting: nest the value")
    return name


def _json(value: Any, where: str) -> Any:
    """A payload value as the JSON both engines store; dates become ISO strings, in UTC when they have a zone."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int) and value in _INT64:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, datetime):
        return (value if value.tzinfo is None else value.astimezone(UTC)).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {_key(key): _json(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(item, where) for item in value]
    raise IndexFailure(f"payload {where!r} cannot be stored: {type(value).__name__} {value!r:.60}")


def public(payload: Mapping[str, Any] | None) -> dict[str, Any]:
    """A stored payload as it was given, without the reserved keys."""
    return {key: value for key, value in (payload or {}).items() if key not in _RESERVED}


def field_path(key: str) -> str:
    """A payload key in the engines' path syntax: dots lead into objects, odd names are quoted."""
    parts = key.split(".")
    if '"' in key or not all(parts):
        raise IndexFailure(f"payload key {key!r} cannot be filtered by")
    return ".".join(part if _PLAIN.fullmatch(part) else f'"{part}"' for part in parts)


# --- where and when -------------------------------------------------------------------------------------------------


def unwrapped(box: BBox) -> tuple[float, float, float, float]:
    """West, south, east, north with west ≤ east: east is counted on past 180 across the antimeridian.

    Raises:
        BadGeometry: not finite, not on Earth, or south above north.
    """
    west, south, east, north = check_bbox(box)
    return west, south, east + 360.0 if east < west else east, north


def _stored_box(box: BBox) -> dict[str, Any]:
    west, south, east, north = unwrapped(box)
    centre = {"lon": wrap((west + east) / 2), "lat": (south + north) / 2}
    return {"west": west, "south": south, "east": east, "north": north, "centre": centre}


def time_range(span: TimeSpan) -> tuple[float, float]:
    """Start and end in seconds since 1970 UTC, open ends as ∓ ``FOREVER``.

    Exact to the microsecond from 1833 to 2106, to 30 microseconds for any datetime; never out of order.

    Raises:
        BadTimeSpan: a time without a zone, or an end before the start.
    """
    start = -FOREVER if span.start is None else _seconds(span.start)
    end = FOREVER if span.end is None else _seconds(span.end)
    if end < start:
        raise BadTimeSpan(f"time span {span.start} to {span.end} ends before it starts")
    return start, end


def _seconds(instant: datetime) -> float:
    if instant.tzinfo is None:
        raise BadTimeSpan(f"{instant} has no time zone", hint="times are timezone-aware UTC")
    return (instant - _EPOCH).total_seconds()


# --- what fits what -------------------------------------------------------------------------------------------------


def indexed_fields(spec: CollectionSpec) -> dict[str, str]:
    """Payload paths that get an index, each with its kind: keyword, float or geo."""
    kinds = {field_path(key): "keyword" for key in spec.keywords}
    kinds |= {field_path(key): "float" for key in spec.numbers}
    kinds |= dict.fromkeys((*BOX_KEYS, *TIME_KEYS), "float")
    return kinds | {CENTRE_KEY: "geo"}


def spec_to_json(spec: CollectionSpec) -> dict[str, Any]:
    """The specification as it is stored beside the points."""
    return {
        "schema": SCHEMA_VERSION,
        "name": spec.name,
        "vectors": dict(spec.vectors),
        "text": spec.text,
        "average_words": spec.average_words,
        "keywords": list(spec.keywords),
        "numbers": list(spec.numbers),
        "fingerprint": dict(spec.fingerprint),
    }


def spec_from_json(stored: Any, what: str) -> CollectionSpec:
    """A stored specification.

    Raises:
        SchemaMismatch: written by another version of rsrag, or unreadable.
    """
    if not isinstance(stored, dict) or stored.get("schema") != SCHEMA_VERSION:
        found = stored.get("schema") if isinstance(stored, dict) else None
        raise SchemaMismatch(f"{what} has schema {found}, this rsrag reads {SCHEMA_VERSION}", hint=_REINDEX)
    try:
        return CollectionSpec(
            name=str(stored["name"]),
            vectors={str(k): int(v) for k, v in stored["vectors"].items()},
            text=stored["text"],
            average_words=float(stored["average_words"]),
            keywords=tuple(stored["keywords"]),
            numbers=tuple(stored["numbers"]),
            fingerprint={str(k): str(v) for k, v in stored["fingerprint"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SchemaMismatch(f"{what} has an unreadable specification: {error!r}", hint=_REINDEX) from error


def merged(stored: CollectionSpec, asked: CollectionSpec) -> CollectionSpec:
    """The stored specification with the keys that are newly asked for; everything else must be equal.

    Raises:
        ModelMismatch: filled by other models.
        SchemaMismatch: other vectors, other text settings.
    """
    for name in sorted({*stored.fingerprint, *asked.fingerprint}):
        has, wants = stored.fingerprint.get(name), asked.fingerprint.get(name)
        if has != wants:
            message = (
                f"collection {asked.name!r} was filled by {has or 'no model'} as {name!r}, not by {wants or 'none'}"
            )
            hint = f"go back to that profile or ingest into a new workspace; where only the index is old, {_REINDEX}"
            raise ModelMismatch(message, hint=hint)
    for what in ("vectors", "text", "average_words"):
        has, wants = getattr(stored, what), getattr(asked, what)
        if has != wants:
            message = f"collection {asked.name!r} has {what} {has}, this rsrag writes {wants}"
            raise SchemaMismatch(message, hint=_REINDEX)
    keywords, numbers = (_union(getattr(stored, k), getattr(asked, k)) for k in ("keywords", "numbers"))
    return replace(stored, keywords=keywords, numbers=numbers)


def _union(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*first, *second]))
