"""Queries about a user's own scene: a JSON file of texts with the regions where they are true."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from rsrag.errors import UsageError
from rsrag.eval.datasets.compose_scenes import SceneQuery
from rsrag.types import Scene

EXAMPLE = '{"coordinates": "pixels", "queries": [{"text": "a harbour", "boxes": [[0, 0, 256, 256]]}]}'
SYSTEMS = ("pixels", "map", "lonlat")
Affine = tuple[float, float, float, float, float, float]


def read_queries(path: Path, scene: Scene) -> list[SceneQuery]:
    """The queries of a file, their regions in pixels of the scene.

    A list of queries, or an object with ``queries`` and ``coordinates``: "pixels" (x to the right, y down; the
    default), "map" (of the scene's own reference system) or "lonlat" (WGS84 degrees). A query has a ``text``; a
    ``phrases`` list of sentences whose mean stands for it, if the text alone should not; and ``boxes``,
    [x0, y0, x1, y1] each, or ``polygons``, lists of [x, y] each, or both.

    Raises:
        UsageError: what the file lacks, or a region that does not touch the scene.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"cannot read queries {path}: {error}", hint=EXAMPLE) from error
    system = "pixels"
    if isinstance(document, dict):
        system, document = document.get("coordinates", "pixels"), document.get("queries")
    if system not in SYSTEMS:
        raise UsageError(f"{path}: unknown coordinates {system!r}", hint=f"one of {', '.join(SYSTEMS)}")
    if not isinstance(document, list) or not document:
        raise UsageError(f"{path}: no queries", hint=EXAMPLE)
    outline = shapely.box(0, 0, scene.width, scene.height)
    found = []
    for number, row in enumerate(document, 1):
        where = f"{path}, query {number}"
        query = _query(row, where)
        regions = tuple(shapely.transform(region, lambda xy: _pixels(xy, system, scene)) for region in query.regions)
        for region in regions:
            if not region.is_valid or region.area <= 0:
                raise UsageError(f"{where}: a region without area, or one that crosses itself")
            if region.intersection(outline).area <= 0:
                middle = ", ".join(f"{value:.6g}" for value in region.centroid.coords[0])
                hint = f"in pixels its middle is {middle}; the scene has {scene.width}×{scene.height}"
                raise UsageError(f"{where}: a region outside the scene", hint=hint)
        found.append(SceneQuery(query.text, query.phrases, regions, query.kind))
    return found


def write_queries(path: Path, queries: Sequence[SceneQuery], transform: Affine) -> None:
    """Write queries with their regions in map coordinates, so that :func:`read_queries` reads them.

    Raises:
        UsageError: the file cannot be written.
    """
    a, b, c, d, e, f = transform
    matrix, origin = np.array([[a, b], [d, e]]), np.array([c, f])
    rows = []
    for query in queries:
        polygons = [np.asarray(region.exterior.coords)[:-1] @ matrix.T + origin for region in query.regions]
        phrases = {} if query.phrases == (query.text,) else {"phrases": list(query.phrases)}
        said = {"text": query.text, "kind": query.kind, **phrases}
        rows.append({**said, "polygons": [polygon.tolist() for polygon in polygons]})
    try:
        path.write_text(
            json.dumps({"coordinates": "map", "queries": rows}, indent=1, ensure_ascii=False) + "\n", "utf-8"
        )
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error}") from error


def _query(row: Any, where: str) -> SceneQuery:
    if not isinstance(row, dict) or not isinstance(row.get("text"), str) or not row["text"].strip():
        raise UsageError(f"{where}: no 'text'", hint=EXAMPLE)
    text = row["text"].strip()
    phrases = row.get("phrases") or [text]
    if not isinstance(phrases, list) or not all(isinstance(one, str) and one.strip() for one in phrases):
        raise UsageError(f"{where}: 'phrases' is not a list of sentences")
    try:
        boxes = [shapely.box(*(float(v) for v in box)) for box in row.get("boxes", ())]
        polygons = [shapely.Polygon([(float(x), float(y)) for x, y in ring]) for ring in row.get("polygons", ())]
    except (TypeError, ValueError) as error:
        raise UsageError(f"{where}: {error}", hint="boxes: [x0, y0, x1, y1]; polygons: [[x, y], ...]") from error
    if not boxes and not polygons:
        raise UsageError(f"{where}: neither 'boxes' nor 'polygons'", hint=EXAMPLE)
    return SceneQuery(text, tuple(phrases), (*boxes, *polygons), str(row.get("kind", "query")))


def _pixels(points: Any, system: str, scene: Scene) -> Any:
    if system == "pixels":
        return points
    if scene.transform is None or scene.crs is None:
        raise UsageError(f"{scene.source} has no position", hint='give regions with "coordinates": "pixels"')
    if system == "lonlat":
        from pyproj import Transformer

        x, y = Transformer.from_crs("EPSG:4326", scene.crs, always_xy=True).transform(points[:, 0], points[:, 1])
        points = np.column_stack([x, y])
    a, b, c, d, e, f = scene.transform
    return (points - np.array([c, f])) @ np.linalg.inv(np.array([[a, b], [d, e]])).T
