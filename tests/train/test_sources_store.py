"""Decoding within limits, keeping within a budget, copies, near copies, hard negatives and the compact manifest."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("cv2")

from rsrag.errors import SourceError, SourceTooLarge, UnreadableSource
from rsrag.train.sources.duplicates import near_groups, unite
from rsrag.train.sources.hard import HardBatches
from rsrag.train.sources.manifest import row, summary, write_manifest, write_train_manifest
from rsrag.train.sources.pictures import decode, dhash
from rsrag.train.sources.record import Record
from rsrag.train.sources.store import Item, Store, in_order


def encoded(seed: int = 0, side: int = 40, form: str = "PNG") -> bytes:
    """A small picture file."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form)
    return stream.getvalue()


def record(key: str, data: bytes | Callable[[], bytes], source: str = "s", **more: object) -> Record:
    """A record of bytes or of a function that reads them."""
    return Record(source, key, data if callable(data) else lambda: data, **more)  # type: ignore[arg-type]


# pictures


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP"])
def test_lossless_formats_give_their_pixels(form: str) -> None:
    wanted = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    assert np.array_equal(decode(encoded(0, form=form), "x"), wanted)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_picture_that_is_cut_off_is_refused_wherever_it_is_cut(form: str) -> None:
    data = encoded(0, form=form)
    assert decode(data, "x").shape == (40, 40, 3)
    for length in (0, 1, 10, len(data) // 2, len(data) - 60):
        with pytest.raises(UnreadableSource, match="cannot decode x"):
            decode(data[:length], "x")


def test_bytes_after_the_end_do_no_harm() -> None:
    for form in ("PNG", "JPEG"):
        assert decode(encoded(0, form=form) + b"\x00" * 6000, "x").shape == (40, 40, 3)


def test_size_is_judged_by_the_header() -> None:
    with pytest.raises(SourceTooLarge, match="40 x 40"):
        decode(encoded(), "x", max_pixels=1599)
    bomb = bytearray(encoded())
    bomb[16:24] = (100_000).to_bytes(4, "big") * 2  # IHDR says 10 gigapixels
    with pytest.raises(SourceError):
        decode(bytes(bomb), "x")
    with pytest.raises(SourceError, match="fewer than 8"):
        decode(encoded(side=7), "x")


@pytest.mark.parametrize("ending", [".tif", ".png"])
def test_sixteen_bits_are_stretched_as_an_ingest_does(ending: str) -> None:
    import cv2

    from rsrag.ingest import stretch
    from rsrag.ingest.readers.base import Pixels

    rgb = np.random.default_rng(0).integers(300, 2900, (40, 50, 3)).astype(np.uint16) + np.uint16([0, 50, 400])
    done, data = cv2.imencode(ending, rgb[..., ::-1])
    bands = Pixels(np.moveaxis(rgb, -1, 0), np.ones((40, 50), dtype=bool))
    wanted = stretch.percentiles(range(3), ("red", "green", "blue"), [bands]).apply(bands)
    assert done and np.array_equal(decode(data.tobytes(), "x"), wanted)
    assert wanted.min() == 0 and wanted.max() == 255


def tiff(samples: np.ndarray, **tags: Any) -> bytes:
    """A TIFF of the samples [H, W, N]."""
    from rasterio.io import MemoryFile

    height, width, count = samples.shape
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", count=count, height=height, width=width, dtype=samples.dtype, **tags
        ) as handle:
            handle.write(np.moveaxis(samples, -1, 0))
        return bytes(memory.read())


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_a_fourth_band_does_not_darken_the_others() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    infrared = np.full((32, 48, 1), 60, dtype=np.uint8)
    assert np.array_equal(decode(tiff(np.concatenate([rgb, infrared], axis=-1)), "x"), rgb)
    with pytest.raises(SourceError, match="no TIFF of 1, 3 or 4 bands"):
        decode(tiff(np.zeros((32, 48, 6), dtype=np.uint16)), "x")


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_compressions_that_opencv_does_not_know() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    try:
        Image.fromarray(rgb).save(io.BytesIO(), "TIFF", compression="zstd")
    except OSError:
        pytest.skip("this version of Pillow does not know ZSTD")
    assert np.array_equal(decode(tiff(rgb, photometric="RGB", compress="zstd"), "x"), rgb)


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_a_source_error(data: bytes) -> None:
    for start in (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"II*\x00"):
        with pytest.raises(SourceError):
            decode(start + data, "x")


def test_difference_hash_survives_rescaling() -> None:
    import cv2

    picture = cv2.resize(np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8), (180, 180))
    small = cv2.resize(picture, (90, 90), interpolation=cv2.INTER_AREA)
    distance = (int(dhash(picture), 16) ^ int(dhash(small), 16)).bit_count()
    assert len(dhash(picture)) == 16
    assert distance <= 3


# store

FILES = [encoded(seed) for seed in range(5)]
BYTES = sum(map(len, FILES))
PIXELS = 5 * 40 * 40 * 3


@pytest.mark.parametrize(
    ("budget", "tier", "kept"),
    [
        (BYTES + PIXELS, "decoded", np.ndarray),
        (BYTES + PIXELS - 1, "encoded", bytes),
        (BYTES, "encoded", bytes),
        (BYTES - 1, "on demand", type(None)),
        (0, "on demand", type(None)),
    ],
)
def test_pictures_are_kept_as_the_budget_allows(budget: int, tier: str, kept: type) -> None:
    store = Store(budget)
    items, problems = store.read([record(str(n), data) for n, data in enumerate(FILES)], 10**6, workers=2)
    assert (store.tier, problems) == (tier, [])
    for number, item in enumerate(items):
        assert isinstance(item.kept, kept)
        assert item.sha256 == hashlib.sha256(FILES[number]).hexdigest()
        assert np.array_equal(item.pixels, decode(FILES[number], "x"))


@given(st.lists(st.integers(9, 30), min_size=1, max_size=8), st.integers(0, 40_000))
@settings(max_examples=30, deadline=None)
def test_the_budget_is_never_exceeded(sides: list[int], budget: int) -> None:
    store = Store(budget)
    files = [encoded(seed, side) for seed, side in enumerate(sides)]
    items, _ = store.read([record(str(n), data) for n, data in enumerate(files)], 10**6, workers=1)
    store.finish()
    sizes = [item.kept.nbytes if isinstance(item.kept, np.ndarray) else len(item.kept or b"") for item in items]
    assert sum(sizes) <= budget
    assert [np.array_equal(i.pixels, decode(f, "x")) for i, f in zip(items, files, strict=True)] == [True] * len(files)


def test_what_cannot_be_read_is_noted_in_order() -> None:
    def gone() -> bytes:
        raise UnreadableSource("gone")

    records = [record("a", FILES[0]), record("b", gone), record("c", b"no picture"), record("d", FILES[1])]
    items, problems = Store(10**6).read(records, 10**6, workers=3)
    assert [item.file for item in items] == ["a", "d"]
    assert [(p.key, p.what) for p in problems] == [("b", "picture"), ("c", "picture")]


def test_a_file_that_changed_is_not_trained_on() -> None:
    state = [FILES[0]]
    items, _ = Store(0).read([record("a", lambda: state[0])], 10**6, workers=1)
    assert items[0].pixels.shape == (40, 40, 3)
    state[0] = FILES[1]
    with pytest.raises(SourceError, match="s/a has changed"):
        _ = items[0].pixels


@pytest.mark.parametrize("workers", [1, 4])
def test_work_comes_back_in_order_and_never_far_ahead(workers: int) -> None:
    asked = 0

    def values() -> object:
        nonlocal asked
        for number in range(200):
            asked += 1
            yield number

    for number, result in enumerate(in_order(lambda n: n * 2, values(), workers)):  # type: ignore[arg-type]
        assert result == 2 * number
        assert asked - number < 40


# copies


def item(key: str, data: bytes, source: str = "s", label: str = "", captions: tuple[str, ...] = ()) -> Item:
    """An item read from bytes."""
    found = Store(0).read([record(key, data, source, label=label, captions=captions)], 10**6, workers=1)
    return found[0][0]


def test_equal_files_become_one_with_all_texts() -> None:
    items = [
        item("1", FILES[0], "a", "port", ("Boats.", "ships")),
        item("2", FILES[1], "a", "wood"),
        item("3", FILES[0], "b", "quay", ("boats", "a quay")),
    ]
    kept, copies = unite(items)
    assert [one.file for one in kept] == ["1", "2"]
    assert [(one.file, other.file) for one, other in copies] == [("3", "1")]
    assert kept[0].captions == ["Boats.", "ships", "a quay"]
    assert (kept[0].label, kept[0].labels) == ("a/port", ("a/port", "b/quay"))


def brute(hashes: list[int]) -> list[int]:
    """Groups of near copies by comparing all pairs."""
    group = list(range(len(hashes)))
    for _ in hashes:
        for i, one in enumerate(hashes):
            for j, other in enumerate(hashes):
                if (one ^ other).bit_count() <= 3 and 8 <= one.bit_count() <= 56 and 8 <= other.bit_count() <= 56:
                    group[i] = group[j] = min(group[i], group[j])
    return [number if group.count(number) > 1 else -1 for number in group]


@given(st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 63), max_size=4)), max_size=14), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_near_groups_are_those_of_all_pairs(drawn: list[tuple[int, list[int]]], seed: int) -> None:
    bases = np.random.default_rng(seed).integers(0, 2**63, 4).tolist()
    hashes = [bases[base] ^ sum(1 << bit for bit in set(bits)) for base, bits in drawn]
    assert near_groups([f"{value:016x}" for value in hashes]).tolist() == brute(hashes)


def test_smooth_pictures_are_no_copies() -> None:
    assert near_groups(["0" * 16, "0" * 16, "f" * 16, "f" * 16]).tolist() == [-1] * 4
    assert near_groups(["00000000000003ff"] * 2).tolist() == [0, 0]


# hard negatives


def sampler(share: float = 0.5, count: int = 60, kinds: int = 6) -> HardBatches:
    """Pictures of ``kinds`` topics in a ring; every picture has a caption of its own, a fifth has no text."""
    rng = np.random.default_rng(0)
    topics = np.arange(count) % kinds
    angle = 2 * np.pi * (topics + rng.uniform(-0.1, 0.1, count)) / kinds
    vectors = np.stack([np.cos(angle), np.sin(angle), np.zeros(count)], axis=1).astype(np.float32)
    captions = [[] if number % 5 == 4 else [number] for number in range(count)]
    return HardBatches(captions, captions, np.arange(count), vectors, share=share, neighbours=3)


@given(st.integers(0, 50), st.sampled_from([0.1, 0.25, 0.5, 0.8]), st.integers(1, 16), st.integers(0, 20))
@settings(max_examples=40, deadline=None)
def test_an_order_with_hard_negatives_is_an_epoch(seed: int, share: float, batch: int, crops: int) -> None:
    hard = sampler(share)
    items = np.repeat(np.arange(60), 2)
    members = np.random.default_rng(seed).permutation(len(items) + crops)
    one, same = (hard.order(members, items, batch, np.random.default_rng(seed)) for _ in range(2))
    assert np.array_equal(one, same)
    assert sorted(one.tolist()) == list(range(len(items) + crops))


def test_negatives_are_near_but_share_neither_caption_nor_class() -> None:
    # 0 and 1 share a caption, 2 shares the class of 0, 3 says the same in other words, 4 is near, 5 is far
    vectors = np.array([[1, 0, 0], [0.95, 0.2, 0], [0.9, 0.3, 0], [1, 0.01, 0], [0.8, 0.6, 0], [0, 0, 1]], np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = np.concatenate([vectors, np.zeros((2, 3), np.float32)])
    groups = np.array([0, 1, 2, 3, 4, 5, 6, 7])
    captions = [[0], [0, 1], [2], [3], [4], [5]]
    prompts = [[6], [], [6], [], [7], []]
    hard = HardBatches(captions, prompts, groups, texts, share=0.5, neighbours=2)
    near = [hard.profile.tolist().index(p) for p in hard.near[hard.profile[0]] if p >= 0]
    assert near == [4, 5]


def test_hard_negatives_fill_their_share_of_a_batch() -> None:
    """Without them a picture of a neighbouring topic shares a batch of four by chance alone."""
    count, batch = 240, 4
    hard = sampler(0.5, count, kinds=24)
    items = np.arange(count)
    members = np.random.default_rng(1).permutation(count)

    def neighbours(order: np.ndarray) -> float:
        blocks = (np.arange(count)[order] % 24).reshape(-1, batch)
        gap = np.abs(blocks[:, :, None] - blocks[:, None, :])
        return float(((gap == 1) | (gap == 23)).any(axis=2).mean())

    assert neighbours(members) < 0.4
    assert neighbours(hard.order(members, items, batch, np.random.default_rng(0))) > 0.6


def test_pictures_without_texts_have_no_negatives() -> None:
    hard = HardBatches([[], []], [[], []], np.empty(0, np.int64), np.empty((0, 3), np.float32), share=0.5)
    assert hard.profile.tolist() == [-1, -1]
    assert sorted(hard.order(np.array([1, 0]), np.arange(2), 2, np.random.default_rng(0)).tolist()) == [0, 1]


# manifest

ROWS = [
    row("b", "2.jpg", "f" * 64, "0" * 16, "train"),
    row("a", "1.jpg", "0" * 64, "1" * 16, "held-out", "near b/2.jpg"),
    row("a", "3.jpg", "f" * 64, "0" * 16, "copy", "b/2.jpg"),
    row("mosaic", "m.jpg", "a" * 64, "", "train"),
    row("a", "bad.jpg", "", "", "skipped picture", "cannot decode"),
]


def test_the_compact_manifest_lists_what_was_seen(tmp_path: Path) -> None:
    assert write_train_manifest(ROWS, tmp_path / "a.txt.gz") == 3
    write_train_manifest(reversed(ROWS), tmp_path / "b.txt.gz")
    assert (tmp_path / "a.txt.gz").read_bytes() == (tmp_path / "b.txt.gz").read_bytes()
    lines = gzip.decompress((tmp_path / "a.txt.gz").read_bytes()).decode().splitlines()
    assert lines == [
        "# sha256[:32] dhash64 set use",
        f"{'0' * 32} {'1' * 16} a held-out",
        f"{'a' * 32} - mosaic train",
        f"{'f' * 32} {'0' * 16} b train",
    ]


def test_the_summary_counts_uses_by_set(tmp_path: Path) -> None:
    assert summary(ROWS) == {
        "a": {"copy": 1, "held-out": 1, "skipped picture": 1},
        "b": {"train": 1},
        "mosaic": {"train": 1},
    }
    write_manifest(ROWS, {"pictures": summary(ROWS)}, tmp_path)
    assert len((tmp_path / "manifest.jsonl").read_text().splitlines()) == len(ROWS)
    assert '"held-out": 1' in (tmp_path / "manifest_summary.json").read_text()
