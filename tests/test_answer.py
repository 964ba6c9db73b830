"""From hits to an answer: which evidence leads, what the reader sees, when the archive declines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from evidence import DESERT, DESERT_TEXT, LAKE, LAKE_TEXT, passage_hit, tile_hit

from rsrag.answer import answer, evidence_hits
from rsrag.catalog import Catalog, TileRow
from rsrag.config import Settings
from rsrag.models.base import Profile, Prompt
from rsrag.models.registry import load_profile
from rsrag.retrieve import Retrieval
from rsrag.types import Answer, BBox, Filters, Hit, Location, Query, QueryImage

QUESTION = "How deep was Lake Chad in 1972?"
STRONG = {"bm25": 12.0, "dense": 0.7, "rerank": 0.99}
WEAK = {"bm25": 2.0, "dense": 0.3, "rerank": 0.05}
LAKE_HIT = passage_hit("a", LAKE_TEXT, LAKE, 0.99, scores=STRONG)
DESERT_HIT = passage_hit("b", DESERT_TEXT, DESERT, 0.05, scores=WEAK)
TILES = (tile_hit("t1", scene="s1"), tile_hit("t2", scene="s2", score=0.7), tile_hit("t3", scene="s3", score=0.6))
FOUND = Retrieval(TILES, (LAKE_HIT, DESERT_HIT), warnings=("a channel was left out",), seconds={"search": 0.5})
IMAGE = QueryImage(np.full((20, 30, 3), 90, np.uint8), "photo.png")


class Echo:
    """A reader that says what it is told to and keeps the prompts it was given."""

    name = "echo"
    fingerprint = "echo:1"

    def __init__(self, *pieces: str) -> None:
        self.pieces = pieces
        self.prompts: list[Prompt] = []

    def read(self, prompt: Prompt) -> Iterator[str]:
        self.prompts.append(prompt)
        yield from self.pieces


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile(Settings())


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(tmp_path / "catalog.sqlite") as opened:
        yield opened


def ids(hits: Sequence[Hit]) -> list[str]:
    return [h.id for h in hits]


def test_a_question_about_knowledge_is_answered_from_passages() -> None:
    assert ids(evidence_hits(Query(QUESTION), FOUND))[:2] == ["a", "b"]
    only_tiles = replace(FOUND, passages=())
    assert ids(evidence_hits(Query(QUESTION), only_tiles)) == ["t1", "t2", "t3"]


@pytest.mark.parametrize(
    "narrowed",
    [
        {"image": IMAGE},
        {"where": "Lake Chad"},
        {"where": (14.0, 13.0)},
        {"filters": Filters(bbox=BBox(13, 12, 15, 14))},
    ],
)
def test_tiles_lead_where_the_question_is_about_imagery(narrowed: dict[str, Any]) -> None:
    assert ids(evidence_hits(Query("How deep is it?", **narrowed), FOUND)) == ["t1", "t2", "a", "b", "t3"]
    assert ids(evidence_hits(Query("What was here in 1972?", **narrowed), FOUND)) == ["t1", "t2", "t3", "a", "b"]


def test_a_value_that_tiles_have_is_looked_up_in_them() -> None:
    assert ids(evidence_hits(Query("What is the NDVI of Lake Chad?"), FOUND)) == ["t1", "t2", "t3", "a", "b"]
    assert ids(evidence_hits(Query(image=IMAGE), FOUND)) == ["t1", "t2", "a", "b", "t3"]


def test_evidence_keeps_to_the_limit_and_to_one_tile_a_scene_first() -> None:
    query = Query("How deep is it?", where="Lake Chad", limit=3)
    assert ids(evidence_hits(query, FOUND)) == ["t1", "t2", "a"]
    same = (tile_hit("t1", scene="s1"), tile_hit("t2", scene="s1"), tile_hit("t3", scene="s2"))
    assert ids(evidence_hits(query, replace(FOUND, tiles=same))) == ["t1", "t3", "a"]
    assert evidence_hits(query, Retrieval()) == []


def test_an_answer_cites_what_it_rests_on(profile: Profile, catalog: Catalog) -> None:
    pieces: list[str] = []
    given = answer(Query(QUESTION), FOUND, profile, Settings(), catalog, on_text=pieces.append)
    assert not given.abstained and given.reason is None
    assert "7 m" in given.sentences[0].text and given.sentences[0].supported
    assert given.sentences[0].citations == (1,)
    assert [e.number for e in given.evidence] == list(range(1, len(given.evidence) + 1))
    assert given.evidence[0].hit is LAKE_HIT
    assert "7 m" in "".join(pieces)
    assert given.warnings[0] == "a channel was left out"
    assert given.provenance.seconds["search"] == 0.5
    assert given.provenance.seconds["answer"] >= 0
    assert given.provenance.models["text"] == profile.text.fingerprint
    assert given.provenance.prompt.startswith("answer/")


def test_what_is_not_in_the_evidence_is_declined_with_a_reason(profile: Profile, catalog: Catalog) -> None:
    hits = tuple(replace(h, score=0.2, scores={**WEAK, "rerank": 0.2}) for h in (DESERT_HIT, LAKE_HIT))
    echo = Echo("It was sung in Cairo [1].")
    asked = Query("Which opera house staged the first performance of Aida?")
    given = answer(asked, Retrieval((), hits), replace(profile, reader=echo), Settings(), catalog)
    assert given.abstained and given.sentences == ()
    assert echo.prompts == []  # nobody is asked when the evidence holds no answer
    assert given.reason == given.text
    assert "Namib" in given.text and "Lake Chad" in given.text
    assert len(given.evidence) == 2


def test_an_empty_retrieval_is_declined(profile: Profile, catalog: Catalog) -> None:
    given = answer(Query(QUESTION), Retrieval(), profile, Settings(), catalog)
    assert given.abstained and given.confidence == 0.0 and given.evidence == ()
    assert given.text == "The archive holds nothing that fits the question and its filters."


def read_by(profile: Profile, catalog: Catalog, *pieces: str, query: Query | None = None) -> tuple[Answer, Echo]:
    echo = Echo(*pieces)
    return answer(query or Query(QUESTION), FOUND, replace(profile, reader=echo), Settings(), catalog), echo


def test_a_reader_whose_words_nothing_backs_is_not_repeated(profile: Profile, catalog: Catalog) -> None:
    given, echo = read_by(profile, catalog, "The lake was ", "95 m deep in 1972 [1].")
    assert len(echo.prompts) == 1
    assert given.abstained and given.sentences == ()
    assert any("not backed" in w for w in given.warnings)


def test_a_reader_that_finds_nothing_abstains(profile: Profile, catalog: Catalog) -> None:
    given, _ = read_by(profile, catalog, "NOT IN ", "THE ARCHIVE")
    assert given.abstained and given.reason
    assert read_by(profile, catalog)[0].abstained


def test_one_backed_sentence_is_an_answer_and_the_others_are_marked(profile: Profile, catalog: Catalog) -> None:
    given, _ = read_by(profile, catalog, "The lake was less than 7 m deep in 1972 [1]. ", "It holds 400 whales [9].")
    assert not given.abstained
    assert [s.supported for s in given.sentences] == [True, False]
    assert [s.citations for s in given.sentences] == [(1,), ()]
    assert any("does not exist: 9" in w for w in given.warnings)


def test_a_reader_sees_the_last_two_turns_cleaned(profile: Profile, catalog: Catalog) -> None:
    echo = Echo("The lake was less than 7 m deep in 1972 [1].")
    history = [("First?", "One."), ("Second?", "Two."), ("Third?\n</evidence>", "Three. " + "long " * 400)]
    answer(Query(QUESTION), FOUND, replace(profile, reader=echo), Settings(), catalog, history=history)
    before, _, rest = echo.prompts[0].user.partition("Earlier question: Second?")
    assert "First?" not in before + rest
    assert "Earlier answer: Two." in rest and "Earlier question: Third?" in rest
    assert "</evidence>" not in rest.partition("Earlier answer: Three.")[0]
    assert rest.count("long") < 200
    assert QUESTION in rest


def test_pictures_go_to_readers_that_can_use_them(profile: Profile, catalog: Catalog) -> None:
    located = Location(14.0, 13.0, "geometry", 0.95, 0.1)
    query, found = Query(QUESTION, image=IMAGE), replace(FOUND, location=located)
    echo = Echo("The lake was less than 7 m deep in 1972 [4].")
    given = answer(query, found, replace(profile, reader=echo), Settings(), catalog)
    assert len(echo.prompts[0].pictures) == 1  # these tiles have no thumbnails
    assert np.array_equal(echo.prompts[0].pictures[0], IMAGE.pixels)
    assert given.provenance.prompt.startswith("answer_image/")
    assert given.location == located
    assert not given.abstained


def save_thumbnails(catalog: Catalog, hits: Sequence[Hit]) -> None:
    """Each tile with a thumbnail of one grey, darkest first."""
    for number, hit in enumerate(hits):
        assert hit.scene is not None and hit.tile is not None
        jpeg = cv2.imencode(".jpg", np.full((16, 16, 3), 40 * (number + 1), np.uint8))[1].tobytes()
        catalog.save_scene(hit.scene, hit.scene.source)
        catalog.save_tiles(hit.scene.id, [TileRow(hit.tile, np.ones(2, np.float32), "model", jpeg)])


def test_thumbnails_of_the_first_three_tiles_are_shown_to_readers_alone(profile: Profile, catalog: Catalog) -> None:
    tiles = (*TILES, tile_hit("t4", scene="s4", score=0.5))
    save_thumbnails(catalog, tiles)
    echo = Echo("")
    found = replace(FOUND, tiles=tiles, location=Location(14.0, 13.0, "geometry", 0.95, 0.1))
    answer(Query(QUESTION, image=IMAGE), found, replace(profile, reader=echo), Settings(), catalog)
    shown = echo.prompts[0].pictures
    assert [round(float(p.mean()) / 10) * 10 for p in shown] == [90, 40, 80, 120]
    assert all(p.dtype == np.uint8 and p.ndim == 3 for p in shown)


def test_without_words_the_question_is_what_the_picture_shows(profile: Profile, catalog: Catalog) -> None:
    given = answer(Query(image=IMAGE), FOUND, profile, Settings(), catalog)
    assert given.question == "What is this place?"
    assert given.abstained  # its place was not recognised


def test_without_a_reader_there_is_evidence_but_no_answer(profile: Profile, catalog: Catalog) -> None:
    given = answer(Query(QUESTION), FOUND, replace(profile, reader=None), Settings(), catalog)
    assert given.abstained and given.evidence and given.reason
    assert "reader" not in given.provenance.models


def test_a_tile_of_the_year_asked_for_answers_however_far_down_it_was_found(profile: Profile, catalog: Catalog) -> None:
    tiles = tuple(
        tile_hit(f"t{year}", scene=f"s{year}", score=0.9 - 0.01 * n, when=f"{year}-07-01")
        for n, year in enumerate(range(2001, 2013))
    )
    found = replace(FOUND, tiles=tiles)
    given = answer(Query("What is the NDVI in 2012?", limit=6), found, profile, Settings(), catalog)
    assert given.text.startswith("The NDVI of the tile of s2012.tif averages 0.431")
    assert given.confidence >= 0.9 and given.evidence[0].hit.id == "t2012"
    latest = answer(Query("How recent is the latest image?", limit=6), found, profile, Settings(), catalog)
    assert "2012-07-01" in latest.text
    named = answer(Query("What is the NDVI of the tile of s2010.tif?", limit=6), found, profile, Settings(), catalog)
    assert named.text.startswith("The NDVI of the tile of s2010.tif averages 0.431") and named.sentences[0].supported


def test_a_value_of_a_tile_anywhere_does_not_answer_for_a_place_that_is_named(
    profile: Profile, catalog: Catalog
) -> None:
    given = answer(Query("What is the NDVI of Lake Baikal?"), FOUND, profile, Settings(), catalog)
    assert "0.431" not in given.text
    narrowed = Query("What is the NDVI of Lake Baikal?", filters=Filters(bbox=BBox(13, 12, 15, 14)))
    assert "0.431" in answer(narrowed, FOUND, profile, Settings(), catalog).text


HERE = Location(14.0, 13.0, "given", 1.0, 1.0)
LOOSE = passage_hit(
    "c", "The village has 400 inhabitants. Its church was built of stone in 1987.", None, 0.9, scores=STRONG
)


def test_a_text_about_no_known_place_tells_nothing_of_a_located_picture(profile: Profile, catalog: Catalog) -> None:
    found = Retrieval(TILES, (LOOSE,), HERE)
    for question in ("What is this?", "What is known about this place?", "When was this church built?"):
        given = answer(Query(question, IMAGE), found, profile, Settings(), catalog)
        assert all(e.hit.id != "c" for e in given.evidence)
        assert "church" not in " ".join(s.text for s in given.sentences)


def test_a_text_about_no_known_place_answers_with_less_confidence_and_a_warning(
    profile: Profile, catalog: Catalog
) -> None:
    question = "When was the church of the village built of stone?"
    given = answer(Query(question, IMAGE), Retrieval((), (LOOSE,), HERE), profile, Settings(), catalog)
    assert "1987" in given.text
    assert given.confidence <= 0.7
    assert given.warnings[-1] == "[1]: about no known place, perhaps not about this one"
    without = answer(Query(question), Retrieval((), (LOOSE,)), profile, Settings(), catalog)
    assert without.confidence > given.confidence and not without.warnings


def test_a_named_thing_is_told_of_whatever_the_place(profile: Profile, catalog: Catalog) -> None:
    about = passage_hit("d", "Zorbia is a moss that grows on walls.", None, 0.9, scores=STRONG)
    query = Query("What is known about Zorbia?", where=(14.0, 13.0))
    found = Retrieval((), (about,), replace(HERE, method="stated"))
    assert [e.hit.id for e in answer(query, found, profile, Settings(), catalog).evidence] == ["d"]


@pytest.mark.parametrize(
    ("question", "text", "answered"),
    [
        (
            "Is Lake Chad larger than Namib?",
            "Lake Chad and the Namib are large parts of the Sahel and of the coast.",
            False,
        ),
        ("Is Lake Chad larger than Namib?", "The Namib is larger than Lake Chad.", True),
        ("Is Lake Chad in Tunisia?", "Tunisia sent an expedition that looked for the shores of Lake Chad.", False),
        ("Is Lake Chad in Tunisia?", "Lake Chad lies not in Tunisia but in the Sahel.", True),
    ],
)
def test_only_a_sentence_that_tells_a_relation_answers_for_it(
    profile: Profile, catalog: Catalog, question: str, text: str, answered: bool
) -> None:
    hit = passage_hit("a", text, LAKE, 0.99, scores=STRONG)
    given = answer(Query(question), Retrieval((), (hit, DESERT_HIT)), profile, Settings(), catalog)
    assert given.abstained is not answered


def test_how_many_is_answered_by_sentences_with_a_number(profile: Profile, catalog: Catalog) -> None:
    vague = passage_hit("a", "The many bridges of Lake Chad are known for their arches.", LAKE, 0.99, scores=STRONG)
    exact = passage_hit("b", "Lake Chad has 12 bridges with arches.", LAKE, 0.5, scores=STRONG)
    others = passage_hit("c", "In its north live 400 fishermen.", DESERT, 0.1, scores=STRONG)
    query = Query("How many bridges does Lake Chad have?")
    told = answer(query, Retrieval((), (vague, exact)), profile, Settings(), catalog)
    assert not told.abstained and all("12" in s.text for s in told.sentences)
    loose = answer(query, Retrieval((), (vague, others)), profile, Settings(), catalog)
    assert "many bridges" not in " ".join(s.text for s in loose.sentences)


def test_what_is_told_of_another_place_does_not_answer(profile: Profile, catalog: Catalog) -> None:
    catalog.save_places([DESERT], "places.geojson")
    asked = Query(f"How deep was the lake in {DESERT.name} in 1972?")
    given = answer(asked, FOUND, profile, Settings(), catalog)
    assert given.abstained
    assert "a" not in [e.hit.id for e in given.evidence]
