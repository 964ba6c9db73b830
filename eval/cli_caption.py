"""``rsrag eval caption``: sentences about pictures of one's own, against one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rsrag.cli.session import session
from rsrag.eval.cli_encoders import AsJson, Data, ProfileName, ReportDir, finish


def register(app: typer.Typer) -> None:
    """Add the command to ``rsrag eval``."""
    app.command("caption")(caption)


def caption(
    ctx: typer.Context,
    data: Data,
    captions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="JSON of {file, captions, split}. Default: captions.json inside of the data."
        ),
    ] = None,
    split: Annotated[str, typer.Option(metavar="NAME", help="Whose pictures are described.")] = "val",
    archive_split: Annotated[
        str, typer.Option(metavar="NAME", help="Whose captions may be drawn on; one that is not there: none.")
    ] = "train",
    limit: Annotated[int | None, typer.Option(min=1, help="Describe only so many pictures.")] = None,
    profile: ProfileName = None,
    report: ReportDir = None,
    as_json: AsJson = False,
) -> None:
    """Measure captions with BLEU, ROUGE-L and CIDEr, with retrieval and without."""
    state = session(ctx, as_json=as_json, profile=profile)
    from rsrag.adapters.base import Context
    from rsrag.cli.progress import progress_for
    from rsrag.config import resolve
    from rsrag.eval import caption as suite
    from rsrag.eval.report import write_report
    from rsrag.models.registry import load_profile

    settings = resolve(None, state.settings).settings
    context = Context(load_profile(settings), settings)
    with progress_for(state.err) as progress:
        result, grid = suite.run(
            data, context, captions=captions, split=split, archive_split=archive_split, limit=limit, progress=progress
        )
    if report is not None:
        write_report(result, report, {"Pictures and what was said": grid})
    finish(state, result, report)
