"""Reading all sets of a configuration, and what a finished scan found, kept for the next start.

A scan lists a set and reads, hashes and decodes each of its pictures once. Of sets that do not fit the memory budget
its result is kept in a folder of arrays below the cache folder, so that the next start reads no picture. It is used
when settings, version, and path, size and time of every file are as they were; what is trained on is checked by its
sha256 in any case. Nothing in it is a pickle.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import shutil
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from rsrag._version import __version__
from rsrag.errors import RsragError, SourceError
from rsrag.train.sources.columns import Numbers, Texts
from rsrag.train.sources.config import DataConfig, SourceConfig
from rsrag.train.sources.files import FolderPictures, TarPictures, Zip
from rsrag.train.sources.items import Items, Part, Table
from rsrag.train.sources.layouts import list_source, set_name
from rsrag.train.sources.parquet import Cells, Groups
from rsrag.train.sources.parquet import Table as ParquetFile
from rsrag.train.sources.places import Holder
from rsrag.train.sources.record import Problem
from rsrag.train.sources.records import Records
from rsrag.train.sources.stamps import inputs, stamp
from rsrag.train.sources.store import Store, Tier

_log = logging.getLogger("rsrag.train")
_TABLE = "scan.json"
_MAPPED = 2**16
_DAY = 86_400
_FREE = ("labels", "labels_file", "templates", "repeat")
"""Settings of a set that change nothing in what a scan finds."""


@dataclass
class Scan:
    """What reading a set gave.

    Attributes:
        part: its good pictures.
        problems: what was left out.
        encoded: bytes of all picture files together.
        begun: when the scan began, ns.
    """

    part: Part
    problems: list[Problem]
    encoded: int
    begun: int = 0


def folder() -> Path:
    """Where finished scans are kept: ``training`` in the cache folder."""
    from rsrag.models.runtime import cache_home

    return cache_home() / "training"


def read_all(config: DataConfig, data_dir: Path) -> tuple[Items, list[Problem], Tier]:
    """Items of all sets, what was left out, and how pictures are kept.

    Raises:
        SourceError: a set is missing, or has no usable picture.
    """
    budget = config.memory_mb * 2**20
    found = [find(source, data_dir) for source in config.sources]
    known = sum(scan.encoded for scan in found if scan)
    if known <= budget:  # pictures are kept in memory, for which they have to be read
        known, found = 0, [None] * len(found)
    store = Store(budget, known)
    scans: list[Scan] = []
    unsaved: list[tuple[SourceConfig, Scan]] = []
    for source, scan in zip(config.sources, found, strict=True):
        if scan is None:
            scan = _read(source, data_dir, store, config.workers)
            unsaved.append((source, scan))
        scans.append(scan)
        if store.tier == "on demand":
            for one, fresh in unsaved:
                save(one, data_dir, fresh)
            unsaved.clear()
    store.finish()
    problems = [problem for scan in scans for problem in scan.problems]
    return Items(Table([scan.part for scan in scans])), problems, store.tier


def _read(source: SourceConfig, data_dir: Path, store: Store, workers: int) -> Scan:
    """List and read a set."""
    begun, before = time.time_ns(), store.encoded
    listing = list_source(source, data_dir)
    items, unread = store.read(listing.records, source.max_pixels, workers)
    if not items:
        first = unread[0]
        raise SourceError(f"{data_dir / source.path} has no usable picture ({first.key}: {first.reason})")
    return Scan(items.table.parts[0], [*listing.problems, *unread], store.encoded - before, begun)


def _settings(source: SourceConfig, data_dir: Path) -> dict[str, Any]:
    """Everything beside the files that a scan depends on."""
    table = {key: value for key, value in dataclasses.asdict(source).items() if key not in _FREE}
    made_by = {"rsrag": __version__, "opencv": cv2.__version__, "numpy": np.__version__}
    return {**table, "name": set_name(source), "data_dir": str(data_dir.resolve()), "by": made_by}


def _home(source: SourceConfig, data_dir: Path) -> Path:
    """Folder of the scan of a set."""
    settings = {**_settings(source, data_dir), "by": ""}
    return folder() / hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:32]


def _columns(part: Part) -> dict[str, Numbers]:
    """All arrays of a part by name."""
    records = part.records
    texts = {"keys": records.keys, "names": records.names, "texts": records.texts, "metas": records.metas}
    columns = {f"{name}_{kind}": getattr(one, kind) for name, one in texts.items() for kind in ("ends", "data")}
    columns |= {name: getattr(records, name) for name in ("holder", "places", "labels", "ends")}
    return columns | {name: getattr(part, name) for name in ("rows", "digests", "dhashes")}


def save(source: SourceConfig, data_dir: Path, scan: Scan) -> None:
    """Keep a scan. What stands in the way (a full disk, files that changed meanwhile) is noted, and ends nothing.

    All is written under another name and renamed when it is complete.
    """
    home = _home(source, data_dir)
    part = home.with_name(f"{home.name}.{os.getpid()}")
    try:
        holders = [holder.about for holder in scan.part.records.holders]
        stamps = [stamp(path) for path in inputs(source, data_dir)]
        if reason := _unfit(holders, stamps, scan.begun):
            raise ValueError(reason)
        part.mkdir(parents=True)
        _sweep(home)
        table = {
            "settings": _settings(source, data_dir),
            "stamps": [found for found, _ in stamps],
            "source": scan.part.records.source,
            "words": scan.part.records.words,
            "holders": holders,
            "max_pixels": scan.part.max_pixels,
            "encoded": scan.encoded,
            "problems": [[one.source, one.key, one.what, one.reason] for one in scan.problems],
            "sums": {name: _write(part / f"{name}.npy", column) for name, column in _columns(scan.part).items()},
        }
        (part / _TABLE).write_text(json.dumps(table), encoding="utf-8")
        shutil.rmtree(home, ignore_errors=True)
        part.rename(home)
    except (OSError, ValueError) as exc:
        _log.warning("the scan of %s is not kept for the next start: %s", set_name(source), exc)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _sweep(home: Path) -> None:
    """Remove what processes that were killed while they wrote have left, a day later."""
    for left in home.parent.glob(f"{home.name}.*"):
        if time.time() - left.stat().st_mtime > _DAY:
            shutil.rmtree(left, ignore_errors=True)


def _unfit(holders: Sequence[Sequence[str] | None], stamps: Sequence[tuple[Sequence[Any], int]], begun: int) -> str:
    """Why a scan cannot be kept, or an empty string."""
    known = [Path(str(found[0])) for found, _ in stamps]
    for about in holders:
        if about is None or not any(Path(about[1]).resolve().is_relative_to(path) for path in known):
            return "its pictures lie beside what the configuration names"
    return "its files were changed while they were read" if any(when > begun for _, when in stamps) else ""


def _write(path: Path, column: Numbers) -> int:
    """Write an array; returns the sum that it is checked by."""
    with path.open("wb") as handle:
        np.save(handle, column, allow_pickle=False)
        handle.flush()
        os.fsync(handle.fileno())
    return zlib.crc32(np.ascontiguousarray(column).data)


def _load(path: Path, wanted: int) -> npt.NDArray[Any]:
    """An array, mapped from its file when it is large.

    Raises:
        ValueError: it is not the one that was written.
    """
    mapped = path.stat().st_size > _MAPPED
    column: npt.NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    column = np.asarray(column)
    if column.dtype.kind not in "iu" or zlib.crc32(np.ascontiguousarray(column).data) != wanted:
        raise ValueError(f"{path.name} is damaged")
    return column


def find(source: SourceConfig, data_dir: Path) -> Scan | None:
    """The scan of a set that was kept; None, with a note, when it does not fit the set as it is now."""
    home = _home(source, data_dir)
    if not (home / _TABLE).is_file():
        return None
    try:
        table = json.loads((home / _TABLE).read_text(encoding="utf-8"))
        if table["settings"] != _settings(source, data_dir):
            raise ValueError("it was made by another version")
        for path, old in zip(inputs(source, data_dir), table["stamps"], strict=True):
            if stamp(path)[0] != old:
                raise ValueError(f"{path} has changed")
        return _restore(home, table)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RsragError) as exc:
        _log.warning("the scan of %s that was kept is not used: %s", set_name(source), exc)
        return None


def _restore(home: Path, table: dict[str, Any]) -> Scan:
    """A scan out of its folder.

    Raises:
        ValueError: the arrays are damaged, or do not fit each other.
    """
    columns = {name: _load(home / f"{name}.npy", wanted) for name, wanted in table["sums"].items()}
    keys, names, texts, metas = (
        Texts(columns[f"{name}_ends"], columns[f"{name}_data"]) for name in ("keys", "names", "texts", "metas")
    )
    groups = Groups()
    records = Records(
        table["source"],
        keys,
        names,
        [_holder(about, groups) for about in table["holders"]],
        columns["holder"],
        columns["places"],
        [str(word) for word in table["words"]],
        columns["labels"],
        texts,
        columns["ends"],
        metas,
    )
    part = Part(records, columns["rows"], columns["digests"], columns["dhashes"], int(table["max_pixels"]))
    problems = [Problem(*map(str, row)) for row in table["problems"]]
    return Scan(part, problems, int(table["encoded"]))


def _holder(about: Sequence[str], groups: Groups) -> Holder:
    """What holds pictures, opened again."""
    kind, path = about[0], Path(about[1])
    if kind == "folder":
        return FolderPictures(path)
    if kind == "tar":
        return TarPictures(path)
    return Zip(path) if kind == "zip" else Cells(ParquetFile(path, groups), about[2])
