"""A miniature of every layout of training sets, of the same six pictures and their texts."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rsrag.train.sources.config import SourceConfig
from rsrag.train.sources.layouts import list_source
from rsrag.train.sources.record import Listing


def jpeg(seed: int, side: int = 24) -> bytes:
    """A small picture file."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


PICTURES = {f"{number:03d}": jpeg(number) for number in range(6)}
TEXTS = {key: (f"a scene with {int(key)} boats", f"{int(key)} boats and a quay") for key in PICTURES}


def folders(root: Path) -> dict[str, Any]:
    for key, data in PICTURES.items():
        path = root / "set" / "train" / ("even" if int(key) % 2 == 0 else "odd") / f"{key}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return {"path": "set", "kind": "folders"}


def captions(root: Path) -> dict[str, Any]:
    (root / "set" / "RSICD_images").mkdir(parents=True)
    images = []
    for key, data in PICTURES.items():
        (root / "set" / "RSICD_images" / f"{key}.jpg").write_bytes(data)
        sentences = [{"raw": text, "tokens": text.split(), "imgid": int(key)} for text in TEXTS[key]]
        images.append({"filename": f"{key}.jpg", "imgid": int(key), "split": "train", "sentences": sentences})
    images.append({"filename": "none.jpg", "split": "test", "sentences": []})
    table = {"images": images, "dataset": "rsicd"}
    (root / "set" / "dataset_rsicd.json").write_text(json.dumps(table), encoding="utf-8")
    return {"path": "set/dataset_rsicd.json", "kind": "captions", "images": "set/RSICD_images"}


def shard(path: Path, members: dict[str, bytes]) -> None:
    """A tar file."""
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def rs5m(root: Path) -> dict[str, Any]:
    for number, name in enumerate(("pub11", "rs3")):
        members: dict[str, bytes] = {}
        for key in list(PICTURES)[number::2]:
            members[f"{key}.img_name"] = f"{name}_{key}.jpg".encode()
            members[f"{key}.img_content"] = PICTURES[key]
            members[f"{key}.caption"] = TEXTS[key][0].encode()
            members[f"{key}.txt"] = TEXTS[key][1].encode()
        shard(root / f"{name}-train-0000.tar", members)
    return {"path": "{pub11,rs3}-train-{0000..0000}.tar", "kind": "webdataset", "name": "rs5m"}


def skyscript(root: Path) -> dict[str, Any]:
    (root / "images2").mkdir()
    with (root / "train.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["filepath", "title", "title_multi_objects"])
        for key, data in PICTURES.items():
            name = f"images2/a{key}_CH_19.jpg"
            (root / name).write_bytes(data)
            writer.writerow([name, TEXTS[key][1], TEXTS[key][0]])
    tags = {
        f"images2/a{key}_CH_19.jpg": {
            "center_tags": {"leisure": "marina" if int(key) % 2 else "pitch"},
            "surrounding_tags": [{"surface": "asphalt"}],
            "box": [1.0, 2.0, 1.1, 2.1],
            "time": [2019, 5, 4, 10, 30],
        }
        for key in PICTURES
    }
    (root / "tags.json").write_text(json.dumps(tags), encoding="utf-8")
    return {"path": "train.csv", "kind": "skyscript", "annotations": "tags.json", "label": "leisure"}


def gaia(root: Path) -> dict[str, Any]:
    folder = root / "gaia" / "00000"
    folder.mkdir(parents=True)
    for number, (key, data) in enumerate(PICTURES.items()):
        (folder / f"00000{key}.jpg").write_bytes(data)
        (folder / f"00000{key}.txt").write_text("alt text that is no caption", encoding="utf-8")
        told: Any = list(TEXTS[key]) if number % 2 else json.dumps(TEXTS[key])
        row = {"id": key, "captions": told, "caption": "alt", "status": "success", "error_message": None, "width": 24}
        (folder / f"00000{key}.json").write_text(json.dumps(row), encoding="utf-8")
    failed = {"id": "x", "captions": ["gone"], "status": "failed_to_download", "error_message": "HTTP Error 404"}
    (folder / "00000999.json").write_text(json.dumps(failed), encoding="utf-8")
    (root / "gaia" / "00000_stats.json").write_text("{}", encoding="utf-8")
    published = [{"id": key, "location": "Oslo, Norway", "lat": 59.9, "tag": ["harbour"]} for key in PICTURES]
    (root / "train_data.json").write_text(json.dumps(published), encoding="utf-8")
    return {"path": "gaia", "kind": "gaia", "annotations": "train_data.json"}


def parquet(root: Path) -> dict[str, Any]:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files

    (root / "table").mkdir()
    features = {"info": {"features": {"label": {"names": ["even", "odd"], "_type": "ClassLabel"}}}}
    for part in range(2):
        keys = list(PICTURES)[part * 3 : part * 3 + 3]
        table = pa.table(
            {
                "image": [{"bytes": PICTURES[key], "path": f"{key}.jpg"} for key in keys],
                "captions": [list(TEXTS[key]) for key in keys],
                "label": [int(key) % 2 for key in keys],
                "split": ["train"] * 3,
            }
        ).replace_schema_metadata({"huggingface": json.dumps(features)})
        files.write_table(table, root / "table" / f"part-{part}.parquet", row_group_size=2)
    return {"path": "table/part-{0..1}.parquet", "kind": "parquet", "name": "table"}


MAKERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "folders": folders,
    "captions": captions,
    "webdataset": rs5m,
    "skyscript": skyscript,
    "gaia": gaia,
    "parquet": parquet,
}


def listed(root: Path, settings: dict[str, Any]) -> Listing:
    """The listing of a set of a configuration."""
    return list_source(SourceConfig(**settings), root)
