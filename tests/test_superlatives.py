"""The greatest of all, the second greatest, and the greatest somewhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsrag.superlatives import Fit, fit, tells_of
from rsrag.words import stem


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
        ("Which is the largest lake?", "The lake is the largest in the insular Pacific.", Fit.ELSEWHERE),
        (
            "Which is the largest lake in Africa?",
            "It is the largest lake at high elevation (2,357 m) in North America.",
            Fit.ELSEWHERE,
        ),
        ("Which is the largest lake?", "There are four lakes, the largest of which covers 358 ha.", Fit.ELSEWHERE),
        ("What is the second largest lake?", "The lake is the second largest of its kind.", Fit.ELSEWHERE),
        ("Which is the largest lake?", "It is the largest lake in south-western Siberia.", Fit.ELSEWHERE),
        ("Which is the most northern airport?", "It is the northernmost airport of the world.", Fit.FITS),
        ("Which airport is farthest south?", "It is the most southerly airport of Chile.", Fit.ELSEWHERE),
        ("Which is the northernmost airport?", "It is the easternmost airport.", None),
        ("Which is the largest island?", "An island in the west, with forest.", None),
    ],
)  # fmt: skip
def test_what_a_sentence_says_of_the_greatest(question: str, sentence: str, found: Fit | None) -> None:
    assert fit(question, sentence) is found


@pytest.mark.parametrize(
    ("sentence", "told"),
    [
        ("Lake Baikal is the largest lake of all.", True),
        ("The largest of all lakes, it is 31,722 km² large.", True),
        ("Lake Baikal is the largest, and the deepest.", True),
        ("It is the world's largest freshwater lake.", True),
        ("Lake Malawi contains the largest number of fish species of any lake in the world.", False),
        ("Lakes and channels are home to the largest array of electric fish.", False),
        ("Lake Teletskoye is the largest body of freshwater.", False),
        ("The lunette of the lake is one of the largest in the world.", False),
        ("It is among the largest lakes in the world.", False),
        ("It is the second largest lake.", False),
        ("The lake is the largest in the insular Pacific.", False),
    ],
)
def test_the_greatest_must_be_said_of_the_kind_itself(sentence: str, told: bool) -> None:
    assert tells_of(stem("lake"), "Which is the largest lake?", sentence) is told


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_is_read(question: str, sentence: str) -> None:
    assert fit(question, sentence) in (None, *Fit)
    assert tells_of("lake", question, sentence) in (True, False)


@given(st.sampled_from(["deepest", "largest", "oldest"]), st.text(alphabet="abc XYZ,", max_size=40))
def test_a_question_fits_itself(word: str, rest: str) -> None:
    text = f"Which is the {word} {rest}"
    assert fit(text, text) is Fit.FITS
