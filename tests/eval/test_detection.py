"""The suite "detection": average precision against hand-worked cases, and the suite on a small COCO set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from rsrag.adapters.base import Context
from rsrag.cli.app import app
from rsrag.config import Settings
from rsrag.errors import UsageError
from rsrag.eval import detection
from rsrag.eval.metrics.boxes import Found, accuracy_at, area_under, average_precision, count_error, hits
from rsrag.models.boxes import as_boxes
from rsrag.models.registry import load_profile

TRUTH = {"a": as_boxes([[0, 0, 10, 10], [20, 0, 30, 10]]), "b": as_boxes([[0, 0, 10, 10]])}


def found(*rows: tuple[float, float, float, float, float]) -> Found:
    return Found(as_boxes([row[:4] for row in rows]), np.array([row[4] for row in rows]))


def test_all_right_is_one_and_nothing_is_zero() -> None:
    given_ = {key: Found(boxes, np.full(len(boxes), 0.5)) for key, boxes in TRUTH.items()}
    assert average_precision(given_, TRUTH) == 1
    assert average_precision({}, TRUTH) == 0
    assert average_precision(given_, {"a": as_boxes([])}) is None


def test_a_case_worked_by_hand() -> None:
    # Right, wrong, right, right by falling score: precision 1, 1/2, 2/3, 3/4 at recalls 1/3, 1/3, 2/3, 1.
    given_ = {
        "a": found((0, 0, 10, 10, 0.9), (50, 50, 60, 60, 0.8), (20, 0, 30, 10, 0.7)),
        "b": found((0, 0, 10, 10, 0.6)),
    }
    assert average_precision(given_, TRUTH) == pytest.approx(1 / 3 * 1 + 2 / 3 * 3 / 4)
    right = np.cumsum([1, 0, 1, 1])
    assert area_under(right, np.arange(1, 5), 3) == pytest.approx(1 / 3 + 1 / 2)


def test_a_second_box_on_the_same_thing_is_wrong() -> None:
    twice = found((0, 0, 10, 10, 0.9), (0, 0, 10, 9, 0.8), (20, 0, 30, 10, 0.7))
    assert hits(twice, TRUTH["a"], 0.5).tolist() == [True, False, True]
    # The second box takes the thing that is still free, not the one with the highest overlap.
    near = Found(as_boxes([[0, 0, 10, 10], [4, 0, 14, 10]]), np.array([0.9, 0.8]))
    assert hits(near, as_boxes([[0, 0, 10, 10], [8, 0, 18, 10]]), 0.4).tolist() == [True, True]


def test_the_threshold_counts_and_overlap_is_in_pixels() -> None:
    half = {"b": found((0, 0, 10, 5, 0.9))}
    truth = {"b": TRUTH["b"]}
    assert average_precision(half, truth, 0.5) == 1
    assert average_precision(half, truth, 0.51) == 0


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(0, 10))
def test_the_area_lies_between_zero_and_recall(flags: list[bool], missed: int) -> None:
    right = np.cumsum(flags)
    total = int(right[-1]) + missed
    if total:
        value = area_under(right, np.arange(1, len(flags) + 1), total)
        assert 0 <= value <= right[-1] / total + 1e-12


def test_accuracy_and_counts() -> None:
    assert accuracy_at([0.5, 0.49, 0.9, 0.0], 0.5) == 0.5
    assert count_error([(3, 5), (1, 1), (4, 0)]) == 2
    assert (accuracy_at([], 0.5), count_error([])) == (0, 0)


# The suite


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Two pictures with three ships and a bridge."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for name in ("one.png", "two.png"):
        Image.fromarray(rng.integers(0, 99, (96, 128, 3), dtype=np.uint8)).save(tmp_path / "images" / name)
    boxes = [(1, 7, [5, 5, 20, 10]), (1, 7, [90, 70, 30, 20]), (1, 9, [50, 30, 20, 20]), (2, 7, [10, 10, 30, 30])]
    table: dict[str, Any] = {
        "images": [
            {"id": 1, "file_name": "one.png", "width": 128, "height": 96},
            {"id": 2, "file_name": "two.png", "width": 128, "height": 96},
        ],
        "categories": [{"id": 7, "name": "ship"}, {"id": 9, "name": "storage_tank"}],
        "annotations": [
            {"id": n, "image_id": image, "category_id": kind, "bbox": box, "iscrowd": 0}
            for n, (image, kind, box) in enumerate(boxes)
        ],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(table))
    return tmp_path


@pytest.fixture(scope="module")
def context() -> Context:
    return Context(load_profile(Settings()), Settings())


def perfect(folder: Path) -> Path:
    table = json.loads((folder / "annotations.json").read_text())
    rows = [{k: a[k] for k in ("image_id", "category_id", "bbox")} | {"score": 0.99} for a in table["annotations"]]
    (folder / "predictions.json").write_text(json.dumps(rows))
    return folder / "predictions.json"


def test_perfect_predictions_are_perfect(coco: Path, context: Context) -> None:
    found_ = detection.run(coco, coco / "annotations.json", context, methods=(), predictions=perfect(coco), most=9)
    assert dict(found_.metrics) == {"AP50": 1, "AP70": 1, "acc@0.5": 1, "acc@0.7": 1, "count_mae": 0}
    assert found_.details["expressions"] >= 5
    assert json.loads(found_.to_json())["rows"]["given predictions"]["AP50"] == 1
    assert found_.details["AP50 by class"]["given predictions"] == {"ship": 1, "storage tank": 1}


def test_capitals_of_class_names_do_not_matter(coco: Path, context: Context) -> None:
    """Requests are read in small letters: so must be what they are held against."""
    table = json.loads((coco / "annotations.json").read_text())
    table["categories"] = [{"id": 7, "name": "Ship"}, {"id": 9, "name": "Storage_Tank"}]
    (coco / "annotations.json").write_text(json.dumps(table))
    by_id = json.loads(perfect(coco).read_text())
    by_name = [{**row, "category": {7: "SHIP", 9: "storage  tank"}[row["category_id"]]} for row in by_id]
    for rows in (by_id, by_name):
        (coco / "given.json").write_text(json.dumps(rows))
        found_ = detection.run(
            coco, coco / "annotations.json", context, methods=(), predictions=coco / "given.json", most=9
        )
        assert (found_.metrics["AP50"], found_.metrics["acc@0.5"]) == (1, 1)
        assert set(found_.details["AP50 by class"]["given predictions"]) == {"ship", "storage tank"}


def test_detector_and_heat_map_are_measured_alike(coco: Path, context: Context) -> None:
    found_ = detection.run(coco, coco / "annotations.json", context, limit=1)
    assert set(found_.rows) == {"detector", "heat"}
    for row in found_.rows.values():
        assert set(row) == set(detection.FIGURES)
        assert all(0 <= row[name] <= 1 for name in ("AP50", "AP70", "acc@0.5", "acc@0.7"))
    assert found_.details["images"] == 1


def test_only_named_images(coco: Path, context: Context) -> None:
    (coco / "ids.txt").write_text("2\n")
    found_ = detection.run(
        coco, coco / "annotations.json", context, methods=(), predictions=perfect(coco), only=coco / "ids.txt"
    )
    assert (found_.details["images"], found_.details["boxes"]) == (1, 1)


@pytest.mark.parametrize("text", ["{}", "[]", "no json", '{"images": [], "categories": [], "annotations": []}'])
def test_files_that_are_not_coco(text: str, coco: Path, context: Context) -> None:
    (coco / "annotations.json").write_text(text)
    with pytest.raises(UsageError, match=r"cannot read|none of the"):
        detection.run(coco, coco / "annotations.json", context)


def test_other_bad_input(coco: Path, context: Context) -> None:
    annotations = coco / "annotations.json"
    with pytest.raises(UsageError, match="unknown method"):
        detection.run(coco, annotations, context, methods=("magic",))
    (coco / "p.json").write_text('[{"image_id": 1}]')
    with pytest.raises(UsageError, match="cannot read"):
        detection.run(coco, annotations, context, methods=(), predictions=coco / "p.json")
    (coco / "ids.txt").write_text("77")
    with pytest.raises(UsageError, match="no image"):
        detection.run(coco, annotations, context, only=coco / "ids.txt")
    outside = json.loads(annotations.read_text())
    outside["images"] = [{**row, "file_name": "../../x.png"} for row in outside["images"]]
    annotations.write_text(json.dumps(outside))
    with pytest.raises(UsageError, match="none of the 2 images"):
        detection.run(coco, annotations, context)


def test_an_id_of_two_images_is_refused(coco: Path, context: Context) -> None:
    table = json.loads((coco / "annotations.json").read_text())
    table["images"].append(table["images"][0])
    (coco / "annotations.json").write_text(json.dumps(table))
    with pytest.raises(UsageError, match="two images have the id"):
        detection.run(coco, coco / "annotations.json", context)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_boxes_and_scores_that_are_no_numbers_are_refused(coco: Path, context: Context, bad: float) -> None:
    rows = json.loads(perfect(coco).read_text())
    for wrong in ({"score": bad}, {"bbox": [bad, 0, 4, 4]}):
        (coco / "p.json").write_text(json.dumps([{**rows[0], **wrong}, *rows[1:]]))
        with pytest.raises(UsageError, match="cannot read"):
            detection.run(coco, coco / "annotations.json", context, methods=(), predictions=coco / "p.json")
    table = json.loads((coco / "annotations.json").read_text())
    table["annotations"][0]["bbox"][2] = bad
    (coco / "annotations.json").write_text(json.dumps(table))
    with pytest.raises(UsageError, match="not of finite numbers"):
        detection.run(coco, coco / "annotations.json", context)


def test_images_that_are_not_in_the_folder_are_told(coco: Path, context: Context) -> None:
    given_ = perfect(coco)
    table = json.loads((coco / "annotations.json").read_text())
    table["images"].append({**table["images"][0], "id": 99, "file_name": "gone.png"})
    (coco / "annotations.json").write_text(json.dumps(table))
    found_ = detection.run(coco, coco / "annotations.json", context, methods=(), predictions=given_)
    assert found_.details["images"] == 2
    assert found_.details["not in the folder"] == "1 of 3 images, the first is gone.png"
    told = ["eval", "detection", "--data", str(coco), "--coco", str(coco / "annotations.json")]
    told += ["--predictions", str(given_)]
    ran = CliRunner().invoke(app, told)
    assert ran.exit_code == 3 and "1 of 3 images" in ran.stderr and "AP50" in ran.stdout
    (coco / "ids.txt").write_text("\n".join(str(row["id"]) for row in table["images"][:-1]))
    asked = CliRunner().invoke(app, [*told, "--only", str(coco / "ids.txt")])
    assert asked.exit_code == 0 and "not in the folder" not in asked.stdout, "images that nobody asked for"


def test_a_list_of_ids_that_is_no_text(coco: Path, context: Context) -> None:
    (coco / "ids.txt").write_bytes(b"\xff\xfe1")
    with pytest.raises(UsageError, match=r"cannot read .*ids\.txt"):
        detection.run(coco, coco / "annotations.json", context, only=coco / "ids.txt")


def test_predictions_for_other_images_are_refused(coco: Path, context: Context) -> None:
    """Ids by file name, or of another split: that is no average precision of 0."""
    rows = json.loads(perfect(coco).read_text())
    (coco / "p.json").write_text(json.dumps([{**row, "image_id": "one"} for row in rows]))
    with pytest.raises(UsageError, match=r"annotations\.json has no image one"):
        detection.run(coco, coco / "annotations.json", context, methods=(), predictions=coco / "p.json")


def test_what_a_coco_file_lacks_is_told(coco: Path, context: Context) -> None:
    table = json.loads((coco / "annotations.json").read_text())
    del table["images"][0]["width"]
    (coco / "annotations.json").write_text(json.dumps(table))
    with pytest.raises(UsageError, match=r"'width'.*file_name, width, height"):
        detection.run(coco, coco / "annotations.json", context)
    table["images"] = [{"id": n, "file_name": f"train/{n}.png", "width": 9, "height": 9} for n in (1, 2)]
    (coco / "annotations.json").write_text(json.dumps(table))
    with pytest.raises(UsageError, match=r"none of the 2 images.*train/1\.png"):
        detection.run(coco, coco / "annotations.json", context)
