"""``rsrag train``."""

from __future__ import annotations

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
        Path, typer.Option(metavar="DIR", exists=True, file_okay=False, help="Folder where the settings' paths begin.")
    ],
    run_dir: Annotated[
        Path, typer.Option(metavar="DIR", file_okay=False, help="Folder of the run: checkpoint, metrics, manifest.")
    ],
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew instead of continuing the run.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train the image encoder. A run that was stopped continues from its last epoch with the same command."""
    state = session(ctx, as_json=as_json)
    from rsrag.train import load_config, train_encoder

    settings = load_config(config)
    result = train_encoder(
        settings, run_dir=run_dir, data_dir=data, resume=not fresh, progress=_teller(state, settings.optim.epochs)
    )
    if state.as_json:
        state.emit({"run_dir": run_dir, "steps": result.steps, "seconds": result.seconds, "metrics": result.metrics})
    else:
        from rsrag.cli.text import line

        state.out.print(line(f"{result.steps:,} steps in {result.seconds:,.0f} s; the run is in {run_dir}"))


def _teller(state: Session, epochs: int) -> Callable[[dict[str, Any]], None]:
    def tell(row: dict[str, Any]) -> None:
        shown = "  ".join(f"{k} {v:.4g}" for k, v in row.items() if k not in ("epoch", "step") and _number(v))
        state.note(f"epoch {row['epoch']}/{epochs}  {shown}")

    return tell


def _number(value: object) -> bool:
    return isinstance(value, int | float)
