"""``rsrag show``: one thing in full."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rsrag.cli.options import AsJson
from rsrag.cli.session import session
from rsrag.errors import UsageError
from rsrag.replacing import replacing

if TYPE_CHECKING:
    from rich.console import Console

    from rsrag.engine import Engine


def show(
    ctx: typer.Context,
    identity: Annotated[
        str, typer.Argument(metavar="ID", help="Id of a tile, scene, place, passage or document, or a place's name.")
    ],
    save_thumbnail: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write the tile's picture to this JPEG file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show everything known about one thing in the archive."""
    state = session(ctx, as_json=as_json)
    with state.open() as engine:
        found = _find(engine, identity)
        thumbnail = engine.thumbnail(identity) if save_thumbnail is not None else None
    if found is None:
        raise UsageError(f"nothing in the archive has the id {identity}", hint="rsrag -v search shows ids")
    if save_thumbnail is not None:
        if thumbnail is None:
            raise UsageError(f"{identity} is no tile, or has no picture")
        if save_thumbnail.suffix.lower() not in (".jpg", ".jpeg"):
            raise UsageError(f"{save_thumbnail.name} is no name for a JPEG picture", hint="it must end in .jpg")
        with replacing(save_thumbnail) as partial:
            partial.write_bytes(thumbnail)
        state.note(f"picture written to {save_thumbnail}")
    if state.as_json:
        state.emit(found)
    else:
        _show_found(state.out, found)


def _find(engine: Engine, identity: str) -> dict[str, Any] | None:
    """What has this id (or, for places, this name), with what belongs to it."""
    catalog = engine.catalog
    if found := catalog.resolve_tiles([identity]).get(identity):
        return {"kind": "tile", "tile": found[0], "scene": found[1]}
    if scene := catalog.scene(identity):
        return {"kind": "scene", "scene": scene, "tiles": len(catalog.tiles_of(identity))}
    if passage := catalog.resolve_passages([identity]).get(identity):
        return {"kind": "passage", "passage": passage[0], "document": passage[1], "place": passage[2]}
    if document := catalog.document(identity):
        return {"kind": "document", "document": document}
    place = catalog.place(identity) or next(iter(catalog.places_by_name(identity)), None)
    if place is not None:
        return {"kind": "place", "place": place, "passages": catalog.passages_of_place(place.id)}
    return None


def _show_found(console: Console, found: dict[str, Any]) -> None:
    from rsrag.cli.render import show_record

    rows = {"tile": _tile_rows, "scene": _scene_rows, "passage": _passage_rows, "place": _place_rows}
    title, text = f"{found['kind'].capitalize()}", None
    if found["kind"] == "document":
        document = found["document"]
        title += f" {document.title}"
        values = [(n, getattr(document, n)) for n in ("id", "source", "licence", "digest")]
        values += [(str(k), v) for k, v in document.properties.items()]
    else:
        values = rows[found["kind"]](found)
    if found["kind"] == "place":
        title += f" {found['place'].name}"
        text = "\n\n".join(p.text for p in found["passages"]) or None
    elif found["kind"] == "passage":
        text = found["passage"].text
    show_record(console, title, values, text)


def _tile_rows(found: dict[str, Any]) -> list[tuple[str, Any]]:
    from rsrag.cli.render import fact_rows, footprint_rows, scene_rows

    tile, scene = found["tile"], found["scene"]
    window = tile.window
    return [
        ("id", tile.id),
        ("window", f"columns {window.col}+{window.width}, rows {window.row}+{window.height}"),
        ("scale", f"{tile.scale:g} scene pixels per tile pixel"),
        *footprint_rows(tile.footprint),
        *fact_rows(tile.facts),
        ("looks like", tile.group if tile.group != tile.id else None),
        ("digest", tile.digest),
        *[(f"scene {name}", value) for name, value in scene_rows(scene)],
    ]


def _scene_rows(found: dict[str, Any]) -> list[tuple[str, Any]]:
    from rsrag.cli.render import scene_rows

    properties = [(str(k), v) for k, v in found["scene"].properties.items()]
    return [*scene_rows(found["scene"]), ("tiles", f"{found['tiles']:,}"), *properties]


def _passage_rows(found: dict[str, Any]) -> list[tuple[str, Any]]:
    from rsrag.cli.render import fact_rows
    from rsrag.facts import position_text
    from rsrag.times import format_span

    passage, document, place = found["passage"], found["document"], found["place"]
    located = passage.lon is not None and passage.lat is not None
    return [
        ("id", passage.id),
        ("document", f"{document.title}, {document.source}, passage {passage.ordinal}"),
        ("document id", document.id),
        ("place", f"{place.name}, id {place.id}" if place else None),
        ("heading", passage.heading),
        ("position", position_text(passage.lon, passage.lat) if located else None),
        ("date", format_span(passage.time) if passage.time else None),
        *fact_rows(passage.facts),
        ("sources", "; ".join(passage.sources)),
        ("licence", document.licence),
    ]


def _place_rows(found: dict[str, Any]) -> list[tuple[str, Any]]:
    from rsrag.cli.render import fact_rows, footprint_rows
    from rsrag.facts import position_text

    place = found["place"]
    return [
        ("id", place.id),
        ("kind", place.kind),
        ("country", place.country),
        ("also called", ", ".join(place.aliases)),
        ("position", position_text(place.lon, place.lat)),
        *(footprint_rows(place.extent) if place.extent else ()),
        *fact_rows(place.facts),
        ("source", place.source),
        ("licence", place.licence),
        ("passages", len(found["passages"])),
    ]
