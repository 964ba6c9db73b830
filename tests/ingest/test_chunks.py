"""Sentences are found where a reader would find them, and passages are whole sentences of a useful size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsrag.ingest.chunks import (
    ENOUGH_WORDS,
    LONGEST_SENTENCE,
    MOST_WORDS,
    size_in_words,
    split_passages,
    split_sentences,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The lake is 1.5 km wide. It froze.", ["The lake is 1.5 km wide.", "It froze."]),
        ("St. Gallen lies on Mt. Rosen. Dr. Keller left.", ["St. Gallen lies on Mt. Rosen.", "Dr. Keller left."]),
        ("Built c. 1200 BC by J. R. Smith. It fell.", ["Built c. 1200 BC by J. R. Smith.", "It fell."]),
        ("Walls of approx. 5 m. Gates of 3 m.", ["Walls of approx. 5 m.", "Gates of 3 m."]),
        ("He ruled in the U.S. The state grew.", ["He ruled in the U.S.", "The state grew."]),
        ("The U.S. Geological Survey came.", ["The U.S. Geological Survey came."]),
        ("Begun in 1985. Opened in 1990.", ["Begun in 1985.", "Opened in 1990."]),
        ("World War I. The end.", ["World War I.", "The end."]),
        ('She said "Go there." He left.', ['She said "Go there."', "He left."]),
        ("He asked “why?” and went on.", ["He asked “why?” and went on."]),
        ("Is it old? Yes! Very.", ["Is it old?", "Yes!", "Very."]),
        ("It rose … and fell. Done.", ["It rose … and fell.", "Done."]),
        ("It has a wall.[1][2] It has a gate.", ["It has a wall.[1][2]", "It has a gate."]),
        ("(It is old.) Nobody knows.", ["(It is old.)", "Nobody knows."]),
        ("1. First thing. 2. Second thing.", ["1. First thing.", "2. Second thing."]),
        ("- one\n- two. Three\n\nNew", ["- one", "- two.", "Three", "New"]),
        ("a line\nbroken by\nwrapping.", ["a line broken by wrapping."]),
        ("Palmen, e.g. Kokos, etc. It grows, i.e. lives.", ["Palmen, e.g. Kokos, etc.", "It grows, i.e. lives."]),
        ("At 5 p.m. the sun set. See fig. 3.", ["At 5 p.m. the sun set.", "See fig. 3."]),
        ("日本は島国です。富士山があります。", ["日本は島国です。", "富士山があります。"]),
        ("Ruins\n\n.\n\nMore.", ["Ruins .", "More."]),
        ("", []),
        (" \n\t ", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert split_sentences(text) == expected


WRITING = st.text(
    alphabet=st.one_of(st.sampled_from(list("aB1 .?!\n\"'()[]…。-*•,;")), st.characters(codec="utf-8")), max_size=300
)


@given(WRITING)
def test_no_character_is_lost_or_added(text: str) -> None:
    sentences = split_sentences(text)
    assert "".join("".join(sentences).split()) == "".join(text.split())
    assert all(s and s == " ".join(s.split()) for s in sentences)


@given(st.floats(min_value=-1e6, max_value=1e6).map(lambda v: f"{v:.3f}"), st.sampled_from(["km", "m", "ft", "%"]))
def test_numbers_are_never_split(number: str, unit: str) -> None:
    text = f"The height is {number} {unit} today. It was {number} before."
    assert split_sentences(text) == [f"The height is {number} {unit} today.", f"It was {number} before."]


@given(WRITING)
def test_passages_keep_every_character(text: str) -> None:
    assert "".join("".join(split_passages(text)).split()) == "".join(text.split())


@given(st.lists(st.integers(min_value=1, max_value=60), min_size=1, max_size=40), st.sampled_from([" ", "\n\n"]))
def test_passages_are_whole_sentences_within_bounds(lengths: list[int], between: str) -> None:
    sentences = [" ".join(["Word", *["word"] * (n - 1)]) + "." for n in lengths]
    passages = split_passages(between.join(sentences))
    assert [s for p in passages for s in split_sentences(p)] == sentences
    assert all(size_in_words(p) <= LONGEST_SENTENCE for p in passages)
    assert all(size_in_words(p) <= MOST_WORDS for p in passages[:-1])


def test_passages_end_with_their_paragraph_once_they_have_enough() -> None:
    first = " ".join(["One two three four five six seven eight nine ten."] * 7)
    second = " ".join(["Red green blue black white grey pink brown gold silver."] * 6)
    passages = split_passages(f"{first}\n\n{second}")
    assert passages == [first, second]
    assert all(size_in_words(p) >= ENOUGH_WORDS for p in passages)


def test_a_short_remainder_joins_the_passage_before() -> None:
    long = " ".join(["One two three four five six seven eight nine ten."] * 8)
    assert split_passages(f"{long}\n\nThe end.") == [f"{long} The end."]


def test_text_without_full_stops_is_cut_between_words_and_unbroken_runs_within() -> None:
    pieces = split_passages("word " * 1000)
    assert len(pieces) > 5
    assert all(size_in_words(p) <= LONGEST_SENTENCE for p in pieces)
    assert "".join(split_passages("x" * 5000)).replace(" ", "") == "x" * 5000


def test_hostile_runs_of_punctuation_stay_cheap() -> None:
    # Quadratic matching would take minutes here.
    for text in ("." * 200_000 + "a", '."' * 100_000 + "a", "\n \n" * 50_000 + "a", "a. " * 50_000):
        assert "".join("".join(split_sentences(text)).split()) == "".join(text.split())
