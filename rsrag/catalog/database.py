"""What every part of the catalogue builds on: transactions, upserts, and rows by id."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Table, delete, select
from sqlalchemy.sql import ColumnElement, Select

from rsrag.catalog.codec import Row, Values
from rsrag.catalog.connect import WRITES, translated
from rsrag.catalog.tables import Base

T = TypeVar("T")

IN_LIMIT = 500
"""Ids asked for in one statement."""


def table_of(model: type[Base]) -> Table:
    """The table behind a model."""
    table = model.__table__
    assert isinstance(table, Table)
    return table


def chunks(items: Iterable[T], size: int = IN_LIMIT) -> Iterator[list[T]]:
    """Lists of at most ``size`` items."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


class Database:
    """One database, used by any number of threads.

    Args:
        engine: of a database at the current schema.
        name: the database for messages, without password.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self.name = name
        # Both dialects have an INSERT … ON CONFLICT of their own, with the same methods.
        dialect = import_module(f"sqlalchemy.dialects.{engine.dialect.name}")
        self._insert: Callable[[Table], Any] = dialect.insert
        self._upserts: dict[tuple[type[Base], tuple[str, ...] | None], Any] = {}

    @contextmanager
    def _reading(self, doing: str) -> Iterator[Connection]:
        """A read transaction."""
        with translated(self.name, doing), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def _writing(self, doing: str) -> Iterator[Connection]:
        """A write transaction: all of it is there when the block ends, or none of it."""
        with translated(self.name, doing), self._engine.connect() as plain:
            connection = plain.execution_options(**{WRITES: True})
            with connection.begin():
                yield connection

    def _upsert(
        self, connection: Connection, model: type[Base], rows: Sequence[Values], *, only: Sequence[str] | None = None
    ) -> None:
        """Insert rows; where the key exists, replace all columns, or those in ``only``."""
        if not rows:
            return
        key = (model, None if only is None else tuple(only))
        statement = self._upserts.get(key)
        if statement is None:  # making one takes longer than running it
            statement = self._upserts[key] = self._upsert_into(table_of(model), only)
        connection.execute(statement, rows)

    def _upsert_into(self, table: Table, only: Sequence[str] | None) -> Any:
        keys = [column.name for column in table.primary_key]
        names = [column.name for column in table.c if column.name not in keys] if only is None else only
        statement = self._insert(table)
        if not names:
            return statement.on_conflict_do_nothing(index_elements=keys)
        given = statement.excluded
        return statement.on_conflict_do_update(index_elements=keys, set_={name: given[name] for name in names})

    def _all(self, doing: str, statement: Select[Any], make: Callable[[Any], T]) -> list[T]:
        with self._reading(doing) as connection:
            return [make(row) for row in connection.execute(statement).mappings()]

    def _one(self, doing: str, statement: Select[Any], make: Callable[[Any], T]) -> T | None:
        with self._reading(doing) as connection:
            row = connection.execute(statement).mappings().first()
            return None if row is None else make(row)

    def _ids(self, model: type[Base], batch: int = 10_000) -> Iterator[str]:
        """Every id of a table, in pages, so that no transaction stays open between them."""
        key = table_of(model).c.id
        last = ""
        while True:
            with self._reading("list ids") as connection:
                page = list(connection.scalars(select(key).where(key > last).order_by(key).limit(batch)))
            if not page:
                return
            yield from page
            last = page[-1]


def rows_in(connection: Connection, column: ColumnElement[str], ids: Iterable[str]) -> Iterator[Row]:
    """The rows of the column's table whose value is among ``ids``; one statement for each 500 of them."""
    table = column.table
    for chunk in chunks(dict.fromkeys(ids)):
        yield from connection.execute(select(table).where(column.in_(chunk))).mappings()


def ids_where(connection: Connection, column: ColumnElement[str], values: Iterable[str]) -> list[str]:
    """The ids of the column's table where the column is among ``values``."""
    key = column.table.c.id
    return [
        item
        for chunk in chunks(values)
        for item in connection.scalars(select(key).where(column.in_(chunk)).order_by(key))
    ]


def delete_in(connection: Connection, column: ColumnElement[str], ids: Iterable[str]) -> None:
    """Delete the rows of the column's table whose value is among ``ids``."""
    table = column.table
    for chunk in chunks(ids):
        connection.execute(delete(table).where(column.in_(chunk)))
