from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsrag.questions import focus, month_number, understand
from rsrag.words import stem


@pytest.mark.parametrize(
    ("text", "asks", "dimensions"),
    [
        ("How tall is the tower?", "number", ("length",)),
        ("What is the area of the lake?", "number", ("area",)),
        ("At least how many inhabitants did the city have?", "number", ("people",)),
        ("How many towers are there?", "number", ("count",)),
        ("How long is the river?", "number", ("length", "duration")),
        ("What percentage is forested?", "number", ("share",)),
        ("How hot is the spring?", "number", ("temperature",)),
        ("In what year was it founded?", "year", ()),
        ("When was the palace completed?", "year", ()),
        ("In the walled town by the sea, in which century did stone take over?", "year", ()),
        ("Who designed the hall?", "who", ()),
        ("Where is Aachen Cathedral?", "where", ()),
        ("Is Timbuktu in Mali?", "yes_no", ()),
        ("Which metal was smelted there?", "which", ()),
        ("Of what rock is the massif made?", "what", ()),
        ("What was the capital of the Iron Age people?", "what", ()),
        ("What interest rate does a five-year account pay?", "what", ()),
        ("What is this?", "describe", ()),
        ("Tell me about the Aral Sea", "describe", ()),
        ("What is Aachen Cathedral?", "describe", ()),
        ("", "describe", ()),
    ],
)
def test_kind_of_answer(text: str, asks: str, dimensions: tuple[str, ...]) -> None:
    asked = understand(text)
    assert (asked.asks, asked.dimensions) == (asks, dimensions)


def test_names_are_runs_of_capitalised_words_without_question_words_and_months() -> None:
    assert understand("What is the height of the Tower of London in May 2019?").names == ("tower of london",)
    assert understand("Which river crosses Novi Sad and Belgrade?").names == ("novi sad and belgrade",)


def test_months_and_years() -> None:
    asked = understand("What was the albedo in January 2019, and in March?")
    assert asked.months == ((1, 2019), (3, None))
    assert asked.years == (2019,)
    assert understand("may I ask?").months == ()
    assert understand("the value for May 2019").months == ((5, 2019),)


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("What is the NDVI of this tile?", ("ndvi",)),
        ("How bright and how green is it?", ("ndvi", "brightness")),
        ("When was this image taken?", ("date",)),
        ("Which satellite took it?", ("sensor",)),
        ("What are its coordinates?", ("coordinates",)),
        ("When was Jerusalem captured by the crusaders?", ()),
        ("What area does the forest cover?", ()),
    ],
)
def test_stored_facts_are_recognised(text: str, variables: tuple[str, ...]) -> None:
    assert understand(text).variables == variables


def test_terms_are_stems_each_once() -> None:
    terms = understand("Which temples hold the temple of temples?").terms
    assert terms == (stem("temples"), stem("hold"))


def test_focus_is_the_asking_word() -> None:
    assert focus("Around which year did it fall?") == 1
    assert focus("Name the king.") == 0


@given(st.text())
def test_any_text_can_be_taken_apart(text: str) -> None:
    asked = understand(text)
    assert len(set(asked.terms)) == len(asked.terms)
    assert all(1 <= m <= 12 for m, _ in asked.months)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("between 2010 and 2015", (2010, 1), (2015, 12)),
        ("from May 2009 to July 2012", (2009, 5), (2012, 7)),
        ("between May and July 2012", (2012, 5), (2012, 7)),
        ("1985/1995", (1985, 1), (1995, 12)),
        ("before 2012", None, (2011, 12)),
        ("until 2012-07-31", None, (2012, 7)),
        ("after July 2012", (2012, 8), None),
        ("since 2018", (2018, 1), None),
        ("from 2012 on", (2012, 1), None),
        ("in the 1990s", (1990, 1), (1999, 12)),
    ],
)
def test_periods(text: str, first: tuple[int, int] | None, last: tuple[int, int] | None) -> None:
    wanted = tuple(month_number(*end) if end else None for end in (first, last))
    dates = understand(f"What was the NDVI {text}?").dates
    assert dates.periods == (wanted,) and dates.months == () and dates.years == ()


@pytest.mark.parametrize("text", ["from 2012", "in May 2012", "on 2012-05-03", "between Rome and 2012"])
def test_a_year_alone_is_no_period(text: str) -> None:
    dates = understand(f"What was the NDVI {text}?").dates
    assert dates.periods == () and dates.years == (2012,)
