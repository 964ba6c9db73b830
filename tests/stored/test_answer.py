"""Answers from stored values: what is in what, what is more, how many there are; and where nothing is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import atlas
import numpy as np
import pytest
from evidence import passage_hit, tile_hit

from rsrag.catalog import Catalog
from rsrag.retrieve import Retrieval
from rsrag.stored.answer import FromValues, from_values
from rsrag.stored.bounds import parted
from rsrag.stored.extremes import extreme
from rsrag.stored.relations import relation
from rsrag.stored.tallies import asks_for
from rsrag.stored.verdicts import decide
from rsrag.types import BBox, Fact, Filters, Hit, Query, QueryImage


def hits() -> tuple[Hit, ...]:
    return tuple(passage_hit(f"about {p.name}", p.name, p) for p in atlas.PLACES)


def ask(catalog: Catalog, question: str, **said: Any) -> FromValues | None:
    return from_values(Query(question, **said), Retrieval((tile_hit(),), hits()), catalog)


def text(catalog: Catalog, question: str, **said: Any) -> str | None:
    told = ask(catalog, question, **said)
    return None if told is None else " ".join(s.text for s in told.sentences) or told.reason


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("Is Akureyri Airport in Iceland?", "Yes: Akureyri Airport is in Iceland."),
        ("Is Akureyri Airport in Akureyri?", "Yes: Akureyri Airport is in Akureyri (city)."),
        ("Is Machu Picchu in Iceland?", "No: the archive gives Peru as the country of Machu Picchu, not Iceland."),
        ("Is Mývatn in Iceland?", "Yes: Mývatn lies within the stored outline of Iceland."),
        ("Is Peru in South America?", "Yes: Peru is in South America (continent)."),
        # what is said without yes or no: no place has just this name, two continents, a sovereign
        ("Is Picchu in Iceland?", "The archive gives Peru as the country of Machu Picchu, not Iceland."),
        (
            "Is Machu Picchu in Asia?",
            "Machu Picchu is in Peru, whose continent the archive gives as South America.",
        ),
        (
            "Is Kulusuk Airport in Denmark?",
            "The archive gives Greenland as the country of Kulusuk Airport, not Denmark, and Denmark as the sovereign "
            "of Greenland.",
        ),
        # a lake without a country: by the outlines of countries
        (
            "Is Mývatn in Europe?",
            "Mývatn lies in the stored outline of Iceland, whose continent the archive gives as Europe.",
        ),
        ("Which country is Mývatn in?", "Mývatn lies in the stored outline of Iceland."),
        ("Is Zorbania in Iceland?", None),
        ("Is Machu Picchu in Zorbania?", None),
    ],
)
def test_what_lies_in_what(catalog: Catalog, question: str, said: str | None) -> None:
    assert text(catalog, question) == said


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("Is Iceland more populous than Greenland?", "Yes: the population (pop est) of Iceland is 339,747"),
        ("Which is more populous, Greenland or Iceland?", "Iceland is more populous: "),
        # 36 m are more than 45 ft
        ("Is Bakki Airport higher than Kulusuk Airport?", "No: the elevation (altitude) of Bakki Airport is 45 ft"),
        ("Was Machu Picchu inscribed before Thingvellir?", "Yes: the year inscribed of Machu Picchu is 1983"),
        ("Is Mývatn larger than Askja Lake?", "Yes: the area of Mývatn is about"),
        ("Is Iceland south of Peru?", "No: the latitude of Iceland is 65.0000° N, that of Peru 10.0000° S."),
        ("How many people live in Iceland?", "The population (pop est) of Iceland is 339,747."),
        ("Which country is Machu Picchu in?", "Machu Picchu is in Peru."),
        ("How far is Akureyri Airport from Bakki Airport?", "Akureyri Airport and Bakki Airport are 254 km apart"),
        ("Is Machu Picchu older than Thingvellir?", None),  # when they were inscribed is not when they were built
        ("Is Mývatn deeper than Askja Lake?", None),
    ],
)
def test_what_is_more(catalog: Catalog, question: str, said: str | None) -> None:
    told = text(catalog, question)
    assert told is None if said is None else str(told).startswith(said)


def test_a_value_that_is_no_passage_stands_in_the_evidence(catalog: Catalog) -> None:
    told = ask(catalog, "Is Mývatn larger than Askja Lake?")
    assert told is not None
    assert told.sentences[0].citations == (1, 2)
    assert [e.hit.title for e in told.evidence] == ["Mývatn", "Askja Lake"]
    assert "km² by its stored outline" in told.evidence[0].text


def test_near_an_outline_nothing_is_decided(catalog: Catalog) -> None:
    edge = atlas.place("Edge", -19, 66.65)
    asked = relation("Is Edge in Iceland?")
    assert asked is not None
    assert decide(asked, catalog, [passage_hit("edge", "Edge", edge)]) == ()


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (
            "How many airports are there in Iceland?",
            "The archive holds 2 airports in Iceland (by country): Akureyri Airport and Bakki Airport.",
        ),
        ("How many airports does the archive hold?", "The archive holds 3 airports: "),
        ("How many airports are in North America?", "The archive holds 1 airport in North America (by the continent"),
        # two kinds are lakes; neither has a country
        ("How many lakes are there in Iceland?", "The archive holds 2 lakes in Iceland (by country, or by position"),
        ("How many cultural sites are there?", "The archive holds 1 cultural site: Thingvellir."),
        ("How many airports are in Greenland?", "The archive holds 1 airport in Greenland (by country): "),
        ("How many stadiums are in Iceland?", "The archive holds 1 stadium in Iceland (by country): Ice Park."),
        ("Are there any lakes in Iceland?", "Yes: the archive holds 2 lakes in Iceland"),
        ("Is there no airport in Iceland?", "The archive holds 2 airports in Iceland (by country): "),
        ("Aren't there any lakes in Iceland?", "The archive holds 2 lakes in Iceland"),
        ("Are there no airports in Peru?", "The archive holds no airport in Peru."),
        ("List the airports in Greenland.", "The archive holds 1 airport in Greenland (by country): Kulusuk Airport."),
        ("Which airports are in Akureyri?", "The archive holds 1 airport in Akureyri (by city): Akureyri Airport."),
        ("Which airports are in Greenland?", "The archive holds 1 airport in Greenland (by country): Kulusuk Airport."),
        ("How many airports are there in Peru?", "The archive holds no airport in Peru."),
        # nothing of the kind, or no such region: for the texts to answer
        ("How many tiles are there?", None),
        ("Is there a lake in Peru?", None),
        ("How many temples are there in Iceland?", None),
        ("How many airports are there in Zorbania?", None),
        ("How many people worked in the quarry?", None),
    ],
)
def test_what_the_archive_holds_is_counted(catalog: Catalog, question: str, said: str | None) -> None:
    told = text(catalog, question)
    assert told is None if said is None else str(told).startswith(said)


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (
            "Which lakes are larger than 50 km²?",
            "The archive holds 1 lake larger than 50 km², of 2 whose area is stored: Mývatn (about 103 km² by its "
            "stored outline).",
        ),
        ("lakes smaller than 20,000 hectares", "The archive holds 2 lakes smaller than 20,000 hectares, of 2 whose"),
        # 36 m are more than 45 ft
        ("How many airports are higher than 100 ft?", "The archive holds 1 airport higher than 100 ft, of 3 whose "),
        (
            "List the airports in Iceland above 10 m.",
            "The archive holds 1 airport in Iceland (by country) above 10 m, ",
        ),
        (
            "Are there airports with an altitude over 30 m?",
            "Yes: the archive holds 1 airport with altitude over 30 m, ",
        ),
        (
            "Which airports in Iceland are higher than 900 m?",
            "The archive holds no airport in Iceland higher than 900 m.",
        ),
        ("Which stadiums have more than 80000 seats?", None),  # no stadium has a capacity
        (
            "Which countries have more than 100,000 people?",
            "The archive holds 1 country with more than 100,000 people, of 1 whose population (pop est) is stored, of "
            "2 in all: Iceland (339,747).",
        ),
        ("Which cultural sites were inscribed after 1990?", "The archive holds 1 cultural site inscribed after 1990, "),
        ("Which volcanoes are higher than 900 m?", None),
        ("How many airports are not in Iceland?", None),
        ("How many fires were larger than 10 km²?", None),
    ],
)
def test_a_limit_to_a_stored_value(catalog: Catalog, question: str, said: str | None) -> None:
    told = text(catalog, question)
    assert told is None if said is None else str(told).startswith(said)


@pytest.mark.parametrize(
    ("question", "measure", "sign", "limit", "rest"),
    [
        ("stadiums with at least 1,500 seats in Peru", "capacity", 1, 1500.0, "stadiums in Peru"),
        ("countries with fewer than 2.5 million people", "population", -1, 2.5e6, "countries"),
        ("lakes that are deeper than 2000 metres", "depth", 1, 2000.0, "lakes"),
        ("stadiums whose capacity is above 60000 in Peru", "capacity", 1, 60000.0, "stadiums in Peru"),
        ("parks with an area of more than 3 square miles", "area", 1, 3 * 2.589988110336, "parks"),
        ("stadiums opened since 1998", "year opened", 1, 1998.0, "stadiums"),
    ],
)
def test_limits_in_the_words_of_a_question(question: str, measure: str, sign: int, limit: float, rest: str) -> None:
    text, bound = parted(question)
    assert bound is not None
    assert (bound.measure.label, bound.sign, " ".join(text.split())) == (measure, sign, rest)
    assert bound.limit == pytest.approx(limit)


@pytest.mark.parametrize("question", ["Are there more than 5 lakes?", "Is A larger than B?", "What is over there?"])
def test_what_is_no_limit_to_a_value(question: str) -> None:
    assert parted(question) == (question, None)


def test_a_count_of_none_is_a_reason_and_no_sentence(catalog: Catalog) -> None:
    told = ask(catalog, "How many airports are there in Peru?")
    assert told is not None
    assert told.sentences == ()
    assert told.reason == "The archive holds no airport in Peru."


def test_counts_keep_to_the_filters(catalog: Catalog) -> None:
    south = Filters(bbox=BBox(-25, 63, -13, 64))
    assert text(catalog, "How many airports are there?", filters=south) == "The archive holds 1 airport: Bakki Airport."
    assert text(catalog, "How many airports are there?", where="Greenland") == (
        "The archive holds 1 airport in Greenland (by country): Kulusuk Airport."
    )


def test_a_question_about_an_image_is_left_to_the_image(catalog: Catalog) -> None:
    image = QueryImage(np.zeros((8, 8, 3), np.uint8), "photo.png")
    assert text(catalog, "How many airports are there in Iceland?", image=image) is None
    assert text(catalog, "Is this image in Iceland?", image=image) is None
    assert text(catalog, "Is Machu Picchu in Peru?", image=image) == "Yes: Machu Picchu is in Peru."


@pytest.mark.parametrize(
    ("question", "noun", "where"),
    [
        ("How many airports are there in Papua New Guinea?", "airports", "Papua New Guinea"),
        ("What is the number of lakes in the Sahel?", "lakes", "the Sahel"),
        ("How many scenes does the archive hold?", "scenes", ""),
        ("How many images are there before 2012?", "images", "before 2012"),
        ("How many images are stored from 2012?", "images", "2012"),
        ("Show me all natural sites in Cuba", "natural sites", "Cuba"),
    ],
)
def test_what_is_counted_and_where_is_read(question: str, noun: str, where: str) -> None:
    asked = asks_for(question)
    assert asked is not None
    assert (asked.noun, asked.where) == (noun, where)


@pytest.mark.parametrize(
    "question", ["When was Angkor built?", "Name the old king who had the great western temple built in Angkor"]
)
def test_other_questions_want_no_count(question: str) -> None:
    assert asks_for(question) is None


# --- the greatest ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (
            "Which is the highest airport?",
            "Of the 3 airports that the archive holds, Kulusuk Airport is the highest: elevation (altitude) 36 m; next "
            "is Bakki Airport: 45 ft.",
        ),
        (
            "What is the lowest airport in Iceland?",
            "Of the 2 airports in Iceland that the archive holds (by country), Akureyri Airport is the lowest: "
            "elevation (altitude) 6 ft; next is Bakki Airport: 45 ft.",
        ),
        (
            "What are the two highest airports?",
            "Of the 3 airports that the archive holds, the 2 highest are Kulusuk Airport: elevation (altitude) 36 m "
            "and Bakki Airport: 45 ft.",
        ),
        ("What are the five highest airports?", None),  # there are three
        ("northernmost airport", "Akureyri Airport is the northernmost: latitude 65.6600° N"),
        (
            "Which country is the northernmost in the world?",
            "Of the 2 countries that the archive holds, Iceland",
        ),
        ("Which country is the northernmost in South America?", None),  # one alone
        ("Name the most northern airport.", "Akureyri Airport is the most northern: latitude 65.6600° N; next is Kulu"),
        (
            "Which airport in the archive is the westernmost?",
            "Kulusuk Airport is the westernmost: longitude 37.1200° W",
        ),
        ("Which is the largest lake?", "Mývatn is the largest: area about 103 km² by its stored outline"),
        # Askja's country is none that is known, Mývatn has none: both lie in the outline of Iceland
        (
            "What is the largest lake in Europe?",
            "Of the 2 lakes in Europe that the archive holds (by the continent stored of their country, or by position "
            "where none is stored), Mývatn is the largest",
        ),
        (
            "Which airport has the highest elevation?",
            "Kulusuk Airport is the one with the highest elevation: elevation (altitude) 36 m; next is Bakki Airport",
        ),
        ("Which airport in Iceland has the lowest altitude?", "Akureyri Airport is the one with the lowest altitude"),
        ("What is the smallest lake by area in Iceland?", "Askja Lake is the one with the smallest area: area about"),
        ("Which country has the largest population?", None),  # only one of the two has people
        ("Which lake has the largest number of fish?", None),
        ("What is the largest lake in South America?", None),
        ("Which country is the most populous?", None),  # only one of the two has people
        ("Which country is the tallest?", None),
        ("Which country is the northernmost in Zorbania?", None),
        ("Which is the deepest lake?", None),  # no depths
        (
            "Which is the second highest airport?",
            "Bakki Airport is the second highest: elevation (altitude) 45 ft; before it is Kulusuk Airport: 36 m; next "
            "is Akureyri Airport: 6 ft.",
        ),
        (
            "Which airport has the 3rd highest altitude?",
            "Akureyri Airport is the one with the third highest altitude: ",
        ),
        ("Which is the fourth highest airport?", None),  # there are three
        ("Which is the highest airport in Zorbania?", None),
        ("Which is the highest volcano?", None),
        ("Which is the tallest?", None),
    ],
)
def test_the_greatest_of_what_is_stored(catalog: Catalog, question: str, said: str | None) -> None:
    told = text(catalog, question)
    assert told is None if said is None else said in str(told)


def test_the_greatest_is_cited_with_the_next(catalog: Catalog) -> None:
    told = ask(catalog, "Which is the highest airport?")
    assert told is not None and told.why == "values/extreme"
    assert [e.hit.title for e in told.evidence] == ["Kulusuk Airport", "Bakki Airport"]
    assert told.sentences[0].citations == (1, 2)


def test_a_place_said_beside_the_question_is_the_region(catalog: Catalog) -> None:
    told = text(catalog, "Which is the highest airport?", where="Iceland")
    assert told is not None and "Bakki Airport is the highest" in told
    assert text(catalog, "Which is the highest airport in Iceland?", where="Greenland") is None
    assert text(catalog, "Which is the highest airport?", where=(-20.0, 64.0)) is None


def test_what_a_text_tells_of_the_greatest_comes_first(catalog: Catalog) -> None:
    told = passage_hit("k", "Kulusuk Airport is the highest airport of them all.", atlas.PLACES[5])
    other = passage_hit("v", "The airport has the highest number of guests of all.", atlas.PLACES[5])
    cap = passage_hit("i", "Vatnajökull is the highest ice cap of Iceland.", atlas.PLACES[0])
    query = Query("Which is the highest airport?")
    assert from_values(query, Retrieval((), (*hits(), told)), catalog) is None
    assert from_values(query, Retrieval((), (*hits(), other)), catalog) is not None
    assert from_values(query, Retrieval((), (*hits(), cap)), catalog) is not None


def test_places_are_read_whatever_was_found(catalog: Catalog) -> None:
    asked = {"How many airports are there?": "holds 3 airports", "Which is the largest lake?": "Mývatn is the largest"}
    for question, said in asked.items():
        told = from_values(Query(question), Retrieval((), ()), catalog)
        assert told is not None and said in told.sentences[0].text


def test_places_round_the_earth_have_no_easternmost(tmp_path: Path) -> None:
    with Catalog.open(tmp_path / "catalog.sqlite") as own:
        ports = [atlas.place(f"Port {lon}", lon, 10.0 + lon / 100, "port") for lon in (-170, 0, 170)]
        own.save_places(ports, "ports.geojson")
        found = Retrieval((), tuple(passage_hit(f"about {p.name}", p.name, p) for p in ports))
        assert extreme(Query("What is the easternmost port in the world?"), found, own) is None
        told = extreme(Query("What is the northernmost port in the world?"), found, own)
        assert told is not None and "Port 170 is the northernmost" in told.text


def test_a_stadium_is_large_by_its_capacity(tmp_path: Path) -> None:
    with Catalog.open(tmp_path / "catalog.sqlite") as own:
        seats = (Fact("capacity", 20_000.0, "1"), Fact("capacity", 50_000.0, "1"))
        stadiums = [atlas.place(f"Park {n}", n, 1.0, "stadium", "Spain", facts=[f]) for n, f in enumerate(seats)]
        own.save_places(stadiums, "stadiums.csv")
        found = Retrieval((), tuple(passage_hit(f"about {p.name}", p.name, p) for p in stadiums))
        told = extreme(Query("Which stadium is the largest in Spain?"), found, own)
        assert told is not None and "Park 1 is the largest: capacity 50,000; next is Park 0" in told.text


def test_places_of_the_same_value_share_it(tmp_path: Path) -> None:
    with Catalog.open(tmp_path / "catalog.sqlite") as own:
        heights = (30.0, 30.0, 30.0, 10.0)
        towers = [
            atlas.place(f"Tower {n}", n, 1.0, "tower", facts=[Fact("height", h, "m")]) for n, h in enumerate(heights)
        ]
        towers.append(atlas.place("Tower 4", 4, 1.0, "tower"))
        own.save_places(towers, "towers.geojson")
        found = Retrieval((), tuple(passage_hit(f"about {p.name}", p.name, p) for p in towers))
        told = extreme(Query("Which is the tallest tower?"), found, own)
        assert told is not None
        assert told.text == (
            "Of the 4 towers whose height is stored, of 5 that the archive holds, Tower 0, Tower 1 and 1 more are "
            "level as the tallest: height 30 m."
        )
