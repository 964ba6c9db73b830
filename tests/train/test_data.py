"""Reading sets, prompts, groups, manifest and batches."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cv2")

from rsrag.errors import SourceError
from rsrag.train.augment import QUERY, TRAINING, training_view, view
from rsrag.train.batches import epoch_batches, steps_per_epoch
from rsrag.train.config import parse_config
from rsrag.train.data import dhash, load
from rsrag.train.prompts import merge_groups, normal, words


def test_names_become_words() -> None:
    assert words("SeaLake") == "sea lake"
    assert words("storage_tanks") == "storage tanks"
    assert normal("There is  a piece of Farmland .") == "there is a piece of farmland"


def test_classes_that_share_a_name_share_a_group() -> None:
    names = {"a": ["parking lot"], "b": ["car park", "garage"], "c": ["parking lot", "car park"], "d": ["x"]}
    groups = merge_groups(names)
    assert groups["a"] == groups["b"] == groups["c"] != groups["d"]


def test_sets_are_read_and_split_by_hash(toy_data: Path, toy_table: dict[str, Any]) -> None:
    data = load(parse_config(toy_table).data, toy_data)
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
    rows = data.manifest()
    assert sum(row["source"] == "mosaic" for row in rows) == 2
    assert {row["use"] for row in rows} == {"train", "held-out"}


def test_equal_captions_share_a_group(toy_data: Path, toy_table: dict[str, Any]) -> None:
    texts = load(parse_config(toy_table).data, toy_data).texts
    by_form: dict[str, set[int]] = {}
    for text, group in zip(texts.sentences, texts.groups, strict=True):
        by_form.setdefault(normal(text), set()).add(int(group))
    assert all(len(groups) == 1 for form, groups in by_form.items() if form.startswith("there is much"))


def test_missing_and_damaged_data_are_source_errors(toy_data: Path, toy_table: dict[str, Any]) -> None:
    (toy_data / "scenes" / "train" / "city" / "0.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"0\.png"):
        load(parse_config(toy_table).data, toy_data)
    toy_table["data"]["sources"] = [{"path": "nowhere.zip", "kind": "folders"}]
    with pytest.raises(SourceError, match="nowhere"):
        load(parse_config(toy_table).data, toy_data)


def test_a_mosaic_that_is_nowhere_is_named(toy_data: Path, toy_table: dict[str, Any]) -> None:
    toy_table["data"]["mosaic"]["files"] = ["atlantis.png"]
    with pytest.raises(SourceError, match="atlantis"):
        load(parse_config(toy_table).data, toy_data)


@pytest.mark.parametrize("strength", [TRAINING, QUERY])
def test_views_depend_on_the_seed_alone(strength: Any) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    one, same, other = (view(picture, 48, strength, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert one.shape == (48, 48, 3)
    assert one.dtype == np.uint8
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_views_work_at_every_size() -> None:
    for side in (9, 33, 400):
        picture = np.full((side, side, 3), 128, dtype=np.uint8)
        assert training_view(picture, 32, np.random.default_rng(side)).shape == (32, 32, 3)


def test_a_view_without_alterations_is_the_picture() -> None:
    from dataclasses import replace

    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    still = replace(TRAINING, area=(1.0, 1.0), stretch=0.0, colour=0.0, rotate=False, damage=0.0)
    seen = view(picture, 32, still, np.random.default_rng(1))
    assert np.array_equal(seen, picture) or np.array_equal(seen, picture[:, ::-1])


def test_difference_hash_survives_rescaling() -> None:
    cv2 = pytest.importorskip("cv2")
    picture = cv2.resize(np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8), (180, 180))
    small = cv2.resize(picture, (90, 90), interpolation=cv2.INTER_AREA)
    distance = (int(dhash(picture), 16) ^ int(dhash(small), 16)).bit_count()
    assert len(dhash(picture)) == 16
    assert distance <= 3


def test_batches_do_not_depend_on_the_number_of_threads(toy_data: Path, toy_table: dict[str, Any]) -> None:
    data = load(parse_config(toy_table).data, toy_data)
    runs = [list(epoch_batches(data, batch=16, size=32, seed=1, epoch=4, workers=workers)) for workers in (1, 3)]
    assert len(runs[0]) == steps_per_epoch(data, 16)
    for one, other in zip(*runs, strict=True):
        assert np.array_equal(one.first, other.first)
        assert np.array_equal(one.second, other.second)
        assert np.array_equal(one.captions, other.captions)
