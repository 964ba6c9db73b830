"""Folders, zips and shards that img2dataset wrote, with several captions a picture in its JSON, as in GAIA."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from rsrag.errors import SourceError, UnreadableSource
from rsrag.train.sources.caption_files import first
from rsrag.train.sources.captions import parse_json
from rsrag.train.sources.config import SourceConfig
from rsrag.train.sources.files import ANNOTATION_BYTES, Files, expand, open_files
from rsrag.train.sources.record import Gather, Listing, of_split, plain_word
from rsrag.train.sources.samples import Sample, note_others, samples, side_json

_FACTS = ("id", "location", "lat", "lon", "tag", "resolution", "satellite", "sensor", "modalities", "credits")


def _published(source: SourceConfig, data_dir: Path) -> dict[str, dict[str, Any]]:
    """Rows of the published list (``train_data.json``) by id, for copies whose JSON has only the id."""
    if not source.annotations:
        return {}
    path = data_dir / source.annotations
    if not path.is_file() or path.stat().st_size > ANNOTATION_BYTES:
        raise UnreadableSource(f"no usable file {path}")
    rows = parse_json(path.read_bytes(), str(path))
    if not isinstance(rows, list):
        raise UnreadableSource(f"{path} holds no list of rows")
    return {str(row["id"]): row for row in rows if isinstance(row, dict) and "id" in row}


def _captions(value: Any) -> Any:
    """Captions as a list; img2dataset writes an extra column as text when the list came as text, of JSON or of Python
    (out of a CSV)."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return parse_json(value.encode("utf-8", "replace"), "captions")
        except SourceError:
            try:
                return ast.literal_eval(value.strip())
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                return value
    return value


def _add(
    source: SourceConfig, files: Files, sample: Sample, key: str, published: dict[str, dict[str, Any]], gather: Gather
) -> None:
    picture = sample.picture
    table = side_json(files, sample, gather)
    if picture is None:
        if "json" in sample.members and {"status", "captions", "caption", "url"} & set(table):
            gather.problem(key, "picture", f"not downloaded: {plain_word(table.get('error_message')) or 'no picture'}")
        return
    if not table:
        gather.problem(key, "row", "picture without a JSON file")
        return
    row = {**published.get(str(table.get("id")), {}), **{k: v for k, v in table.items() if v not in (None, "", [])}}
    if not of_split(row, source.split):
        return
    meta = {name: row[name] for name in _FACTS if row.get(name) not in (None, "", [])}
    texts = [_captions(row.get(k)) for k in source.captions or ("captions",)]
    if not source.captions and texts == [None]:
        texts = [first(row, ("caption", "image_alt"))]
    gather.add(
        key,
        files.place(picture),
        label=row.get(source.label) if source.label else None,
        captions=texts,
        meta=meta,
    )


def list_gaia(source: SourceConfig, name: str, data_dir: Path) -> Listing:
    """Pictures with a JSON file of the same name beside them.

    ``captions`` (a list, or a list written as text) is taken, else ``caption``. ``annotations`` may name the published
    list of rows, whose columns are joined by ``id``. Place, sensor and tags go to the records' ``meta``.

    Raises:
        SourceError: the set or the published list is missing or unreadable. Of several files a damaged one is noted.
    """
    gather = Gather(name)
    published = _published(source, data_dir)
    parts, broken = expand(source.path), list[SourceError]()
    for relative in parts:
        try:
            files = open_files(data_dir / relative)
        except SourceError as exc:
            if not (data_dir / relative).exists():
                raise
            broken.append(exc)
            gather.problem(relative, "file", exc.message)
            continue
        for member, reason in files.refused:
            gather.problem(f"{relative}/{member}", "picture" if member else "file", reason)
        several = relative != source.path
        for sample in samples(files):
            note_others(sample, gather)
            key = f"{relative}/{sample.key}" if several else sample.key
            _add(source, files, sample, key, published, gather)
    if len(broken) == len(parts):
        raise broken[0]
    return gather.listing()
