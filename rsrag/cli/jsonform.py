"""Dataclasses as JSON values: the one shape of every ``--json`` output."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rsrag.types import Answer, BBox, Footprint, Hit, ItemError, Passage, Place, Scene, Tile, TimeSpan


def plain(value: Any) -> Any:
    """A value as strings, finite numbers, lists and dicts.

    Footprints become GeoJSON geometries, time spans ``{"start", "end"}``, numbers that are not finite null. Hits get
    ``title``, answers ``text``: what people see of them.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, Footprint):
        return value.to_geojson()
    if isinstance(value, TimeSpan):
        return {"start": plain(value.start), "end": plain(value.end)}
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _record(value)
    if hasattr(value, "_asdict") and not isinstance(value, BBox):
        return plain(value._asdict())
    if hasattr(value, "item"):
        return plain(value.item())
    return [plain(item) for item in value]


def _record(value: Any) -> dict[str, Any]:
    fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Hit):
        fields = {"title": value.title, **{k: v for k, v in fields.items() if v is not None}}
    elif isinstance(value, Answer):
        fields = {"text": value.text, **fields}
    elif isinstance(value, Tile):
        fields["phash"] = f"{value.phash & 0xFFFFFFFFFFFFFFFF:016x}"
    if isinstance(value, Tile | Scene | Place | Passage | ItemError):
        fields = {k: v for k, v in fields.items() if v is not None}
    for name in ("exit_code", "ok"):
        if isinstance(getattr(type(value), name, None), property):
            fields[name] = getattr(value, name)
    if isinstance(value, Tile | Scene) and value.footprint is not None:
        fields["bbox"] = list(value.footprint.bbox)
    return fields
