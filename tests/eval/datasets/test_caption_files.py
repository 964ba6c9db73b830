"""Files of captions in the layouts in which public sets come: the same rows from all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rsrag.errors import UnreadableSource, UsageError
from rsrag.eval.datasets.caption_files import CaptionRow, caption_rows, locator

SAID = {"airport_1.jpg": ("Two planes .", "An airport ."), "beach_1.jpg": ("A beach .", "White sand .")}
ROWS = [CaptionRow(file, captions) for file, captions in SAID.items()]


def read(path: Path, document: Any, name: str = "captions.json") -> list[CaptionRow]:
    (path / name).write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return caption_rows(path / name, path, (), lambda _: b"")


FLAT = [{"file": file, "captions": list(texts)} for file, texts in SAID.items()]
LAYOUTS: dict[str, Any] = {
    "list": FLAT,
    "a row for each caption": [{"image": file, "caption": text} for file, texts in SAID.items() for text in texts],
    "RSICD": {"images": [{"filename": f, "sentences": [{"raw": t} for t in texts]} for f, texts in SAID.items()]},
    "COCO": {
        "images": [{"id": 7 * n, "file_name": file} for n, file in enumerate(SAID)],
        "annotations": [
            {"id": n, "image_id": 7 * n, "caption": texts[k]} for k in (0, 1) for n, texts in enumerate(SAID.values())
        ],
    },
    "map": {file: list(texts) for file, texts in SAID.items()},
}


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_layouts(tmp_path: Path, layout: str) -> None:
    assert read(tmp_path, LAYOUTS[layout]) == ROWS


def test_a_row_a_line(tmp_path: Path) -> None:
    assert read(tmp_path, "\n".join(map(json.dumps, FLAT)) + "\n", "captions.jsonl") == ROWS


def test_one_sentence_for_a_file_or_none(tmp_path: Path) -> None:
    found = read(tmp_path, {"a.jpg": " A lake .", "b.jpg": []})
    assert found == [CaptionRow("a.jpg", ("A lake .",)), CaptionRow("b.jpg", ())]


def test_nwpu_captions_have_rows_by_class(tmp_path: Path) -> None:
    row = {"filename": "airplane_001.jpg", "split": "val", "raw": "A plane .", "raw_1": "One plane .", "raw_2": " "}
    found = read(tmp_path, {"airplane": [row]})
    assert found == [CaptionRow("airplane_001.jpg", ("A plane .", "One plane ."), "val", "airplane")]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 2, "caption": "A"}]}, "KeyError"),
        ({"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "bbox": [1]}]}, "'caption'"),
        ({"a.jpg": []}, "not a list of objects"),
        ({"a.jpg": 3}, "not a list of objects"),
        ([{"file": "a.jpg", "sentences": [{"tokens": ["a"]}]}], "entry 1: 'captions' is not a list"),
    ],
)
def test_what_cannot_be_used(tmp_path: Path, document: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(tmp_path, document)


def test_a_table_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSource, match='"captions"'):
        read(tmp_path, "filepath,title\na.jpg,A lake\n", "captions.csv")


def test_pictures_are_found_by_the_end_of_their_path() -> None:
    find = locator(["images/airport/1.jpg", "images/beach/1.jpg", "images/beach/2.jpg", "val2014/3.jpg", "4.jpg"])
    assert find(CaptionRow("2.jpg", ())) == ("images/beach/2.jpg", "")
    assert find(CaptionRow("beach/1.jpg", ())) == ("images/beach/1.jpg", "")
    assert find(CaptionRow("1.jpg", ())) == ("", "several files of that name")
    assert find(CaptionRow("each/1.jpg", ())) == ("", "no such file")
    assert find(CaptionRow("3.jpg", (), folder="val2014")) == ("val2014/3.jpg", "")
    assert find(CaptionRow("4.jpg", (), folder="val2014")) == ("4.jpg", "")
    assert find(CaptionRow("../4.jpg", ())) == ("", "no such file")
