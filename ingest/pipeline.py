"""Ingest on one screen: discover, guard, read windows, embed, index, commit to the catalogue; then forget what is gone.

Rules: the catalogue is the truth and is written last, so that whatever it knows is certainly indexed. Ids follow from
content, window and model: a rerun does nothing, and a killed run goes on where it stopped. A bad item is a recorded
error, never the end of the run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rsrag.catalog import Catalog, RemovedIds, SourceRecord
from rsrag.collections import PASSAGES, TILES
from rsrag.config import Settings
from rsrag.errors import RsragError, SourceError, UsageError
from rsrag.indexes.base import VectorIndex
from rsrag.ingest.digest import digest_file
from rsrag.ingest.discover import Discovered, discover, open_scenes, state_of
from rsrag.ingest.groups import Grouper
from rsrag.ingest.guard import harden_gdal
from rsrag.ingest.knowledge import is_knowledge
from rsrag.ingest.passages import KnowledgeWriter
from rsrag.ingest.readers.base import RasterSource
from rsrag.ingest.readers.options import read_options
from rsrag.ingest.reindex import repair
from rsrag.ingest.scenes import SceneWriter
from rsrag.ingest.summary import IngestOptions, IngestSummary, Tally
from rsrag.ingest.windows import TilePlan, plan_tiles
from rsrag.models.base import Profile
from rsrag.progress import Progress, Silent
from rsrag.times import parse_span
from rsrag.types import ItemError, TimeSpan

__all__ = ["IngestOptions", "IngestSummary", "ingest"]

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
        self._scenes = SceneWriter(catalog, index, profile.image, Grouper(catalog))
        self._knowledge = KnowledgeWriter(catalog, index, profile)
        self._when: TimeSpan | None = parse_span(options.when) if options.when else None
        self._reading = read_options(_said(options))
        self._shape: dict[str, Any] = {
            "tile_size": settings.tile_size,
            "scales": _scales(options.scales),
            "overlap": settings.overlap,
            "max_tiles": settings.max_tiles,
        }
        self._image_signature = {
            "scales": options.scales, "tile_size": settings.tile_size, "overlap": settings.overlap,
            "model": profile.image.fingerprint, "when": options.when, "reading": _said(options),
        }  # fmt: skip
        columns = sorted(options.columns.items())
        self._text_signature = [profile.text.fingerprint, [list(c) for c in columns], options.licence]

    def over(self, sources: Sequence[str], knowledge: Sequence[str]) -> IngestSummary:
        """Everything named; an interruption ends the run cleanly and is told in the summary."""
        harden_gdal()
        start = time.perf_counter()
        run_id = self._catalog.begin_run("ingest", [*sources, *knowledge])
        tally, status, interrupted = self._tally, "failed", False
        try:
            repair(self._catalog, self._index)
            seen = self._everything(sources, knowledge, run_id)
            self._forget_missing(sources, seen)
            self._index.flush()
            if tally.tiles + tally.passages >= _OPTIMIZE_FROM:
                self._index.optimize()
                self._index.flush()
            status = "done"
        except KeyboardInterrupt:
            status, interrupted = "interrupted", True
            self._index.flush()
        finally:
            self._catalog.finish_run(run_id, done=tally.done, skipped=tally.skipped, failed=tally.failed, status=status)
        return tally.summary(time.perf_counter() - start, interrupted=interrupted)

    def _everything(self, sources: Sequence[str], knowledge: Sequence[str], run_id: str) -> set[str]:
        """Handle every source, images first; tables of places before texts that may name them."""
        found = []
        for item in self._discovered(sources, knowledge):
            if isinstance(item, ItemError):
                self._fail(run_id, item)
            else:
                found.append(item)
        images = [f for f in found if f.is_imagery]
        texts = sorted((f for f in found if not f.is_imagery), key=lambda f: not f.has_places)
        for group in (images, texts):
            for number, item in enumerate(group, start=1):
                self._one(item, run_id, f"{item.path.name} ({number}/{len(group)})")
        return {str(f.path) for f in found}

    def _discovered(self, sources: Sequence[str], knowledge: Sequence[str]) -> Iterator[Discovered | ItemError]:
        named = {Path(k).expanduser().resolve() for k in knowledge}
        for item in discover(sources, self._reading):
            if isinstance(item, ItemError) or item.is_imagery or (self._wants(item) and item.path not in named):
                yield item
        yield from discover(knowledge, self._reading)

    def _wants(self, item: Discovered) -> bool:
        return self._options.include_documents and is_knowledge(item.path)

    def _one(self, item: Discovered, run_id: str, label: str) -> None:
        key = str(item.path)
        record = self._catalog.source(key)
        signature = self._image_signature if item.is_imagery else self._text_signature
        fresh = False
        try:
            size, mtime_ns = state_of(item)
            fresh = record is not None and (record.size, record.mtime_ns) == (size, mtime_ns)
            if record and fresh and record.status == "done" and record.options == signature:
                self._tally.skipped += 1
                return
            self._catalog.clear_errors(key)
            mark = SourceRecord(key, "", str(item.type), size, mtime_ns, "partial", run_id, signature)
            digest, errors = (self._images if item.is_imagery else self._text)(item, record, mark, label)
        except (SourceError, OSError) as error:
            code = error.code if isinstance(error, RsragError) else type(error).__name__
            self._fail(run_id, ItemError(key, code, str(error)))
            if record is not None and fresh and record.status != "failed":
                self._catalog.finish_source(record)  # the file is as it was: only this way of taking it failed
            else:
                self._remove(key)
            return
        for problem in errors:
            self._catalog.record_error(run_id, problem)
        self._tally.errors += errors
        # A damaged window may be read next time; a bad row stays bad until the file changes.
        torn = any(e.window is not None for e in errors)
        self._catalog.finish_source(replace(mark, digest=digest, status="partial" if torn else "done"))
        self._tally.done += 1

    def _begin(self, record: SourceRecord | None, mark: SourceRecord, digest: str) -> None:
        """Remove what another content or other options gave, and mark the source as being written."""
        if record is not None and (record.digest != digest or record.options != mark.options):
            self._remove(mark.path)
        self._catalog.finish_source(replace(mark, digest=digest))

    def _images(
        self, item: Discovered, record: SourceRecord | None, mark: SourceRecord, label: str
    ) -> tuple[str, list[ItemError]]:
        """The scenes of a file: one, or those of a STAC document."""
        errors: list[ItemError] = []
        digests: list[str] = []
        for source in open_scenes(item, self._reading):
            if isinstance(source, ItemError):
                errors.append(source)
                continue
            with source:
                scene = source.scene
                plan = plan_tiles(scene.width, scene.height, **self._shape)
                digests.append(scene.digest)
                if len(digests) == 1:
                    self._begin(record, mark, scene.digest)
                errors += self._scene(item, source, plan, label)
        if not digests:
            reasons = "; ".join(dict.fromkeys(e.reason for e in errors[:3])) or "it describes no image"
            raise SourceError(f"{item.path.name}: {reasons}")
        return digests[0], errors

    def _scene(self, item: Discovered, source: RasterSource, plan: TilePlan, label: str) -> list[ItemError]:
        scene = source.scene if source.scene.time or not self._when else replace(source.scene, time=self._when)
        self._progress.start(label, plan.count, unit="tiles")
        try:
            return self._scenes.write(source, scene, item.path, plan, self._tally, self._progress)
        finally:
            self._progress.finish()

    def _text(
        self, item: Discovered, record: SourceRecord | None, mark: SourceRecord, label: str
    ) -> tuple[str, list[ItemError]]:
        digest = digest_file(item.path)
        self._begin(record, mark, digest)
        self._progress.start(label, None, unit="passages")
        try:
            return digest, self._knowledge.write(item.path, self._options, self._tally, self._progress)
        finally:
            self._progress.finish()

    def _fail(self, run_id: str, error: ItemError) -> None:
        self._tally.failed += 1
        self._tally.errors.append(error)
        self._catalog.record_error(run_id, error)

    def _forget_missing(self, sources: Sequence[str], seen: set[str]) -> None:
        """Remove what came from files below the given folders that are gone."""
        roots = [Path(s).expanduser().resolve() for s in sources]
        for record in self._catalog.sources():
            path = Path(record.path)
            below = any(path == root or path.is_relative_to(root) for root in roots)
            if below and record.path not in seen and not path.exists():
                self._remove(record.path)
                self._tally.removed += 1

    def _remove(self, path: str) -> None:
        removed: RemovedIds = self._catalog.remove_source(path)
        if removed.tiles:
            self._index.delete(TILES, removed.tiles)
        if removed.passages:
            self._index.delete(PASSAGES, removed.passages)


def _said(options: IngestOptions) -> dict[str, Any]:
    """What options say about how scenes are read, as it is kept with a source."""
    names = ("bands", "sensor", "collection", "crs", "asset", "allow_unlocated")
    return {name: value for name in names if (value := getattr(options, name))}


def _scales(text: str) -> Any:
    if text == "auto":
        return "auto"
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(f"scales {text!r} are not whole numbers", hint="such as 1,2,4, or auto") from error
