"""``rsrag ground``: where the things are that a text names, how many, and what a box shows."""

from __future__ import annotations

from typing import Annotated

import typer

from rsrag.cli.options import AsJson, Bands
from rsrag.cli.session import session
from rsrag.cli.tasks import ImageFile, Out, check_map, check_outputs, finish, task_context
from rsrag.errors import ExitCode


def ground(
    ctx: typer.Context,
    image: ImageFile,
    text: Annotated[
        str | None, typer.Argument(metavar="[TEXT]", help="What to look for: 'the storage tanks near the road'.")
    ] = None,
    identify: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(metavar="L T R B", help="Tell instead what a box shows: left, top, right, bottom in pixels."),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="What the box is compared with. Default: common things.")
    ] = None,
    method: Annotated[
        str, typer.Option(metavar="auto|detector|heat", help="Detector for the ten kinds it knows, or heat map.")
    ] = "auto",
    least: Annotated[float | None, typer.Option(metavar="0…1", help="Lowest score of what is given.")] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME|DIR", help="A large model instead: grounding-dino-tiny, qwen3-vl-4b, reader, ..."),
    ] = None,
    boxes: Annotated[
        str | None,
        typer.Option(metavar="FORM", help="How a reader writes boxes: 0-1000, 'absolute pixels', '0-1 yxyx'."),
    ] = None,
    bands: Bands = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Find what a text names: boxes, upright and turned, with scores, counts and map coordinates."""
    state = session(ctx, as_json=as_json)
    check_outputs(out, task="ground --identify", rasters=identify is None)
    from rsrag.adapters.classify.labels import split_labels
    from rsrag.adapters.ground import GROUND, GroundRequest

    names = split_labels(labels) if labels is not None else ()
    with task_context(state) as context:
        check_map(out, image, context, bands=bands)
        request = GroundRequest(image, text, identify, names, method, least, model, boxes, bands)
        result = GROUND.run(request, context)
        finish(state, result, out)
    if not result.regions:
        raise typer.Exit(ExitCode.NOTHING)
