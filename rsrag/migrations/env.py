"""Runs migrations on the connection that :func:`rsrag.catalog.schema.upgrade` hands over, in its transaction."""

from alembic import context

from rsrag.catalog.schema import VERSION_TABLE
from rsrag.catalog.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
