"""Detectors of change on labelled pairs: what is in memory, and what is known before the work begins."""

from __future__ import annotations

import json
import shutil
import weakref
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rsrag.adapters.base import Context
from rsrag.config import Settings
from rsrag.errors import UsageError
from rsrag.eval import change
from rsrag.models.registry import load_profile


@pytest.fixture(scope="module")
def context() -> Context:
    settings = Settings()
    return Context(load_profile(settings), settings)


def write_pairs(folder: Path, count: int) -> Path:
    for number in range(count):
        before = np.random.default_rng(number).integers(60, 120, (48, 48, 3), dtype=np.uint8)
        after, label = before.copy(), np.zeros((48, 48), np.uint8)
        after[8:24, 8:24], label[8:24, 8:24] = 240, 255
        for side, values in (("A", before), ("B", after), ("label", label)):
            (folder / side).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / side / f"{number}.png"), values)
    return folder


def test_one_pair_is_in_memory_at_a_time(tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[Any]] = []
    most = []
    read = change.StoredPair.read

    def noted(stored: change.StoredPair) -> Any:
        most.append(sum(pair() is not None for pair in alive))
        pair = read(stored)
        alive.append(weakref.ref(pair.before))
        return pair

    monkeypatch.setattr(change.StoredPair, "read", noted)
    result = change.run([write_pairs(tmp_path / "set", 4)], context, methods=("cva",))
    assert len(most) == 8 and max(most) == 1  # the one before, until the next is there
    assert result.details["pairs"] == 4 and result.details["changed pixels"] == f"{100 * 256 / 48**2:.1f} %"
    assert result.rows["cva"]["binary_accuracy"] == 1


def test_damaged_pairs_and_captions_are_told_before_the_work(
    tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_pairs(tmp_path / "set", 2)
    monkeypatch.setattr(change, "compared", None)  # no work is begun
    captions = tmp_path / "captions.json"
    for rows, said in (([{"id": "0"}], "cannot be read"), ([{"id": "7", "captions": ["x"]}], "none of its ids")):
        captions.write_text(json.dumps(rows))
        with pytest.raises(UsageError, match=said):
            change.run([folder], context, methods=("cva",), captions=captions)
    (folder / "B" / "1.png").write_bytes(b"\x89PNG")
    with pytest.raises(UsageError, match=r"label/1\.png: its pair is missing or damaged"):
        change.run([folder], context, methods=("cva",))


def test_sentences_alone_where_nothing_is_labelled(tmp_path: Path, context: Context) -> None:
    """LEVIR-CC has pairs and sentences, no masks; beside labelled pairs it counts for the sentences only."""
    folder = write_pairs(tmp_path / "plain", 2)
    shutil.rmtree(folder / "label")
    for side in "AB":
        for number in range(2):
            (folder / side / f"{number}.png").rename(folder / side / f"c{number}.png")
    captions = tmp_path / "captions.json"
    rows = [{"filename": f"c{n}.png", "sentences": [{"raw": "a building appears"}]} for n in range(2)]
    captions.write_text(json.dumps({"images": rows}))
    alone = change.run([folder], context, methods=("cva",), captions=captions)
    assert set(alone.details["sentences"]["said"]) == {"c0", "c1"} and alone.details["pairs"] == 0
    assert alone.metrics == alone.details["sentences"]["figures"] == alone.rows["cva"]
    both = change.run([write_pairs(tmp_path / "set", 1), folder], context, methods=("cva",), captions=captions)
    assert both.details["sentences"] == alone.details["sentences"] and both.rows["cva"]["binary_accuracy"] == 1
    (tmp_path / "empty").mkdir()
    for more in ([folder, tmp_path / "empty"], [tmp_path / "empty"]):
        with pytest.raises(UsageError, match="no labelled pairs"):
            change.run(more, context, methods=("cva",), captions=captions)
    with pytest.raises(UsageError, match="no labelled pairs"):
        change.run([folder], context, methods=("cva",), captions=captions, invariance=True)
