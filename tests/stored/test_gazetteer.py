"""Places that a question names, and the countries they are in."""

from __future__ import annotations

from dataclasses import replace

import atlas
from evidence import passage_hit

from rsrag.catalog import Catalog
from rsrag.stored.gazetteer import countries, country_keys, is_country, keys_of_country, named, place_hit
from rsrag.types import Fact


def test_a_name_is_exact_or_part_of_what_was_found(catalog: Catalog) -> None:
    found = [passage_hit(p.id, p.name, p) for p in atlas.PLACES]
    exact = named(catalog, "machu picchu", found)
    assert exact.exact and [p.name for p in exact.places] == ["Machu Picchu"]
    begins = named(catalog, "Bakki", found)
    assert not begins.exact and [p.name for p in begins.places] == ["Bakki Airport"]
    assert [p.name for p in named(catalog, "airport of Bakki", found).places] == ["Bakki Airport"]
    assert named(catalog, "Zorbania", found).places == ()


def test_a_country_may_be_several_and_has_no_digit() -> None:
    both = atlas.place("Fertö", 16.7, 47.7, country="Austria; Hungary")
    assert {"austria", "hungary"} <= country_keys(both)
    assert country_keys(replace(both, country="admin-0")) == frozenset()
    assert country_keys(replace(both, country=None)) == frozenset()


def test_a_country_has_several_names() -> None:
    states = atlas.place("United States of America", -98, 39, "country", "United States of America",
                         facts=[Fact("iso_a2", "US")])  # fmt: skip
    assert is_country(states)
    assert keys_of_country("America", [states]) == {"america", "united states of america", "united states"}
    assert keys_of_country("Peru", []) == {"peru"} and "peru" in countries()
    assert keys_of_country("Zorbania", []) == frozenset()


def test_a_place_is_cited_by_its_passage(catalog: Catalog) -> None:
    hit = place_hit(catalog, atlas.PLACES[0])
    assert hit.passage is not None and hit.passage.text == "Iceland is told of."
    assert hit.document is not None and hit.title == "Iceland"
    bare = place_hit(catalog, replace(atlas.PLACES[0], id="unknown"))
    assert bare.passage is None and bare.id == "unknown"
