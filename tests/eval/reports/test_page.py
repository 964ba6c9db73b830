"""Reports stand alone, say what was measured, and their charts show the figures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsrag.errors import UsageError
from rsrag.eval.reports import charts
from rsrag.eval.reports.page import DetailedResult, as_dict, panels, write_report
from rsrag.eval.reports.published import published
from rsrag.eval.reports.result import SuiteResult

OTHERS = {row.title: row.figures for row in published("classification", "eurosat")}
ROWS = {"mine": {"top1": 91.5, "ece": 3.0}, "chance": {"top1": 10.0}, **OTHERS}
TABLES = {"Per class": [{"class": "<b>lake</b>", "top1": 50.0}, {"class": "sea", "top1": None}], "Empty": []}
RESULT = DetailedResult("classification", ROWS["mine"], ROWS, {"pictures": 3}, TABLES, ("Per class",))


def drawn(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    """How many pixels have a colour."""
    return int((picture == np.array(colour)).all(axis=2).sum())


def test_a_report_is_three_files_and_a_picture_each(tmp_path: Path) -> None:
    extra = np.zeros((10, 20, 3), np.uint8)
    path = write_report(RESULT, tmp_path / "new" / "report", {"Confusion matrix": extra})
    assert {p.name for p in path.parent.iterdir()} == {
        "report.html", "report.json", "report.png", "confusion-matrix.png",
    }  # fmt: skip
    stored = json.loads((path.parent / "report.json").read_text())
    assert stored["rows"]["mine"]["top1"] == 91.5 and stored["tables"]["Per class"][1] == {"class": "sea", "top1": None}
    assert stored["pictures"]["report.png"] == "Our figures beside published ones"
    with Image.open(path.parent / "confusion-matrix.png") as image:
        assert image.size == (20, 10)


def test_captions_that_begin_alike_have_files_of_their_own(tmp_path: Path) -> None:
    long = "S2A MSIL1C 20200101T101421 N0208 R022 T32TQM 20200101T121212, chip"
    captions = [f"{long}, query 1: a lake", f"{long}, query 2: a wood", "湖", "森", "Report"]
    pictures = {caption: np.full((4, 4, 3), n, np.uint8) for n, caption in enumerate(captions)}
    folder = write_report(RESULT, tmp_path, pictures).parent
    stored = json.loads((folder / "report.json").read_text(encoding="utf-8"))["pictures"]
    assert set(stored.values()) == {*captions, "Our figures beside published ones"}
    for name, caption in stored.items():
        with Image.open(folder / name) as image:
            assert caption not in pictures or image.getpixel((0, 0)) == (captions.index(caption),) * 3


def test_the_page_stands_alone_and_nothing_in_it_is_markup(tmp_path: Path) -> None:
    page = write_report(RESULT, tmp_path).read_text()
    assert not re.findall(r'(?:src|href)="(?!data:)', page) and "default-src 'none'" in page
    assert "<b>lake</b>" not in page and "&lt;b&gt;lake&lt;/b&gt;" in page
    assert page.count("class=published") == len(OTHERS)
    assert "61.400" in page and "91.500" in page and "LEAKED" not in page


def test_leaks_are_loud(tmp_path: Path) -> None:
    result = SuiteResult("x", {"a": 1.0}, {"mine": {"a": 1.0}}, {"LEAKED": "3 of 4 pictures were in training"})
    page = write_report(result, tmp_path).read_text()
    assert '<p class="leaked">3 of 4 pictures were in training</p>' in page
    assert json.loads((tmp_path / "report.json").read_text())["pictures"] == {"report.png": "Figures"}


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write the report"):
        write_report(RESULT, tmp_path / "file" / "below")


def test_panels_are_what_can_be_compared() -> None:
    assert panels(RESULT) == ["top1"]
    alone = SuiteResult("x", {f"f{i}": 1.0 for i in range(9)}, {"mine": {f"f{i}": 1.0 for i in range(9)}})
    assert panels(alone) == [f"f{i}" for i in range(6)]


def test_text_and_json_of_a_result() -> None:
    lines = RESULT.to_text().splitlines()
    width = len("CLIP-laion-RS ViT-L/14 (zero-shot; published)")
    assert lines[1].startswith("mine".ljust(width)) and lines[1].endswith("91.500  3.000")
    assert lines[0].index("top1") + 4 == lines[1].index("91.500") + 6 == lines[2].index("10.000") + 6
    assert [line for line in lines if line.startswith("sea")] == ["sea" + " " * 15 + "-"]
    assert "Empty" not in RESULT.to_text()
    assert json.loads(RESULT.to_json()) == json.loads(json.dumps(as_dict(RESULT)))
    assert json.loads(RESULT.to_json())["tables"]["Empty"] == []


# Charts


def test_bars_are_as_long_as_their_values() -> None:
    half = charts.bars({"a": {"x": 50.0}}, ["x"])
    whole = charts.bars({"a": {"x": 100.0}}, ["x"])
    assert drawn(half, charts.OURS) / drawn(whole, charts.OURS) == pytest.approx(0.5, abs=0.01)
    assert drawn(charts.bars({"a": {"x": 0.5}}, ["x"]), charts.OURS) == drawn(half, charts.OURS)
    assert drawn(charts.bars({"a": {"x": 50.0}}, ["x"], quiet=["a"]), charts.OURS) == 0


def test_bars_of_rows_without_the_figure_and_of_nothing() -> None:
    one = charts.bars({"a": {"x": 50.0}, "b": {"y": 1.0}}, ["x"])
    assert one.shape == charts.bars({"a": {"x": 50.0}}, ["x"]).shape
    assert charts.bars({}, ["x"]).ndim == 3
    negative = charts.bars({"a": {"x": -1.0}, "b": {"x": 100.0}}, ["x"])
    assert drawn(negative, charts.OURS) < 1.1 * drawn(charts.bars({"b": {"x": 100.0}}, ["x"]), charts.OURS)


def test_a_matrix_shades_the_diagonal_and_the_mistakes() -> None:
    right = charts.matrix(["lake", "road"], np.array([[4, 0], [0, 4]]))
    wrong = charts.matrix(["lake", "road"], np.array([[0, 4], [4, 0]]))
    assert drawn(right, charts.OURS) > 1000 and drawn(right, charts.WARM) == 0
    assert drawn(wrong, charts.WARM) > 1000 and drawn(wrong, charts.OURS) == 0
    unknown = charts.matrix(["lake", "road"], np.array([[4, 0, 0], [0, 4, 0]]))
    assert unknown.shape[1] > right.shape[1] and unknown.shape[0] >= right.shape[0]


@pytest.mark.parametrize("count", [2, 45, 300])
def test_a_matrix_of_many_classes_stays_a_picture_people_can_open(count: int) -> None:
    names = ["a class with quite a long name, longer than there is room for " * 2, *map(str, range(count - 1))]
    picture = charts.matrix(names, np.eye(count, dtype=np.int64))
    assert max(picture.shape) < 10_000 and picture.dtype == np.uint8


def test_names_in_other_scripts_are_numbered() -> None:
    assert charts.drawable("forêt", "class 1") == "forêt"
    assert charts.drawable("森林", "class 2") == "class 2"
    assert charts.drawable("a\nb", "class 3") == "class 3"
    assert np.array_equal(
        charts.matrix(["森林", "lake"], np.eye(2, dtype=int)), charts.matrix(["class 1", "lake"], np.eye(2, dtype=int))
    )


def test_reliability_shows_accuracy_and_leaves_empty_bins_out() -> None:
    empty = [{"low": i / 4, "high": (i + 1) / 4, "count": 0, "confidence": 0.0, "accuracy": 0.0} for i in range(4)]
    assert drawn(charts.reliability(empty), charts.OURS) == 0
    half = [*empty[:3], {**empty[3], "count": 9, "confidence": 90.0, "accuracy": 50.0}]
    full = [*empty[:3], {**empty[3], "count": 9, "confidence": 90.0, "accuracy": 100.0}]
    ratio = drawn(charts.reliability(half), charts.OURS) / drawn(charts.reliability(full), charts.OURS)
    assert ratio == pytest.approx(0.5, abs=0.05)
