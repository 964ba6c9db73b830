"""Files of captions in the layouts in which public sets come: the same rows from all of them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from caption_layouts import FLAT, LAYOUTS, SAID, written

from rsrag.errors import UnreadableSource, UsageError
from rsrag.train.sources.caption_files import CaptionRow, caption_rows, located, locator

ROWS = [CaptionRow(file, captions) for file, captions in SAID.items()]


def read(path: Path, document: Any, name: str = "captions.json") -> list[CaptionRow]:
    (path / name).write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return caption_rows(path / name, path, (), lambda _: b"")


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_layouts(tmp_path: Path, layout: str) -> None:
    path = written(tmp_path, layout)
    assert caption_rows(path, tmp_path, (), lambda _: b"") == ROWS


def test_lines_end_where_json_says(tmp_path: Path) -> None:
    rows = [{"file": "a.jpg", "captions": ["A lake\u2028and a\x85road ."]}, {"file": "b.jpg", "captions": ["A wood ."]}]
    lines = "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    found = read(tmp_path, f"\ufeff{lines}\r\n\r\n", "captions.jsonl")
    assert [row.file for row in found] == ["a.jpg", "b.jpg"]
    with pytest.raises(UnreadableSource, match=r"captions\.jsonl, line 3: damaged JSON"):
        read(tmp_path, f"{lines}\n{{", "captions.jsonl")


def test_empty_values_say_nothing(tmp_path: Path) -> None:
    rows = [
        {"file": "", "filename": "a.jpg", "captions": [], "caption": "A lake .", "split": None, "class": 0},
        {"file": "b.jpg", "captions": None, "class": math.nan, "label": None},
    ]
    assert read(tmp_path, rows) == [CaptionRow("a.jpg", ("A lake .",), label="0"), CaptionRow("b.jpg", ())]


def test_rows_of_one_path_are_one(tmp_path: Path) -> None:
    rows = [
        {"file": "./val/a.jpg", "caption": "A lake ."},
        {"filepath": "val", "filename": "a.jpg", "caption": "Water .", "class": "lake"},
        {"filepath": "val", "filename": "a.jpg", "caption": "Held out .", "split": "test"},
    ]
    one, other = read(tmp_path, rows)
    assert (one.captions, one.label, other.captions) == (("A lake .", "Water ."), "lake", ("Held out .",))


def test_bad_rows_are_an_error_or_noted(tmp_path: Path) -> None:
    rows = [*FLAT, 3, {"captions": ["A"]}, {"file": "c.jpg", "captions": [4]}]
    path = tmp_path / "captions.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    bad: list[str] = []
    assert caption_rows(path, tmp_path, (), lambda _: b"", bad) == ROWS
    assert [note.split(", ")[1].split(";")[0] for note in bad] == [
        "entry 3: no object",
        "entry 4: no 'file'",
        "entry 5: 'captions' is not a list of sentences",
    ]


def test_without_a_name_the_file_is_the_one_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "captions.json").write_text("[]", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert caption_rows(None, Path("set.zip"), ["captions.json"], lambda _: json.dumps(FLAT).encode()) == ROWS
    with pytest.raises(UsageError, match=r"no captions file captions\.json, in set\.zip"):
        caption_rows(None, Path("set.zip"), ["a.jpg"], lambda _: b"")


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
    assert find("2.jpg", "") == ("images/beach/2.jpg", "")
    assert find("beach/1.jpg", "") == ("images/beach/1.jpg", "")
    assert find("1.jpg", "") == ("", "several files of that name")
    assert find("each/1.jpg", "") == ("", "no such file")
    assert find("3.jpg", "val2014") == ("val2014/3.jpg", "")
    assert find("4.jpg", "val2014") == ("4.jpg", "")
    assert find("../4.jpg", "") == ("", "no such file")


def test_hidden_copies_do_not_count() -> None:
    find = locator([".thumbnails/1.jpg", "images/1.jpg", "__MACOSX/images/1.jpg", ".old/2.jpg"])
    assert find("1.jpg", "") == ("images/1.jpg", "")
    assert find(".old/2.jpg", "") == (".old/2.jpg", "") and find("2.jpg", "") == ("", "no such file")


def test_rows_know_where_their_pictures_lie_and_of_which_split_they_are() -> None:
    rows = [CaptionRow("1.jpg", ("A",)), CaptionRow("2.jpg", ("B",), "val"), CaptionRow("3.jpg", (), folder="train")]
    found = list(located(rows, ["set/train/1.jpg", "set/train/2.jpg"]))
    assert [(row.file, row.reason) for row in found] == [
        ("set/train/1.jpg", ""),
        ("set/train/2.jpg", ""),
        ("train/3.jpg", "no such file"),
    ]
    assert [row.of_split("train") for row in found] == [True, False, True]
    assert [row.of_split("val") for row in found] == [False, True, False]
