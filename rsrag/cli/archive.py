"""Commands about a workspace as a whole: init, status, verify, reindex, export, config."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from rsrag.cli.options import AsJson
from rsrag.cli.session import DEFAULT_WORKSPACE, holds_workspace, session

config_app = typer.Typer(help="Settings and where each value comes from.", no_args_is_help=True)


def init(
    ctx: typer.Context,
    path: Annotated[
        Path | None, typer.Argument(metavar="PATH", help=f"Directory to make. Default: ./{DEFAULT_WORKSPACE}.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Models: mini, base, large, or a TOML file.")
    ] = None,
    index: Annotated[str | None, typer.Option(metavar="URL", help="Qdrant server; default: embedded.")] = None,
    catalog: Annotated[str | None, typer.Option(metavar="URL", help="Catalogue database; default: SQLite.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a workspace, the directory of an archive."""
    state = session(ctx, as_json=as_json)
    from rsrag.config import FILE_NAME, resolve
    from rsrag.models.registry import rows_of
    from rsrag.workspace import create

    target = path or state.workspace or Path(DEFAULT_WORKSPACE)
    given = {"profile": profile, "index": index, "catalog": catalog}
    rows_of(resolve(None, given).settings)  # a profile that is not there is told now, not at the first ingest
    if any(given.values()) and holds_workspace(target):
        state.warn(f"{target} is a workspace already and keeps its settings; change them in {target / FILE_NAME}")
    made = create(target, given)
    if state.as_json:
        state.emit({"workspace": str(made.path), "settings": str(made.path / "rsrag.toml")})
    else:
        from rsrag.cli.text import line

        state.out.print(line("Workspace ", "bold").append_text(line(made.path)))
        state.note(f"next: rsrag -w {shlex.quote(str(made.path))} ingest FOLDER --knowledge FILE")


def status(ctx: typer.Context, as_json: AsJson = False) -> None:
    """What the archive holds, its models and last runs."""
    state = session(ctx, as_json=as_json)
    with state.open() as engine:
        found = engine.status()
    if state.as_json:
        state.emit(found)
        return
    from rsrag.cli.render import show_record

    counts = found["counts"]
    rows: list[tuple[str, Any]] = [(name, found[name]) for name in ("catalog", "index", "profile")]
    rows += [(f"model, {role}", name) for role, name in found["models"].items()]
    rows += [(name, f"{count:,}") for name, count in counts.items()]
    rows += [(f"indexed {name}", f"{count:,}") for name, count in found["indexed"].items()]
    rows += [("last run" if n == 0 else "run before", _run_text(run)) for n, run in enumerate(found["runs"])]
    show_record(state.out, found["workspace"], rows)
    if not counts.get("tiles") and not counts.get("passages"):
        state.note("the archive is empty: rsrag ingest FOLDER --knowledge FILE")


def _run_text(run: Any) -> str:
    started = run.started.strftime("%Y-%m-%d %H:%M UTC")
    return f"{run.command} {started}: {run.status}, {run.done} done, {run.skipped} skipped, {run.failed} failed"


def verify(
    ctx: typer.Context,
    deep: Annotated[bool, typer.Option("--deep", help="Read every source again and compare digests.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare sources, catalogue and index.

    Exit code 3 when they disagree; each problem says what to do.
    """
    state = session(ctx, as_json=as_json)
    from rsrag.cli.progress import progress_for
    from rsrag.cli.text import line

    with state.open() as engine, progress_for(state.err) as progress:
        report = engine.verify(deep=deep, progress=progress)
    if state.as_json:
        state.emit(report)
    else:
        state.out.print(line(", ".join(f"{count:,} {name}" for name, count in report.counts.items())))
        for problem in report.problems:
            text = line(f"{problem.kind} ", "yellow").append_text(line(problem.subject, "bold"))
            state.out.print(text.append_text(line(f": {problem.detail}")), soft_wrap=True)
        state.out.print(line("all agree", "green") if report.ok else line(f"{len(report.problems)} problems", "yellow"))
    raise typer.Exit(report.exit_code)


def reindex(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Rebuild the vector index from the catalogue."""
    state = session(ctx, as_json=as_json)
    from rsrag.cli.progress import progress_for
    from rsrag.cli.text import line

    with state.open() as engine, progress_for(state.err) as progress:
        written = dict(engine.reindex(progress=progress))
    if state.as_json:
        state.emit({"indexed": written})
    else:
        state.out.print(line("indexed " + ", ".join(f"{count:,} {name}" for name, count in written.items())))


def export(
    ctx: typer.Context,
    path: Annotated[
        Path, typer.Argument(metavar="FILE", dir_okay=False, help="File to write: .geojson, .gpkg or .parquet.")
    ],
    what: Annotated[str, typer.Option(metavar="tiles|scenes|places", help="What to write.")] = "tiles",
    vectors: Annotated[bool, typer.Option("--vectors", help="Tiles' vectors, too (.parquet only).")] = False,
    as_json: AsJson = False,
) -> None:
    """Write tiles, scenes or places for a GIS.

    The file's ending decides the format: GeoJSON, GeoPackage or GeoParquet.
    """
    state = session(ctx, as_json=as_json)
    with state.open() as engine:
        count = engine.export(path, what=what, vectors=vectors)
    if state.as_json:
        state.emit({"path": path, "what": what, "features": count})
    else:
        from rsrag.cli.text import line

        state.out.print(line(f"{count:,} {what} written to {path}"))


@config_app.command("show")
def config_show(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Every setting with its value, where that comes from, and what it means."""
    state = session(ctx, as_json=as_json)
    from rsrag.config import resolve
    from rsrag.errors import WorkspaceNotFound
    from rsrag.workspace import locate_workspace

    try:
        resolved = locate_workspace(state.locate()).resolved
    except WorkspaceNotFound:
        if state.workspace is not None:
            raise
        resolved = resolve()
    rows = resolved.rows()
    if state.as_json:
        state.emit({name: {"value": value, "source": source, "about": about} for name, value, source, about in rows})
        return
    from rich.table import Table

    from rsrag.cli.text import line

    table = Table(box=None, pad_edge=False)
    for heading in ("Setting", "Value", "From", "Meaning"):
        table.add_column(heading, overflow="fold")
    for name, value, source, about in rows:
        style = "" if source == "default" else "bold"
        table.add_row(line(name, "cyan"), line(value or "–", style), line(source, style), line(about, "dim"))
    state.out.print(table)


@config_app.command("path")
def config_path(ctx: typer.Context) -> None:
    """Path of the settings file."""
    from rsrag.config import FILE_NAME
    from rsrag.workspace import locate_workspace

    typer.echo(locate_workspace(session(ctx).locate()).path / FILE_NAME)
