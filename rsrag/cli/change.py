"""``rsrag change``: what changed between dates, how much, where, and into what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from rsrag.cli.options import AsJson, Bands
from rsrag.cli.session import session
from rsrag.cli.tasks import Out, check_outputs, finish, task_context
from rsrag.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from rsrag.adapters.change import ChangeResult
    from rsrag.cli.session import Session
    from rsrag.types import TimeSpan

_CLOUDS: dict[str, bool | None] = {"auto": None, "mask": True, "keep": False}
_METHODS = ("auto", "combined", "cva", "irmad", "index", "features")


class TakesDates(TyperCommand):
    """Several dates after one option: ``--between 2009 2020`` is ``--between 2009 --between 2020``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        expanded: list[str] = []
        listing = False
        for argument in args:
            if argument.startswith("-"):
                listing = argument.partition("=")[0] == "--between"
                expanded.append(argument)
            elif listing and expanded[-1] != "--between":
                expanded += ["--between", argument]
            else:
                expanded.append(argument)
        return super().parse_args(ctx, expanded)


def change(
    ctx: typer.Context,
    images: Annotated[
        list[str] | None, typer.Argument(metavar="BEFORE AFTER …", help="Images, or ids of scenes in the archive.")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(metavar="PLACE|LON,LAT", help="Compare the archive's scenes of this place instead."),
    ] = None,
    between: Annotated[
        list[str] | None,
        typer.Option(metavar="DATE DATE …", help="Dates that scenes near to are taken, two or more: 2009 2020."),
    ] = None,
    question: Annotated[
        list[str] | None,
        typer.Option("--question", "-q", metavar="TEXT", help="Ask about the change; repeat for a dialogue."),
    ] = None,
    method: Annotated[str, typer.Option(metavar="|".join(_METHODS), help="Detector.")] = "auto",
    threshold: Annotated[
        float | None, typer.Option(min=0, help="Line between changed and unchanged, in the detector's unit.")
    ] = None,
    min_area: Annotated[
        float | None, typer.Option("--min-area", metavar="M2", min=0, help="Leave out smaller changes.")
    ] = None,
    registered: Annotated[
        bool, typer.Option("--registered", help="The dates lie on one another already: correct no shift.")
    ] = False,
    clouds: Annotated[
        str, typer.Option(metavar="auto|mask|keep", help="Clouds; auto masks them in natural colour from 8 m a pixel.")
    ] = "auto",
    as_given: Annotated[
        bool, typer.Option("--as-given", help="Keep the order of the images, whatever their dates say.")
    ] = False,
    bands: Bands = None,
    crs: Annotated[str | None, typer.Option(metavar="CRS", help="CRS, where a file does not say.")] = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Compare two or more dates of the same ground.

    Dates are put in order, on one grid, and corrected for small shifts and other light. Three dates or more give a
    trend.
    """
    state = session(ctx, as_json=as_json)
    check_outputs(out)
    if method not in _METHODS:
        raise UsageError(f"no method {method!r}", hint=f"one of {', '.join(_METHODS)}")
    if bool(images) == (where is not None):
        raise UsageError("what to compare?", hint="rsrag change BEFORE AFTER, or --where PLACE --between DATE DATE")
    if clouds not in _CLOUDS:
        raise UsageError(f"clouds {clouds!r}", hint=f"one of {', '.join(_CLOUDS)}")
    from rsrag.adapters.change import Change, ChangeRequest
    from rsrag.adapters.look import reading
    from rsrag.filters import parse_where

    request = ChangeRequest(
        images=tuple(images or ()), where=parse_where(where) if where is not None else None,
        between=_dates(between), questions=tuple(question or ()), method=method,  # type: ignore[arg-type]
        threshold=threshold, min_area_m2=min_area, register=not registered, mask_clouds=_CLOUDS[clouds],
        in_order=as_given, options=reading(bands, crs),
    )  # fmt: skip
    with task_context(state, archive=where is not None) as context:
        result = Change().run(request, context)
        finish(state, result, out, also=lambda: _answers(state, result))
    if not any(one.compared for one in (result, *result.steps)):
        raise typer.Exit(ExitCode.NOTHING)


def _dates(said: list[str] | None) -> tuple[TimeSpan, ...]:
    from rsrag.times import parse_time

    return tuple(parse_time(text) for text in said or ())


def _answers(state: Session, result: ChangeResult) -> None:
    from rsrag.cli.text import line

    for turn in result.answers:
        state.out.print(line(f"› {turn.question}", "dim"))
        state.out.print(line(turn.answer))
