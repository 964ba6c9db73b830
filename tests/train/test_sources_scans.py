"""Scans kept for the next start: used when nothing changed, never when something did, and never in the way."""

from __future__ import annotations

import errno
import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cv2")

from set_layouts import MAKERS, PICTURES, rs5m, shard

from rsrag.train.config import parse_config
from rsrag.train.data import Collection, load
from rsrag.train.sources import scans, store


def collection(root: Path, settings: dict[str, Any], **more: Any) -> Collection:
    """A set that fits no memory."""
    table = {"data": {"sources": [settings], "holdout": 0.3, "memory_mb": 0, "workers": 2, **more}}
    return load(parse_config(table).data, root)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the pictures that a scan has decoded."""
    found: list[str] = []
    decode = store.decode

    def noted(data: bytes, where: str, max_pixels: int) -> Any:
        found.append(where)
        return decode(data, where, max_pixels)

    monkeypatch.setattr(store, "decode", noted)
    return found


@pytest.mark.parametrize("kind", MAKERS)
def test_a_kept_scan_gives_the_same_and_reads_no_picture(kind: str, tmp_path: Path, decoded: list[str]) -> None:
    settings = MAKERS[kind](tmp_path)
    first = collection(tmp_path, settings)
    assert len(decoded) == 6
    again = collection(tmp_path, settings)
    assert len(decoded) == 6
    assert again.manifest() == first.manifest()
    assert again.texts.sentences == first.texts.sentences
    assert again.texts.captions == first.texts.captions
    for one, other in zip(again.train + again.held, first.train + first.held, strict=True):
        assert np.array_equal(one.pixels, other.pixels)
        assert (one.record.meta, one.labels, one.captions) == (other.record.meta, other.labels, other.captions)


def test_what_fits_the_memory_is_read_and_not_kept(tmp_path: Path, decoded: list[str]) -> None:
    settings = rs5m(tmp_path)
    for _ in range(2):
        assert collection(tmp_path, settings, memory_mb=100).tier == "decoded"
    assert len(decoded) == 12
    assert not scans.folder().exists()


def test_settings_that_change_no_picture_use_the_same_scan(tmp_path: Path, decoded: list[str]) -> None:
    settings = rs5m(tmp_path)
    collection(tmp_path, settings)
    collection(tmp_path, {**settings, "repeat": 2.0, "templates": "sentinel"})
    assert len(decoded) == 6
    assert len(collection(tmp_path, {**settings, "limit": 3}).manifest()) == 3
    assert len(decoded) == 9


@pytest.mark.parametrize("kind", ["webdataset", "folders", "parquet"])
def test_a_changed_file_is_read_again_with_a_note(
    kind: str, tmp_path: Path, decoded: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    settings = MAKERS[kind](tmp_path)
    collection(tmp_path, settings)
    changed = next(path for path in sorted(tmp_path.rglob("*")) if path.suffix in (".tar", ".jpg", ".parquet"))
    os.utime(changed, ns=(0, 0))
    with caplog.at_level(logging.WARNING, "rsrag.train"):
        collection(tmp_path, settings)
    assert len(decoded) == 12
    assert "is not used" in caplog.text and "has changed" in caplog.text
    collection(tmp_path, settings)
    assert len(decoded) == 12


def test_a_new_shard_in_a_folder_is_seen(tmp_path: Path, decoded: list[str]) -> None:
    (tmp_path / "shards").mkdir()
    shard(tmp_path / "shards" / "a.tar", {"1.jpg": PICTURES["001"]})
    settings = {"path": "shards", "kind": "webdataset"}
    assert len(collection(tmp_path, settings).manifest()) == 1
    shard(tmp_path / "shards" / "b.tar", {"2.jpg": PICTURES["002"]})
    assert len(collection(tmp_path, settings).manifest()) == 2


def damage(home: Path, what: str) -> None:
    """Spoil a kept scan in one way."""
    table = home / "scan.json"
    if what == "cut table":
        table.write_text(table.read_text(encoding="utf-8")[:-9], encoding="utf-8")
    elif what == "no array":
        (home / "rows.npy").unlink()
    elif what == "changed array":
        path = home / "texts_data.npy"
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    elif what == "pickle":
        np.save(home / "rows.npy", np.array([{}], dtype=object), allow_pickle=True)
    elif what == "short array":
        content = json.loads(table.read_text(encoding="utf-8"))
        content["sums"]["rows"] = scans._write(home / "rows.npy", np.arange(99))
        table.write_text(json.dumps(content), encoding="utf-8")
    elif what == "other version":
        content = json.loads(table.read_text(encoding="utf-8"))
        content["settings"]["by"]["rsrag"] = "0"
        table.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize("what", ["cut table", "no array", "changed array", "pickle", "short array", "other version"])
def test_a_spoilt_scan_is_not_used(
    what: str, tmp_path: Path, decoded: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    settings = rs5m(tmp_path)
    first = collection(tmp_path, settings)
    (home,) = scans.folder().iterdir()
    damage(home, what)
    with caplog.at_level(logging.WARNING, "rsrag.train"):
        assert collection(tmp_path, settings).manifest() == first.manifest()
    assert len(decoded) == 12
    assert "is not used" in caplog.text


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_an_end_while_writing_leaves_nothing_half_done(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = rs5m(tmp_path)

    def write(path: Path, column: Any) -> int:
        path.write_bytes(b"half")
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(scans, "_write", write)
        if isinstance(error, KeyboardInterrupt):
            with pytest.raises(KeyboardInterrupt):
                collection(tmp_path, settings)
        else:
            assert len(collection(tmp_path, settings).manifest()) == 6
            assert "No space left" in caplog.text
    assert list(scans.folder().iterdir()) == []


def test_what_a_killed_process_left_is_removed_a_day_later(tmp_path: Path) -> None:
    settings = rs5m(tmp_path)
    collection(tmp_path, settings)
    (home,) = scans.folder().iterdir()
    old, young = (home.with_name(f"{home.name}.{number}") for number in (1, 2))
    for path in (old, young, home.with_name("other.1")):
        path.mkdir()
        os.utime(path, (0, 0) if path is not young else None)
    os.utime(tmp_path / "rs3-train-0000.tar", ns=(1, 1))
    collection(tmp_path, settings)
    assert {path.name for path in scans.folder().iterdir()} == {home.name, young.name, "other.1"}


def test_files_that_change_during_a_scan_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = rs5m(tmp_path)
    monkeypatch.setattr(scans.time, "time_ns", lambda: 0)
    collection(tmp_path, settings)
    assert "changed while they were read" in caplog.text
    assert not scans.folder().exists() or not list(scans.folder().iterdir())
