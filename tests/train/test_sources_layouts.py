"""A miniature of every layout: the same records out of each, and what is damaged is noted."""

from __future__ import annotations

import gzip
import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cv2")

from caption_layouts import LAYOUTS as CAPTION_LAYOUTS
from caption_layouts import SAID, written
from set_layouts import MAKERS, PICTURES, TEXTS, captions, folders, jpeg, listed, rs5m, shard

from rsrag.errors import ConfigError, SourceError
from rsrag.train.config import parse_config
from rsrag.train.data import load
from rsrag.train.sources.config import KINDS, SourceConfig
from rsrag.train.sources.layouts import LAYOUTS, set_name
from rsrag.train.sources.record import Gather, clean


def test_every_kind_has_a_layout_and_a_miniature() -> None:
    assert set(LAYOUTS) == set(KINDS) == set(MAKERS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_layout_gives_the_same_pictures_and_texts(kind: str, tmp_path: Path) -> None:
    listing = listed(tmp_path, MAKERS[kind](tmp_path))
    assert sorted(record.read() for record in listing.records) == sorted(PICTURES.values())
    assert len({record.key for record in listing.records}) == 6
    assert {record.source for record in listing.records} == {listing.records[0].source}
    by_bytes = {data: key for key, data in PICTURES.items()}
    for record in listing.records:
        key = by_bytes[record.read()]
        if kind != "folders":
            assert set(record.captions) == set(TEXTS[key])
        if kind in ("folders", "parquet"):
            assert record.label == ("odd" if int(key) % 2 else "even")
    if kind != "gaia":
        assert listing.problems == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_layout_trains_and_is_listed_alike(kind: str, tmp_path: Path) -> None:
    settings = MAKERS[kind](tmp_path)
    runs = []
    for memory in (0, 100):
        table = {"data": {"sources": [settings], "holdout": 0.0, "memory_mb": memory, "workers": 2}}
        runs.append(load(parse_config(table).data, tmp_path))
    poor, rich = runs
    assert poor.manifest() == rich.manifest()
    rows = [row for row in rich.manifest() if row["use"] == "train"]
    assert sorted(row["sha256"] for row in rows) == sorted(hashlib.sha256(d).hexdigest() for d in PICTURES.values())
    for one, other in zip(poor.train, rich.train, strict=True):
        assert np.array_equal(one.pixels, other.pixels)
        assert one.pixels.shape == (24, 24, 3)
    assert all(rich.texts.captions)


@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_draws_the_same_pictures_every_time(kind: str, tmp_path: Path) -> None:
    settings = MAKERS[kind](tmp_path)
    whole = [record.key for record in listed(tmp_path, settings).records]
    few = [record.key for record in listed(tmp_path, {**settings, "limit": 3}).records]
    fewer = [record.key for record in listed(tmp_path, {**settings, "limit": 2}).records]
    assert len(few) == 3
    assert set(fewer) < set(few) < set(whole)
    assert few == [key for key in whole if key in few]


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_that_is_missing_is_a_source_error(kind: str, tmp_path: Path) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    with pytest.raises(SourceError, match="nowhere"):
        listed(tmp_path, {"path": "nowhere", "kind": kind})


def test_names_of_sets() -> None:
    assert set_name(SourceConfig("a/eurosat.zip", "folders")) == "eurosat"
    assert set_name(SourceConfig("s/{a,b}-{0..3}.tar", "webdataset")) == "a-0"
    assert set_name(SourceConfig("x", "folders", name="my set/1")) == "my_set_1"


# folders


def test_folders_without_splits(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "flat.zip", "w") as archive:
        archive.writestr("even/000.jpg", PICTURES["000"])
        archive.writestr("odd/001.PNG", PICTURES["001"])
        archive.writestr("readme.txt", "no picture")
        archive.writestr("stray.jpg", PICTURES["002"])
    records = listed(tmp_path, {"path": "flat.zip", "kind": "folders"}).records
    assert [(record.key, record.label) for record in records] == [("even/000.jpg", "even"), ("odd/001.PNG", "odd")]


def test_a_set_with_splits_never_gives_another_one(tmp_path: Path) -> None:
    settings = folders(tmp_path)
    (tmp_path / "set" / "val" / "even").mkdir(parents=True)
    (tmp_path / "set" / "val" / "even" / "9.jpg").write_bytes(jpeg(9))
    assert all(record.key.startswith("train/") for record in listed(tmp_path, settings).records)
    with pytest.raises(SourceError, match="split 'test'"):
        listed(tmp_path, {**settings, "split": "test"})


@pytest.mark.parametrize("beside", ["__MACOSX/even/._000.jpg", "even/.thumbs/000.jpg", "even/._000.jpg"])
def test_what_programs_put_beside_pictures_is_no_part_of_a_set(tmp_path: Path, beside: str) -> None:
    with zipfile.ZipFile(tmp_path / "mac.zip", "w") as archive:
        archive.writestr("even/000.jpg", PICTURES["000"])
        archive.writestr(beside, b"\x00\x05\x16\x07")
    listing = listed(tmp_path, {"path": "mac.zip", "kind": "folders"})
    assert [(record.key, record.label) for record in listing.records] == [("even/000.jpg", "even")]


@pytest.mark.parametrize("name", ["forest/2020/a.jpg", "train/forest/2020/a.jpg", "loose.jpg"])
def test_pictures_that_lie_elsewhere_are_noted(tmp_path: Path, name: str) -> None:
    folders(tmp_path)
    (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "set" / name).write_bytes(jpeg(9))
    listing = listed(tmp_path, {"path": "set", "kind": "folders"})
    assert len(listing.records) == 6
    elsewhere = [] if name == "forest/2020/a.jpg" else [("picture", name)]  # that one is of the split "forest"
    assert [(problem.what, problem.key) for problem in listing.problems] == elsewhere


@pytest.mark.parametrize("top", ["2750", "UCMerced_LandUse/Images"])
def test_a_set_below_further_folders_is_told_where_to_begin(tmp_path: Path, top: str) -> None:
    with zipfile.ZipFile(tmp_path / "top.zip", "w") as archive:
        archive.writestr(f"{top}/even/000.jpg", PICTURES["000"])
    with pytest.raises(SourceError, match=f"split 'train': it has .*{top}") as caught:
        listed(tmp_path, {"path": "top.zip", "kind": "folders"})
    assert "begin path there" in (caught.value.hint or "")


# captions


def test_a_row_whose_split_is_empty_belongs_to_every_split(tmp_path: Path) -> None:
    settings = captions(tmp_path)
    path = tmp_path / "set" / "dataset_rsicd.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["images"]
    path.write_text(json.dumps([{**row, "split": None} for row in rows]), encoding="utf-8")
    assert len(listed(tmp_path, settings).records) == len(listed(tmp_path, {**settings, "split": "val"}).records) == 6


def test_a_class_that_is_not_a_number_is_none(tmp_path: Path) -> None:
    settings = captions(tmp_path)
    path = tmp_path / "set" / "dataset_rsicd.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["images"]
    path.write_text(json.dumps([{**row, "class": float("nan")} for row in rows]), encoding="utf-8")
    assert {record.label for record in listed(tmp_path, settings).records} == {""}


def test_rows_about_one_picture_are_united_and_bad_rows_noted(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.jpg").write_bytes(PICTURES["000"])
    rows: list[Any] = [
        {"file": "a.jpg", "captions": ["One boat.", "one boat", "", 7, "bad \ud800 text"]},
        {"file": "./a.jpg", "captions": "Two boats", "label": "harbour"},
        {"file": "../../etc/passwd", "captions": ["x"]},
        {"file": "missing.jpg", "captions": ["x"]},
        {"captions": ["no file"]},
        "no row",
        {"file": "a.jpg", "split": "val", "captions": ["never"]},
    ]
    (tmp_path / "set" / "captions.json").write_text(json.dumps(rows), encoding="utf-8")
    listing = listed(tmp_path, {"path": "set", "kind": "captions"})
    assert [(r.key, r.label, r.captions) for r in listing.records] == [("a.jpg", "harbour", ("One boat.", "Two boats"))]
    assert [(p.what, p.key) for p in listing.problems] == [
        ("caption", "a.jpg"),
        ("caption", "a.jpg"),
        ("picture", "../../etc/passwd"),
        ("picture", "missing.jpg"),
        ("row", "row 4"),
        ("row", "row 5"),
    ]


def test_jsonl_is_read_line_by_line_and_what_is_no_utf8_is_noted(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.jpg").write_bytes(PICTURES["000"])
    lines = b'{"file": "a.jpg", "captions": ["A boat", "\xff"]}\n\n{"file": "b.jpg", "caption": "x"}\n'
    (tmp_path / "set" / "rows.jsonl").write_bytes(lines)
    listing = listed(tmp_path, {"path": "set/rows.jsonl", "kind": "captions"})
    assert [(r.key, r.captions) for r in listing.records] == [("a.jpg", ("A boat",))]
    assert [(p.what, p.key) for p in listing.problems] == [("caption", "a.jpg"), ("picture", "b.jpg")]


@pytest.mark.parametrize("layout", [*CAPTION_LAYOUTS, "NWPU"])
def test_caption_files_of_every_layout(tmp_path: Path, layout: str) -> None:
    """Inside the set and beside it, with the pictures in folders that the rows do not name."""
    for number, file in enumerate(SAID):
        path = tmp_path / "set" / "images" / file.split("_")[0] / file
        path.parent.mkdir(parents=True)
        path.write_bytes(PICTURES[f"{number:03d}"])
    beside, inside = written(tmp_path, layout), written(tmp_path / "set", layout)
    for settings in ({"path": beside.name, "images": "set"}, {"path": "set", "annotations": inside.name}):
        listing = listed(tmp_path, {**settings, "kind": "captions"})
        assert {r.key.split("/")[-1]: r.captions for r in listing.records} == SAID
        assert listing.problems == [] and {r.label for r in listing.records} <= {"", "airport", "beach"}
        assert [record.read() for record in listing.records] == [PICTURES["000"], PICTURES["001"]]


def test_names_that_fit_several_pictures_or_those_of_another_set(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / "set" / folder).mkdir(parents=True)
        (tmp_path / "set" / folder / "1.jpg").write_bytes(PICTURES["000"])
    (tmp_path / "set" / "a" / "2.jpg").write_bytes(PICTURES["001"])
    rows = [{"file": f"{number}.jpg", "caption": "A boat"} for number in (1, 2)]
    (tmp_path / "captions.json").write_text(json.dumps(rows), encoding="utf-8")
    listing = listed(tmp_path, {"path": "captions.json", "kind": "captions", "images": "set"})
    assert listing.records.keys == ["a/2.jpg"]
    assert [(p.key, p.reason) for p in listing.problems] == [("1.jpg", "several files of that name")]
    with pytest.raises(SourceError, match="no such picture"):  # other sets may lie beside the file
        listed(tmp_path, {"path": "captions.json", "kind": "captions"})


def test_boxes_are_no_captions(tmp_path: Path) -> None:
    settings = captions(tmp_path)
    table = {"images": [{"id": 1, "file_name": "000.jpg"}], "annotations": [{"image_id": 1, "bbox": [0, 0, 1, 1]}]}
    (tmp_path / "set" / "dataset_rsicd.json").write_text(json.dumps(table), encoding="utf-8")
    with pytest.raises(SourceError, match="not COCO's captions"):
        listed(tmp_path, settings)


def test_captions_asked_for_by_a_wrong_name_are_missed(tmp_path: Path) -> None:
    settings = captions(tmp_path)
    with pytest.raises(SourceError, match="no picture has a caption under setnences"):
        listed(tmp_path, {**settings, "captions": ["setnences"]})


def test_rows_without_any_text_are_no_captions(tmp_path: Path) -> None:
    settings = captions(tmp_path)
    path = tmp_path / "set" / "dataset_rsicd.json"
    images = json.loads(path.read_text(encoding="utf-8"))["images"]
    rows = [{key: value for key, value in row.items() if key != "sentences"} for row in images]
    path.write_text(json.dumps({"images": rows, "annotations": []}), encoding="utf-8")
    with pytest.raises(SourceError, match="no row has a caption or a class"):
        listed(tmp_path, settings)


def test_pictures_that_lie_beside_none_of_the_names(tmp_path: Path) -> None:
    settings = {**captions(tmp_path), "images": ""}
    with pytest.raises(SourceError, match=r"no such picture: 000\.jpg") as caught:
        listed(tmp_path, settings)
    assert "set images" in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["", "{", "3", '{"a": 1}', '"x"'])
def test_a_caption_file_that_is_none_is_a_source_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "captions.json").write_text(text, encoding="utf-8")
    with pytest.raises(SourceError, match=r"captions\.json"):
        listed(tmp_path, {"path": "set", "kind": "captions"})


def test_captions_are_cleaned_and_undecodable_ones_counted() -> None:
    assert clean(["A  boat\n", "a boat.", b"\xff\xfe", "caf\ufffd", None, "...", ["nested"], {"raw": "raw one"}]) == (
        ("A boat", "nested", "raw one"),
        2,
    )
    assert clean("x" * 5000)[0] == ("x" * 2000,)
    assert clean(None) == ((), 0)
    assert clean([float("nan"), 3]) == ((), 2)


def test_notes_hold_whatever_a_set_throws_at_them() -> None:
    gather = Gather("s")
    gather.problem("\ud800\x00a" * 200, "row", "why")
    assert len(gather.problems[0].key) <= 200
    json.dumps(gather.problems[0].key).encode("utf-8")
    gather.problems[0].key.encode("utf-8")


# WebDataset


def test_json_and_classes_in_shards(tmp_path: Path) -> None:
    shard(
        tmp_path / "a.tar",
        {
            "x/1.jpg": PICTURES["001"],
            "x/1.json": json.dumps({"captions": ["one", "uno"], "label": "port"}).encode(),
            "x/1.txt": b"a third",
            "x/2.seg.png": PICTURES["002"],
            "x/2.cls": b"quay",
            "x/3.json": b"{}",
            "x/4.jpg": PICTURES["004"],
            "x/4.json": b"{broken",
            "x/4.txt": b"\xff\xff",
        },
    )
    listing = listed(tmp_path, {"path": "a.tar", "kind": "webdataset"})
    assert [(r.key, r.label, set(r.captions)) for r in listing.records] == [
        ("a.tar/x/1", "port", {"one", "uno", "a third"}),
        ("a.tar/x/2", "quay", set()),
        ("a.tar/x/4", "", set()),
    ]
    assert [(p.what, p.key) for p in listing.problems] == [
        ("row", "a.tar/x/3"),
        ("caption", "x/4.json"),
        ("caption", "a.tar/x/4"),
    ]
    only = listed(tmp_path, {"path": "a.tar", "kind": "webdataset", "captions": ["captions"]})
    assert only.records[0].captions == ("one", "uno")


def test_names_with_dots_lose_no_picture_in_silence(tmp_path: Path) -> None:
    members = {f"scene.{key}.jpg": data for key, data in PICTURES.items()}
    shard(tmp_path / "a.tar", members)
    listing = listed(tmp_path, {"path": "a.tar", "kind": "webdataset"})
    assert len(listing.records) == 1
    assert [(p.what, p.key) for p in listing.problems] == [("picture", name) for name in list(members)[1:]]
    assert "first dot" in listing.problems[0].reason


def test_a_compressed_shard_is_to_be_unpacked_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(gzip.compress(b"members"))
    with pytest.raises(SourceError) as caught:
        listed(tmp_path, {"path": "a.tar", "kind": "webdataset"})
    assert caught.value.hint == "unpack compressed shards"


def test_shards_of_a_folder_that_name_another_split_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "set" / "validation").mkdir(parents=True)
    for name in ("pub11-train-0000", "pub11-test-0000", "validation/0000", "more"):
        shard(tmp_path / "set" / f"{name}.tar", {f"{len(name)}.jpg": PICTURES["001"]})
    keys = {split: [] for split in ("train", "test", "validation", "val")}
    for split, found in keys.items():
        settings = {"path": "set", "kind": "webdataset", "split": split}
        found += [record.key.split("/", 1)[1].rsplit(".tar", 1)[0] for record in listed(tmp_path, settings).records]
    assert keys == {
        "train": ["more", "pub11-train-0000"],
        "test": ["more", "pub11-test-0000"],
        "validation": ["more", "validation/0000"],
        "val": ["more"],
    }
    (tmp_path / "set" / "more.tar").unlink()
    with pytest.raises(SourceError, match=r"no \.tar file of split 'val': pub11"):
        listed(tmp_path, {"path": "set", "kind": "webdataset", "split": "val"})


def test_a_damaged_shard_is_noted_all_damaged_is_an_error(tmp_path: Path) -> None:
    settings = rs5m(tmp_path)
    (tmp_path / "rs3-train-0000.tar").write_bytes(b"nothing")
    listing = listed(tmp_path, settings)
    assert len(listing.records) == 3
    assert [(p.what, p.key) for p in listing.problems] == [("file", "rs3-train-0000.tar")]
    (tmp_path / "pub11-train-0000.tar").write_bytes(b"nothing")
    with pytest.raises(SourceError, match="no usable tar"):
        listed(tmp_path, settings)


def test_a_damaged_member_is_skipped_and_listed(tmp_path: Path) -> None:
    members = {f"{key}.jpg": data for key, data in PICTURES.items()} | {f"{key}.txt": b"boats" for key in PICTURES}
    members["002.jpg"] = members["002.jpg"][:-40]  # cut off: its end is missing
    members["003.jpg"] = b"no picture"
    shard(tmp_path / "a.tar", members)
    table = {"data": {"sources": [{"path": "a.tar", "kind": "webdataset"}], "holdout": 0.0}}
    data = load(parse_config(table).data, tmp_path)
    assert len(data.train) == 4
    skipped = {row["file"]: row["note"] for row in data.manifest() if row["use"] == "skipped picture"}
    assert set(skipped) == {"a.tar/002", "a.tar/003"}
    assert all("cannot decode" in note for note in skipped.values())


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "tfrecord"}, {"repeat": 0}, {"repeat": -1.0}, {"limit": -1}, {"max_pixels": 0}],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"{next(iter(wrong))}"):
        SourceConfig(**{"path": "a", "kind": "folders", **wrong})
