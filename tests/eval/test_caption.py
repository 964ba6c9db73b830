"""The caption suite on a tiny set: rows with and without retrieval, a picture grid, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from rsrag.adapters.base import Context
from rsrag.config import Settings
from rsrag.errors import UsageError
from rsrag.eval import caption as suite
from rsrag.models.registry import load_profile


@pytest.fixture(scope="module")
def context() -> Context:
    settings = Settings()
    return Context(load_profile(settings), settings)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Seas and deserts, four of each to draw on and one of each to describe."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("shutil.which", lambda name: None)  # no Java: METEOR takes seconds to start
    folder, rows = tmp_path / "set", []
    folder.mkdir()
    for number in range(10):
        sea = number % 2 == 0
        colour = (84, 40, 12) if sea else (120, 170, 206)
        noise = np.random.default_rng(number).normal(0, 8, (64, 64, 1))
        cv2.imwrite(str(folder / f"{number}.png"), np.clip(np.asarray(colour) + noise, 0, 255).astype(np.uint8))
        text = "A dark blue sea without any ship ." if sea else "A yellow desert with some small dunes ."
        rows.append({"file": f"{number}.png", "split": "train" if number < 8 else "val", "captions": [text, text]})
    (folder / "captions.json").write_text(json.dumps(rows), encoding="utf-8")
    return folder


def test_neighbours_answer_with_and_without_the_decoder(context: Context, data: Path) -> None:
    result, grid = suite.run(data, context)
    assert set(result.rows) == set(suite.METHODS) and result.metrics == result.rows["fused"]
    assert result.rows["neighbours alone"]["bleu4"] == pytest.approx(1, abs=1e-6)
    assert result.rows["decoder alone"]["bleu4"] < 0.9
    assert result.details["pictures"] == 2 and len(result.tables["Sentences"]) == 2
    assert grid.dtype == np.uint8 and grid.shape[2] == 3
    assert json.loads(result.to_json())["suite"] == "caption"


def test_pictures_that_are_left_out_are_named(context: Context, data: Path) -> None:
    (data / "1.png").write_bytes(b"nothing")
    (data / "9.png").unlink()
    details = suite.run(data, context)[0].details
    assert details["left out"] == len(details["left out files"]) == 2
    assert {line.split(":")[0] for line in details["left out files"]} == {"1.png", "9.png"}


def test_a_picture_of_both_splits_is_no_neighbour_of_itself(context: Context, data: Path) -> None:
    rows = json.loads((data / "captions.json").read_text())
    again = [{**row, "split": "train"} for row in rows if row["split"] == "val"]
    (data / "captions.json").write_text(json.dumps([*rows, *again]), encoding="utf-8")
    assert suite.run(data, context)[0].details["archive"] == "train: 8 pictures"


def test_without_an_archive_the_decoder_stands_alone(context: Context, data: Path) -> None:
    result, _ = suite.run(data, context, archive_split="none")
    assert set(result.rows) == {"decoder alone"}


def test_pictures_of_published_sets_are_found_in_their_folders(context: Context, data: Path) -> None:
    """Rows by class with bare names, as NWPU-Captions has them."""
    rows = json.loads((data / "captions.json").read_text())
    (data / "sea").mkdir()
    for row in rows:
        (data / row["file"]).rename(data / "sea" / row["file"])
    named = [{"filename": row["file"], "split": row["split"], "raw": row["captions"][0]} for row in rows]
    (data / "captions.json").write_text(json.dumps({"sea": named}), encoding="utf-8")
    result, _ = suite.run(data, context)
    assert result.details["pictures"] == 2 and result.details["archive"] == "train: 8 pictures"
    assert result.rows["neighbours alone"]["bleu4"] == pytest.approx(1, abs=1e-6)


def test_captions_without_a_picture_or_a_split_are_told_apart(context: Context, data: Path) -> None:
    rows = json.loads((data / "captions.json").read_text())
    for name in ("8.png", "9.png"):
        (data / name).unlink()
    with pytest.raises(UsageError, match=r"no captioned picture in split 'val' \(8\.png: no such file"):
        suite.run(data, context)
    plain = [{"file": row["file"], "captions": row["captions"]} for row in rows]
    (data / "captions.json").write_text(json.dumps(plain), encoding="utf-8")
    with pytest.raises(UsageError, match="its rows name no split"):
        suite.run(data, context)


def test_requests_that_make_no_sense(context: Context, data: Path) -> None:
    with pytest.raises(UsageError, match="archive itself"):
        suite.run(data, context, split="train")
    with pytest.raises(UsageError, match="no captioned picture"):
        suite.run(data, context, split="test")
