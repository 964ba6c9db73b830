"""Caption metrics against the COCO scorers, whose figures for these sentences were computed once and are pinned."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsrag.adapters.caption.consensus import choose, cider_d, document_frequency, grams
from rsrag.eval.metrics.captions import bleu, caption_figures, cider, rouge_l
from rsrag.models.captioner import words_of

CANDIDATES = [
    "There are many planes parked on the airport apron.",
    "A river winds through the dark-green forest.",
    "Some boats are in the harbor, near the city's white buildings.",
]
REFERENCES = [
    [
        "Several planes are parked near the terminal.",
        "There are many planes parked in the airport.",
        "Many airplanes are on the apron .",
    ],
    [
        "A curved river goes through the forest .",
        "The river is in the middle of a dark-green forest.",
        "It is a river with trees on both sides.",
    ],
    [
        "Many boats are docked in the harbor.",
        "Some white boats are in a port near the city's buildings.",
        "Lots of boats docked neatly at the harbour .",
    ],
]
# pycocoevalcap 1.2 with its PTB tokeniser (Java 17). What it calls CIDEr clips and penalises: it is CIDEr-D.
COCO = {
    "bleu1": 0.9285714285382654,
    "bleu2": 0.7708992892983612,
    "bleu3": 0.5739713521417601,
    "bleu4": 0.4156804273444431,
    "rouge_l": 0.7655481295832173,
    "cider_d": 2.0810888895851476,
}
TOKENS = {
    "some boats are in the harbor near the city 's white buildings": CANDIDATES[2],
    "a river winds through the dark-green forest": CANDIDATES[1],
    "many airplanes are on the apron": REFERENCES[0][2],
}


@pytest.mark.parametrize(("expected", "sentence"), TOKENS.items())
def test_tokens_are_those_of_the_ptb_tokeniser(expected: str, sentence: str) -> None:
    assert " ".join(words_of(sentence)) == expected


@pytest.mark.parametrize("name", COCO)
def test_figures_are_those_of_the_coco_scorers(name: str) -> None:
    assert caption_figures(CANDIDATES, REFERENCES)[name] == pytest.approx(COCO[name], abs=1e-9)


def test_the_references_themselves_score_best() -> None:
    perfect = [others[0] for others in REFERENCES]
    assert bleu(perfect, REFERENCES)[3] == pytest.approx(1, abs=1e-6)
    assert rouge_l(perfect, REFERENCES) == pytest.approx(1)
    alone = [[others[0]] for others in REFERENCES]
    plain, clipped = cider(perfect, alone)
    assert plain == pytest.approx(10) and clipped == pytest.approx(10)
    assert cider(["zebra zebra zebra zebra"] * 3, REFERENCES) == (0, 0)


def test_nothing_said_scores_nothing() -> None:
    figures = caption_figures([""] * 3, REFERENCES)
    assert all(value < 1e-6 for value in figures.values())


@given(st.lists(st.sampled_from(["a", "boat", "lies", "near", "trees"]), min_size=1, max_size=9))
def test_cider_d_is_at_most_cider_and_both_are_finite(words: list[str]) -> None:
    plain, clipped = cider([" ".join(words), "a", "a"], REFERENCES)
    assert 0 <= clipped <= plain + 1e-9 and math.isfinite(plain)


def test_the_consensus_is_the_sentence_that_most_resemble() -> None:
    sentences = [s.split() for s in ("a boat near trees", "a boat near many trees", "an airport", "a boat and trees")]
    documents = [[grams(s)] for s in sentences] + [[grams(["desert"])]]
    frequency = document_frequency(documents)
    ranked = choose(sentences, sentences, [1.0] * 4, frequency, len(documents))
    assert ranked[0][0] in (0, 1) and ranked[0][1] > ranked[-1][1]
    assert choose(sentences, sentences, [0, 0, 1.0, 0], frequency, len(documents))[0][0] == 2


@given(
    st.lists(st.lists(st.sampled_from(["a", "boat", "lies", "near"]), min_size=1, max_size=7), min_size=1, max_size=5)
)
def test_the_consensus_is_the_mean_of_cider_d(sentences: list[list[str]]) -> None:
    frequency = document_frequency([[grams(["a", "boat"])], [grams(["trees"])], [grams(["a"])]])
    for number, score in choose(sentences, sentences, [1.0] * len(sentences), frequency, 3):
        own = grams(sentences[number])
        expected = sum(cider_d(own, grams(other), frequency, 3) for other in sentences) / len(sentences)
        assert score == pytest.approx(expected)
