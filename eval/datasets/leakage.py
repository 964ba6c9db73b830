"""Whether an encoder was trained on the pictures it is measured with.

A training run leaves a manifest: sha256 and difference hash of every picture it read. A picture of an evaluation has
leaked when the manifest holds the same file, or one that looks alike: a difference hash within a few bits of the
picture's own or of one of its seven other flips and quarter turns. Hashes of plain pictures (open water, a straight
shore, stripes) are alike without meaning anything, so these are only held against the manifest as files.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

import rsrag.models
from rsrag.errors import BadModelFile, UsageError
from rsrag.eval.datasets.images import ImageItem, ImageSet
from rsrag.models.base import ModelRow

DISTANCE = 3
"""Most bits in which the hashes of alike pictures differ."""
DETAIL = 12
"""Least number of neighbouring bits that must differ in a hash, along its rows and along its columns (56 each)."""
MANIFESTS = ("train_manifest.txt.gz", "manifest.jsonl")
_DIGITS = 32
_BLOCK = 8_000_000
_SHOWN = 8

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What an encoder was trained on, or chosen with.

    Attributes:
        source: the manifest.
        digests: first 32 digits of the sha256 of every picture.
        hashes: difference hashes of the pictures that have one, uint64 of shape [N].
    """

    source: Path
    digests: frozenset[str]
    hashes: Hashes


@dataclass(frozen=True, slots=True)
class Leak:
    """A picture that was in training: the same file, or one that looks alike with ``distance`` differing bits."""

    row: int
    file: str
    how: Literal["same file", "looks alike"]
    distance: int = 0


@dataclass(frozen=True, slots=True)
class Leakage:
    """What is known about leaks into an evaluation.

    Attributes:
        training: the manifest's name, or None when nothing is known about the training data.
        pictures: how many were held against it.
        plain: how many of them are too plain for their hash to mean anything.
        leaks: the pictures that were in training.
    """

    training: str | None
    pictures: int
    plain: int = 0
    leaks: tuple[Leak, ...] = field(default=())

    def clean_rows(self) -> list[int]:
        """Rows of the pictures that were not in training."""
        leaked = {leak.row for leak in self.leaks}
        return [row for row in range(self.pictures) if row not in leaked]

    def details(self) -> dict[str, Any]:
        """What a result says about it; ``LEAKED`` comes only with leaks."""
        if self.training is None:
            return {"training data": "unknown: no manifest beside the model, leaks cannot be found"}
        same = sum(leak.how == "same file" for leak in self.leaks)
        known: dict[str, Any] = {}
        if self.leaks:
            known["LEAKED"] = f"{len(self.leaks)} of {self.pictures} pictures were in training"
            known["leaked files"] = [leak.file for leak in self.leaks[:_SHOWN]]
        known["training data"] = (
            f"{self.training}: {same} same files, {len(self.leaks) - same} look alike "
            f"({self.plain} of {self.pictures} too plain to tell by looks)"
        )
        return known


def seen_by(row: ModelRow) -> Seen | None:
    """What the model of a row was trained on; None where no manifest lies beside its weights or one folder above.

    Raises:
        BadModelFile: a manifest that cannot be read.
    """
    if not row.source:
        return None
    path = Path(row.source).expanduser()
    if not path.exists():
        path = Path(str(rsrag.models.__file__)).parent / row.source
    if not path.exists():
        return None
    folder = path if path.is_dir() else path.parent
    for place in (folder, folder.parent):
        for name in MANIFESTS:
            if (place / name).is_file():
                return read_manifest(place / name)
    return None


def read_manifest(path: Path) -> Seen:
    """The manifest of a training run (``manifest.jsonl``) or its compact form (``train_manifest.txt.gz``).

    Raises:
        BadModelFile: damaged, or something else.
    """
    digests, hashes = set(), []
    try:
        for digest, code in _lines(path):
            if len(digest) < _DIGITS:
                raise ValueError(f"{digest!r} is no sha256")
            digests.add(digest[:_DIGITS])
            if code not in ("", "-"):
                hashes.append(int(code, 16))
        table = np.array(hashes, dtype=np.uint64)
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise BadModelFile(f"{path} is no manifest of training data: {error}") from error
    return Seen(path, frozenset(digests), table)


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                if line.strip() and not line.startswith("#"):
                    digest, code = line.split()[:2]
                    yield digest, code
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                row: Mapping[str, Any] = json.loads(line)
                if not str(row.get("use")).startswith("skipped"):  # "skipped picture": listed, but not learned from
                    yield str(row["sha256"]), str(row.get("dhash") or "")


def find_leaks(items: Sequence[ImageItem], seen: Seen, *, distance: int = DISTANCE) -> Leakage:
    """Hold pictures against a manifest.

    Args:
        items: pictures with their hashes.
        seen: what was trained on.
        distance: most differing bits of two pictures that look alike.
    """
    turned = np.array([item.turned for item in items], dtype=np.uint64).reshape(len(items), -1)
    telling = _detail(turned) >= DETAIL
    nearest = np.full(len(items), 64, dtype=np.int64)
    if len(seen.hashes):
        step = max(1, _BLOCK // (len(seen.hashes) * max(1, turned.shape[1])))
        for start in range(0, len(items), step):
            block = slice(start, start + step)
            bits = np.bitwise_count(turned[block, :, None] ^ seen.hashes).min(axis=2)
            nearest[block] = np.where(telling[block], bits, 64).min(axis=1)
    leaks = []
    for row, item in enumerate(items):
        if item.sha256[:_DIGITS] in seen.digests:
            leaks.append(Leak(row, item.file, "same file"))
        elif nearest[row] <= distance:
            leaks.append(Leak(row, item.file, "looks alike", int(nearest[row])))
    plain = int((~telling.any(axis=1)).sum())
    return Leakage(seen.source.name, len(items), plain, tuple(leaks))


def _detail(hashes: Hashes) -> npt.NDArray[np.int64]:
    """Least number of differing neighbours along the rows or along the columns of each 8×8 hash, same shape."""
    shifts = np.arange(63, -1, -1, dtype=np.uint64)
    bits = ((hashes[..., None] >> shifts) & np.uint64(1)).astype(np.int8).reshape(*hashes.shape, 8, 8)
    along = np.abs(np.diff(bits, axis=-1)).sum(axis=(-2, -1), dtype=np.int64)
    across = np.abs(np.diff(bits, axis=-2)).sum(axis=(-2, -1), dtype=np.int64)
    return np.asarray(np.minimum(along, across), dtype=np.int64)


def check(images: ImageSet, row: ModelRow, *, allow_leaked: bool = False) -> Leakage:
    """Refuse to measure a model with pictures that it was trained on.

    Args:
        images: the pictures.
        row: the model.
        allow_leaked: take them; the result must then be marked, see :meth:`Leakage.details`.

    Raises:
        UsageError: some pictures were in training, and ``allow_leaked`` is off.
        BadModelFile: a manifest that cannot be read.
    """
    seen = seen_by(row)
    if seen is None:
        return Leakage(None, len(images.items))
    found = find_leaks(images.items, seen)
    if found.leaks and not allow_leaked:
        named = ", ".join(f"{leak.file} ({leak.how})" for leak in found.leaks[:_SHOWN])
        more = f" and {len(found.leaks) - _SHOWN} more" if len(found.leaks) > _SHOWN else ""
        raise UsageError(
            f"{len(found.leaks)} of {len(images.items)} pictures of {images.name} were in the training of {row.name}: "
            f"{named}{more}",
            hint="name a split that was not trained on, or add --allow-leaked to see figures with and without them",
        )
    return found
