"""Compare what the sources are, what the catalogue says and what the index holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os.path import commonpath
from pathlib import Path
from typing import Literal

from rsrag.catalog import Catalog, SourceRecord
from rsrag.collections import PASSAGES, TILES
from rsrag.errors import ExitCode, SourceError
from rsrag.indexes.base import VectorIndex
from rsrag.ingest.ahead import said_under
from rsrag.ingest.digest import digest_file
from rsrag.ingest.discover import Discovered, discover, open_scenes, state_of
from rsrag.ingest.guard import SourceType
from rsrag.ingest.readers.base import ReadOptions
from rsrag.ingest.readers.options import read_options
from rsrag.progress import Progress, Silent
from rsrag.types import ItemError, Scene

ProblemKind = Literal["source-missing", "source-changed", "source-partial", "not-indexed", "orphan", "no-tiles"]
_ADVICE: Mapping[ProblemKind, str] = {
    "source-missing": "the file is gone: run ingest on its folder to remove its tiles",
    "source-changed": "the file changed since it was ingested: run ingest again",
    "source-partial": "interrupted or damaged, not all of it is here: run ingest again, which tells the errors",
    "not-indexed": "in the catalogue but not in the index: run reindex",
    "orphan": "in the index but not in the catalogue: run reindex",
    "no-tiles": "a scene without any tile: run ingest again",
}
_DOCUMENTS = (str(SourceType.STAC_ITEM), str(SourceType.STAC_ITEMS))
"""Kinds of sources that hold scenes in other files."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One disagreement: what kind, about which file or id, and what to do."""

    kind: ProblemKind
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was compared and what disagrees."""

    counts: Mapping[str, int]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def exit_code(self) -> int:
        return ExitCode.OK if self.ok else ExitCode.PARTIAL


def verify(
    catalog: Catalog, index: VectorIndex, *, deep: bool = False, progress: Progress | None = None
) -> VerifyReport:
    """Compare sources, catalogue and index.

    Args:
        deep: compute every source's digest again instead of comparing size and time of modification.
    """
    progress = progress or Silent()
    problems: list[Problem] = []
    sources = catalog.sources()
    progress.start("sources", len(sources), unit="files")
    for record in sources:
        path = Path(record.path)
        if not path.exists():
            problems.append(_problem("source-missing", record.path))
        elif record.status == "partial":
            problems.append(_problem("source-partial", record.path))
        elif _changed(record, catalog, deep):
            problems.append(_problem("source-changed", record.path))
        progress.advance()
    progress.finish()
    counts = dict(catalog.counts())
    for collection, known in ((TILES, catalog.tile_ids()), (PASSAGES, catalog.passage_ids())):
        counts[f"indexed {collection}"] = _compare(collection, known, index, problems)
    paths = {record.path for record in sources}
    for scene in catalog.scenes():
        # All tiles of a finished source may have been blank; an unfinished one was told above.
        if scene.source not in paths and not catalog.tiles_of(scene.id):
            problems.append(_problem("no-tiles", scene.source))
    return VerifyReport(counts, tuple(problems))


def _changed(record: SourceRecord, catalog: Catalog, deep: bool) -> bool:
    """Whether a source, with all files that it is read from, is another than when it was ingested."""
    scenes = catalog.scenes_from(record.path) if record.kind in _DOCUMENTS else ()
    said = record.options.get("reading", {}) if isinstance(record.options, dict) else {}
    options, root = read_options(said), _root(record, scenes)
    found = next((d for d in discover([record.path], options, root=root) if isinstance(d, Discovered)), None)
    if found is None:
        return True
    if not deep and state_of(found) == (record.size, record.mtime_ns):
        return False
    if not found.is_imagery:
        return digest_file(found.path) != record.digest
    digests, known = _digests(found, options), {scene.digest for scene in scenes} or {record.digest}
    _, left_out = said_under(record)
    return digests is None or (not known <= digests if left_out else known != digests)


def _root(record: SourceRecord, scenes: Sequence[Scene]) -> Path:
    """The folder that holds a source and its assets: the least of those that it may have been ingested from."""
    return Path(commonpath([Path(path).parent for path in (record.path, *(scene.source for scene in scenes))]))


def _digests(found: Discovered, options: ReadOptions) -> set[str] | None:
    """Of every scene that can be opened; None where the source cannot be used."""
    digests = set()
    try:
        for source in open_scenes(found, options):
            if not isinstance(source, ItemError):
                with source:
                    digests.add(source.scene.digest)
    except SourceError:
        return None
    return digests


def _compare(collection: str, known: Iterable[str], index: VectorIndex, problems: list[Problem]) -> int:
    expected, held = set(known), set(index.ids(collection)) if index.count(collection) else set()
    for identity in sorted(expected - held):
        problems.append(_problem("not-indexed", f"{collection} {identity}"))
    for identity in sorted(held - expected):
        problems.append(_problem("orphan", f"{collection} {identity}"))
    return len(held)


def _problem(kind: ProblemKind, subject: str) -> Problem:
    return Problem(kind, subject, _ADVICE[kind])
