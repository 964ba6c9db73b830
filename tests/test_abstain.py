from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evidence import DESERT, DESERT_TEXT, LAKE, LAKE_TEXT, passage_hit, tile_hit

from rsrag.abstain import (
    FEATURES,
    Calibration,
    confidence,
    count_factor,
    features,
    named_relation,
    names_factor,
    probability,
    relation_factor,
    should_abstain,
    superlative_factor,
    why,
)
from rsrag.alike import WordSpace
from rsrag.config import Settings
from rsrag.errors import BadModelFile
from rsrag.types import Hit, Location

SETTINGS = Settings()


def hits(rerank: tuple[float, float]) -> tuple[Hit, ...]:
    strong = {"bm25": 12.0, "dense": 0.7, "rerank": rerank[0]}
    weak = {"bm25": 2.0, "dense": 0.3, "rerank": rerank[1]}
    return (
        passage_hit("a", LAKE_TEXT, LAKE, rerank[0], scores=strong),
        passage_hit("b", DESERT_TEXT, DESERT, rerank[1], scores=weak),
    )


GOOD = hits((0.99, 0.05))
POOR = hits((0.2, 0.19))


def test_good_evidence_is_trusted_and_missing_evidence_is_not() -> None:
    good = confidence("How deep was Lake Chad in 1972?", GOOD, SETTINGS)
    poor = confidence("Which opera house staged the first performance of Aida?", POOR, SETTINGS)
    assert good > 0.8 and not should_abstain(good)
    assert poor < good and should_abstain(poor)


def test_nothing_found_is_no_confidence() -> None:
    assert confidence("How deep is it?", (), SETTINGS) == 0.0
    assert features("q", (), WordSpace.shared(SETTINGS)).tolist() == [0.0] * len(FEATURES)


def test_features_measure_what_they_say() -> None:
    space = WordSpace.shared(SETTINGS)
    figures = dict(zip(FEATURES, features("How deep was Lake Chad?", GOOD, space), strict=True))
    assert figures["margin"] == pytest.approx(6.0)
    assert figures["dense"] == 0.7 and figures["agree"] == 2.0
    assert figures["known"] == 1.0 and figures["like"] == 1.0 and figures["kind"] == 1.0
    other = dict(zip(FEATURES, features("How heavy was Lake Chad?", POOR, space), strict=True))
    assert other["kind"] == 0.0 and other["margin"] < 0.1 and other["known"] < 1.0


def test_the_greatest_of_all_is_not_taken_from_a_region() -> None:
    region = (passage_hit("a", "Lake Three is the deepest lake in North America, at 614 m.", LAKE),)
    assert superlative_factor("Which lake is the deepest?", region) == 0.3
    assert superlative_factor("Which lake in North America is the deepest?", region) == 1.0
    assert superlative_factor("Which is the most northern lake?", region) == 0.3
    assert superlative_factor("Which lake is further north, Three or Four?", region) == 1.0
    first = passage_hit("b", "Lake One is the deepest lake in the world, at 1,642 m.", LAKE)
    assert superlative_factor("Which lake is the deepest?", (*region, first)) == 1.0
    assert (
        superlative_factor("How deep is the lake?", region) == superlative_factor("Which is the widest?", region) == 1.0
    )


def test_a_short_question_with_an_unknown_name_is_declined() -> None:
    known = confidence("How deep was Lake Chad?", GOOD, SETTINGS)
    unknown = confidence("How deep was Lake Vostok?", GOOD, SETTINGS)
    assert unknown < known / 2
    assert names_factor("How deep was Lake Vostok?", GOOD) == 0.25
    assert names_factor("How deep is the Chadian lake?", GOOD) == 1.0
    assert names_factor("How deep is the lake?", GOOD) == 1.0


NOWHERE = "It was the way to nowhere. Tools of the iron age were found near the old harbour. Chad is far."


@pytest.mark.parametrize(
    ("question", "factor"),
    [
        ("How deep is Lake Nowhere?", 0.25),
        ("How deep is lake nowhere?", 1.0),
        ("HOW DEEP IS LAKE NOWHERE?", 1.0),
        ("How Deep Is Lake Nowhere?", 1.0),
        ("How deep was Lake Chad in the Iron Age?", 1.0),
        ("How deep is Chad Harbour?", 1.0),
    ],
)
def test_a_word_without_a_capital_is_no_name(question: str, factor: float) -> None:
    assert names_factor(question, (passage_hit("a", f"{LAKE_TEXT} {NOWHERE}", LAKE, 0.9),)) == factor


def test_names_in_texts_and_of_places_without_capitals_are_known() -> None:
    lower = (passage_hit("a", LAKE_TEXT.lower(), None, 0.9),)
    assert names_factor("How deep was Lake Chad?", lower) == 1.0
    place = replace(LAKE, name="blue lagoon")
    assert names_factor("How deep is Blue Lagoon?", (passage_hit("a", "Depth: 12 m.", place, 0.9),)) == 1.0


def test_an_unknown_name_of_several_words_counts_in_long_questions_too() -> None:
    tail = "according to the measurements published by the hydrological survey teams?"
    assert names_factor(f"How deep was Zanzibar Heights in 1972 {tail}", GOOD) == 0.3
    assert names_factor(f"How deep was Lake Chad in 1972 {tail}", GOOD) == 1.0
    assert names_factor(f"How deep was the water of the Iron Age in 1972 {tail}", GOOD) == 1.0
    assert names_factor(f"How deep was the Bolivian water in 1972 {tail}", GOOD) == 1.0


def test_a_stored_value_answers_for_itself() -> None:
    assert confidence("What is the NDVI of the tile?", (), SETTINGS, tiles=[tile_hit()]) >= 0.9


def test_with_an_image_everything_hangs_on_recognising_its_place() -> None:
    def ask(question: str, value: float) -> float:
        location = Location(14.0, 13.0, "geometry", value, 1.0)
        return confidence(question, GOOD, SETTINGS, tiles=[tile_hit()], location=location, image=True)

    assert ask("What is this?", 0.9) == 0.9
    assert ask("What is this?", 0.1) == 0.1
    assert ask("What is the NDVI here?", 0.3) == 0.3
    assert 0.36 <= ask("How deep is this lake?", 0.9) <= 0.9
    assert ask("How deep is this lake?", 0.9) > ask("How heavy is this temple?", 0.9)
    assert confidence("What is this?", GOOD, SETTINGS, tiles=[tile_hit()], image=True) == 0.0


def test_the_shipped_calibration_says_how_it_was_made() -> None:
    stored = json.loads((Path(__file__).parents[1] / "rsrag/models/weights/mini/abstention.json").read_text())
    assert set(stored["weights"]) == set(FEATURES)
    assert stored["figures"]["test"]["abstention_recall"] > 0.5
    assert 0 < Calibration.shipped().threshold < 1


def test_probability_is_a_logistic_function() -> None:
    calibration = Calibration((1.0,) * len(FEATURES), -2.0, 0.5)
    assert probability(np.zeros(len(FEATURES)), calibration) == pytest.approx(1 / (1 + np.e**2))
    assert probability(np.full(len(FEATURES), 1e6), calibration) == pytest.approx(1.0)


def test_an_abstention_names_the_nearest_miss() -> None:
    assert "Lake Chad, Namib" in why(POOR)
    assert "nothing" in why(())


def test_a_damaged_calibration_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "abstention.json"
    path.write_text("{}")
    with pytest.raises(BadModelFile, match="calibration"):
        Calibration.read(path)


def test_a_number_of_things_is_not_taken_from_sentences_without_one() -> None:
    one = passage_hit("a", "Balimo Airport is an airport at 8.05°S, 142.933°E; altitude: 51 ft; tz: 10.", LAKE)
    counted = passage_hit("b", "There are fourteen airports around the lake.", LAKE)
    question = "How many airports are there at Lake Chad?"
    assert count_factor(question, (one,)) == 0.3
    assert count_factor(question, (one, counted)) == count_factor("How high is Balimo Airport?", (one,)) == 1.0


@pytest.mark.parametrize(
    ("question", "named"),
    [
        ("Is Lake Zorba larger than Lake Chad?", True),
        ("Is Vladivostok in Asia?", True),
        ("Was the church built in stone?", False),
        ("Is Robben Island a prison in South Africa?", False),
        ("What is the population of Chad?", False),
    ],
)
def test_a_relation_holds_between_named_things(question: str, named: bool) -> None:
    assert (named_relation(question) is not None) is named


def test_a_sentence_that_only_names_both_things_takes_from_the_confidence() -> None:
    both = passage_hit("a", "Lake Chad is older than the Namib is wide.", LAKE)
    assert relation_factor("Is Lake Chad larger than Namib?", [both]) == 0.3
    assert relation_factor("Is Lake Chad older than Namib?", [both]) == 1.0
    assert relation_factor("How deep is Lake Chad?", [both]) == 1.0
