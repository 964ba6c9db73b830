"""A question about a named place is not answered from passages about others."""

from __future__ import annotations

import atlas
import pytest
from evidence import passage_hit

from rsrag.catalog import Catalog
from rsrag.stored.meant import about_it
from rsrag.types import Hit

PLACES = {p.name: p for p in atlas.PLACES}
BIRDS = passage_hit("birds", "Mývatn, north of Askja Lake, has 115 species of birds.", PLACES["Mývatn"])
ASH = passage_hit("ash", "The ash fell in 1875.", PLACES["Askja Lake"])
TOWN = passage_hit("town", "Founded in 1983.", PLACES["Machu Picchu"])
BOOK = passage_hit("book", "There are 75 species in the highlands.", None)


def kept(catalog: Catalog, question: str, *hits: Hit) -> list[str]:
    return [h.id for h in about_it(question, hits, catalog)]


@pytest.mark.parametrize(
    ("question", "ids"),
    [
        # a number or year of the place that is named, not of one that its text names
        ("How many bird species live in Askja Lake?", ["ash", "book"]),
        ("How many bird species does Askja Lake have?", ["ash", "book"]),
        ("When was Askja Lake formed?", ["ash", "book"]),
        ("How many bird species live in Mývatn?", ["birds", "book"]),
        # what lies beside it, and what is no number, may be told under another place that names it
        ("How many bird species live north of Askja Lake?", ["birds", "ash", "book"]),
        ("What is known about Askja Lake?", ["birds", "ash", "book"]),
        # a country: what is in it, by its outline where no country is stored
        ("When did the ash fall in Iceland?", ["birds", "ash", "book"]),
        ("When was the town in Peru founded?", ["town", "book"]),
        # two names, none that the archive knows as a place, none where that of a place stands
        ("Are there more birds in Mývatn or in Peru?", ["birds", "town", "book"]),
        ("How many bird species live in Lake Zorba?", ["birds", "ash", "town", "book"]),
        ("How many birds did Iceland lose?", ["birds", "ash", "town", "book"]),
        ("How many bird species live here?", ["birds", "ash", "town", "book"]),
    ],
)
def test_passages_about_another_place_than_the_one_that_is_named_are_left_out(
    catalog: Catalog, question: str, ids: list[str]
) -> None:
    assert kept(catalog, question, BIRDS, ASH, TOWN, BOOK) == ids


def test_a_place_whose_name_holds_the_one_that_is_asked_for_stays(catalog: Catalog) -> None:
    park = atlas.place("National Park of Askja Lake", -22.0, 64.0)
    hit = passage_hit("park", "Opened in 1990.", park)
    assert kept(catalog, "When was Askja Lake opened?", hit, TOWN) == ["park"]


def test_a_place_that_is_named_after_it_is_not_it(catalog: Catalog) -> None:
    airport = atlas.place("Sultan Askja Lake Airport", 102.0, 6.0)
    hit = passage_hit("airport", "Sultan Askja Lake Airport is an airport.", airport)
    assert kept(catalog, "Which airports are near Askja Lake?", hit, ASH) == ["ash"]


def test_the_shore_of_a_lake_is_not_the_lake(catalog: Catalog) -> None:
    shore = atlas.place("Temple", -17.2, 65.5)
    hit = passage_hit("temple", "It lies near Mývatn, 3,850 m high.", shore)
    assert kept(catalog, "How deep is Mývatn?", hit, BIRDS) == ["birds"]
    assert kept(catalog, "How old is the temple in Iceland?", hit) == ["temple"]
