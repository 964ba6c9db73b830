"""``rsrag ingest``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsrag.cli.options import AsJson, Bands
from rsrag.cli.session import Session, session
from rsrag.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rsrag.ingest.pipeline import IngestSummary
    from rsrag.types import ItemError

_SHOWN_SOURCES, _SHOWN_REASONS = 20, 3


def ingest(
    ctx: typer.Context,
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="SOURCES", help="Images, folders, STAC on disk. Knowledge files in folders count too."),
    ] = None,
    knowledge: Annotated[
        list[Path] | None,
        typer.Option(
            "--knowledge",
            "-k",
            metavar="FILE",
            help="Places or documents: GeoJSON, GeoPackage, CSV, Markdown, PDF, JSONL.",
        ),
    ] = None,
    collection: Annotated[
        str | None, typer.Option(metavar="NAME", help="Collection the scenes join. Default: from the source.")
    ] = None,
    bands: Bands = None,
    sensor: Annotated[str | None, typer.Option(metavar="NAME", help="Sensor, where the source does not say.")] = None,
    when: Annotated[
        str | None, typer.Option("--datetime", metavar="DATE|START/END", help="Date, where the source does not say.")
    ] = None,
    crs: Annotated[
        str | None, typer.Option(metavar="CRS", help="CRS, where the source does not say, such as EPSG:32633.")
    ] = None,
    allow_unlocated: Annotated[
        bool, typer.Option("--allow-unlocated", help="Take images without a position, too.")
    ] = False,
    scales: Annotated[
        str, typer.Option(metavar="auto|N,N,…", help="Scene pixels per tile pixel, such as 1,2,4.")
    ] = "auto",
    tile_size: Annotated[
        int | None, typer.Option(metavar="N", min=32, max=4096, help="Side of a tile in pixels.")
    ] = None,
    max_tiles: Annotated[int | None, typer.Option(metavar="N", min=1, help="Most tiles one scene may give.")] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="ROLE=COLUMN,…", help="Columns of places, such as name=site,lon=x,lat=y.")
    ] = None,
    licence: Annotated[str | None, typer.Option(metavar="TEXT", help="Licence of the sources.")] = None,
    asset: Annotated[
        str | None, typer.Option(metavar="KEY", help="Asset of STAC items to read. Default: the best visual one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Bring imagery and knowledge into the archive.

    What is there already and unchanged is left alone; what changed is replaced. After an interruption the same command
    goes on where it stopped. Without a workspace, ./archive.rsrag is made.
    """
    state = session(ctx, as_json=as_json, tile_size=tile_size, max_tiles=max_tiles)
    if not sources and not knowledge:
        raise UsageError("nothing to ingest", hint="rsrag ingest FOLDER --knowledge FILE")
    from rsrag.cli.progress import progress_for
    from rsrag.filters import parse_columns
    from rsrag.ingest.pipeline import IngestOptions

    options = IngestOptions(
        collection=collection,
        bands=bands,
        sensor=sensor,
        when=when,
        crs=crs,
        allow_unlocated=allow_unlocated,
        scales=scales,
        columns=parse_columns(columns),
        licence=licence,
        asset=asset,
    )
    with state.open(create=True) as engine, progress_for(state.err) as progress:
        summary = engine.ingest(sources or (), knowledge=knowledge or (), options=options, progress=progress)
    if state.as_json:
        state.emit(summary)
    show_summary(state, summary)
    raise typer.Exit(summary.exit_code)


def show_summary(state: Session, summary: IngestSummary) -> None:
    """Counts and errors of an ingest; with ``--json`` on standard error."""
    from rsrag.cli.text import line

    console = state.err if state.as_json else state.out
    _show_errors(state, summary.errors)
    sources = ", ".join(
        f"{count} {name}"
        for name in ("done", "skipped", "failed", "removed")
        if (count := getattr(summary, name)) or name == "done"
    )
    tiles = f"{summary.tiles:,} tiles"
    extra = [f"{n:,} {w}" for n, w in ((summary.tiles_blank, "blank"), (summary.tiles_failed, "failed")) if n]
    tiles += f" ({', '.join(extra)})" if extra else ""
    text = line("Sources ", "bold").append_text(line(sources)).append(" ")
    text.append_text(line(" Written ", "bold"))
    text.append_text(line(f"{tiles}, {summary.places:,} places, {summary.passages:,} passages"))
    console.print(text.append_text(line(f" in {summary.seconds:.1f} s", "dim")))
    if summary.done and summary.exit_code == ExitCode.NOTHING:
        state.note("nothing of it will be found: no tile shows anything" if summary.tiles_blank else "nothing in it")
    if summary.interrupted or summary.exit_code == ExitCode.INTERRUPTED:
        state.note("interrupted: resume with the same command")


def _show_errors(state: Session, errors: Sequence[ItemError]) -> None:
    """What could not be used, by source and kind of error: the first reasons of each."""
    from rsrag.cli.text import line

    reasons: dict[tuple[str, str], list[str]] = {}
    for error in errors:
        reasons.setdefault((error.source, error.code), []).append(error.reason)
    for (source, code), found in list(reasons.items())[:_SHOWN_SOURCES]:
        more = f"; and {len(found) - _SHOWN_REASONS} more" if len(found) > _SHOWN_REASONS else ""
        shown = line(f"{code} ", style="yellow").append_text(line(source, "bold"))
        state.err.print(shown.append_text(line(f": {'; '.join(found[:_SHOWN_REASONS])}{more}")), soft_wrap=True)
    if len(reasons) > _SHOWN_SOURCES:
        state.note(f"… and {len(reasons) - _SHOWN_SOURCES} more sources")
