"""The first schema."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.schema import SchemaItem

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _text(name: str, *, null: bool = False, key: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=null, primary_key=key)


def _json(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON(), nullable=null)


def _number(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Double(), nullable=null)


def _count(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _time(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=null)


def _box() -> list[sa.Column[Any]]:
    return [_number(side, null=True) for side in ("west", "south", "east", "north")]


def _span() -> list[sa.Column[Any]]:
    return [
        sa.Column("timed", sa.Boolean(), nullable=False),
        _time("time_start", null=True),
        _time("time_end", null=True),
    ]


def _child(table: str, column: str, of: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [of], name=f"fk_{table}_{column}", ondelete="CASCADE")


def _table(name: str, *parts: SchemaItem) -> None:
    keys = [part.name for part in parts if isinstance(part, sa.Column) and part.primary_key]
    op.create_table(name, *parts, sa.PrimaryKeyConstraint(*keys, name=f"pk_{name}"))


def _index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))


def upgrade() -> None:
    """Create every table."""
    _journal()
    _imagery()
    _knowledge()


def _journal() -> None:
    _table(
        "runs",
        _text("id", key=True),
        _text("command"),
        _json("argv"),
        _time("started"),
        _time("finished", null=True),
        _text("status"),
        _count("done"),
        _count("skipped"),
        _count("failed"),
    )
    _index("runs", "started")
    _table(
        "sources",
        _text("path", key=True),
        _text("digest"),
        _text("kind"),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        _text("status"),
        _text("run_id", null=True),
        _json("options", null=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_sources_run_id"),
    )
    _table(
        "origins",
        _text("kind", key=True),
        _text("item_id", key=True),
        _text("source_path", key=True),
        _child("origins", "source_path", "sources.path"),
    )
    _index("origins", "source_path")
    _table(
        "errors",
        sa.Column("id", sa.Integer(), nullable=False, primary_key=True),
        _text("run_id", null=True),
        _text("source"),
        _text("code"),
        _text("reason"),
        _json("window", null=True),
        _time("at"),
        _child("errors", "run_id", "runs.id"),
    )
    _index("errors", "source")
    _index("errors", "run_id")
    _table("meta", _text("key", key=True), _json("value"))


def _imagery() -> None:
    _table(
        "scenes",
        _text("id", key=True),
        _text("source"),
        _text("digest"),
        _text("collection"),
        _count("width"),
        _count("height"),
        _json("bands"),
        _json("footprint", null=True),
        *_box(),
        _text("crs", null=True),
        _json("transform", null=True),
        _number("gsd_m", null=True),
        *_span(),
        _text("sensor", null=True),
        _text("title", null=True),
        _text("licence", null=True),
        _text("stretch", null=True),
        _json("properties"),
    )
    _index("scenes", "collection")
    _index("scenes", "time_start", "time_end")
    _index("scenes", "south", "north", "west", "east")
    _table(
        "tiles",
        _text("id", key=True),
        _text("scene_id"),
        _count("window_col"),
        _count("window_row"),
        _count("window_width"),
        _count("window_height"),
        _number("scale"),
        _text("digest"),
        sa.Column("phash", sa.BigInteger(), nullable=False),
        _json("footprint", null=True),
        *_box(),
        _json("facts"),
        _text("group_id", null=True),
        _child("tiles", "scene_id", "scenes.id"),
    )
    _index("tiles", "scene_id", "id")
    _index("tiles", "digest", "id")
    _table(
        "looks",
        sa.Column("piece", sa.Integer(), nullable=False, primary_key=True, autoincrement=False),
        _text("tile_id", key=True),
        sa.Column("phash", sa.BigInteger(), nullable=False),
        _child("looks", "tile_id", "tiles.id"),
    )
    _index("looks", "tile_id")
    _table(
        "thumbnails",
        _text("tile_id", key=True),
        sa.Column("jpeg", sa.LargeBinary(), nullable=False),
        _child("thumbnails", "tile_id", "tiles.id"),
    )
    _table(
        "embeddings",
        _text("owner_id", key=True),
        _text("name", key=True),
        _text("fingerprint"),
        _count("dim"),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
    )


def _knowledge() -> None:
    _table(
        "places",
        _text("id", key=True),
        _text("name"),
        _text("source"),
        _number("lon"),
        _number("lat"),
        _text("kind", null=True),
        _text("country", null=True),
        _json("aliases"),
        _json("extent", null=True),
        *_box(),
        _json("facts"),
        _text("licence", null=True),
    )
    _index("places", "south", "north", "west", "east")
    _table(
        "place_names",
        _text("key", key=True),
        _text("place_id", key=True),
        sa.Column("alias", sa.Boolean(), nullable=False),
        _child("place_names", "place_id", "places.id"),
    )
    _index("place_names", "place_id")
    _table(
        "documents",
        _text("id", key=True),
        _text("source"),
        _text("digest"),
        _text("title"),
        _text("licence", null=True),
        _json("properties"),
    )
    _table(
        "passages",
        _text("id", key=True),
        _text("document_id"),
        _count("ordinal"),
        _text("text"),
        _text("heading", null=True),
        _text("place_id", null=True),
        _number("lon", null=True),
        _number("lat", null=True),
        *_span(),
        _json("facts"),
        _text("picture", null=True),
        _json("sources"),
        _child("passages", "document_id", "documents.id"),
    )
    _index("passages", "document_id", "ordinal")
    _index("passages", "place_id")
