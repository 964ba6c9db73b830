"""Pictures that were in training are found as files and by looks, however turned, and plain ones are not accused."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from picture_sets import Picture, classes, encoded, picture, plain, write
from PIL import Image

from rsrag.errors import BadModelFile, UsageError
from rsrag.eval.datasets.images import ImageSet, read_folders, turned_hashes
from rsrag.eval.datasets.leakage import Leakage, check, find_leaks, read_manifest, seen_by
from rsrag.models.base import ModelRow
from rsrag.models.registry import find
from rsrag.train.sources.manifest import row

SIZE = 72


def trained_on(folder: Path, pictures: dict[str, Picture], *, compact: bool = False) -> ModelRow:
    """A model with a manifest that lists these pictures, beside a folder of weights."""
    (folder / "image").mkdir(parents=True, exist_ok=True)
    hashed = {
        name: (hashlib.sha256(encoded(p)).hexdigest(), f"{turned_hashes(p)[0]:016x}") for name, p in pictures.items()
    }
    if compact:
        lines = "".join(f"{digest[:32]} {code} set train\n" for digest, code in sorted(hashed.values()))
        text = f"# sha256[:32] dhash64 set use\n{lines}" + "0" * 32 + " - mosaic train\n"
        (folder / "train_manifest.txt.gz").write_bytes(gzip.compress(text.encode()))
    else:
        rows = [
            {"source": "set", "file": name, "sha256": digest, "dhash": code, "use": "train"}
            for name, (digest, code) in hashed.items()
        ]
        rows.append({"source": "mosaic", "file": "m", "sha256": "0" * 64, "dhash": "", "use": "train"})
        (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ModelRow("mine", "image", "mini_image", str(folder / "image"))


def of(tmp_path: Path, files: dict[str, bytes | Picture]) -> ImageSet:
    return read_folders(write(tmp_path / "set", files))


def again(pixels: Picture, quality: int = 60) -> bytes:
    return encoded(pixels, "JPEG", quality=quality)


def smaller(pixels: Picture) -> bytes:
    return again(np.asarray(Image.fromarray(pixels).resize((44, 44), Image.Resampling.BILINEAR)))


COPIES: dict[str, Callable[[Picture], bytes]] = {
    "re-encoded": again,
    "flipped": lambda p: again(p[:, ::-1]),
    "turned": lambda p: again(np.rot90(p)),
    "turned and flipped": lambda p: again(np.rot90(p, 3)[::-1]),
    "smaller": smaller,
    "brighter": lambda p: again(np.clip(p * 1.1 + 5, 0, 255).astype(np.uint8)),
}


@pytest.mark.parametrize("compact", [False, True])
def test_the_same_file_is_found(tmp_path: Path, compact: bool) -> None:
    row = trained_on(tmp_path / "model", {"x": picture(1, SIZE)}, compact=compact)
    found = check(of(tmp_path, {"a/same.png": picture(1, SIZE), "b/new.png": picture(2, SIZE)}), row, allow_leaked=True)
    assert [(leak.row, leak.file, leak.how) for leak in found.leaks] == [(0, "a/same.png", "same file")]
    assert found.clean_rows() == [1]


@pytest.mark.parametrize("way", sorted(COPIES))
def test_copies_are_found_by_their_looks(tmp_path: Path, way: str) -> None:
    seen = {str(seed): picture(seed, SIZE) for seed in range(12)}
    row = trained_on(tmp_path / "model", seen)
    files: dict[str, bytes | Picture] = {f"a/{name}.jpg": COPIES[way](p) for name, p in seen.items()}
    files |= {f"b/{seed}.png": picture(seed, SIZE) for seed in range(100, 112)}
    found = check(of(tmp_path, files), row, allow_leaked=True)
    names = {leak.file for leak in found.leaks}
    assert len(names) >= 9 and all(name.startswith("a/") for name in names)
    assert {leak.how for leak in found.leaks} == {"looks alike"}


def test_plain_pictures_are_alike_only_as_files(tmp_path: Path) -> None:
    shore = np.tile(np.linspace(20, 220, SIZE)[None, :, None], (SIZE, 1, 3)).astype(np.uint8)
    row = trained_on(tmp_path / "model", {"water": plain(80, SIZE), "shore": shore})
    files = {"a/water.png": plain(81, SIZE), "a/shore.png": shore[:, ::-1], "b/same.png": plain(80, SIZE)}
    found = check(of(tmp_path, files), row, allow_leaked=True)
    assert [(leak.file, leak.how) for leak in found.leaks] == [("b/same.png", "same file")]
    assert found.plain == 3


def test_an_evaluation_is_refused_with_the_count_and_the_files(tmp_path: Path) -> None:
    row = trained_on(tmp_path / "model", {str(s): picture(s, SIZE) for s in range(20)})
    images = of(tmp_path, {f"a/{s:02d}.png": picture(s, SIZE) for s in range(25)})
    with pytest.raises(UsageError, match=r"20 of 25 pictures of set were in the training of mine: a/00\.png") as info:
        check(images, row)
    assert "and 12 more" in info.value.message and "--allow-leaked" in str(info.value.hint)
    clean = images.chosen(range(20, 25))
    assert check(clean, row).leaks == ()


def test_what_a_result_says(tmp_path: Path) -> None:
    row = trained_on(tmp_path / "model", {"x": picture(1, SIZE)})
    files = {"a/same.png": picture(1, SIZE), "a/new.png": picture(2, SIZE)}
    told = check(of(tmp_path, files), row, allow_leaked=True).details()
    assert told["LEAKED"] == "1 of 2 pictures were in training" and told["leaked files"] == ["a/same.png"]
    assert "1 same files, 0 look alike" in told["training data"]
    clean = check(read_folders(tmp_path / "set").chosen([0]), row, allow_leaked=True).details()
    assert set(clean) == {"training data"}
    assert "unknown" in Leakage(None, 3).details()["training data"]


def test_models_without_a_manifest(tmp_path: Path) -> None:
    images = of(tmp_path, classes())
    assert seen_by(find("georsclip-vit-b-32")) is None
    assert seen_by(find("extractive")) is None
    found = check(images, find("georsclip-vit-b-32"))
    assert found.training is None and found.clean_rows() == list(range(9))


def test_the_shipped_encoder_brings_its_manifest() -> None:
    seen = seen_by(find("mini-image"))
    assert seen is not None and len(seen.digests) > 1000 and len(seen.hashes) > 1000


@pytest.mark.parametrize("what", ["picture", "caption", "row", "file"])
def test_what_was_skipped_in_training_was_not_seen(tmp_path: Path, what: str) -> None:
    rows = [row("set", "x", "", "", f"skipped {what}", "why"), row("set", "y", "1" * 64, "f" * 16, "train")]
    path = tmp_path / "manifest.jsonl"
    path.write_text(json.dumps(rows[0]) + "\n\n" + json.dumps(rows[1]) + "\n")
    seen = read_manifest(path)
    assert seen.digests == {"1" * 32} and seen.hashes.tolist() == [0xFFFFFFFFFFFFFFFF]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("manifest.jsonl", b"{"),
        ("manifest.jsonl", b'{"file": "a"}\n'),
        ("manifest.jsonl", b'{"sha256": "12", "dhash": ""}\n'),
        ("manifest.jsonl", b"[1]\n"),
        ("train_manifest.txt.gz", b"not gzip"),
        ("train_manifest.txt.gz", gzip.compress(b"0" * 32, mtime=0)),
        ("train_manifest.txt.gz", gzip.compress(b"0" * 32 + b" " + b"f" * 17, mtime=0)),
        ("train_manifest.txt.gz", gzip.compress(b"0" * 32 + b" zz", mtime=0)),
    ],
)
def test_damaged_manifests_are_errors(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadModelFile, match="no manifest of training data"):
        seen_by(ModelRow("mine", "image", "mini_image", str(tmp_path)))


def test_nothing_seen_leaks_nothing(tmp_path: Path) -> None:
    row = trained_on(tmp_path / "model", {})
    seen = seen_by(row)
    assert seen is not None
    found = find_leaks(of(tmp_path, classes()).items, seen)
    assert found.leaks == () and found.pictures == 9
