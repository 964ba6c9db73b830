"""Answers, hits and records for people at a terminal. Everything from the archive passes through :func:`line`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rsrag import geo
from rsrag.cli.text import line
from rsrag.facts import distance_text, fact_sentences, position_text, value_text
from rsrag.plain import clipped
from rsrag.times import format_span
from rsrag.types import Answer, Fact, Footprint, Hit, Location, Scene, Sentence

if TYPE_CHECKING:
    from rich.console import Console

_METHODS = {
    "given": "from the image's own coordinates",
    "stated": "as stated",
    "geometry": "matched with an archive tile",
    "agreement": "where similar tiles gather",
}


def show_answer(console: Console, answer: Answer, *, verbose: bool = False) -> None:
    """The answer, its evidence, where it is, and what stands in its way."""
    console.print()
    if answer.abstained:
        console.print(Padding(line(answer.text, "yellow"), (0, 2)))
    else:
        console.print(Padding(_paragraph(answer.sentences), (0, 2)))
    console.print()
    rows: list[tuple[str, Text]] = []
    if answer.location is not None:
        rows.append(("Where", _location(answer.location)))
    if not answer.abstained:
        rows.append(("Confidence", Text(f"{answer.confidence:.2f}")))
    _show_rows(console, rows)
    cited = {n for s in answer.sentences for n in s.citations}
    if answer.evidence:
        console.print(Text("  Evidence", "cyan"))
    for evidence in answer.evidence:
        used = evidence.number in cited
        mark = Text(f"[{evidence.number}]", "bold cyan" if used else "dim")
        _show_hit(console, mark, evidence.hit, short=bool(cited) and not used, verbose=verbose)
    for warning in answer.warnings:
        console.print(Text().append("  ! ", "yellow").append_text(line(warning)))
    if verbose:
        _show_provenance(console, answer)
    console.print()


def show_hits(
    console: Console, hits: Sequence[Hit], location: Location | None = None, *, verbose: bool = False
) -> None:
    """Search results, numbered."""
    if location is not None:
        _show_rows(console, [("Where", _location(location))])
    for number, hit in enumerate(hits, start=1):
        _show_hit(console, Text(str(number), "bold cyan"), hit, verbose=verbose)


def show_record(console: Console, title: str, rows: Iterable[tuple[str, Any]], text: str | None = None) -> None:
    """One thing in full: names and values, then its text if it has one."""
    console.print(line(title, "bold"))
    table = Table.grid(padding=(0, 2))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        if value not in (None, "", ()):
            table.add_row(line(name), line(value))
    console.print(table)
    if text:
        console.print()
        for paragraph in text.split("\n\n"):
            console.print(Padding(line(paragraph), (0, 2, 1, 2)))


def _paragraph(sentences: Sequence[Sentence]) -> Text:
    text = Text()
    for sentence in sentences:
        text.append_text(line(sentence.text, "" if sentence.supported else "italic yellow"))
        if not sentence.supported:
            text.append(" (unsupported)", "yellow")
        for number in sentence.citations:
            text.append(f" [{number}]", "bold cyan")
        text.append(" ")
    text.rstrip()
    return text


def _show_hit(console: Console, mark: Text, hit: Hit, *, short: bool = False, verbose: bool = False) -> None:
    """A hit under its number; ``short`` leaves out text, facts and source."""
    head = line(clipped(hit.title, 100), "bold").append("  ").append(hit.kind, "dim").append("  ")
    body = [head.append(f"{hit.score:.3f}", "green")]
    body.append(line(" · ".join(part for part in _about(hit) if part)))
    if not short:
        if hit.passage is not None:
            body.append(line(clipped(hit.passage.text, 320), "dim"))
        elif hit.tile is not None and hit.tile.facts:
            body.append(line(clipped(" ".join(fact_sentences(hit.tile.facts)), 240), "dim"))
        body.append(line(_source(hit), "dim italic"))
    if verbose:
        scores = ", ".join(f"{name} {value:.3g}" for name, value in hit.scores.items())
        body.append(line(f"{hit.id}  {scores}", "dim"))
    table = _grid(5, "right")
    for row in (text for text in body if text.plain):
        table.add_row(mark, row)
        mark = Text()
    console.print(table)


def _grid(width: int, justify: Literal["left", "right"]) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(width=width, justify=justify, no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _show_rows(console: Console, rows: Sequence[tuple[str, Text]]) -> None:
    table = _grid(12, "left")
    for name, text in rows:
        table.add_row(Text("  ").append_text(line(name, "cyan")), text)
    console.print(table)


def _about(hit: Hit) -> list[str]:
    parts: list[str] = []
    if hit.kind == "tile":
        parts += [format_span(hit.scene.time if hit.scene else None), (hit.scene.sensor or "") if hit.scene else ""]
        if hit.footprint is not None:
            parts += [position_text(*geo.centre(hit.footprint)), _size(hit.footprint)]
        else:
            parts.append("no position")
        if hit.match is not None:
            parts.append("verified by geometry")
    elif hit.place is not None:
        parts += [hit.place.kind or "", hit.place.country or "", position_text(hit.place.lon, hit.place.lat)]
    elif hit.passage is not None and hit.passage.lon is not None and hit.passage.lat is not None:
        parts.append(position_text(hit.passage.lon, hit.passage.lat))
    if hit.passage is not None and hit.passage.time is not None:
        parts.append(format_span(hit.passage.time))
    return parts


def _source(hit: Hit) -> str:
    if hit.kind == "tile":
        return window_text(hit)
    sources = list(hit.passage.sources) if hit.passage else []
    document = hit.document.source.rsplit("/", 1)[-1] if hit.document else ""
    return "; ".join(part for part in (document, *sources) if part)


def window_text(hit: Hit) -> str:
    """File and pixel window of a tile hit."""
    if hit.tile is None:
        return ""
    window = hit.tile.window
    name = hit.scene.source.rsplit("/", 1)[-1] if hit.scene else hit.tile.scene_id
    return f"{name}, columns {window.col}+{window.width}, rows {window.row}+{window.height}"


def scene_rows(scene: Scene) -> list[tuple[str, Any]]:
    """Names and values of a scene."""
    bands = ", ".join(f"{b.index} {b.role or b.description or '?'} {b.dtype}" for b in scene.bands)
    return [
        ("id", scene.id),
        ("source", scene.source),
        ("collection", scene.collection),
        ("date", format_span(scene.time)),
        ("sensor", scene.sensor),
        ("size", f"{scene.width} × {scene.height} px"),
        ("ground resolution", f"{scene.gsd_m:.3g} m" if scene.gsd_m else None),
        ("bands", bands),
        ("CRS", scene.crs),
        *footprint_rows(scene.footprint),
        ("stretch", scene.stretch),
        ("licence", scene.licence),
        ("digest", scene.digest),
    ]


def footprint_rows(footprint: Footprint | None) -> list[tuple[str, Any]]:
    """Centre, box and area of a footprint."""
    if footprint is None:
        return [("position", "unknown")]
    box = " ".join(f"{v:.6g}" for v in footprint.bbox)
    return [
        ("centre", position_text(*geo.centre(footprint))),
        ("bbox", box),
        ("area", f"{geo.area_km2(footprint):,.4g} km²"),
    ]


def fact_rows(facts: Sequence[Fact]) -> list[tuple[str, Any]]:
    """Facts by their stored names, which is what ``--fact`` takes."""
    return [(fact.name, value_text(fact)) for fact in facts]


def _location(location: Location) -> Text:
    text = line(position_text(location.lon, location.lat), "bold")
    error = distance_text(location.error_km)
    tail = f"  ± {error}, {_METHODS[location.method]}"
    if location.method in ("geometry", "agreement"):
        tail += f", confidence {location.confidence:.2f}"
    return text.append(tail)


def _size(footprint: Footprint) -> str:
    area = geo.area_km2(footprint)
    return f"{area:,.0f} km²" if area >= 100 else f"{area:.3g} km²"


def _show_provenance(console: Console, answer: Answer) -> None:
    made = answer.provenance
    seconds = ", ".join(f"{stage} {value * 1000:.0f} ms" for stage, value in made.seconds.items())
    rows = [("rsrag", made.version), ("Prompt", made.prompt), *made.models.items(), ("Time", seconds)]
    _show_rows(console, [(name, line(value, "dim")) for name, value in rows])
