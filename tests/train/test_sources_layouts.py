"""A miniature of every layout: the same records out of each, and what is damaged is noted."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("cv2")

from rsrag.errors import ConfigError, RefusedSource, SourceError
from rsrag.train.config import parse_config
from rsrag.train.data import load
from rsrag.train.sources.config import KINDS, SourceConfig
from rsrag.train.sources.layouts import LAYOUTS, list_source, set_name
from rsrag.train.sources.record import Gather, Listing, clean


def jpeg(seed: int, side: int = 24) -> bytes:
    """A small picture file."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


PICTURES = {f"{number:03d}": jpeg(number) for number in range(6)}
TEXTS = {key: (f"a scene with {int(key)} boats", f"{int(key)} boats and a quay") for key in PICTURES}


def folders(root: Path) -> dict[str, Any]:
    for key, data in PICTURES.items():
        path = root / "set" / "train" / ("even" if int(key) % 2 == 0 else "odd") / f"{key}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return {"path": "set", "kind": "folders"}


def captions(root: Path) -> dict[str, Any]:
    (root / "set" / "RSICD_images").mkdir(parents=True)
    images = []
    for key, data in PICTURES.items():
        (root / "set" / "RSICD_images" / f"{key}.jpg").write_bytes(data)
        sentences = [{"raw": text, "tokens": text.split(), "imgid": int(key)} for text in TEXTS[key]]
        images.append({"filename": f"{key}.jpg", "imgid": int(key), "split": "train", "sentences": sentences})
    images.append({"filename": "none.jpg", "split": "test", "sentences": []})
    table = {"images": images, "dataset": "rsicd"}
    (root / "set" / "dataset_rsicd.json").write_text(json.dumps(table), encoding="utf-8")
    return {"path": "set/dataset_rsicd.json", "kind": "captions", "images": "set/RSICD_images"}


def shard(path: Path, members: dict[str, bytes]) -> None:
    """A tar file."""
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def rs5m(root: Path) -> dict[str, Any]:
    for number, name in enumerate(("pub11", "rs3")):
        members: dict[str, bytes] = {}
        for key in list(PICTURES)[number::2]:
            members[f"{key}.img_name"] = f"{name}_{key}.jpg".encode()
            members[f"{key}.img_content"] = PICTURES[key]
            members[f"{key}.caption"] = TEXTS[key][0].encode()
            members[f"{key}.txt"] = TEXTS[key][1].encode()
        shard(root / f"{name}-train-0000.tar", members)
    return {"path": "{pub11,rs3}-train-{0000..0000}.tar", "kind": "webdataset", "name": "rs5m"}


def skyscript(root: Path) -> dict[str, Any]:
    (root / "images2").mkdir()
    with (root / "train.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["filepath", "title", "title_multi_objects"])
        for key, data in PICTURES.items():
            name = f"images2/a{key}_CH_19.jpg"
            (root / name).write_bytes(data)
            writer.writerow([name, TEXTS[key][1], TEXTS[key][0]])
    tags = {
        f"images2/a{key}_CH_19.jpg": {
            "center_tags": {"leisure": "marina" if int(key) % 2 else "pitch"},
            "surrounding_tags": [{"surface": "asphalt"}],
            "box": [1.0, 2.0, 1.1, 2.1],
            "time": [2019, 5, 4, 10, 30],
        }
        for key in PICTURES
    }
    (root / "tags.json").write_text(json.dumps(tags), encoding="utf-8")
    return {"path": "train.csv", "kind": "skyscript", "annotations": "tags.json", "label": "leisure"}


def gaia(root: Path) -> dict[str, Any]:
    folder = root / "gaia" / "00000"
    folder.mkdir(parents=True)
    for number, (key, data) in enumerate(PICTURES.items()):
        (folder / f"00000{key}.jpg").write_bytes(data)
        (folder / f"00000{key}.txt").write_text("alt text that is no caption", encoding="utf-8")
        told: Any = list(TEXTS[key]) if number % 2 else json.dumps(TEXTS[key])
        row = {"id": key, "captions": told, "caption": "alt", "status": "success", "error_message": None, "width": 24}
        (folder / f"00000{key}.json").write_text(json.dumps(row), encoding="utf-8")
    failed = {"id": "x", "captions": ["gone"], "status": "failed_to_download", "error_message": "HTTP Error 404"}
    (folder / "00000999.json").write_text(json.dumps(failed), encoding="utf-8")
    (root / "gaia" / "00000_stats.json").write_text("{}", encoding="utf-8")
    published = [{"id": key, "location": "Oslo, Norway", "lat": 59.9, "tag": ["harbour"]} for key in PICTURES]
    (root / "train_data.json").write_text(json.dumps(published), encoding="utf-8")
    return {"path": "gaia", "kind": "gaia", "annotations": "train_data.json"}


def parquet(root: Path) -> dict[str, Any]:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files

    (root / "table").mkdir()
    features = {"info": {"features": {"label": {"names": ["even", "odd"], "_type": "ClassLabel"}}}}
    for part in range(2):
        keys = list(PICTURES)[part * 3 : part * 3 + 3]
        table = pa.table(
            {
                "image": [{"bytes": PICTURES[key], "path": f"{key}.jpg"} for key in keys],
                "captions": [list(TEXTS[key]) for key in keys],
                "label": [int(key) % 2 for key in keys],
                "split": ["train"] * 3,
            }
        ).replace_schema_metadata({"huggingface": json.dumps(features)})
        files.write_table(table, root / "table" / f"part-{part}.parquet", row_group_size=2)
    return {"path": "table/part-{0..1}.parquet", "kind": "parquet", "name": "table"}


MAKERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "folders": folders,
    "captions": captions,
    "webdataset": rs5m,
    "skyscript": skyscript,
    "gaia": gaia,
    "parquet": parquet,
}


def listed(root: Path, settings: dict[str, Any]) -> Listing:
    """The listing of a set of a configuration."""
    return list_source(SourceConfig(**settings), root)


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


# SkyScript


def test_tags_and_names_become_facts(tmp_path: Path) -> None:
    record = listed(tmp_path, skyscript(tmp_path)).records[1]
    assert record.label == "marina"
    assert record.captions == TEXTS["001"]  # the one with neighbours first
    assert record.meta["center_tags"] == {"leisure": "marina"}
    assert record.meta["surrounding_tags"] == [{"surface": "asphalt"}]
    assert (record.meta["osm"], record.meta["origin"], record.meta["year"]) == ("a001", "CH", 2019)


def test_tags_from_a_csv(tmp_path: Path) -> None:
    settings = skyscript(tmp_path)
    with (tmp_path / "tags.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["filepath", "center_tags", "surrounding_tags"])
        writer.writerow(["images2/a000_CH_19.jpg", "leisure=marina;name=x", '[{"natural": "water"}]'])
    record = listed(tmp_path, {**settings, "annotations": "tags.csv"}).records[0]
    assert record.meta["center_tags"] == {"leisure": "marina", "name": "x"}
    assert record.meta["surrounding_tags"] == [{"natural": "water"}]


def test_pickled_tags_are_refused_unopened(tmp_path: Path) -> None:
    settings = skyscript(tmp_path)
    (tmp_path / "meta.pickle").write_bytes(b"cposix\nsystem\n(S'touch pwned'\ntR.")
    with pytest.raises(RefusedSource, match="pickle"):
        listed(tmp_path, {**settings, "annotations": "meta.pickle"})
    assert not Path("pwned").exists()


def test_broken_rows_of_a_csv_are_noted(tmp_path: Path) -> None:
    settings = skyscript(tmp_path)
    with (tmp_path / "train.csv").open("ab") as handle:
        handle.write(b"images2/a000_CH_19.jpg,\xff\xfe title,\n")
        handle.write(b"../secret.jpg,t,\n,t,t\nmissing.jpg,t,\n")
        handle.write(b'images2/a001_CH_19.jpg,"' + b"x" * 200_000 + b'",\n')
        handle.write(b"images2/a002_CH_19.jpg,one more title,\n")
    listing = listed(tmp_path, settings)
    assert len(listing.records) == 6
    assert "one more title" in listing.records[2].captions
    assert [problem.what for problem in listing.problems] == ["caption", "picture", "row", "picture", "row"]


def test_a_column_without_a_name_is_no_class(tmp_path: Path) -> None:
    settings = skyscript(tmp_path)
    rows = (tmp_path / "train.csv").read_text(encoding="utf-8").splitlines()
    numbered = [f"{'' if not number else number - 1},{row}" for number, row in enumerate(rows)]
    (tmp_path / "train.csv").write_text(
        "\n" + "\n".join(numbered) + "\n", encoding="utf-8"
    )  # begins with an empty line
    listing = listed(tmp_path, {**settings, "label": ""})
    assert [(record.label, record.captions) for record in listing.records] == [("", texts) for texts in TEXTS.values()]


def test_a_row_with_more_cells_than_columns_is_noted(tmp_path: Path) -> None:
    settings = skyscript(tmp_path)
    with (tmp_path / "train.csv").open("a", encoding="utf-8") as handle:
        handle.write("images2/a000_CH_19.jpg,a lake,two lakes, with trees\nimages2/a001_CH_19.jpg,an old quay,,,\n")
    listing = listed(tmp_path, settings)
    assert listing.records[0].captions == TEXTS["000"] and "an old quay" in listing.records[1].captions
    assert [(problem.what, problem.reason) for problem in listing.problems] == [("row", "has 4 cells, the header 3")]


# GAIA


def test_one_damaged_shard_of_several_is_noted(tmp_path: Path) -> None:
    shard(tmp_path / "0.tar", {"0.png": PICTURES["000"], "0.json": json.dumps({"captions": ["a bay"]}).encode()})
    (tmp_path / "1.tar").write_bytes(b"nothing")
    settings = {"path": "{0,1}.tar", "kind": "gaia"}
    listing = listed(tmp_path, settings)
    assert len(listing.records) == 1 and [(p.what, p.key) for p in listing.problems] == [("file", "1.tar")]
    (tmp_path / "0.tar").write_bytes(b"nothing")
    with pytest.raises(SourceError, match="no usable tar"):
        listed(tmp_path, settings)
    (tmp_path / "1.tar").unlink()
    with pytest.raises(SourceError, match=r"1\.tar"):
        listed(tmp_path, settings)


def test_facts_of_the_published_list_are_joined_and_lost_downloads_noted(tmp_path: Path) -> None:
    listing = listed(tmp_path, gaia(tmp_path))
    assert listing.records[0].meta["location"] == "Oslo, Norway"
    assert listing.records[0].meta["lat"] == 59.9
    assert [(p.what, p.key, p.reason) for p in listing.problems] == [
        ("picture", "00000/00000999", "not downloaded: HTTP Error 404")
    ]


def test_a_copy_with_ids_alone_takes_captions_from_the_published_list(tmp_path: Path) -> None:
    shard(
        tmp_path / "00000.tar", {"0.png": PICTURES["000"], "0.json": json.dumps({"id": 5, "captions": None}).encode()}
    )
    (tmp_path / "d.json").write_text(json.dumps([{"id": "5", "captions": ["a bay", "the bay"]}]), encoding="utf-8")
    settings = {"path": "{00000..00000}.tar", "kind": "gaia", "annotations": "d.json", "name": "gaia"}
    assert [record.captions for record in listed(tmp_path, settings).records] == [("a bay", "the bay")]


# Parquet


def table(path: Path, **columns: Any) -> None:
    """A Parquet file."""
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files

    path.parent.mkdir(exist_ok=True)
    files.write_table(pa.table(columns), path)


def test_columns_can_be_named_and_pictures_given_by_path(tmp_path: Path) -> None:
    (tmp_path / "pics").mkdir()
    (tmp_path / "pics" / "a.jpg").write_bytes(PICTURES["000"])
    table(tmp_path / "t.parquet", where=["a.jpg", "../t.parquet", None], long=["l", "l", "l"], short=["s", "s", "s"])
    settings = {"path": "t.parquet", "kind": "parquet", "images": "pics", "picture": "where"}
    listing = listed(tmp_path, {**settings, "captions": ["long", "short"]})
    assert [(record.key, record.captions) for record in listing.records] == [("a.jpg", ("l", "s"))]
    assert [problem.what for problem in listing.problems] == ["picture", "picture"]
    with pytest.raises(SourceError, match="middle"):
        listed(tmp_path, {**settings, "captions": ["middle"]})
    with pytest.raises(SourceError, match="no column of pictures"):
        listed(tmp_path, {"path": "t.parquet", "kind": "parquet"})


def test_few_row_groups_are_kept_of_however_many_files(tmp_path: Path) -> None:
    for number in range(8):
        table(tmp_path / "t" / f"{number}.parquet", image=[PICTURES["000"]], label=[float("nan")], split=[None])
    records = listed(tmp_path, {"path": "t", "kind": "parquet"}).records
    assert {record.label for record in records} == {""}
    assert all(record.read() == PICTURES["000"] for record in records)
    kept = {id(groups): groups for groups in (record.read.func.__self__._groups for record in records)}
    assert sum(len(groups._kept) for groups in kept.values()) <= 4


def test_texts_that_are_no_utf8_and_missing_bytes_are_noted(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    raw = pa.array([b"fine", b"\xff\xff", b"also fine"], pa.binary())
    bad = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    table(tmp_path / "t.parquet", image=[PICTURES["000"], PICTURES["001"], None], caption=bad)
    settings = {"path": "t.parquet", "kind": "parquet"}
    listing = listed(tmp_path, settings)
    assert [record.captions for record in listing.records] == [("fine",), (), ("also fine",)]
    assert [problem.what for problem in listing.problems] == ["caption"]
    data = load(parse_config({"data": {"sources": [settings], "holdout": 0.0}}).data, tmp_path)
    skipped = [(row["use"], row["file"]) for row in data.manifest() if row["use"] != "train"]
    assert skipped == [("skipped caption", "t.parquet/0-1"), ("skipped picture", "t.parquet/0-2")]
    assert len(data.train) == 2


def test_a_damaged_parquet_file_is_noted(tmp_path: Path) -> None:
    settings = parquet(tmp_path)
    (tmp_path / "table" / "part-1.parquet").write_bytes(b"PAR1 nothing PAR1")
    listing = listed(tmp_path, settings)
    assert len(listing.records) == 3
    assert [(p.what, p.key) for p in listing.problems] == [("file", "table/part-1.parquet")]


def test_missing_pyarrow_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from rsrag.errors import MissingExtra

    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match="parquet"):
        listed(tmp_path, {"path": "t.parquet", "kind": "parquet"})


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "tfrecord"}, {"repeat": 0}, {"repeat": -1.0}, {"limit": -1}, {"max_pixels": 0}],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"{next(iter(wrong))}"):
        SourceConfig(**{"path": "a", "kind": "folders", **wrong})
