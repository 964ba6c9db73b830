"""Sets whose texts stand in tables: SkyScript, GAIA and Parquet, and what is damaged in them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cv2")

from set_layouts import PICTURES, TEXTS, gaia, listed, parquet, shard, skyscript

from rsrag.errors import RefusedSource, SourceError
from rsrag.train.config import parse_config
from rsrag.train.data import load

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


def test_captions_that_went_through_a_csv(tmp_path: Path) -> None:
    settings = gaia(tmp_path)
    for key, told in zip(PICTURES, (str(["one quay", "the harbour's mole"]), "[sic] a quay", "['broken"), strict=False):
        row = {"captions": told, "status": "success"}
        (tmp_path / "gaia" / "00000" / f"00000{key}.json").write_text(json.dumps(row), encoding="utf-8")
    found = [record.captions for record in listed(tmp_path, settings).records][:3]
    assert found == [("one quay", "the harbour's mole"), ("[sic] a quay",), ("['broken",)]


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
    kept = {id(groups): groups for groups in (record.read.holder._table._groups for record in records)}
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
