"""Texts find the place they are about by id, name or position, and stay unlinked when that is not certain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsrag import geo
from rsrag.ingest.linking import PlaceIndex, name_words
from rsrag.ingest.positions import degrees, positions
from rsrag.types import Fact, Place


def place(id: str, name: str, lon: float = 0.0, lat: float = 0.0, **rest: object) -> Place:
    return Place(id, name, "test", lon, lat, **rest)  # type: ignore[arg-type]


def test_by_id_knows_own_ids_and_those_of_the_source() -> None:
    index = PlaceIndex([place("a", "Aix", facts=(Fact("id", "7"),)), place("b", "Bex", facts=(Fact("id", "8"),))])
    assert index.by_id("a").name == "Aix"  # type: ignore[union-attr]
    assert index.by_id("8").name == "Bex"  # type: ignore[union-attr]
    assert index.by_id("9") is None


def test_an_id_that_two_sources_use_names_neither() -> None:
    index = PlaceIndex([place("a", "Aix", facts=(Fact("id", "7"),)), place("b", "Bex", facts=(Fact("id", "7"),))])
    assert index.by_id("7") is None


@pytest.mark.parametrize("written", ["Þórsmörk", "THORSMORK", "þórsmörk", "Þo\u0301rsmörk"])
def test_names_match_without_case_and_accents(written: str) -> None:
    index = PlaceIndex([place("t", "Þórsmörk")])
    assert index.by_name(written).id == "t"  # type: ignore[union-attr]


def test_aliases_and_a_leading_article_match() -> None:
    index = PlaceIndex([place("g", "The Gambia", aliases=("Republic of The Gambia",))])
    assert index.by_name("gambia").id == "g"  # type: ignore[union-attr]
    assert index.subject("A river in the Republic of the Gambia.").id == "g"  # type: ignore[union-attr]


def test_the_longest_name_wins_and_words_are_whole() -> None:
    index = PlaceIndex([place("y", "York"), place("n", "New York"), place("c", "New York City")])
    assert index.subject("The harbour of New York City is deep.").id == "c"  # type: ignore[union-attr]
    assert index.subject("Yorkshire is large.") is None


def test_a_single_word_counts_only_with_a_capital() -> None:
    index = PlaceIndex([place("n", "Nice")])
    assert index.subject("It is a nice town.") is None
    assert index.subject("The beach of Nice is long.").id == "n"  # type: ignore[union-attr]


def test_the_place_named_most_often_is_the_subject_and_a_tie_is_none() -> None:
    index = PlaceIndex([place("a", "Aachen", 6.1, 50.8), place("b", "Ravenna", 12.2, 44.4)])
    assert index.subject("Aachen follows Ravenna; Aachen has a dome.").id == "a"  # type: ignore[union-attr]
    assert index.subject("Aachen follows Ravenna.") is None


def test_ambiguous_names_are_decided_by_country_or_position_or_not_at_all() -> None:
    index = PlaceIndex(
        [
            place("es", "Valencia", -0.4, 39.5, country="ESP"),
            place("ve", "Valencia", -68.0, 10.2, country="Venezuela"),
        ]
    )
    assert index.by_name("Valencia") is None
    assert index.by_name("Valencia", country="Spain").id == "es"  # type: ignore[union-attr]
    assert index.by_name("Valencia", near=(-68.2, 10.0)).id == "ve"  # type: ignore[union-attr]
    assert index.subject("The port of Valencia.") is None
    assert index.subject("Valencia is a city in Venezuela.").id == "ve"  # type: ignore[union-attr]


def test_the_same_place_from_two_sources_is_not_ambiguous() -> None:
    index = PlaceIndex([place("one", "Petra", 35.44, 30.33), place("two", "Petra", 35.45, 30.33)])
    assert index.by_name("Petra").id == "one"  # type: ignore[union-attr]


def test_adding_a_place_twice_changes_nothing() -> None:
    index = PlaceIndex([place("a", "Aix")])
    index.add(place("a", "Aix"))
    assert len(index) == 1


coordinates = st.tuples(st.floats(-180, 180, width=16), st.floats(-90, 90, width=16))


@given(st.lists(coordinates, min_size=1, max_size=20), coordinates, st.sampled_from([10.0, 300.0, 1000.0]))
def test_nearest_agrees_with_looking_at_every_place(others: list[tuple[float, float]], here, within: float) -> None:  # type: ignore[no-untyped-def]
    index = PlaceIndex(place(str(n), f"Place {n}", *p) for n, p in enumerate(others))
    least = min(geo.distance_km(here, p) for p in others)
    found = index.nearest(here, within)
    if least > within:
        assert found is None
    else:
        assert found is not None
        assert geo.distance_km(here, found.position) == pytest.approx(least)


def test_nearest_looks_across_the_antimeridian() -> None:
    index = PlaceIndex([place("w", "West of it", 179.99, -17.0)])
    assert index.nearest((-179.99, -17.0), 10).id == "w"  # type: ignore[union-attr]


@given(st.text(max_size=60))
def test_any_name_can_be_found_again(name: str) -> None:
    index = PlaceIndex([place("x", name)])
    words = name_words(name)
    usable = sum(map(len, words)) >= 3 and not all(w.isdigit() for w in words)
    assert (index.by_name(name) is not None) == usable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at 46.5°N 7.9°E", (7.9, 46.5)),
        ("at 46°30'N, 7°54'00\"E.", (7.9, 46.5)),
        ("46° 30′ S 7° 54′ W", (-7.9, -46.5)),
        ("N 46.5, E 7.9", (7.9, 46.5)),
        ("lat: 46.5, lon: 7.9", (7.9, 46.5)),
        ("Longitude −7.9, latitude 46.5", (-7.9, 46.5)),
        ("latitude 46.5 S and longitude 7.9 W", (-7.9, -46.5)),
        ("latitude -46.5 S and longitude -7.9 W", (-7.9, -46.5)),
        ("-46.5°S −7.9°W", (-7.9, -46.5)),
    ],
)
def test_positions_in_text(text: str, expected: tuple[float, float]) -> None:
    (found,) = positions(text)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    "text", ["lat: 120, lon: 7", "46.5 and 7.9", "95°N 7°E", "46°75'N 7°E", "-46.5°N 7.9°E", "lat -46.5 N, lon 7"]
)
def test_what_is_no_position_is_not_one(text: str) -> None:
    assert positions(text) == []


@pytest.mark.parametrize(
    ("text", "axis", "value"),
    [
        ("46.5", "lat", 46.5),
        (" -7,25 ", "lon", -7.25),
        ("7.9 W", "lon", -7.9),
        ("S 12°30'", "lat", -12.5),
        ("120", "lat", 120.0),
        ("46°30'36\"N", "lat", 46.51),
        ("-33.5 S", "lat", -33.5),
        ("W −7,9", "lon", -7.9),
    ],
)
def test_one_coordinate(text: str, axis, value: float) -> None:  # type: ignore[no-untyped-def]
    assert degrees(text, axis) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "north", "nan", "inf", "7.9 E", "1 2 3", "N 5 S", "5 N" * 30, "1e999", "-33.5 N"])
def test_what_is_no_latitude_raises(text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        degrees(text, "lat")


@pytest.mark.parametrize(
    ("text", "reason"), [("7,9 O", "west in French and Spanish, east in German"), ("-7.9 E", "contradicts the letter")]
)
def test_an_unclear_longitude_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        degrees(text, "lon")


@given(st.floats(-90, 90), st.floats(-180, 180))
def test_written_positions_are_read_back(lat: float, lon: float) -> None:
    ns, ew = "N" if lat >= 0 else "S", "E" if lon >= 0 else "W"
    (found,) = positions(f"It lies at {abs(lat):.4f}°{ns}, {abs(lon):.4f}°{ew} on a hill.")
    assert found == pytest.approx((lon, lat), abs=1e-4)
