"""Regions of a result as GeoJSON (WGS84) and GeoPackage (the image's own CRS)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from rsrag import geo
from rsrag._version import __version__
from rsrag.adapters.base import Region, TaskResult
from rsrag.errors import UsageError
from rsrag.export import finite
from rsrag.replacing import replacing
from rsrag.times import format_span
from rsrag.types import Fact


def write_geojson(result: TaskResult, path: Path) -> int:
    """See :meth:`rsrag.adapters.base.TaskResult.to_geojson`. Follows RFC 7946."""
    _check_located(result)
    features = []
    for number, (region, properties) in enumerate(_rows(result), start=1):
        footprint = region.footprint if region is not None else result.subject.footprint
        shape = None if footprint is None else shapely.orient_polygons(geo.shape(footprint))
        features.append(
            {
                "type": "Feature",
                "id": number,
                "geometry": None if shape is None else shapely.geometry.mapping(shape),
                "properties": properties,
            }
        )
    about = {
        "task": result.task, "image": result.subject.name, "text": result.text, "written_by": f"rsrag {__version__}",
        "models": dict(result.provenance.models), "warnings": list(result.warnings),
    }  # fmt: skip
    collection = {"type": "FeatureCollection", "rsrag": about, "features": features}
    with replacing(path) as partial:
        partial.write_text(json.dumps(finite(collection), ensure_ascii=False, allow_nan=False), encoding="utf-8")
    return len(features)


def write_gpkg(result: TaskResult, path: Path) -> int:
    """See :meth:`rsrag.adapters.base.TaskResult.to_gpkg`. One layer named after the task."""
    import pyogrio.raw
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError

    _check_located(result)
    rows = list(_rows(result))
    shapes = [_map_shape(result, region) for region, _ in rows]
    names = list(dict.fromkeys(name for _, properties in rows for name in properties))
    columns = [_column([properties.get(name) for _, properties in rows]) for name in names]
    with replacing(path) as partial:
        partial.unlink(missing_ok=True)
        try:
            pyogrio.raw.write(
                partial,
                geometry=np.array(shapely.to_wkb(shapes), dtype=object),
                field_data=columns,
                fields=np.array(names, dtype=object),
                layer=result.task,
                driver="GPKG",
                geometry_type="MultiPolygon",
                crs=result.subject.crs,
            )
        except (DataLayerError, DataSourceError, FeatureError) as error:
            raise UsageError(f"cannot write {path.name}: {error}") from error
    return len(rows)


def properties_of(region: Region) -> dict[str, Any]:
    """What a region's attributes are in a table: one column a fact, its unit in the name."""
    found: dict[str, Any] = {"label": region.label, "score": round(region.score, 4)}
    found |= {name: round(v, 2) for name, v in zip(("left", "top", "right", "bottom"), region.box, strict=True)}
    if region.oriented:
        found["oriented_box"] = json.dumps([[round(x, 2), round(y, 2)] for x, y in region.oriented])
    found |= {_named(fact): fact.value for fact in region.facts}
    return found


def _named(fact: Fact) -> str:
    return fact.name if fact.unit in ("", "1") else f"{fact.name}_{fact.unit}"


def _rows(result: TaskResult) -> Iterator[tuple[Region | None, dict[str, Any]]]:
    """The regions; the image as a whole when there is none but something to say about it."""
    if result.regions or (not result.facts and not result.sentences):
        for region in result.regions:
            yield region, properties_of(region)
        return
    subject = result.subject
    about = {"label": result.task, "text": result.text, "image": subject.name}
    if subject.time is not None:
        about["time"] = format_span(subject.time)
    yield None, about | {_named(fact): fact.value for fact in result.facts}


def _map_shape(result: TaskResult, region: Region | None) -> Any:
    """Outline in the image's CRS, as a multipolygon."""
    subject = result.subject
    if region is None:
        shape = shapely.box(0, 0, subject.width, subject.height)
    elif region.rings:
        shape = shapely.Polygon(region.rings[0], region.rings[1:])
    else:
        shape = shapely.box(*region.box)
    assert subject.transform is not None
    a, b, c, d, e, f = subject.transform
    placed = shapely.transform(shape, lambda p: np.column_stack([p @ (a, b) + c, p @ (d, e) + f]))
    if not placed.is_valid:  # a hole that touches its outer ring crosses it by a rounding error
        placed = shapely.make_valid(placed, method="structure", keep_collapsed=False)
    return shapely.MultiPolygon([placed]) if placed.geom_type == "Polygon" else placed


def _column(values: list[Any]) -> Any:
    if all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values):
        return np.array([math.nan if value is None else float(value) for value in values], dtype=np.float64)
    return np.array([None if value is None else str(value) for value in values], dtype=object)


def _check_located(result: TaskResult) -> None:
    if not result.subject.located:
        raise UsageError(
            f"{result.subject.name} has no position: there is no map to write",
            hint="write .png, .html or --json, whose boxes are in pixels; or locate the image with rsrag ask --image",
        )
