"""STAC on disk: Items, ItemCollections, Catalogs and Collections (1.0 and 1.1), without network.

Links and assets are followed as far as they stay inside the folder of the document that was given. From an Item come
time, outline, band names, platform, ground sample distance, licence and collection; the pixels come from one asset.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from rsrag import geo
from rsrag.errors import (
    BadFootprint,
    BadGeometry,
    BadTimeSpan,
    RefusedSource,
    SourceError,
    SourceTooLarge,
    UnreadableSource,
    UnsupportedSource,
)
from rsrag.ingest import guard
from rsrag.ingest.readers.base import Affine, ReadOptions, SceneHints
from rsrag.ingest.readers.names import sensor_name
from rsrag.times import parse_time
from rsrag.types import BBox, Footprint, TimeSpan

MAX_DOCUMENTS = 100_000
"""Documents that one catalogue may lead to."""
_IMAGE_MEDIA = ("image/tiff", "image/jp2", "image/png", "image/jpeg", "image/vnd.stac.geotiff")
_IMAGE_SUFFIXES = (".tif", ".tiff", ".jp2", ".j2k", ".png", ".jpg", ".jpeg")
_KEPT = ("eo:cloud_cover", "view:off_nadir", "view:sun_elevation", "platform", "constellation", "processing:level")


@dataclass(frozen=True, slots=True)
class StacItem:
    """An Item whose asset can be opened: where the pixels are, their type, and what the Item says about them."""

    id: str
    document: Path
    asset: Path
    kind: guard.SourceType
    hints: SceneHints


@dataclass(frozen=True, slots=True)
class StacFailure:
    """An Item or document that cannot be used."""

    source: str
    error: SourceError


def read_stac(
    path: Path, options: ReadOptions | None = None, root: Path | None = None
) -> Iterator[StacItem | StacFailure]:
    """Every Item that a STAC document is or leads to.

    Args:
        path: an Item, ItemCollection, Catalog or Collection, as an absolute path.
        options: asset key, whether links may leave the folder, limits.
        root: folder that links and assets must stay in; that of ``path`` by default.
    """
    options = options or ReadOptions()
    reader = _Reader(options, (root or path.parent).resolve())
    yield from reader.follow(path.resolve())


class _Reader:
    def __init__(self, options: ReadOptions, root: Path) -> None:
        self._options, self._root = options, root
        self._seen: set[Path] = set()
        self._collections: dict[Path, Mapping[str, Any]] = {}

    def follow(self, start: Path) -> Iterator[StacItem | StacFailure]:
        waiting = [start]
        while waiting:
            path = waiting.pop()
            if path in self._seen:
                continue
            self._seen.add(path)
            if len(self._seen) > MAX_DOCUMENTS:
                error = SourceTooLarge(f"{start.name}: leads to more than {MAX_DOCUMENTS} documents")
                yield StacFailure(str(start), error)
                return
            try:
                document = _load(path, self._options.limits)
            except SourceError as error:
                yield StacFailure(str(path), error)
                continue
            for feature in _features(document):
                yield self._item(path, feature)
            targets = []
            for link in _links(document, "item", "child"):
                try:
                    targets.append(self._inside(path, link))
                except SourceError as error:
                    yield StacFailure(f"{path}: {link}", error)
            waiting += sorted(targets, reverse=True)

    def _inside(self, document: Path, href: str) -> Path:
        """The local file that a link names.

        Raises:
            RefusedSource: on the network, or outside the folder.
        """
        if "://" in href:
            raise RefusedSource(
                f"{document.name}: {href[:200]} is not a local file",
                hint="download the assets and link them relatively",
            )
        guard_text = unquote(href)
        target = Path(os.path.normpath(document.parent / guard_text))
        if str(target).lower().startswith("/vsi") or guard_text.lower().startswith("/vsi"):
            raise RefusedSource(f"{document.name}: {href[:200]} is a virtual path")
        try:
            target = target.resolve()
        except (OSError, ValueError) as error:
            raise UnreadableSource(f"{document.name}: {_text(href)[:200]} is not the name of a file") from error
        if not self._options.allow_outside and not target.is_relative_to(self._root):
            raise RefusedSource(
                f"{document.name}: {href[:200]} lies outside {self._root}", hint="give the folder that holds both"
            )
        return target

    def _item(self, document: Path, item: Mapping[str, Any]) -> StacItem | StacFailure:
        name = _text(item.get("id") or document.stem)
        try:
            key, asset = self._asset(name, item)
            target = self._inside(document, str(asset.get("href")))
            if not _is_file(target):
                raise UnreadableSource(f"item {name}: its asset {key!r} is missing ({target.name})")
            guard.check_name(target)
            kind = guard.sniff(guard.check_path(target))
            if not kind.is_raster:
                raise UnsupportedSource(f"item {name}: its asset {key!r} is a {kind}, not an image")
            return StacItem(name, document, target, kind, self._hints(name, document, item, asset))
        except SourceError as error:
            return StacFailure(f"{document}#{name}", error)

    def _asset(self, name: str, item: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """The asset that holds the pixels: the one asked for, else the visual one, else the only one with data."""
        assets = {k: a for k, a in _mapping(item.get("assets")).items() if isinstance(a, dict) and a.get("href")}
        wanted = self._options.asset
        if wanted is not None:
            if wanted not in assets:
                raise UnsupportedSource(
                    f"item {name}: no asset {wanted!r}", hint=f"it has {', '.join(assets) or 'none'}"
                )
            return wanted, assets[wanted]
        ranked = {key: rank for key, asset in assets.items() if (rank := _rank(key, asset)) is not None}
        if not ranked:
            raise UnsupportedSource(f"item {name}: no asset that is an image", hint="name one with --asset")
        best = min(ranked.values())
        candidates = [key for key, rank in ranked.items() if rank == best]
        if len(candidates) > 1:
            candidates = [k for k in candidates if len(_bands(assets[k])) >= 3] or candidates
        if len(candidates) > 1:
            raise UnsupportedSource(
                f"item {name}: {len(candidates)} assets hold data ({', '.join(sorted(candidates)[:12])})",
                hint="choose one with --asset",
            )
        return candidates[0], assets[candidates[0]]

    def _hints(self, name: str, document: Path, item: Mapping[str, Any], asset: Mapping[str, Any]) -> SceneHints:
        own = _mapping(item.get("properties"))
        collection = self._collection(document, item)
        properties: dict[str, Any] = {k: own[k] for k in _KEPT if isinstance(own.get(k), int | float)}
        properties |= {k: _text(own[k]) for k in _KEPT if isinstance(own.get(k), str)}
        properties |= {"stac_id": name, "stac_document": str(document)}
        licence = own.get("license") or collection.get("license")
        gsd = asset.get("gsd") or own.get("gsd")
        transform = _transform(asset.get("proj:transform"))
        digest = hashlib.sha256(json.dumps(item, sort_keys=True).encode())
        return SceneHints(
            title=_text(own.get("title") or name)[:200],
            collection=_text(item.get("collection") or collection.get("id") or "") or None,
            time=_time(own),
            footprint=_footprint(item),
            crs=_crs({**own, **asset}) if transform else None,
            transform=transform,
            sensor=_sensor(own),
            gsd_m=size if (size := _number(gsd)) is not None and size > 0 else None,
            licence=_text(licence)[:200] if licence else None,
            roles=tuple(_band_name(band) for band in _bands(asset)),
            properties=properties,
            extra=digest.hexdigest(),
        )

    def _collection(self, document: Path, item: Mapping[str, Any]) -> Mapping[str, Any]:
        """The Collection that an Item links to, when it is there; an empty mapping otherwise."""
        for href in _links(item, "collection"):
            try:
                path = self._inside(document, href)
                if path not in self._collections:
                    self._collections[path] = _load(path, self._options.limits)
                return self._collections[path]
            except SourceError:
                return {}
        return {}


def _load(path: Path, limits: guard.Limits) -> Mapping[str, Any]:
    try:
        size = path.stat().st_size
        if size > limits.max_json_bytes:
            raise SourceTooLarge(f"{path.name}: {size} bytes of JSON, the limit is {limits.max_json_bytes}")
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise UnreadableSource(f"{path.name}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UnreadableSource(f"{path.name}: damaged JSON, {error}") from error
    if not isinstance(document, dict):
        raise UnreadableSource(f"{path.name}: not a STAC document")
    return document


def _features(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if document.get("type") == "Feature":
        return [document]
    features = document.get("features")
    return [f for f in features if isinstance(f, dict)] if isinstance(features, list) else []


def _links(document: Mapping[str, Any], *relations: str) -> list[str]:
    links = document.get("links")
    found = [link for link in links if isinstance(link, dict)] if isinstance(links, list) else []
    return [str(link["href"]) for link in found if link.get("rel") in relations and link.get("href")]


def _text(value: Any) -> str:
    """A value as text that can be kept: JSON may spell null characters and halves of surrogate pairs."""
    return str(value).replace("\0", "").encode("utf-8", "replace").decode()


def _number(value: Any) -> float | None:
    """A finite number; None for anything else."""
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _is_file(path: Path) -> bool:
    """Whether there is such a file; False also where nobody may look."""
    try:
        return path.is_file()
    except OSError:
        return False


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _rank(key: str, asset: Mapping[str, Any]) -> int | None:
    """How well an asset serves as the picture of its Item, 0 best; None for one that is no image."""
    media = str(asset.get("type") or "").split(";")[0].strip().lower()
    suffix = Path(str(asset["href"]).split("?")[0]).suffix.lower()
    if media not in _IMAGE_MEDIA if media else suffix not in _IMAGE_SUFFIXES:
        return None
    roles = asset.get("roles")
    roles = {str(r).lower() for r in roles} if isinstance(roles, list) else set()
    if roles & {"metadata", "cloud", "cloud-shadow", "snow-ice", "water-mask", "data-mask", "saturation"}:
        return None
    if "thumbnail" in roles or key == "thumbnail":
        return 4
    if "visual" in roles or key.lower() == "visual":
        return 0
    if "overview" in roles or key == "overview":
        return 3
    return 1 if "data" in roles else 2


def _bands(asset: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    bands = asset.get("bands") or asset.get("eo:bands")
    return [b for b in bands if isinstance(b, dict)] if isinstance(bands, list) else []


def _band_name(band: Mapping[str, Any]) -> str | None:
    for key in ("eo:common_name", "common_name", "name", "description"):
        if band.get(key):
            return str(band[key])
    return None


def _sensor(properties: Mapping[str, Any]) -> str | None:
    instruments = properties.get("instruments")
    first = instruments[0] if isinstance(instruments, list) and instruments else None
    said = [_text(v) for v in (properties.get("platform"), properties.get("constellation"), first) if v]
    return next((name for text in said if (name := sensor_name(text))), said[0].lower()[:64] if said else None)


def _time(properties: Mapping[str, Any]) -> TimeSpan | None:
    """The Item's time; None when it says none that can be read, or one that ends before it starts."""
    try:
        start, end = properties.get("start_datetime"), properties.get("end_datetime")
        if start and end:
            first, last = parse_time(str(start)).start, parse_time(str(end)).end
            return None if first is None or last is None or last < first else TimeSpan(first, last)
        moment = properties.get("datetime")
        return parse_time(str(moment)) if moment else None
    except BadTimeSpan:
        return None


def _footprint(item: Mapping[str, Any]) -> Footprint | None:
    """The Item's outline, else its box; None when neither is usable (the asset may know its place itself)."""
    try:
        geometry = item.get("geometry")
        if isinstance(geometry, dict):
            return geo.footprint_from_geojson(geometry)
        box = item.get("bbox")
        if isinstance(box, list) and len(box) in (4, 6):
            half = len(box) // 2
            return geo.footprint_from_bbox(BBox(*(float(v) for v in (*box[:2], *box[half : half + 2]))))
    except (BadFootprint, BadGeometry, TypeError, ValueError, OverflowError):
        return None
    return None


def _crs(said: Mapping[str, Any]) -> str | None:
    code, epsg, wkt = (said.get(key) for key in ("proj:code", "proj:epsg", "proj:wkt2"))
    return str(code) if code else f"EPSG:{epsg}" if epsg else str(wkt) if wkt else None


def _transform(value: Any) -> Affine | None:
    if not isinstance(value, list) or len(value) not in (6, 9):
        return None
    numbers = [number for v in value[:6] if (number := _number(v)) is not None]
    if len(numbers) < 6:
        return None
    a, b, c, d, e, f = numbers
    return (a, b, c, d, e, f)
