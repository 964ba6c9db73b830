"""Questions on how two named things stand to each other, taken apart by rules."""

from __future__ import annotations

import pytest

from rsrag.stored.relations import relation, says


@pytest.mark.parametrize(
    ("question", "kind", "first", "second"),
    [
        ("Is Venice in France?", "within", "Venice", "France"),
        ("Are the Faroe Islands part of Denmark?", "within", "Faroe Islands", "Denmark"),
        ("Does Lake Ohrid lie in Albania?", "within", "Lake Ohrid", "Albania"),
        ("How far is Berlin from Paris?", "distance", "Berlin", "Paris"),
        ("What is the distance between Angkor and Petra?", "distance", "Angkor", "Petra"),
        ("Is the Taj Mahal older than Machu Picchu?", "compare", "Taj Mahal", "Machu Picchu"),
        ("Which is larger, Germany or France?", "compare", "Germany", "France"),
        ("Which of Germany and France is larger?", "compare", "Germany", "France"),
        ("What is the population of Iceland?", "value", "Iceland", ""),
        ("How many people live in Iceland?", "value", "Iceland", ""),
        ("In which country does Robben Island lie?", "value", "Robben Island", ""),
    ],
)
def test_a_relation_is_read(question: str, kind: str, first: str, second: str) -> None:
    found = relation(question)
    assert found is not None
    assert (found.kind, found.first, found.second) == (kind, first, second)


@pytest.mark.parametrize(
    ("question", "label", "sign"),
    [
        ("Is Lake A larger than Lake B?", "area", 1),
        ("Is Lake A shallower than Lake B?", "depth", -1),
        ("Is A older than B?", "beginning", -1),
        ("Is Brazil more populous than India?", "population", 1),
        ("Does A have a smaller population than B?", "population", -1),
        ("Is the altitude of A lower than that of B?", "elevation", -1),
        ("Is Berlin north of Madrid?", "latitude", 1),
        ("Is Berlin further west than Madrid?", "longitude", -1),
        ("Was A inscribed before B?", "year inscribed", -1),
    ],
)
def test_a_comparison_says_by_what_and_which_way(question: str, label: str, sign: int) -> None:
    found = relation(question)
    assert found is not None
    assert found.measure is not None
    assert (found.measure.label, found.sign) == (label, sign)


@pytest.mark.parametrize(
    "question",
    [
        "",
        "Where is Angkor?",
        "Is there a lake in Kenya?",
        "Is this in France?",
        "How far is it from the coast?",
        "What is it?",
        "Is Iceland not in Europe?",  # "yes" would say the opposite
        "Isn't Kenya larger than Nepal?",
    ],
)
def test_other_questions_ask_about_none(question: str) -> None:
    assert relation(question) is None


def test_a_sentence_that_only_names_both_does_not_tell_the_relation() -> None:
    inside = relation("Is Corfu in France?")
    larger = relation("Is Germany larger than France?")
    far = relation("How far is Berlin from Paris?")
    assert inside is not None and larger is not None and far is not None
    assert not says(inside, "Corfu came under French control, until France withdrew.")
    assert says(inside, "It is the largest island in southern France.", about="Corfu")
    assert not says(larger, "It covers a large part of Germany and northern France.")
    assert says(larger, "By area France is larger than Germany.")
    assert not says(far, "The road from Berlin to Paris is old.")
    assert says(far, "Berlin and Paris are 878 km apart.")
