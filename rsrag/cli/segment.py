"""``rsrag segment``: outlines and areas of what a text names."""

from __future__ import annotations

from typing import Annotated

import typer

from rsrag.cli.options import AsJson, Bands
from rsrag.cli.session import session
from rsrag.cli.tasks import ImageFile, Out, check_map, check_outputs, finish, task_context
from rsrag.errors import ExitCode


def segment(
    ctx: typer.Context,
    image: ImageFile,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to outline: 'water'.")],
    threshold: Annotated[
        float, typer.Option(metavar="0.1…0.9", help="Score from which a pixel belongs to it; neither end itself.")
    ] = 0.5,
    method: Annotated[
        str,
        typer.Option(
            metavar="auto|decoder|detector|refined|heat",
            help="Pixel decoder for what it was trained on, detector's boxes, refined heat map, or bare heat map.",
        ),
    ] = "auto",
    without_index: Annotated[
        bool, typer.Option("--without-index", help="Leave NDWI for water and NDVI for plants alone.")
    ] = False,
    simplify: Annotated[
        float | None, typer.Option(metavar="M", help="Metres that an outline may move. Default: two pixels.")
    ] = None,
    smallest: Annotated[
        float | None, typer.Option(metavar="M2", help="Least area of an outline in m². Default: a few pixels.")
    ] = None,
    bands: Bands = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|DIR",
            help="A large segmenter instead: SAM or SAM 2 (boxes), CLIPSeg (words), Mask2Former (its own classes).",
        ),
    ] = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Outline what a text names: mask and score as rasters, polygons, and areas with their band of uncertainty."""
    state = session(ctx, as_json=as_json)
    check_outputs(out)
    from rsrag.adapters.segment import SEGMENT, SegmentRequest

    with task_context(state) as context:
        check_map(out, image, context, bands=bands)
        request = SegmentRequest(image, text, threshold, method, not without_index, simplify, smallest, bands, model)
        result = SEGMENT.run(request, context)
        finish(state, result, out)
    if not result.share:
        raise typer.Exit(ExitCode.NOTHING)
