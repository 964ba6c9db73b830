"""Semantic localisation: maps from crops, on composed scenes and on files, with their pictures and rasters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from colour_encoder import install, tinted, write_classes
from PIL import Image
from rasters import TEN_METRES, UTM31, write_tiff

from rsrag.errors import SourceError, SourceTooLarge, UnreadableSource, UsageError
from rsrag.eval import selo, selo_maps
from rsrag.eval.encoders import open_encoder
from rsrag.eval.selo_maps import Crop, ScoredScene, crops_of_picture, plan_crops, score_scene, text_vectors
from rsrag.eval.selo_picture import blend, draw_heat_map
from rsrag.types import Window

SIZE, TILE = 128, 32
TARGET = shapely.box(64, 32, 96, 64)


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    return install(monkeypatch, tmp_path)


def ground() -> Any:
    """Green everywhere, red in the target: uint8 [SIZE, SIZE, 3]."""
    picture = np.concatenate([np.concatenate([tinted("green", 9 * i + j) for j in range(4)], axis=1) for i in range(4)])
    picture[32:64, 64:96] = tinted("red", 99)
    return picture


def scored(encoder: str, text: str = "red") -> ScoredScene:
    model, plan = open_encoder(encoder=encoder), plan_crops(SIZE, SIZE, TILE // 2)
    texts = text_vectors(model, [(text,)])
    return score_scene(crops_of_picture(ground(), plan), (SIZE, SIZE), plan, model, texts)


def scene_file(path: Path, **options: Any) -> Path:
    return write_tiff(path, ground().transpose(2, 0, 1), colours=["red", "green", "blue"], photometric="RGB", **options)


def queries_file(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


# --- maps -------------------------------------------------------------------------------------------------------------


def test_every_cell_gets_the_mean_of_its_crops(encoder: str) -> None:
    scene = scored(encoder)
    values = np.random.default_rng(5).random(len(scene.edges))
    total, count = np.zeros((SIZE, SIZE)), np.zeros((SIZE, SIZE))
    for (left, top, right, bottom), value in zip(scene.edges, values, strict=True):
        total[top:bottom, left:right] += value
        count[top:bottom, left:right] += 1
    assert scene.mean(values) == pytest.approx(total / count)
    assert sorted({int(right - left) for left, _, right, _ in scene.edges}) == [16, 32, 48]


def test_the_likelihood_peaks_in_the_target(encoder: str) -> None:
    scene = scored(encoder)
    likelihood = scene.likelihood(scene.scores[:, 0])
    assert likelihood[40:56, 72:88].min() > 0.8 > 0.2 > likelihood[80:, :40].max()
    assert np.array_equal(scene.picture, ground())


def test_the_cover_of_crops_is_their_share_of_the_target(encoder: str) -> None:
    scene = scored(encoder)
    cover = {tuple(edges): share for edges, share in zip(scene.edges.tolist(), scene.cover([TARGET]), strict=True)}
    assert cover[64, 32, 96, 64] == 1 and cover[0, 0, 16, 16] == 0
    assert cover[48, 32, 80, 64] == 0.5 and cover[56, 32, 72, 48] == 0.5


def test_crops_without_data_leave_a_gap(encoder: str) -> None:
    model, plan = open_encoder(encoder=encoder), plan_crops(64, 32, 32)
    crops = [Crop(Window(0, 0, 32, 32), tinted("red", 1)), None, Crop(Window(32, 0, 32, 32), tinted("red", 2), 0.0)]
    scene = score_scene(crops, (64, 32), plan, model, text_vectors(model, [("red",)]))
    assert (len(scene.edges), scene.failed) == (1, 1)
    assert np.isnan(scene.mean(scene.scores[:, 0])[:, 32:]).all()
    assert (scene.likelihood(scene.scores[:, 0])[:, :32] == 1).all()


def test_the_map_of_a_huge_scene_stays_small(encoder: str) -> None:
    width, height = 110_000, 90_000
    model, plan = open_encoder(encoder=encoder), plan_crops(width, height)
    assert (plan.base, plan.text) == (256, "256, 512, 768 px")
    crops = [
        Crop(Window(100_000, 50_000, 256, 256), tinted("red", 1, 256)),
        Crop(Window(0, 0, 512, 512), tinted("red", 1)),
    ]
    scene = score_scene(crops, (width, height), plan, model, text_vectors(model, [("red",)]))
    assert scene.picture.shape[0] * scene.picture.shape[1] <= 1.01 * selo_maps.MAX_CELLS
    assert (scene.edges[:, 2:] > scene.edges[:, :2]).all()
    (region,) = scene.regions([shapely.box(100_000, 50_000, 100_256, 50_256)])
    assert region.centroid.x == pytest.approx(scene.edges[0, [0, 2]].mean(), abs=1)


def test_small_scenes_have_small_crops() -> None:
    assert plan_crops(400, 600).base == 100
    assert plan_crops(5000, 6000).base == 256
    with pytest.raises(SourceTooLarge, match="crops from 16 pixels on"):
        plan_crops(50_000, 50_000, 16)


def test_phrases_are_averaged_to_unit_length(encoder: str) -> None:
    vectors = text_vectors(open_encoder(encoder=encoder), [("red", "blue"), ("green",)])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1)
    assert vectors[0, :3] == pytest.approx(np.array([1, 0, 1]) / np.sqrt(2))


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_the_picture_shows_scene_map_and_legend() -> None:
    likelihood = np.zeros((SIZE, SIZE), np.float32)
    likelihood[32:64, 64:96] = 1
    text = "a very long query about a red field somewhere between many green ones " * 3
    drawn = draw_heat_map(
        ground(), likelihood, text=text, regions=[TARGET], centres=[(80, 48)], figures={"rmi": 0.9}, note="a model"
    )
    assert drawn.dtype == np.uint8 and drawn.shape[1] > 2 * 640 and (drawn[:10] == 255).all()
    once = draw_heat_map(ground(), likelihood, text="red", regions=[TARGET], centres=[], figures={}, note="")
    assert once.shape[1] == drawn.shape[1] and once.shape[0] < drawn.shape[0]
    other = draw_heat_map(ground(), 1 - likelihood, text="red", regions=[TARGET], centres=[], figures={}, note="")
    assert not np.array_equal(once, other)


def test_the_blend_is_bright_where_the_text_is_likely_and_plain_where_nothing_is_known() -> None:
    grey = np.full((2, 3, 3), 120, np.uint8)
    mixed = blend(grey, np.array([[0, 1, np.nan]] * 2, np.float32))
    assert mixed[0, 1].sum() > mixed[0, 2].sum() > mixed[0, 0].sum()
    assert mixed[0, 2].tolist() == [102, 102, 102]


# --- suites -----------------------------------------------------------------------------------------------------------


def test_composed_scenes_end_to_end(encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selo, "PICTURES", 2)
    data = write_classes(tmp_path / "colours")
    keep, report = tmp_path / "kept", tmp_path / "report"
    result = selo.run_composed(data, split=None, scenes=3, encoder=encoder, keep=keep, report=report)
    figures = result.metrics
    assert set(figures) == {"rsu", "rda", "ras", "rmi", "rmi_low", "rmi_high"}
    assert figures["rmi_low"] <= figures["rmi"] <= figures["rmi_high"]
    rows = result.rows
    assert rows["share of target (ceiling)"]["rmi"] > 0.9
    assert figures["rmi"] > 0.7 and figures["rmi"] > rows["random scores"]["rmi"] + 0.1
    assert rows["same everywhere"]["rsu"] == pytest.approx(1 - np.exp(-0.707), abs=1e-5)
    assert {f"colours: {kind}" for kind in ("one target", "two targets", "two classes")} <= set(rows)
    assert any("published" in name for name in rows)
    assert result.details["queries"] == 9 and len(result.tables["By query"]) == 9
    assert len(list(report.glob("scene-*.png"))) == 2
    assert "scene-01" in (report / "report.html").read_text(encoding="utf-8")
    again = selo.run_composed(data, split=None, scenes=3, encoder=encoder)
    assert again.metrics == figures
    # A kept scene is measured alike as a file.
    first = selo.run_scene(keep / "scene-01.tif", keep / "scene-01.json", base=TILE // 2, encoder=encoder)
    own = [row for row in result.tables["By query"] if row["scene"] == "scene-01"]
    for row, expected in zip(first.tables["By query"], own, strict=True):
        assert (row["query"], row["kind"]) == (expected["query"], expected["kind"])
        assert row["rmi"] == pytest.approx(expected["rmi"], abs=0.02)


def test_captions_bring_classes_whose_words_a_file_may_give(encoder: str, tmp_path: Path) -> None:
    data = write_classes(tmp_path / "colours", each=2, size=16, colours=("red", "green", "blue"))
    rows = [
        {"file": p.relative_to(data).as_posix(), "class": p.parent.name, "captions": [f"it is {p.parent.name}"]}
        for p in sorted(data.rglob("*.png"))
    ]
    captions = queries_file(tmp_path / "captions.json", rows)
    labels = queries_file(tmp_path / "labels.json", {"red": "red roof", "green": "green field", "blue": "blue sea"})
    options: dict[str, Any] = {"captions": captions, "split": None, "scenes": 1, "grid": 3, "encoder": encoder}
    result = selo.run_composed(data, labels_file=labels, **options)
    *named, caption = result.tables["By query"]
    assert named[0]["query"] in {"red roof", "green field", "blue sea"}
    assert (caption["kind"], caption["query"][:6]) == ("caption", "it is ")
    assert selo.run_composed(data, **options).tables["By query"][0]["query"] in {"red", "green", "blue"}
    queries_file(captions, [{"file": row["file"], "captions": row["captions"]} for row in rows])
    with pytest.raises(UsageError, match="no entry names a class"):
        selo.run_composed(data, **options)


def test_a_scene_of_ones_own(encoder: str, tmp_path: Path) -> None:
    scene = scene_file(tmp_path / "scene.tif")
    asked = [
        {"text": "red", "boxes": [[64, 32, 96, 64]]},
        {"text": "green", "polygons": [[[0, 64], [128, 64], [128, 128], [0, 128]]]},
    ]
    result = selo.run_scene(scene, queries_file(tmp_path / "q.json", asked), encoder=encoder, report=tmp_path / "out")
    red, green = result.tables["By query"]
    assert red["rmi"] > 0.9 and green["query"] == "green"
    assert result.details["maps"] == ["query-01.tif", "query-02.tif"]
    with rasterio.open(tmp_path / "out" / "query-01.tif") as raster:
        assert (raster.crs.to_string(), raster.dtypes, raster.count) == (UTM31, ("float32",), 1)
        assert tuple(raster.transform)[:6] == TEN_METRES and np.isnan(raster.nodata)
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert raster.tags()["QUERY"] == "red" and raster.descriptions == ("likelihood of: red",)
        values = raster.read(1)
    row, col = np.unravel_index(np.argmax(values), values.shape)
    assert values.shape == (SIZE, SIZE) and 32 <= row < 64 and 64 <= col < 96
    with Image.open(tmp_path / "out" / "scene-query-1-red.png") as drawn:
        assert drawn.width > 1200


def test_regions_in_pixels_on_the_map_and_in_degrees_are_the_same(encoder: str, tmp_path: Path) -> None:
    from pyproj import Transformer

    scene = scene_file(tmp_path / "scene.tif")
    corners = [(x, y) for x, y in ((64, 32), (96, 32), (96, 64), (64, 64))]
    a, _, c, _, e, f = TEN_METRES
    on_map = [(c + a * x, f + e * y) for x, y in corners]
    degrees = [Transformer.from_crs(UTM31, 4326, always_xy=True).transform(x, y) for x, y in on_map]
    found = []
    for system, ring in (("pixels", corners), ("map", on_map), ("lonlat", degrees)):
        document = {"coordinates": system, "queries": [{"text": "red", "polygons": [ring]}]}
        result = selo.run_scene(scene, queries_file(tmp_path / f"{system}.json", document), encoder=encoder)
        found.append(result.metrics)
    assert found[1] == pytest.approx(found[0], abs=1e-3) and found[2] == pytest.approx(found[0], abs=1e-3)


def test_a_picture_without_position_gives_maps_but_no_rasters(encoder: str, tmp_path: Path) -> None:
    scene = tmp_path / "photo.png"
    Image.fromarray(ground()).save(scene)
    queries = queries_file(tmp_path / "q.json", [{"text": "red", "boxes": [[64, 32, 96, 64]]}])
    result = selo.run_scene(scene, queries, encoder=encoder, report=tmp_path / "out")
    assert result.metrics["rmi"] > 0.9 and "maps" not in result.details
    assert not list((tmp_path / "out").glob("*.tif"))
    lost = queries_file(
        tmp_path / "map.json", {"coordinates": "map", "queries": [{"text": "red", "boxes": [[0, 0, 9, 9]]}]}
    )
    with pytest.raises(UsageError, match="no position"):
        selo.run_scene(scene, lost, encoder=encoder)


@pytest.mark.parametrize(
    ("document", "match"),
    [
        ([], "no queries"),
        ({"coordinates": "feet", "queries": [{}]}, "unknown coordinates"),
        ([{"boxes": [[0, 0, 9, 9]]}], "no 'text'"),
        ([{"text": "red"}], "neither 'boxes' nor 'polygons'"),
        ([{"text": "red", "boxes": [[0, 0, 9]]}], "query 1"),
        ([{"text": "red", "boxes": [[500, 500, 600, 600]]}], "outside the scene"),
        ([{"text": "red", "polygons": [[[0, 0], [9, 9], [9, 0], [0, 9]]]}], "crosses itself"),
        ([{"text": "red", "phrases": [3], "boxes": [[0, 0, 9, 9]]}], "phrases"),
    ],
)
def test_queries_that_do_not_fit(encoder: str, tmp_path: Path, document: Any, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        selo.run_scene(scene_file(tmp_path / "s.tif"), queries_file(tmp_path / "q.json", document), encoder=encoder)


def test_what_is_no_scene(encoder: str, tmp_path: Path) -> None:
    queries = queries_file(tmp_path / "q.json", [{"text": "red", "boxes": [[0, 0, 9, 9]]}])
    (tmp_path / "empty.tif").write_bytes(b"")
    with pytest.raises(UnreadableSource):
        selo.run_scene(tmp_path / "empty.tif", queries, encoder=encoder)
    (tmp_path / "notes.txt").write_text("no image", encoding="utf-8")
    with pytest.raises(SourceError, match="no image"):
        selo.run_scene(tmp_path / "notes.txt", queries, encoder=encoder)


def test_a_scene_that_was_in_training_is_refused(encoder: str, tmp_path: Path) -> None:
    import hashlib

    scene = scene_file(tmp_path / "scene.tif")
    queries = queries_file(tmp_path / "q.json", [{"text": "red", "boxes": [[64, 32, 96, 64]]}])
    weights = tmp_path / "colours"
    weights.mkdir()
    row = {"source": "s", "file": scene.name, "sha256": hashlib.sha256(scene.read_bytes()).hexdigest(), "dhash": ""}
    (weights / "manifest.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"training.*scene\.tif"):
        selo.run_scene(scene, queries, encoder=encoder)
    marked = selo.run_scene(scene, queries, encoder=encoder, allow_leaked=True)
    assert "LEAKED" in marked.details
