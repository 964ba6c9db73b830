"""What there is to ingest: files and folders, each file by its type, STAC Items with their assets."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rsrag.errors import RefusedSource, SourceError, UnreadableSource, UnsupportedSource
from rsrag.ingest import guard
from rsrag.ingest.readers.base import NO_HINTS, ReadOptions, SceneHints
from rsrag.ingest.readers.stac import StacFailure, read_stac

_SIDE_CARS = (".aux.xml", ".ovr", ".msk", ".tfw", ".tifw", ".pgw", ".jgw", ".j2w", ".wld", ".prj", ".rrd", ".xml")
_ARCHIVES = (".zip", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".zst")
_FOREIGN = (guard.SourceType.HTML, guard.SourceType.XML, guard.SourceType.JSON)


@dataclass(frozen=True, slots=True)
class Discovered:
    """One thing to ingest, or the reason why it cannot be.

    Attributes:
        path: the file; for a STAC Item its asset. The name as given when it is no file at all.
        type: what it is by content; None when ``error`` says why that is not known or not allowed.
        hints: what a STAC Item says about its asset.
        documents: further files that the item was read from: a change in them is a change of the item.
        error: why it cannot be used.
    """

    path: Path
    type: guard.SourceType | None
    hints: SceneHints = NO_HINTS
    documents: tuple[Path, ...] = ()
    error: SourceError | None = None


def discover(paths: Iterable[str | os.PathLike[str]], options: ReadOptions | None = None) -> Iterator[Discovered]:
    """Everything below the given paths, each file once, in a fixed order.

    Folders are searched to the bottom. Hidden files, side-cars and files of no concern are left out in silence; a file
    that is named directly, or whose suffix promises a type that rsrag reads, is reported with its error. Assets of
    STAC Items come once, with their Item.
    """
    options = options or ReadOptions()
    seen: set[tuple[Path, bool]] = set()
    for text in paths:
        try:
            path = guard.check_path(text)
        except SourceError as error:
            yield Discovered(Path(os.fspath(text)), None, error=error)
            continue
        found = _folder(path, options) if path.is_dir() else _file(path, options, path.parent, named=True)
        for one in found:
            key = (one.path, one.error is None)
            if key not in seen:
                seen.add(key)
                yield one


def _folder(root: Path, options: ReadOptions) -> Iterator[Discovered]:
    files = list(_walk(root))
    plain: list[Discovered] = []
    assets: set[Path] = set()
    documents: set[Path] = set()
    for path in files:
        for one in _file(path, options, root, named=False):
            if one.documents:
                assets.add(one.path)
                documents.update(one.documents)
            plain.append(one)
    for one in plain:
        if one.documents or one.path not in assets:
            yield one


def _walk(root: Path) -> Iterator[Path]:
    """Files below a folder, sorted; folders that were reached before (by a link) are not entered again."""
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
            if child.is_dir():
                folders.append(child)
            elif child.is_file() and not child.name.lower().endswith(_SIDE_CARS):
                yield child
        waiting += reversed(folders)


def _file(path: Path, options: ReadOptions, root: Path, *, named: bool) -> Iterator[Discovered]:
    try:
        path = guard.check_path(path)
        kind = guard.sniff(path)
        if kind in _FOREIGN:
            raise UnsupportedSource(f"{path.name}: a {kind}, which holds nothing to ingest")
    except SourceError as error:
        if named or _concerns(path, error):
            yield Discovered(path, None, error=error)
        return
    if not kind.is_stac:
        yield Discovered(path, kind)
    elif named or kind is not guard.SourceType.STAC_CATALOG:  # in a folder, its Items are found as files anyway
        for item in read_stac(path, options, root):
            if isinstance(item, StacFailure):
                yield Discovered(Path(item.source), None, error=item.error)
            else:
                yield Discovered(item.asset, item.kind, item.hints, (item.document,))


def _concerns(path: Path, error: SourceError) -> bool:
    """Whether a file met in a folder was meant for us: its suffix promises a type, or it is an archive."""
    name = path.name.lower().removesuffix(".gz")
    if isinstance(error, UnsupportedSource):
        return False
    known = any(name.endswith(suffix) for suffix in guard.KNOWN_SUFFIXES)
    return known or (isinstance(error, RefusedSource | UnreadableSource) and path.name.lower().endswith(_ARCHIVES))
