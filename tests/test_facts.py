from __future__ import annotations

from dataclasses import replace

import pytest
from evidence import DESERT, LAKE, evidence, passage_hit, tile_hit

from rsrag.facts import (
    THERE,
    distance_text,
    fact_answers,
    fact_sentences,
    position_text,
    split_name,
    tile_sentences,
    value_text,
)
from rsrag.questions import understand
from rsrag.times import parse_span
from rsrag.types import Fact, Hit, Place


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("ndvi_mean", ("ndvi", "mean")),
        ("mean_ndvi", ("ndvi", "mean")),
        ("area_km2", ("area", "")),
        ("valid_fraction", ("valid_fraction", "")),
        ("red_std", ("red", "spread")),
        ("ALBEDO", ("albedo", "")),
    ],
)
def test_names_are_quantity_and_statistic(name: str, parts: tuple[str, str]) -> None:
    assert split_name(name) == parts


@pytest.mark.parametrize(
    ("fact", "text"),
    [
        (Fact("ndvi", 0.43123), "0.431"),
        (Fact("ndvi", -0.0001), "0"),
        (Fact("area", 6.55361, "km2"), "6.554 km²"),
        (Fact("area", 68870.4, "km2"), "68,870 km²"),
        (Fact("depth", 0.01234, "m"), "0.01234 m"),
        (Fact("t", -12.5, "degC"), "-12.5 °C"),
        (Fact("share", 95.0, "percent"), "95%"),
        (Fact("kind", "lake"), "lake"),
        (Fact("year_inscribed", 1983.0), "1983"),
        (Fact("opened", 1902.0, "1"), "1902"),
        (Fact("capacity", 1902.0, "1"), "1,902"),
        (Fact("mean_grey", -6.86264e29, "DN"), "-6.863e+29 DN"),
        (Fact("ratio", 2e16, "1"), "2.000e+16"),
        (Fact("area", 2.55e12, "m2"), "2.55e+12 m²"),
        (Fact("x", float("nan")), "unknown"),
    ],
)
def test_values_carry_their_units(fact: Fact, text: str) -> None:
    assert value_text(fact) == text


def test_one_sentence_a_quantity() -> None:
    facts = [Fact("ndvi_mean", 0.4), Fact("ndvi_std", 0.1), Fact("brightness_mean", 0.25)]
    assert fact_sentences(facts) == ["NDVI: mean 0.4, spread 0.1.", "Brightness: mean 0.25."]


def test_positions_name_their_hemispheres() -> None:
    assert position_text(-70.5, -33.25) == "33.2500° S, 70.5000° W"


def test_a_tile_tells_scene_date_sensor_position_and_resolution() -> None:
    text = " ".join(tile_sentences(tile_hit()))
    for part in ("s1.tif", "2020-05-31", "Sentinel-2", "13.1000° N, 14.1000° E", "km²", "20 m", "NDVI: mean 0.431"):
        assert part in text
    unknown = " ".join(tile_sentences(tile_hit(box=None, when=None)))
    assert "unknown date" in unknown and "no known position" in unknown


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is the NDVI of this tile?", "The NDVI of the tile of s1.tif averages 0.431 (spread 0.1)."),
        ("When was this image taken?", "The image s1.tif was taken 2020-05-31."),
        ("When was s1.tif taken?", "The image s1.tif was taken 2020-05-31."),
        ("Which satellite took it?", "The image s1.tif was taken by Sentinel-2."),
        ("What are the coordinates?", "The tile of s1.tif is centred at 13.1000° N, 14.1000° E."),
        ("What is the resolution?", "One pixel of s1.tif is 10 m on the ground."),
    ],
)
def test_values_answer_questions_for_them(question: str, answer: str) -> None:
    assert fact_answers(understand(question), evidence(tile_hit())) == [(answer, 1)]


def test_a_value_of_a_place_answers_only_when_nothing_else_is_asked() -> None:
    lake = Place(**{**{k: getattr(LAKE, k) for k in ("id", "name", "source", "lon", "lat", "kind")},
                    "facts": (Fact("area_km2", 1540.0, "km2"),)})  # fmt: skip
    found = evidence(passage_hit("a", "A lake.", lake))
    assert fact_answers(understand("What is the area of Lake Chad?"), found) == [
        ("The area of Lake Chad is 1,540 km².", 1)
    ]
    assert fact_answers(understand("What is the area of the island in Lake Chad?"), found) == []


def test_month_and_year_choose_the_value() -> None:
    january = passage_hit("a", "Measured.", DESERT, when="2019-01", facts=[Fact("ALBEDO", 0.31)])
    march = passage_hit("b", "Measured again.", DESERT, when="2019-03", facts=[Fact("ALBEDO", 0.27)])
    found = evidence(january, march)
    asked = understand("What is the ALBEDO value of the Namib in March 2019?")
    assert fact_answers(asked, found) == [("The albedo of Namib in 2019-03 is 0.27.", 2)]
    assert fact_answers(understand("What is the ALBEDO of the Namib in June 2019?"), found) == []


def test_without_such_a_value_there_is_no_answer() -> None:
    assert fact_answers(understand("What is the NDVI?"), evidence(tile_hit(facts=()))) == []
    assert fact_answers(understand("When was this image taken?"), evidence(tile_hit(when=None))) == []


@pytest.mark.parametrize(
    ("km", "text"),
    [(0.0067, "7 m"), (0.0001, "1 m"), (0.9, "900 m"), (1.25, "1.2 km"), (15, "15 km"), (1234.5, "1,234 km")],
)
def test_distances_for_people(km: float, text: str) -> None:
    assert distance_text(km) == text


def dated_tile(name: str, when: str, ndvi: float) -> Hit:
    return tile_hit(name, scene=name, when=when, facts=(Fact("ndvi_mean", ndvi),))


FOUR_DATES = [dated_tile(f"d{when[:4]}", when, ndvi) for when, ndvi in
              (("2012-07-31", 0.25), ("2009-08-18", 0.12), ("2017-08-27", 0.07), ("2020-08-31", 0.14))]  # fmt: skip


@pytest.mark.parametrize(
    ("question", "scene"),
    [
        ("What is the NDVI between 2010 and 2015?", "d2012"),
        ("What was the NDVI before 2012?", "d2009"),
        ("What was the NDVI after 2017?", "d2020"),
        ("What is the NDVI since 2017?", "d2017"),
        ("What was the NDVI in the 2010s?", "d2012"),
        ("What was the NDVI after July 2012?", "d2017"),
        ("What was the NDVI in August?", "d2009"),
        ("What was the NDVI in August between 2010 and 2018?", "d2017"),
        ("What is the highest NDVI?", "d2012"),
        ("What was the lowest NDVI before 2015?", "d2009"),
        ("What is the NDVI of d2020.tif?", "d2020"),
        ("Compute the NDVI in 2009", "d2009"),
        ("What was the NDVI before 1999?", None),
        ("What was the NDVI in the 1990s?", None),
        ("What is the NDVI of other.tif?", None),
        ("What is the NDVI of Lake Baikal?", None),
    ],
)
def test_a_value_is_that_of_the_time_file_and_name_in_the_question(question: str, scene: str | None) -> None:
    found = fact_answers(understand(question), evidence(*FOUR_DATES))
    assert [text.partition("tile of ")[2].partition(".tif")[0] for text, _ in found] == ([scene] if scene else [])


def test_a_month_may_lie_in_a_winter_of_two_years() -> None:
    winter = tile_hit(when=None)
    assert winter.scene is not None
    winter = replace(winter, scene=replace(winter.scene, time=parse_span("2019-12-01/2020-02-15")))
    assert fact_answers(understand("What is the NDVI in January?"), evidence(winter))
    assert not fact_answers(understand("What is the NDVI in June?"), evidence(winter))


def test_when_a_value_was_lowest_is_told_with_its_date() -> None:
    ((text, number),) = fact_answers(understand("When was the NDVI lowest?"), evidence(*FOUR_DATES))
    assert number == 3 and text == "The NDVI of the tile of d2017.tif, taken 2017-08-27, averages 0.07."


def test_coordinates_are_those_of_the_place_named() -> None:
    found = evidence(tile_hit(), passage_hit("a", "It is deep.", LAKE), passage_hit("b", "It is dry.", DESERT))
    assert fact_answers(understand("What are the coordinates of the Namib?"), found) == [
        ("Namib lies at 24.0000° S, 15.0000° E.", 3)
    ]
    assert fact_answers(understand("What is the latitude of namib?"), found)[0][1] == 3
    assert fact_answers(understand("What are the coordinates of Atlantis?"), found) == []
    there = evidence(replace(tile_hit(), scores={THERE: 1.0}))
    assert fact_answers(understand("What are the coordinates of the Sahel?"), there)


@pytest.mark.parametrize(
    ("question", "day"),
    [
        ("How recent is the latest image?", "2020-08-31"),
        ("When was the oldest image taken?", "2009-08-18"),
        ("When was the last image taken before 2018?", "2017-08-27"),
    ],
)
def test_the_latest_and_the_earliest_date(question: str, day: str) -> None:
    ((text, _),) = fact_answers(understand(question), evidence(*FOUR_DATES))
    assert day in text
