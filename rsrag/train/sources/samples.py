"""Samples of several members that share a name, as in WebDataset shards and in the output of img2dataset."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from rsrag.errors import SourceError
from rsrag.train.sources.captions import parse_json
from rsrag.train.sources.files import Files
from rsrag.train.sources.record import PICTURES, Gather

PICTURE_PARTS = (*(ending[1:] for ending in PICTURES), "img_content", "image")
"""Parts of a sample that are its picture, the best first; RS5M calls it ``img_content``."""
_SIDE_BYTES = 4 * 2**20


@dataclass
class Sample:
    """Members of one sample.

    Attributes:
        key: what their names share.
        members: full name of every part, by ending.
        others: names of further members of a part.
    """

    key: str
    members: dict[str, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)

    @property
    def picture(self) -> str | None:
        """Member with the picture, if any."""
        found = (self.members[part] for part in PICTURE_PARTS if part in self.members)
        return next(found, None)


def samples(files: Files) -> Iterator[Sample]:
    """Samples of a container in the order of their first members.

    The key is the path up to the first dot of the last part, as in WebDataset; the last ending names the part.
    """
    table: dict[str, Sample] = {}
    for name in files.names:
        path = PurePosixPath(name)
        stem, dot, ending = path.name.partition(".")
        if stem and dot:
            key = str(path.with_name(stem))
            sample = table.setdefault(key, Sample(key))
            if sample.members.setdefault(ending.rsplit(".", 1)[-1].lower(), name) != name:
                sample.others.append(name)
    yield from table.values()


def note_others(sample: Sample, gather: Gather) -> None:
    """Note pictures that are lost because another one has the same name up to the first dot."""
    for name in sample.others:
        if name.lower().rsplit(".", 1)[-1] in PICTURE_PARTS:
            first = sample.members[name.lower().rsplit(".", 1)[-1]]
            gather.problem(name, "picture", f"one sample with {first}: a name counts up to its first dot")


def side_text(files: Files, sample: Sample, part: str, gather: Gather) -> bytes | None:
    """Bytes of a side member such as ``txt``; None when there is none, or with a note when it cannot be read."""
    name = sample.members.get(part)
    if name is None:
        return None
    try:
        return files.read(name, _SIDE_BYTES)
    except SourceError as exc:
        gather.problem(name, "caption", exc.message)
        return None


def side_json(files: Files, sample: Sample, gather: Gather) -> dict[str, Any]:
    """The object in the ``json`` member; empty when there is none, or with a note when it cannot be read."""
    data = side_text(files, sample, "json", gather)
    if data is None:
        return {}
    try:
        table = parse_json(data, sample.members["json"])
    except SourceError as exc:
        gather.problem(sample.members["json"], "caption", exc.message)
        return {}
    if not isinstance(table, dict):
        gather.problem(sample.members["json"], "caption", "holds no object")
        return {}
    return table
