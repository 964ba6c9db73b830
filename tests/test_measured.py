"""Questions about pixels are answered from pixels, cite the image, and fall back to the archive where that fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from archives import ingest, open_archive, sources

from rsrag.adapters.base import Region, Subject, TaskResult
from rsrag.engine import Engine
from rsrag.errors import UsageError
from rsrag.measured import as_answer
from rsrag.route import Route
from rsrag.types import Evidence, Fact, Hit, Sentence


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
