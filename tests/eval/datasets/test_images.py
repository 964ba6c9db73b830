"""Sets of pictures: what is read, what is left out and why, and hashes that know a turned picture."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from picture_sets import captions, classes, encoded, picture, plain, write, write_zip
from rasters import write_tiff

from rsrag.errors import SourceError, UnreadableSource, UsageError
from rsrag.eval.datasets import images
from rsrag.eval.datasets.images import ImageSet, read_captions, read_folders, turned_hashes
from rsrag.eval.datasets.labels import label_words, read_labels


def files_of(found: ImageSet) -> list[str]:
    return [item.file for item in found.items]


# Folders


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_one_folder_a_class(tmp_path: Path, kind: str) -> None:
    content = {**classes(), "notes.txt": b"not a picture", ".hidden/a.png": picture(1), "Forest/.thumb.png": picture(2)}
    root = write(tmp_path / "set", content) if kind == "folder" else write_zip(tmp_path / "set.zip", content)
    found = read_folders(root)
    assert files_of(found) == sorted(classes())
    assert found.labels == ("Forest", "Highway", "SeaLake")
    assert found.words == {"Forest": "forest", "Highway": "highway", "SeaLake": "sea lake"}
    assert found.skips == ()
    first = found.items[0]
    assert first.sha256 == hashlib.sha256(encoded(picture(0))).hexdigest()
    assert first.label == "Forest" and first.captions == ()


def test_pictures_come_back_in_order_and_in_batches(tmp_path: Path) -> None:
    made = classes(each=5)
    found = read_folders(write(tmp_path, made))
    batches = list(found.batches(4))
    assert [len(b) for b in batches] == [4, 4, 4, 3]
    for item, pixels in zip(found.items, [p for b in batches for p in b], strict=True):
        assert np.array_equal(pixels, made[item.file])
    chosen = found.chosen([3, 0])
    assert files_of(chosen) == [files_of(found)[3], files_of(found)[0]]
    assert np.array_equal(next(chosen.batches())[0], made[files_of(found)[3]])


def test_splits(tmp_path: Path) -> None:
    made = classes(each=1)
    root = write(tmp_path, {f"{split}/{name}": p for split in ("train", "val") for name, p in made.items()})
    found = read_folders(root, split="val")
    assert files_of(found) == [f"val/{name}" for name in sorted(made)]
    assert found.labels == ("Forest", "Highway", "SeaLake")
    with pytest.raises(UsageError, match=r"splits, not classes \(add --split val"):
        read_folders(root)
    with pytest.raises(UsageError, match=r"no folder for split 'test' \(folders: train, val"):
        read_folders(root, split="test")


@pytest.mark.parametrize("split", [None, "val"])
def test_a_folder_around_everything_is_no_class(tmp_path: Path, split: str | None) -> None:
    below = "data/EuroSAT_RGB" + (f"/{split}" if split else "")
    found = read_folders(write(tmp_path, {f"{below}/{name}": p for name, p in classes().items()}), split=split)
    assert found.labels == ("Forest", "Highway", "SeaLake")


def test_what_cannot_be_read_is_left_out_with_its_reason(tmp_path: Path) -> None:
    good = encoded(picture(1), "JPEG")
    root = write(
        tmp_path / "set",
        {
            **classes(),
            "Forest/cut.jpg": good[: len(good) // 3],
            "Forest/empty.png": b"",
            "Forest/page.png": b"<html>not found</html>",
            "Forest/tiny.png": plain(9, 4),
            "Forest/other.webp": b"RIFF....WEBP",
            "loose.png": picture(2),
        },
    )
    found = read_folders(root)
    assert files_of(found) == sorted(classes())
    reasons = {skip.file: skip.reason for skip in found.skips}
    assert set(reasons) == {
        "Forest/cut.jpg", "Forest/empty.png", "Forest/page.png", "Forest/tiny.png", "Forest/other.webp", "loose.png",
    }  # fmt: skip
    assert "damaged" in reasons["Forest/cut.jpg"] and "0 bytes" in reasons["Forest/empty.png"]
    assert reasons["loose.png"] == "lies in no class folder"
    assert "does not read" in reasons["Forest/other.webp"]


def test_rasters_are_stretched_as_ingest_would(tmp_path: Path) -> None:
    write(tmp_path, classes(("Forest",)))
    (tmp_path / "Lake").mkdir()
    values = np.random.default_rng(0).integers(300, 3000, (3, 40, 40)).astype(np.uint16)
    write_tiff(tmp_path / "Lake" / "scene.tif", values, colours=["red", "green", "blue"], photometric="RGB")
    found = read_folders(tmp_path)
    assert found.labels == ("Forest", "Lake") and not found.skips
    pixels = [p for batch in found.batches() for p in batch][-1]
    assert pixels.shape == (40, 40, 3) and pixels.dtype == np.uint8
    assert pixels.min() == 0 and pixels.max() == 255


def test_bands_that_nobody_named_are_told_without_an_option_of_other_commands(tmp_path: Path) -> None:
    """EuroSAT's rasters of 13 bands; with names for three of them they are pictures."""
    write(tmp_path, classes(("Forest",)))
    (tmp_path / "Lake").mkdir()
    values = np.random.default_rng(0).integers(300, 3000, (13, 40, 40)).astype(np.uint16)
    write_tiff(tmp_path / "Lake" / "scene.tif", values)
    (skip,) = read_folders(tmp_path).skips
    assert "13 bands" in skip.reason and "RGB edition" in skip.reason and "--bands" not in skip.reason
    with rasterio.open(tmp_path / "Lake" / "scene.tif", "r+") as dataset:
        for number, name in ((4, "red"), (3, "green"), (2, "blue")):
            dataset.set_band_description(number, name)
    assert read_folders(tmp_path).labels == ("Forest", "Lake")


def test_damaged_members_of_a_zip_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(tmp_path / "set.zip", {**classes(), "Forest/big.png": encoded(picture(7, 240))})
    monkeypatch.setattr(images, "MEMBER_BYTES", len(encoded(picture(7, 240))) - 1)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("Forest/1.png").header_offset
    data[offset + 60] ^= 0xFF  # the checksum does not fit any more
    path.write_bytes(bytes(data))
    found = read_folders(path)
    reasons = {skip.file: skip.reason for skip in found.skips}
    assert set(reasons) == {"Forest/1.png", "Forest/big.png"}
    assert "the limit is" in reasons["Forest/big.png"] and "CRC" in reasons["Forest/1.png"]


def test_links_that_leave_the_folder_do_not_count(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", {"secret.png": picture(50)})
    root = write(tmp_path / "set", classes())
    (root / "Forest" / "link.png").symlink_to(outside / "secret.png")
    (root / "Forest" / "again.png").symlink_to(root / "Forest" / "0.png")
    found = files_of(read_folders(root))
    assert "Forest/again.png" in found and "Forest/link.png" not in found


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSource, match="no such"):
        read_folders(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="no pictures"):
        read_folders(write(tmp_path / "empty", {"a/readme.txt": b"words"}))
    with pytest.raises(UsageError, match="no pictures in class folders"):
        read_folders(write(tmp_path / "flat", {"a.png": picture(0)}))
    with pytest.raises(UnreadableSource, match="neither a folder nor a zip file"):
        read_folders(write(tmp_path / "file", {"a.zip": b"not a zip"}) / "a.zip")
    with pytest.raises(UsageError, match=r"none of 2 pictures can be read"):
        read_folders(write(tmp_path / "broken", {"a/1.png": b"x", "b/2.png": b"y"}))


def test_a_picture_that_goes_away_is_an_error(tmp_path: Path) -> None:
    found = read_folders(write(tmp_path, classes()))
    (tmp_path / "Forest" / "0.png").unlink()
    with pytest.raises(SourceError, match=r"Forest/0\.png"):
        list(found.batches())


# Hashes


@pytest.mark.parametrize("seed", range(4))
def test_hashes_know_every_turn_of_a_picture(seed: int) -> None:
    upright = picture(seed, 72)
    own = turned_hashes(upright)
    assert len(set(own)) == 8
    for flipped in (upright, upright[:, ::-1]):
        for turns in range(4):
            turned = turned_hashes(np.rot90(flipped, turns))
            assert set(turned) == set(own)


def test_the_hash_is_the_one_in_manifests_of_training() -> None:
    data = pytest.importorskip("rsrag.train.data")
    for seed in range(5):
        pixels = picture(seed, 72)
        assert data.dhash(pixels) == f"{turned_hashes(pixels)[0]:016x}"


# Captions


def rows() -> list[dict[str, object]]:
    return [
        {"file": "val/a.png", "captions": ["A lake .", "Water"], "split": "val", "class": "lake"},
        {"file": "val/b.png", "captions": ["A road"], "split": "val", "label": "road"},
        {"file": "train/c.png", "captions": ["A wood"], "split": "train"},
    ]


def pictures() -> dict[str, bytes | np.ndarray]:
    return {"val/a.png": picture(1), "val/b.png": picture(2), "train/c.png": picture(3)}


@pytest.mark.parametrize("kind", ["folder", "zip", "beside"])
def test_captions(tmp_path: Path, kind: str) -> None:
    content = {**pictures(), "captions.json": captions(rows())}
    if kind == "zip":
        found = read_captions(write_zip(tmp_path / "set.zip", content), "captions.json", "val")
    elif kind == "folder":
        found = read_captions(write(tmp_path / "set", content), "captions.json", "val")
    else:
        root = write(tmp_path / "set", pictures())
        found = read_captions(root, write(tmp_path, {"other.json": captions(rows())}) / "other.json", "val")
    assert [(i.file, i.label, i.captions) for i in found.items] == [
        ("val/a.png", "lake", ("A lake .", "Water")),
        ("val/b.png", "road", ("A road",)),
    ]
    assert not found.skips and found.words == {"lake": "lake", "road": "road"}


def test_every_split_when_none_is_named_and_bare_names(tmp_path: Path) -> None:
    bare = [{**row, "file": str(row["file"]).split("/")[1]} for row in rows()]
    found = read_captions(write(tmp_path, {**pictures(), "c.json": captions(bare)}), "c.json")
    assert files_of(found) == ["val/a.png", "val/b.png", "train/c.png"]


def test_the_layout_of_the_original_sets(tmp_path: Path) -> None:
    sentences = [{"raw": "A lake.", "tokens": ["a", "lake"]}]
    document = {"images": [{"filename": "a.png", "split": "val", "sentences": sentences}], "dataset": "rsicd"}
    found = read_captions(write(tmp_path, {**pictures(), "d.json": json.dumps(document).encode()}), "d.json", "val")
    assert [(i.file, i.captions) for i in found.items] == [("val/a.png", ("A lake.",))]


def test_pictures_that_are_not_there_or_have_no_captions(tmp_path: Path) -> None:
    more = [*rows(), {"file": "gone.png", "captions": ["A"]}, {"file": "train/d.png", "captions": ["", " "]}]
    root = write(tmp_path, {**pictures(), "train/d.png": b"broken", "c.json": captions(more)})
    found = read_captions(root, "c.json")
    assert len(found.items) == 3
    assert {skip.file: skip.reason for skip in found.skips} == {
        "gone.png": "no such file",
        "train/d.png": "no captions",
    }


def test_paths_that_leave_the_set_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path, {"secret.png": picture(9)})
    root = write(tmp_path / "set", pictures())
    outside = [{"file": "../secret.png", "captions": ["A"]}, {"file": str(tmp_path / "secret.png"), "captions": ["B"]}]
    path = write(tmp_path, {"c.json": captions([*rows(), *outside])}) / "c.json"
    found = read_captions(root, path)
    assert len(found.items) == 3 and [skip.reason for skip in found.skips] == ["no such file"] * 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[{", "damaged JSON"),
        (b"{}", "not a list of objects"),
        (b"[1]", "not a list of objects"),
        (b"[]", "names no picture"),
        (b'[{"captions": ["A"]}]', "entry 1: no 'file'"),
        (b'[{"file": "val/a.png"}]', "entry 1: 'captions' is not a list"),
        (b'[{"file": "val/a.png", "captions": [1]}]', "entry 1: 'captions' is not a list"),
        (b'[{"file": "nope.png", "captions": ["A"]}]', "names no picture"),
        (b'[{"file": "val/a.png", "captions": ["A"]}, {"file": "a.png", "captions": ["B"]}]', "two entries"),
        (b"\xff\xfe\x00", "damaged JSON"),
    ],
)
def test_captions_that_cannot_be_used(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises((UsageError, UnreadableSource), match=message):
        read_captions(write(tmp_path, {**pictures(), "c.json": content}), "c.json")


def test_no_captions_file_or_no_such_split(tmp_path: Path) -> None:
    root = write(tmp_path, {**pictures(), "c.json": captions(rows())})
    with pytest.raises(UsageError, match=r"no captions file d\.json"):
        read_captions(root, "d.json")
    with pytest.raises(UsageError, match=r"no entries of split 'test' \(splits: train, val"):
        read_captions(root, "c.json", "test")


@pytest.mark.parametrize("marked", [0, 1])
def test_entries_that_name_no_split_belong_to_the_folder_of_their_picture(tmp_path: Path, marked: int) -> None:
    plain = [row if number < marked else {**row, "split": None} for number, row in enumerate(rows())]
    bare = [{name: value for name, value in row.items() if value is not None} for row in plain]
    for number, document in enumerate((plain, bare)):
        root = write(tmp_path / str(number), {**pictures(), "c.json": captions(document)})
        assert files_of(read_captions(root, "c.json", "val")) == ["val/a.png", "val/b.png"]
        assert files_of(read_captions(root, "c.json", "train")) == ["train/c.png"]


def test_nothing_says_what_is_in_the_split(tmp_path: Path) -> None:
    root = write(tmp_path, {"a.png": picture(1), "c.json": captions([{"file": "a.png", "captions": ["A lake"]}])})
    with pytest.raises(UsageError, match=r"no entries of split 'val' \(entries name no split"):
        read_captions(root, "c.json", "val")


# Labels


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.json", b'{"SeaLake": "sea or lake", "Forest": " dense  forest"}'),
        ("labels.csv", b"folder,words\nSeaLake,sea or lake\n\nForest,dense forest\n"),
        ("labels.csv", b"SeaLake,sea or lake\r\nForest,dense forest"),
        ("labels.txt", b"\xef\xbb\xbf# comment\nSeaLake: sea or lake\n\nForest: dense forest\n"),
    ],
)
def test_labels_files(tmp_path: Path, name: str, content: bytes) -> None:
    path = write(tmp_path, {name: content}) / name
    assert read_labels(path) == {"SeaLake": "sea or lake", "Forest": "dense forest"}
    assert label_words(["SeaLake"], path) == {"SeaLake": "sea or lake"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.json", b'{"A": "a", "A": "b"}', "'A' comes twice"),
        ("l.json", b'{"A": ""}', "'A' has no words"),
        ("l.json", b'{"A": 3}', "'A' has no words"),
        ("l.json", b'["A"]', "not an object"),
        ("l.json", b"{", "damaged JSON"),
        ("l.csv", b"A,a\nB", "row 2: two columns"),
        ("l.csv", b"A, ", "'A' has no words"),
        ("l.csv", b'A,"' + b"a" * 140_000, "damaged CSV"),
        ("l.txt", b"A: a\nB b", "line 2: no colon"),
        ("l.yaml", b"A: a", "unknown ending"),
        ("l.txt", b"\xff\xff", "cannot read"),
    ],
)
def test_labels_that_cannot_be_used(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_labels(write(tmp_path, {name: content}) / name)


def test_gaps_and_doubles_in_labels_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, {"l.json": b'{"A": "water", "B": "water", "D": "road"}'}) / "l.json"
    with pytest.raises(UsageError, match="no words for 1 of 2 labels: C"):
        label_words(["A", "C"], path)
    with pytest.raises(UsageError, match=r"same words: A, B \(both are 'water'"):
        label_words(["A", "B", "D"], path)
    with pytest.raises(UsageError, match="same words: SeaLake, sea_lake"):
        label_words(["SeaLake", "sea_lake"])
    with pytest.raises(UsageError, match="cannot read labels"):
        read_labels(tmp_path / "nope.json")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["aGrass", "bField", "dRiverLake"], ["grass", "field", "river lake"]),  # RSSCN7
        (["01_airport", "02-bare land", "10.BaseballField"], ["airport", "bare land", "baseball field"]),
        (["3d_city", "airport"], ["3d city", "airport"]),  # not all have a number
        (["baseballdiamond", "tenniscourt", "beach"], ["baseball diamond", "tennis court", "beach"]),  # UC Merced
    ],
)
def test_words_of_names_as_public_sets_write_them(labels: list[str], said: list[str]) -> None:
    assert list(label_words(labels).values()) == said


@pytest.mark.parametrize(("name", "count"), [("eurosat", 10), ("ucm", 21)])
def test_labels_that_rsrag_brings(name: str, count: int) -> None:
    assert len(set(read_labels(name).values())) == count
