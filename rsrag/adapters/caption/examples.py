"""Captioned pictures of one's own as neighbours: encoded once, kept as vectors in the user's cache folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import BadZipFile

import numpy as np

from rsrag.errors import SourceError, UsageError
from rsrag.ingest.readers.photo import load_picture
from rsrag.models.base import ImageEncoder, Vectors
from rsrag.models.captioner import words_of
from rsrag.models.runtime import cache_home
from rsrag.progress import Progress, Silent
from rsrag.train.sources.captions import first, parse_json
from rsrag.train.sources.files import ANNOTATION_BYTES, Files, open_files

_FILE = ("file", "filename", "file_name", "image")
_TEXT = ("captions", "caption", "sentences")
_BATCH = 64
_LONGEST = 400
"""Characters of a caption that count."""


@dataclass(frozen=True, slots=True)
class Row:
    """A picture that a caption file names."""

    file: str
    captions: tuple[str, ...]
    split: str
    label: str


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


def read_captions(data: Path, captions: Path | str | None = None) -> tuple[Files, list[Row]]:
    """Rows of a caption file and where the pictures lie.

    A row has ``file`` (or ``filename``, ``file_name``, ``image``), ``captions`` (or ``caption``, ``sentences``): a
    text, a list of texts, or of ``{"raw": ...}``; perhaps ``split``, ``filepath`` (a folder), ``class`` or ``label``.
    A picture may have several rows, such as one a caption: they become one row, so that it counts as one neighbour.

    Args:
        data: folder or zip file of pictures.
        captions: JSON file, or the name of one inside of ``data``; "captions.json" when None.

    Raises:
        SourceError: a file is missing or no JSON.
        UsageError: the file names no picture with a sentence.
    """
    files = open_files(data)
    path = Path(captions) if captions is not None else Path("captions.json")
    if path.is_file():
        table = parse_json(path.read_bytes(), str(path))
    elif str(path) in files.names:
        table = parse_json(files.read(str(path), ANNOTATION_BYTES), f"{data}:{path}")
    else:
        raise UsageError(
            f"no caption file {path}", hint="a JSON list of {file, captions}, as a path or inside the data"
        )
    found = table.get("images") if isinstance(table, dict) else table
    rows = [row for row in map(_row, found if isinstance(found, list) else []) if row is not None]
    if not rows:
        raise UsageError(f"{path} names no picture with a sentence", hint="a JSON list of {file, captions}")
    return files, _merged(rows)


def _merged(rows: Sequence[Row]) -> list[Row]:
    """One row a picture of a part, with the captions of all its rows, in the order of the first ones."""
    found: dict[tuple[str, str], Row] = {}
    for row in rows:
        known = found.setdefault((row.file, row.split), row)
        if known is not row:
            label, captions = known.label or row.label, known.captions + row.captions
            found[row.file, row.split] = replace(known, captions=captions, label=label)
    return list(found.values())


def _row(raw: Any) -> Row | None:
    if not isinstance(raw, dict) or not isinstance(first(raw, _FILE), str):
        return None
    texts = first(raw, _TEXT)
    texts = [texts] if isinstance(texts, str) else texts if isinstance(texts, list) else []
    said = [t.get("raw", "") if isinstance(t, dict) else t for t in texts]
    kept = tuple(" ".join(t.split())[:_LONGEST] for t in said if isinstance(t, str) and words_of(t))
    if not kept:
        return None
    file = str(PurePosixPath(str(raw.get("filepath") or ""), str(first(raw, _FILE))))
    return Row(file, kept, str(raw.get("split", "")), str(first(raw, ("class", "label")) or ""))


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
        split: only rows of this part.
        progress: told of pictures.

    Raises:
        SourceError: the data or the caption file cannot be read.
        UsageError: no picture is left.
    """
    files, rows = read_captions(data, captions)
    rows = [row for row in rows if split is None or row.split == split]
    vectors, usable, skipped = encoded(files, [row.file for row in rows], encoder, data, progress)
    kept = [row for row, fine in zip(rows, usable, strict=True) if fine]
    if not kept:
        raise UsageError(f"no captioned picture of {data} can be used", hint="; ".join(skipped[:3]) or "check --split")
    return Examples(tuple(r.file for r in kept), tuple(r.captions for r in kept), vectors, tuple(skipped))


def encoded(
    files: Files, names: Sequence[str], encoder: ImageEncoder, data: Path, progress: Progress | None = None
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
