"""Exports are read back by other readers, with the right CRS, geometry and values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely

from rsrag import geo
from rsrag.errors import UsageError
from rsrag.export import BATCH, COLUMNS, export
from rsrag.types import (
    Band,
    BBox,
    Document,
    Fact,
    Hit,
    Passage,
    Place,
    Scene,
    Tile,
    TimeSpan,
    Window,
)

WHEN = TimeSpan(datetime(2020, 5, 31, tzinfo=UTC), datetime(2020, 5, 31, 23, 59, 59, tzinfo=UTC))
ACROSS = geo.footprint_from_bbox(BBox(178, -19, -178, -16))
HERE = geo.footprint_from_bbox(BBox(10, 40, 12, 42))
SCENE = Scene(
    "s1", "/data/a.tif", "d1", "demo", 512, 512, (Band(1, "red", "uint8"), Band(2, None, "uint8")), HERE, "EPSG:4326",
    gsd_m=10.0, time=WHEN, sensor="sentinel-2", title="Ängelholm <1>", licence="CC-BY-4.0",
)  # fmt: skip
LOST = Scene("s2", "/data/b.tif", "d2", "demo", 64, 64, (Band(1, "red", "uint8"),))
FACTS = (Fact("ndvi_mean", 0.25), Fact("area_km2", 3.5, "km2"), Fact("haze", float("nan")))
TILES = {
    "s1": [
        Tile("t1", "s1", Window(0, 0, 256, 256), 2.0, "x1", 7, HERE, FACTS),
        Tile("t2", "s1", Window(256, 0, 256, 128), 1.0, "x2", 8, ACROSS, group="t1"),
    ],
    "s2": [Tile("t3", "s2", Window(0, 0, 64, 64), 1.0, "x3", 9)],
}
PLACES = [
    Place(
        "p1", "Olympus", "g.geojson", 22.35, 40.08, "mountain", "Greece", ("Olympos",), facts=(Fact("h", 2917, "m"),)
    ),
    Place("p2", "Fiji", "g.geojson", 179.0, -17.5, extent=ACROSS),
]


class FakeCatalog:
    """The part of the catalogue that exports read."""

    def __init__(self, more: int = 0) -> None:
        self.tiles = dict(TILES)
        self.tiles["s1"] = [*TILES["s1"], *(replace(TILES["s1"][0], id=f"m{n:05}") for n in range(more))]

    def scenes(self) -> list[Scene]:
        return [SCENE, LOST]

    def iter_tiles_of(self, scene: str, batch: int) -> Iterator[list[Tile]]:
        tiles = self.tiles[scene]
        yield from (tiles[i : i + batch] for i in range(0, len(tiles), batch))

    def iter_places(self, batch: int) -> Iterator[list[Place]]:
        yield from (PLACES[i : i + batch] for i in range(0, len(PLACES), batch))

    def iter_tile_vectors(self, batch: int) -> Iterator[list[tuple[Tile, Scene, np.ndarray[Any, Any]]]]:
        rows = [
            (t, s, np.array([0.6, 0.8, n], np.float32)) for s in self.scenes() for n, t in enumerate(self.tiles[s.id])
        ]
        yield from (rows[i : i + batch] for i in range(0, len(rows), batch))


def write(path: Path, **options: Any) -> int:
    more = options.pop("more", 0)
    return export(FakeCatalog(more), path, **options)  # type: ignore[arg-type]


# --- GeoJSON --------------------------------------------------------------------------------------------------------


def test_geojson_follows_rfc_7946(tmp_path: Path) -> None:
    path = tmp_path / "tiles.geojson"
    assert write(path) == 3
    read = json.loads(path.read_text(encoding="utf-8"))
    assert "crs" not in read
    first, second, third = read["features"]
    assert first["id"] == "t1"
    assert first["properties"]["title"] == "Ängelholm <1>"
    assert first["properties"]["start"] == "2020-05-31T00:00:00Z"
    assert first["properties"]["ndvi_mean"] == 0.25
    assert first["properties"]["facts"]["area_km2"] == {"value": 3.5, "unit": "km2"}
    assert first["properties"]["facts"]["haze"]["value"] is None
    assert first["properties"]["gsd_m"] == 20.0
    assert shapely.geometry.shape(first["geometry"]).exterior.is_ccw
    assert second["geometry"]["type"] == "MultiPolygon"
    assert second["bbox"] == [178, -19, -178, -16]
    assert all(abs(x) <= 180 for p in second["geometry"]["coordinates"] for x, _ in p[0])
    assert third["geometry"] is None
    assert "bbox" not in third
    assert set(first["properties"]) == set(COLUMNS["tiles"])


def test_geojson_is_read_by_gdal(tmp_path: Path) -> None:
    write(tmp_path / "tiles.geojson")
    meta, _, geometry, _ = pyogrio.raw.read(tmp_path / "tiles.geojson")
    assert meta["crs"] == "EPSG:4326"
    assert shapely.from_wkb(geometry[0]).equals(geo.shape(HERE))


def test_places_and_scenes(tmp_path: Path) -> None:
    assert write(tmp_path / "p.geojson", what="places") == 2
    olympus, fiji = json.loads((tmp_path / "p.geojson").read_text())["features"]
    assert olympus["geometry"] == {"type": "Point", "coordinates": [22.35, 40.08]}
    assert olympus["properties"]["aliases"] == "Olympos"
    assert fiji["geometry"]["type"] == "MultiPolygon"
    assert write(tmp_path / "s.geojson", what="scenes") == 2
    scene = json.loads((tmp_path / "s.geojson").read_text())["features"][0]["properties"]
    assert scene["bands"] == "1 red, 2 ?"
    assert scene["licence"] == "CC-BY-4.0"


def test_hits(tmp_path: Path) -> None:
    document = Document("d", "k.md", "x", "Notes")
    passage = Passage("q", "d", 0, "Olympus is 2,917 m high.", lon=22.35, lat=40.08)
    hits = [
        Hit("tile", "t1", 0.9, {"image": 0.8}, tile=TILES["s1"][0], scene=SCENE, match=ACROSS),
        Hit("passage", "q", 0.7, tile=None, passage=passage, document=document, place=PLACES[0]),
        Hit("passage", "q2", 0.1, passage=replace(passage, id="q2", lon=None), document=document),
    ]
    assert write(tmp_path / "h.geojson", hits=hits) == 3
    tile, place, lost = json.loads((tmp_path / "h.geojson").read_text())["features"]
    assert (tile["properties"]["rank"], tile["properties"]["score"], tile["properties"]["kind"]) == (1, 0.9, "tile")
    assert tile["geometry"]["type"] == "MultiPolygon"
    assert place["geometry"]["coordinates"] == [22.35, 40.08]
    assert place["properties"]["text"] == passage.text
    assert lost["geometry"] is None
    assert write(tmp_path / "h.gpkg", hits=hits) == 3


# --- GeoPackage -----------------------------------------------------------------------------------------------------


def columns(path: Path) -> tuple[dict[str, Any], np.ndarray[Any, Any], dict[str, Any]]:
    meta, _, geometry, values = pyogrio.raw.read(path)
    return meta, shapely.from_wkb(geometry), dict(zip(meta["fields"], values, strict=True))


def test_geopackage(tmp_path: Path) -> None:
    path = tmp_path / "tiles.gpkg"
    assert write(path) == 3
    meta, shapes, values = columns(path)
    assert meta["crs"] == "EPSG:4326"
    assert meta["geometry_type"] == "MultiPolygon"
    assert pyogrio.list_layers(path)[0][0] == "tiles"
    assert list(values["id"]) == ["t1", "t2", "t3"]
    assert shapes[0].equals(geo.shape(HERE))
    assert shapes[1].equals(geo.shape(ACROSS))
    assert shapes[2] is None
    assert list(values["width"]) == [256, 256, 64]
    assert values["ndvi_mean"][0] == 0.25
    assert np.isnan(values["ndvi_mean"][1])
    assert values["group"][1] == "t1"
    assert values["group"][0] is None
    assert json.loads(values["facts"][0])["ndvi_mean"] == {"value": 0.25, "unit": "1"}
    assert np.datetime64(values["start"][0], "s") == np.datetime64("2020-05-31T00:00:00")
    assert np.isnat(values["start"][2])


def test_geopackage_says_that_times_are_utc(tmp_path: Path) -> None:
    write(tmp_path / "tiles.gpkg")
    _, _, _, values = pyogrio.raw.read(tmp_path / "tiles.gpkg", columns=["start"], datetime_as_string=True)
    assert values[0][0].replace("/", "-").startswith("2020-05-31T00:00:00")
    assert values[0][0].endswith(("Z", "+00", "+00:00"))


def test_geopackage_in_batches_and_without_features(tmp_path: Path) -> None:
    assert write(tmp_path / "many.gpkg", more=2 * BATCH) == 2 * BATCH + 3
    assert pyogrio.read_info(tmp_path / "many.gpkg")["features"] == 2 * BATCH + 3
    assert write(tmp_path / "none.gpkg", hits=[]) == 0
    assert pyogrio.read_info(tmp_path / "none.gpkg")["features"] == 0


# --- GeoParquet -----------------------------------------------------------------------------------------------------


def test_geoparquet_with_vectors(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "tiles.parquet"
    assert write(path, vectors=True, model="mini-image:abc") == 3
    table = pq.read_table(path)
    geo_meta = json.loads(table.schema.metadata[b"geo"])
    assert geo_meta["version"] == "1.1.0"
    column = geo_meta["columns"]["geometry"]
    assert (geo_meta["primary_column"], column["encoding"]) == ("geometry", "WKB")
    assert column["crs"]["id"] == {"authority": "OGC", "code": "CRS84"}
    assert json.loads(table.schema.metadata[b"rsrag"])["model"] == "mini-image:abc"
    shapes = shapely.from_wkb(table["geometry"].to_pylist())
    assert shapes[1].equals(geo.shape(ACROSS))
    assert shapes[2] is None
    assert {g.geom_type for g in shapes if g is not None} <= set(column["geometry_types"])
    assert str(table.schema.field("vector").type) == "list<element: float>"
    assert table["vector"].to_pylist()[1] == pytest.approx([0.6, 0.8, 1.0])
    assert table["start"].to_pylist()[0] == WHEN.start
    assert table["ndvi_mean"].to_pylist() == [0.25, None, None]


def test_geoparquet_is_read_by_geopandas(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    geopandas = pytest.importorskip("geopandas")
    write(tmp_path / "places.parquet", what="places")
    frame = geopandas.read_parquet(tmp_path / "places.parquet")
    assert frame.crs.to_authority() == ("OGC", "CRS84")
    assert frame.geometry.iloc[0].equals(shapely.Point(22.35, 40.08))


def test_geoparquet_in_batches(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    assert write(tmp_path / "many.parquet", more=BATCH + 1, vectors=True) == BATCH + 4
    assert pq.ParquetFile(tmp_path / "many.parquet").metadata.num_row_groups == 2


# --- what can go wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.shp", {}, "cannot write"),
        ("a", {}, "cannot write"),
        ("a.geojson", {"what": "hits"}, "cannot export 'hits'"),
        ("a.geojson", {"what": "roads"}, "cannot export 'roads'"),
        ("a.geojson", {"vectors": True}, "vectors"),
        ("a.parquet", {"what": "places", "vectors": True}, "vectors"),
        ("no/such/folder/a.geojson", {}, "No such file"),
        ("no/such/folder/a.gpkg", {}, "cannot write"),
    ],
)
def test_wrong_requests(tmp_path: Path, name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        write(tmp_path / name, **options)


@pytest.mark.parametrize("ending", ["geojson", "gpkg", "parquet"])
def test_a_folder_that_is_not_there_is_told_by_the_name_that_was_given(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "nowhere" / f"tiles.{ending}"
    with pytest.raises(UsageError) as refused:
        write(path)
    assert str(refused.value) == f"cannot write {path}: No such file or directory"


@pytest.mark.parametrize("ending", ["geojson", "gpkg", "parquet"])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"tiles.{ending}"
    path.write_text("before")

    def broken(self: FakeCatalog, scene: str, batch: int) -> Iterator[list[Tile]]:
        if scene == "s2":
            raise RuntimeError("the disk is on fire")
        yield TILES[scene]

    monkeypatch.setattr(FakeCatalog, "iter_tiles_of", broken)
    monkeypatch.setattr("rsrag.export.BATCH", 1)
    with pytest.raises(RuntimeError, match="on fire"):
        write(path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    write(path)
    assert path.read_bytes()[:6] != b"before"
    assert list(tmp_path.iterdir()) == [path]
