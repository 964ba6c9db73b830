"""Layers of a GeoPackage: in any reference system, without geometry, without names, damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import pyproj
import pytest
import shapely
from items import read

from rsrag import geo
from rsrag.errors import BadKnowledge, UnreadableSource, UsageError
from rsrag.ingest.knowledge import read_knowledge
from rsrag.types import Fact


def geopackage(path: Path, geometries: list[Any], names: list[str], layer: str, crs: str) -> None:
    pyogrio.raw.write(
        path,
        geometry=np.array([g if g is None else shapely.to_wkb(g) for g in geometries], dtype=object),
        field_data=[np.array(names, dtype=object), np.arange(len(names)) * 1.5],
        fields=["name", "depth_m"],
        geometry_type="Unknown",
        layer=layer,
        crs=crs,
        driver="GPKG",
    )


def test_layers_of_a_geopackage_in_any_crs(tmp_path: Path) -> None:
    path = tmp_path / "sites.gpkg"
    east, north = pyproj.Transformer.from_crs(4326, 32632, always_xy=True).transform(9.0, 46.0)
    square = shapely.box(east - 1000, north - 1000, east + 1000, north + 1000)
    geopackage(path, [shapely.Point(east, north), square, None], ["Spot", "Square", "None"], "alps", "EPSG:32632")
    geopackage(path, [shapely.Point(1, 2), None], ["Sea", "Gone"], "seas", "EPSG:4326")
    items, errors = read(path)
    places = {i.place.name: i.place for i in items if i.place}
    assert set(places) == {"Spot", "Square", "Sea"}
    assert (places["Spot"].lon, places["Spot"].lat) == pytest.approx((9.0, 46.0))
    assert places["Square"].extent is not None
    assert geo.area_km2(places["Square"].extent) == pytest.approx(4.0, rel=0.01)
    assert places["Square"].facts == (Fact("depth", 1.5, "m"),)
    assert [e.reason.split(":")[0] for e in errors] == ["layer 'alps', row 3", "layer 'seas', row 2"]
    assert len({i.document.id for i in items}) == 1


def plain_layer(path: Path, layer: str, **columns: list[str]) -> None:
    """A layer without geometries."""
    pyogrio.raw.write(
        path,
        geometry=None,
        field_data=[np.array(values, dtype=object) for values in columns.values()],
        fields=list(columns),
        layer=layer,
        geometry_type=None,
        crs=None,
        driver="GPKG",
    )


def nameless_layer(path: Path, layer: str) -> None:
    pyogrio.raw.write(
        path,
        geometry=np.array([shapely.to_wkb(shapely.Point(1, 2))], dtype=object),
        field_data=[np.array([3.0])],
        fields=["width"],
        layer=layer,
        geometry_type="Point",
        crs="EPSG:4326",
        driver="GPKG",
    )


def test_plain_tables_in_a_geopackage_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "sites.gpkg"
    geopackage(path, [shapely.Point(1, 2)], ["Sea"], "seas", "EPSG:4326")
    plain_layer(path, "layer_styles", f_table_name=["seas"], styleName=["blue"], description=["A style."])
    plain_layer(path, "owners", name=["Ann", "Bob"])
    plain_layer(path, "listed", name=["Hill"], lat=["3"], lon=["4"])
    items, errors = read(path)
    assert [i.place.name for i in items if i.place] == ["Sea", "Hill"]
    assert errors == []
    alone = tmp_path / "alone.gpkg"
    plain_layer(alone, "layer_styles", styleName=["blue"])
    with pytest.raises(BadKnowledge, match="no layer has geometries"):
        read(alone)


def test_a_layer_that_cannot_be_used_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "sites.gpkg"
    nameless_layer(path, "paths")
    geopackage(path, [shapely.Point(1, 2), None], ["Sea", "Gone"], "seas", "EPSG:4326")
    items, errors = read(path)
    assert [i.place.name for i in items if i.place] == ["Sea"]
    assert [e.reason.split(":")[0] for e in errors] == ["layer 'paths'", "layer 'seas', row 2"]
    assert "no column for name among: width" in errors[0].reason
    items, errors = read(path, columns={"kind": "depth_m"})
    assert len(items) == 1 and "no column 'depth_m' for 'kind'" in errors[0].reason
    with pytest.raises(UsageError, match="no column 'nowhere'"):
        read(path, columns={"name": "nowhere"})
    alone = tmp_path / "alone.gpkg"
    nameless_layer(alone, "paths")
    with pytest.raises(BadKnowledge, match="no column for name among: width"):
        read(alone)


def test_a_damaged_geopackage_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "x.gpkg"
    path.write_bytes(b"SQLite format 3\x00" + b"\x00" * 200)
    with pytest.raises(UnreadableSource):
        list(read_knowledge(path))


# Ids
