"""Labelled pairs of two dates as users keep them: folders and zip files, labels of 8 and 16 bits."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from rsrag.errors import UsageError
from rsrag.eval.datasets.change_pairs import find_pairs, read_captions, read_pairs

SIZE = 16


def write_pair(folder: Path, label: Any, picture: Any = None) -> Path:
    pixels = np.full((SIZE, SIZE, 3), 90, np.uint8) if picture is None else picture
    for side, values in (("A", pixels), ("B", pixels), ("label", label)):
        (folder / side).mkdir(parents=True)
        cv2.imwrite(str(folder / side / "1.png"), values)
    return folder


def square(value: int, dtype: Any = np.uint8) -> Any:
    label = np.zeros((SIZE, SIZE), dtype=dtype)
    label[2:6, 2:6] = value
    return label


@pytest.mark.parametrize("value", [1, 3, 255, 40_000, 65_535])
def test_labels_of_16_bits_are_changed_where_they_are_not_0(tmp_path: Path, value: int) -> None:
    (pair,) = read_pairs(write_pair(tmp_path / "set", square(value, np.uint16)))
    assert pair.changed.sum() == 16 and pair.changed[2:6, 2:6].all()


def test_labels_of_8_bits_are_changed_above_half_of_their_range(tmp_path: Path) -> None:
    label = square(255)
    label[7] = 9  # what lossy compression leaves beside a line
    (pair,) = read_pairs(write_pair(tmp_path / "set", label))
    assert pair.changed.sum() == 16


def test_labels_with_a_palette_are_read_by_number(tmp_path: Path) -> None:
    folder = write_pair(tmp_path / "set", square(1))
    label = Image.fromarray(square(1), mode="P")
    label.putpalette([255, 255, 255, 0, 0, 0])
    label.save(folder / "label" / "1.png")
    (pair,) = read_pairs(folder)
    assert pair.changed.sum() == 16 and pair.changed[2:6, 2:6].all()


def test_pictures_of_16_bits_are_refused(tmp_path: Path) -> None:
    deep = np.full((SIZE, SIZE, 3), 2000, np.uint16)
    with pytest.raises(UsageError, match=r"A/1\.png has 16 bits a colour"):
        read_pairs(write_pair(tmp_path / "set", square(1), deep))


def test_what_macos_leaves_behind_is_no_label(tmp_path: Path) -> None:
    folder = write_pair(tmp_path / "set", square(1))
    (folder / "label" / "._1.png").write_bytes(b"\0\5\x16\7")
    assert [pair.name for pair in read_pairs(folder)] == ["set/1"]
    packed = tmp_path / "set.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(folder.rglob("1.png")):
            name = path.relative_to(tmp_path).as_posix()
            archive.write(path, name)
            archive.writestr(f"__MACOSX/{name.replace('1.png', '._1.png')}", b"x")
    assert [pair.name for pair in read_pairs(packed)] == ["set/1"]


def test_a_damaged_zip_file_is_named(tmp_path: Path) -> None:
    folder = write_pair(tmp_path / "set", square(1))
    packed = tmp_path / "set.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(folder.rglob("1.png")):
            archive.write(path, path.relative_to(folder).as_posix())
    data = bytearray(packed.read_bytes())
    data[data.find(b"IDAT") + 6] ^= 0xFF
    packed.write_bytes(data)
    with pytest.raises(UsageError, match=r"A/1\.png cannot be read.*CRC"):
        read_pairs(packed)


def test_a_zip_file_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_pair(tmp_path / "set", square(255))
    packed = tmp_path / "set.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(folder.rglob("1.png")):
            for number in range(3):
                archive.write(path, f"{path.parent.name}/{number}.png")
    (pair, *others) = find_pairs(packed)
    monkeypatch.setattr(zipfile, "ZipFile", None)  # its directory is long where there are many pairs
    assert pair.name == "set/0" and pair.read().changed.sum() == 16 and len(others) == 2
    assert all(other.pictures() is not None for other in others)


@pytest.mark.parametrize(
    "names",
    [("A", "B", "OUT"), ("time1", "time2", "label"), ("Image1", "Image2", "label"), ("t1", "t2", "mask")],
)
def test_other_names_of_the_folders(tmp_path: Path, names: tuple[str, str, str]) -> None:
    """CDD, SYSU-CD, S2Looking, DSIFN."""
    for split in ("train", "test"):
        folder = write_pair(tmp_path / "set" / split, square(255))
        for old, new in zip(("A", "B", "label"), names, strict=True):
            (folder / old).rename(folder / new)
    pairs = read_pairs(tmp_path / "set")
    assert [pair.name for pair in pairs] == ["test/1", "train/1"]
    assert all(pair.changed.sum() == 16 for pair in pairs)


def test_one_folder_of_labels_counts(tmp_path: Path) -> None:
    folder = write_pair(tmp_path / "set", square(255))
    (folder / "OUT").mkdir()  # such as what a program answered
    cv2.imwrite(str(folder / "OUT" / "1.png"), square(0))
    (pair,) = read_pairs(folder)
    assert pair.changed.sum() == 16


def test_no_labelled_pairs_says_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "im1").mkdir()
    with pytest.raises(UsageError, match=r"A/, B/ and label/; .*time1/, time2/ and label/"):
        find_pairs(tmp_path)
    assert find_pairs(tmp_path, needed=False) == []


def test_one_sentence_is_one_caption(tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    path.write_text(json.dumps([{"id": 1, "captions": "A road was built."}, {"id": "2", "captions": ["No change."]}]))
    assert read_captions(path) == {"1": ["A road was built."], "2": ["No change."]}


def test_pairs_without_captions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    path.write_text(json.dumps([{"id": "1", "captions": []}]))
    with pytest.raises(UsageError, match="'1' has no captions"):
        read_captions(path)


def test_captions_as_levir_cc_has_them(tmp_path: Path) -> None:
    row = {"filepath": "test", "filename": "test_000001.png", "split": "test", "sentences": [{"raw": " no change "}]}
    path = tmp_path / "LevirCCcaptions.json"
    path.write_text(json.dumps({"images": [row]}))
    assert read_captions(path) == {"test_000001": ["no change"]}
