"""Every engine keeps the same promises: embedded, the server class on the client's local mode, a live server."""

from __future__ import annotations

import math
import re
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from engines import NAME, SPEC, Engine, day_of, found_in, id_of, point_of, vector_of

from rsrag.errors import BadVector, IndexFailure, ModelMismatch, SchemaMismatch
from rsrag.indexes.base import IndexFilter, Point, VectorIndex
from rsrag.types import BBox, TimeSpan

# The client's local mode says, once each, that it ignores what only a server can use.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
]

# --- writing --------------------------------------------------------------------------------------------------------


def test_upsert_twice_is_upsert_once(index: VectorIndex) -> None:
    points = [point_of(n) for n in range(600)]
    index.upsert(NAME, points)
    index.upsert(NAME, points)
    assert index.count(NAME) == 600
    assert sorted(index.ids(NAME)) == sorted(id_of(n) for n in range(600))


def test_upsert_replaces_the_whole_point(index: VectorIndex) -> None:
    index.upsert(NAME, [point_of(1, vectors={"text": vector_of(1), "image": vector_of(1, 4)}, text="red castle")])
    index.upsert(NAME, [point_of(1, vectors={"text": vector_of(2)}, payload={"other": True})])
    assert index.payloads(NAME, [id_of(1)]) == {id_of(1): {"other": True}}
    assert index.vectors(NAME, "image", [id_of(1)]) == {}
    assert np.allclose(index.vectors(NAME, "text", [id_of(1)])[id_of(1)], vector_of(2), atol=1e-6)
    assert index.search_text(NAME, "castle", 5) == []


def test_of_two_points_with_one_id_the_last_counts(index: VectorIndex) -> None:
    index.upsert(NAME, [point_of(1, payload={"v": 1}), point_of(2), point_of(1, payload={"v": 2})])
    assert index.count(NAME) == 2
    assert index.payloads(NAME, [id_of(1)])[id_of(1)] == {"v": 2}


def test_delete_ignores_unknown_ids(index: VectorIndex) -> None:
    index.upsert(NAME, [point_of(n) for n in range(5)])
    index.delete(NAME, [id_of(1), id_of(3), id_of(77)])
    index.delete(NAME, [])
    assert set(index.ids(NAME)) == {id_of(0), id_of(2), id_of(4)}
    assert found_in(index) == {0, 2, 4}


def test_payload_comes_back_as_given(index: VectorIndex) -> None:
    payload = {
        "title": "Ærø – 島",
        "n": 3,
        "x": np.float32(0.5),
        "none": None,
        "flag": False,
        "facts": {"mean red": 0.25, "ndvi": np.float64(0.5)},
        "list": ("a", 1, {"b": [2.5]}),
        "seen": datetime(2020, 5, 1, 2, tzinfo=timezone(timedelta(hours=2))),
    }
    box, when = BBox(170, -10, -170, 10), TimeSpan(datetime(2020, 1, 1, tzinfo=UTC), None)
    index.upsert(NAME, [point_of(1, payload=payload, box=box, when=when)])
    expected = {
        "title": "Ærø – 島",
        "n": 3,
        "x": 0.5,
        "none": None,
        "flag": False,
        "facts": {"mean red": 0.25, "ndvi": 0.5},
        "list": ["a", 1, {"b": [2.5]}],
        "seen": "2020-05-01T00:00:00+00:00",
    }
    assert index.payloads(NAME, [id_of(1), id_of(2)]) == {id_of(1): expected}


def test_vectors_come_back_at_unit_length_and_only_where_there_are_any(index: VectorIndex) -> None:
    index.upsert(NAME, [point_of(1), point_of(2, vectors={"image": 5 * vector_of(2, 4)}), point_of(3, vectors={})])
    got = index.vectors(NAME, "image", [id_of(1), id_of(2), id_of(3), id_of(4)])
    assert list(got) == [id_of(2)]
    assert got[id_of(2)].dtype == np.float32 and got[id_of(2)].shape == (4,)
    assert np.allclose(got[id_of(2)], vector_of(2, 4), atol=1e-6)
    assert index.count(NAME) == 3


BAD_VECTORS = {
    "NaN": np.array([np.nan] + [1.0] * 7, np.float32),
    "infinity": np.array([np.inf] + [1.0] * 7, np.float32),
    "zero": np.zeros(8, np.float32),
    "size": np.ones(9, np.float32),
    "two axes": np.ones((1, 8), np.float32),
    "not numbers": ["a"] * 8,
}


@pytest.mark.parametrize("bad", BAD_VECTORS.values(), ids=BAD_VECTORS.keys())
def test_a_bad_vector_stops_its_whole_batch_and_is_no_query(index: VectorIndex, bad: Any) -> None:
    with pytest.raises(BadVector, match=id_of(299)):
        index.upsert(NAME, [*(point_of(n) for n in range(299)), point_of(299, vectors={"text": bad})])
    assert index.count(NAME) == 0
    with pytest.raises(BadVector):
        index.search(NAME, "text", bad, 3)


def test_a_vector_nobody_declared_is_refused(index: VectorIndex) -> None:
    with pytest.raises(BadVector, match="no vector 'audio'"):
        index.upsert(NAME, [point_of(1, vectors={"audio": vector_of(1)})])
    with pytest.raises(IndexFailure, match="no vector 'audio'"):
        index.vectors(NAME, "audio", [id_of(1)])
    with pytest.raises(BadVector, match="no vector 'words'"):
        index.search(NAME, "words", vector_of(1), 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"payload": {"x": float("nan")}}, "nan"),
        ({"payload": {"x": [1, {"y": math.inf}]}}, "x.y"),
        ({"payload": {"x": 2**64}}, "int"),
        ({"payload": {"x": {1, 2}}}, "set"),
        ({"payload": {1: "x"}}, "key 1"),
        ({"payload": {"facts.ndvi": 1.0}}, "dot"),
        ({"payload": {"_where": {}}}, "reserved"),
        ({"box": BBox(0, 10, 5, -10)}, "south"),
        ({"box": BBox(0, 0, 5, 95)}, "not on Earth"),
        ({"box": BBox(0, 0, math.nan, 5)}, "finite"),
        ({"when": TimeSpan(datetime(2020, 1, 1), None)}, "time zone"),
        ({"when": TimeSpan(datetime(2021, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC))}, "before"),
    ],
)
def test_what_cannot_be_stored_is_refused_before_anything_is_written(
    index: VectorIndex, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(IndexFailure, match=re.escape(message)) as caught:
        index.upsert(NAME, [point_of(0), point_of(1, **given)])
    assert id_of(1) in str(caught.value)
    assert index.count(NAME) == 0


@pytest.mark.parametrize("identifier", ["tile-7", "", 7, str(uuid.UUID(int=2**127 - 1)).upper(), uuid.UUID(int=1).hex])
def test_ids_are_uuids_in_one_spelling(index: VectorIndex, identifier: Any) -> None:
    with pytest.raises(IndexFailure, match="UUID"):
        index.upsert(NAME, [Point(identifier, {"text": vector_of(1)}, {})])
    with pytest.raises(IndexFailure, match="UUID"):
        index.delete(NAME, [identifier])
    with pytest.raises(IndexFailure, match="UUID"):
        index.payloads(NAME, [identifier])


# --- searching ------------------------------------------------------------------------------------------------------


def test_search_is_what_numpy_says(index: VectorIndex) -> None:
    index.upsert(NAME, [point_of(n) for n in range(300)])
    everything = np.stack([vector_of(n) for n in range(300)])
    for seed in (1000, 1001, 1002):
        query = vector_of(seed)
        hits = index.search(NAME, "text", 3 * query, 20)
        cosines = everything @ query
        order = np.argsort(-cosines)[:20]
        assert [hit.id for hit in hits] == [id_of(int(n)) for n in order]
        assert np.allclose([hit.score for hit in hits], cosines[order], atol=1e-5)


def test_search_finds_only_points_with_that_vector(index: VectorIndex) -> None:
    index.upsert(NAME, [point_of(n) for n in range(10)])
    index.upsert(NAME, [point_of(n, vectors={"image": vector_of(n, 4)}) for n in (20, 21)])
    assert [hit.id for hit in index.search(NAME, "image", vector_of(21, 4), 50)] == [id_of(21), id_of(20)]


def test_limits_beyond_what_is_there_and_below_one(index: VectorIndex) -> None:
    assert index.search(NAME, "text", vector_of(0), 10) == []
    assert index.search_text(NAME, "castle", 10) == []
    index.upsert(NAME, [point_of(n, text="castle") for n in range(3)])
    assert len(index.search(NAME, "text", vector_of(0), 10)) == 3
    assert len(index.search_text(NAME, "castle", 10)) == 3
    assert index.search(NAME, "text", vector_of(0), 0) == []
    assert index.search_text(NAME, "castle", 0) == []


TEXTS = [
    "red castle beyond river",
    "river delta",
    "castle castle castle garden wall",
    "desert dune",
    "river river meander plain valley lake marsh",
    "castle",
]


def _bm25(query: list[str]) -> dict[int, float]:
    """BM25 (k1 = 1.2, b = 0.75) over TEXTS by the book, on words that stemming leaves alone."""
    documents = [text.split() for text in TEXTS]
    scores: dict[int, float] = {}
    for word in query:
        holding = sum(word in document for document in documents)
        idf = math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5))
        for n, document in enumerate(documents):
            if tf := document.count(word):
                length = 1 - 0.75 + 0.75 * len(document) / SPEC.average_words
                scores[n] = scores.get(n, 0.0) + idf * tf * 2.2 / (tf + 1.2 * length)
    return scores


@pytest.mark.parametrize("query", ["castle", "river castle", "dune lake river", "RIVER river Castle the of"])
def test_text_search_is_bm25_by_the_book(index: VectorIndex, query: str) -> None:
    index.upsert(NAME, [point_of(n, text=text) for n, text in enumerate(TEXTS)])
    expected = _bm25([word for word in dict.fromkeys(query.lower().split()) if word not in ("the", "of")])
    hits = index.search_text(NAME, query, 10)
    assert [hit.id for hit in hits] == [id_of(n) for n in sorted(expected, key=lambda n: (-expected[n], n))]
    assert {hit.id: pytest.approx(hit.score, rel=1e-4) for hit in hits} == {id_of(n): s for n, s in expected.items()}


def test_text_search_stems_folds_accents_and_returns_only_common_words(index: VectorIndex) -> None:
    index.upsert(
        NAME, [point_of(0, text="Old castles"), point_of(1, text="Café at Éire"), point_of(2), point_of(3, text="")]
    )
    assert [hit.id for hit in index.search_text(NAME, "castle", 5)] == [id_of(0)]
    assert [hit.id for hit in index.search_text(NAME, "eire", 5)] == [id_of(1)]
    for nothing in ("volcano", "the", "", "?!"):
        assert index.search_text(NAME, nothing, 5) == []


def test_text_search_takes_filters(index: VectorIndex) -> None:
    index.upsert(NAME, [point_of(n, text="castle", payload={"kind": "ab"[n % 2]}) for n in range(6)])
    hits = index.search_text(NAME, "castle", 10, IndexFilter(match={"kind": ["b"]}, exclude=(id_of(3),)))
    assert {hit.id for hit in hits} == {id_of(1), id_of(5)}


# --- collections ----------------------------------------------------------------------------------------------------


def test_ensure_again_changes_nothing(engine: Engine, index: VectorIndex) -> None:
    index.upsert(NAME, [point_of(1)])
    index.ensure(SPEC)
    again = engine.opened() if not isinstance(index, _edge_class()) else index
    again.ensure(SPEC)
    assert again.count(NAME) == 1


def _edge_class() -> type:
    from rsrag.indexes.edge import EdgeIndex

    return EdgeIndex


@pytest.mark.parametrize("fingerprint", [{"text": "mini-text:2", "image": "mini-image:1"}, {"text": "mini-text:1"}, {}])
def test_other_models_are_refused_before_anything_is_written(index: VectorIndex, fingerprint: dict[str, str]) -> None:
    index.upsert(NAME, [point_of(1)])
    with pytest.raises(ModelMismatch, match="mini-") as caught:
        index.ensure(replace(SPEC, fingerprint=fingerprint))
    assert "rsrag reindex" in str(caught.value)
    assert index.count(NAME) == 1


@pytest.mark.parametrize(
    "change", [{"vectors": {"text": 9, "image": 4}}, {"vectors": {"text": 8}}, {"text": None}, {"average_words": 9.0}]
)
def test_another_layout_is_refused(index: VectorIndex, change: dict[str, Any]) -> None:
    with pytest.raises(SchemaMismatch, match=next(iter(change))):
        index.ensure(replace(SPEC, **change))


def test_new_filter_keys_are_added(engine: Engine, index: VectorIndex) -> None:
    index.upsert(NAME, [point_of(1, payload={"sensor": "S2", "gsd": 10})])
    wider = replace(SPEC, keywords=(*SPEC.keywords, "sensor"), numbers=("gsd",))
    index.ensure(wider)
    index.ensure(SPEC)
    index.close()
    again = engine.opened()
    again.ensure(wider)
    assert found_in(again, IndexFilter(match={"sensor": ["S2"]}, ranges={"gsd": (9, 11)})) == {1}


def test_everything_is_there_after_reopening(engine: Engine, index: VectorIndex) -> None:
    box, when = BBox(170, -10, -170, 10), TimeSpan(day_of(0), day_of(1))
    index.upsert(NAME, [point_of(n, box=box, when=when, text="castle") for n in range(300)])
    index.delete(NAME, [id_of(n) for n in range(250)])
    index.flush()
    index.optimize()
    index.close()
    with pytest.raises(IndexFailure, match="closed"):
        index.count(NAME)
    again = engine.opened()
    assert again.count(NAME) == 50
    assert found_in(again, IndexFilter(box=BBox(-175, 0, -174, 1), when=when)) == set(range(250, 300))
    assert len(again.search_text(NAME, "castle", 100)) == 50
    again.ensure(SPEC)


def test_dropping(index: VectorIndex) -> None:
    index.upsert(NAME, [point_of(1)])
    index.drop(NAME)
    index.drop(NAME)
    assert index.count(NAME) == 0
    index.ensure(replace(SPEC, fingerprint={}, vectors={"text": 3}))
    assert index.count(NAME) == 0
    assert list(index.ids(NAME)) == []
    index.upsert(NAME, [point_of(1, vectors={"text": vector_of(1, 3)})])
    assert len(index.search(NAME, "text", vector_of(1, 3), 5)) == 1


def test_a_collection_without_text(index: VectorIndex) -> None:
    index.drop(NAME)
    index.ensure(replace(SPEC, text=None))
    index.upsert(NAME, [point_of(1, text="castle")])
    with pytest.raises(IndexFailure, match="no text"):
        index.search_text(NAME, "castle", 3)


def test_an_unknown_collection_is_an_error_except_for_counting(index: VectorIndex) -> None:
    for call in (
        lambda: index.search("tiles", "image", vector_of(0, 4), 3),
        lambda: index.search_text("tiles", "castle", 3),
        lambda: index.upsert("tiles", [point_of(1)]),
        lambda: index.delete("tiles", [id_of(1)]),
        lambda: index.vectors("tiles", "image", [id_of(1)]),
        lambda: index.payloads("tiles", [id_of(1)]),
        lambda: index.ids("tiles"),
    ):
        with pytest.raises(IndexFailure, match="no collection"):
            call()
    assert index.count("tiles") == 0
    index.drop("tiles")
    for name in ("../tiles", "Tiles", "", ".lock"):
        with pytest.raises(IndexFailure, match="collection name"):
            index.count(name)
