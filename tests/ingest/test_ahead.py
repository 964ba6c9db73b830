"""Reading ahead: batches across scenes, work in other threads, and nothing counted as done before it is written."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import archives
import numpy as np
import numpy.typing as npt
import pytest

from rsrag.engine import Engine
from rsrag.errors import ModelError
from rsrag.ingest import ahead, scenes
from rsrag.ingest.summary import IngestSummary


class Plain:
    """An encoder that takes pictures as they are; it notes its batches and can be made to fail or wait."""

    name, fingerprint, dim, input_size = "plain", "plain:1", 16, 32

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.threads: set[str] = set()
        self.fails_at = -1
        self.gate = threading.Event()
        self.gate.set()

    def encode_images(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> Any:
        self.gate.wait()
        self.sizes.append(len(pictures))
        self.threads.add(threading.current_thread().name)
        if len(self.sizes) == self.fails_at:
            raise ModelError("the encoder broke")
        seeds = [int(picture.sum()) for picture in pictures]
        made = np.stack([np.random.default_rng(seed).normal(size=self.dim) for seed in seeds])
        return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)

    def encode_words(self, texts: Sequence[str]) -> Any:
        return np.full((len(texts), self.dim), self.dim**-0.5, dtype=np.float32)


class Preparing(Plain):
    """An encoder whose preprocessing can be done elsewhere."""

    batch_size = 0

    def __init__(self) -> None:
        super().__init__()
        self.prepared_in: set[str] = set()
        self.prepared = 0

    def prepare(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        self.prepared_in.add(threading.current_thread().name)
        self.prepared += 1
        return np.ascontiguousarray(picture[:8, :8])

    def encode_prepared(self, batch: npt.NDArray[np.uint8]) -> Any:
        assert batch.shape[1:] == (8, 8, 3)
        return self.encode_images(list(batch))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Seventy rasters of one tile each."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(70):
        archives.scene(folder / f"p{number:02d}.tif", number, west=3 + 0.1 * number, size=32)
    return folder


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with archives.open_archive(tmp_path / "archive") as opened:
        yield opened


def with_encoder(engine: Engine, encoder: Any) -> Any:
    engine.__dict__["profile"] = replace(engine.profile, image=encoder)
    return encoder


def test_scenes_of_one_tile_share_batches(engine: Engine, photos: Path) -> None:
    encoder = with_encoder(engine, Plain())
    summary = engine.ingest([photos])
    assert (summary.done, summary.tiles, summary.errors) == (70, 70, ())
    assert encoder.sizes == [8, 32, 30]  # it begins while reading begins
    assert engine.index.count("tiles") == engine.catalog.counts()["tiles"] == 70
    assert all(next(iter(encoder.threads)) != t for t in ("MainThread",))


def test_pictures_are_prepared_ahead_of_the_encoder_and_only_once(engine: Engine, photos: Path) -> None:
    encoder = with_encoder(engine, Preparing())
    assert engine.ingest([photos]).tiles == 70
    assert encoder.prepared == 70
    assert all(name.startswith("rsrag-measure") for name in encoder.prepared_in)
    assert {name.split("_")[0] for name in encoder.threads} == {"rsrag-encoder"}


def test_a_gpu_gets_the_batches_it_asks_for(engine: Engine, photos: Path) -> None:
    encoder = with_encoder(engine, Preparing())
    encoder.batch_size = 50
    assert engine.ingest([photos]).tiles == 70
    assert max(encoder.sizes) > 32
    assert sum(encoder.sizes) == 70


def test_vectors_belong_to_their_tiles(engine: Engine, photos: Path) -> None:
    """Whatever the batch, a tile's vector is that of its own pixels."""
    encoder = with_encoder(engine, Plain())
    engine.ingest([photos])
    alone = {}
    with archives.open_archive(engine.path.parent / "alone") as other:
        with_encoder(other, encoder)
        for path in sorted(photos.iterdir()):
            other.ingest([path])
        ids = sorted(other.catalog.tile_ids())
        alone = other.index.vectors("tiles", "image", ids)
        groups = {t.id: t.group for t in other.catalog.tiles(ids).values()}
    together = engine.index.vectors("tiles", "image", ids)
    assert len(together) == 70
    for key, vector in alone.items():
        np.testing.assert_allclose(together[key], vector, atol=1e-6)
    assert {t.id: t.group for t in engine.catalog.tiles(ids).values()} == groups


def test_an_encoder_that_breaks_loses_nothing_that_was_written(
    engine: Engine, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenes, "BATCH", 8)
    monkeypatch.setattr(scenes, "_WRITE", 8)
    encoder = with_encoder(engine, Plain())
    encoder.fails_at = 6
    with pytest.raises(ModelError, match="broke"):
        engine.ingest([photos])
    done = [record for record in engine.catalog.sources() if record.status == "done"]
    held = engine.catalog.counts()["tiles"]
    assert 0 < len(done) <= held < 70
    for record in done:
        scene = next(s for s in engine.catalog.scenes() if s.source == record.path)
        assert engine.catalog.tiles_of(scene.id)
    again = engine.ingest([photos])
    assert (again.skipped, again.tiles) == (len(done), 70 - held)
    assert engine.catalog.counts()["tiles"] == engine.index.count("tiles") == 70
    assert engine.verify(deep=True).ok


def test_the_same_content_twice_is_embedded_once(engine: Engine, photos: Path) -> None:
    encoder = with_encoder(engine, Plain())
    (photos / "p01.tif").write_bytes((photos / "p00.tif").read_bytes())
    summary = engine.ingest([photos])
    assert (summary.done, summary.tiles, summary.tiles_known) == (70, 69, 1)
    assert sum(encoder.sizes) == 69


def test_content_that_moved_from_a_damaged_file_to_a_later_one_stays(engine: Engine, tmp_path: Path) -> None:
    """What the damaged file gave is removed, and must not count as known when the later file is read."""
    folder = tmp_path / "two"
    folder.mkdir()
    archives.scene(folder / "a.tif", 1, size=64)
    with_encoder(engine, Plain())
    assert engine.ingest([folder]).tiles == 5
    (folder / "b.tif").write_bytes((folder / "a.tif").read_bytes())
    (folder / "a.tif").write_bytes(b"II*\x00 torn")
    summary = engine.ingest([folder])
    assert (summary.done, summary.failed) == (1, 1)
    assert engine.catalog.counts()["tiles"] == engine.index.count("tiles") == 5
    assert engine.verify().ok


def test_files_that_swap_their_content(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "swap"
    folder.mkdir()
    archives.scene(folder / "a.tif", 1, size=64)
    archives.scene(folder / "b.tif", 2, west=4, size=64)
    with_encoder(engine, Plain())
    engine.ingest([folder])
    before = archives.contents(engine)["tiles"]
    one, two = (folder / "a.tif").read_bytes(), (folder / "b.tif").read_bytes()
    for name, data in (("a.tif", two), ("b.tif", one)):
        (folder / name).write_bytes(data)
        os.utime(folder / name, ns=(time.time_ns(), time.time_ns() + 10**9))
    engine.ingest([folder])
    assert set(archives.contents(engine)["tiles"]) == set(before)
    assert engine.verify(deep=True).ok


def test_reading_does_not_run_away_from_a_slow_encoder(engine: Engine, photos: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(scenes, "BATCH", 4)
    monkeypatch.setattr(ahead, "_AHEAD", 8)
    encoder = with_encoder(engine, Preparing())
    encoder.gate.clear()
    found: list[IngestSummary] = []
    work = threading.Thread(target=lambda: found.append(engine.ingest([photos])))
    work.start()
    try:
        last, still = -1, 0
        while still < 10:  # until nothing has moved for a while
            time.sleep(0.1)
            still = still + 1 if encoder.prepared == last and last > 0 else 0
            last = encoder.prepared
    finally:
        encoder.gate.set()
        work.join()
    assert last <= 8 + (scenes._SENT + 2) * 4 + 1
    assert found[0].tiles == 70


def test_threads_end_with_the_ingest(engine: Engine, photos: Path) -> None:
    encoder = with_encoder(engine, Plain())
    encoder.fails_at = 1
    with pytest.raises(ModelError):
        engine.ingest([photos])
    encoder.fails_at = -1
    engine.ingest([photos])
    assert [t.name for t in threading.enumerate() if t.name.startswith("rsrag-")] == []


@pytest.mark.parametrize(("side", "expected"), [(64, 256), (224, 224), (336, 336)])
def test_tiles_are_cut_at_the_input_size_of_large_encoders(side: int, expected: int) -> None:
    from rsrag.ingest.pipeline import _side

    assert _side(side) == expected
