"""An answer as one page: image, cited answer, evidence and maps in a single HTML file that loads nothing.

Everything from the archive, the question and the models is data: it is escaped, stripped of control characters, and the
page's content security policy allows embedded pictures and styles only.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsrag import geo
from rsrag.facts import distance_text, groups, label, position_text, value_text
from rsrag.htmlpage import escaped, page
from rsrag.plain import clipped
from rsrag.replacing import replacing
from rsrag.times import format_span
from rsrag.types import Answer, BBox, Evidence, Fact, Footprint, Hit, Location, QueryImage
from rsrag.worldmap import WORLD, Frame, Map, Mark, data_uri, frame_around

if TYPE_CHECKING:
    from rsrag.catalog import Catalog
    from rsrag.engine import Engine

Thumbnails = Callable[[str], bytes | None]
Overview = Sequence[tuple[Footprint, bytes]]

_IMAGE_SIDE = 720
_MAX_PICTURES = 160
_LONG = 420
_WIDE, _NARROW = 700, 460
"""Widths of the two maps in pixels, about as they are shown: their lettering keeps its size."""
_METHODS = {
    "given": "the image carries its own coordinates",
    "stated": "as stated in the question",
    "geometry": "matched feature by feature with an archive tile",
    "agreement": "where the most similar tiles gather",
}


def write_page(engine: Engine, path: str | Path, answer: Answer, *, image: QueryImage | None = None) -> None:
    """The report of an answer with thumbnails and map background from the engine's archive.

    Raises:
        UsageError: the file cannot be written.
    """
    background = overview(engine.catalog) if answer.evidence or answer.location else ()
    write_report(Path(path), answer, image=image, thumbnails=engine.thumbnail, overview=background)


def overview(catalog: Catalog, limit: int = _MAX_PICTURES) -> list[tuple[Footprint, bytes]]:
    """The archive seen from afar: footprints and JPEGs, large before small.

    Every scene gives the tiles of its finest scale that fits into its share of ``limit``; of scenes over the same
    ground only the first is taken.
    """
    distinct: dict[BBox, Any] = {}
    for scene in catalog.scenes(limit=10 * limit):
        if scene.footprint is not None:
            distinct.setdefault(BBox(*(round(v, 2) for v in scene.footprint.bbox)), scene)
    scenes = sorted(distinct.values(), key=lambda s: -geo.area_km2(s.footprint))[:limit]
    found: list[tuple[Footprint, bytes]] = []
    for scene in scenes:
        scales: dict[float, list[Any]] = {}
        for tile in catalog.tiles_of(scene.id):
            if tile.footprint is not None:
                scales.setdefault(tile.scale, []).append(tile)
        if not scales:
            continue
        fitting = [scale for scale, tiles in scales.items() if len(tiles) <= limit // len(scenes)]
        for tile in scales[min(fitting, default=max(scales))][: limit - len(found)]:
            data = catalog.thumbnail(tile.id)
            if data is not None:
                found.append((tile.footprint, data))
    return found


def write_report(
    path: str | Path,
    answer: Answer,
    *,
    image: QueryImage | None = None,
    thumbnails: Thumbnails = lambda _: None,
    overview: Overview = (),
) -> None:
    """Write an answer as a self-contained HTML page; an existing file is replaced once the new one is complete.

    Args:
        path: file to write.
        answer: what was answered.
        image: what was asked about.
        thumbnails: JPEG or PNG of a tile by its id, or None.
        overview: pictures behind the maps, from back to front.

    Raises:
        UsageError: the file cannot be written.
    """
    path = Path(path)
    with replacing(path) as partial:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(render(answer, image=image, thumbnails=thumbnails, overview=overview), encoding="utf-8")


def render(answer: Answer, *, image: QueryImage | None = None, thumbnails: Thumbnails, overview: Overview = ()) -> str:
    """The page as text; arguments as for :func:`write_report`."""
    pictures = {e.hit.id: p for e in answer.evidence if e.hit.kind == "tile" and (p := thumbnails(e.hit.id))}
    cited = {n for sentence in answer.sentences for n in sentence.citations}
    title = answer.question or "What does this image show?"
    body = [
        f'<section class="hero{"" if image is None else " with-image"}">',
        _query_image(image),
        _answer(answer),
        "</section>",
        _maps(answer, pictures, overview, cited),
        _evidence(answer.evidence, pictures, cited),
        _provenance(answer),
    ]
    return page("answer with evidence", title, title, body)


# --- question and answer --------------------------------------------------------------------------------------------


def _query_image(image: QueryImage | None) -> str:
    if image is None:
        return ""
    from PIL import Image

    picture = Image.fromarray(image.pixels)
    picture.thumbnail((_IMAGE_SIDE, _IMAGE_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    height, width = image.pixels.shape[:2]
    facts = [f"{width} × {height} px", format_span(image.time) if image.time else ""]
    facts.append("without coordinates" if image.footprint is None else "with coordinates")
    about = " · ".join(f for f in facts if f)
    return (
        f'<figure class="query"><img alt="The image asked about" src="{data_uri(buffer.getvalue())}">'
        f"<figcaption><b>{escaped(image.name)}</b> {escaped(about)}</figcaption></figure>"
    )


def _answer(answer: Answer) -> str:
    parts = ['<div class="answer">']
    if answer.abstained:
        parts.append(f'<p class="abstained"><b>No answer.</b> {escaped(answer.text)}</p>')
    else:
        parts.append('<p class="says">')
        for sentence in answer.sentences:
            links = "".join(f'<a class="cite" href="#e{n}">{n}</a>' for n in sentence.citations)
            head, _, last = escaped(sentence.text).rpartition(" ")
            if sentence.supported:
                parts.append(f'{head} <span class="keep">{last}{links}</span> ')
            else:
                parts.append(f'<span class="unsupported">{head} {last}</span><em>unsupported</em>{links} ')
        parts.append("</p>")
    rows = []
    if answer.location is not None:
        rows.append(("Where", _location(answer.location)))
    if not answer.abstained:
        percent = round(100 * min(max(answer.confidence, 0.0), 1.0))
        meter = f'<span class="meter"><span style="width:{percent}%"></span></span> {percent} %'
        rows.append(("Confidence", meter))
    parts.append(_definitions(rows, "summary"))
    parts += [f'<p class="warning">{escaped(warning)}</p>' for warning in answer.warnings]
    parts.append("</div>")
    return "".join(parts)


def _location(location: Location) -> str:
    error = distance_text(location.error_km)
    text = f"<b>{escaped(position_text(location.lon, location.lat))}</b> ± {error}<br>"
    text += f"<small>{_METHODS[location.method]}"
    if location.method in ("geometry", "agreement"):
        text += f", confidence {location.confidence:.2f}"
    return f"{text}</small>"


def _definitions(rows: Sequence[tuple[str, str]], kind: str) -> str:
    """A list of names and values; values are HTML already."""
    if not rows:
        return ""
    cells = "".join(f"<dt>{escaped(name)}</dt><dd>{value}</dd>" for name, value in rows)
    return f'<dl class="{kind}">{cells}</dl>'


# --- maps -----------------------------------------------------------------------------------------------------------


def _maps(answer: Answer, pictures: Mapping[str, bytes], overview: Overview, cited: set[int]) -> str:
    marks = [mark for evidence in answer.evidence if (mark := _mark(evidence, cited)) is not None]
    location = answer.location
    if not marks and location is None:
        return ""
    target = (location.lon, location.lat) if location else None
    circle = geo.around(target, location.error_km) if location and target and location.error_km > 0 else None
    outline = location.footprint if location else None
    boxes = [b for m in marks for b in ([m.footprint.bbox] if m.footprint else [BBox(*m.position, *m.position)])]
    boxes += [f.bbox for f in (outline, circle) if f is not None]
    seen = boxes + [footprint.bbox for footprint, _ in overview]
    wide = frame_around(seen, margin=0.06, least=0.05, width=_WIDE, ratio=2.0) or WORLD
    detail = _detail_frame(answer, marks, outline, circle)
    located = [e.hit for e in answer.evidence if e.hit.footprint is not None and e.hit.id in pictures]
    tiles = [(hit.footprint, pictures[hit.id]) for hit in located if hit.footprint is not None]
    tiles.sort(key=lambda item: -geo.area_km2(item[0]))
    parts = []
    for frame, title, images in (
        (wide, "The evidence on the map", list(overview)),
        (detail, "Around the location", [*overview, *tiles]),
    ):
        if frame is None or (frame is detail and wide.shows(frame)):
            continue
        drawing = Map(frame, title, images, marks, outline, target, circle, crowded=frame is wide)
        parts.append(f"<figure>{drawing.svg()}<figcaption>{title}</figcaption></figure>")
    return f'<section class="maps n{len(parts)}">{"".join(parts)}</section>'


def _mark(evidence: Evidence, cited: set[int]) -> Mark | None:
    hit = evidence.hit
    if hit.footprint is not None:
        position = geo.centre(hit.footprint)
    elif hit.place is not None:
        position = (hit.place.lon, hit.place.lat)
    elif hit.passage is not None and hit.passage.lon is not None and hit.passage.lat is not None:
        position = (hit.passage.lon, hit.passage.lat)
    else:
        return None
    number = str(evidence.number)
    return Mark(number, position, hit.footprint, f"#e{number}", not cited or evidence.number in cited)


def _detail_frame(
    answer: Answer, marks: Sequence[Mark], outline: Footprint | None, circle: Footprint | None
) -> Frame | None:
    """A closer look: twice the located area, or else what the first cited evidence covers."""
    if outline is not None or circle is not None:
        boxes = [f.bbox for f in (outline, circle if outline is None else None) if f is not None]
    else:
        strong = [m for m in marks if m.strong]
        if not strong:
            return None
        first = strong[0]
        boxes = [first.footprint.bbox if first.footprint else BBox(*first.position, *first.position)]
    return frame_around(boxes, margin=0.4, least=0.02, width=_NARROW, ratio=4 / 3)


# --- evidence -------------------------------------------------------------------------------------------------------


def _evidence(evidence: Sequence[Evidence], pictures: Mapping[str, bytes], cited: set[int]) -> str:
    if not evidence:
        return ""
    cards = "".join(_card(e, pictures.get(e.hit.id), e.number in cited) for e in evidence)
    return f'<section><h2>Evidence</h2><div class="cards">{cards}</div></section>'


def _card(evidence: Evidence, picture: bytes | None, cited: bool) -> str:
    hit = evidence.hit
    uri = data_uri(picture) if picture else None
    image = f'<img alt="Tile {evidence.number}" src="{uri}">' if uri else ""
    passage = _long_text(hit.passage.text) if hit.passage is not None else ""
    facts = [
        *(hit.tile.facts if hit.tile else ()),
        *(hit.passage.facts if hit.passage else ()),
        *(hit.place.facts if hit.place and hit.kind == "passage" else ()),
    ]
    return (
        f'<article class="card{" cited" if cited else ""}" id="e{evidence.number}">{image}<div>'
        f'<h3><span class="n">{evidence.number}</span>{escaped(clipped(hit.title, 120))}</h3>'
        f"{_definitions(_about(hit), 'about')}{passage}{_facts(facts)}{_scores(hit)}</div></article>"
    )


def _about(hit: Hit) -> list[tuple[str, str]]:
    rows: list[tuple[str, object]] = []
    place, scene, passage = hit.place, hit.scene, hit.passage
    if place is not None:
        kind = ", ".join(x for x in (place.kind, place.country) if x)
        rows.append(("Place", f"{place.name}{f' ({kind})' if kind else ''}"))
    if hit.kind == "tile":
        rows.append(("Date", format_span(scene.time if scene else None)))
        rows.append(("Sensor", scene.sensor if scene else None))
        if hit.footprint is not None:
            size = value_text(Fact("area", geo.area_km2(hit.footprint), "km2"))
            rows.append(("Position", f"{position_text(*geo.centre(hit.footprint))} · {size}"))
        if hit.match is not None:
            inliers = hit.scores.get("inliers")
            agree = f", {inliers:.0f} features agree" if inliers else ""
            rows.append(("Match", f"verified by geometry{agree}"))
        if hit.tile is not None:
            window = hit.tile.window
            text = f"columns {window.col}+{window.width}, rows {window.row}+{window.height}"
            rows.append(("Source", f"{Path(scene.source).name if scene else hit.tile.scene_id}, {text}"))
        rows.append(("Licence", scene.licence if scene else None))
    else:
        if passage is not None and passage.time is not None:
            rows.append(("Date", format_span(passage.time)))
        if place is not None:
            rows.append(("Position", position_text(place.lon, place.lat)))
        elif passage is not None and passage.lon is not None and passage.lat is not None:
            rows.append(("Position", position_text(passage.lon, passage.lat)))
        works = "; ".join(passage.sources) if passage else ""
        document = Path(hit.document.source).name if hit.document else ""
        rows.append(("Source", " · ".join(x for x in (document, works) if x)))
        rows.append(("Licence", hit.document.licence if hit.document else None))
    return [(name, escaped(value)) for name, value in rows if value]


def _long_text(text: str) -> str:
    if len(text) <= _LONG:
        return f"<p>{escaped(text)}</p>"
    return f"<details class='long'><summary>{escaped(clipped(text, _LONG))}</summary><p>{escaped(text)}</p></details>"


def _facts(facts: Sequence[Fact]) -> str:
    """Ratios and measures openly; digital numbers of single bands on request."""
    shown, raw = ([f for f in facts if (f.unit == "DN") is wanted] for wanted in (False, True))
    more = f"<details class='more'><summary>bands</summary>{_fact_list(raw)}</details>" if raw else ""
    return _fact_list(shown) + more


def _fact_list(facts: Sequence[Fact]) -> str:
    rows = []
    for quantity, members in groups(facts).items():
        values = ", ".join(f"{statistic} {value_text(fact)}".strip() for statistic, fact in members)
        rows.append((label(quantity), escaped(values)))
    return _definitions(rows, "facts")


def _scores(hit: Hit) -> str:
    scores = {"score": hit.score, **hit.scores}
    chips = "".join(
        f"<span>{escaped(name)} <b>{value:{'.0f' if abs(value) >= 100 else '.3g'}}</b></span>"
        for name, value in scores.items()
    )
    return f'<p class="scores">{chips}</p>'


# --- provenance -----------------------------------------------------------------------------------------------------


def _provenance(answer: Answer) -> str:
    made = answer.provenance
    rows = [("rsrag", escaped(made.version)), ("Prompt", escaped(made.prompt))]
    rows += [(role, f"<code>{escaped(name)}</code>") for role, name in made.models.items()]
    total = sum(made.seconds.values()) or 1.0
    bars = "".join(
        f'<tr><th>{escaped(stage)}</th><td class="bar"><span style="width:{100 * value / total:.1f}%"></span></td>'
        f"<td>{1000 * value:,.0f} ms</td></tr>"
        for stage, value in made.seconds.items()
    )
    table = f'<table class="times">{bars}</table>' if bars else ""
    return (
        "<section><details class='made'><summary>How this answer was made</summary>"
        f"{_definitions(rows, 'about')}{table}</details></section>"
    )
