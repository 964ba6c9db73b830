"""Every engine keeps the same promises: embedded, the server class on the client's local mode, a live server."""

from __future__ import annotations

import math
import os
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rsrag.errors import BadGeometry, BadTimeSpan, BadVector, IndexFailure, ModelMismatch, SchemaMismatch
from rsrag.indexes.base import CollectionSpec, IndexFilter, Point, VectorIndex
from rsrag.indexes.open import open_index
from rsrag.types import BBox, TimeSpan

# The client's local mode says, once each, that it ignores what only a server can use.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
]

SPEC = CollectionSpec(
    name="passages",
    vectors={"text": 8, "image": 4},
    text="words",
    average_words=6.0,
    keywords=("kind", "tags"),
    numbers=("cloud", "facts.ndvi"),
    fingerprint={"text": "mini-text:1", "image": "mini-image:1"},
)
NAME = SPEC.name


def _id(n: int) -> str:
    return str(uuid.UUID(int=n + 1))


def _vector(n: int, size: int = 8) -> Any:
    v = np.random.default_rng(n).normal(size=size).astype(np.float32)
    return v / np.linalg.norm(v)


def _point(n: int, **given: Any) -> Point:
    return Point(_id(n), **{"vectors": {"text": _vector(n)}, "payload": {"n": n}, **given})


class Engine:
    """One engine under test: ``opened()`` gives an index on the same data each time it is called."""

    def __init__(self, make: Callable[[], VectorIndex]) -> None:
        self._make = make
        self._held: list[VectorIndex] = []

    def opened(self) -> VectorIndex:
        index = self._make()
        self._held.append(index)
        return index

    def close(self) -> None:
        for index in self._held:
            index.close()


def _edge(folder: Path) -> Iterator[Engine]:
    yield Engine(lambda: open_index(folder / "index"))


def _edge_indexed(folder: Path) -> Iterator[Engine]:
    yield Engine(lambda: open_index(folder / "index", index_from=0))


def _local(_: Path) -> Iterator[Engine]:
    pytest.importorskip("qdrant_client", reason="the extra qdrant is not installed")
    from qdrant_client import QdrantClient

    client = QdrantClient(":memory:")  # with a path it commits every point on its own: 20 s for a test
    yield Engine(lambda: open_index("http://127.0.0.1:1", client=client))
    client.close()


def _live(_: Path) -> Iterator[Engine]:
    url = os.environ.get("RSRAG_TEST_QDRANT_URL")
    if not url:
        pytest.skip("RSRAG_TEST_QDRANT_URL is not set")
    grpc = os.environ.get("RSRAG_TEST_QDRANT_GRPC", "1") != "0"
    prefix = f"rsragtest{uuid.uuid4().hex[:8]}_"
    key = os.environ.get("RSRAG_TEST_QDRANT_KEY")
    yield Engine(lambda: open_index(url, prefix=prefix, prefer_grpc=grpc, api_key=key))
    last = open_index(url, prefix=prefix, prefer_grpc=grpc, api_key=key)
    last.drop(NAME)
    last.close()


@pytest.fixture(params=[_edge, _edge_indexed, _local, _live], ids=["edge", "edge-indexed", "local", "live"])
def engine(request: pytest.FixtureRequest, folder: Path) -> Iterator[Engine]:
    steps = request.param(folder)
    made = next(steps)
    yield made
    made.close()
    next(steps, None)


@pytest.fixture
def index(engine: Engine) -> VectorIndex:
    made = engine.opened()
    made.ensure(SPEC)
    return made


def _found(index: VectorIndex, where: IndexFilter | None = None, limit: int = 1000) -> set[int]:
    """Numbers of the points that a search, a text search of everything and a count agree on."""
    hits = index.search(NAME, "text", _vector(0), limit, where)
    assert index.count(NAME, where) == len(hits)
    return {uuid.UUID(hit.id).int - 1 for hit in hits}


# --- writing --------------------------------------------------------------------------------------------------------


def test_upsert_twice_is_upsert_once(index: VectorIndex) -> None:
    points = [_point(n) for n in range(600)]
    index.upsert(NAME, points)
    index.upsert(NAME, points)
    assert index.count(NAME) == 600
    assert sorted(index.ids(NAME)) == sorted(_id(n) for n in range(600))


def test_upsert_replaces_the_whole_point(index: VectorIndex) -> None:
    index.upsert(NAME, [_point(1, vectors={"text": _vector(1), "image": _vector(1, 4)}, text="red castle")])
    index.upsert(NAME, [_point(1, vectors={"text": _vector(2)}, payload={"other": True})])
    assert index.payloads(NAME, [_id(1)]) == {_id(1): {"other": True}}
    assert index.vectors(NAME, "image", [_id(1)]) == {}
    assert np.allclose(index.vectors(NAME, "text", [_id(1)])[_id(1)], _vector(2), atol=1e-6)
    assert index.search_text(NAME, "castle", 5) == []


def test_of_two_points_with_one_id_the_last_counts(index: VectorIndex) -> None:
    index.upsert(NAME, [_point(1, payload={"v": 1}), _point(2), _point(1, payload={"v": 2})])
    assert index.count(NAME) == 2
    assert index.payloads(NAME, [_id(1)])[_id(1)] == {"v": 2}


def test_delete_ignores_unknown_ids(index: VectorIndex) -> None:
    index.upsert(NAME, [_point(n) for n in range(5)])
    index.delete(NAME, [_id(1), _id(3), _id(77)])
    index.delete(NAME, [])
    assert set(index.ids(NAME)) == {_id(0), _id(2), _id(4)}
    assert _found(index) == {0, 2, 4}


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
    index.upsert(NAME, [_point(1, payload=payload, box=box, when=when)])
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
    assert index.payloads(NAME, [_id(1), _id(2)]) == {_id(1): expected}


def test_vectors_come_back_at_unit_length_and_only_where_there_are_any(index: VectorIndex) -> None:
    index.upsert(NAME, [_point(1), _point(2, vectors={"image": 5 * _vector(2, 4)}), _point(3, vectors={})])
    got = index.vectors(NAME, "image", [_id(1), _id(2), _id(3), _id(4)])
    assert list(got) == [_id(2)]
    assert got[_id(2)].dtype == np.float32 and got[_id(2)].shape == (4,)
    assert np.allclose(got[_id(2)], _vector(2, 4), atol=1e-6)
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
    with pytest.raises(BadVector, match=_id(299)):
        index.upsert(NAME, [*(_point(n) for n in range(299)), _point(299, vectors={"text": bad})])
    assert index.count(NAME) == 0
    with pytest.raises(BadVector):
        index.search(NAME, "text", bad, 3)


def test_a_vector_nobody_declared_is_refused(index: VectorIndex) -> None:
    with pytest.raises(BadVector, match="no vector 'audio'"):
        index.upsert(NAME, [_point(1, vectors={"audio": _vector(1)})])
    with pytest.raises(IndexFailure, match="no vector 'audio'"):
        index.vectors(NAME, "audio", [_id(1)])
    with pytest.raises(BadVector, match="no vector 'words'"):
        index.search(NAME, "words", _vector(1), 3)


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
        index.upsert(NAME, [_point(0), _point(1, **given)])
    assert _id(1) in str(caught.value)
    assert index.count(NAME) == 0


@pytest.mark.parametrize("identifier", ["tile-7", "", 7, str(uuid.UUID(int=2**127 - 1)).upper(), uuid.UUID(int=1).hex])
def test_ids_are_uuids_in_one_spelling(index: VectorIndex, identifier: Any) -> None:
    with pytest.raises(IndexFailure, match="UUID"):
        index.upsert(NAME, [Point(identifier, {"text": _vector(1)}, {})])
    with pytest.raises(IndexFailure, match="UUID"):
        index.delete(NAME, [identifier])
    with pytest.raises(IndexFailure, match="UUID"):
        index.payloads(NAME, [identifier])


# --- searching ------------------------------------------------------------------------------------------------------


def test_search_is_what_numpy_says(index: VectorIndex) -> None:
    index.upsert(NAME, [_point(n) for n in range(300)])
    everything = np.stack([_vector(n) for n in range(300)])
    for seed in (1000, 1001, 1002):
        query = _vector(seed)
        hits = index.search(NAME, "text", 3 * query, 20)
        cosines = everything @ query
        order = np.argsort(-cosines)[:20]
        assert [hit.id for hit in hits] == [_id(int(n)) for n in order]
        assert np.allclose([hit.score for hit in hits], cosines[order], atol=1e-5)


def test_search_finds_only_points_with_that_vector(index: VectorIndex) -> None:
    index.upsert(NAME, [_point(n) for n in range(10)])
    index.upsert(NAME, [_point(n, vectors={"image": _vector(n, 4)}) for n in (20, 21)])
    assert [hit.id for hit in index.search(NAME, "image", _vector(21, 4), 50)] == [_id(21), _id(20)]


def test_limits_beyond_what_is_there_and_below_one(index: VectorIndex) -> None:
    assert index.search(NAME, "text", _vector(0), 10) == []
    assert index.search_text(NAME, "castle", 10) == []
    index.upsert(NAME, [_point(n, text="castle") for n in range(3)])
    assert len(index.search(NAME, "text", _vector(0), 10)) == 3
    assert len(index.search_text(NAME, "castle", 10)) == 3
    assert index.search(NAME, "text", _vector(0), 0) == []
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
    index.upsert(NAME, [_point(n, text=text) for n, text in enumerate(TEXTS)])
    expected = _bm25([word for word in dict.fromkeys(query.lower().split()) if word not in ("the", "of")])
    hits = index.search_text(NAME, query, 10)
    assert [hit.id for hit in hits] == [_id(n) for n in sorted(expected, key=lambda n: (-expected[n], n))]
    assert {hit.id: pytest.approx(hit.score, rel=1e-4) for hit in hits} == {_id(n): s for n, s in expected.items()}


def test_text_search_stems_folds_accents_and_returns_only_common_words(index: VectorIndex) -> None:
    index.upsert(NAME, [_point(0, text="Old castles"), _point(1, text="Café at Éire"), _point(2), _point(3, text="")])
    assert [hit.id for hit in index.search_text(NAME, "castle", 5)] == [_id(0)]
    assert [hit.id for hit in index.search_text(NAME, "eire", 5)] == [_id(1)]
    for nothing in ("volcano", "the", "", "?!"):
        assert index.search_text(NAME, nothing, 5) == []


def test_text_search_takes_filters(index: VectorIndex) -> None:
    index.upsert(NAME, [_point(n, text="castle", payload={"kind": "ab"[n % 2]}) for n in range(6)])
    hits = index.search_text(NAME, "castle", 10, IndexFilter(match={"kind": ["b"]}, exclude=(_id(3),)))
    assert {hit.id for hit in hits} == {_id(1), _id(5)}


# --- filters --------------------------------------------------------------------------------------------------------


def test_match_ranges_and_exclude(index: VectorIndex) -> None:
    index.upsert(
        NAME,
        [
            _point(0, payload={"kind": "lake", "tags": ["x", "y"], "cloud": 0.1, "facts": {"ndvi": 0.5}}),
            _point(1, payload={"kind": "lake", "tags": ["y"], "cloud": 0.5, "facts": {"ndvi": -0.2}}),
            _point(2, payload={"kind": "delta", "cloud": 0.9, "facts": {"odd name": 3, "when": "2020"}}),
            _point(3, payload={}),
        ],
    )
    everything = {0, 1, 2, 3}
    assert _found(index, IndexFilter()) == everything
    assert _found(index, IndexFilter(match={"kind": ["lake"]})) == {0, 1}
    assert _found(index, IndexFilter(match={"kind": ["delta", "lake"], "tags": ["x"]})) == {0}
    assert _found(index, IndexFilter(match={"tags": ("y", "z")})) == {0, 1}
    assert _found(index, IndexFilter(match={"kind": ["volcano"]})) == set()
    assert _found(index, IndexFilter(match={"kind": []})) == set()
    assert _found(index, IndexFilter(ranges={"cloud": (0.1, 0.5)})) == {0, 1}
    assert _found(index, IndexFilter(ranges={"cloud": (0.2, None)})) == {1, 2}
    assert _found(index, IndexFilter(ranges={"cloud": (None, 0.1)})) == {0}
    assert _found(index, IndexFilter(ranges={"cloud": (None, None)})) == everything
    assert _found(index, IndexFilter(ranges={"cloud": (0.5, 0.1)})) == set()
    assert _found(index, IndexFilter(ranges={"facts.ndvi": (0.0, 1.0)})) == {0}
    assert _found(index, IndexFilter(ranges={"facts.odd name": (3, 3)})) == {2}
    assert _found(index, IndexFilter(exclude=(_id(1), _id(9)))) == {0, 2, 3}
    assert _found(index, IndexFilter(match={"kind": ["lake"]}, ranges={"cloud": (0, 1)}, exclude=(_id(0),))) == {1}


@pytest.mark.parametrize(
    ("where", "error"),
    [
        (IndexFilter(match={"kind": "lake"}), IndexFailure),
        (IndexFilter(match={"kind": [1]}), IndexFailure),  # type: ignore[list-item]
        (IndexFilter(match={"a..b": ["x"]}), IndexFailure),
        (IndexFilter(ranges={"cloud": (math.nan, 1.0)}), IndexFailure),
        (IndexFilter(exclude=("x",)), IndexFailure),
        (IndexFilter(box=BBox(0, 5, 1, -5)), BadGeometry),
        (IndexFilter(when=TimeSpan(datetime(2020, 1, 1), None)), BadTimeSpan),
    ],
)
def test_filters_that_cannot_be_compared_are_errors(
    index: VectorIndex, where: IndexFilter, error: type[Exception]
) -> None:
    index.upsert(NAME, [_point(0)])
    with pytest.raises(error):
        index.search(NAME, "text", _vector(0), 3, where)
    with pytest.raises(error):
        index.count(NAME, where)


def test_boxes_on_both_sides_of_the_antimeridian(index: VectorIndex) -> None:
    boxes = [
        BBox(170, -10, 175, 10),
        BBox(-175, -10, -170, 10),
        BBox(178, -10, -178, 10),
        BBox(-10, -10, 10, 10),
        BBox(179, 80, 180, 90),
        BBox(-180, -90, 180, 90),
    ]
    index.upsert(NAME, [*(_point(n, box=box) for n, box in enumerate(boxes)), _point(9)])
    for query, expected in [
        (BBox(171, -1, 172, 1), {0, 5}),
        (BBox(-172, -1, -171, 1), {1, 5}),
        (BBox(174, -1, -174, 1), {0, 1, 2, 5}),
        (BBox(-179, -1, -178.5, 1), {2, 5}),
        (BBox(178.5, -1, 179, 1), {2, 5}),
        (BBox(-180, 80, -179, 85), {4, 5}),
        (BBox(170, 60, 180, 90), {4, 5}),
        (BBox(10, 10, 20, 20), {3, 5}),
        (BBox(11, 11, 20, 20), {5}),
        (BBox(-180, -90, 180, 90), {0, 1, 2, 3, 4, 5}),
        (BBox(20, -5, 15, 5), {0, 1, 2, 3, 5}),
    ]:
        assert _found(index, IndexFilter(box=query)) == expected, query


def _day(n: int) -> datetime:
    return datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=n)


def test_time_overlaps_and_unknown_time_never_matches(index: VectorIndex) -> None:
    micro = timedelta(microseconds=1)
    spans = [
        TimeSpan(_day(0), _day(1)),
        TimeSpan(_day(1) + micro, _day(3)),
        TimeSpan(None, _day(0) - micro),
        TimeSpan(_day(5), None),
        TimeSpan(None, None),
        TimeSpan(datetime(1, 1, 1, tzinfo=UTC), datetime(1900, 1, 1, tzinfo=UTC)),
    ]
    index.upsert(NAME, [*(_point(n, when=span) for n, span in enumerate(spans)), _point(9)])
    offset = timezone(timedelta(hours=-7))
    for query, expected in [
        (TimeSpan(_day(1), _day(1)), {0, 4}),
        (TimeSpan(_day(1) + micro, _day(1) + micro), {1, 4}),
        (TimeSpan(_day(1).astimezone(offset), _day(1).astimezone(offset)), {0, 4}),
        (TimeSpan(_day(0), _day(2)), {0, 1, 4}),
        (TimeSpan(None, _day(0) - micro), {2, 4, 5}),
        (TimeSpan(_day(4), None), {3, 4}),
        (TimeSpan(datetime(9999, 12, 31, tzinfo=UTC), None), {3, 4}),
        (TimeSpan(None, datetime(2, 1, 1, tzinfo=UTC)), {2, 4, 5}),
        (TimeSpan(None, None), {0, 1, 2, 3, 4, 5}),
    ]:
        assert _found(index, IndexFilter(when=query)) == expected, query


# Boxes of rsrag have nine decimals; a turn added to 1e-200 would be lost.
LON = st.one_of(st.sampled_from([-180.0, -179.0, 0.0, 179.0, 180.0]), st.floats(-180, 180)).map(lambda x: round(x, 9))
LAT = st.one_of(st.sampled_from([-90.0, 0.0, 90.0]), st.floats(-90, 90)).map(lambda x: round(x, 9))
BOXES = st.builds(lambda w, e, a, b: BBox(w, min(a, b), e, max(a, b)), LON, LON, LAT, LAT)


def _touch(a: BBox, b: BBox) -> bool:
    """Whether two boxes share a point, by walking the intervals of longitude that each covers."""

    def covers(box: BBox) -> list[tuple[float, float]]:
        whole = [(box.west, 180.0), (-180.0, box.east)] if box.crosses_antimeridian else [(box.west, box.east)]
        seam = [(-s, -s) for s in (180.0, -180.0) if any(lo <= s <= hi for lo, hi in whole)]
        return whole + seam

    longitudes = any(lo <= hi2 and lo2 <= hi for lo, hi in covers(a) for lo2, hi2 in covers(b))
    return longitudes and a.south <= b.north and b.south <= a.north


@given(boxes=st.lists(BOXES, min_size=1, max_size=12), queries=st.lists(BOXES, min_size=1, max_size=6))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_box_filter_is_the_predicate(index: VectorIndex, boxes: list[BBox], queries: list[BBox]) -> None:
    index.delete(NAME, [_id(n) for n in range(12)])
    index.upsert(NAME, [_point(n, box=box) for n, box in enumerate(boxes)])
    for query in queries:
        expected = {n for n, box in enumerate(boxes) if _touch(box, query)}
        assert _found(index, IndexFilter(box=query)) == expected, query


SPANS = st.tuples(*[st.one_of(st.none(), st.integers(-5, 5))] * 2).map(
    lambda ab: tuple(sorted(ab)) if None not in ab else ab  # type: ignore[type-var]
)


@given(spans=st.lists(st.one_of(st.none(), SPANS), min_size=1, max_size=10), query=SPANS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_time_filter_is_the_predicate(index: VectorIndex, spans: list[Any], query: Any) -> None:
    def span(ab: Any) -> TimeSpan | None:
        return None if ab is None else TimeSpan(*(None if n is None else _day(n) for n in ab))

    index.delete(NAME, [_id(n) for n in range(10)])
    index.upsert(NAME, [_point(n, when=span(ab)) for n, ab in enumerate(spans)])
    wanted = span(query)
    assert wanted is not None
    expected = {n for n, ab in enumerate(spans) if (stored := span(ab)) is not None and stored.overlaps(wanted)}
    assert _found(index, IndexFilter(when=wanted)) == expected


# --- collections ----------------------------------------------------------------------------------------------------


def test_ensure_again_changes_nothing(engine: Engine, index: VectorIndex) -> None:
    index.upsert(NAME, [_point(1)])
    index.ensure(SPEC)
    again = engine.opened() if not isinstance(index, _edge_class()) else index
    again.ensure(SPEC)
    assert again.count(NAME) == 1


def _edge_class() -> type:
    from rsrag.indexes.edge import EdgeIndex

    return EdgeIndex


@pytest.mark.parametrize("fingerprint", [{"text": "mini-text:2", "image": "mini-image:1"}, {"text": "mini-text:1"}, {}])
def test_other_models_are_refused_before_anything_is_written(index: VectorIndex, fingerprint: dict[str, str]) -> None:
    index.upsert(NAME, [_point(1)])
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
    index.upsert(NAME, [_point(1, payload={"sensor": "S2", "gsd": 10})])
    wider = replace(SPEC, keywords=(*SPEC.keywords, "sensor"), numbers=("gsd",))
    index.ensure(wider)
    index.ensure(SPEC)
    index.close()
    again = engine.opened()
    again.ensure(wider)
    assert _found(again, IndexFilter(match={"sensor": ["S2"]}, ranges={"gsd": (9, 11)})) == {1}


def test_everything_is_there_after_reopening(engine: Engine, index: VectorIndex) -> None:
    box, when = BBox(170, -10, -170, 10), TimeSpan(_day(0), _day(1))
    index.upsert(NAME, [_point(n, box=box, when=when, text="castle") for n in range(300)])
    index.delete(NAME, [_id(n) for n in range(250)])
    index.flush()
    index.optimize()
    index.close()
    with pytest.raises(IndexFailure, match="closed"):
        index.count(NAME)
    again = engine.opened()
    assert again.count(NAME) == 50
    assert _found(again, IndexFilter(box=BBox(-175, 0, -174, 1), when=when)) == set(range(250, 300))
    assert len(again.search_text(NAME, "castle", 100)) == 50
    again.ensure(SPEC)


def test_dropping(index: VectorIndex) -> None:
    index.upsert(NAME, [_point(1)])
    index.drop(NAME)
    index.drop(NAME)
    assert index.count(NAME) == 0
    index.ensure(replace(SPEC, fingerprint={}, vectors={"text": 3}))
    assert index.count(NAME) == 0
    assert list(index.ids(NAME)) == []
    index.upsert(NAME, [_point(1, vectors={"text": _vector(1, 3)})])
    assert len(index.search(NAME, "text", _vector(1, 3), 5)) == 1


def test_a_collection_without_text(index: VectorIndex) -> None:
    index.drop(NAME)
    index.ensure(replace(SPEC, text=None))
    index.upsert(NAME, [_point(1, text="castle")])
    with pytest.raises(IndexFailure, match="no text"):
        index.search_text(NAME, "castle", 3)


def test_an_unknown_collection_is_an_error_except_for_counting(index: VectorIndex) -> None:
    for call in (
        lambda: index.search("tiles", "image", _vector(0, 4), 3),
        lambda: index.search_text("tiles", "castle", 3),
        lambda: index.upsert("tiles", [_point(1)]),
        lambda: index.delete("tiles", [_id(1)]),
        lambda: index.vectors("tiles", "image", [_id(1)]),
        lambda: index.payloads("tiles", [_id(1)]),
        lambda: index.ids("tiles"),
    ):
        with pytest.raises(IndexFailure, match="no collection"):
            call()
    assert index.count("tiles") == 0
    index.drop("tiles")
    for name in ("../tiles", "Tiles", "", ".lock"):
        with pytest.raises(IndexFailure, match="collection name"):
            index.count(name)
