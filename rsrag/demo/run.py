"""The demo: ingest the Blue Marble and a gazetteer, then ask about three pictures that lost their coordinates."""

from __future__ import annotations

import os
import shutil
import sys
import time
from dataclasses import dataclass
from importlib.resources import files
from json import dumps
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import rsrag
from rsrag.demo.mosaic import altered_crop, read_mosaic, write_cog
from rsrag.engine import Engine
from rsrag.errors import ExitCode
from rsrag.report import write_page
from rsrag.types import Answer, BBox

if TYPE_CHECKING:
    from rich.console import Console

    from rsrag.ingest.summary import IngestSummary
    from rsrag.progress import Progress

TILE_SIZE, OVERLAP = 128, 0.5
_ENOUGH = 2


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
    DemoQuestion("delta", "Nile Delta", BBox(27.5, 27.0, 35.5, 33.0), 140, 2.0, 0.8, "What is this place?"),
    DemoQuestion(
        "island",
        "Madagascar",
        BBox(40.0, -27.5, 54.0, -10.5),
        215,
        0.8,
        0.7,
        "Which island is this, and how large is it?",
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


def run_demo(
    workspace: Path,
    *,
    console: Console,
    json: bool = False,
    report: Path | None = None,
    progress: Progress | None = None,
) -> int:
    """Run the demo and tell about it.

    Args:
        workspace: directory that is made or reused.
        console: where the story goes.
        json: also print one JSON object on stdout.
        report: where the page goes; ``report.html`` in the workspace by default.
        progress: told of the ingest's steps.

    Returns:
        0 when at least two of the three places come first, else 1.
    """
    start = time.perf_counter()
    console.print("Ingesting the NASA Blue Marble mosaic and a gazetteer of places...", markup=False)
    engine, summary = ingest_demo(workspace, progress)
    with engine:
        counts = engine.status()["counts"]
        console.print(
            f"  {counts['tiles']} tiles at several scales, {counts['places']} places, {counts['passages']} passages"
            f" ({summary.seconds:.0f} s)\n",
            markup=False,
        )
        answers = ask_demo(engine)
        page = report or workspace / "report.html"
        for given in answers:
            _tell(console, given)
        best = answers[0]
        write_page(engine, page, best.answer, image=engine.picture(best.picture))
    right = sum(given.right for given in answers)
    console.print(f"{right} of {len(answers)} places recognised, {time.perf_counter() - start:.0f} s in all.")
    _next_steps(console, workspace, best.picture, page)
    if json:
        sys.stdout.write(dumps(_as_json(answers, page)) + "\n")
    return ExitCode.OK if right >= _ENOUGH else ExitCode.NOTHING


def ingest_demo(workspace: Path, progress: Progress | None = None) -> tuple[Engine, IngestSummary]:
    """The demo's archive; what exists already is reused. The engine is left open."""
    engine = rsrag.open(workspace, create=True, tile_size=TILE_SIZE, overlap=OVERLAP)
    sources = workspace / "sources"
    sources.mkdir(exist_ok=True)
    if not (sources / "blue_marble.tif").exists():
        write_cog(read_mosaic(), sources / "blue_marble.tif")
    gazetteer = (files("rsrag.demo") / "gazetteer.geojson").read_bytes()
    if not (sources / "gazetteer.geojson").exists() or (sources / "gazetteer.geojson").read_bytes() != gazetteer:
        (sources / "gazetteer.geojson").write_bytes(gazetteer)
    try:
        return engine, engine.ingest([sources], progress=progress)
    except BaseException:
        engine.close()
        raise


def ask_demo(engine: Engine) -> list[DemoAnswer]:
    """Write the altered pictures and ask about them."""
    from PIL import Image

    mosaic = read_mosaic()
    folder = engine.path / "queries"
    folder.mkdir(exist_ok=True)
    answers = []
    for asked in QUESTIONS:
        path = folder / f"{asked.name}.png"
        crop = altered_crop(mosaic, asked.box, turn=asked.turn, zoom=asked.zoom, blur=asked.blur)
        Image.fromarray(crop).save(path)
        start = time.perf_counter()
        answer = engine.ask(asked.question, image=path)
        answers.append(DemoAnswer(asked, path, answer, time.perf_counter() - start))
    return answers


def _tell(console: Console, given: DemoAnswer) -> None:
    asked, answer = given.asked, given.answer
    altered = f"turned by {asked.turn:g}°, at {asked.zoom:g}× its size, blurred, without coordinates"
    console.print(f"{given.picture.name} ({altered})", markup=False, style="dim")
    console.print(f"  Q: {asked.question}", markup=False, style="bold")
    console.print(f"  A: {answer.text}", markup=False)
    cited = {n for s in answer.sentences for n in s.citations}
    for evidence in answer.evidence:
        if evidence.number in cited:
            hit = evidence.hit
            about = (
                "; ".join(hit.passage.sources)
                if hit.passage
                else f"tile window {tuple(hit.tile.window)}"
                if hit.tile
                else ""
            )
            console.print(f"     [{evidence.number}] {hit.title}{f': {about}' if about else ''}", markup=False)
    if answer.location is not None:
        where = answer.location
        spot = f"{where.lat:.2f}, {where.lon:.2f} (by {where.method}, confidence {where.confidence:.2f})"
        console.print(f"     located at {spot}; {given.seconds:.1f} s\n", markup=False)


def _program() -> str:
    """How this program is called from here: by name, or by its path where a virtual environment is not active."""
    beside = Path(sys.executable).parent / "rsrag"
    if shutil.which("rsrag") or not beside.exists():
        return "rsrag"
    return os.path.relpath(beside)


def _next_steps(console: Console, workspace: Path, picture: Path, page: Path) -> None:
    program, archive = quote(_program()), quote(str(workspace))
    lines = [
        f"Page with map and evidence: {page}",
        "Next:",
        f'  {program} -w {archive} ask --image {quote(str(picture))} "What is this place?"',
        f'  {program} -w {archive} ask "How deep is Lake Baikal?"',
        f"  {program} -w {archive} search desert --bbox 10 15 60 35",
        f"  {program} -w {archive} export tiles.geojson",
        f"  {program} init my-archive && {program} -w my-archive ingest IMAGERY... --knowledge PLACES.geojson",
    ]
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def _as_json(answers: list[DemoAnswer], page: Path) -> dict[str, Any]:
    rows = [
        {
            "question": given.asked.question,
            "picture": str(given.picture),
            "expected": given.asked.place,
            "place": given.place,
            "answer": given.answer.text,
            "seconds": round(given.seconds, 3),
        }
        for given in answers
    ]
    return {"answers": rows, "right": sum(given.right for given in answers), "report": str(page)}
