"""``rsrag models`` and ``rsrag demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rsrag.cli.options import AsJson
from rsrag.cli.session import session
from rsrag.errors import ExitCode, MissingExtra, ModelError, UsageError

app = typer.Typer(help="Models: list, check, fetch, convert.", no_args_is_help=True)


@app.command("list")
def list_models(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Every model rsrag knows by name, and which profile uses it."""
    state = session(ctx, as_json=as_json)
    from rsrag.models.registry import MODELS, PROFILES

    used = {row.name: [p for p, roles in PROFILES.items() if row.name in roles.values()] for row in MODELS}
    if state.as_json:
        state.emit({"models": [{**_fields(row), "profiles": used[row.name]} for row in MODELS]})
        return
    from rich.table import Table

    from rsrag.cli.text import line

    table = Table(box=None, pad_edge=False)
    for heading in ("Name", "Kind", "Vector", "Profiles", "From", "Licence"):
        table.add_column(heading, overflow="fold")
    for row in MODELS:
        cells = (row.kind, row.dim or "–", ", ".join(used[row.name]) or "–", row.source or "–", row.licence)
        table.add_row(line(row.name, "cyan"), *(line(cell) for cell in cells))
    state.out.print(table)


@app.command("check")
def check(
    ctx: typer.Context,
    profile: Annotated[str | None, typer.Option(help="Profile to check. Default: the workspace's, or mini.")] = None,
    as_json: AsJson = False,
) -> None:
    """Load the models of a profile and run each once; exit code 3 when some cannot be used, 1 when none."""
    state = session(ctx, as_json=as_json, profile=profile)
    from rsrag.cli.models_check import check_profile
    from rsrag.cli.text import line
    from rsrag.config import resolve
    from rsrag.errors import WorkspaceNotFound

    try:
        folder = state.locate()
    except WorkspaceNotFound:
        folder = None
    rows = check_profile(resolve(folder, state.settings).settings)
    if state.as_json:
        state.emit({"models": rows})
    else:
        for row in rows:
            text = line("ok    " if row.ok else "fails ", "green" if row.ok else "red")
            text.append_text(line(f"{row.role:<9} ", "cyan")).append_text(line(f"{row.name} ", "bold"))
            state.out.print(text.append_text(line(row.detail, "dim")), soft_wrap=True)
    good = sum(row.ok for row in rows)
    raise typer.Exit(ExitCode.OK if good == len(rows) else ExitCode.PARTIAL if good else ExitCode.NOTHING)


@app.command("pull")
def pull(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Name from `rsrag models list`, or a hub id.")],
    as_json: AsJson = False,
) -> None:
    """Fetch a model from the Hugging Face hub into its cache. The only command that goes to the network for models."""
    state = session(ctx, as_json=as_json)
    from rsrag.models.registry import MODELS

    row = next((row for row in MODELS if row.name == name), None)
    if row is not None and (row.source.startswith("weights/") or not row.source):
        raise UsageError(f"{name} needs nothing from the network", hint="rsrag models check")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingExtra("the hub client", extra="models", package=error.name) from error
    source, wanted = (row.source, row.options.get("file")) if row is not None else (name, None)
    try:
        folder = snapshot_download(
            source, revision=row.revision if row else None, allow_patterns=[wanted] if wanted else None
        )
    except Exception as error:
        hint = "check the name and the network; HF_HUB_OFFLINE must not be set"
        raise ModelError(f"cannot fetch {source}: {type(error).__name__}: {error}", hint=hint) from error
    if state.as_json:
        state.emit({"model": name, "source": source, "path": folder})
    else:
        typer.echo(folder)


@app.command("convert")
def convert(
    ctx: typer.Context,
    checkpoint: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="Published weights: .pt, .pth, .bin.")
    ],
    output: Annotated[Path, typer.Argument(dir_okay=False, help="Safetensors file to write.")],
    as_json: AsJson = False,
) -> None:
    """Turn a pickled checkpoint into safetensors, reading tensors only, and print the digests of both."""
    state = session(ctx, as_json=as_json)
    from rsrag.models.convert import convert as run

    result = run(checkpoint, output)
    if state.as_json:
        state.emit(result)
    else:
        from rsrag.cli.text import line

        state.out.print(line(result), soft_wrap=True)


def demo(
    ctx: typer.Context,
    report: Annotated[Path | None, typer.Option(dir_okay=False, help="Where the report page goes.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ingest the Blue Marble mosaic and a gazetteer, then ask about three images without coordinates.

    Uses ./demo.rsrag unless --workspace names another directory.
    """
    state = session(ctx, as_json=as_json)
    from rsrag.demo.run import run_demo

    workspace = state.workspace or Path("demo.rsrag")
    raise typer.Exit(run_demo(workspace, console=state.err if as_json else state.out, json=as_json, report=report))


def _fields(row: object) -> dict[str, object]:
    import dataclasses

    return dataclasses.asdict(row)  # type: ignore[call-overload,no-any-return]
