"""A result as one HTML page that loads nothing: picture, sentences, numbers, regions, evidence."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from rsrag.adapters.base import Region, TaskResult
from rsrag.adapters.draw import colours_of, draw, drawable
from rsrag.facts import label, position_text, split_name, value_text
from rsrag.htmlpage import escaped, page
from rsrag.plain import clipped
from rsrag.replacing import replacing
from rsrag.times import format_span
from rsrag.types import Fact
from rsrag.worldmap import data_uri

_MOST_REGIONS = 200


def write_html(result: TaskResult, path: Path) -> None:
    """See :meth:`rsrag.adapters.base.TaskResult.to_html`."""
    with replacing(path) as partial:
        partial.write_text(render(result), encoding="utf-8")


def render(result: TaskResult) -> str:
    """The page as text. Everything from image, archive and models is escaped."""
    subject = result.subject
    about = [f"{subject.width} × {subject.height} px", format_span(subject.time) if subject.time else "date unknown"]
    about.append(subject.crs or "without coordinates")
    says = "".join(
        f"{escaped(s.text)}" + "".join(f'<a class="cite" href="#e{n}">{n}</a>' for n in s.citations) + " "
        for s in result.sentences
    )
    buffer = io.BytesIO()
    Image.fromarray(draw(result)).save(buffer, "PNG")
    body = [
        f'<section class="hero"><div class="answer"><p class="says">{says}</p>',
        *(f'<p class="warning">{escaped(warning)}</p>' for warning in result.warnings),
        "</div></section>",
        f'<figure class="query"><img alt="The result over the image" src="{data_uri(buffer.getvalue())}">',
        f"<figcaption>{escaped(' · '.join(about))}{_legend(result)}</figcaption></figure>",
        _facts(result.facts),
        _regions(result.regions),
        _evidence(result),
        _provenance(result),
    ]
    return page(result.task, subject.name, f"{result.task}: {subject.name}", body)


def _legend(result: TaskResult) -> str:
    """What the colours of the picture mean, where its own legend lacks letters of the names."""
    colours = colours_of(result)
    if all(drawable(name) == name for name in colours):
        return ""
    entries = (f'<span style="color:rgb{colour}">&#9632;</span> {escaped(name)}' for name, colour in colours.items())
    return f"<br>{' &#160; '.join(entries)}"


def _facts(facts: Sequence[Fact]) -> str:
    rows = "".join(f"<tr><td>{escaped(_name(f))}</td><td>{escaped(value_text(f))}</td></tr>" for f in facts)
    return f"<section><h2>Numbers</h2><table>{rows}</table></section>" if rows else ""


def _name(fact: Fact) -> str:
    quantity, statistic = split_name(fact.name)
    return f"{label(quantity)} {statistic}".strip()


def _regions(regions: Sequence[Region]) -> str:
    rows = []
    for number, region in enumerate(regions[:_MOST_REGIONS], start=1):
        where = position_text(*region.centre) if region.centre is not None else ""
        box = ", ".join(f"{v:.0f}" for v in region.box)
        values = "; ".join(f"{_name(f)} {value_text(f)}" for f in region.facts)
        cells = (number, region.label, f"{region.score:.2f}", box, where, values)
        rows.append("<tr>" + "".join(f"<td>{escaped(cell)}</td>" for cell in cells) + "</tr>")
    if not rows:
        return ""
    more = f"<p>{len(regions) - _MOST_REGIONS} more are in the GeoJSON.</p>" if len(regions) > _MOST_REGIONS else ""
    head = "".join(f"<th>{name}</th>" for name in ("", "what", "score", "box (px)", "centre", "measured"))
    return f"<section><h2>Regions</h2><table><tr>{head}</tr>{''.join(rows)}</table>{more}</section>"


def _evidence(result: TaskResult) -> str:
    rows = [
        f'<li id="e{e.number}"><b>[{e.number}] {escaped(e.hit.title)}</b> {escaped(clipped(e.text, 420))}</li>'
        for e in result.evidence
    ]
    return f"<section><h2>Evidence</h2><ul>{''.join(rows)}</ul></section>" if rows else ""


def _provenance(result: TaskResult) -> str:
    made = result.provenance
    models = "; ".join(f"{role} {name}" for role, name in made.models.items())
    seconds = "; ".join(f"{stage} {value:.1f} s" for stage, value in made.seconds.items())
    rows = [("models", models), ("time", seconds), ("rsrag", made.version)]
    cells = "".join(f"<tr><td>{name}</td><td>{escaped(value)}</td></tr>" for name, value in rows if value)
    return f'<section class="provenance"><h2>Provenance</h2><table>{cells}</table></section>'
