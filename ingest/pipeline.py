"""Ingest on one screen: discover, guard, read windows, embed, index, commit to the catalogue; then forget what is gone.

Rules: the catalogue is the truth and is written last, so that whatever it knows is certainly indexed. Ids follow from
content, window and model: a rerun does nothing, and a killed run goes on where it stopped. A bad item is a recorded
error, never the end of the run.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rsrag.catalog import Catalog, RemovedIds, SourceRecord
from rsrag.collections import PASSAGES, TILES
from rsrag.config import Settings
from rsrag.errors import RefusedSource, RsragError, SourceError, UsageError
from rsrag.indexes.base import VectorIndex
from rsrag.ingest.ahead import (
    LIMIT,
    Closed,
    Damaged,
    Ended,
    Event,
    Failed,
    Job,
    Known,
    Opened,
    Pause,
    Read,
    ReadAhead,
    Reading,
    Skipped,
    item_name,
)
from rsrag.ingest.digest import digest_file
from rsrag.ingest.discover import Discovered, discover, state_of
from rsrag.ingest.groups import Grouper
from rsrag.ingest.guard import SourceType, expanded, harden_gdal
from rsrag.ingest.knowledge import KnowledgeItem, is_knowledge, read_knowledge
from rsrag.ingest.linking import PlaceIndex
from rsrag.ingest.passages import KnowledgeWriter
from rsrag.ingest.readers.columns import ROLES
from rsrag.ingest.readers.fields import KEYS
from rsrag.ingest.readers.options import read_options
from rsrag.ingest.reindex import relabel, repair
from rsrag.ingest.scenes import TileMeasurer, TileWriter
from rsrag.ingest.summary import IngestOptions, IngestSummary, Tally
from rsrag.models.base import Profile
from rsrag.progress import Progress, Silent
from rsrag.times import parse_span
from rsrag.types import BBox, ItemError, Scene

__all__ = ["IngestOptions", "IngestSummary", "ingest"]

_SIDE, _LEAST_SIDE = 256, 192
_WORLD = BBox(-180.0, -90.0, 180.0, 90.0)
_OPTIMIZE_FROM = 5_000
"""New points from which building the index's graphs is worth its time."""


def ingest(
    catalog: Catalog,
    index: VectorIndex,
    profile: Profile,
    settings: Settings,
    sources: Sequence[str],
    knowledge: Sequence[str],
    options: IngestOptions,
    progress: Progress | None = None,
) -> IngestSummary:
    """Bring sources into the archive. See :meth:`rsrag.engine.Engine.ingest`.

    Raises:
        UsageError: nothing to ingest, or an option that makes no sense.
        IndexFailure, CatalogError: the stores failed; what was committed stays, and a rerun goes on.
    """
    if not (sources or knowledge):
        raise UsageError("nothing to ingest", hint="name files or folders")
    if unknown := sorted(set(options.columns) - {*ROLES, *KEYS}):
        raise UsageError(
            f"unknown column role {unknown[0]!r}", hint="roles: " + ", ".join(dict.fromkeys([*ROLES, *KEYS]))
        )
    run = _Run(catalog, index, profile, settings, options, progress or Silent())
    return run.over(sources, knowledge)


class _Run:
    """One ingest: what it was told, what it has counted."""

    def __init__(
        self,
        catalog: Catalog,
        index: VectorIndex,
        profile: Profile,
        settings: Settings,
        options: IngestOptions,
        progress: Progress,
    ) -> None:
        self._catalog = catalog
        self._index = index
        self._options = options
        self._progress = progress
        self._tally = Tally()
        self._encoder = profile.image
        self._run_id = ""
        self._ending: deque[Job] = deque()
        self._marks: list[SourceRecord] = []
        self._scenes: list[tuple[Scene, str]] = []
        self._heirs: set[str] = set()
        self._knowledge = KnowledgeWriter(catalog, index, profile)
        said = _said(options)
        tile_size = settings.tile_size or _side(profile.image.input_size)
        self._reading = Reading(
            read_options(said),
            {
                "tile_size": tile_size, "scales": _scales(options.scales), "overlap": settings.overlap,
                "max_tiles": settings.max_tiles,
            },
            {
                "scales": options.scales, "tile_size": tile_size, "overlap": settings.overlap,
                "model": profile.image.fingerprint, "when": options.when, "reading": said,
            },
            parse_span(options.when) if options.when else None,
        )  # fmt: skip
        columns = sorted(options.columns.items())
        self._text_signature = [profile.text.fingerprint, [list(c) for c in columns], options.licence]

    def over(self, sources: Sequence[str], knowledge: Sequence[str]) -> IngestSummary:
        """Everything named; an interruption ends the run cleanly and is told in the summary."""
        harden_gdal()
        start = time.perf_counter()
        self._run_id = self._catalog.begin_run("ingest", [*sources, *knowledge])
        tally, status, interrupted = self._tally, "failed", False
        try:
            repair(self._catalog, self._index)
            seen = self._everything(sources, knowledge)
            self._forget_missing([*sources, *knowledge], seen)
            self._read_heirs(seen)
            self._index.flush()
            if tally.tiles + tally.passages >= _OPTIMIZE_FROM:
                self._index.optimize()
                self._index.flush()
            status = "done"
        except KeyboardInterrupt:
            status, interrupted = "interrupted", True
            self._index.flush()
        finally:
            self._catalog.finish_run(
                self._run_id, done=tally.done, skipped=tally.skipped, failed=tally.failed, status=status
            )
        return tally.summary(time.perf_counter() - start, interrupted=interrupted)

    def _everything(self, sources: Sequence[str], knowledge: Sequence[str]) -> dict[str, Discovered]:
        """Handle every source; returns them by path."""
        found = []
        for item in self._discovered(sources, knowledge):
            if isinstance(item, ItemError):
                self._catalog.clear_errors(item.source)
                self._fail(item)
            else:
                found.append(item)
        self._handle(found)
        return {str(f.path): f for f in found}

    def _handle(self, found: Sequence[Discovered]) -> None:
        """Images first; tables of places, then JSON lines that may bring some, before texts that may name them."""
        self._images([f for f in found if f.is_imagery])
        texts = sorted((f for f in found if not f.is_imagery), key=_names_places)
        for number, item in enumerate(texts, start=1):
            self._text(item, f"{item.path.name} ({number}/{len(texts)})")

    def _read_heirs(self, seen: Mapping[str, Discovered]) -> None:
        """Read again what was found here and holds a copy of what left: its own labels hold now. Counted already."""
        tally, heirs = self._tally, sorted(self._heirs & set(seen))
        before = tally.done, tally.skipped, tally.tiles_known, tally.places, tally.passages
        self._handle([seen[path] for path in heirs])
        tally.done, tally.skipped, tally.tiles_known, tally.places, tally.passages = before

    def _discovered(self, sources: Sequence[str], knowledge: Sequence[str]) -> Iterator[Discovered | ItemError]:
        named = {expanded(k).resolve() for k in knowledge}
        for item in discover(sources, self._reading.options):
            if isinstance(item, ItemError) or item.is_imagery or (self._wants(item) and item.path not in named):
                yield item
        yield from discover(knowledge, self._reading.options)

    def _wants(self, item: Discovered) -> bool:
        return self._options.include_documents and is_knowledge(item.path)

    # --- images ---

    def _images(self, items: Sequence[Discovered]) -> None:
        """Everything that is read ahead, in order; a source is finished once all its tiles are committed."""
        grouper = Grouper(self._catalog)
        writer = TileWriter(self._catalog, self._index, self._encoder, grouper, self._tally, self._begin_scenes)
        try:
            with ReadAhead(items, self._catalog, TileMeasurer(self._encoder), self._reading) as events:
                for event in events:
                    self._take(event, writer)
                    self._settle()
                writer.flush()
                self._settle()
        finally:
            writer.close()

    def _take(self, event: Event, writer: TileWriter) -> None:
        match event:
            case Read(job, coming):
                measured = coming.result()
                if measured is None:
                    self._tally.tiles_blank += 1
                else:
                    writer.add(job, measured)
                self._progress.advance()
            case Opened(job, scene, tiles, first):
                if first:
                    if job.is_outdated(self._reading.signature):
                        self._remove(job.key)
                        job.replaced = True
                    self._marks.append(self._mark(job))
                self._scenes.append((scene, job.key))
                self._progress.start(job.label, tiles, unit="tiles")
            case Known(count):
                self._tally.tiles_known += count
                self._progress.advance(count)
            case Damaged(job, problem, tile):
                job.errors.append(problem)
                if tile:
                    self._tally.tiles_failed += 1
                    self._progress.advance()
            case Closed():
                self._progress.finish()
            case Ended(job):
                self._ending.append(job)
            case Skipped():
                self._tally.skipped += 1
            case Failed(job, error):
                self._progress.finish()
                writer.flush()
                self._settle()
                self._begin_scenes()
                same = not job.replaced and (job.fresh or self._is_as_before(job))
                self._failed(job.key, job.record, error, fresh=same)
            case Pause(done):
                writer.flush()
                self._begin_scenes()
                done.set()

    def _begin_scenes(self) -> None:
        """Note what is being read, many at once: at the latest before the first of its tiles is indexed."""
        if self._scenes:
            relabel(self._catalog, self._index, [scene for scene, _ in self._scenes])
            self._catalog.begin_scenes(self._marks, self._scenes)
            self._marks, self._scenes = [], []

    def _settle(self) -> None:
        """Finish the sources that were read and whose tiles are all committed, in order."""
        ready = []
        while self._ending and not self._ending[0].waiting:
            ready.append(self._ending.popleft())
        if ready:
            self._begin_scenes()  # of those that showed nothing
            for job in ready:
                if job.has_many:
                    self._remove_former(job)
            self._done([(self._mark(job), job.errors) for job in ready])

    def _remove_former(self, job: Job) -> None:
        """Remove scenes that a document no longer holds, but not those of Items that it may not reach this time."""
        refused = {error.source for error in job.errors if error.code == RefusedSource.__name__}
        scenes = [scene for scene in self._catalog.scenes_from(job.key) if scene.id not in job.scenes]
        former = [scene.id for scene in scenes if item_name(scene) not in refused]
        if former:
            self._unindex(self._catalog.remove_scenes(job.key, former))

    def _is_as_before(self, job: Job) -> bool:
        """Whether a STAC document and the assets that its scenes came from are as they were, reached or not."""
        if job.record is None or not job.item.type.is_stac:
            return False
        assets = dict.fromkeys(Path(scene.source) for scene in self._catalog.scenes_from(job.key))
        try:
            state = state_of(replace(job.item, files=tuple(assets)))
        except OSError:
            return False
        return state == (job.record.size, job.record.mtime_ns)

    def _mark(self, job: Job) -> SourceRecord:
        kind, options = str(job.item.type), self._reading.signature
        if job.left_out:
            options = {**options, LIMIT: self._reading.shape[LIMIT]}
        return SourceRecord(job.key, job.digest, kind, job.size, job.mtime_ns, "partial", self._run_id, options)

    # --- knowledge ---

    def _text(self, item: Discovered, label: str) -> None:
        key = str(item.path)
        record = self._catalog.source(key)
        fresh = replaced = False
        try:
            size, mtime_ns = state_of(item)
            fresh = record is not None and (record.size, record.mtime_ns) == (size, mtime_ns)
            if record and fresh and record.status == "done" and record.options == self._text_signature:
                self._tally.skipped += 1
                return
            digest = digest_file(item.path)
            mark = SourceRecord(
                key, digest, str(item.type), size, mtime_ns, "partial", self._run_id, self._text_signature
            )
            if record is not None and (record.digest, record.options) != (mark.digest, mark.options):
                if fresh:
                    self._check(item)
                self._remove(key)
                replaced = True
            self._begin(mark)
            self._progress.start(label, None, unit="passages")
            try:
                errors = self._knowledge.write(item.path, self._options, self._tally, self._progress)
            finally:
                self._progress.finish()
        except (SourceError, UsageError, OSError) as error:  # columns that one table lacks are an error of that table
            self._failed(key, record, error, fresh=fresh and not replaced)
            return
        self._done([(mark, errors)])

    def _check(self, item: Discovered) -> None:
        """Look whether anything of a file can be used under these options, before what other ones gave is removed.

        Raises:
            SourceError, UsageError: nothing can.
        """
        if not (item.has_places or item.type is SourceType.JSONL):
            return  # options do not change whether a text can be read
        places = None if item.has_places else PlaceIndex(self._catalog.places_in(_WORLD))
        columns, licence = self._options.columns or None, self._options.licence
        reading = read_knowledge(item.path, columns=columns, licence=licence, known_places=places)
        next((one for one in reading if isinstance(one, KnowledgeItem)), None)

    # --- both ---

    def _begin(self, mark: SourceRecord) -> None:
        """Forget former errors, note that writing begins."""
        self._catalog.clear_errors(mark.path)
        self._catalog.finish_source(mark)

    def _done(self, marks: Sequence[tuple[SourceRecord, list[ItemError]]]) -> None:
        """Note sources as finished, with the errors of their parts."""
        finished = []
        for mark, errors in marks:
            for problem in errors:
                self._catalog.record_error(self._run_id, problem)
            self._tally.errors += errors
            # A damaged window may be read next time; a bad row stays bad until the file changes.
            torn = any(e.window is not None for e in errors)
            finished.append(replace(mark, status="partial" if torn else "done"))
        self._catalog.finish_sources(finished)
        self._tally.done += len(finished)

    def _failed(self, key: str, record: SourceRecord | None, error: Exception, *, fresh: bool) -> None:
        if record is not None and fresh and record.status != "failed":
            self._catalog.clear_errors(key)
            self._catalog.finish_source(record)  # the file is as it was: only this way of taking it failed
        else:
            self._remove(key)  # and its errors with it
        self._fail(ItemError(key, error.code if isinstance(error, RsragError) else type(error).__name__, str(error)))

    def _fail(self, error: ItemError) -> None:
        self._tally.failed += 1
        self._tally.errors.append(error)
        self._catalog.record_error(self._run_id, error)

    def _forget_missing(self, sources: Sequence[str], seen: Container[str]) -> None:
        """Remove what came from files below the given folders that are gone.

        A folder that is not there itself, or has nothing in it, says nothing about its files: it may be misspelt, or a
        place where nothing is mounted.
        """
        roots = [root for s in sources if _holds_something(root := expanded(s).resolve())]
        for record in self._catalog.sources():
            path = Path(record.path)
            below = any(path.is_relative_to(root) for root in roots)
            if below and record.path not in seen and _is_gone(path):
                self._remove(record.path)
                self._tally.removed += 1

    def _remove(self, path: str) -> None:
        removed = self._catalog.remove_source(path)
        self._heirs |= {*removed.heirs}
        if removed.places:
            self._knowledge.forget_places()
        self._unindex(removed)

    def _unindex(self, removed: RemovedIds) -> None:
        if removed.tiles:
            self._index.delete(TILES, removed.tiles)
        if removed.passages:
            self._index.delete(PASSAGES, removed.passages)


def _holds_something(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except OSError:  # not there, not a folder, or not to be looked into
        return False


def _is_gone(path: Path) -> bool:
    """Whether there is certainly no such file; one that cannot be looked at may be there."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _names_places(item: Discovered) -> tuple[bool, bool]:
    """What to sort texts by: tables of places, then JSON lines, then all others."""
    return not item.has_places, item.type is not SourceType.JSONL


def _said(options: IngestOptions) -> dict[str, Any]:
    """What options say about how scenes are read, as it is kept with a source."""
    names = ("bands", "sensor", "collection", "crs", "asset", "allow_unlocated")
    return {name: value for name in names if (value := getattr(options, name))}


def _side(input_size: int) -> int:
    """Side of a tile where none is set: the encoder's input, so that nothing is resized; more for small encoders,
    because thumbnails of less than about 200 pixels have too few local features to be placed by."""
    return input_size if input_size >= _LEAST_SIDE else _SIDE


def _scales(text: str) -> Any:
    if text == "auto":
        return "auto"
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(f"scales {text!r} are not whole numbers", hint="such as 1,2,4, or auto") from error
