"""Questions about pixels are answered from pixels, cite the image, and fall back to the archive where that fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from archives import ingest, open_archive, sources
from dates import built, ground, relit, write

from rsrag import geo
from rsrag.adapters.base import Region, Subject, TaskResult
from rsrag.engine import Engine
from rsrag.errors import UsageError
from rsrag.measured import as_answer
from rsrag.route import Route
from rsrag.times import parse_span
from rsrag.types import BBox, Evidence, Fact, Filters, Hit, Sentence


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = tmp_path_factory.mktemp("measured")
    opened = open_archive(folder / "archive.rsrag")
    ingest(opened, sources(folder / "sources"))
    return opened


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(40, 200, (128, 128, 3)).astype(np.uint8)


def test_a_result_becomes_a_cited_answer() -> None:
    subject = Subject("scene.tif", 100, 80)
    result = TaskResult(
        "ground",
        subject,
        sentences=(Sentence("Two ships were found.", (1,)),),
        evidence=(Evidence(1, Hit("passage", "p", 0.5), "A passage."),),
        facts=(Fact("count", 2.0),),
        regions=(Region("ship", 0.9, (0, 0, 5, 5)), Region("ship", 0.7, (9, 9, 12, 12))),
    )
    answer = as_answer(result, "How many ships?", Route("count", "count: 'how many ships'", "ships"))
    assert answer.text == "Two ships were found. [1] [2]" and not answer.abstained
    assert [e.number for e in answer.evidence] == [1, 2] and answer.confidence == pytest.approx(0.8)
    assert "ship: 2 found." in answer.evidence[0].text and "count: 2." in answer.evidence[0].text
    assert answer.provenance.prompt.startswith("count: ") and answer.evidence[0].hit.title == "scene.tif"
    empty = as_answer(TaskResult("ground", subject), "How many?", Route("count", "", "ships"))
    assert empty.abstained and empty.reason


def test_counting_looks_at_the_image(engine: Engine) -> None:
    answer = engine.ask("How many ships are there in this image?", image=picture())
    assert answer.provenance.prompt.startswith("count: ") and not answer.abstained
    assert all(1 in sentence.citations for sentence in answer.sentences)


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("How many ships are in the left half of the image?", "in the part “left”"),
        ("How many ships are near the bridge?", "near “bridge”"),
        ("Where are the ships in this image that are left of the pier?", "left of “pier”"),
        ("Find the largest ship in the image", "the largest"),
    ],
)
def test_words_of_place_and_size_are_heard(engine: Engine, question: str, said: str) -> None:
    answer = engine.ask(question, image=picture())
    assert said in answer.sentences[0].text
    assert not any("left out" in warning for warning in answer.warnings)


@pytest.mark.parametrize(
    ("question", "rest"),
    [
        ("How many ships with a red hull are there?", "with a red hull are there"),
        ("How many buildings were destroyed?", "were destroyed"),
        ("Outline the water near the road", "near the road"),
    ],
)
def test_what_is_left_out_of_a_question_is_said(engine: Engine, question: str, rest: str) -> None:
    answer = engine.ask(question, image=picture())
    assert f"{rest!r} is not judged: it was left out" in answer.warnings


def test_a_task_can_be_overruled(engine: Engine) -> None:
    answer = engine.ask("How many ships are there in this image?", image=picture(), task="answer")
    assert not answer.provenance.prompt.startswith("count")
    with pytest.raises(UsageError, match="needs an image"):
        engine.ask("ships", task="locate")
    with pytest.raises(UsageError, match="unknown task"):
        engine.ask("ships", task="dance")  # type: ignore[arg-type]


def test_what_cannot_be_measured_is_answered_from_the_archive(engine: Engine) -> None:
    answer = engine.ask("What changed here since 2009?", where=(120.0, -40.0))
    assert any("change was not possible" in warning for warning in answer.warnings)
    assert not answer.provenance.prompt.startswith("change")


def test_the_image_is_left_as_it_is(engine: Engine, tmp_path: Path) -> None:
    pixels = picture()
    kept = pixels.copy()
    engine.ask("Count the ships", image=pixels)
    assert np.array_equal(pixels, kept)


FIELD = (3.005, 45.15)


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A field at four dates, one block more each time; those of 2009 and 2020 are of another collection and sensor."""
    folder, blocks = tmp_path_factory.mktemp("field"), [(10, 12, 34, 30), (90, 60, 130, 92), (50, 90, 80, 120)]
    with open_archive(folder / "archive.rsrag") as opened:
        for number, year in enumerate((2009, 2012, 2015, 2020)):
            kind = "old" if year in (2009, 2020) else "new"
            (folder / kind).mkdir(exist_ok=True)
            write(folder / kind / f"field_{year}0101.tif", built(relit(ground(), number), blocks[:number]))
        for kind in ("old", "new"):
            ingest(opened, folder / kind, collection=kind, sensor=f"{kind} camera", scales="8")
        yield opened


def compared(engine: Engine, question: str, filters: Filters) -> set[str]:
    """Years of the scenes that an answer about change compares."""
    answer = engine.ask(question, where=FIELD, filters=filters)
    assert answer.provenance.prompt.startswith("change"), answer.warnings
    told = " ".join([answer.text, *(e.text for e in answer.evidence), *(e.hit.title for e in answer.evidence)])
    return {year for year in ("2009", "2012", "2015", "2020") if f"{year}-01-01" in told}


BETWEEN = "What has changed here between 2009 and 2020?"


@pytest.mark.parametrize(
    ("question", "filters", "years"),
    [
        (BETWEEN, Filters(), {"2009", "2020"}),
        (BETWEEN, Filters(collections=("new",)), {"2012", "2015"}),
        (BETWEEN, Filters(sensors=("new camera",), kinds=("lake",)), {"2012", "2015"}),
        (BETWEEN, Filters(when=parse_span("2009/2013")), {"2009", "2012"}),
        ("What has changed here since 2009?", Filters(when=parse_span("2012/2015-06")), {"2012", "2015"}),
        ("What has changed here?", Filters(collections=("new",)), {"2012", "2015"}),
        ("What changed here before 2015?", Filters(), {"2009", "2012"}),
        ("What has changed here until 2015?", Filters(), {"2009", "2015"}),
        ("What has changed here in the 2010s?", Filters(), {"2012", "2015"}),
        ("What has changed here since 2012?", Filters(), {"2012", "2020"}),
    ],
)
def test_only_scenes_that_pass_the_filters_are_compared(
    field: Engine, question: str, filters: Filters, years: set[str]
) -> None:
    assert compared(field, question, filters) == years


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        (Filters(collections=("new",), when=parse_span("2012")), "fewer than two dates"),
        (Filters(bbox=BBox(20, 0, 21, 1)), "fewer than two dates"),
        (Filters(intersects=geo.around((20.0, 0.0), 5)), "fewer than two dates"),
        (Filters(facts={"brightness": (0.0, None)}), "scenes have no facts"),
    ],
)
def test_a_change_that_the_filters_leave_no_scenes_for_says_so(field: Engine, filters: Filters, said: str) -> None:
    answer = field.ask(BETWEEN, where=FIELD, filters=filters)
    assert not answer.provenance.prompt.startswith("change")
    assert any("change was not possible" in warning and said in warning for warning in answer.warnings)


def test_no_two_dates_pass_the_filters(field: Engine) -> None:
    answer = field.ask("What has changed here?", where=FIELD, filters=Filters(when=parse_span("2012")))
    assert any("no two dates that pass the filters" in warning for warning in answer.warnings)
