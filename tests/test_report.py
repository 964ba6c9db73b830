"""The report page: self-contained, escaped, complete; its maps put things where they belong."""

from __future__ import annotations

import io
import re
import tomllib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rsrag import geo
from rsrag.errors import UsageError
from rsrag.report import overview, write_report
from rsrag.types import (
    Answer,
    Band,
    BBox,
    Document,
    Evidence,
    Fact,
    Footprint,
    Hit,
    Location,
    Passage,
    Place,
    Provenance,
    QueryImage,
    Scene,
    Sentence,
    Tile,
    Window,
)
from rsrag.worldmap import WORLD, Frame, Map, Mark, data_uri, frame_around

EVIL = "<script>alert(1)</script>\"'&\x1b[31m\u202e<img src=http://evil.example/x.png onerror=alert(1)>"
FIJI = geo.footprint_from_bbox(BBox(178, -19, -178, -16))


def jpeg(colour: tuple[int, int, int] = (30, 120, 60), side: int = 16) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), colour, np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def answer_about(name: str = "Taveuni", footprint: Footprint = FIJI) -> Answer:
    tile = Tile(
        "t1",
        "s1",
        Window(0, 0, 64, 64),
        1.0,
        "d",
        3,
        footprint,
        (Fact("ndvi_mean", 0.43), Fact("mean_red", 33.0, "DN")),
    )
    scene = Scene("s1", f"/data/{name}.tif", "d", name, 64, 64, (Band(1, name, "uint8"),), footprint, sensor=name)
    place = Place("p1", name, "src", -179.97, -16.85, name, name)
    document = Document("d1", f"/k/{name}.md", "x", name, name)
    passage = Passage("q1", "d1", 0, f"{name} is an island. " * 40, place_id="p1", sources=(name,))
    evidence = (
        Evidence(
            1, Hit("tile", "t1", 0.9, {"image": 0.8, "inliers": 40}, tile=tile, scene=scene, match=footprint), "x"
        ),
        Evidence(2, Hit("passage", "q1", 0.5, {}, passage=passage, document=document, place=place), "y"),
    )
    sentences = (Sentence(f"This is {name}.", (1, 2)), Sentence(f"{name} is large.", (), False))
    made = Provenance({"image": name}, name, "0.1.0", {"search": 0.1, name: 0.2})
    location = Location(179.9, -17.5, "geometry", 0.7, 150, footprint)
    return Answer(name, sentences, evidence, False, 0.4, made, location=location, warnings=(name,))


def picture(name: str = "chip.png") -> QueryImage:
    return QueryImage(np.random.default_rng(0).integers(0, 255, (50, 80, 3), dtype=np.uint8), name)


def page(tmp_path: Path, answer: Answer, **options: Any) -> str:
    options = {"image": picture(), "thumbnails": lambda _: jpeg(), "overview": [(FIJI, jpeg())], **options}
    write_report(tmp_path / "out.html", answer, **options)
    return (tmp_path / "out.html").read_text(encoding="utf-8")


class Elements(HTMLParser):
    """Tags with attributes, and the text outside style and title."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside != "style":
            self.words += data


# --- the page -------------------------------------------------------------------------------------------------------


def test_page_loads_nothing(tmp_path: Path) -> None:
    found = Elements(page(tmp_path, answer_about(EVIL), image=picture(EVIL)))
    names = {tag for tag, _ in found.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "form", "base", "video", "audio"}
    for tag, attributes in found.tags:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/jpeg;base64,", "data:image/png;base64,", "#")), tag
    policy = next(a["content"] for t, a in found.tags if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")


def test_style_sheet_loads_nothing_either(root: Path) -> None:
    style = (root / "rsrag" / "report.css").read_text(encoding="utf-8")
    assert "url(" not in style
    assert "@import" not in style


def test_untrusted_text_is_escaped_and_stripped(tmp_path: Path) -> None:
    text = page(tmp_path, answer_about(EVIL), image=picture(EVIL))
    assert "<script>" not in text
    assert "<img src=http" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "<script>alert(1)</script>" in Elements(text).words


def test_page_holds_everything(tmp_path: Path) -> None:
    text = page(tmp_path, answer_about())
    found = Elements(text)
    ids = {a["id"] for _, a in found.tags if "id" in a}
    links = {a["href"] for t, a in found.tags if t == "a"}
    assert {"e1", "e2"} <= ids
    assert links == {"#e1", "#e2"}
    expected = "This is Taveuni.|unsupported|How this answer|17.5000° S, 179.9000° E|± 150 km|40 features agree|NDVI"
    expected += "|mean 0.43|Taveuni.tif, columns 0+64|40 %|chip.png|80 × 50 px"
    for words in expected.split("|"):
        assert words in found.words, words
    assert text.count("<svg") == 2
    assert sum(t == "img" for t, _ in found.tags) == 2


def test_maps_are_well_formed(tmp_path: Path) -> None:
    text = page(tmp_path, answer_about(EVIL))
    for drawing in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(drawing)


def test_abstention_without_image_or_evidence(tmp_path: Path) -> None:
    answer = replace(
        answer_about(), sentences=(), evidence=(), abstained=True, reason="Nothing about <that>.", location=None
    )
    text = page(tmp_path, answer, image=None)
    assert "No answer." in text
    assert "Nothing about &lt;that&gt;." in text
    assert "<svg" not in text
    assert "Confidence" not in text


def test_thumbnails_that_are_no_pictures_are_left_out(tmp_path: Path) -> None:
    text = page(tmp_path, answer_about(), thumbnails=lambda _: b"<svg onload=alert(1)>", overview=[(FIJI, b"GIF89a")])
    assert sum(t == "img" for t, _ in Elements(text).tags) == 1
    assert "<image" not in text


def test_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    def broken(_: str) -> bytes:
        raise RuntimeError("no thumbnail")

    (tmp_path / "out.html").write_text("before")
    with pytest.raises(RuntimeError):
        write_report(tmp_path / "out.html", answer_about(), thumbnails=broken)
    assert (tmp_path / "out.html").read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(UsageError, match="cannot write"):
        write_report(tmp_path / "out.html" / "below.html", answer_about())


def test_page_files_are_packaged(root: Path) -> None:
    listed = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
    assert {"*.css", "*.json"} <= set(listed["rsrag"])


# --- the archive from afar ------------------------------------------------------------------------------------------


class FakeCatalog:
    def __init__(self, scenes: list[Scene], tiles: dict[str, list[Tile]]) -> None:
        self._scenes, self._tiles = scenes, tiles

    def scenes(self, limit: int) -> list[Scene]:
        return self._scenes[:limit]

    def tiles_of(self, scene: str) -> list[Tile]:
        return self._tiles[scene]

    def thumbnail(self, tile: str) -> bytes | None:
        return None if tile.endswith("none") else tile.encode()


def tiles(scene: str, scale: float, count: int) -> list[Tile]:
    return [Tile(f"{scene}-{scale:g}-{n}", scene, Window(n, 0, 1, 1), scale, "d", n, FIJI) for n in range(count)]


def test_overview_takes_the_finest_scale_that_fits() -> None:
    base = Scene("a", "a.tif", "d", "c", 1, 1, (), FIJI)
    catalog = FakeCatalog([base], {"a": [*tiles("a", 1, 100), *tiles("a", 4, 10), *tiles("a", 16, 2)]})
    assert {d.decode()[:4] for _, d in overview(catalog, limit=40)} == {"a-4-"}  # type: ignore[arg-type]
    assert len(overview(catalog, limit=40)) == 10  # type: ignore[arg-type]
    assert len(overview(catalog, limit=1)) == 1  # type: ignore[arg-type]


def test_overview_shows_the_same_ground_once_and_large_first() -> None:
    small = geo.footprint_from_bbox(BBox(0, 0, 1, 1))
    scenes = [
        Scene("s", "s.tif", "d", "c", 1, 1, (), small),
        Scene("a", "a.tif", "d", "c", 1, 1, (), FIJI),
        Scene("b", "b.tif", "d", "c", 1, 1, (), FIJI),
        Scene("u", "u.tif", "d", "c", 1, 1, ()),
    ]
    catalog = FakeCatalog(scenes, {k: tiles(k, 1, 2) for k in "sabu"})
    assert [d.decode()[0] for _, d in overview(catalog)] == ["a", "a", "s", "s"]  # type: ignore[arg-type]


# --- maps -----------------------------------------------------------------------------------------------------------


def test_frame_round_the_antimeridian_is_narrow() -> None:
    frame = frame_around(
        [BBox(178, -19, -178, -16), BBox(-175, -18, -174, -17)], margin=0.1, least=1, width=700, ratio=2
    )
    assert frame is not None
    assert frame.east - frame.west < 20
    assert frame.west < 178 < 186 < frame.east
    assert frame.x(-179 + frame.turn(-179)) == pytest.approx(frame.x(181))


def test_frame_of_far_apart_boxes_is_the_world() -> None:
    frame = frame_around([BBox(-120, 40, -119, 41), BBox(20, 0, 21, 1), BBox(140, -30, 141, -29)], margin=0, least=1,
                         width=960, ratio=2)  # fmt: skip
    assert frame == WORLD
    assert frame_around([], margin=0, least=1, width=960, ratio=2) is None


BOXES = st.builds(
    lambda west, south, wide, high: BBox(west, south, geo.wrap(west + wide), min(south + high, 90)),
    st.floats(-179, 179),
    st.floats(-89, 88),
    st.floats(0.001, 60),
    st.floats(0.001, 60),
)


@given(st.lists(BOXES, min_size=1, max_size=5))
def test_frame_holds_every_box(boxes: list[BBox]) -> None:
    frame = frame_around(boxes, margin=0.05, least=0.01, width=700, ratio=2)
    assert frame is not None
    assert frame.west < frame.east <= frame.west + 360
    assert -90 <= frame.south < frame.north <= 90
    assert 0 < frame.height < 10 * frame.width
    for box in boxes:
        assert frame.south - 1e-6 <= box.south
        assert box.north <= frame.north + 1e-6
        if frame.east - frame.west < 360:
            turn = frame.turn(box.west)
            assert frame.west - 1e-6 <= box.west + turn
            wide = box.east - box.west + (360 if box.crosses_antimeridian else 0)
            assert box.west + turn + wide <= frame.east + 1e-6


def test_things_are_drawn_where_they_are() -> None:
    frame = Frame(0, 0, 10, 10, 1000)
    square = geo.footprint_from_bbox(BBox(2, 2, 4, 4))
    marks = [Mark("7", (3.0, 3.0), square, "#e7"), Mark("8", (50.0, 3.0))]
    svg = Map(frame, "t", [(square, jpeg())], marks, target=(5.0, 5.0)).svg()
    tree = ElementTree.fromstring(svg)
    area = next(e for e in tree.iter() if e.get("class") == "area")
    corners = [tuple(float(v) for v in p.split()) for p in re.split("[MLZ]", area.get("d") or "") if p]
    assert min(x for x, _ in corners) == pytest.approx(200)
    assert max(x for x, _ in corners) == pytest.approx(400)
    assert min(y for _, y in corners) == pytest.approx(frame.y(4), abs=0.01)
    image = next(e for e in tree.iter() if e.tag == "image")
    matrix = [float(v) for v in (image.get("transform") or "")[7:-1].split()]
    assert matrix == pytest.approx([200, 0, 0, frame.y(2) - frame.y(4), 200, frame.y(4)], abs=0.01)
    badges = [e for e in tree.iter() if e.get("class") == "badge"]
    assert [float(e.get("cx") or 0) for e in badges] == [300]
    cross = next(e for e in tree.iter() if e.get("class") == "cross")
    assert (cross.get("d") or "").startswith(f"M493.0 {frame.y(5):.1f}")


def test_lettering_stands_out_from_pictures_that_cover_the_map() -> None:
    frame = Frame(170, -30, 190, -10, 700)
    whole = geo.footprint_from_bbox(BBox(170, -30, -170, -12))
    assert 'class="map imagery"' in Map(frame, "t", [(whole, jpeg())]).svg()
    assert 'class="map"' in Map(frame, "t", [(FIJI, jpeg())]).svg()


def test_rotated_pictures_are_rotated() -> None:
    diamond = geo.footprint_from_ring([(5, 8), (8, 5), (5, 2), (2, 5)])
    svg = Map(Frame(0, 0, 10, 10, 1000), "t", [(diamond, jpeg())]).svg()
    matrix = [float(v) for v in re.findall(r"matrix\(([^)]*)\)", svg)[0].split()]
    assert abs(matrix[0] * matrix[3] - matrix[1] * matrix[2]) > 1e4
    assert matrix[1] != 0


@pytest.mark.parametrize(
    "transform",
    [
        (0.1, 0, 2, 0, -0.1, 8),
        (0.1, 0, 2, 0, 0.1, 2),
        (-0.1, 0, 8, 0, 0.1, 2),
        (0, 0.1, 2, 0.1, 0, 2),
        (0, -0.1, 8, -0.1, 0, 8),
    ],
)
def test_pictures_lie_as_their_raster_does(transform: tuple[float, float, float, float, float, float]) -> None:
    window = geo.footprint_from_raster("EPSG:4326", transform, Window(0, 0, 60, 60))
    frame = Frame(0, 0, 10, 10, 1000)
    svg = Map(frame, "t", [(window, jpeg())]).svg()
    a, b, c, d, e, f = (float(v) for v in re.findall(r"matrix\(([^)]*)\)", svg)[0].split())
    for u, v in ((0, 0), (1, 0), (0, 1)):
        x = transform[0] * 60 * u + transform[1] * 60 * v + transform[2]
        y = transform[3] * 60 * u + transform[4] * 60 * v + transform[5]
        assert (a * u + c * v + e, b * u + d * v + f) == pytest.approx((frame.x(x), frame.y(y)), abs=0.01)


@pytest.mark.parametrize("origin", [(1e5, 8e5), (-9e5, -5e5), (-3e5, 7e5)])
def test_pictures_near_a_pole_lie_as_their_raster_does(origin: tuple[float, float]) -> None:
    transform = (1e3, 0.0, origin[0], 0.0, -1e3, origin[1])
    window = geo.footprint_from_raster("EPSG:3413", transform, Window(0, 0, 256, 256))
    frame = Frame(window.bbox.west - 1, 70, window.bbox.east + 1, 90, 1000)
    svg = Map(frame, "t", [(window, jpeg())]).svg()
    a, b, c, d, e, f = (float(v) for v in re.findall(r"matrix\(([^)]*)\)", svg)[0].split())
    lon, lat = geo.lonlat("EPSG:3413", transform, np.array([0.0, 256, 0]), np.array([0.0, 0, 256]))
    for u, v, x, y in zip((0, 1, 0), (0, 0, 1), lon, lat, strict=True):
        assert (a * u + c * v + e, b * u + d * v + f) == pytest.approx((frame.x(x), frame.y(y)), abs=0.01)


def test_footprint_across_the_antimeridian_is_one_outline() -> None:
    frame = frame_around([FIJI.bbox], margin=0.2, least=1, width=700, ratio=2)
    assert frame is not None
    svg = Map(frame, "t", outline=FIJI).svg()
    assert svg.count('class="outline"') == 1


def test_marks_do_not_cover_each_other() -> None:
    marks = [Mark(str(n), (5.0, 5.0)) for n in range(1, 10)]
    tree = ElementTree.fromstring(Map(Frame(0, 0, 10, 10, 600), "t", marks=marks).svg())
    spots = [(float(e.get("cx") or 0), float(e.get("cy") or 0)) for e in tree.iter() if e.get("class") == "badge"]
    assert len(spots) == 9
    assert all(np.hypot(a[0] - b[0], a[1] - b[1]) > 20 for i, a in enumerate(spots) for b in spots[:i])


@given(st.floats(0.01, 350), st.floats(-85, 85), st.floats(-180, 180))
def test_maps_of_any_size_can_be_drawn(wide: float, lat: float, lon: float) -> None:
    high = min(wide / 2, 2 * (90 - abs(lat)))
    frame = Frame(lon - wide / 2, lat - high / 2, lon + wide / 2, lat + high / 2, 700)
    ElementTree.fromstring(Map(frame, "t", marks=[Mark("1", (geo.wrap(lon), lat))], target=(geo.wrap(lon), lat)).svg())


def test_only_pictures_become_data() -> None:
    assert (data_uri(jpeg()) or "").startswith("data:image/jpeg;base64,")
    assert data_uri(b"<html>") is None
    assert data_uri(b"") is None
