"""The engine over a tiny real archive: arguments of other types are refused, and threads share one engine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import archives
import numpy as np
import pytest

import rsrag
from rsrag.engine import Engine
from rsrag.errors import UsageError
from rsrag.types import Filters, QueryImage


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return archives.filled(tmp_path_factory.mktemp("archive"))


@pytest.fixture
def engine(archive: Path) -> Iterator[Engine]:
    with rsrag.open(archive / "archive") as opened:
        yield opened


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("ask", {"history": None}),
    ("ask", {"history": [("a",)]}),
    ("ask", {"on_text": "print"}),
    ("ask", {"task": 5}),
    ("ask", {"filters": Filters(facts={"ndvi": 0.3})}),  # type: ignore[dict-item]
    ("ask", {"where": "\udcff"}),
    ("search", {"limit": 10**30}),
    ("search", {"kind": np.array(["tile", "passage"])}),
    ("retrieve", {"verify": "no"}),
    ("change", {"threshold": "x"}),
    ("change", {"options": 5}),
    ("change", {"questions": [5]}),
    ("caption", {"seed": "1"}),
    ("caption", {"examples": 5}),
    ("caption", {"progress": "bar"}),
    ("classify", {"unknown": "x"}),
    ("classify", {"turns": 4.0}),
    ("classify", {"everywhere": "no"}),
    ("classify", {"labels": [1, 2]}),
    ("classify", {"bands": 5}),
    ("ground", {"least": "x"}),
    ("ground", {"text": None, "box": (1, 2, 3)}),
    ("ground", {"model": 5}),
    ("segment", {"threshold": None}),
    ("segment", {"index": "no"}),
    ("segment", {"smallest": "1 ha"}),
    ("thumbnail", {"tile_id": 5}),
    ("export", {"path": 5}),
    ("export", {"hits": ["a"]}),
    ("verify", {"deep": "no"}),
]


@pytest.mark.parametrize(("task", "wrong"), WRONG, ids=lambda v: v if isinstance(v, str) else next(iter(v)))
def test_arguments_of_another_type_are_refused(engine: Engine, task: str, wrong: dict[str, Any]) -> None:
    grey = np.full((32, 32, 3), 90, np.uint8)
    right: dict[str, Any] = {
        "ask": {"question": "How deep is Blue Lagoon?"},
        "search": {"text": "lake"},
        "retrieve": {"text": "lake"},
        "classify": {"image": grey, "labels": ["water", "forest"]},
        "caption": {"image": grey},
        "ground": {"image": grey, "text": "ships"},
        "segment": {"image": grey, "text": "water"},
        "export": {"path": "tiles.geojson"},
    }
    images = (grey, grey) if task == "change" else ()
    with pytest.raises(UsageError):
        getattr(engine, task)(*images, **{**right.get(task, {}), **wrong})


def test_a_query_image_with_a_footprint_of_another_type_is_refused(engine: Engine) -> None:
    image = QueryImage(np.full((32, 32, 3), 90, np.uint8), "made", footprint="somewhere")  # type: ignore[arg-type]
    for task in (lambda: engine.search(image=image), lambda: engine.caption(image)):
        with pytest.raises(UsageError, match="footprint of the image"):
            task()


def test_a_path_that_is_none_opens_nothing() -> None:
    for path in (5, None, "", b"archive"):
        with pytest.raises(UsageError, match="path is"):
            rsrag.open(path)  # type: ignore[arg-type]


def test_a_dialogue_refuses_what_is_no_question(engine: Engine) -> None:
    chat = engine.chat()
    with pytest.raises(UsageError, match="question must be text"):
        chat.ask(None)  # type: ignore[arg-type]
    assert chat.turns == []


def test_threads_share_one_engine(archive: Path) -> None:
    picture = np.random.default_rng(3).integers(0, 255, (64, 64, 3), dtype=np.uint8)

    def tasks(engine: Engine) -> list[Callable[[], Any]]:
        return [
            lambda: engine.ask("How deep is Blue Lagoon?").text,
            lambda: [(hit.id, hit.score) for hit in engine.search("a lake", image=picture)],
            lambda: engine.classify(picture, ["lake", "forest", "quarry"], turns=1).facts,
            lambda: engine.caption(picture).text,
        ]

    with rsrag.open(archive / "archive") as alone:
        wanted = [task() for task in tasks(alone)]
    with rsrag.open(archive / "archive") as shared, ThreadPoolExecutor(8) as pool:
        start = threading.Barrier(8)
        made = tasks(shared)

        def work(number: int) -> list[Any]:
            start.wait(60)
            return [made[(number + step) % 4]() for step in range(2)]

        for number, found in enumerate(pool.map(work, range(8))):
            assert found == [wanted[number % 4], wanted[(number + 1) % 4]]
        assert [task() for task in made] == wanted
        assert shared.verify().ok
