"""``rsrag caption``: a sentence about an image, a description, or one with facts of the place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rsrag.cli.options import AsJson, Bands
from rsrag.cli.session import session
from rsrag.cli.tasks import ImageFile, Out, check_map, check_outputs, finish, task_context


def caption(
    ctx: typer.Context,
    image: ImageFile,
    style: Annotated[
        str,
        typer.Option(
            metavar="short|detailed|knowledge", help="One sentence; parts and numbers; cited facts of the place."
        ),
    ] = "short",
    examples: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Captioned pictures to draw on: a folder or zip file.")
    ] = None,
    captions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="Their captions: JSON of {file, captions}. Default: inside."),
    ] = None,
    split: Annotated[str | None, typer.Option(metavar="NAME", help="Only this part of the examples.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the drafts that are drawn at random.")] = 0,
    bands: Bands = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Describe an image in words."""
    state = session(ctx, as_json=as_json)
    check_outputs(out, task="caption", rasters=False)
    from rsrag.adapters.caption import CAPTION, CaptionRequest

    with task_context(state, archive=style == "knowledge") as context:
        check_map(out, image, context, bands=bands)
        result = CAPTION.run(CaptionRequest(image, style, examples, captions, split, seed, bands), context)
        finish(state, result, out)
