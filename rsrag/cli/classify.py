"""``rsrag classify``: which of these classes, how sure, and where."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rsrag.cli.options import AsJson
from rsrag.cli.session import session
from rsrag.cli.tasks import ImageFile, Out, check_outputs, finish, task_context
from rsrag.errors import ExitCode, UsageError


def classify(
    ctx: typer.Context,
    image: ImageFile,
    labels: Annotated[str | None, typer.Option(metavar="A,B,…", help="Classes in words, separated by commas.")] = None,
    labels_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="Classes, one a line, or JSON; or eurosat, ucm."),
    ] = None,
    everywhere: Annotated[
        bool, typer.Option("--map", help="Classify every part of the scene: a class raster and a table of areas.")
    ] = False,
    turns: Annotated[int, typer.Option(metavar="1|2|4|8", help="Turns of the picture that are averaged.")] = 4,
    unknown: Annotated[float, typer.Option(metavar="0…1", help="Least probability that a class is given for.")] = 0.0,
    examples: Annotated[
        Path | None, typer.Option(metavar="DIR", file_okay=False, help="Labelled pictures: one folder a class.")
    ] = None,
    knowledge: Annotated[
        bool, typer.Option("--knowledge", help="Weigh the classes by what the archive says of the place; cited.")
    ] = False,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Classify an image in your own words, or map the classes over a whole scene."""
    state = session(ctx, as_json=as_json)
    check_outputs(out)
    from rsrag.adapters.classify import CLASSIFY, ClassifyRequest
    from rsrag.adapters.classify.labels import split_labels

    if (labels is None) == (labels_file is None) and examples is None:
        raise UsageError("which classes?", hint="--labels 'water, forest, town' or --labels-file FILE, one of them")
    names = split_labels(labels) if labels is not None else _from_file(labels_file) if labels_file else ()
    if not names and examples is not None and examples.is_dir():
        names = tuple(sorted(p.name.replace("_", " ") for p in examples.iterdir() if p.is_dir()))
    with task_context(state, archive=knowledge) as context:
        request = ClassifyRequest(image, names, everywhere, turns, unknown, examples, knowledge)
        result = CLASSIFY.run(request, context)
        finish(state, result, out)
    if not result.known:
        raise typer.Exit(ExitCode.NOTHING)


def _from_file(path: Path) -> tuple[str, ...]:
    from rsrag.adapters.classify.labels import read_labels
    from rsrag.eval.datasets.labels import read_labels as shipped

    if not path.is_file() and len(path.parts) == 1:
        return tuple(shipped(path).values())
    return read_labels(path)
