from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsrag.words import STOPWORDS, Weights, coverage, fold, stem, terms, tokens


@pytest.mark.parametrize(
    "forms",
    [
        ("temple", "temples"),
        ("build", "building", "built", "buildings"),
        ("describe", "describes", "described"),
        ("city", "cities"),
        ("construction", "constructions", "constructed"),
        ("high", "highest", "higher"),
        ("foot", "feet"),
    ],
)
def test_forms_of_a_word_share_a_stem(forms: tuple[str, ...]) -> None:
    assert len({stem(f) for f in forms}) == 1


@pytest.mark.parametrize(
    ("one", "other"), [("lake", "lack"), ("island", "isle"), ("port", "portico"), ("1999", "1998")]
)
def test_different_words_stay_apart(one: str, other: str) -> None:
    assert stem(one) != stem(other)


def test_accents_case_and_thousands_separators_do_not_matter() -> None:
    assert tokens("Þórsmörk ÉTÉ 1,234.5") == tokens("þorsmork ete 1234.5")
    assert fold("Göreme") == "goreme"


def test_terms_leave_out_what_carries_no_meaning() -> None:
    assert terms("What is the area of the lake?") == [stem("area"), stem("lake")]
    assert not terms(" ".join(sorted(STOPWORDS)))


@given(st.text())
def test_stemming_any_text_gives_words_without_spaces(text: str) -> None:
    assert all(t and not t.isspace() for t in terms(text))


def test_rare_words_weigh_more_and_unknown_ones_most() -> None:
    weights = Weights([["a", "b"], ["a"], ["a", "c"]])
    assert weights["a"] < weights["b"] < weights["never"]
    assert weights["b"] == pytest.approx(math.log(1 + 2.5 / 1.5))


def test_coverage_is_a_weighted_share() -> None:
    assert coverage(["a", "b"], ["a"]) == 0.5
    assert coverage(["a", "b"], ["a"], Weights([["a", "b"], ["a"]])) < 0.5
    assert coverage([], ["a"]) == 0.0
