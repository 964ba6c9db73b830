"""The demo: ingest the Blue Marble and a gazetteer, then ask about three pictures that lost their coordinates."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import rsrag
from rsrag.demo.mosaic import altered_crop, read_mosaic, write_cog
from rsrag.engine import Engine
from rsrag.progress import Progress
from rsrag.types import Answer, BBox

TILE_SIZE, OVERLAP = 128, 0.5


@dataclass(frozen=True, slots=True)
class DemoQuestion:
    """A question about a picture: where it was cut (degrees), how it was altered, and which place is right."""

    name: str
    place: str
    box: BBox
    turn: float
    zoom: float
    blur: float
    question: str


QUESTIONS = (
    DemoQuestion(
        "delta", "Nile Delta", BBox(27.5, 27.0, 35.5, 33.0), 140, 2.0, 0.8, "What is this place, and how large is it?"
    ),
    DemoQuestion(
        "island", "Madagascar", BBox(40.0, -27.5, 54.0, -10.5), 215, 0.8, 0.7, "Which island is this, and how large is it?"
    ),
    DemoQuestion(
        "lake", "Lake Baikal", BBox(101.0, 49.5, 112.0, 57.5), 75, 1.6, 1.0, "Which lake is this, and how deep is it?"
    ),
)


@dataclass(frozen=True, slots=True)
class DemoAnswer:
    """What the demo asked, and what came back."""

    asked: DemoQuestion
    picture: Path
    answer: Answer
    seconds: float

    @property
    def place(self) -> str | None:
        """Name of the first place in the evidence."""
        return next((e.hit.place.name for e in self.answer.evidence if e.hit.place is not None), None)

    @property
    def right(self) -> bool:
        return self.place == self.asked.place


def prepare(workspace: Path) -> tuple[Engine, dict[str, Path]]:
    """Workspace, mosaic and query pictures; what exists already is reused."""
    from PIL import Image

    engine = rsrag.open(workspace, create=True, tile_size=TILE_SIZE, overlap=OVERLAP)
    mosaic = read_mosaic()
    sources = workspace / "sources"
    sources.mkdir(exist_ok=True)
    if not (sources / "blue_marble.tif").exists():
        write_cog(mosaic, sources / "blue_marble.tif")
    pictures = {}
    (workspace / "queries").mkdir(exist_ok=True)
    for asked in QUESTIONS:
        path = workspace / "queries" / f"{asked.name}.png"
        crop = altered_crop(mosaic, asked.box, turn=asked.turn, zoom=asked.zoom, blur=asked.blur)
        Image.fromarray(crop).save(path)
        pictures[asked.name] = path
    return engine, pictures


def run(workspace: Path, progress: Progress | None = None) -> tuple[Engine, list[DemoAnswer], Any]:
    """Ingest and ask; returns the open engine, the answers and the summary of the ingest."""
    engine, pictures = prepare(workspace)
    with as_file(files("rsrag.demo") / "gazetteer.geojson") as gazetteer:
        kept = workspace / "sources" / "gazetteer.geojson"
        if not kept.exists():
            kept.write_bytes(gazetteer.read_bytes())
    summary = engine.ingest([workspace / "sources"], progress=progress)
    answers = []
    for asked in QUESTIONS:
        start = time.perf_counter()
        answer = engine.ask(asked.question, image=pictures[asked.name])
        answers.append(DemoAnswer(asked, pictures[asked.name], answer, time.perf_counter() - start))
    return engine, answers, summary
