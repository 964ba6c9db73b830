"""``rsrag eval classification`` and ``rsrag eval retrieval``: image encoders on public and own sets of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsrag.cli.session import session
from rsrag.errors import ExitCode

if TYPE_CHECKING:
    from rsrag.cli.session import Session
    from rsrag.eval.reports.result import SuiteResult

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object {suite, metrics, ...} on standard output.")]
Data = Annotated[Path, typer.Option(exists=True, metavar="PATH", help="Folder or zip file of pictures.")]
Split = Annotated[str | None, typer.Option(metavar="NAME", help="Only this part: val, test, ...")]
ProfileName = Annotated[
    str | None, typer.Option("--profile", metavar="NAME|FILE", help="Measure the image encoder of this profile.")
]
EncoderName = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        metavar="NAME|PATH",
        help="Measure this one: a model's name, an exported tower's folder, converted .safetensors, or a TOML row.",
    ),
]
AllowLeaked = Annotated[
    bool,
    typer.Option("--allow-leaked", help="Measure even with pictures that were in training, and mark the result."),
]
ReportDir = Annotated[
    Path | None,
    typer.Option(metavar="DIR", file_okay=False, help="Write report.html, report.json and the charts here."),
]
PublishedFor = Annotated[
    str | None,
    typer.Option(
        "--published",
        metavar="NAME|none",
        help="Data set whose published figures to show. Default: by the name of the data.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to ``rsrag eval``."""
    app.command("classification")(classification)
    app.command("retrieval")(retrieval)


def classification(
    ctx: typer.Context,
    data: Data,
    labels_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|NAME",
            help="Folder to words: .json, .csv, .txt, or a set that rsrag knows (eurosat, ucm). Default: folder names.",
        ),
    ] = None,
    split: Split = None,
    profile: ProfileName = None,
    encoder: EncoderName = None,
    templates: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, metavar="FILE", help="Sentences with {}, one a line."),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(min=1e-4, max=100, help="Of the softmax that makes cosines confidences. Default: the encoder's."),
    ] = None,
    turns: Annotated[int, typer.Option(min=1, metavar="1|2|4|8", help="Turns of a picture that are averaged.")] = 1,
    unknown: Annotated[
        float | None, typer.Option(min=0, max=1, metavar="P", help="Least confidence that a class is given for.")
    ] = None,
    published: PublishedFor = None,
    allow_leaked: AllowLeaked = False,
    report: ReportDir = None,
    as_json: AsJson = False,
) -> None:
    """Name the class of pictures by words alone; one folder a class, whose name is the label."""
    state = session(ctx, as_json=as_json)
    from rsrag.cli.progress import progress_for
    from rsrag.eval import classification as suite
    from rsrag.eval.datasets.images import read_folders
    from rsrag.eval.encoders import choose_row
    from rsrag.train.prompts import TEMPLATES

    row = choose_row(profile, encoder)
    bank = suite.read_templates(templates) if templates is not None else TEMPLATES
    dataset = published_for(suite.SUITE, published, data)
    with progress_for(state.err) as progress:
        result = suite.run(
            read_folders(data, labels_file, split, progress),
            row,
            templates=bank,
            temperature=temperature,
            turns=turns,
            unknown=unknown,
            dataset=dataset,
            allow_leaked=allow_leaked,
            report=report,
            progress=progress,
        )
    finish(state, result, report)


def retrieval(
    ctx: typer.Context,
    data: Data,
    captions: Annotated[
        Path, typer.Option(metavar="FILE", help="JSON list of {file, captions}: a path, or its name inside the data.")
    ],
    split: Split = None,
    profile: ProfileName = None,
    encoder: EncoderName = None,
    prefix: Annotated[str, typer.Option(metavar="TEXT", help="Put before every caption.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    published: PublishedFor = None,
    allow_leaked: AllowLeaked = False,
    report: ReportDir = None,
    as_json: AsJson = False,
) -> None:
    """Find pictures by their captions and captions by their pictures."""
    state = session(ctx, as_json=as_json)
    from rsrag.cli.progress import progress_for
    from rsrag.eval import retrieval as suite
    from rsrag.eval.datasets.images import read_captions
    from rsrag.eval.encoders import choose_row

    row = choose_row(profile, encoder)
    dataset = published_for(suite.SUITE, published, data)
    with progress_for(state.err) as progress:
        result = suite.run(
            read_captions(data, captions, split, progress),
            row,
            prefix=prefix,
            dataset=dataset,
            allow_leaked=allow_leaked,
            seed=seed,
            report=report,
            progress=progress,
        )
    finish(state, result, report)


def published_for(suite: str, wish: str | None, data: Path) -> str | None:
    """The data set whose published figures to show: the one wished for, else by the name of the data, else none."""
    from rsrag.eval.reports.published import dataset_of, datasets

    if wish is not None:
        return None if wish == "none" else wish.lower()
    guess = dataset_of(data.resolve().name)
    return guess if guess in datasets(suite) else None


def finish(state: Session, result: SuiteResult, report: Path | None) -> None:
    """Show a result; with files left out the command ends with the exit code for partial success."""
    from rsrag.eval.reports.page import as_dict
    from rsrag.plain import without_controls

    if state.as_json:
        state.emit(as_dict(result))
    else:
        typer.echo("\n".join(without_controls(line) for line in result.to_text().splitlines()))
    if "LEAKED" in result.details:
        state.warn(f"LEAKED: {result.details['LEAKED']}; the figures flatter the encoder")
    if report is not None:
        state.note(f"report in {report / 'report.html'}")
    if result.details.get("left out"):
        state.warn(f"{result.details['left out']} files left out, the first is {result.details['left out files'][0]}")
        raise typer.Exit(ExitCode.PARTIAL)
