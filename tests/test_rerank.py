from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from evidence import DESERT, DESERT_TEXT, LAKE, LAKE_TEXT, passage_hit, tile_hit
from hypothesis import given
from hypothesis import strategies as st

from rsrag.config import Settings
from rsrag.errors import BadModelFile
from rsrag.models.base import Reranker
from rsrag.models.registry import find
from rsrag.questions import understand
from rsrag.rerank import (
    FEATURES,
    Coefficients,
    LightReranker,
    answers_kind,
    diversify,
    geo_decay,
    passage_text,
    rerank,
    time_decay,
)


@pytest.fixture(scope="module")
def ranker() -> LightReranker:
    return LightReranker(find("mini-ranker"), Settings())


TEXTS = [
    f"Lake Chad\n{LAKE_TEXT}",
    f"Namib\n{DESERT_TEXT}",
    "Toledo\nA town above the river, known for swords.",
]


def test_the_passage_that_speaks_of_it_scores_best(ranker: LightReranker) -> None:
    assert isinstance(ranker, Reranker)
    scores = ranker.score("How tall are the dunes of the desert on the coast?", TEXTS)
    assert scores.dtype == np.float32 and scores.shape == (3,)
    assert int(scores.argmax()) == 1
    assert ((scores >= 0) & (scores <= 1)).all()


def test_a_word_of_like_meaning_counts_in_part(ranker: LightReranker) -> None:
    meaning = FEATURES.index("meaning")
    words = FEATURES.index("place_words")
    table = ranker.features("Which hamlet made blades?", TEXTS)
    assert table[2, meaning] > table[1, meaning]
    assert table[2, words] == 0.0


def test_numbers_months_and_names_have_no_substitute(ranker: LightReranker) -> None:
    texts = ["Somewhere\nmeasured in January 2019", "Elsewhere\nmeasured in March 2018"]
    table = ranker.features("January 2019 at Paris?", texts)
    assert table[1, FEATURES.index("meaning")] == 0.0
    assert table[0, FEATURES.index("meaning")] > 0.0


def test_passages_of_one_place_support_each_other(ranker: LightReranker) -> None:
    place_words = FEATURES.index("place_words")
    question = "Which fortress with a lighthouse has a garden?"
    alone = ranker.features(question, ["A\nA fortress.", "B\nA fortress.", "B\nA lighthouse with a garden."])
    assert alone[0, place_words] < alone[1, place_words] == alone[2, place_words]


def test_the_kind_of_answer_orders_within_a_place_only(ranker: LightReranker) -> None:
    kind = FEATURES.index("kind")
    table = ranker.features("How deep is it?", ["A\nIt is 7 m deep.", "A\nIt is deep.", "B\nIt is deep."])
    assert list(table[:, kind]) == [0.0, -1.0, 0.0]


def test_no_passages_and_an_empty_question(ranker: LightReranker) -> None:
    assert ranker.score("anything", []).shape == (0,)
    scores = ranker.score("", TEXTS)
    assert np.isfinite(scores).all()


@given(st.text(max_size=40), st.lists(st.text(max_size=40), max_size=4))
def test_any_texts_get_finite_scores(ranker: LightReranker, question: str, passages: list[str]) -> None:
    scores = ranker.score(question, passages)
    assert scores.shape == (len(passages),)
    assert np.isfinite(scores).all() and ((scores >= 0) & (scores <= 1)).all()


def test_the_fingerprint_changes_with_the_weights(ranker: LightReranker) -> None:
    other = LightReranker(find("mini-ranker"), Settings(), coefficients=Coefficients((1.0,) * len(FEATURES), 0.0))
    assert other.fingerprint != ranker.fingerprint


@pytest.mark.parametrize("content", ["", "[]", json.dumps({"weights": {"meaning": 1}, "bias": 0})])
def test_damaged_weights_are_a_clear_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "ranker.json"
    path.write_text(content)
    with pytest.raises(BadModelFile, match="re-ranker weights"):
        Coefficients.read(path)


class Lengths:
    """A re-ranker that prefers long passages."""

    name = "lengths"
    fingerprint = "lengths"

    def score(self, question: str, passages: list[str]) -> np.ndarray:
        return np.asarray([min(len(p) / 1000, 1.0) for p in passages], dtype=np.float32)


def test_reranking_orders_the_head_and_keeps_the_tail_behind() -> None:
    hits = [passage_hit(str(i), "x" * (10 * i), None, score=1.0 - i / 10) for i in range(6)]
    found = rerank("q", hits, Lengths(), depth=3)
    assert [h.id for h in found] == ["2", "1", "0", "3", "4", "5"]
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
    assert "rerank" in found[0].scores and "rerank" not in found[-1].scores
    assert rerank("q", [], Lengths()) == []


def test_what_a_reranker_reads() -> None:
    assert passage_text(passage_hit("a", "It is\ndeep.", LAKE, heading="Depth")) == "Lake Chad\nDepth\nIt is deep."
    assert passage_text(passage_hit("a", "It is deep.")).startswith("Gazetteer\n")
    assert passage_text(tile_hit()) == "s1.tif"


def test_kind_of_answer() -> None:
    assert answers_kind(understand("How deep is it?"), "It is 7 m deep.") == 1.0
    assert answers_kind(understand("How deep is it?"), "It was founded in 1972.") == 0.0
    assert answers_kind(understand("When was it founded?"), "It was founded in 1972.") == 1.0
    assert answers_kind(understand("Who founded it?"), "Someone.") == 0.5


@given(st.floats(0, 2e4), st.floats(0, 2e4), st.floats(0.1, 1e4))
def test_decay_falls_with_distance(near: float, far: float, scale: float) -> None:
    near, far = sorted((near, far))
    assert 1 >= geo_decay(near, scale) >= geo_decay(far, scale) >= 0
    assert time_decay(-near, scale) == time_decay(near, scale)


def test_decay_halves_at_the_scale_and_refuses_nonsense() -> None:
    assert geo_decay(25, 25) == 0.5 and time_decay(-30, 30) == 0.5 and geo_decay(0, 1) == 1
    for call in (lambda: geo_decay(-1, 1), lambda: geo_decay(1, 0), lambda: time_decay(float("nan"), 1)):
        with pytest.raises(ValueError, match="scale"):
            call()


def test_one_scene_or_place_cannot_fill_the_list() -> None:
    tiles = [tile_hit(f"t{i}", scene="s1") for i in range(5)] + [tile_hit("u", scene="s2")]
    assert [h.id for h in diversify(tiles, per_scene=2)] == ["t0", "t1", "u", "t2", "t3", "t4"]
    passages = [passage_hit(str(i), f"{LAKE_TEXT} {i}", LAKE) for i in range(3)] + [passage_hit("d", "x", DESERT)]
    assert [h.id for h in diversify(passages, per_place=1, limit=2)] == ["0", "d"]
    assert [h.id for h in diversify(passages, per_place=None)] == ["0", "1", "2", "d"]


def test_tiles_that_look_the_same_count_once() -> None:
    hits = [tile_hit("a", scene="s1"), tile_hit("b", scene="s2", group="a"), tile_hit("c", scene="s3")]
    assert [h.id for h in diversify(hits)] == ["a", "c", "b"]
