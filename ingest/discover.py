"""What there is to ingest: files and folders, each file by its type, STAC Items with their assets."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rsrag.errors import RefusedSource, SourceError, UnreadableSource, UnsupportedSource
from rsrag.ingest import guard
from rsrag.ingest.readers.base import RasterSource, ReadOptions
from rsrag.ingest.readers.geometry import side_cars
from rsrag.ingest.readers.images import open_image
from rsrag.ingest.readers.stac import StacFailure, StacItem, read_stac
from rsrag.types import ItemError

_SIDE_CARS = (".aux.xml", ".ovr", ".msk", ".tfw", ".tifw", ".pgw", ".jgw", ".j2w", ".wld", ".prj", ".rrd", ".xml")
_ARCHIVES = (".zip", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".zst")
_PLACES = (guard.SourceType.GEOJSON, guard.SourceType.GEOPACKAGE, guard.SourceType.CSV)
_FOREIGN = (guard.SourceType.HTML, guard.SourceType.XML, guard.SourceType.JSON)


@dataclass(frozen=True, slots=True)
class Discovered:
    """One thing to ingest.

    Attributes:
        path: the file; for STAC the document of the Item.
        type: what it is by content.
        root: folder that links in it may not leave.
        files: everything the scene depends on beside ``path``, as far as known: assets and side-cars.
    """

    path: Path
    type: guard.SourceType
    root: Path
    files: tuple[Path, ...] = ()

    @property
    def is_imagery(self) -> bool:
        """Whether scenes come of it, not knowledge."""
        return self.type.is_raster or self.type.is_stac

    @property
    def has_places(self) -> bool:
        """Whether it is a table of places, not a text."""
        return self.type in _PLACES


def discover(
    paths: Iterable[str | os.PathLike[str]], options: ReadOptions | None = None, *, root: Path | None = None
) -> Iterator[Discovered | ItemError]:
    """Everything below the given paths, each file once, in a fixed order.

    Folders are searched to the bottom; links in them that lead out are refused. Hidden files, side-cars and files of no
    concern are left out in silence; a file that is named directly, or whose suffix promises a type that rsrag reads, is
    reported with its error. Assets of STAC Items come once, with their Item; a Catalog that is named directly is
    followed to its Items.

    Args:
        paths: files and folders.
        options: what the user says about images.
        root: folder that links in a file that is named directly may not leave; the file's own by default.
    """
    options = options or ReadOptions()
    seen: set[Path] = set()
    for text in paths:
        try:
            path = guard.check_path(text)
        except SourceError as error:
            yield _error(os.fspath(text), error)
            continue
        folder = path.is_dir()
        for found in _folder(path, options) if folder else _file(path, options, root or path.parent, named=True):
            if isinstance(found, ItemError):
                yield found
            elif found.path not in seen:
                seen.add(found.path)
                yield found


def state_of(found: Discovered) -> tuple[int, int]:
    """Size in bytes and time of modification (ns) of a source with everything that it is read from."""
    stats = [file.stat() for file in (found.path, *found.files)]
    return sum(s.st_size for s in stats), max(s.st_mtime_ns for s in stats)


def open_scenes(found: Discovered, options: ReadOptions | None = None) -> Iterator[RasterSource | ItemError]:
    """The scenes of an image file or STAC document, each to be closed by the caller before the next is opened.

    Raises:
        SourceError: a file, or the only Item of a document, cannot be used. Of several Items the unusable ones are
            yielded as errors.
    """
    options = options or ReadOptions()
    if found.type.is_raster:
        yield open_image(found.path, found.type, options)
        return
    for item in read_stac(found.path, options, found.root):
        try:
            if isinstance(item, StacFailure):
                raise item.error
            source = open_image(item.asset, item.kind, options, item.hints)
        except SourceError as error:
            if found.type is guard.SourceType.STAC_ITEM:
                raise
            yield _error(item.source if isinstance(item, StacFailure) else f"{item.document}#{item.id}", error)
        else:
            yield source


def _error(source: str, error: SourceError) -> ItemError:
    return ItemError(guard.shown_path(source), error.code, str(error))


def _folder(root: Path, options: ReadOptions) -> Iterator[Discovered | ItemError]:
    found: list[Discovered | ItemError] = []
    for path in _walk(root):
        if not path.is_symlink() or path.resolve().is_relative_to(root.resolve()):
            found += _file(path, options, root, named=False)
        elif path.is_dir() or _concerns(path, _outside(path)):
            found.append(_error(str(path), _outside(path)))
    # What a STAC Item describes is not taken a second time as a bare file.
    assets = {f for one in found if isinstance(one, Discovered) and one.type.is_stac for f in one.files}
    yield from (one for one in found if isinstance(one, ItemError) or one.path not in assets)


def _outside(path: Path) -> RefusedSource:
    hint = "if you mean it, name what it points to on the command line"
    return RefusedSource(f"{path.name}: a link that leaves the folder", hint=hint)


def _walk(root: Path) -> Iterator[Path]:
    """Files below a folder, sorted, and links to folders outside, which are not entered.

    Folders that were reached before (by a link) are not entered again.
    """
    top = root.resolve()
    entered: set[tuple[int, int]] = set()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            state = folder.stat()
            if (state.st_dev, state.st_ino) in entered:
                continue
            entered.add((state.st_dev, state.st_ino))
            children = sorted(folder.iterdir(), key=lambda p: p.name)
        except OSError:
            continue
        folders = []
        for child in children:
            if child.name.startswith("."):
                continue
            if child.is_dir() and child.is_symlink() and not child.resolve().is_relative_to(top):
                yield child
            elif child.is_dir():
                folders.append(child)
            elif child.is_file() and not child.name.lower().endswith(_SIDE_CARS):
                yield child
        waiting += reversed(folders)


def _file(path: Path, options: ReadOptions, root: Path, *, named: bool) -> Iterator[Discovered | ItemError]:
    try:
        path = guard.check_path(path)
        guard.check_name(path)
        kind = guard.sniff(path)
        if kind in _FOREIGN:
            raise UnsupportedSource(f"{path.name}: a {kind}, which holds nothing to ingest")
    except SourceError as error:
        if named or _concerns(path, error):
            yield _error(str(path), error)
        return
    if kind.is_raster:
        yield Discovered(path, kind, root, side_cars(path))
    elif not kind.is_stac:
        yield Discovered(path, kind, root)
    elif kind is not guard.SourceType.STAC_CATALOG:
        items = [item for item in read_stac(path, options, root) if isinstance(item, StacItem)]
        yield Discovered(path, kind, root, tuple(dict.fromkeys(item.asset for item in items)))
    elif named:  # in a folder its Items are found as files anyway
        yield from _catalog(path, options, root)


def _catalog(path: Path, options: ReadOptions, root: Path) -> Iterator[Discovered | ItemError]:
    for item in read_stac(path, options, root):
        if isinstance(item, StacItem):
            yield Discovered(item.document, guard.SourceType.STAC_ITEM, root, (item.asset,))
        else:
            yield _error(item.source, item.error)


def _concerns(path: Path, error: SourceError) -> bool:
    """Whether a file met in a folder was meant for us: its suffix promises a type, or it is an archive."""
    name = path.name.lower().removesuffix(".gz")
    if isinstance(error, UnsupportedSource):
        return False
    known = any(name.endswith(suffix) for suffix in guard.KNOWN_SUFFIXES)
    return known or (isinstance(error, RefusedSource | UnreadableSource) and path.name.lower().endswith(_ARCHIVES))
