"""Reading ahead over scenes: files are opened and read by one thread, tiles are measured by others, while the encoder
works on earlier ones. What comes of it is a stream of small events, in an order that depends on the sources alone."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

from rsrag.catalog import Catalog, SourceRecord
from rsrag.errors import SourceError, SourceTooLarge, UnreadableSource
from rsrag.ingest.background import give_way
from rsrag.ingest.discover import Discovered, open_scenes, state_of
from rsrag.ingest.guard import SourceType
from rsrag.ingest.readers.base import RasterSource, ReadOptions
from rsrag.ingest.scenes import BATCH, MeasuredTile, TileMeasurer
from rsrag.ingest.windows import TileFailure, TilePixels, TilePlan, TileWindow, plan_tiles, read_tile, read_tiles
from rsrag.models.towers import usable_cores
from rsrag.types import ItemError, Scene, TimeSpan

_AHEAD = 3 * BATCH
"""Events that may wait; a tile that waits is a picture and a thumbnail."""
_MEASURERS = 4
LIMIT = "max_tiles"
"""Argument of the tile plan that is kept with a source only where it left scenes out."""
_ASKED = 500
"""Sources that the catalogue is asked about at once."""


@dataclass(slots=True, eq=False)
class Job:
    """A source of images on its way into the archive.

    Attributes:
        item: what was found.
        label: for people.
        record: what the catalogue knew about it.
        fresh: whether the file is as it was then.
        size: of the source with everything it is read from, in bytes.
        mtime_ns: its time of modification.
        digest: of its first scene.
        scenes: ids of its scenes that were opened.
        replaced: whether what it gave before was removed to make room.
        left_out: whether scenes were left out because they have more tiles than the limit.
        errors: of single scenes and tiles.
        waiting: tiles that are not committed.
    """

    item: Discovered
    label: str
    record: SourceRecord | None = None
    fresh: bool = False
    size: int = 0
    mtime_ns: int = 0
    digest: str = ""
    scenes: list[str] = field(default_factory=list)
    replaced: bool = False
    left_out: bool = False
    errors: list[ItemError] = field(default_factory=list)
    waiting: int = 0

    @property
    def key(self) -> str:
        """Its path, under which the catalogue knows it."""
        return str(self.item.path)

    @property
    def has_many(self) -> bool:
        """Whether it is a document of any number of scenes, which come and go one by one."""
        return self.item.type is SourceType.STAC_ITEMS

    def is_outdated(self, signature: Any) -> bool:
        """Whether what it gave before must go first: other content, or other options.

        Of a document of many scenes only those go that it no longer holds, once it is read.
        """
        if self.record is None:
            return False
        said, _ = said_under(self.record)
        return said != signature or (not self.has_many and self.record.digest != self.digest)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A source is in the archive already, unchanged."""

    job: Job


@dataclass(frozen=True, slots=True)
class Failed:
    """A source cannot be used; it may have given tiles before."""

    job: Job
    error: Exception


@dataclass(frozen=True, slots=True)
class Opened:
    """A scene begins: the first of its source, or another one."""

    job: Job
    scene: Scene
    tiles: int
    first: bool


@dataclass(frozen=True, slots=True)
class Known:
    """Some tiles of the scene are in the catalogue already."""

    count: int


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """A tile, measured or about to be; None for a blank one."""

    job: Job
    tile: Future[MeasuredTile | None]


@dataclass(frozen=True, slots=True)
class Damaged:
    """A scene or tile of a source cannot be used; ``tile`` says which of both."""

    job: Job
    error: ItemError
    tile: bool


@dataclass(frozen=True, slots=True)
class Closed:
    """The scene is read."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The source is read."""

    job: Job


@dataclass(frozen=True, slots=True, eq=False)
class Pause:
    """The reader waits until everything before is written, and ``done`` is set."""

    done: threading.Event


Event = Skipped | Failed | Opened | Known | Read | Damaged | Closed | Ended | Pause


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read and how.

    Attributes:
        options: what the user says about images.
        shape: arguments of :func:`rsrag.ingest.windows.plan_tiles`.
        signature: of options and models; a source that was done under another one is read anew.
        when: time of scenes that tell none.
    """

    options: ReadOptions
    shape: dict[str, Any]
    signature: Any
    when: TimeSpan | None = None

    def is_same(self, record: SourceRecord) -> bool:
        """Whether a source would give what it gave: under the same options, scenes left out by the same limit."""
        said, limit = said_under(record)
        return bool(said == self.signature and limit in (None, self.shape[LIMIT]))


def said_under(record: SourceRecord) -> tuple[Any, int | None]:
    """The signature that a source was read under; and the limit of tiles, where it left scenes out."""
    said = record.options
    if not isinstance(said, dict) or LIMIT not in said:
        return said, None
    return {name: value for name, value in said.items() if name != LIMIT}, said[LIMIT]


class _Stopped(Exception):
    """Nobody takes the events any more."""


class ReadAhead:
    """The events of sources, in order. A context manager: leaving it ends its threads."""

    def __init__(self, items: Sequence[Discovered], catalog: Catalog, measurer: TileMeasurer, reading: Reading) -> None:
        self._items, self._catalog, self._measurer, self._reading = items, catalog, measurer, reading
        self._events: queue.Queue[Event | BaseException | None] = queue.Queue(maxsize=_AHEAD)
        self._stop = threading.Event()
        workers = max(1, min(_MEASURERS, usable_cores() - 1))
        self._pool = ThreadPoolExecutor(workers, "rsrag-measure", initializer=give_way)
        self._thread = threading.Thread(target=self._work, name="rsrag-ahead", daemon=True)
        self._opened: set[str] = set()
        # In an archive without tiles none need looking up, until a pause lets those of this run be written.
        self._empty = next(catalog.tile_ids(), None) is None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __iter__(self) -> Iterator[Event]:
        while (event := self._events.get()) is not None:
            if isinstance(event, BaseException):
                raise event
            yield event

    # --- in the reading thread ---

    def _work(self) -> None:
        give_way()
        try:
            for start in range(0, len(self._items), _ASKED):
                part = self._items[start : start + _ASKED]
                known = self._catalog.sources_at([str(item.path) for item in part])
                for number, item in enumerate(part, start=start + 1):
                    label = f"{item.path.name} ({number}/{len(self._items)})"
                    self._source(Job(item, label, known.get(str(item.path))))
            self._put(None)
        except _Stopped:
            return
        except BaseException as error:  # handed to the consumer, which raises it
            try:
                self._put(error)
            except _Stopped:
                return

    def _put(self, event: Event | BaseException | None) -> None:
        while not self._stop.is_set():
            try:
                self._events.put(event, timeout=0.1)
                return
            except queue.Full:
                continue
        raise _Stopped

    def _pause(self) -> None:
        """Wait until everything so far is written: what comes next depends on it."""
        done = threading.Event()
        self._put(Pause(done))
        while not done.wait(timeout=0.1):
            if self._stop.is_set():
                raise _Stopped
        self._opened.clear()
        self._empty = False

    def _source(self, job: Job) -> None:
        record = job.record
        try:
            job.size, job.mtime_ns = state_of(job.item)
            job.fresh = record is not None and (record.size, record.mtime_ns) == (job.size, job.mtime_ns)
            if record and job.fresh and record.status == "done" and self._reading.is_same(record):
                self._put(Skipped(job))
                return
            self._scenes(job)
        except (SourceError, OSError) as error:
            self._put(Failed(job, error))
            if record is not None:
                self._pause()  # what it gave before may be removed, and belong to a later source too
            return
        self._put(Ended(job))

    def _scenes(self, job: Job) -> None:
        """The scenes of a file: one, or those of a STAC document."""
        reasons: list[str] = []
        for source in open_scenes(job.item, self._reading.options):
            if isinstance(source, ItemError):
                reasons.append(source.reason)
                self._put(Damaged(job, source, tile=False))
                continue
            with source:
                problem = self._scene(job, source)
            if problem is not None:
                reasons.append(problem.reason)
                self._put(Damaged(job, problem, tile=False))
        if not job.digest:
            told = "; ".join(dict.fromkeys(reasons[:3])) or "it describes no image"
            raise SourceError(f"{job.item.path.name}: {told}")

    def _scene(self, job: Job, source: RasterSource) -> ItemError | None:
        """Read a scene; of a document of many, one with too many tiles is left out and its error returned.

        Raises:
            SourceTooLarge: the only scene of its source has too many tiles.
        """
        reading = self._reading
        scene = source.scene if source.scene.time else replace(source.scene, time=reading.when)
        job.scenes.append(scene.id)  # also of one that is left out: what it gave under another limit stays
        try:
            plan = plan_tiles(scene.width, scene.height, **reading.shape)
        except SourceTooLarge as error:
            if not job.has_many:
                raise
            job.left_out = True
            return ItemError(item_name(scene) or job.key, error.code, str(error))
        first = not job.digest
        job.digest = job.digest or scene.digest
        if scene.id in self._opened:
            self._pause()  # a copy: its tiles are known once those of the other are written
        self._put(Opened(job, scene, plan.count, first))
        if first and job.is_outdated(reading.signature):
            self._pause()
        self._opened.add(scene.id)
        known = set() if self._empty else self._catalog.tile_ids_of(scene.id)
        wanted: Callable[[TileWindow], bool] | None = None
        if known:
            measurer = self._measurer
            wanted = lambda tile: measurer.tile_id(scene, tile) not in known  # noqa: E731
            self._put(Known(sum(1 for tile in plan if not wanted(tile))))
        for item in _tiles(source, plan, wanted):
            if isinstance(item, TileFailure):
                damage = ItemError(job.key, UnreadableSource.__name__, item.reason, item.tile.window)
                self._put(Damaged(job, damage, tile=True))
            else:
                measured = self._pool.submit(self._measurer.measure, item, scene, source.bands, source.units)
                self._put(Read(job, measured))
        self._put(Closed())
        return None


def item_name(scene: Scene) -> str | None:
    """The STAC Item of a scene as errors name it; None for an image by itself."""
    said = scene.properties
    return f"{said['stac_document']}#{said['stac_id']}" if "stac_id" in said else None


def _tiles(
    source: RasterSource, plan: TilePlan, wanted: Callable[[TileWindow], bool] | None
) -> Iterator[TilePixels | TileFailure]:
    if plan.count > 1:
        yield from read_tiles(source, plan, wanted)
        return
    tile = next(iter(plan))  # such as a photograph: no thread and no second opening of the file for it
    if wanted is None or wanted(tile):
        try:
            yield read_tile(source, tile)
        except UnreadableSource as error:
            yield TileFailure(tile, error.message)
