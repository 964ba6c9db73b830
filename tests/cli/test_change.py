"""``rsrag change`` and ``rsrag eval change`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import Run
from dates import built, ground, relit, truth, write
from PIL import Image

BLOCKS = [(10, 12, 34, 30), (90, 60, 130, 92)]


@pytest.fixture
def dates(tmp_path: Path) -> tuple[Path, Path]:
    picture = ground()
    after = built(relit(picture), BLOCKS)
    return write(tmp_path / "f_20100610.tif", picture), write(tmp_path / "f_20200612.tif", after)


def test_two_images(run: Run, dates: tuple[Path, Path], tmp_path: Path) -> None:
    ran = run("change", *dates, "--method", "cva", "-q", "How many changes?", "-o", tmp_path / "c.tif")
    assert ran.code == 0, ran.err
    assert "two changed areas" in ran.out.replace("\n", " ") and "Two changed areas." in ran.out
    assert (tmp_path / "c.tif").exists() and (tmp_path / "c_magnitude.tif").exists()


def test_json_has_everything_but_pixels(run: Run, dates: tuple[Path, Path]) -> None:
    ran = run("change", *dates, "--method", "irmad", "-q", "Where?", "--json")
    found = ran.json
    assert found["changed"] and found["count"] == 2 and len(found["regions"]) == 2
    assert found["answers"][0]["intent"] == "locate" and "looks" not in found
    assert found["before"]["name"] == "f_20100610.tif" and found["layers"][0] == {
        "name": "change", "kind": "mask", "unit": "1", "legend": {},
    }  # fmt: skip


@pytest.mark.parametrize("between", [("--between", "2010"), ("--between=2010",)])
def test_dates_of_a_place(run: Run, dates: tuple[Path, Path], tmp_path: Path, between: tuple[str, ...]) -> None:
    store = tmp_path / "a.rsrag"
    assert run("-w", store, "ingest", *dates).code == 0
    ran = run("-w", store, "change", "--where", "3.005,45.15", *between, "2020", "--method", "cva")
    assert ran.code == 0 and "2010-06-10 and 2020-06-12" in ran.out.replace("\n", " "), ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "what to compare"),
        (("a.tif", "--where", "3,45"), "what to compare"),
        (("a.tif", "b.tif", "--method", "magic"), "no method 'magic'"),
        (("a.tif", "b.tif", "-o", "x.doc"), "cannot write 'x.doc'"),
        (("--where", "3,45", "--between", "someday"), "not a date"),
        (("a.tif", "b.tif", "c.tif", "--between", "2009", "2020"), "dates without a place"),
    ],
)
def test_wrong_usage_is_named(run: Run, arguments: tuple[str, ...], message: str) -> None:
    ran = run("change", *arguments)
    assert ran.code == 2 and message in ran.err


def test_a_missing_file(run: Run) -> None:
    ran = run("change", "a.tif", "b.tif")
    assert ran.code == 1 and "a.tif: no such file" in ran.err


def test_dates_that_share_no_valid_pixel_are_no_result(run: Run, tmp_path: Path) -> None:
    empty = write(tmp_path / "a_20100101.tif", np.zeros((64, 64, 3), np.uint8), nodata=0)
    ran = run("change", empty, write(tmp_path / "b_20200101.tif", ground(64, 64), nodata=0), "--method", "cva")
    assert ran.code == 1 and "Nothing could be compared" in ran.out.replace("\n", " ")
    third = write(tmp_path / "c_20210101.tif", relit(ground(64, 64)), nodata=0)
    assert run("change", empty, tmp_path / "b_20200101.tif", third, "--method", "cva").code == 0  # one step could be


def test_the_same_image_twice(run: Run, dates: tuple[Path, Path]) -> None:
    ran = run("change", dates[0], dates[0], "--json")
    assert ran.code == 2 and ran.json["error"]["code"] == "UsageError"


def test_labelled_pairs_of_ones_own(run: Run, tmp_path: Path) -> None:
    picture = ground()
    root = tmp_path / "set"
    for number, boxes in enumerate((BLOCKS, BLOCKS[:1], [])):
        after = built(relit(picture, number), boxes)
        label = truth(picture, boxes).astype(np.uint8) * 255
        for side, values in (("A", picture), ("B", after), ("label", label)):
            (root / side).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(root / side / f"{number}.png")
    captions = tmp_path / "captions.json"
    captions.write_text(json.dumps([{"id": "0", "captions": ["two blocks are built on the field"]}]))
    ran = run("eval", "change", "--pairs", root, "--method", "cva", "--captions", captions, "--json")
    assert ran.code == 0, ran.err
    found = ran.json
    row = found["rows"]["cva"]
    assert found["suite"] == "change" and row["f1"] > 0.8 and row["binary_accuracy"] == 1 and row["count_mae"] == 0
    assert row["cells_f1"] > 0.8 and row["cells_jaccard"] - row["cells_jaccard_empty_0"] == pytest.approx(1 / 3)
    assert "CVA + Otsu, plain" in found["rows"] and found["details"]["sentences"]["said"]["0"]
    assert run("eval", "change", "--pairs", tmp_path / "set" / "A").code == 2
