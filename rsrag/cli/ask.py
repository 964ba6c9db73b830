"""``rsrag search``, ``ask`` and ``chat``."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rsrag.cli.options import (
    Alpha,
    AsJson,
    Box,
    Collections,
    Facts,
    Fusion,
    Image,
    Intersects,
    Limit,
    Reader,
    Sensors,
    When,
    Where,
    build_filters,
)
from rsrag.cli.session import Session, error_table, session
from rsrag.errors import ExitCode, RsragError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rsrag.chat import Chat
    from rsrag.types import Position

_KINDS = ("all", "tile", "passage")


def search(
    ctx: typer.Context,
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help="Question or description.")] = None,
    image: Image = None,
    where: Where = None,
    bbox: Box = None,
    when: When = None,
    intersects: Intersects = None,
    collections: Collections = None,
    sensor: Sensors = None,
    fact: Facts = None,
    kind: Annotated[str, typer.Option(metavar="tile|passage|all", help="One kind of result only.")] = "all",
    limit: Limit = None,
    fusion: Fusion = None,
    alpha: Alpha = None,
    save: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="Also write the results: .geojson, .gpkg or .parquet."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find tiles and passages, best first.

    Give words, an image, a place, filters, or several of them. Filters alone list matching tiles, the widest
    first.
    """
    state = session(ctx, as_json=as_json, fusion=fusion, alpha=alpha)
    if kind not in _KINDS:
        raise UsageError(f"no kind {kind!r}", hint=f"one of {', '.join(_KINDS)}")
    from rsrag.cli.render import show_hits

    place = _where(where)
    filters = build_filters(
        bbox=bbox, when=when, intersects=intersects, collections=collections, sensors=sensor, facts=fact
    )
    with state.open() as engine:
        count = limit or engine.settings.limit
        found = engine.retrieve(text, image=image, where=place, filters=filters, limit=count)
        hits = found.shown(kind, count)
        if save is not None:
            engine.export(save, hits=hits)
    for warning in found.warnings:
        state.warn(warning)
    if state.as_json:
        state.emit({"count": len(hits), "hits": hits, "location": found.location, "warnings": found.warnings})
    else:
        show_hits(state.out, hits, found.location, verbose=state.verbose)
    if save is not None:
        state.note(f"written to {save}")
    if not hits:
        state.note("nothing found")
        raise typer.Exit(ExitCode.NOTHING)


def ask(
    ctx: typer.Context,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What to find out.")],
    image: Image = None,
    where: Where = None,
    bbox: Box = None,
    when: When = None,
    intersects: Intersects = None,
    collections: Collections = None,
    sensor: Sensors = None,
    limit: Limit = None,
    fusion: Fusion = None,
    alpha: Alpha = None,
    reader: Reader = None,
    task: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="auto, or what to do: answer from the archive; change, count, locate, outline on the image.",
        ),
    ] = "auto",
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="Write a page with image, evidence and map: out.html."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Answer a question, every sentence cited.

    The image may come without coordinates: it is recognised among the archive's tiles and located.
    """
    state = session(ctx, as_json=as_json, fusion=fusion, alpha=alpha, reader=reader)
    if not question.strip():
        raise UsageError("an empty question", hint='rsrag ask "Which lake is this?" --image chip.png')
    from rsrag.cli.jsonform import plain
    from rsrag.cli.render import show_answer
    from rsrag.report import write_page

    place = _where(where)
    filters = build_filters(bbox=bbox, when=when, intersects=intersects, collections=collections, sensors=sensor)
    with state.open() as engine:
        picture = engine.picture(image) if image is not None else None
        with _listening(state) as on_text:
            answer = engine.ask(
                question, image=picture, where=place, filters=filters, limit=limit, on_text=on_text, task=_task(task)
            )
        if not state.as_json:
            show_answer(state.out, answer, verbose=state.verbose)
        try:
            if report is not None:
                write_page(engine, report, answer, image=picture)
        except UsageError as error:
            if state.as_json:
                state.emit({**plain(answer), "error": error_table(error)})
                state.as_json = False  # the one object is out, with the error in it
            raise
    if state.as_json:
        state.emit(answer)
    if report is not None:
        state.note(f"page written to {report}")
    if answer.abstained:
        raise typer.Exit(ExitCode.NOTHING)


def _task(name: str) -> Any:
    """A task's name, checked before anything is opened for it."""
    from rsrag.route import TASKS

    if name not in ("auto", *TASKS):
        raise UsageError(f"unknown task {name!r}", hint=f"one of auto, {', '.join(TASKS)}")
    return name


@contextmanager
def _listening(state: Session) -> Iterator[Callable[[str], None] | None]:
    """Show a reader's words as they come, on a terminal; they vanish when the checked answer is there."""
    if not state.err.is_terminal:
        yield None
        return
    from rich.live import Live
    from rich.spinner import Spinner

    from rsrag.cli.text import line

    pieces: list[str] = []
    with Live(Spinner("dots", "looking…"), console=state.err, transient=True, refresh_per_second=8) as live:

        def hear(piece: str) -> None:
            pieces.append(piece)
            live.update(line("".join(pieces), "dim"))

        yield hear


_CHAT_HELP = "A question, or /image FILE, /where PLACE, /reset, /help, /quit."


def chat(
    ctx: typer.Context,
    image: Image = None,
    where: Where = None,
    reader: Reader = None,
) -> None:
    """Ask several questions in a row.

    Image, place and earlier turns are remembered. /image FILE, /where PLACE and /reset change them, /quit leaves.
    """
    state = session(ctx, reader=reader)
    place = _where(where)
    with state.open() as engine:
        dialogue = engine.chat()
        interactive = sys.stdin.isatty()
        if interactive:
            _enable_line_editing()
            state.note(_CHAT_HELP)
        first: dict[str, Any] = {"image": image, "where": place}
        while (text := _read_line(interactive)) is not None:
            if text in ("/quit", "/exit", "/q"):
                break
            try:
                _turn(state, dialogue, text, first)
            except UsageError as error:
                state.fail(error)
            except RsragError as error:
                if not interactive:
                    raise
                state.fail(error)


def _turn(state: Session, dialogue: Chat, text: str, first: dict[str, Any]) -> None:
    from rsrag.cli.render import show_answer

    command, _, rest = text.partition(" ")
    rest = rest.strip()
    if not text:
        return
    if command == "/reset":
        dialogue.reset()
        first.clear()
        state.note("forgotten")
    elif command == "/image" and rest:
        if not Path(rest).is_file():
            raise UsageError(f"no file {rest}")
        first["image"] = Path(rest)
    elif command == "/where" and rest:
        first["where"] = _where(rest)
    elif command.startswith("/"):
        state.note(_CHAT_HELP)
    else:
        given = dict(first)
        first.pop("image", None)  # the dialogue keeps one that can be read; one that cannot is not tried again
        with _listening(state) as on_text:
            answer = dialogue.ask(text, on_text=on_text, **given)
        first.clear()
        show_answer(state.out, answer, verbose=state.verbose)


def _read_line(interactive: bool) -> str | None:
    try:
        return input("› " if interactive else "").strip()
    except EOFError:
        return None


def _enable_line_editing() -> None:
    try:
        import readline  # noqa: F401  (its import gives input() history and editing)
    except ImportError:
        return


def _where(text: str | None) -> str | Position | None:
    if text is None:
        return None
    from rsrag.filters import parse_where

    return parse_where(text)
