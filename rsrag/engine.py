"""The engine: one object with one method a task. ``rsrag.open(path)`` returns it; every face speaks to it alone."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from rsrag import given
from rsrag import workspace as workspaces
from rsrag.config import Resolved, Settings, without_password
from rsrag.engine_tasks import PixelTasks
from rsrag.errors import CatalogError, DegradedResult, UnsupportedSource, UsageError
from rsrag.once import once
from rsrag.types import Answer, Filters, Hit, Position, Query, QueryImage

if TYPE_CHECKING:
    from rsrag.adapters.base import Context
    from rsrag.catalog import Catalog
    from rsrag.chat import Chat
    from rsrag.indexes.base import VectorIndex
    from rsrag.ingest.pipeline import IngestOptions, IngestSummary
    from rsrag.ingest.verify import VerifyReport
    from rsrag.models.base import Profile
    from rsrag.progress import Progress
    from rsrag.retrieve import Retrieval, Retriever


class Engine(PixelTasks):
    """An open workspace.

    Everything heavy is opened at first use. Close it, or use it as a context manager: the embedded index belongs to
    one process at a time.
    """

    def __init__(self, workspace: workspaces.Workspace) -> None:
        self.workspace = workspace

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Flush and release index and catalogue."""
        for name in ("index", "catalog"):
            opened = self.__dict__.pop(name, None)
            if opened is not None:
                opened.close()
        self.__dict__.pop("_retriever", None)

    # --- parts --------------------------------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        return self.workspace.path

    @property
    def resolved(self) -> Resolved:
        return self.workspace.resolved

    @property
    def settings(self) -> Settings:
        return self.workspace.resolved.settings

    @once
    def catalog(self) -> Catalog:
        from rsrag.catalog import Catalog

        return Catalog.open(self.workspace.catalog)

    @once
    def profile(self) -> Profile:
        from rsrag.models.registry import load_profile

        return load_profile(self.settings)

    @once
    def index(self) -> VectorIndex:
        from rsrag.collections import specs

        index = self._open_index()
        try:
            for spec in specs(self.profile):
                index.ensure(spec)
        except BaseException:
            index.close()
            raise
        return index

    def _open_index(self) -> VectorIndex:
        from rsrag.indexes.open import open_index

        settings = self.settings
        if not settings.index:
            return open_index(self.workspace.index)
        return open_index(
            settings.index,
            archive=self._archive_id(),
            prefix=settings.index_prefix,
            api_key=settings.index_api_key or None,
            shard_number=settings.index_shards or None,
            replication_factor=settings.index_replicas or None,
        )

    def _archive_id(self) -> str | None:
        """Whose collections on a server may be used; None where the catalogue has no name and cannot be written."""
        try:
            return self.catalog.archive_id()
        except CatalogError:
            return None

    @once
    def _retriever(self) -> Retriever:
        from rsrag.retrieve import Retriever

        self._warn_of_gaps()
        return Retriever(self.index, self.catalog, self.profile, self.settings)

    def _warn_of_gaps(self) -> None:
        """Say that part of the archive cannot be found, as after a reindex that was interrupted."""
        from rsrag.collections import PASSAGES, TILES

        known = self.catalog.counts()
        held = {name: self.index.count(name) for name in (TILES, PASSAGES)}
        gaps = [f"{held[name]:,} of {known[name]:,} {name}" for name in held if held[name] < known[name]]
        if gaps and any(held.values()):
            text = f"the index holds only {' and '.join(gaps)}: run rsrag reindex to its end"
            warnings.warn(text, DegradedResult, stacklevel=4)

    # --- ingest -------------------------------------------------------------------------------------------------

    def ingest(
        self,
        sources: str | Path | Iterable[str | Path] = (),
        *,
        knowledge: str | Path | Iterable[str | Path] = (),
        options: IngestOptions | None = None,
        progress: Progress | None = None,
    ) -> IngestSummary:
        """Bring imagery and knowledge into the archive; what is there already and unchanged is left alone.

        Args:
            sources: files, folders, STAC catalogues, one or several; knowledge files found in folders are taken too.
            knowledge: files with places or documents, one or several.
            options: band mapping, dates, scales and the like; defaults when None.
            progress: told of totals and steps.

        Returns:
            Counts of done, skipped, failed and removed sources and tiles; every failure is in the catalogue too.
        """
        from rsrag.ingest.pipeline import IngestOptions, ingest

        return ingest(
            self.catalog,
            self.index,
            self.profile,
            self.settings,
            _paths(sources),
            _paths(knowledge),
            options or IngestOptions(),
            progress,
        )

    def verify(self, *, deep: bool = False, progress: Progress | None = None) -> VerifyReport:
        """Compare sources, catalogue and index.

        Args:
            deep: read every source again and compare digests, not only size and time.
        """
        from rsrag.ingest.verify import verify

        deep, told = given.flag("deep", deep), given.progress(progress)
        return verify(self.catalog, self.index, deep=deep, progress=told)

    def reindex(self, *, progress: Progress | None = None) -> Mapping[str, int]:
        """Rebuild the vector index from the catalogue; returns points written by collection."""
        from rsrag.ingest.reindex import reindex

        opened = self.__dict__.pop("index", None)
        if opened is not None:
            opened.close()
        self.__dict__.pop("_retriever", None)
        # Opened without the check of collections: a damaged or foreign one is what reindex is for.
        index = self._open_index()
        try:
            return reindex(self.catalog, index, self.profile, progress=progress)
        finally:
            index.close()

    # --- ask ----------------------------------------------------------------------------------------------------

    def search(
        self,
        text: str | None = None,
        *,
        image: Any = None,
        where: str | Position | None = None,
        filters: Filters | None = None,
        kind: Literal["all", "tile", "passage"] = "all",
        limit: int | None = None,
    ) -> list[Hit]:
        """Tiles and passages that fit, best first.

        Args:
            text: a question or description.
            image: path, encoded bytes, uint8 RGB array [H, W, 3] or QueryImage.
            where: name of a place in the archive, or (longitude, latitude).
            filters: what the hits are limited to.
            kind: one kind of hit only.
            limit: most hits, 1 or more.

        Raises:
            UsageError: nothing to search for, or an argument of another type.
            SourceError: the image cannot be used.
        """
        given.one_of("kind", kind, ("all", "tile", "passage"))
        query = self._query(text, image, where, filters, limit)
        return self._retriever.run(query).shown(kind, query.limit)

    def retrieve(
        self,
        text: str | None = None,
        *,
        image: Any = None,
        where: str | Position | None = None,
        filters: Filters | None = None,
        limit: int | None = None,
        verify: bool = True,
    ) -> Retrieval:
        """Everything retrieval found, with location, warnings and timings: for evaluation and debugging.

        Args:
            verify: whether image hits are verified by geometry; the other arguments are those of :meth:`search`.
        """
        query = self._query(text, image, where, filters, limit)
        return self._retriever.run(query, verify=given.flag("verify", verify))

    def ask(
        self,
        question: str,
        *,
        image: Any = None,
        where: str | Position | None = None,
        filters: Filters | None = None,
        limit: int | None = None,
        history: Sequence[tuple[str, str]] = (),
        on_text: Callable[[str], None] | None = None,
        task: Literal["auto", "answer", "change", "count", "locate", "outline"] = "auto",
    ) -> Answer:
        """An answer with citations, or an abstention with its reason.

        Args:
            question: what to find out.
            image: what it is about: path, encoded bytes, uint8 RGB array [H, W, 3] or QueryImage.
            where: name of a place in the archive, or (longitude, latitude).
            filters: what the evidence is limited to.
            limit: how much evidence the reader gets.
            history: earlier questions and answers of a dialogue.
            on_text: told of the answer's pieces as they come, before they are checked.
            task: "auto" lets the question decide (:func:`rsrag.route.route`) whether it is answered from the archive
                or measured on pixels; the others overrule it.
        """
        from rsrag.answer import answer
        from rsrag.measured import measure
        from rsrag.route import chosen

        given.text("question", question)
        given.maybe(given.callback, "on_text", on_text)
        where, filters = given.where(where), given.filters(filters)
        said = given.dialogue("history", history)
        route = chosen(given.text("task", task), question, image=image is not None, pair=where is not None)
        notes: tuple[str, ...] = ()
        if route.task != "answer":
            measured, notes = measure(self, route, question, image, where, filters)
            if measured is not None:
                return measured
        query = self._query(question, image, where, filters, limit)
        found = self._retriever.run(query)
        told = answer(query, found, self.profile, self.settings, self.catalog, history=said, on_text=on_text)
        if told.abstained and route.missing:
            notes = (*notes, route.missing)
        return replace(told, warnings=(*notes, *told.warnings)) if notes else told

    def chat(self) -> Chat:
        """A dialogue that remembers the image, the place and what was said."""
        from rsrag.chat import Chat

        return Chat(self)

    def _context(self, progress: Progress | None) -> Context:
        """What a task works with: this archive and its models."""
        from rsrag.adapters.base import Context

        return Context(self.profile, self.settings, self, given.progress(progress))

    def picture(self, image: Any) -> QueryImage:
        """The query image behind any accepted input, through the same guard as ingest."""
        from rsrag.ingest.readers.photo import check_array, load_picture

        if not isinstance(image, QueryImage):
            return load_picture(image)
        given.query_image(image)
        check_array(image.pixels, image.name)
        if not image.pixels.size:
            raise UnsupportedSource(f"{image.name}: no pixels")
        return image

    def thumbnail(self, tile_id: str) -> bytes | None:
        """The tile's picture as JPEG."""
        return self.catalog.thumbnail(given.text("tile_id", tile_id))

    def status(self) -> Mapping[str, Any]:
        """Counts, models, places of storage (passwords masked) and the last run."""
        counts = dict(self.catalog.counts())
        return {
            "workspace": str(self.path),
            "catalog": str(self.workspace.catalog) if not self.settings.catalog else "by URL",
            "index": without_password(str(self.workspace.index)),
            "profile": self.settings.profile,
            "models": {
                role: model.fingerprint
                for role in ("image", "text", "reranker", "reader")
                if (model := getattr(self.profile, role)) is not None
            },
            "counts": counts,
            "indexed": {name: self.index.count(name) for name in ("tiles", "passages")},
            "runs": [dict(r) if isinstance(r, Mapping) else r for r in self.catalog.runs(limit=3)],
        }

    def export(
        self, path: str | Path, *, what: str = "tiles", hits: Sequence[Hit] | None = None, vectors: bool = False
    ) -> int:
        """Write tiles, scenes or places, or given hits, as GeoJSON, GeoParquet or GeoPackage by the file's ending.

        Returns:
            Number of features written.
        """
        from rsrag.export import export

        model = self.profile.image.fingerprint if given.flag("vectors", vectors) else None
        given.text("what", what)
        if hits is not None:
            hits = [given.instance("a hit", hit, Hit) for hit in given.several("hits", hits)]
        return export(self.catalog, given.path("path", path), what=what, hits=hits, vectors=vectors, model=model)

    def _query(
        self,
        text: str | None,
        image: Any,
        where: str | Position | None,
        filters: Filters | None,
        limit: int | None,
    ) -> Query:
        words = (given.maybe(given.text, "text", text) or "").strip()
        picture = self.picture(image) if image is not None else None
        count = self.settings.limit if limit is None else given.count(limit)
        return Query(words or None, picture, given.where(where), given.filters(filters), count)


def _paths(given: str | Path | Iterable[str | Path]) -> list[str]:
    """Paths as text; a single one counts as one, not as its letters, of which "/" and "." are folders.

    Raises:
        UsageError: something else.
    """
    several: Any = [given] if isinstance(given, str | os.PathLike) else given
    if not isinstance(several, Iterable) or isinstance(several, bytes):
        raise UsageError(f"{given!r} is no path", hint="give a path or a list of paths")
    return [str(path) for path in several]


def open(path: str | Path, *, create: bool = False, **settings: Any) -> Engine:
    """Open a workspace.

    Args:
        path: its directory.
        create: make it if there is none.
        **settings: fields of :class:`rsrag.config.Settings`; they take precedence over environment and file.

    Raises:
        WorkspaceNotFound: no workspace there and ``create`` is False.
        ConfigError: a setting that does not exist or has a wrong value.
    """
    directory = given.path("path", path)
    if given.flag("create", create):
        workspaces.create(directory)
    return Engine(workspaces.locate_workspace(directory, settings))


__all__ = ["Engine", "open"]
