"""``rsrag classify``: which of these classes, how sure, and where."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rsrag.cli.options import AsJson, Bands
from rsrag.cli.session import session
from rsrag.cli.tasks import ImageFile, Out, check_map, check_outputs, finish, task_context
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
    bands: Bands = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Classify an image in your own words, or map the classes over a whole scene."""
    state = session(ctx, as_json=as_json)
    check_outputs(out, task="classify without --map", rasters=everywhere)
    from rsrag.adapters.classify import CLASSIFY, ClassifyRequest

    given = labels is not None, labels_file is not None
    if all(given) or (not any(given) and examples is None):
        raise UsageError("which classes?", hint="--labels 'water, forest, town' or --labels-file FILE, one of them")
    names = _names(labels, labels_file, examples)
    with task_context(state, archive=knowledge) as context:
        check_map(out, image, context, bands=bands)
        request = ClassifyRequest(image, names, everywhere, turns, unknown, examples, knowledge, bands=bands)
        result = CLASSIFY.run(request, context)
        finish(state, result, out)
    if not result.known:
        raise typer.Exit(ExitCode.NOTHING)


def _names(labels: str | None, labels_file: Path | None, examples: Path | None) -> tuple[str, ...]:
    """The classes: as written, from a file, or what the folders of labelled pictures are called."""
    from rsrag.adapters.classify.examples import class_folders
    from rsrag.adapters.classify.labels import split_labels

    if labels is not None:
        return split_labels(labels)
    if labels_file is not None:
        return _from_file(labels_file)
    return tuple(sorted(label for label, _ in class_folders(examples))) if examples is not None else ()


def _from_file(path: Path) -> tuple[str, ...]:
    from rsrag.adapters.classify.labels import read_labels
    from rsrag.eval.datasets.labels import read_labels as shipped

    if not path.is_file() and len(path.parts) == 1:
        return tuple(shipped(path).values())
    return read_labels(path)
