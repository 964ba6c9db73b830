from __future__ import annotations

import pytest
from evidence import DESERT, LAKE, evidence, passage_hit, tile_hit

from rsrag.facts import (
    distance_text,
    fact_answers,
    fact_sentences,
    position_text,
    split_name,
    tile_sentences,
    value_text,
)
from rsrag.questions import understand
from rsrag.types import Fact, Place


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
        (Fact("mean_grey", -6.86264e29, "DN"), "-6.863e+29 DN"),
        (Fact("ratio", 2e16, "1"), "2.000e+16"),
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
