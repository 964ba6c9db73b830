"""Captioned pictures of one's own as neighbours: encoded once, kept as vectors in the user's cache folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile

import numpy as np

from rsrag.errors import SourceError, UsageError
from rsrag.ingest.readers.photo import load_picture
from rsrag.models.base import ImageEncoder, Vectors
from rsrag.models.captioner import words_of
from rsrag.models.runtime import cache_home
from rsrag.progress import Progress, Silent
from rsrag.train.sources.caption_files import EXAMPLE, CaptionRow, caption_rows, located
from rsrag.train.sources.files import ANNOTATION_BYTES, Files, open_files

_BATCH = 64
_LONGEST = 400
"""Characters of a caption that count."""


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Captioned pictures.

    Attributes:
        files: their names.
        captions: sentences of each, as they came.
        vectors: of the encoder, float32 [N, dim], unit length.
        skipped: pictures that could not be used, with the reason.
    """

    files: tuple[str, ...]
    captions: tuple[tuple[str, ...], ...]
    vectors: Vectors
    skipped: tuple[str, ...] = ()

    def nearest(self, vector: Vectors, count: int) -> list[tuple[int, float]]:
        """Rows and cosines of the nearest pictures, best first; equal ones in their order."""
        cosines = self.vectors @ vector
        return [(int(n), float(cosines[n])) for n in np.argsort(-cosines, kind="stable")[:count]]


def read_captions(data: Path, captions: Path | str | None = None) -> tuple[Files, list[CaptionRow], list[str]]:
    """Rows of a caption file, where the pictures lie, and rows that cannot be used, with the reason.

    A picture may have several rows, such as one a caption: they become one row, so that it counts as one neighbour.

    Args:
        data: folder or zip file of pictures.
        captions: a file in one of the layouts of :mod:`rsrag.train.sources.caption_files`, or the name of one inside of
            ``data``; "captions.json" inside of it when None.

    Returns:
        The files; located rows, those without a sentence or a picture with the ``reason``; and what was no row.

    Raises:
        SourceError: a file is missing or no JSON.
        UsageError: the file names no picture with a sentence.
    """
    files, bad = open_files(data), list[str]()
    path = None if captions is None else Path(captions)
    listed = caption_rows(path, data, files.names, partial(files.read, limit=ANNOTATION_BYTES), bad)
    rows = []
    for row in located(listed, files.names):
        said = tuple(" ".join(text.split())[:_LONGEST] for text in row.captions if words_of(text))
        rows.append(replace(row, captions=said, reason=row.reason or ("" if said else "no captions")))
    if not any(row.captions for row in rows):
        raise UsageError(f"{path or data} names no picture with a sentence", hint=bad[0] if bad else EXAMPLE)
    return files, rows, bad


def read_examples(
    data: Path,
    captions: Path | str | None,
    encoder: ImageEncoder,
    *,
    split: str | None = None,
    progress: Progress | None = None,
) -> Examples:
    """Encode captioned pictures, or take their vectors from the cache when nothing changed.

    Args:
        data: folder or zip file of pictures.
        captions: see :func:`read_captions`.
        encoder: of the pictures.
        split: only rows of this part; one that names none belongs to it by the folder of its picture.
        progress: told of pictures.

    Raises:
        SourceError: the data or the caption file cannot be read.
        UsageError: no picture is left.
    """
    files, rows, bad = read_captions(data, captions)
    rows = [row for row in rows if split is None or row.of_split(split)]
    kept, vectors, skipped = encoded(files, rows, encoder, data, progress)
    if not kept:
        raise UsageError(f"no captioned picture of {data} can be used", hint="; ".join(skipped[:3]) or "check --split")
    return Examples(tuple(r.file for r in kept), tuple(r.captions for r in kept), vectors, (*skipped, *bad))


def encoded(
    files: Files, rows: Sequence[CaptionRow], encoder: ImageEncoder, data: Path, progress: Progress | None = None
) -> tuple[list[CaptionRow], Vectors, list[str]]:
    """Rows whose picture can be used, its vectors, float32 [M, dim], and why other rows were left out."""
    there = [row for row in rows if not row.reason]
    vectors, usable, unread = _vectors(files, [row.file for row in there], encoder, data, progress)
    skipped = [f"{row.file}: {row.reason}" for row in rows if row.reason]
    return [row for row, fine in zip(there, usable, strict=True) if fine], vectors, skipped + unread


def _vectors(
    files: Files, names: Sequence[str], encoder: ImageEncoder, data: Path, progress: Progress | None
) -> tuple[Vectors, list[bool], list[str]]:
    """Vectors of the usable pictures, float32 [M, dim]; which of the N names were; and why others were not."""
    stamp = _stamp(data, names, encoder)
    cache = cache_home() / "captions" / f"{stamp}.npz"
    # No such file, or a damaged one: encoded again.
    broken = (OSError, ValueError, KeyError, EOFError, BadZipFile)
    with suppress(*broken), cache.open("rb") as file, np.load(file, allow_pickle=False) as kept:
        return kept["vectors"].astype(np.float32), kept["usable"].tolist(), [str(s) for s in kept["skipped"]]
    bar = progress or Silent()
    bar.start("encoding captioned pictures", len(names))
    parts, usable, skipped = [np.zeros((0, encoder.dim), dtype=np.float32)], [], []
    for start in range(0, len(names), _BATCH):
        pictures = []
        for name in names[start : start + _BATCH]:
            try:
                pictures.append(load_picture(files.read(name), PurePosixPath(name).name).pixels)
                usable.append(True)
            except SourceError as error:
                usable.append(False)
                skipped.append(f"{name}: {error.message}")
        if pictures:
            parts.append(encoder.encode_images(pictures))
        bar.advance(min(_BATCH, len(names) - start))
    vectors = np.concatenate(parts)
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial = cache.with_suffix(f".{os.getpid()}.npz")
        np.savez(partial, vectors=vectors, usable=np.array(usable), skipped=np.array(skipped, dtype=np.str_))
        partial.replace(cache)
    except OSError:
        pass  # the next call encodes again
    return vectors, usable, skipped


def _stamp(data: Path, names: Sequence[str], encoder: ImageEncoder) -> str:
    """Of the encoder, the names, and size and time of what holds them."""
    digest = hashlib.sha256(encoder.fingerprint.encode())
    for name in names:
        digest.update(b"\0" + name.encode("utf-8", "replace"))
    paths = [data] if data.is_file() else [data / name for name in names]
    for path in paths:
        try:
            about = path.stat()
            digest.update(f"{path.resolve()}:{about.st_size}:{about.st_mtime_ns}".encode())
        except OSError:
            digest.update(b"gone")
    return digest.hexdigest()[:32]
