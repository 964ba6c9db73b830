"""WebDataset shards: tar files of samples, among them those of RS5M."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rsrag.errors import SourceError
from rsrag.train.sources.caption_files import first
from rsrag.train.sources.config import SourceConfig
from rsrag.train.sources.files import Files, Tar, find
from rsrag.train.sources.record import Gather, Listing, of_split
from rsrag.train.sources.samples import Sample, note_others, samples, side_json, side_text

_TEXT = ("captions", "caption", "text", "title")
_LABEL = ("class", "label", "cls")
_PARTS = ("txt", "caption", "text")


def texts(source: SourceConfig, table: dict[str, Any], plain: list[bytes | None]) -> list[Any]:
    """Captions of a sample: the keys asked for, or all the usual ones in its JSON and its text parts."""
    if source.captions:
        return [table.get(key) for key in source.captions]
    return [first(table, _TEXT), *(text for text in plain if text is not None)]


def add_sample(source: SourceConfig, files: Files, sample: Sample, key: str, gather: Gather) -> None:
    """Add one sample to ``gather`` under ``key``, or a note why not."""
    picture = sample.picture
    if picture is None:
        gather.problem(key, "row", "sample without a picture")
        return
    table = side_json(files, sample, gather)
    if not of_split(table, source.split):
        return
    label = first(table, (source.label,) if source.label else _LABEL)
    if label is None:
        label = side_text(files, sample, "cls", gather)
    plain = [side_text(files, sample, part, gather) for part in _PARTS]
    gather.add(key, files.place(picture), label=label, captions=texts(source, table, plain))


def list_webdataset(source: SourceConfig, name: str, data_dir: Path) -> Listing:
    """Pictures of tar shards.

    A sample's members share a name up to the first dot: a picture (``jpg``, ``png``, ..., or ``img_content`` as in
    RS5M), captions in ``txt``, ``caption``, ``text`` or in ``json`` (``captions``, ``caption``, ``text``, ``title``),
    a class in ``cls`` or in ``json``. Shards are told apart by split in their names, hence in the pattern.

    Raises:
        SourceError: a shard is missing, or none can be read. A damaged one is noted, and read as far as it goes.
    """
    gather = Gather(name)
    paths = find(source.path, data_dir, ".tar", source.split)
    broken: list[SourceError] = []
    for path in paths:
        try:
            files = Tar(path)
        except SourceError as exc:
            broken.append(exc)
            gather.problem(path.name, "file", exc.message)
            continue
        for member, reason in files.refused:
            gather.problem(f"{path.name}/{member}" if member else path.name, "picture" if member else "file", reason)
        shard = path.relative_to(data_dir).as_posix() if path.is_relative_to(data_dir) else path.name
        for sample in samples(files):
            note_others(sample, gather)
            add_sample(source, files, sample, f"{shard}/{sample.key}", gather)
    if len(broken) == len(paths):
        raise broken[0]
    return gather.listing()
