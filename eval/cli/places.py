"""``rsrag eval selo``, ``image-retrieval`` and ``attributes``: where things are, what looks alike, what it is like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rsrag.cli.session import session
from rsrag.errors import UsageError
from rsrag.eval.cli.encoders import AllowLeaked, AsJson, EncoderName, ProfileName, ReportDir, Split, finish

OptionalData = Annotated[
    Path | None, typer.Option(exists=True, metavar="PATH", help="Folder or zip file with one folder a class.")
]
LabelsFile = Annotated[
    str | None, typer.Option(metavar="FILE|NAME", help="Folder to words; see classification. Default: folder names.")
]
Seed = Annotated[int, typer.Option(min=0, help="Of all random choices.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``rsrag eval``."""
    from rsrag.eval.cli import TakesLists

    app.command("selo")(selo)
    app.command("image-retrieval", cls=TakesLists)(image_retrieval)
    app.command("attributes")(attributes)


def selo(
    ctx: typer.Context,
    data: OptionalData = None,
    captions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Ask for captions, too: JSON list of {file, captions, class}.")
    ] = None,
    labels_file: LabelsFile = None,
    split: Split = None,
    scenes: Annotated[int, typer.Option(min=1, help="How many scenes are composed.")] = 24,
    grid: Annotated[int, typer.Option(min=3, max=32, help="Tiles in a row and in a column of a scene.")] = 4,
    seed: Seed = 0,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="DIR", file_okay=False, help="Keep the composed scenes as GeoTIFFs, with their queries."),
    ] = None,
    scene: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, metavar="FILE", help="Measure on this scene of your own instead."),
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, metavar="FILE", help="Its queries: JSON of texts with regions."),
    ] = None,
    crop: Annotated[
        int | None,
        typer.Option(min=8, metavar="PX", help="Side of its smallest crops. Default: 256, or a quarter of the scene."),
    ] = None,
    profile: ProfileName = None,
    encoder: EncoderName = None,
    allow_leaked: AllowLeaked = False,
    report: ReportDir = None,
    as_json: AsJson = False,
) -> None:
    """Show where in scenes a text is true: on scenes composed of labelled pictures, or on one of your own."""
    if (data is None) == (scene is None):
        raise UsageError("give pictures or a scene", hint="--data FOLDER, or --scene FILE --queries FILE")
    if (scene is None) != (queries is None):
        raise UsageError("--scene and --queries belong together")
    state = session(ctx, as_json=as_json)
    from rsrag.cli.progress import progress_for
    from rsrag.eval import selo as suite

    with progress_for(state.err) as progress:
        if scene is not None and queries is not None:
            result = suite.run_scene(
                scene,
                queries,
                base=crop,
                profile=profile,
                encoder=encoder,
                allow_leaked=allow_leaked,
                report=report,
                progress=progress,
            )
        elif data is not None:
            result = suite.run_composed(
                data,
                captions=captions,
                labels_file=labels_file,
                split=split,
                scenes=scenes,
                grid=grid,
                seed=seed,
                profile=profile,
                encoder=encoder,
                allow_leaked=allow_leaked,
                report=report,
                keep=keep,
                progress=progress,
            )
    finish(state, result, report)


def image_retrieval(
    ctx: typer.Context,
    data: OptionalData = None,
    labels_file: LabelsFile = None,
    split: Split = None,
    archive: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="Search these scenes of several dates instead; repeatable.")
    ] = None,
    queries: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="Scenes that altered queries are cut from; repeatable.")
    ] = None,
    tile_size: Annotated[int, typer.Option(min=32, metavar="PX", help="Side of the scenes' tiles.")] = 256,
    per_scene: Annotated[int, typer.Option(min=1, help="Most queries a scene gives.")] = 48,
    seed: Seed = 0,
    profile: ProfileName = None,
    encoder: EncoderName = None,
    allow_leaked: AllowLeaked = False,
    report: ReportDir = None,
    as_json: AsJson = False,
) -> None:
    """Find pictures by a picture: of the same class, under alterations, or of the same place on other dates."""
    if (data is None) == (not archive):
        raise UsageError("give pictures or scenes", hint="--data FOLDER, or --archive A.tif B.tif --queries C.tif")
    if bool(archive) != bool(queries):
        raise UsageError("--archive and --queries belong together")
    given = {"--split": split is not None, "--labels-file": labels_file is not None, "--allow-leaked": allow_leaked}
    if archive and any(given.values()):
        named = ", ".join(name for name, is_given in given.items() if is_given)
        raise UsageError(f"{named} with --archive", hint="it says what to do with pictures, of --data")
    state = session(ctx, as_json=as_json)
    from rsrag.cli.progress import progress_for

    with progress_for(state.err) as progress:
        if archive and queries:
            from rsrag.eval.image_dates import run_dates

            result = run_dates(
                archive,
                queries,
                tile_size=tile_size,
                per_scene=per_scene,
                seed=seed,
                profile=profile,
                encoder=encoder,
                report=report,
                progress=progress,
            )
        elif data is not None:
            from rsrag.eval.image_retrieval import run

            result = run(
                data,
                labels_file=labels_file,
                split=split,
                seed=seed,
                profile=profile,
                encoder=encoder,
                allow_leaked=allow_leaked,
                report=report,
                progress=progress,
            )
    finish(state, result, report)


def attributes(
    ctx: typer.Context,
    data: Annotated[Path, typer.Option(exists=True, metavar="PATH", help="Folder or zip file of pictures.")],
    tags: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, metavar="FILE", help="JSON list of {file, tags} or SkyScript's CSV."),
    ] = None,
    from_captions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Derive tags from a JSON list of {file, captions}, by path or name inside."),
    ] = None,
    split: Split = None,
    keep_tags: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write the derived tags here.")
    ] = None,
    profile: ProfileName = None,
    encoder: EncoderName = None,
    allow_leaked: AllowLeaked = False,
    report: ReportDir = None,
    as_json: AsJson = False,
) -> None:
    """Tell the values of attributes apart: the surface of roads, the colour of roofs, the number of tanks."""
    state = session(ctx, as_json=as_json)
    from rsrag.cli.progress import progress_for
    from rsrag.eval.attributes import run

    with progress_for(state.err) as progress:
        result = run(
            data,
            tags=tags,
            from_captions=from_captions,
            split=split,
            keep_tags=keep_tags,
            profile=profile,
            encoder=encoder,
            allow_leaked=allow_leaked,
            report=report,
            progress=progress,
        )
    finish(state, result, report)
