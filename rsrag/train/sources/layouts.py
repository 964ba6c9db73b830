"""The table of layouts, and the listing of a set."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rsrag.errors import SourceError
from rsrag.train.sources.captions import NOT_THERE, list_captions
from rsrag.train.sources.config import SourceConfig
from rsrag.train.sources.files import expand
from rsrag.train.sources.folders import list_folders
from rsrag.train.sources.gaia import list_gaia
from rsrag.train.sources.parquet import list_parquet
from rsrag.train.sources.record import Listing
from rsrag.train.sources.records import in_columns
from rsrag.train.sources.skyscript import list_skyscript
from rsrag.train.sources.webdataset import list_webdataset

_log = logging.getLogger("rsrag.train")

LAYOUTS: dict[str, Callable[[SourceConfig, str, Path], Listing]] = {
    "folders": list_folders,
    "captions": list_captions,
    "webdataset": list_webdataset,
    "skyscript": list_skyscript,
    "gaia": list_gaia,
    "parquet": list_parquet,
}
"""By the ``kind`` of a configuration: settings, name of the set and data directory to a listing."""


def set_name(source: SourceConfig) -> str:
    """Name of a set in manifests and class keys: ``name``, else the stem of its path (of the first of a pattern)."""
    name = source.name or Path(expand(source.path)[0]).stem
    return "_".join(name.replace("/", " ").split()) or "set"


def _draw(listing: Listing, limit: int) -> Listing:
    """At most ``limit`` records, those whose names have the smallest hash, in their order."""
    if not limit or len(listing.records) <= limit:
        return listing
    keys = listing.records.keys
    digests = b"".join(hashlib.blake2b(key.encode("utf-8"), digest_size=8).digest() for key in keys)
    chosen = np.sort(np.argsort(np.frombuffer(digests, ">u8"), kind="stable")[:limit])
    return Listing(in_columns(listing.records[row] for row in chosen), listing.problems)


def list_source(source: SourceConfig, data_dir: Path) -> Listing:
    """Pictures and texts of a set, nothing decoded yet.

    Raises:
        SourceError: the set is missing, unreadable, or has no picture of the wanted split; or no picture has the
            captions that were asked for by name.
    """
    listing = LAYOUTS[source.kind](source, set_name(source), Path(data_dir))
    where, records = Path(data_dir) / source.path, listing.records
    if not records:
        reason = f" ({listing.problems[0].reason}: {listing.problems[0].key})" if listing.problems else ""
        hint = None if listing.problems else "set split to one that the set has"
        if any(problem.reason == NOT_THERE for problem in listing.problems):
            hint = "set images to the folder in which the names begin"
        raise SourceError(f"{where} has no picture of split {source.split!r}{reason}", hint=hint)
    if source.captions and not len(records.texts):
        raise SourceError(
            f"{where}: no picture has a caption under {', '.join(source.captions)}",
            hint="captions names columns or keys of the set; without it the usual ones are taken",
        )
    if source.label and records.words == [""]:
        _log.warning("%s: no picture has a class under %s", where, source.label)
    return _draw(listing, source.limit)
