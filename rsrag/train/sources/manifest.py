"""The exact list of what a run read, and the compact form that leakage checks use."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rsrag.train.sources.columns import Lazy
from rsrag.train.sources.items import Item, Items
from rsrag.train.sources.record import Problem

COLUMNS = ("source", "file", "sha256", "dhash", "use", "note")
"""Columns of a row of ``manifest.jsonl``, the same for every layout.

``use`` is ``train``, ``held-out``, ``copy`` (of the picture in ``note``), or ``skipped picture``, ``skipped caption``,
``skipped row``, ``skipped file`` (for the reason in ``note``).
"""


def row(source: str, file: str, sha256: str, dhash: str, use: str, note: str = "") -> dict[str, str]:
    """One row of the manifest."""
    return dict(zip(COLUMNS, (source, file, sha256, dhash, use, note), strict=True))


class Manifest(Lazy[dict[str, str]]):
    """All rows of a collection: pictures, copies, files of a mosaic, and what was left out.

    Args:
        train: pictures to learn from.
        held: pictures held out.
        near: int64 [train + held], group of near copies, -1 for none; or empty.
        copies: files equal to one that was kept, and that one.
        mosaic: name and sha256 of every file.
        problems: what was left out.
    """

    def __init__(
        self,
        train: Items,
        held: Items,
        near: npt.NDArray[np.int64],
        copies: Sequence[tuple[Item, Item]],
        mosaic: Sequence[tuple[str, str]],
        problems: Sequence[Problem],
    ) -> None:
        self._train, self._held, self._near = train, held, near
        self._copies, self._mosaic, self._problems = copies, mosaic, problems

    def __len__(self) -> int:
        return sum(map(len, (self._train, self._held, self._copies, self._mosaic, self._problems)))

    def _item(self, number: int) -> Item:
        train = self._train
        return train[number] if number < len(train) else self._held[number - len(train)]

    def _picture(self, number: int) -> dict[str, str]:
        item = self._item(number)
        use = "train" if number < len(self._train) else "held-out"
        group = int(self._near[number]) if len(self._near) else -1
        note = ""
        if group not in (-1, number):
            other = self._item(group)
            note = f"near {other.source}/{other.file}"
        return row(item.source, item.file, item.sha256, item.dhash, use, note)

    def at(self, number: int) -> dict[str, str]:
        if number < (count := len(self._train) + len(self._held)):
            return self._picture(number)
        number -= count
        if number < len(self._copies):
            item, kept = self._copies[number]
            return row(item.source, item.file, item.sha256, item.dhash, "copy", f"{kept.source}/{kept.file}")
        number -= len(self._copies)
        if number < len(self._mosaic):
            name, digest = self._mosaic[number]
            return row("mosaic", name, digest, "", "train")
        problem = self._problems[number - len(self._mosaic)]
        return row(problem.source, problem.key, "", "", f"skipped {problem.what}", problem.reason)


def summary(rows: Iterable[Mapping[str, str]]) -> dict[str, dict[str, int]]:
    """How many rows of every use a set has: ``{set: {use: count}}``."""
    counts = Counter((one["source"], one["use"]) for one in rows)
    sources = sorted({source for source, _ in counts})
    return {source: {use: n for (of, use), n in sorted(counts.items()) if of == source} for source in sources}


def write_manifest(rows: Iterable[Mapping[str, str]], facts: Mapping[str, Any], run_dir: Path) -> None:
    """Write ``manifest.jsonl`` and its ``manifest_summary.json`` into a run folder.

    Args:
        rows: of the manifest.
        facts: the summary.
        run_dir: run folder.
    """
    with (run_dir / "manifest.jsonl").open("w", encoding="utf-8") as handle:
        handle.writelines(json.dumps(dict(one)) + "\n" for one in rows)
    (run_dir / "manifest_summary.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")


def write_train_manifest(rows: Iterable[Mapping[str, str]], path: Path) -> int:
    """Write the hashes of every picture that a model has seen, for leakage checks.

    One line a picture: the first 32 digits of its sha256, its 64-bit difference hash (``-`` for a mosaic), its set and
    its use. Rows that were skipped or are copies of others are left out. Equal rows give equal bytes.

    Args:
        rows: of the manifest.
        path: ``.txt.gz`` file to write.

    Returns:
        The number of lines.
    """
    seen = [one for one in rows if one["use"] in ("train", "held-out")]
    lines = sorted(f"{one['sha256'][:32]} {one['dhash'] or '-'} {one['source']} {one['use']}" for one in seen)
    text = "# sha256[:32] dhash64 set use\n" + "".join(line + "\n" for line in lines)
    Path(path).write_bytes(gzip.compress(text.encode("utf-8"), 9, mtime=0))
    return len(lines)
