"""The suite "segmentation" and its metrics."""

from __future__ import annotations

import json
import struct
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from rsrag.adapters.base import Context
from rsrag.cli.app import app
from rsrag.config import Settings
from rsrag.errors import UsageError
from rsrag.eval import segmentation
from rsrag.eval.metrics.masks import Tally, boundary, boundary_f, iou
from rsrag.eval.segmentation import coco_samples, label_samples, read_classes
from rsrag.ingest.enrich import pixel_digest
from rsrag.models.registry import load_profile
from rsrag.progress import Silent


def square(left: int, side: int = 10, size: int = 40) -> Any:
    mask = np.zeros((size, size), dtype=bool)
    mask[10 : 10 + side, left : left + side] = True
    return mask


def test_overlaps_by_hand() -> None:
    assert iou(square(10), square(10)) == 1
    assert iou(square(10), square(15)) == pytest.approx(50 / 150)
    assert iou(square(0, 0), square(0, 0)) == 1
    tally = Tally()
    tally.add("a", square(10), square(10))
    tally.add("a", square(10), square(25))
    tally.add("b", square(10), square(15))
    assert tally.by_class() == {"a": pytest.approx(100 / 300), "b": pytest.approx(1 / 3)}
    figures = tally.figures()
    assert figures["mIoU"] == pytest.approx(1 / 3) and figures["cIoU"] == pytest.approx(150 / 450)
    assert figures["gIoU"] == pytest.approx((1 + 0 + 1 / 3) / 3)


def test_unknown_ground_does_not_count() -> None:
    known = np.ones((40, 40), dtype=bool)
    known[:, 15:] = False
    tally = Tally()
    tally.add("a", square(10), square(10) & ~square(12, 8), known)
    assert tally.shared["a"] + 24 == tally.union["a"] == 50


def test_an_absent_class_is_no_mask() -> None:
    """What is not there and was not said to be there is no success; said to be there, it is too much of its class."""
    nothing = square(0, 0)
    tally = Tally()
    tally.add("a", square(10), square(10))
    tally.add("a", nothing, nothing)
    tally.add("b", nothing, nothing)
    assert tally.by_class() == {"a": 1}
    tally.add("a", square(10), nothing)
    assert tally.by_class() == {"a": 0.5}
    assert len(tally.single) == len(tally.edges) == 1
    assert tally.figures() == {"mIoU": 0.5, "cIoU": 0.5, "gIoU": 1, "boundary F": 1}


def test_boundaries() -> None:
    assert boundary(square(10)).sum() == 36 and not boundary(np.ones((9, 9), dtype=bool)).any()
    assert boundary_f(square(10), square(10)) == 1 and boundary_f(square(10), square(11)) == 1
    assert boundary_f(square(10), square(10, 0)) == 0
    assert 0 < boundary_f(square(10), square(14)) < 1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 5), st.integers(0, 5))
def test_metrics_are_symmetric_and_within_bounds(one: int, two: int) -> None:
    a, b = (np.random.default_rng(seed).random((24, 31)) > 0.6 for seed in (one, two))
    assert iou(a, b) == iou(b, a) and 0 <= iou(a, b) <= 1
    assert boundary_f(a, b) == pytest.approx(boundary_f(b, a)) and 0 <= boundary_f(a, b) <= 1


@pytest.fixture
def chips(tmp_path: Path) -> Path:
    """Two pictures with a blue half, label maps (1 water, 2 grass, 3 unknown) and the same as COCO polygons."""
    rng = np.random.default_rng(0)
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    annotations = []
    for number in range(2):
        picture = np.empty((64, 96, 3), dtype=np.uint8)
        picture[:, :48], picture[:, 48:] = (120, 70, 30), (60, 140, 60)  # as OpenCV orders: blue, green, red
        picture = np.clip(picture + rng.integers(-9, 10, picture.shape), 0, 255).astype(np.uint8)
        label = np.full((64, 96), 2, dtype=np.uint8)
        label[:, :48] = 1
        label[:4] = 3
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), picture)
        grey = np.repeat(label[..., None], 3, axis=2) if number else label  # both ways of writing a label map
        cv2.imwrite(str(tmp_path / "labels" / f"{number}.png"), grey)
        ring = [0, 4, 48, 4, 48, 64, 0, 64]
        annotations.append({"image_id": number, "category_id": 7, "segmentation": [ring] if number else str(ring)})
    table = {
        "images": [{"id": n, "file_name": f"{n}.png"} for n in range(2)],
        "categories": [{"id": 7, "name": "water"}],
        "annotations": annotations,
    }
    (tmp_path / "coco.json").write_text(json.dumps(table))
    (tmp_path / "classes.json").write_text('{"1": "water", "2": "grass", "3": null}')
    return tmp_path


@pytest.fixture(scope="module")
def context() -> Context:
    return Context(load_profile(Settings()), Settings())


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["eval", "segmentation", *map(str, arguments)])


def test_label_maps(chips: Path) -> None:
    ran = run("--images", chips / "images", "--labels", chips / "labels", "--classes", chips / "classes.json", "--json")
    assert ran.exit_code == 0, ran.stderr
    document = json.loads(ran.stdout)
    assert document["suite"] == "segmentation" and document["details"]["masks"] == 4
    assert set(document["rows"]) == {"shipped", "refined", "heat map", "whole picture", "labelling (all classes)"}
    assert document["rows"]["shipped"] == document["rows"]["refined"], "words that the decoder does not know"
    assert "LEAKED" not in document["details"]
    # Half of what is known of each picture is water, half is grass: so says the whole picture as answer.
    assert document["rows"]["whole picture"]["mIoU"] == pytest.approx(0.5)
    assert all(0 <= v <= 1 for row in document["rows"].values() for v in row.values())


def test_pictures_without_a_label_map_are_told(chips: Path) -> None:
    (chips / "labels" / "1.png").unlink()
    ran = run("--images", chips / "images", "--labels", chips / "labels", "--classes", chips / "classes.json", "--json")
    assert ran.exit_code == 3 and "1 of 2 pictures, the first is 1.png" in ran.stderr
    details = json.loads(ran.stdout)["details"]
    assert details["pictures"] == 1 and details["without a label map"] == "1 of 2 pictures, the first is 1.png"


def test_what_is_shipped_is_the_decoder_where_it_knows_the_words(chips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Decoder:
        classes, fingerprint = ("building",), "scripted:1"
        trained_on = frozenset({pixel_digest(cv2.imread(str(chips / "images" / "0.png"))[..., ::-1])[:16]})

        def scores(self, picture: Any) -> Any:
            left = np.zeros(picture.shape[:2], dtype=np.float32)
            left[:, :48] = 1
            return left[None]

    classes = chips / "buildings.json"
    classes.write_text('{"1": "buildings", "2": "grass", "3": null}')
    monkeypatch.setattr(segmentation.pixelhead, "shipped", Decoder)
    ran = run("--images", chips / "images", "--labels", chips / "labels", "--classes", classes, "--json")
    assert ran.exit_code == 0, ran.stderr
    document = json.loads(ran.stdout)
    assert document["details"]["IoU by class, shipped"]["buildings"] == 1
    refined, shipped = (document["details"][f"IoU by class, {name}"]["grass"] for name in ("refined", "shipped"))
    assert refined == shipped, "the heat map answers for the others"
    assert document["details"]["LEAKED"].startswith("1 of 2 pictures were in the training")


def test_polygons(chips: Path) -> None:
    ran = run("--images", chips / "images", "--coco", chips / "coco.json", "--limit", 1)
    assert ran.exit_code == 0, ran.stderr
    assert "refined" in ran.stdout and "pictures: 1" in ran.stdout


def test_values_with_the_same_words_are_one_class(chips: Path, context: Context) -> None:
    classes = {1: "building", 2: "building"}
    for sample in label_samples(chips / "images", chips / "labels", classes, context):
        assert set(sample.truth) == {"building"}
        assert np.array_equal(sample.truth["building"], sample.known) and sample.known.any()


class Everywhere:
    """A heat map that sees grass all over, and nothing else."""

    fingerprint = "everywhere:1"

    def __init__(self, context: Context) -> None:
        pass

    def query(self, text: str, background: tuple[str, ...] = ()) -> str:
        return text

    def heats(self, picture: Any, queries: list[str]) -> Any:
        return np.stack([np.full(picture.shape[:2], 0.9 if q == "grass" else 0.1, dtype=np.float32) for q in queries])


def test_the_labelling_is_measured_on_what_a_picture_shows(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Water is not there and not found: that is no mask of IoU 1, as it is none in the other rows."""
    monkeypatch.setattr(segmentation, "HeatMapper", Everywhere)
    known = np.ones((40, 40), dtype=bool)
    truth = {"water": square(0, 0), "grass": square(10, 20)}
    sample = segmentation.Sample("a", np.zeros((40, 40, 3), dtype=np.uint8), truth, known)
    found = segmentation.measure(iter([sample]), context, labelled=True, progress=Silent())
    row, whole = found.rows["labelling (all classes)"], found.rows["whole picture"]
    assert found.details["masks"] == 1
    assert dict(row) == dict(whole) and row["gIoU"] == row["mIoU"] == 400 / 1600


def with_polygons(chips: Path, *polygons: Any) -> Path:
    table = json.loads((chips / "coco.json").read_text())
    table["annotations"] = [{"image_id": 0, "category_id": 7, "segmentation": value} for value in polygons]
    (chips / "coco.json").write_text(json.dumps(table))
    return chips / "coco.json"


def test_parts_of_an_annotation_that_overlap_are_one_thing(chips: Path, context: Context) -> None:
    parts = [[10, 10, 30, 10, 30, 30, 10, 30], [20, 10, 40, 10, 40, 30, 20, 30]]
    (sample,) = coco_samples(chips / "images", with_polygons(chips, parts), context)
    assert sample.truth["water"][10:30, 10:40].all() and sample.truth["water"].sum() == 20 * 30


@pytest.mark.parametrize("empty", [[], [[]], [[5, 5]], [[5, 5, 9, 9]], "[]"])
def test_annotations_without_a_polygon_are_left_out(chips: Path, context: Context, empty: Any) -> None:
    square_ = [10, 10, 20, 10, 20, 20, 10, 20]
    (sample,) = coco_samples(chips / "images", with_polygons(chips, empty, square_), context)
    assert sample.truth["water"].sum() == 10 * 10
    with pytest.raises(UsageError, match="has a polygon"):
        list(coco_samples(chips / "images", with_polygons(chips, empty), context))


def test_polygons_of_no_numbers_are_refused(chips: Path, context: Context) -> None:
    with pytest.raises(UsageError, match="no number"):
        list(coco_samples(chips / "images", with_polygons(chips, [[0, 0, float("nan"), 0, 9, 9]]), context))


def test_bad_data(chips: Path) -> None:
    images, labels, classes = chips / "images", chips / "labels", chips / "classes.json"
    assert run("--images", images).exit_code == 2
    assert run("--images", images, "--labels", labels).exit_code == 2
    assert run("--images", chips / "none", "--labels", labels, "--classes", classes).exit_code == 2
    assert run("--images", images, "--coco", classes).exit_code == 2
    (chips / "empty").mkdir()
    assert "label map" in run("--images", images, "--labels", chips / "empty", "--classes", classes).stderr
    cv2.imwrite(str(labels / "0.png"), np.random.default_rng(0).integers(0, 255, (64, 96, 3)).astype(np.uint8))
    assert "not a label map" in run("--images", images, "--labels", labels, "--classes", classes).stderr
    (labels / "0.png").write_text("no picture")
    assert "cannot read" in run("--images", images, "--labels", labels, "--classes", classes).stderr
    cv2.imwrite(str(labels / "0.png"), np.zeros((9, 9), dtype=np.uint8))
    assert "differ in size" in run("--images", images, "--labels", labels, "--classes", classes).stderr


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"a": "water"}',
        '{"1": null}',
        '{"1": " "}',
        "nothing",
        '{"1": ["x"], "2"',
        '{"1,2": "a"}',
        '{"1,2,256": "a"}',
        '{"1": "a", "1,2,3": "b"}',
    ],
)
def test_bad_classes(tmp_path: Path, text: str) -> None:
    (tmp_path / "classes.json").write_text(text)
    with pytest.raises(UsageError):
        read_classes(tmp_path / "classes.json")


def test_masks_in_run_lengths_and_plain_boxes_are_left_out(chips: Path, context: Context) -> None:
    """Crowds, which most files of COCO's form have, carry run lengths; boxes alone carry nothing."""
    table = json.loads((chips / "coco.json").read_text())
    crowd = {"image_id": 0, "category_id": 7, "iscrowd": 1, "segmentation": {"counts": [1, 2], "size": [64, 96]}}
    table["annotations"] += [crowd, {"image_id": 0, "category_id": 7, "bbox": [1, 1, 4, 4]}]
    (chips / "crowds.json").write_text(json.dumps(table))
    both = [list(coco_samples(chips / "images", chips / name, context)) for name in ("coco.json", "crowds.json")]
    for plain, crowded in zip(*both, strict=True):
        assert plain.name == crowded.name and np.array_equal(plain.truth["water"], crowded.truth["water"])


def test_only_drawn_pictures_are_read(chips: Path, context: Context) -> None:
    classes = read_classes(chips / "classes.json")
    everything = [s.name for s in label_samples(chips / "images", chips / "labels", classes, context)]
    assert everything == ["0.png", "1.png"]
    (kept,) = (s.name for s in label_samples(chips / "images", chips / "labels", classes, context, limit=1, seed=3))
    other = next(name for name in everything if name != kept)
    (chips / "images" / other).write_bytes(b"nothing")
    again = label_samples(chips / "images", chips / "labels", classes, context, limit=1, seed=3)
    assert [s.name for s in again] == [kept]


def test_pictures_are_held_one_at_a_time(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmentation, "HeatMapper", Everywhere)
    held: list[weakref.ref[Any]] = []

    def samples() -> Iterator[segmentation.Sample]:
        for number in range(4):
            assert sum(one() is not None for one in held) <= 1
            picture = np.zeros((40, 40, 3), dtype=np.uint8)
            held.append(weakref.ref(picture))
            known = np.ones((40, 40), dtype=bool)
            yield segmentation.Sample(str(number), picture, {"grass": square(10)}, known)
            del picture

    found = segmentation.measure(samples(), context, labelled=False, progress=Silent())
    assert found.details["pictures"] == 4


def test_label_maps_without_any_of_the_classes_are_refused(chips: Path) -> None:
    (chips / "others.json").write_text('{"11": "water", "12": "grass"}')
    ran = run("--images", chips / "images", "--labels", chips / "labels", "--classes", chips / "others.json")
    assert ran.exit_code == 2 and "none of 2 pictures shows any of the classes" in ran.stderr
    assert "the label maps hold 1 2 3; asked for were 11 12" in ran.stderr


def test_label_maps_painted_in_colours(tmp_path: Path, context: Context) -> None:
    """DeepGlobe: pictures and maps in one folder; Potsdam: in two, with other endings of the names."""
    label = np.zeros((40, 48, 3), dtype=np.uint8)
    label[:, :16], label[:, 16:32] = (0, 0, 255), (0, 255, 255)  # as OpenCV orders: blue, green, red
    picture = np.random.default_rng(0).integers(0, 255, label.shape).astype(np.uint8)
    layouts = (
        ("one", "119_sat.jpg", "one", "119_mask.png"),
        ("rgb", "top_2_10_RGB.tif", "all", "top_2_10_label.tif"),
        ("a", "P0000.png", "b", "P0000_instance_color_RGB.png"),
    )
    (tmp_path / "classes.json").write_text('{"255,0,0": "building", "255, 255, 0": "road", "(0,0,0)": null}')
    classes = read_classes(tmp_path / "classes.json")
    for images, name, labels, other in layouts:
        for folder, file, pixels in ((images, name, picture), (labels, other, label)):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / file), pixels)
        (tmp_path / images / f"._{name}").write_bytes(b"left by macOS")
        (sample,) = label_samples(tmp_path / images, tmp_path / labels, classes, context)
        assert sample.name == name and sample.known.sum() == 40 * 32
        assert sample.truth["building"][:, :16].all() and sample.truth["building"].sum() == 40 * 16
        assert sample.truth["road"][:, 16:32].all() and sample.truth["road"].sum() == 40 * 16
    with pytest.raises(UsageError, match=r"not a label map .*255,0,0"):
        list(label_samples(tmp_path / "one", tmp_path / "one", {1: "building"}, context))
    with pytest.raises(UsageError, match="the label maps hold 0,0,0 255,0,0 255,255,0; asked for were 1,2,3"):
        list(label_samples(tmp_path / "one", tmp_path / "one", {(1, 2, 3): "building"}, context))


def test_pictures_that_are_gone_are_told_before_the_work(chips: Path, context: Context) -> None:
    (chips / "images" / "1.png").unlink()
    with pytest.raises(UsageError, match=r"1 of 2 pictures of coco\.json are not in .*the first is 1\.png"):
        next(coco_samples(chips / "images", chips / "coco.json", context))


def test_a_label_map_too_large_to_open_is_refused(chips: Path) -> None:
    label = chips / "labels" / "0.png"
    data = bytearray(label.read_bytes())
    data[16:24] = struct.pack(">II", 20_000, 20_000)  # the size in the header of a PNG file, then its checksum
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    label.write_bytes(data)
    ran = run("--images", chips / "images", "--labels", chips / "labels", "--classes", chips / "classes.json")
    assert ran.exit_code == 2 and "cannot read" in ran.stderr and "exceeds limit" in ran.stderr
