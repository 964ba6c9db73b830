"""Batches, texts and manifests of small sets, against values on record: how lists are held changes none of them."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cv2")

from set_layouts import shard

from rsrag.train import batches, textmodel
from rsrag.train.batches import epoch_batches
from rsrag.train.config import parse_config
from rsrag.train.data import Collection, load

RECORDED = {
    "plain": "51a949d79e99912a3251ea92fac113461e51bbbfe819f784418b3bc5a5a266a4",
    "hard": "c1815f053d5a235a62052488530e974ae3b656f04ae6a3d0e8b0f99ffa5d4c1a",
    "told twice": "8fef4290547c53f477f3a861e99008aa5c85ea723e412e86b54d6564eefc58a1",
}
"""sha256 over everything that a collection gives, by the kind of its configuration."""
NOUNS = ("boats", "fields", "roads", "houses", "a quay", "the trees")


def bitmap(seed: int) -> bytes:
    """A grey picture of 9 x 8 px, written without a library: its bytes are the same everywhere."""
    grey = np.random.default_rng(seed).integers(0, 256, (8, 9), dtype=np.uint8)
    rows = b"".join(line.repeat(3).tobytes() + b"\x00" for line in grey)
    about = struct.pack("<IiiHHIIiiII", 40, 9, 8, 1, 24, 0, len(rows), 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(rows), 0, 0, 54) + about + rows


def told(seed: int) -> list[str]:
    """Captions of a picture: some unlike any other, some that say the same as others."""
    noun, other = NOUNS[seed % 6], NOUNS[seed * 7 % 5]
    every = [f"There are {noun} near {other}.", f"{noun} near the {other}", f"scene {seed // 2} with {noun}", "Müll ☃"]
    return every[: seed % 5]


def shards(root: Path) -> dict[str, Any]:
    for part in range(2):
        members: dict[str, bytes] = {"nothing.txt": b"sample without a picture"}
        for seed in range(40 * part, 40 * part + 40):
            members[f"x/{seed:05d}.bmp"] = bitmap(seed % 70)
            members[f"x/{seed:05d}.txt"] = "; ".join(told(seed)).encode()
            if seed % 3:
                label = NOUNS[seed % 4] if seed % 2 else None
                members[f"x/{seed:05d}.json"] = json.dumps({"captions": told(seed), "label": label}).encode()
            if seed == 11:
                members[f"x/{seed:05d}.caption"] = b"\xff\xfe no text"
        shard(root / f"rs-{part}.tar", members)
    return {"path": "rs-{0..1}.tar", "kind": "webdataset", "name": "rs", "repeat": 1.5}


def rows(root: Path) -> dict[str, Any]:
    (root / "pictures").mkdir()
    table: list[dict[str, Any]] = []
    for seed in range(60, 90):
        (root / "pictures" / f"{seed}.bmp").write_bytes(bitmap(seed))
        table += [{"file": f"{seed}.bmp", "caption": text, "label": NOUNS[seed % 3]} for text in told(seed) or [""]]
    table.append({"file": "gone.bmp", "caption": "no picture"})
    (root / "rows.json").write_text(json.dumps(table), encoding="utf-8")
    return {"path": "rows.json", "kind": "captions", "images": "pictures", "labels": {"boats": ["boats", "a boat"]}}


def classes(root: Path) -> dict[str, Any]:
    for seed in range(80, 110):
        path = root / "classes" / "train" / NOUNS[seed % 4] / f"{seed}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bitmap(seed) if seed != 101 else b"no picture")
    return {"path": "classes", "kind": "folders", "limit": 25}


def vectors(path: str) -> Any:
    """Stands for the text model: vectors of whole numbers out of a hash of every text, of unit length."""

    def encode(texts: list[str]) -> np.ndarray:
        digests = b"".join(hashlib.sha256(text.encode()).digest()[:16] for text in texts)
        values = np.frombuffer(digests, np.int8).reshape(len(texts), 16).astype(np.float32)
        return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), dtype=np.float32)

    return encode


def simple_view(pixels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Stands for an augmented view: the same with every version of OpenCV, told apart by picture and draw."""
    return pixels[:size, :size] ^ rng.integers(0, 256, dtype=np.uint8)


def told_of(data: Collection) -> Iterator[bytes]:
    """All that a collection gives, as bytes."""
    yield json.dumps([list(data.texts.sentences), data.texts.classes, data.texts.of_class, data.names]).encode()
    yield json.dumps([list(map(list, data.texts.captions)), list(map(list, data.texts.prompts))]).encode()
    yield np.concatenate([data.texts.groups, data.texts.labels, data.near]).tobytes()
    yield json.dumps([list(data.manifest()), {**data.facts(), "kept": ""}]).encode()
    for item in [*data.train, *data.held]:
        yield json.dumps([item.source, item.file, item.label, list(item.labels), list(item.captions)]).encode()
        yield item.pixels.tobytes()
    for seed, epoch in ((0, 0), (0, 1), (5, 2)):
        yield data.members(seed, epoch).tobytes()
        for batch in epoch_batches(data, batch=12, size=8, seed=seed, epoch=epoch, workers=2, wild=0.2):
            yield batch.views.tobytes()
            yield from (part.tobytes() for kind in (batch.rows, batch.texts, batch.labels) for part in kind)
    if data.hard is not None:
        yield data.hard.profile.tobytes() + data.hard.near.tobytes()


def collection(root: Path, sources: list[dict[str, Any]], **settings: Any) -> Collection:
    table = {"data": {"sources": sources, "holdout": 0.2, "workers": 2, **settings}}
    return load(parse_config(table).data, root, 4)


def digest(data: Collection) -> str:
    """sha256 of all that it gives."""
    found = hashlib.sha256()
    for part in told_of(data):
        found.update(hashlib.sha256(part).digest())
    return found.hexdigest()


@pytest.mark.parametrize("memory_mb", [0, 4096])
@pytest.mark.parametrize("kind", RECORDED)
def test_everything_is_as_recorded(kind: str, memory_mb: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textmodel, "load_text", vectors)
    monkeypatch.setattr(batches, "_VIEWS", {"full": simple_view})
    monkeypatch.setattr(batches, "wild_view", simple_view)
    sources = [shards(tmp_path), rows(tmp_path), classes(tmp_path)]
    settings: dict[str, Any] = {"memory_mb": memory_mb}
    if kind == "hard":
        settings["hard"] = 0.3
    if kind == "told twice":
        sources = [sources[0] | {"path": "{rs-0,rs-1,rs-0}.tar", "captions": ["captions"], "repeat": 0.3}, sources[1]]
    assert digest(collection(tmp_path, sources, **settings)) == RECORDED[kind]
