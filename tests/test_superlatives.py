"""The greatest of all, the second greatest, and the greatest somewhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsrag.superlatives import Fit, fit


@pytest.mark.parametrize(
    ("question", "sentence", "found"),
    [
        ("Which lake is the deepest?", "Lake Baikal is the deepest lake in the world, at 1,642 m.", Fit.FITS),
        ("Which lake is the deepest?", "Great Slave Lake is the deepest lake in North America.", Fit.ELSEWHERE),
        ("Which is the deepest lake in North America?", "It is the deepest lake in North America.", Fit.FITS),
        ("Which lake is the deepest?", "With a greatest depth of 1,470 m, it is the second deepest lake.", Fit.RANKED),
        ("Which lake is the deepest?", "Lake Superior is about 406 m deep at its deepest.", None),
        ("What is the second deepest lake?", "Lake Tanganyika is the second deepest lake of Earth.", Fit.FITS),
        ("What is the second deepest lake?", "Lake Baikal is the deepest lake.", Fit.RANKED),
        ("Which is the largest island?", "It is the largest of Canada, the fifth largest of all.", Fit.ELSEWHERE),
        ("Which is the biggest island?", "Greenland is the largest island.", Fit.FITS),
        ("Which is the largest island?", "It is the largest island in a freshwater lake.", Fit.ELSEWHERE),
        ("Which is the largest island?", "It is the 12th-largest island.", Fit.RANKED),
        ("Which is the largest lake?", "It has a greatest depth of 127 m.", None),
        ("Which island is large?", "It is the largest island.", None),
        ("Which is the most northern airport?", "It is the northernmost airport of the world.", Fit.FITS),
        ("Which airport is farthest south?", "It is the most southerly airport of Chile.", Fit.ELSEWHERE),
        ("Which is the northernmost airport?", "It is the easternmost airport.", None),
        ("Which is the largest island?", "An island in the west, with forest.", None),
    ],
)  # fmt: skip
def test_what_a_sentence_says_of_the_greatest(question: str, sentence: str, found: Fit | None) -> None:
    assert fit(question, sentence) is found


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_is_read(question: str, sentence: str) -> None:
    assert fit(question, sentence) in (None, *Fit)


@given(st.sampled_from(["deepest", "largest", "oldest"]), st.text(alphabet="abc XYZ,", max_size=40))
def test_a_question_fits_itself(word: str, rest: str) -> None:
    text = f"Which is the {word} {rest}"
    assert fit(text, text) is Fit.FITS
