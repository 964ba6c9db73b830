"""``rsrag eval``: the suites on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from rsrag.eval.cli import caption, change, detection, encoders, places, segmentation

if TYPE_CHECKING:
    from rsrag.cli.session import Session
    from rsrag.eval.reports.result import SuiteResult
    from rsrag.progress import Progress

_LISTS = ("--archive", "--queries", "--passages")


class TakesLists(TyperCommand):
    """Several values after one option: ``--archive a.tif b.tif`` is ``--archive a.tif --archive b.tif``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        expanded: list[str] = []
        current: str | None = None
        for argument in args:
            if argument.startswith("-"):
                current = argument if argument in _LISTS else None
                expanded.append(argument)
            elif current is not None and expanded[-1] != current:
                expanded += [current, argument]
            else:
                expanded.append(argument)
        return super().parse_args(ctx, expanded)


app = typer.Typer(
    add_completion=False,
    help="Measure retrieval and answers beside baselines. Every suite prints a table; with --json one object.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object {suite, metrics, ...} on standard output.")]
ProfileName = Annotated[str | None, typer.Option("--profile", help="Models to measure instead of the default ones.")]


@app.command("knowledge", cls=TakesLists)
def knowledge(
    ctx: typer.Context,
    passages: Annotated[
        list[Path],
        typer.Option(exists=True, dir_okay=False, help="Passages: JSON lines with id, place, text; repeatable."),
    ],
    questions: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="Questions: JSON lines with question, answer, place.")
    ],
    limit: Annotated[int | None, typer.Option(min=1, help="Ask only so many questions.")] = None,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Answer questions over passages; those whose answer is null must be declined."""
    state = _session(ctx, as_json)
    from rsrag.eval.knowledge import run

    _show(state, run(passages, questions, profile=profile, limit=limit, progress=_progress(state)))


@app.command("place-recognition", cls=TakesLists)
def place_recognition(
    ctx: typer.Context,
    archive: Annotated[list[str], typer.Option(help="Scenes that are searched; repeatable.")],
    queries: Annotated[list[str], typer.Option(help="Scenes that altered queries are cut from; repeatable.")],
    tile_size: Annotated[int, typer.Option(min=64, help="Side of the archive's tiles in pixels.")] = 256,
    per_scene: Annotated[int, typer.Option(min=1, help="Most queries a scene gives.")] = 48,
    seed: Annotated[int, typer.Option(min=0, help="Of the alterations.")] = 0,
    profile: ProfileName = None,
    as_json: AsJson = False,
) -> None:
    """Find the place of altered tiles of one date among tiles of other dates."""
    state = _session(ctx, as_json)
    from rsrag.eval.place_recognition import run

    result = run(
        archive,
        queries,
        tile_size=tile_size,
        per_scene=per_scene,
        seed=seed,
        profile=profile,
        progress=_progress(state),
    )
    _show(state, result)


@app.command("prepare")
def prepare(
    ctx: typer.Context,
    dataset: Annotated[str, typer.Argument(metavar="unesco|rswk", help="Which public data set.")],
    data: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder with its files.")],
    out: Annotated[Path, typer.Option(file_okay=False, help="Where passages.jsonl and questions.jsonl go.")],
    split: Annotated[str, typer.Option(metavar="dev|test|all", help="Which half of the questions.")] = "test",
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many RSWK questions.")] = None,
) -> None:
    """Write a public data set as passages and questions for the knowledge suite."""
    state = _session(ctx, False)
    from rsrag.errors import UsageError
    from rsrag.eval.datasets import prepare as sets

    if dataset == "unesco":
        passages, questions = sets.unesco_passages(data), sets.unesco_questions(split)
    elif dataset == "rswk":
        passages, questions = sets.rswk_passages(data), sets.rswk_questions(data, limit)
    else:
        raise UsageError(f"unknown data set {dataset!r}", hint="unesco or rswk")
    written = sets.write_jsonl(out / "passages.jsonl", passages), sets.write_jsonl(out / "questions.jsonl", questions)
    state.note(f"{written[0]} passages and {written[1]} questions in {out}")


encoders.register(app)
detection.register(app)
places.register(app)
change.register(app)
caption.register(app)
segmentation.register(app)


def _session(ctx: typer.Context, as_json: bool) -> Session:
    from rsrag.cli.session import session

    return session(ctx, as_json=as_json)


def _progress(state: Session) -> Progress:
    from rsrag.cli.progress import progress_for

    return progress_for(state.err)


def _show(state: Session, result: SuiteResult) -> None:
    encoders.finish(state, result, None)
