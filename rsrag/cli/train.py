"""``rsrag train``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rsrag.cli.options import AsJson
from rsrag.cli.session import session

if TYPE_CHECKING:
    from collections.abc import Callable

    from rsrag.cli.session import Session

app = typer.Typer(help="Train models.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Train models."""


@app.command("encoder")
def encoder(
    ctx: typer.Context,
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", exists=True, dir_okay=False, help="Settings of the run, TOML.")
    ],
    data: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            envvar="RSRAG_DATA",
            help="Folder where the paths of the settings begin.",
        ),
    ] = Path(),
    run_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", file_okay=False, help="Folder of the run. Default: runs/ and the name of CONFIG."),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew instead of continuing the run.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace a setting, such as optim.lr=1e-4. Repeat."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train or tune an image and text encoder. A run that was stopped goes on with the same command."""
    state = session(ctx, as_json=as_json)
    from rsrag.cli.progress import progress_for
    from rsrag.train import load_config, train_encoder

    chosen = load_config(config, settings or ())
    folder = run_dir or Path("runs") / config.stem
    quiet = os.environ.get("RANK", "0") != "0"  # one of several processes tells
    try:
        with progress_for(state.err) as steps:
            result = train_encoder(
                chosen,
                run_dir=folder,
                data_dir=data,
                resume=not fresh,
                progress=None if quiet else _teller(state, chosen.optim.epochs),
                steps=None if quiet else steps,
            )
    except KeyboardInterrupt:
        state.note(f"what was reached is saved in {folder}")
        raise
    if quiet:
        return
    if state.as_json:
        state.emit({"run_dir": folder, "steps": result.steps, "seconds": result.seconds, "metrics": result.metrics})
    else:
        from rsrag.cli.text import line

        state.out.print(line(f"{result.steps:,} steps in {result.seconds:,.0f} s; the run is in {folder}"))
        if (folder / "profile.toml").exists():
            state.out.print(line(f"an archive with it: rsrag init --profile {folder / 'profile.toml'}"))


def _teller(state: Session, epochs: int) -> Callable[[dict[str, Any]], None]:
    def tell(row: dict[str, Any]) -> None:
        shown = "  ".join(f"{k} {v:.4g}" for k, v in row.items() if k not in ("epoch", "step") and _number(v))
        state.note(f"epoch {row['epoch']}/{epochs}  {shown}")

    return tell


def _number(value: object) -> bool:
    return isinstance(value, int | float)
