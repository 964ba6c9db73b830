"""A suite's result as files: ``report.json``, ``report.html`` that stands alone, and its charts as PNG."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from rsrag._version import __version__
from rsrag.errors import UsageError
from rsrag.eval.reports import charts
from rsrag.eval.reports.published import is_published
from rsrag.eval.reports.result import SuiteResult
from rsrag.models.base import Picture

Table = Sequence[Mapping[str, Any]]
"""Rows of a table, all with the same columns."""
_PANELS = 6


@dataclass(frozen=True, slots=True)
class DetailedResult(SuiteResult):
    """A result with tables (per class, by bin, ...) that are too long for the figures.

    Attributes:
        tables: title → rows; all of them stand in a report.
        shown: titles of the tables that are also printed for people.
    """

    tables: Mapping[str, Table] = field(default_factory=dict)
    shown: tuple[str, ...] = ()

    def to_json(self) -> str:
        """One JSON object: suite, metrics, rows, details, tables."""
        return json.dumps(as_dict(self), ensure_ascii=False)

    def to_text(self) -> str:
        """The methods and their figures, the details, and the tables to be shown."""
        names = list(self.metrics)
        body = [[method, *(_figure(found.get(name)) for name in names)] for method, found in self.rows.items()]
        lines = _aligned([["", *names], *body])
        lines += [f"{name}: {_said(value)}" for name, value in self.details.items()]
        for title in self.shown:
            table = self.tables[title]
            cells = [[_figure(value) for value in row.values()] for row in table]
            lines += ["", title, *_aligned([list(table[0]), *cells])]
        return "\n".join(lines)


def as_dict(result: SuiteResult) -> dict[str, Any]:
    """A result as plain JSON data."""
    plain: dict[str, Any] = {
        "suite": result.suite,
        "metrics": dict(result.metrics),
        "rows": {name: dict(found) for name, found in result.rows.items()},
        "details": dict(result.details),
    }
    if isinstance(result, DetailedResult):
        plain["tables"] = {title: [dict(row) for row in table] for title, table in result.tables.items()}
    return plain


def write_report(result: SuiteResult, folder: Path, pictures: Mapping[str, Picture] | None = None) -> Path:
    """Write a result with its charts: bars of our rows beside the published ones, and what else is given.

    Args:
        result: what was measured; rows named by :attr:`rsrag.eval.reports.published.Published.title` are drawn in grey,
            as is chance.
        folder: made when it is not there; files of the same names are replaced.
        pictures: caption → uint8 RGB of shape [H, W, 3]; files are named after the captions.

    Returns:
        Path of ``report.html``. Beside it lie ``report.json`` and ``report.png`` (the bars).

    Raises:
        UsageError: the folder cannot be written.
    """
    quiet = [row for row in result.rows if is_published(row) or row.startswith("chance")]
    title = "Our figures beside published ones" if any(map(is_published, quiet)) else "Figures"
    drawn = {title: charts.bars(result.rows, panels(result), quiet), **(pictures or {})}
    encoded = {caption: _png(picture) for caption, picture in drawn.items()}
    names = _file_names(list(encoded), title)
    document = {**as_dict(result), "rsrag": __version__, "pictures": {names[c]: c for c in names}}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for caption, data in encoded.items():
            (folder / names[caption]).write_bytes(data)
        text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
        (folder / "report.json").write_text(text, encoding="utf-8")
        path = folder / "report.html"
        path.write_text(_html(result, encoded), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write the report to {folder}: {error}") from error
    return path


def panels(result: SuiteResult) -> list[str]:
    """The figures worth a panel: those that published rows share with ours, else the first of ours."""
    theirs = [found for row, found in result.rows.items() if is_published(row)]
    shared = [name for name in result.metrics if any(name in found for found in theirs)]
    return (shared or list(result.metrics))[:_PANELS]


def _file_names(captions: Sequence[str], title: str) -> dict[str, str]:
    """A file name for each caption, "report.png" for the title; equal ones are told apart by a number."""
    names: dict[str, str] = {}
    taken = {"report"}
    for caption in captions:
        if caption == title:
            names[caption] = "report.png"
            continue
        stem = slug = _slug(caption)
        number = 1
        while stem in taken:
            number += 1
            stem = f"{slug}-{number}"
        taken.add(stem)
        names[caption] = f"{stem}.png"
    return names


def _slug(caption: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", caption.lower()).strip("-")[:60] or "picture"


def _png(picture: Picture) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _figure(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_figure(found)}" for name, found in value.items())
    return ", ".join(str(v) for v in value) if isinstance(value, list | tuple) else _figure(value)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the first column to the left and the others to the right."""
    count = max((len(row) for row in rows), default=0)
    widths = [max((len(row[i]) for row in rows if i < len(row)), default=0) for i in range(count)]
    return [
        "  ".join(cell.ljust(widths[0]) if i == 0 else cell.rjust(widths[i]) for i, cell in enumerate(row)).rstrip()
        for row in rows
    ]


# --- page -----------------------------------------------------------------------------------------------------------

_STYLE = """
table { border-collapse: collapse; font-size: 14.5px; margin: 0 0 14px; }
th, td { text-align: right; padding: 4px 12px; border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; }
.published td { color: var(--soft); }
.scroll { overflow-x: auto; }
figure { margin: 0 0 22px; overflow-x: auto; }
figure img { max-width: 100%; height: auto; border: 1px solid var(--line); border-radius: 10px; background: #fff; }
.leaked { background: var(--warm-bg); color: var(--warm); border-radius: 8px; padding: 10px 14px; font-weight: 700; }
"""


def _html(result: SuiteResult, pictures: Mapping[str, bytes]) -> str:
    style = (files("rsrag") / "report.css").read_text(encoding="utf-8") + _STYLE
    title = f"rsrag eval {result.suite}"
    parts = [f"<h1>{escape(title)}</h1>"]
    if "LEAKED" in result.details:
        parts.append(f'<p class="leaked">{escape(str(result.details["LEAKED"]))}</p>')
    parts.append(_methods(result))
    for caption, data in pictures.items():
        uri = "data:image/png;base64," + base64.b64encode(data).decode("ascii")
        wide = int.from_bytes(data[16:20], "big") // 2  # charts are drawn at twice their size
        parts.append(
            f'<figure><img alt="{escape(caption)}" width="{wide}" src="{uri}">'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )
    details = "".join(f"<dt>{escape(n)}</dt><dd>{escape(_said(v))}</dd>" for n, v in result.details.items())
    parts.append(f'<h2>What the figures depend on</h2><dl class="about">{details}</dl>')
    if isinstance(result, DetailedResult):
        parts += [_table(title, table) for title, table in result.tables.items()]
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}</style></head><body>'
        f'<div class="top"><span class="brand">rsrag</span><span>{__version__}</span></div>'
        f"<main>{''.join(parts)}</main></body></html>\n"
    )


def _methods(result: SuiteResult) -> str:
    names = list(result.metrics)
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = "".join(
        f"<tr{' class=published' if is_published(method) else ''}><td>{escape(method)}</td>"
        + "".join(f"<td>{_figure(found.get(name))}</td>" for name in names)
        + "</tr>"
        for method, found in result.rows.items()
    )
    return f'<div class="scroll"><table><tr><th></th>{head}</tr>{rows}</table></div>'


def _table(title: str, table: Table) -> str:
    if not table:
        return ""
    head = "".join(f"<th>{escape(str(name))}</th>" for name in table[0])
    rows = "".join("<tr>" + "".join(f"<td>{escape(_figure(v))}</td>" for v in r.values()) + "</tr>" for r in table)
    return f'<h2>{escape(title)}</h2><div class="scroll"><table><tr>{head}</tr>{rows}</table></div>'
