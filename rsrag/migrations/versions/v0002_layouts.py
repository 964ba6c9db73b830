"""Layouts of tiles, by which a place is known again, and an index of near-duplicates by their group.

Layouts of known tiles are made by ``rsrag reindex``.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "layouts",
        sa.Column("tile_id", sa.Text(), nullable=False),
        sa.Column("cells", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["tile_id"], ["tiles.id"], name="fk_layouts_tile_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("tile_id", name="pk_layouts"),
    )
    others = sa.text("group_id <> id")
    op.create_index("ix_tiles_group_id", "tiles", ["group_id"], sqlite_where=others, postgresql_where=others)


def downgrade() -> None:
    op.drop_index("ix_tiles_group_id", "tiles")
    op.drop_table("layouts")
