"""``rsrag eval detection``: boxes, counts and referring expressions on labelled images of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rsrag.cli.session import session
from rsrag.cli.tasks import bare_context
from rsrag.errors import ExitCode
from rsrag.eval.cli.encoders import AsJson, ProfileName


def register(app: typer.Typer) -> None:
    """Add the command to ``rsrag eval``."""
    app.command("detection")(detection)


def detection(
    ctx: typer.Context,
    data: Annotated[Path, typer.Option(exists=True, file_okay=False, metavar="DIR", help="Folder with the images.")],
    coco: Annotated[Path, typer.Option(exists=True, dir_okay=False, metavar="FILE", help="Boxes in COCO's form.")],
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="detector|heat", help="What is measured; both by default; repeatable."),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, metavar="FILE", help="Boxes of another method, COCO's results form."),
    ] = None,
    only: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, metavar="FILE", help="Ids of the images to measure.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many images.")] = None,
    expressions: Annotated[int, typer.Option(min=0, help="Referring expressions made from the boxes, an image.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Of the expressions and the choice of images.")] = 0,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Measure average precision, counts and answers to referring expressions; overlap is measured in pixels."""
    state = session(ctx, as_json=as_json, profile=profile)
    from rsrag.eval import detection as suite

    with bare_context(state) as context:
        result = suite.run(
            data,
            coco,
            context,
            methods=tuple(method) if method else () if predictions else suite.METHODS,
            predictions=predictions,
            only=only,
            limit=limit,
            most=expressions,
            seed=seed,
        )
    typer.echo(result.to_json() if state.as_json else result.to_text())
    if gone := result.details.get("not in the folder"):
        state.warn(f"not in the folder: {gone}")
        raise typer.Exit(ExitCode.PARTIAL)
