"""What the commands of the five tasks share: a context with or without an archive, files to write, results shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsrag.cli.session import Session, error_table
from rsrag.errors import UsageError, WorkspaceNotFound

if TYPE_CHECKING:
    from rsrag.adapters.base import Context, TaskResult

Out = Annotated[
    list[Path] | None,
    typer.Option(
        "--out",
        "-o",
        dir_okay=False,
        metavar="FILE",
        help="Write the result: .geojson, .gpkg, .tif, .png or .html by its ending. Repeat.",
    ),
]
ImageFile = Annotated[str, typer.Argument(metavar="IMAGE", help="Image file, or id of a scene or tile in the archive.")]


@contextmanager
def task_context(state: Session, *, archive: bool = False) -> Iterator[Context]:
    """The models and, where there is one, the archive; a task needs none unless ``archive`` says so.

    Raises:
        WorkspaceNotFound: an archive is needed, or named, and there is none.
    """
    from rsrag.adapters.base import Context
    from rsrag.cli.progress import progress_for

    try:
        path = state.locate()
    except WorkspaceNotFound:
        if archive or state.workspace is not None:
            raise
        path = None
    if path is None:
        with bare_context(state) as context:
            yield context
        return
    with progress_for(state.err) as progress:
        from rsrag.engine import open as open_engine

        with open_engine(path, **state.settings) as engine:
            yield Context(engine.profile, engine.settings, engine, progress)


@contextmanager
def bare_context(state: Session) -> Iterator[Context]:
    """The models that were asked for, and no archive."""
    from rsrag.adapters.base import Context
    from rsrag.cli.progress import progress_for
    from rsrag.config import resolve
    from rsrag.models.registry import load_profile

    settings = resolve(None, state.settings).settings
    with progress_for(state.err) as progress:
        yield Context(load_profile(settings), settings, None, progress)


def check_outputs(out: Sequence[Path] | None, *, task: str = "", rasters: bool = True) -> None:
    """Refuse files that cannot be written, before any work is done.

    Args:
        out: files to write.
        task: name of the task, for the message.
        rasters: whether the task gives layers with the options that it was given.

    Raises:
        UsageError: an ending that names no form that the task gives, or no such folder.
    """
    from rsrag.adapters.outputs import check_ending

    for path in out or ():
        check_ending(path, task=task, rasters=rasters)


def check_map(out: Sequence[Path] | None, image: str, context: Context, *, bands: str | None = None) -> None:
    """Refuse maps of an image without a position, before any work is done; only for them is the image opened.

    Args:
        out: files to write.
        image: file, or id of a scene or tile of the archive.
        context: with the archive, for ids.
        bands: which band is what, as the task is told.

    Raises:
        UsageError: a form that needs a position, and the image has none.
        SourceError: the image cannot be used.
    """
    from rsrag.adapters.outputs import MAPS, check_located

    if not any(path.suffix.lower() in MAPS for path in out or ()):
        return
    from rsrag.adapters.look import opened, reading

    with opened(image, context, options=reading(bands)) as view:
        for path in out or ():
            check_located(path, view.subject)


def finish(
    state: Session, result: TaskResult, out: Sequence[Path] | None, *, also: Callable[[], None] = lambda: None
) -> None:
    """Show the result, or print it as JSON, and write the files; the answer is there even if a file cannot be written.

    Args:
        state: of the command.
        result: what the task found.
        out: files to write.
        also: shows what follows the result for people.

    Raises:
        UsageError: a file cannot be written; all others were.
    """
    for warning in result.warnings:
        state.warn(warning)
    if not state.as_json:
        show(state, result)
        also()
    errors = _write(state, result, out)
    if state.as_json:
        state.emit(as_table(result) | ({"error": error_table(errors[0])} if errors else {}))
    for error in errors[1:]:
        state.warn(error.message)
    if errors:
        state.as_json = False  # the one object is out, with the error in it: what follows is for standard error alone
        raise errors[0]


def _write(state: Session, result: TaskResult, out: Sequence[Path] | None) -> list[UsageError]:
    """Write what can be written, and give back why the rest cannot."""
    from rsrag.adapters.outputs import write

    errors = []
    for path in out or ():
        try:
            write(result, path)
        except UsageError as error:
            errors.append(error)
        else:
            state.note(f"written to {path}")
    return errors


def as_table(result: TaskResult) -> dict[str, object]:
    """A result as one JSON object: everything but pixels."""
    from dataclasses import fields

    from rsrag.adapters.base import TaskResult

    hidden = {"picture", "layers", "looks"}
    table: dict[str, object] = {f.name: getattr(result, f.name) for f in fields(result) if f.name not in hidden}
    for name, value in table.items():
        if isinstance(value, tuple) and any(isinstance(item, TaskResult) for item in value):
            table[name] = [as_table(item) for item in value]
    table["text"] = result.text
    table["layers"] = [
        {"name": y.name, "kind": y.kind, "unit": y.unit, "legend": {e.value: e.label for e in y.legend}}
        for y in result.layers
    ]
    return table


def show(state: Session, result: TaskResult) -> None:
    """The sentences, then a table of numbers, one of regions, and what the numbers in brackets stand for."""
    from rich.table import Table

    from rsrag.cli.text import line
    from rsrag.facts import label, position_text, value_text

    state.out.print(line(result.text))
    if result.facts:
        table = Table(box=None, show_header=False, pad_edge=False)
        for fact in result.facts:
            table.add_row(line(label(fact.name), "dim"), line(value_text(fact)))
        state.out.print(table)
    if result.regions:
        table = Table("", "what", "score", "box (px)", "centre", "area", box=None, pad_edge=False, header_style="dim")
        for number, region in enumerate(result.regions[:20], start=1):
            area = next((value_text(f) for f in region.facts if f.name == "area"), "")
            where = position_text(*region.centre) if region.centre else ""
            box = " ".join(f"{v:.0f}" for v in region.box)
            table.add_row(str(number), line(region.label), f"{region.score:.2f}", box, where, area)
        state.out.print(table)
        if len(result.regions) > 20:
            state.out.print(
                line(f"and {len(result.regions) - 20} more: --out FILE.geojson or --json has them all", "dim")
            )
    _show_cited(state, result)


_CITED_LENGTH = 200
"""Characters of a piece of evidence that are shown."""


def _show_cited(state: Session, result: TaskResult) -> None:
    """The evidence that sentences cite, under its numbers."""
    from rich.table import Table

    from rsrag.cli.text import line
    from rsrag.plain import clipped

    cited = {number for sentence in result.sentences for number in sentence.citations}
    table = Table("", "evidence", box=None, pad_edge=False, header_style="dim")
    for evidence in result.evidence:
        if evidence.number in cited:
            table.add_row(line(f"[{evidence.number}]"), line(clipped(evidence.text, _CITED_LENGTH)))
    if table.row_count:
        state.out.print(table)
