"""``rsrag eval change``: detectors of change on labelled pairs of one's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from rsrag.cli.session import session
from rsrag.cli.tasks import bare_context
from rsrag.eval.cli.encoders import AsJson, ProfileName, ReportDir, finish


def register(app: typer.Typer) -> None:
    """Add the command to ``rsrag eval``."""
    app.command("change")(change)


def change(
    ctx: typer.Context,
    pairs: Annotated[
        list[Path],
        typer.Option(exists=True, metavar="PATH", help="Folder or zip file with A/, B/ and label/; repeatable."),
    ],
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="cva|irmad|features|combined", help="Detectors to measure; all by default; repeatable."),
    ] = None,
    captions: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, metavar="FILE", help="Also score sentences: JSON of {id, captions}."),
    ] = None,
    invariance: Annotated[
        bool, typer.Option("--invariance", help="Also count false changes on pictures shifted, blurred, relit.")
    ] = False,
    cross_validate: Annotated[
        bool, typer.Option("--cross-validate", help="Also train the network without each fold and measure it there.")
    ] = False,
    profile: ProfileName = None,
    report: ReportDir = None,
    as_json: AsJson = False,
) -> None:
    """Measure masks, counts, places and yes-or-no answers on labelled pairs, beside plain CVA with Otsu's line."""
    state = session(ctx, as_json=as_json, profile=profile)
    from rsrag.eval import change as suite
    from rsrag.eval.reports.page import write_report
    from rsrag.progress import Silent

    with bare_context(state) as context:
        quiet = replace(context, progress=Silent())
        result = suite.run(
            pairs,
            quiet,
            methods=tuple(method or suite.METHODS),
            captions=captions,
            invariance=invariance,
            cross_validate=cross_validate,
            progress=context.progress,
        )
    if report is not None:
        write_report(result, report)
    finish(state, result, report)
