"""Places, documents and passages: by name, by position, by id."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyproj import Geod

from rsrag.catalog import Catalog, PassageRow
from rsrag.errors import BadGeometry, CatalogError
from rsrag.geo import footprint_from_bbox
from rsrag.types import BBox


def ids(items) -> list[str]:
    return [item.id for item in items]


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["São Tomé", "sao tome", "SAO  TOMÉ", "Sa\u0303o-Tome"])
def test_names_in_any_spelling(catalog: Catalog, make, spelling: str) -> None:
    catalog.save_places([make.place("p", name="São Tomé"), make.place("q", name="Tome")], "/places")
    assert ids(catalog.places_by_name(spelling)) == ["p"]


def test_names_come_before_aliases(catalog: Catalog, make) -> None:
    catalog.save_places(
        [
            make.place("a", name="Mumbai", aliases=("Bombay", "Bombaim")),
            make.place("b", name="Bombay"),
            make.place("c", name="BOMBAY", aliases=("bombay",)),
        ],
        "/places",
    )
    assert ids(catalog.places_by_name("bombay")) == ["b", "c", "a"]
    assert ids(catalog.places_by_name("Mumbai")) == ["a"]
    assert catalog.places_by_name("Delhi") == []


def test_a_renamed_place_is_not_found_by_its_old_name(catalog: Catalog, make) -> None:
    catalog.save_places([make.place("p", name="Constantinople", aliases=("Byzantium",))], "/places")
    catalog.save_places([make.place("p", name="Istanbul")], "/places")
    assert catalog.places_by_name("Constantinople") == catalog.places_by_name("byzantium") == []
    assert ids(catalog.places_by_name("istanbul")) == ["p"]


# --- positions ------------------------------------------------------------------------------------------------------


@pytest.fixture
def pacific(catalog: Catalog, make) -> Catalog:
    extent = footprint_from_bbox(BBox(176.8, -19.2, -178.2, -16.1))
    catalog.save_places(
        [
            make.place("fiji", lon=178.0, lat=-17.8, extent=extent),
            make.place("taveuni", lon=-179.99, lat=-16.9),
            make.place("udu", lon=179.98, lat=-16.1),
            make.place("samoa", lon=-172.1, lat=-13.8),
            make.place("greenwich", lon=0.0, lat=51.5),
            make.place("pole", lon=0.0, lat=89.99),
        ],
        "/places",
    )
    return catalog


@pytest.mark.parametrize(
    ("box", "found"),
    [
        ((179.9, -17, -179.9, -16), {"fiji", "taveuni", "udu"}),
        ((-180, -17, -179.9, -16.5), {"fiji", "taveuni"}),
        ((179.9, -17, 180, -16), {"fiji", "udu"}),
        ((-179, -17, -178.5, -16.5), {"fiji"}),
        ((-180, -90, 180, 90), {"fiji", "taveuni", "udu", "samoa", "greenwich", "pole"}),
        ((-1, 51, 1, 52), {"greenwich"}),
        ((170, 51, 10, 52), {"greenwich"}),
        ((10, -17, 20, -16), set()),
    ],
)
def test_places_in_a_box(pacific: Catalog, box: tuple[float, ...], found: set[str]) -> None:
    assert set(ids(pacific.places_in(BBox(*box)))) == found


@pytest.mark.parametrize("batch", [1, 4, 6, 100])
def test_all_places_come_in_parts(pacific: Catalog, batch: int) -> None:
    parts = list(pacific.iter_places(batch))
    assert [place.id for part in parts for place in part] == sorted(ids(pacific.places_in(BBox(-180, -90, 180, 90))))
    assert max(map(len, parts)) <= batch


def test_places_near_from_both_sides_of_the_antimeridian(pacific: Catalog) -> None:
    for lon in (179.999, -179.999):
        near = ids(pacific.places_near(lon, -16.9, 100))
        assert near[0] == "fiji"  # its extent holds the position
        assert near[1:] == ["taveuni", "udu"]
    assert ids(pacific.places_near(-179.999, -16.9, 1.5)) == ["fiji", "taveuni"]
    assert ids(pacific.places_near(-150, 89.99, 5)) == ["pole"]
    assert pacific.places_near(100, 0, 50) == []


def test_nearness_of_a_position_off_earth(pacific: Catalog) -> None:
    with pytest.raises(BadGeometry):
        pacific.places_near(0, 95, 10)


@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    lon=st.floats(-180, 180),
    lat=st.floats(-90, 90),
    azimuth=st.floats(0, 360),
    km=st.floats(1, 13000),
    part=st.sampled_from([0.5, 0.9999, 1.0001, 1.5]),
)
def test_nearness_is_a_circle(
    catalog: Catalog, make, lon: float, lat: float, azimuth: float, km: float, part: float
) -> None:
    """The box that is looked through first holds everything within the distance, in every direction."""
    there_lon, there_lat, _ = Geod(ellps="WGS84").fwd(lon, lat, azimuth, 1000 * km * part)
    catalog.save_places([make.place("p", lon=there_lon, lat=there_lat)], "/places")
    assert bool(catalog.places_near(lon, lat, km)) == (part < 1)


@pytest.mark.parametrize("lat", [0.0, 45.0, 60.0, 80.0])
@pytest.mark.parametrize("azimuth", [0.0, 60.0, 75.0, 85.0, 89.0, 90.0, 180.0, 270.0])
def test_nearness_at_the_edges_of_the_box(catalog: Catalog, make, lat: float, azimuth: float) -> None:
    lon, there, _ = Geod(ellps="WGS84").fwd(0.0, lat, azimuth, 999_900)
    catalog.save_places([make.place("p", lon=lon, lat=there)], "/places")
    assert catalog.places_near(0.0, lat, 1000)


# --- documents and passages -----------------------------------------------------------------------------------------


def test_resolved_in_the_order_asked_for(filled: Catalog, make) -> None:
    resolved = filled.resolve_passages(["passage-2", "unknown", "passage-1"])
    assert list(resolved) == ["passage-2", "passage-1"]
    assert resolved["passage-2"] == (make.passage("passage-2", ordinal=1), make.document(), None)
    assert resolved["passage-1"][2] == make.place("place-1")
    assert list(filled.passages(["passage-2", "unknown", "passage-1"])) == list(resolved)


def test_unknown_ids(filled: Catalog) -> None:
    assert filled.place("x") is None
    assert filled.document("x") is None
    assert filled.passage("x") is None
    assert filled.passages_of_place("x") == []


def test_passages_of_a_place_in_reading_order(filled: Catalog, make) -> None:
    filled.save_passages(
        [make.passage_row("b", ordinal=5, place_id="place-2"), make.passage_row("z", ordinal=2, place_id="place-2")]
    )
    assert ids(filled.passages_of_place("place-2")) == ["z", "b"]
    assert sorted(filled.passage_ids()) == ["b", "passage-1", "passage-2", "z"]


def test_a_passage_may_name_a_place_that_is_not_there_yet(filled: Catalog, make) -> None:
    filled.save_passages([make.passage_row("early", place_id="late")])
    assert filled.resolve_passages(["early"])["early"][2] is None
    filled.save_places([make.place("late")], "/places")
    assert filled.resolve_passages(["early"])["early"][2] == make.place("late")


def test_passages_of_an_unknown_document(filled: Catalog, make) -> None:
    with pytest.raises(CatalogError, match="cannot save passages"):
        filled.save_passages([make.passage_row("good"), make.passage_row("bad", document="nothing")])
    assert filled.passage("good") is None


def test_a_vector_that_is_gone_does_not_stay(filled: Catalog, make) -> None:
    passage, vector = make.passage("passage-2", ordinal=1), make.vector(3)
    filled.save_passages([PassageRow(passage, make.vector(), "model t", vector, "model i")])
    filled.save_passages([PassageRow(passage, None, "model t", vector, "model i")])
    stored = {p.id: vectors for batch in filled.iter_passage_vectors() for p, _, vectors in batch}
    assert list(stored["passage-2"]) == ["image"]
    assert np.array_equal(stored["passage-2"]["image"], vector)


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_every_passage_once(filled: Catalog, make, batch: int) -> None:
    filled.save_passages([PassageRow(make.passage("bare", ordinal=9), None, "model t")])
    rows = [row for found in filled.iter_passage_vectors(batch) for row in found]
    assert [(p.id, place.id if place else None, list(vectors)) for p, place, vectors in rows] == [
        ("bare", None, []),
        ("passage-1", "place-1", ["text"]),
        ("passage-2", None, ["text"]),
    ]


def test_places_by_kind(catalog: Catalog, make) -> None:
    kinds = {"a": "lake", "b": None, "c": "airport", "d": "lake"}
    for key, kind in kinds.items():
        catalog.save_places([make.place(key, kind=kind, source=f"{key}.csv")], f"/{key}.csv")
    assert catalog.place_sorts() == [("lake", "a.csv"), (None, "b.csv"), ("airport", "c.csv"), ("lake", "d.csv")]

    def ids(*wanted: str | None) -> list[str]:
        return [p.id for batch in catalog.iter_places(1, kinds=wanted) for p in batch]

    assert ids("lake", None) == ["a", "b", "d"]
    assert ids("airport") == ["c"]
    assert ids(None) == ["b"]
    assert ids() == ids("river") == []
