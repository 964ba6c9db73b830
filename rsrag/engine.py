"""The engine: one object with one method a task. ``rsrag.open(path)`` returns it; every face speaks to it alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from rsrag import workspace as workspaces
from rsrag.config import Resolved, Settings, expanded, without_password
from rsrag.errors import CatalogError, DegradedResult
from rsrag.types import Answer, Filters, Hit, Position, Query, QueryImage, TimeSpan

if TYPE_CHECKING:
    from rsrag.adapters.base import Context
    from rsrag.adapters.caption import Caption
    from rsrag.adapters.change import ChangeResult
    from rsrag.adapters.classify import Classification
    from rsrag.adapters.ground import Grounding
    from rsrag.adapters.segment import Segmentation
    from rsrag.catalog import Catalog
    from rsrag.chat import Chat
    from rsrag.indexes.base import VectorIndex
    from rsrag.ingest.pipeline import IngestOptions, IngestSummary
    from rsrag.ingest.readers.base import ReadOptions
    from rsrag.ingest.verify import VerifyReport
    from rsrag.models.base import Profile
    from rsrag.progress import Progress
    from rsrag.retrieve import Retrieval, Retriever


class Engine:
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

    @cached_property
    def catalog(self) -> Catalog:
        from rsrag.catalog import Catalog

        return Catalog.open(self.workspace.catalog)

    @cached_property
    def profile(self) -> Profile:
        from rsrag.models.registry import load_profile

        return load_profile(self.settings)

    @cached_property
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

    @cached_property
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
        sources: Iterable[str | Path] = (),
        *,
        knowledge: Iterable[str | Path] = (),
        options: IngestOptions | None = None,
        progress: Progress | None = None,
    ) -> IngestSummary:
        """Bring imagery and knowledge into the archive; what is there already and unchanged is left alone.

        Args:
            sources: files, folders, STAC catalogues; knowledge files found in folders are taken too.
            knowledge: files with places or documents.
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
            [str(s) for s in sources],
            [str(k) for k in knowledge],
            options or IngestOptions(),
            progress,
        )

    def verify(self, *, deep: bool = False, progress: Progress | None = None) -> VerifyReport:
        """Compare sources, catalogue and index.

        Args:
            deep: read every source again and compare digests, not only size and time.
        """
        from rsrag.ingest.verify import verify

        return verify(self.catalog, self.index, deep=deep, progress=progress)

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
            limit: most hits.
        """
        from rsrag.retrieve import merge

        query = self._query(text, image, where, filters, limit)
        found = self._retriever.run(query)
        if kind == "tile":
            return list(found.tiles[: query.limit])
        if kind == "passage":
            return list(found.passages[: query.limit])
        half = max(query.limit // 2, query.limit - len(found.passages))
        return merge(found, query.limit, tiles_first=half)

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
        return self._retriever.run(self._query(text, image, where, filters, limit), verify=verify)

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

        route = chosen(task, question, image=image is not None, pair=where is not None)
        notes: tuple[str, ...] = ()
        if route.task != "answer":
            measured, notes = measure(self, route, question, image, where, filters)
            if measured is not None:
                return measured
        query = self._query(question, image, where, filters, limit)
        found = self._retriever.run(query)
        told = answer(query, found, self.profile, self.settings, self.catalog, history=history, on_text=on_text)
        return replace(told, warnings=(*notes, *told.warnings)) if notes else told

    def chat(self) -> Chat:
        """A dialogue that remembers the image, the place and what was said."""
        from rsrag.chat import Chat

        return Chat(self)

    def change(
        self,
        *images: Any,
        where: str | Position | None = None,
        between: Sequence[str | TimeSpan] = (),
        questions: Sequence[str] = (),
        method: Literal["auto", "combined", "cva", "irmad", "index", "features"] = "auto",
        threshold: float | None = None,
        min_area_m2: float | None = None,
        options: ReadOptions | None = None,
        progress: Progress | None = None,
    ) -> ChangeResult:
        """What changed between two or more dates: mask, magnitude, outlines with areas, kinds of ground, sentences.

        Args:
            images: path, encoded bytes, uint8 RGB array [H, W, 3], QueryImage, or id of a scene; put in order of time.
            where: name of a place in the archive, or (longitude, latitude), instead of images.
            between: dates that scenes of the place near to are taken, two or more.
            questions: answered in turn; later ones may refer to earlier ones.
            method: detector; see ``docs/change.md``.
            threshold: line between changed and unchanged in the detector's unit; None for the automatic one.
            min_area_m2: smaller changes are left out; None for 16 pixels.
            options: band mapping and the like.
            progress: told of stages and windows.

        Raises:
            SourceError: an image cannot be used.
            UsageError: images that cannot be compared, or no two dates of the place.
        """
        from rsrag.adapters.change import Change, ChangeRequest
        from rsrag.ingest.readers.base import ReadOptions
        from rsrag.times import parse_time

        dates = tuple(parse_time(date) if isinstance(date, str) else date for date in between)
        request = ChangeRequest(
            images, where, dates, tuple(questions), method, threshold, min_area_m2, options=options or ReadOptions()
        )
        return Change().run(request, self._context(progress))

    def caption(
        self,
        image: Any,
        *,
        style: Literal["short", "detailed", "knowledge"] = "short",
        examples: str | Path | None = None,
        captions: str | Path | None = None,
        split: str | None = None,
        seed: int = 0,
        bands: str | None = None,
        progress: Progress | None = None,
    ) -> Caption:
        """What an image shows, in words.

        Args:
            image: path, encoded bytes, uint8 RGB array [H, W, 3], QueryImage, or id of a scene or tile.
            style: "short" for one sentence, "detailed" for parts, kinds of ground and indices, "knowledge" for cited
                facts of the place.
            examples: folder or zip file of captioned pictures whose captions are drawn on.
            captions: their caption file; ``captions.json`` inside of ``examples`` when None.
            split: only this part of the examples.
            seed: of the decoder's drafts, 0 or more.
            bands: which band is what, where the file does not say.
            progress: told of pictures that are encoded.

        Raises:
            UsageError: an unknown style, or examples without captions.
            SourceError: the image or the examples cannot be used.
            ModelError: a model cannot be loaded.
        """
        from rsrag.adapters.caption import CAPTION, CaptionRequest

        pictures = Path(examples) if examples is not None else None
        told = Path(captions) if captions is not None else None
        request = CaptionRequest(image, style, pictures, told, split, seed, bands)
        return CAPTION.run(request, self._context(progress))

    def classify(
        self,
        image: Any,
        labels: Sequence[str],
        *,
        everywhere: bool = False,
        turns: int = 4,
        unknown: float = 0.0,
        examples: str | Path | None = None,
        knowledge: bool = False,
        bands: str | None = None,
        progress: Progress | None = None,
    ) -> Classification:
        """Probabilities of labels in your own words, and a map of them over the scene.

        Args:
            image: path, encoded bytes, uint8 RGB array [H, W, 3], QueryImage, or id of a scene or tile.
            labels: two or more classes.
            everywhere: also a class raster, a probability raster and areas.
            turns: 1, 2, 4 or 8 turns of the picture whose vectors are averaged.
            unknown: least probability that a class is given for.
            examples: folder of labelled pictures, one folder a class.
            knowledge: weigh the labels by what the archive says of the place.
            bands: which band is what, where the file does not say.
            progress: told of windows.

        Raises:
            SourceError: the image cannot be used.
            UsageError: labels that cannot be used.
        """
        from rsrag.adapters.classify import CLASSIFY, ClassifyRequest

        folder = Path(examples) if examples is not None else None
        request = ClassifyRequest(image, labels, everywhere, turns, unknown, folder, knowledge, bands=bands)
        return CLASSIFY.run(request, self._context(progress))

    def ground(
        self,
        image: Any,
        text: str | None = None,
        *,
        box: tuple[float, float, float, float] | None = None,
        labels: Sequence[str] = (),
        method: Literal["auto", "detector", "heat"] = "auto",
        least: float | None = None,
        model: str | None = None,
        bands: str | None = None,
        progress: Progress | None = None,
    ) -> Grounding:
        """Where the things are that a text names, how many there are, or what a box shows.

        Args:
            image: path, encoded bytes, uint8 RGB array [H, W, 3], QueryImage, or id of a scene or tile.
            text: what to look for, such as "the storage tanks near the road" or "how many ships".
            box: left, top, right, bottom in pixels: tell what is there instead.
            labels: what the box is compared with; a list of common things when empty.
            method: "auto" (the detector for what it knows, else the heat map), "detector" or "heat".
            least: lowest score of what is given; chosen by the method when None.
            model: a large model instead: a detector or reader by name, "reader" for the profile's, or a directory.
            bands: which band is what, where the file does not say.
            progress: told of stages and windows.

        Raises:
            UsageError: a text without a target, a box outside of the image.
            SourceError: the image cannot be used.
            ModelError: a model cannot be loaded.
        """
        from rsrag.adapters.ground import GROUND, GroundRequest

        request = GroundRequest(image, text, box, labels, method, least, model, bands=bands)
        return GROUND.run(request, self._context(progress))

    def segment(
        self,
        image: Any,
        text: str,
        *,
        threshold: float = 0.5,
        method: str = "auto",
        index: bool = True,
        simplify: float | None = None,
        smallest: float | None = None,
        bands: str | None = None,
        model: str | None = None,
        progress: Progress | None = None,
    ) -> Segmentation:
        """Outline what a text names: mask, score, polygons and areas.

        Args:
            image: file, bytes, uint8 RGB array [H, W, 3], or id of a scene or tile of the archive.
            text: what to outline, such as "water".
            threshold: score from which a pixel belongs to it.
            method: "auto", "decoder", "detector", "refined" or "heat"; see ``docs/segment.md``.
            index: use NDWI for water and NDVI for plants where the bands allow.
            simplify: metres (pixels without a scale) that an outline may move; two pixels when None.
            smallest: least area of an outline in m2 (square pixels without a scale).
            bands: which band is what, where the file does not say.
            model: a large segmenter instead: a name of the registry, or the directory of a checkpoint.
            progress: told of windows.

        Raises:
            UsageError: no words, an unknown method, or a number out of range.
            SourceError: the image cannot be used.
        """
        from rsrag.adapters.segment import SEGMENT, SegmentRequest

        request = SegmentRequest(image, text, threshold, method, index, simplify, smallest, bands, model)
        return SEGMENT.run(request, self._context(progress))

    def _context(self, progress: Progress | None) -> Context:
        """What a task works with: this archive and its models."""
        from rsrag.adapters.base import Context
        from rsrag.progress import Silent

        return Context(self.profile, self.settings, self, progress or Silent())

    def picture(self, image: Any) -> QueryImage:
        """The query image behind any accepted input, through the same guard as ingest."""
        from rsrag.ingest.readers.photo import load_picture

        return image if isinstance(image, QueryImage) else load_picture(image)

    def thumbnail(self, tile_id: str) -> bytes | None:
        """The tile's picture as JPEG."""
        return self.catalog.thumbnail(tile_id)

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

        model = self.profile.image.fingerprint if vectors else None
        return export(self.catalog, Path(path), what=what, hits=hits, vectors=vectors, model=model)

    def _query(
        self,
        text: str | None,
        image: Any,
        where: str | Position | None,
        filters: Filters | None,
        limit: int | None,
    ) -> Query:
        picture = self.picture(image) if image is not None else None
        text = text.strip() if text else None
        return Query(text or None, picture, where, filters or Filters(), limit or self.settings.limit)


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
    directory = expanded(path)
    if create:
        workspaces.create(directory)
    return Engine(workspaces.locate_workspace(directory, settings))


__all__ = ["Engine", "open"]
