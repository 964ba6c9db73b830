"""``rsrag eval caption``: sentences about pictures of one's own, against one's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from rsrag.cli.session import session
from rsrag.cli.tasks import bare_context
from rsrag.eval.cli.encoders import AsJson, Data, ProfileName, ReportDir, finish


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
    from rsrag.eval import caption as suite
    from rsrag.eval.reports.page import write_report
    from rsrag.progress import Silent

    with bare_context(state) as context:
        quiet = replace(context, progress=Silent())
        result, grid = suite.run(
            data,
            quiet,
            captions=captions,
            split=split,
            archive_split=archive_split,
            limit=limit,
            progress=context.progress,
        )
    if report is not None:
        write_report(result, report, {"Pictures and what was said": grid})
    finish(state, result, report)
