"""Parquet tables with pictures as bytes, as the image column of Hugging Face datasets, or as paths."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rsrag.errors import MissingExtra, SourceError, UnreadableSource
from rsrag.train.sources.captions import known
from rsrag.train.sources.config import SourceConfig
from rsrag.train.sources.files import find, open_files
from rsrag.train.sources.places import Place
from rsrag.train.sources.record import Gather, Listing

_PICTURE = ("image", "img", "picture", "jpg", "png", "img_content", "bytes", "content")
_PATH = ("image_path", "filepath", "filename", "path", "file")
_TEXT = ("captions", "caption", "sentences", "text", "title", "title_multi_objects")
_LABEL = ("class", "label")
_GROUPS_KEPT = 4


class Groups:
    """The pictures of the row groups that were read last: a few in all, of however many files."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Path, int, str], list[Any]] = OrderedDict()

    def column(self, table: Table, group: int, column: str) -> list[Any]:
        """Cells of a column of a row group, read when they are not kept.

        Raises:
            UnreadableSource: it is damaged.
        """
        place = (table.path, group, column)
        with self._lock:
            cells = self._kept.pop(place, None)
            if cells is None:
                cells = [one[column] for one in table.rows(group, [column])]
            self._kept[place] = cells
            while len(self._kept) > _GROUPS_KEPT:
                self._kept.popitem(last=False)
        return cells


class Table:
    """One Parquet file. Pictures are read by row group.

    Args:
        path: the file.
        groups: keeps row groups; its own when not given.

    Attributes:
        path: the file.
        columns: names of its columns.
    """

    def __init__(self, path: Path, groups: Groups | None = None) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as exc:
            raise MissingExtra("reading Parquet", extra="parquet", package="pyarrow") from exc
        self.path = path
        self._arrow, self._open = pyarrow, parquet.ParquetFile
        self._damage = (OSError, ValueError, pyarrow.ArrowException)
        self._groups = groups or Groups()
        try:
            with self._open(path) as file:
                self._metadata, self._schema = file.metadata, file.schema_arrow
        except self._damage as exc:
            raise UnreadableSource(f"{path} is no usable Parquet file: {exc}") from exc
        self.columns: list[str] = list(self._schema.names)

    def column(self, wanted: str, usual: tuple[str, ...]) -> str | None:
        """The column asked for, else the first usual one that is there.

        Raises:
            UnreadableSource: the one asked for is not there.
        """
        if wanted and wanted not in self.columns:
            raise UnreadableSource(f"{self.path} has no column {wanted!r}", hint=f"it has {', '.join(self.columns)}")
        return wanted or next((name for name in usual if name in self.columns), None)

    def holds_bytes(self, column: str) -> bool:
        """Whether a column holds pictures; else it holds their paths."""
        types, kind = self._arrow.types, self._schema.field(column).type
        return bool(types.is_struct(kind) or types.is_binary(kind) or types.is_large_binary(kind))

    def class_names(self, column: str | None) -> list[str]:
        """Names behind the numbers of a class column, as Hugging Face datasets store them."""
        stored = (self._schema.metadata or {}).get(b"huggingface", b"{}")
        try:
            return list(json.loads(stored)["info"]["features"][column]["names"])
        except (ValueError, KeyError, TypeError):
            return []

    def groups(self) -> range:
        """Numbers of the row groups."""
        return range(self._metadata.num_row_groups)

    def rows(self, group: int, columns: list[str]) -> list[dict[str, Any]]:
        """Rows of a row group. Texts are bytes when the group holds any that is no UTF-8.

        Raises:
            UnreadableSource: it is damaged.
        """
        try:
            with self._open(self.path, metadata=self._metadata) as file:
                table = file.read_row_group(group, columns=columns)
            try:
                found: list[dict[str, Any]] = table.to_pylist()
            except UnicodeDecodeError:
                found = self._as_bytes(table).to_pylist()
        except self._damage as exc:
            raise UnreadableSource(f"{self.path.name}: row group {group} is damaged: {exc}") from exc
        return found

    def _as_bytes(self, table: Any) -> Any:
        """``table`` with its columns of texts, and of lists of texts, as bytes."""
        arrow, types = self._arrow, self._arrow.types
        for position, field in enumerate(table.schema):
            if types.is_string(field.type) or types.is_large_string(field.type):
                table = table.set_column(position, field.name, table.column(position).cast(arrow.large_binary()))
            elif types.is_list(field.type) and types.is_string(field.type.value_type):
                table = table.set_column(position, field.name, table.column(position).cast(arrow.list_(arrow.binary())))
        return table

    def picture(self, group: int, row: int, column: str) -> bytes:
        """Bytes of one picture.

        Raises:
            UnreadableSource: its row group is damaged, or the row has none.
        """
        value = self._groups.column(self, group, column)[row]
        value = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(value, bytes):
            raise UnreadableSource(f"{self.path.name}: row {row} of group {group} has no picture")
        return value


class Cells:
    """Pictures of one column of a file, by row group and row."""

    def __init__(self, table: Table, column: str) -> None:
        self._table, self._column = table, column

    @property
    def about(self) -> tuple[str, ...]:
        """How they are found again, see :class:`rsrag.train.sources.places.Holder`."""
        return "parquet", str(self._table.path), self._column

    def picture(self, name: str, first: int, second: int) -> bytes:
        """Bytes of a cell, see :class:`rsrag.train.sources.places.Holder`."""
        return self._table.picture(first, second, self._column)


def _text(value: Any) -> str:
    """A cell as text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def _rows(table: Table, columns: list[str], split: str, gather: Gather) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Group number, row number and cells of the rows of a split; a damaged group is noted."""
    for group in table.groups():
        try:
            rows = table.rows(group, columns)
        except SourceError as exc:
            gather.problem(f"{table.path.name}, row group {group}", "file", exc.message)
            continue
        for number, row in enumerate(rows):
            if _text(row.get("split")) in ("", split):
                yield group, number, row


def _add_table(source: SourceConfig, table: Table, shown: str, data_dir: Path, gather: Gather) -> None:
    """Add the rows of one file."""
    path = table.path
    picture = table.column(source.picture, (*_PICTURE, *_PATH))
    if picture is None:
        hint = f"set picture to one of {', '.join(table.columns)}"
        raise UnreadableSource(f"{path} has no column of pictures", hint=hint)
    label = table.column(source.label, _LABEL)
    names = table.class_names(label)
    texts = [table.column(column, ()) for column in source.captions] or [table.column("", _TEXT)]
    inside = table.holds_bytes(picture)
    files = None if inside else open_files(data_dir / source.images if source.images else path.parent)
    present = set(files.names) if files else set()
    wanted = [*texts, label, "split", None if inside else picture]
    columns = [column for column in dict.fromkeys(wanted) if column in table.columns]
    cells = Cells(table, picture)
    for group, number, row in _rows(table, columns, source.split, gather):
        value = row.get(label) if label else None
        if isinstance(value, int) and 0 <= value < len(names):
            value = names[value]
        key: str | None = f"{shown}/{group}-{number}"
        if files is not None:
            key = known(_text(row.get(picture)), present, gather)
        if key is not None:
            place = Place(cells, "", group, number) if files is None else files.place(key)
            gather.add(key, place, label=value, captions=[row.get(column) for column in texts if column])


def list_parquet(source: SourceConfig, name: str, data_dir: Path) -> Listing:
    """Pictures of one or several Parquet files.

    ``picture`` is a column of bytes, of ``{bytes, path}``, or of paths below ``images``. Caption columns hold texts or
    lists of texts. A ``split`` column, if any, chooses the rows. A damaged file or row group is noted.

    Raises:
        MissingExtra: pyarrow is not installed.
        SourceError: a file is missing, none can be read, or a column that was asked for is not there.
    """
    gather = Gather(name)
    paths = find(source.path, data_dir, ".parquet", source.split)
    groups, broken = Groups(), list[SourceError]()
    for path in paths:
        shown = path.relative_to(data_dir).as_posix() if path.is_relative_to(data_dir) else path.name
        try:
            _add_table(source, Table(path, groups), shown, data_dir, gather)
        except SourceError as exc:
            broken.append(exc)
            gather.problem(shown, "file", exc.message)
    if len(broken) == len(paths):
        raise broken[0]
    return gather.listing()
