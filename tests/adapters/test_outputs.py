"""Files of results: which are refused before any work is done, and which with the answer shown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyogrio.raw
import pytest
import shapely
from PIL import Image
from shapely.affinity import translate
from typer.testing import CliRunner

from rsrag.adapters import outputs
from rsrag.adapters.base import Subject, TaskResult
from rsrag.adapters.change.request import Acquisition, ChangeResult
from rsrag.adapters.measure import region
from rsrag.adapters.segment import SEGMENT
from rsrag.cli.app import app
from rsrag.cli.tasks import check_outputs
from rsrag.errors import UsageError
from rsrag.export_layers import LayerWriter
from rsrag.types import Sentence, Window

NOWHERE = Subject("a.png", 32, 24)
SOMEWHERE = Subject("a.tif", 32, 24, "EPSG:32631", (10.0, 0.0, 5e5, 0.0, -10.0, 5.4e6))


@pytest.mark.parametrize("name", ["x.doc", "x", "no/such/folder/x.png"])
def test_files_that_name_no_form_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot write|no folder"):
        outputs.check_ending(tmp_path / name)


def test_rasters_of_a_task_that_gives_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot write x\.TIF: caption gives no raster here"):
        check_outputs([tmp_path / "x.png", tmp_path / "x.TIF"], task="caption", rasters=False)
    check_outputs([tmp_path / "x.png", tmp_path / "x.geojson"], task="caption", rasters=False)
    check_outputs([tmp_path / "x.tif"], task="segment")
    with pytest.raises(UsageError, match="caption gives no raster here"):
        outputs.write(TaskResult("caption", NOWHERE), tmp_path / "x.tif")


@pytest.mark.parametrize("ending", ["geojson", "json", "gpkg"])
def test_maps_need_a_position(ending: str, tmp_path: Path) -> None:
    outputs.check_located(tmp_path / f"x.{ending}", SOMEWHERE)
    with pytest.raises(UsageError, match=r"a\.png has no position"):
        outputs.check_located(tmp_path / f"x.{ending}", NOWHERE)


def test_other_forms_need_none(tmp_path: Path) -> None:
    for ending in ("png", "html", "tif"):
        outputs.check_located(tmp_path / f"x.{ending}", NOWHERE)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_the_image_itself_is_not_written_over(ending: str, tmp_path: Path) -> None:
    with LayerWriter("heat", "score", 32, 24, None, None) as writer:
        writer.write(Window(0, 0, 32, 24), np.zeros((24, 32), dtype=np.float32))
    image = tmp_path / f"a.{ending}"
    image.write_bytes(b"pixels")
    result = TaskResult("ground", replace(NOWHERE, source=str(image)), layers=(writer.layer,))
    with pytest.raises(UsageError, match="it is the image that was looked at"):
        result.write(tmp_path / "." / image.name)
    assert image.read_bytes() == b"pixels"
    result.write(tmp_path / f"b.{ending}")


@pytest.fixture
def picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)).save("a.png")
    return tmp_path / "a.png"


def test_a_map_of_an_unlocated_picture_is_refused_before_it_is_worked_on(
    picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the work was done")

    monkeypatch.setattr(SEGMENT.__class__, "run", never)
    ran = CliRunner().invoke(app, ["segment", str(picture), "water", "-o", "x.png", "-o", "x.gpkg"])
    assert ran.exit_code == 2 and "cannot write x.gpkg: a.png has no position" in ran.stderr
    assert not Path("x.png").exists()


def test_the_answer_is_shown_when_only_the_end_knows(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that nobody may write to, a task that gave no raster: the answer and the other files are there."""
    result = TaskResult(
        "segment", NOWHERE, (Sentence("Water covers all.", ()),), picture=np.zeros((24, 32, 3), np.uint8)
    )
    monkeypatch.setattr(SEGMENT.__class__, "run", lambda *_: result)
    command = ["segment", str(picture), "water", "-o", "x.tif", "-o", "y.tif", "-o", "x.png"]
    ran = CliRunner().invoke(app, command)
    assert ran.exit_code == 2 and "Water covers all." in ran.stdout
    assert "error: cannot write x.tif" in ran.stderr and "warning: cannot write y.tif" in ran.stderr
    assert "written to x.png" in ran.stderr and Path("x.png").exists()
    ran = CliRunner().invoke(app, [*command, "--json"])
    assert ran.exit_code == 2 and ran.stdout.count("\n") == 1
    document = json.loads(ran.stdout)
    assert document["text"] == "Water covers all." and document["error"]["code"] == "UsageError"
    assert "error: cannot write x.tif" in ran.stderr


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_no_date_of_a_comparison_is_written_over(ending: str, tmp_path: Path) -> None:
    with LayerWriter("change", "mask", 32, 24, None, None) as writer:
        writer.write(Window(0, 0, 32, 24), np.zeros((24, 32), dtype=np.uint8))
    dates = [tmp_path / f"{year}.{ending}" for year in (1985, 2005, 2020)]
    for image in dates:
        image.write_bytes(b"pixels")
    first, second, third = (Acquisition(image.name, None, str(image)) for image in dates)
    steps = (
        ChangeResult("change", NOWHERE, before=first, after=second),
        ChangeResult("change", NOWHERE, before=second, after=third),
    )
    result = ChangeResult("change", NOWHERE, layers=(writer.layer,), before=first, after=third, steps=steps)
    for image in dates:
        with pytest.raises(UsageError, match="it is the image that was looked at"):
            result.write(image)
        with pytest.raises(UsageError, match="it is the image that was looked at"):
            (result.to_png if ending == "png" else result.to_geotiff)(image)
        assert image.read_bytes() == b"pixels"


def test_outlines_whose_holes_touch_their_outer_ring_are_valid_in_every_map(tmp_path: Path) -> None:
    grid = (28.49999999927454, 0.0, 288776.25000080315, 0.0, -28.49999999927454, 9120760.750028737)
    scene = Subject("olinda.tif", 400, 400, "EPSG:31985", grid)
    outer = [(4, 8), (4, 19), (2, 22), (6, 22), (6, 12), (9, 15), (12, 14)]
    lake = shapely.Polygon(outer, [[(7, 12), (8, 11), (8, 12)]])
    shapes = [translate(lake, col, row) for col in range(0, 360, 24) for row in range(0, 360, 24)]
    lakes = TaskResult("segment", scene, regions=tuple(region(scene, "lake", 0.9, shape) for shape in shapes))
    assert lakes.to_gpkg(tmp_path / "lakes.gpkg") == lakes.to_geojson(tmp_path / "lakes.geojson") == len(shapes)
    _, _, in_grid, _ = pyogrio.raw.read(tmp_path / "lakes.gpkg")
    assert shapely.is_valid(shapely.from_wkb(in_grid)).all()
    features = json.loads((tmp_path / "lakes.geojson").read_text())["features"]
    on_earth = [shapely.geometry.shape(feature["geometry"]) for feature in features]
    assert all(shape.is_valid for shape in on_earth)
