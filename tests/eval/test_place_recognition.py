"""The place-recognition suite: the same ground in other colours is found again, and the figures say so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rasters import write_tiff
from typer.testing import CliRunner

from rsrag import geo
from rsrag.cli.app import app
from rsrag.errors import BadFootprint, UsageError
from rsrag.eval import place_recognition
from rsrag.eval.place_recognition import histogram, make_queries, recolour
from rsrag.types import BBox

TILE = 64
DEGREES = 0.001
SIZE = 192


def ground() -> np.ndarray:
    """Fields and roads: blocks of random colours with noise, float [3, SIZE, SIZE]."""
    rng = np.random.default_rng(11)
    fields = rng.integers(30, 220, (3, SIZE // 6, SIZE // 6)).repeat(6, axis=1).repeat(6, axis=2)
    return fields + rng.normal(0, 6, (3, SIZE, SIZE))


def scene(path: Path, *, gain: float = 1.0, offset: float = 0.0, **options: Any) -> Path:
    data = np.clip(ground() * gain + offset, 1, 254).astype(np.uint8)
    options = {"transform": (DEGREES, 0, 3.0, 0, -DEGREES, 46.0), "crs": "EPSG:4326", **options}
    return write_tiff(path, data, colours=["red", "green", "blue"], photometric="RGB", **options)


@pytest.fixture(scope="module")
def dates(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The same ground in spring and autumn."""
    folder = tmp_path_factory.mktemp("scenes")
    autumn = scene(folder / "ground_20211010.tif", gain=0.8, offset=20)
    return str(scene(folder / "ground_20210404.tif")), str(autumn)


def test_the_same_ground_is_found_again(dates: tuple[str, str]) -> None:
    result = place_recognition.run([dates[0]], [dates[1]], tile_size=TILE, per_scene=5)
    assert result.suite == "place-recognition"
    rows = result.rows
    assert set(rows) == {"re-ranked", "layout", "embedding", "colour histogram", "chance"}
    for name in ("re-ranked", "layout", "embedding", "colour histogram"):
        assert 0 <= rows[name]["hit@1"] <= rows[name]["hit@5"] <= rows[name]["hit@20"] <= 1
    assert rows["re-ranked"]["hit@1"] >= rows["embedding"]["hit@1"]
    assert rows["layout"]["hit@1"] >= 0.8 >= rows["embedding"]["hit@1"]
    assert rows["re-ranked"]["hit@1"] >= 0.8 > rows["chance"]["hit@1"] > 0
    assert set(result.metrics) == {
        "hit@1", "hit@5", "hit@20", "embedding_hit@1", "embedding_hit@5", "embedding_hit@20", "layout_hit@1",
        "layout_hit@20", "histogram_hit@1", "chance_hit@1", "located",
    }  # fmt: skip
    assert result.metrics["hit@1"] == rows["re-ranked"]["hit@1"]
    assert result.metrics["located"] >= 0.8
    assert result.details["median error of located centres, m"] < TILE * DEGREES * 111_000 / 4
    assert (result.details["queries"], result.details["archive tiles"]) == (5, 25)


def test_queries_know_where_they_were_cut(dates: tuple[str, str]) -> None:
    queries = list(make_queries([dates[1]], TILE, 6, np.random.default_rng(3)))
    assert len(queries) == 6
    outline = geo.footprint_from_bbox(BBox(3.0, 46.0 - SIZE * DEGREES, 3.0 + SIZE * DEGREES, 46.0))
    for query in queries:
        height, width = query.picture.shape[:2]
        assert height == width
        assert np.sqrt(0.7) * TILE - 1 <= height <= TILE + 1
        assert geo.iou(query.truth, outline) == pytest.approx((height / SIZE) ** 2, rel=0.05)
    again = list(make_queries([dates[1]], TILE, 6, np.random.default_rng(3)))
    assert all(np.array_equal(a.picture, b.picture) for a, b in zip(queries, again, strict=True))


def test_scenes_that_give_no_queries_or_tiles(tmp_path: Path, dates: tuple[str, str]) -> None:
    assert list(make_queries([dates[1]], SIZE + 1, 4, np.random.default_rng(0))) == []
    with pytest.raises(UsageError, match="no queries"):
        place_recognition.run([dates[0]], [dates[1]], tile_size=SIZE + 1)
    bare = str(scene(tmp_path / "bare.tif", crs=None, transform=None))
    with pytest.raises(BadFootprint, match="no position"):
        list(make_queries([bare], TILE, 4, np.random.default_rng(0)))
    with pytest.raises(UsageError, match=r"no tiles.*no position"):
        place_recognition.run([bare], [dates[1]], tile_size=TILE)


def test_scenes_that_cannot_be_read_are_told(
    tmp_path: Path, dates: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = str(tmp_path / "gone.tif")
    measured = place_recognition.SuiteResult("place-recognition", {"hit@1": 1.0}, details={"queries": 1})
    monkeypatch.setattr(place_recognition, "_measure", lambda *_: measured)
    result = place_recognition.run([dates[0], gone], [dates[1], gone], tile_size=SIZE, per_scene=1)
    assert result.details["left out"] == 2 and all("gone.tif" in line for line in result.details["left out files"])


def test_recolouring_keeps_shape_and_changes_colours() -> None:
    picture = np.random.default_rng(0).integers(40, 200, (20, 30, 3)).astype(np.uint8)
    changed = recolour(picture, np.random.default_rng(1))
    assert changed.shape == picture.shape and changed.dtype == np.uint8
    assert not np.array_equal(changed, picture)
    grey = np.linspace(0, 255, 256).astype(np.uint8).repeat(3).reshape(1, 256, 3)
    assert (np.diff(recolour(grey, np.random.default_rng(2)).astype(int), axis=1) >= 0).all()


def test_histogram_counts_each_pixel_once() -> None:
    picture = np.zeros((2, 2, 3), np.uint8)
    picture[0, 0] = (255, 32, 0)
    counted = histogram(picture)
    assert (counted.shape, counted.sum()) == ((512,), 1.0)
    assert counted[0] == 0.75 and counted[7 * 64 + 8] == 0.25


@pytest.mark.parametrize(
    "arguments",
    [
        ("--archive", "a.tif", "b.tif", "--queries", "c.tif", "d.tif", "--seed", "4"),
        ("--seed", "4", "--queries", "c.tif", "d.tif", "--archive", "a.tif", "b.tif"),
        ("--archive", "a.tif", "--archive", "b.tif", "--seed", "4", "--queries", "c.tif", "--queries", "d.tif"),
        ("--archive", "a.tif", "--archive", "b.tif", "--queries=c.tif", "--queries", "d.tif", "--seed", "4"),
    ],
)
def test_several_values_after_one_option(arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def run(archive: list[str], queries: list[str], **options: Any) -> Any:
        seen.update(options, archive=archive, queries=queries)
        return place_recognition.SuiteResult("place-recognition", {"hit@1": 0.5})

    monkeypatch.setattr(place_recognition, "run", run)
    ran = CliRunner().invoke(app, ["eval", "place-recognition", *arguments, "--json"])
    assert ran.exit_code == 0, ran.stderr
    assert (seen["archive"], seen["queries"], seen["seed"]) == (["a.tif", "b.tif"], ["c.tif", "d.tif"], 4)
    assert (seen["tile_size"], seen["per_scene"]) == (256, 48)
    assert json.loads(ran.stdout)["metrics"] == {"hit@1": 0.5}


def test_values_after_other_options_are_refused() -> None:
    arguments = ["--archive", "a.tif", "--queries", "b.tif", "--seed", "4", "c.tif"]
    assert CliRunner().invoke(app, ["eval", "place-recognition", *arguments]).exit_code == 2
