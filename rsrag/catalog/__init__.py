"""The catalogue: scenes, tiles, places, documents, passages and runs in SQLite or PostgreSQL.

It is the truth of a workspace; the vector index can be rebuilt from it alone.
"""

from rsrag.catalog.names import name_key
from rsrag.catalog.records import PassageRow, RemovedIds, RunRecord, SourceRecord, SourceStatus, TileRow
from rsrag.catalog.store import Catalog

__all__ = [
    "Catalog",
    "PassageRow",
    "RemovedIds",
    "RunRecord",
    "SourceRecord",
    "SourceStatus",
    "TileRow",
    "name_key",
]
