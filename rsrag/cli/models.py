"""``rsrag models`` and ``rsrag demo``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsrag.cli.options import AsJson
from rsrag.cli.session import Session, session
from rsrag.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rsrag.config import Settings
    from rsrag.models.base import ModelRow

app = typer.Typer(help="Models: list, check, fetch, convert, export.", no_args_is_help=True)


@app.command("list")
def list_models(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Every model rsrag knows by name, who uses it, whether it is here."""
    state = session(ctx, as_json=as_json)
    from rsrag.models.registry import MODELS, PROFILES, available

    settings = _settings(state)
    used = {row.name: [p for p, roles in PROFILES.items() if row.name in roles.values()] for row in MODELS}
    here = {row.name: available(row, settings) for row in MODELS}
    if state.as_json:
        rows = [
            {**asdict(row), "profiles": used[row.name], "available": here[row.name][0], "detail": here[row.name][1]}
            for row in MODELS
        ]
        state.emit({"models": rows})
        return
    from rich.table import Table

    from rsrag.cli.text import line

    table = Table(box=None, pad_edge=False)
    for heading in ("Name", "Kind", "Profiles", "Here", "Licence"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "Name")
    for row in MODELS:
        ok, detail = here[row.name]
        where = line(detail if state.verbose else "yes" if ok else "no", "green" if ok else "dim")
        cells = (line(row.kind), line(", ".join(used[row.name]) or "–"))
        table.add_row(line(row.name, "cyan"), *cells, where, line(row.licence, "dim"))
    state.out.print(table)


@app.command("check")
def check(
    ctx: typer.Context,
    profile: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Profile to check. Default: the workspace's, or mini.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Load a profile's models and run each once.

    Exit code 3 when some of them cannot be used, 1 when none can.
    """
    state = session(ctx, as_json=as_json, profile=profile)
    from rsrag.cli.models_check import check_profile
    from rsrag.cli.text import line

    rows = check_profile(_settings(state))
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
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name from `rsrag models list`, or owner/name@commit.")],
    as_json: AsJson = False,
) -> None:
    """Fetch a model's weights from the hub; needs offline = false."""
    state = session(ctx, as_json=as_json)
    from rsrag.models.registry import pull as fetch

    path = fetch(name, _settings(state))
    if state.as_json:
        state.emit({"model": name, "path": path})
    else:
        typer.echo(path)


@app.command("convert")
def convert(
    ctx: typer.Context,
    checkpoint: Annotated[
        Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="Published weights, a .pt file.")
    ],
    model: Annotated[str, typer.Option(metavar="NAME", help="Whose weights they are, from `rsrag models list`.")],
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="File to write. Default: where the model is looked for."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Turn a pickled checkpoint into safetensors, running no code from it."""
    state = session(ctx, as_json=as_json)
    from rsrag.models.registry import install

    made = install(model, checkpoint, output)
    if state.as_json:
        state.emit(made)
        return
    from rsrag.cli.render import show_record

    rows = [
        ("architecture", made.architecture),
        ("tensors", made.tensors),
        ("sha256", made.sha256),
        ("sha256 of source", made.source_sha256),
        ("keys", made.report),
    ]
    show_record(state.out, str(made.path), rows)


@app.command("export")
def export(
    ctx: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="MODEL|PATH", help="Image model: its name, its folder, or converted weights.")
    ],
    to: Annotated[str, typer.Option(metavar="onnx|onnx-int8|openvino", help="Format to write.")],
    out: Annotated[Path, typer.Option(metavar="DIR", file_okay=False, help="Folder to make.")],
    pictures: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", exists=True, file_okay=False, help="Tiles to calibrate on and to compare by."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write an image encoder as files that run without torch, and compare its vectors with those in float32.

    Use the result with rsrag init --profile DIR/profile.toml.
    """
    state = session(ctx, as_json=as_json)
    from rsrag.models.export import export as write

    made = write(_image_row(model), _settings(state), to, out, pictures)
    if state.as_json:
        state.emit(made)
        return
    from rsrag.cli.render import show_record

    def cosines(found: Mapping[str, float]) -> str:
        return f"mean {found['mean']:.5f}, 1st percentile {found['p1']:.5f}, least {found['min']:.5f}"

    kind = "drawn pictures" if made.drawn else "pictures"
    rows = [
        ("format", f"{made.format}, {made.megabytes:.1f} MB"),
        (f"cosine to float32 of {made.pictures} {kind}", cosines(made.cosine)),
        ("of texts", cosines(made.words)),
        ("ms a picture", f"{made.ms_after:.2f}; {made.ms_before:.2f} as {made.before}"),
        ("vectors stored as", made.fingerprint),
        ("use with", f"rsrag init --profile {made.profile}"),
    ]
    show_record(state.out, str(made.directory), rows)


def _image_row(model: str) -> ModelRow:
    """The row of a model of the registry, of a folder of mini files, or of converted weights."""
    from rsrag.models.base import ModelRow
    from rsrag.models.registry import find

    path = Path(model).expanduser()
    if (path / "text_head.safetensors").is_file():
        return ModelRow("mini-image", "image", "mini_image", str(path.resolve()))
    if path.exists():
        return ModelRow(path.stem, "image", "open_clip", str(path.resolve()))
    return find(model)


def demo(
    ctx: typer.Context,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Where the report page goes.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Try it: a world mosaic, a gazetteer, three questions.

    The Blue Marble mosaic is ingested at several scales; the questions are about pictures cut from it that were turned,
    rescaled and blurred and have no coordinates. Uses ./demo.rsrag unless --workspace names another directory.
    """
    state = session(ctx, as_json=as_json)
    from rsrag.cli.progress import progress_for
    from rsrag.demo.run import run_demo

    console = state.err if as_json else state.out
    with progress_for(state.err) as progress:
        code = run_demo(
            state.workspace or Path("demo.rsrag"), console=console, json=as_json, report=report, progress=progress
        )
    raise typer.Exit(code)


def _settings(state: Session) -> Settings:
    """Settings of the workspace if there is one."""
    from rsrag.config import resolve
    from rsrag.errors import WorkspaceNotFound

    try:
        folder: Path | None = state.locate()
    except WorkspaceNotFound:
        if state.workspace is not None:
            raise
        folder = None
    return resolve(folder, state.settings).settings
