"""A tiny real archive: two GeoTIFFs, a gazetteer and a document, and what an ingest of it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from rasters import write_tiff

import rsrag
from rsrag.engine import Engine
from rsrag.ingest.summary import IngestOptions, IngestSummary

TILE = 32
PLACES: list[tuple[str, str, float, float, str]] = [
    ("Blue Lagoon", "lake", 3.05, 45.95, "Blue Lagoon is 12 m deep. Its water has been protected since 1987."),
    ("Red Quarry", "quarry", 3.15, 45.9, "Red Quarry gave sandstone from 1820 to 1914. It covers 40 ha."),
    ("Green Wood", "forest", 3.25, 45.85, "Green Wood is a beech forest of 310 ha. Deer live in Green Wood."),
]


def scene(path: Path, seed: int = 0, *, west: float = 3.0, size: int = 96) -> Path:
    """A textured RGB GeoTIFF in EPSG:4326 with pixels of 0.004 degrees, its north-west corner at (west, 46)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (3, size // 8, size // 8))
    data = np.clip(coarse.repeat(8, axis=1).repeat(8, axis=2) + rng.integers(-20, 20, (3, size, size)), 1, 254)
    return write_tiff(path, data.astype(np.uint8), transform=(0.004, 0, west, 0, -0.004, 46.0), crs="EPSG:4326")


def gazetteer(path: Path) -> Path:
    """The places as GeoJSON."""
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [lon, lat]},
            "properties": {"name": name, "kind": kind, "country": "Testland", "text": text, "sources": ["Field notes"]},
        }
        for name, kind, lon, lat, text in PLACES
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    return path


def sources(folder: Path) -> Path:
    """A folder with two scenes of different dates, the gazetteer and a document."""
    folder.mkdir(parents=True, exist_ok=True)
    scene(folder / "survey_20200531.tif", 1)
    scene(folder / "survey_20210602.tif", 2, west=3.2)
    gazetteer(folder / "places.geojson")
    text = "# Blue Lagoon\n\nIn 1999 a storm broke the dam of Blue Lagoon. The dam was rebuilt within 14 months.\n"
    (folder / "storm.md").write_text(text, encoding="utf-8")
    return folder


def open_archive(path: Path, **settings: Any) -> Engine:
    """A workspace with small tiles."""
    return rsrag.open(path, create=True, tile_size=TILE, **settings)


def ingest(engine: Engine, folder: Path, **options: Any) -> IngestSummary:
    """Ingest a folder."""
    return engine.ingest([folder], options=IngestOptions(**options))


def filled(folder: Path) -> Path:
    """The folder, with all of :func:`sources` in ``archive``."""
    with open_archive(folder / "archive") as engine:
        assert ingest(engine, sources(folder / "sources")).exit_code == 0
    return folder


def contents(engine: Engine) -> dict[str, Any]:
    """Everything an archive holds, comparable: catalogue rows, and ids, payloads and vectors of the index."""
    tiles = {t.id: t for s in engine.catalog.scenes() for t in engine.catalog.tiles_of(s.id)}
    passages = engine.catalog.passages(sorted(engine.catalog.passage_ids()))
    held: dict[str, Any] = {}
    for collection, vector in (("tiles", "image"), ("passages", "text")):
        ids = sorted(engine.index.ids(collection))
        payloads = engine.index.payloads(collection, ids)
        vectors = engine.index.vectors(collection, vector, ids)
        held[collection] = {i: (payloads[i], vectors[i].round(5).tolist() if i in vectors else None) for i in ids}
    return {
        "scenes": {s.id: s for s in engine.catalog.scenes()},
        "tiles": tiles,
        "passages": passages,
        "index": held,
    }
