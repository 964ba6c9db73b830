"""Sets of pictures on disk: one folder a class, or pictures with captions, in a folder or a zip file.

Every picture goes through the readers of ingest: types are judged by content, sizes are limited, a raster is stretched
as ingest would. What cannot be read is recorded with its reason, never the end of a run. A zip file is read in place.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from rsrag.errors import SourceError, SourceTooLarge, UnreadableSource, UnsupportedSource, UsageError
from rsrag.eval.datasets.labels import label_words
from rsrag.ingest.guard import harden_gdal
from rsrag.models.base import Picture
from rsrag.progress import Progress, Silent
from rsrag.train.prompts import words
from rsrag.train.sources.caption_files import CaptionRow, caption_rows, located
from rsrag.train.sources.files import hidden

BATCH = 64
MEMBER_BYTES = 512 * 2**20
"""Largest file of a zip that is unpacked in memory."""
_PICTURES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".gtiff", ".jp2", ".j2k"}
_OTHER_PICTURES = {".bmp", ".gif", ".webp", ".jfif", ".heic", ".img", ".npy", ".mat"}
_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}
_THREADS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class ImageItem:
    """One picture of a set.

    Attributes:
        file: its path inside the set, with forward slashes.
        label: its class as the set writes it (the folder's name), or "".
        captions: sentences about it as they came.
        sha256: hexadecimal digest of the file's bytes.
        dhash: 64-bit difference hash of the picture, 16 hexadecimal digits, the same as in manifests of training.
        turned: the same hash of the picture and its seven other flips and quarter turns, as numbers.
    """

    file: str
    label: str
    captions: tuple[str, ...]
    sha256: str
    dhash: str
    turned: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Skip:
    """A file of a set that is left out, and why."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Pictures that can be decoded, in the order of their names, and what was left out.

    Attributes:
        name: what the set is called in reports.
        root: folder or zip file.
        items: the pictures.
        skips: files left out.
        words: label → what it is called in words, for every label of the items.
    """

    name: str
    root: Path
    items: tuple[ImageItem, ...]
    skips: tuple[Skip, ...] = ()
    words: Mapping[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the items, sorted."""
        return tuple(sorted({item.label for item in self.items if item.label}))

    def chosen(self, rows: Iterable[int]) -> ImageSet:
        """The same set with only these items."""
        return replace(self, items=tuple(self.items[row] for row in rows))

    def batches(self, size: int = BATCH) -> Iterator[list[Picture]]:
        """The items' pictures, uint8 RGB of shape [H, W, 3] each, in order and ``size`` at a time.

        Raises:
            SourceError: a picture was there when the set was listed, but cannot be read any more.
        """
        with Files(self.root) as source, ThreadPoolExecutor(_THREADS) as pool:
            for start in range(0, len(self.items), size):
                names = [item.file for item in self.items[start : start + size]]
                yield list(pool.map(lambda name: decode(source.read(name), name), names))


class Files:
    """Files of a folder or of a zip file by their path inside, with forward slashes. A context manager.

    Hidden files and what other systems leave behind (``__MACOSX``) do not count; links that leave the folder neither.

    Raises:
        UnreadableSource: nothing is there, or neither a folder nor a zip file.
    """

    def __init__(self, root: Path) -> None:
        self._zip: zipfile.ZipFile | None = None
        self._lock = Lock()
        self._root = root.expanduser().resolve()
        if not self._root.exists():
            raise UnreadableSource(f"{root}: no such folder or file")
        if self._root.is_dir():
            names = [path.relative_to(self._root).as_posix() for path in self._root.rglob("*") if self._inside(path)]
        else:
            try:
                self._zip = zipfile.ZipFile(self._root)
            except (zipfile.BadZipFile, OSError) as error:
                hint = "give a folder of pictures, or a zip file with one inside"
                raise UnreadableSource(f"{root}: neither a folder nor a zip file ({error})", hint=hint) from error
            names = [info.filename for info in self._zip.infolist() if not info.is_dir()]
        self.names = sorted(name for name in names if not hidden(name))

    def _inside(self, path: Path) -> bool:
        return path.is_file() and (not path.is_symlink() or path.resolve().is_relative_to(self._root))

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            UnreadableSource: damaged, encrypted, or gone.
            SourceTooLarge: a member of a zip file that unpacks to more than the limit.
        """
        try:
            if self._zip is None:
                return (self._root / name).read_bytes()
            size = self._zip.getinfo(name).file_size
            if size > MEMBER_BYTES:
                raise SourceTooLarge(f"{name}: {size} bytes in a zip file, the limit is {MEMBER_BYTES}")
            with self._lock:
                return self._zip.read(name)
        except (OSError, KeyError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
            raise UnreadableSource(f"{name}: {error}") from error

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *_: object) -> None:
        if self._zip is not None:
            self._zip.close()


def decode(data: bytes, name: str) -> Picture:
    """A picture file's bytes as ingest would show it to an encoder: uint8 RGB of shape [H, W, 3].

    Raises:
        SourceError: damaged, too large, or of a kind that rsrag does not read.
    """
    harden_gdal()
    from rsrag.ingest.readers.photo import load_picture

    if not data:
        raise UnreadableSource(f"{name}: empty file (0 bytes)")
    try:
        return np.asarray(load_picture(data, PurePosixPath(name).name).pixels, dtype=np.uint8)
    except UnsupportedSource as error:
        if "--bands" not in (error.hint or ""):  # an option of other commands
            raise
        hint = "take the set's RGB edition, or name the bands red, green and blue in the files"
        raise UnsupportedSource(error.message, hint=hint) from error


def turned_hashes(picture: Picture) -> tuple[int, ...]:
    """Difference hashes of a picture and of its seven other flips and quarter turns, the picture's own first.

    A bit says whether a pixel of the grey picture at 9×8 pixels is darker than its right neighbour, as in manifests of
    training (:mod:`rsrag.train`). Turning commutes with averaging to 9×8 pixels, so two small pictures are enough for
    all eight.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
    lying = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    standing = cv2.resize(grey, (8, 9), interpolation=cv2.INTER_AREA).T
    return tuple(_bits(small[::rows, ::cols]) for small in (lying, standing) for rows in (1, -1) for cols in (1, -1))


def _bits(small: npt.NDArray[Any]) -> int:
    return int.from_bytes(np.packbits(small[:, 1:] > small[:, :-1]).tobytes(), "big")


# --- listing --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Entry:
    """What a listing says about a file before it is opened."""

    file: str
    label: str = ""
    captions: tuple[str, ...] = ()


def read_folders(
    root: Path,
    labels_file: Path | str | None = None,
    split: str | None = None,
    progress: Progress | None = None,
) -> ImageSet:
    """A set with one folder a class, perhaps below one folder a split.

    Args:
        root: folder or zip file.
        labels_file: folder → words, see :func:`rsrag.eval.datasets.labels.label_words`.
        split: only ``root/split/CLASS/...``.
        progress: told of every picture that is looked at.

    Raises:
        UnreadableSource: nothing to read at ``root``.
        UsageError: no such split, a set of splits without a split named, no pictures, or labels that do not fit.
    """
    with Files(root) as source:
        base, names = _below(source.names, split, root)
        entries, skips = [], []
        for name in names:
            parts = PurePosixPath(name).parts[len(base) :]
            if _is_picture(name) and len(parts) > 1:
                entries.append(_Entry(name, parts[0]))
            elif _is_picture(name):
                skips.append(Skip(name, "lies in no class folder"))
            elif PurePosixPath(name).suffix.lower() in _OTHER_PICTURES:
                skips.append(Skip(name, "a kind of picture that rsrag does not read"))
        if not entries:
            raise UsageError(f"{root}: no pictures in class folders", hint="one folder a class, with pictures inside")
        labels = label_words(sorted({entry.label for entry in entries}), labels_file)
        return _read(source, root, entries, skips, labels, progress)


def read_captions(
    root: Path,
    captions: Path | str,
    split: str | None = None,
    progress: Progress | None = None,
) -> ImageSet:
    """A set with captions, in one of the layouts of :mod:`rsrag.train.sources.caption_files`.

    Args:
        root: folder or zip file with the pictures.
        captions: the file of captions: a path, or its name inside ``root``.
        split: only entries of this split; one that names none belongs to it by the folder of its picture.
        progress: told of every picture that is looked at.

    Raises:
        UnreadableSource: nothing to read at ``root``, or damaged JSON.
        UsageError: an entry without what it needs, no such split, or none of the pictures is there.
    """
    with Files(root) as source:
        rows = caption_rows(Path(captions), root, source.names, source.read)
        splits = Counter(row.split for row in rows if row.split)
        if split is not None and splits and split not in splits and splits.total() == len(rows):
            raise UsageError(f"{captions}: no entries of split {split!r}", hint=f"splits: {', '.join(sorted(splits))}")
        found = [row for row in located(rows, source.names) if split is None or row.of_split(split)]
        if not found and split is not None:
            raise UsageError(f"{captions}: no entries of split {split!r}", hint="entries name no split")
        return _captioned(source, root, found, captions, progress)


def read_rows(root: Path, rows: Sequence[CaptionRow], origin: Path | str, progress: Progress | None = None) -> ImageSet:
    """A set of the pictures that rows name, as :func:`read_captions` makes it of a file.

    Args:
        root: folder or zip file with the pictures.
        rows: of the pictures.
        origin: where the rows are from, for messages.
        progress: told of every picture that is looked at.

    Raises:
        UnreadableSource: nothing to read at ``root``.
        UsageError: none of the pictures is there, or one has two rows.
    """
    with Files(root) as source:
        return _captioned(source, root, list(located(rows, source.names)), origin, progress)


def _captioned(
    source: Files, root: Path, rows: Sequence[CaptionRow], origin: Path | str, progress: Progress | None
) -> ImageSet:
    """A set of located rows."""
    entries = [_Entry(row.file, row.label, row.captions) for row in rows if row.captions and not row.reason]
    skips = [Skip(row.file, row.reason or "no captions") for row in rows if row.reason or not row.captions]
    if not entries:
        first = f"{skips[0].file}: {skips[0].reason}" if skips else None
        raise UsageError(f"{origin} names no picture in {root}", hint=first)
    twice = [name for name, count in Counter(entry.file for entry in entries).items() if count > 1]
    if twice:
        raise UsageError(f"{origin}: {len(twice)} pictures have two entries", hint=f"the first is {twice[0]}")
    labels = {entry.label: words(entry.label) for entry in entries if entry.label}
    return _read(source, root, entries, skips, labels, progress)


def _read(
    source: Files,
    root: Path,
    entries: Sequence[_Entry],
    skips: Sequence[Skip],
    labels: Mapping[str, str],
    progress: Progress | None,
) -> ImageSet:
    """Decode every picture once, for its hashes and to learn which ones can be used."""
    progress = progress or Silent()
    items: list[ImageItem] = []
    left_out = list(skips)
    harden_gdal()
    progress.start("reading", len(entries), unit="pictures")
    with ThreadPoolExecutor(_THREADS) as pool:
        for entry, outcome in zip(entries, pool.map(lambda e: _look(source, e), entries), strict=True):
            if isinstance(outcome, ImageItem):
                items.append(outcome)
            else:
                left_out.append(Skip(entry.file, outcome))
            progress.advance()
    progress.finish()
    if not items:
        raise UsageError(f"{root}: none of {len(entries)} pictures can be read", hint=left_out[-1].reason)
    present = {item.label for item in items}
    kept = {label: text for label, text in labels.items() if label in present}
    return ImageSet(root.name, root, tuple(items), tuple(left_out), kept)


def _look(source: Files, entry: _Entry) -> ImageItem | str:
    try:
        data = source.read(entry.file)
        picture = decode(data, entry.file)
    except SourceError as error:
        return str(error)
    digest, turned = hashlib.sha256(data).hexdigest(), turned_hashes(picture)
    return ImageItem(entry.file, entry.label, entry.captions, digest, f"{turned[0]:016x}", turned)


def _is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in _PICTURES


def _below(names: Sequence[str], split: str | None, root: Path) -> tuple[tuple[str, ...], list[str]]:
    """The folder that holds the class folders, as its parts, and the files below it."""
    pictures = [PurePosixPath(name).parts for name in names if _is_picture(name)]
    if not pictures:
        raise UsageError(f"{root}: no pictures", hint=f"of a kind that rsrag reads: {', '.join(sorted(_PICTURES))}")
    base: tuple[str, ...] = ()
    # A single folder around everything, as archives often have, is not a class.
    while len({parts[len(base)] for parts in pictures}) == 1 and all(len(p) > len(base) + 2 for p in pictures):
        if pictures[0][len(base)] == split:
            break
        base = pictures[0][: len(base) + 1]
    tops = sorted({parts[len(base)] for parts in pictures if len(parts) > len(base) + 1})
    if split is not None:
        if split not in tops:
            hint = f"folders: {', '.join(tops[:12])}" if tops else None
            raise UsageError(f"{root}: no folder for split {split!r}", hint=hint)
        base = (*base, split)
    elif tops and {top.lower() for top in tops} <= _SPLITS:
        raise UsageError(f"{root}: its folders are splits, not classes", hint=f"add --split {tops[-1]}")
    return base, [name for name in names if PurePosixPath(name).parts[: len(base)] == base]
