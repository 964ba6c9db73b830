"""``rsrag eval segmentation``: masks of what words name, on the user's own label maps or polygons."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rsrag.cli.session import session
from rsrag.errors import ExitCode
from rsrag.eval.cli.encoders import AsJson, ProfileName


def register(app: typer.Typer) -> None:
    """Add the command to ``rsrag eval``."""
    app.command("segmentation")(segmentation)


def segmentation(
    ctx: typer.Context,
    images: Annotated[Path, typer.Option(metavar="DIR", help="Folder of pictures.")],
    labels: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Label maps of the same names; with --classes.")
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(metavar="FILE", help='Values to words: {"0": "building", "1": "water"}.')
    ] = None,
    coco: Annotated[
        Path | None, typer.Option(metavar="FILE", help="COCO annotations with polygons instead of label maps.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most pictures.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of their choice.")] = 0,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Outline every class of every picture by its words: what is shipped, heat map and refinement against the truth."""
    state = session(ctx, as_json=as_json)
    from rsrag.cli.progress import progress_for
    from rsrag.eval.segmentation import run

    with progress_for(state.err) as progress:
        result = run(
            images, labels=labels, classes=classes, coco=coco, limit=limit, seed=seed, profile=profile,
            progress=progress,
        )  # fmt: skip
    typer.echo(result.to_json() if state.as_json else result.to_text())
    if alone := result.details.get("without a label map"):
        state.warn(f"without a label map: {alone}")
        raise typer.Exit(ExitCode.PARTIAL)
