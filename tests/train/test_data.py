"""A collection: sets united, pictures held out, texts grouped, everything listed."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cv2")

from rsrag.errors import ConfigError, SourceError
from rsrag.train.config import parse_config
from rsrag.train.data import Collection, load, read_source
from rsrag.train.prompts import gist
from rsrag.train.sources.config import SourceConfig
from rsrag.train.sources.manifest import COLUMNS


def read(toy_data: Path, table: dict[str, Any], **changes: Any) -> Collection:
    """The collection of a table whose data section is changed."""
    table["data"] |= changes
    return load(parse_config(table).data, toy_data)


def test_sets_are_read_and_split_by_hash(toy_data: Path, toy_table: dict[str, Any]) -> None:
    data = read(toy_data, toy_table)
    assert len(data.train) + len(data.held) == 48
    assert data.held
    assert not {i.sha256 for i in data.train} & {i.sha256 for i in data.held}
    assert not any("val" in item.file for item in data.train + data.held)
    assert data.names["scenes/BareSoil"] == ["bare soil", "bare land"]
    assert data.names["told/OpenWater"] == ["open water"]
    item = next(i for i in data.train if i.source == "told")
    file = toy_data / "told" / item.file
    assert item.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert len(item.captions) == 2  # the equal ones count once


def test_the_manifest_has_a_row_for_everything_read(toy_data: Path, toy_table: dict[str, Any]) -> None:
    shutil.copy(toy_data / "scenes/train/city/0.png", toy_data / "scenes/train/city/copy.png")
    (toy_data / "scenes/train/forest/bad.png").write_bytes(b"no picture")
    data = read(toy_data, toy_table)
    rows = data.manifest()
    assert all(tuple(row) == COLUMNS for row in rows)
    uses = {use: [row for row in rows if row["use"] == use] for use in ("train", "held-out", "copy", "skipped picture")}
    assert sum(map(len, uses.values())) == len(rows)
    assert sum(row["source"] == "mosaic" for row in uses["train"]) == 2
    assert len(uses["train"]) == len(data.train) + 2
    assert [row["file"] for row in uses["copy"]] == ["train/city/copy.png"]
    assert uses["copy"][0]["note"] == "scenes/train/city/0.png"
    assert [row["file"] for row in uses["skipped picture"]] == ["train/forest/bad.png"]
    assert "cannot decode" in uses["skipped picture"][0]["note"]
    facts = data.facts()
    assert facts["pictures"]["scenes"]["skipped picture"] == facts["pictures"]["scenes"]["copy"] == 1
    assert sum(sum(uses.values()) for uses in facts["pictures"].values()) == len(rows)
    assert json.loads(json.dumps(facts)) == facts


def test_equal_files_of_two_sets_become_one_with_the_texts_of_both(toy_data: Path, toy_table: dict[str, Any]) -> None:
    shutil.copy(toy_data / "told/train/forest100.png", toy_data / "scenes/train/forest/same.png")
    data = read(toy_data, toy_table, holdout=0.0)
    both = [item for item in data.train if item.file in ("train/forest/same.png", "train/forest100.png")]
    assert [(item.source, item.labels) for item in both] == [("scenes", ("scenes/forest", "told/forest"))]
    assert len(both[0].captions) == 2
    number = data.train.index(both[0])
    captions = [data.texts.sentences[text] for text in data.texts.captions[number]]
    prompts = [data.texts.sentences[text] for text in data.texts.prompts[number]]
    assert "some forest from above" in captions
    assert "a satellite image of forest" in prompts


@pytest.mark.parametrize("order", [1, -1])
def test_a_picture_whose_class_only_its_copy_tells_has_that_class(
    order: int, toy_data: Path, toy_table: dict[str, Any]
) -> None:
    shutil.copytree(toy_data / "scenes/train/city", toy_data / "alone")
    rows = [{"file": f"{number}.png", "caption": f"{number} houses"} for number in range(8)]
    (toy_data / "alone" / "captions.json").write_text(json.dumps(rows), encoding="utf-8")
    sources = [{"path": "alone", "kind": "captions"}, {"path": "scenes", "kind": "folders"}][::order]
    data = read(toy_data, toy_table, holdout=0.0, sources=sources)
    houses = [row for row, item in enumerate(data.train) if any("houses" in text for text in item.captions)]
    assert len(houses) == 8
    assert {int(data.texts.labels[row]) for row in houses} == {data.texts.classes.index("scenes/city")}


def test_captions_that_say_the_same_share_a_group(toy_data: Path, toy_table: dict[str, Any]) -> None:
    texts = read(toy_data, toy_table).texts
    by_gist: dict[str, set[int]] = {}
    for text, group in zip(texts.sentences, texts.groups, strict=True):
        by_gist.setdefault(gist(text), set()).add(int(group))
    assert all(len(groups) == 1 for groups in by_gist.values())
    assert len({min(groups) for form, groups in by_gist.items() if form.startswith("much")}) == 4


def test_a_caption_that_is_a_prompt_of_a_class_joins_its_group(toy_data: Path, toy_table: dict[str, Any]) -> None:
    path = toy_data / "told" / "captions.json"
    rows = json.loads(path.read_text(encoding="utf-8"))
    rows[0]["captions"] = ["A satellite image of the forest.", "It is the BareSoil seen"]
    path.write_text(json.dumps(rows), encoding="utf-8")
    texts = read(toy_data, toy_table, holdout=0.0).texts
    group = {text: int(number) for text, number in zip(texts.sentences, texts.groups, strict=True)}
    assert group["A satellite image of the forest."] == group["a satellite image of forest"]
    assert group["It is the BareSoil seen"] not in {group["bare soil"], group["bare land"]}


def test_classes_that_share_a_name_share_a_group_over_sets(toy_data: Path, toy_table: dict[str, Any]) -> None:
    texts = read(toy_data, toy_table).texts
    groups = {key: {int(texts.groups[i]) for i in own} for key, own in zip(texts.classes, texts.of_class, strict=True)}
    assert groups["scenes/forest"] == groups["told/forest"]
    assert groups["scenes/forest"] != groups["scenes/city"]
    assert all(len(numbers) == 1 for numbers in groups.values())


def test_templates_and_label_files_are_chosen_by_set(toy_data: Path, toy_table: dict[str, Any]) -> None:
    (toy_data / "names.json").write_text(json.dumps({"BareSoil": "never", "city": ["town"]}), encoding="utf-8")
    (toy_data / "mine.txt").write_text("{} by night\n", encoding="utf-8")
    toy_table["data"]["sources"][0] |= {"templates": "mine.txt", "labels_file": "names.json"}
    toy_table["data"]["sources"][1] |= {"templates": "sentinel"}
    data = read(toy_data, toy_table)
    prompts = {
        key: [data.texts.sentences[i] for i in own]
        for key, own in zip(data.texts.classes, data.texts.of_class, strict=True)
    }
    assert prompts["scenes/city"] == ["town by night"]
    assert prompts["scenes/BareSoil"] == ["bare soil by night", "bare land by night"]  # labels win over the file
    assert "a Sentinel-2 image of city" in prompts["told/city"]


def test_one_damaged_picture_is_left_out_a_whole_set_is_an_error(toy_data: Path, toy_table: dict[str, Any]) -> None:
    (toy_data / "scenes" / "train" / "city" / "0.png").write_bytes(b"no picture")
    assert [problem.key for problem in read(toy_data, toy_table).problems] == ["train/city/0.png"]
    with pytest.raises(SourceError, match=r"0\.png"):  # an evaluation takes all or nothing
        read_source(SourceConfig("scenes", "folders"), toy_data)
    for path in (toy_data / "scenes").rglob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(SourceError, match="no usable picture"):
        read(toy_data, toy_table)


def test_missing_sets_are_named(toy_data: Path, toy_table: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match="nowhere"):
        read(toy_data, toy_table, sources=[{"path": "nowhere.zip", "kind": "folders"}])
    with pytest.raises(SourceError, match="no picture of split 'test'"):
        read(toy_data, toy_table, sources=[{"path": "scenes", "kind": "folders", "split": "test"}])
    twice = [{"path": "scenes", "kind": "folders"}, {"path": "told", "kind": "captions", "name": "scenes"}]
    with pytest.raises(ConfigError, match="scenes"):
        read(toy_data, toy_table, sources=twice)


def test_a_mosaic_that_is_nowhere_is_named(toy_data: Path, toy_table: dict[str, Any]) -> None:
    toy_table["data"]["mosaic"]["files"] = ["atlantis.png"]
    with pytest.raises(SourceError, match="atlantis"):
        load(parse_config(toy_table).data, toy_data)


def test_the_memory_budget_changes_how_pictures_are_kept_and_nothing_else(
    toy_data: Path, toy_table: dict[str, Any]
) -> None:
    rich = read(toy_data, toy_table)
    poor = read(toy_data, toy_table, memory_mb=0)
    assert (rich.tier, poor.tier) == ("decoded", "on demand")
    assert rich.manifest() == poor.manifest()
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(rich.train, poor.train, strict=True))
    assert np.array_equal(rich.texts.groups, poor.texts.groups)


def test_the_real_sets_have_the_counts_known(shared_data: Path) -> None:
    """Listing alone, nothing decoded: 680 a class; 21 classes with captions; the train split of RSICD."""
    from collections import Counter

    from rsrag.train.sources.layouts import list_source

    eurosat = list_source(SourceConfig("eurosat.zip", "folders"), shared_data)
    assert Counter(record.label for record in eurosat.records).most_common()[-1][1] == 680
    assert (len(eurosat.records), eurosat.problems) == (6800, [])
    ucm = list_source(SourceConfig("ucm_captions.zip", "captions"), shared_data)
    assert len({record.label for record in ucm.records}) == 21
    assert (len(ucm.records), ucm.problems) == (1680, [])
    rsicd = list_source(SourceConfig("rsicd.zip", "captions"), shared_data)
    assert (len(rsicd.records), rsicd.problems) == (8734, [])
    assert len(list_source(SourceConfig("rsicd.zip", "captions", split="val"), shared_data).records) == 1094
    assert len({record.key for record in rsicd.records}) == 8734
    assert all(1 <= len(record.captions) <= 5 for record in (*ucm.records, *rsicd.records))
    assert hashlib.sha256(ucm.records[0].read()).hexdigest() != hashlib.sha256(ucm.records[1].read()).hexdigest()


def test_the_data_can_be_looked_at_without_training(
    toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from rsrag.train.sources.__main__ import main

    config = tmp_path / "toy.toml"
    config.write_text('[[data.sources]]\npath = "scenes"\nkind = "folders"\n', encoding="utf-8")
    assert main([str(config), str(toy_data), str(tmp_path / "run")]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert sum(facts["pictures"]["scenes"].values()) == 32
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "manifest.jsonl",
        "manifest_summary.json",
        "train_manifest.txt.gz",
    }
    (toy_data / "scenes/train/city/bad.jpg").write_bytes(b"")
    assert main([str(config), str(toy_data)]) == 3
    assert main([str(config), str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err
    assert main([]) == 2
