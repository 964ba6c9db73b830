"""The adapter ``ground`` on pictures made here: regions, counts, map coordinates, bad requests, large scenes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from rasterio.transform import from_origin

from rsrag.adapters.base import Context
from rsrag.adapters.ground import GROUND, GroundRequest
from rsrag.adapters.ground.adapter import check_box, refer
from rsrag.adapters.ground.find import (
    FINEST,
    Candidate,
    Found,
    everywhere,
    proposals,
    reduction,
    too_fine,
    turned_box,
)
from rsrag.adapters.ground.models import ByReader, _row, open_model, seen_size
from rsrag.adapters.ground.spatial import parse
from rsrag.adapters.heat import HeatMapper
from rsrag.adapters.look import opened
from rsrag.config import Settings
from rsrag.errors import ConfigError, SourceError, UsageError
from rsrag.export_layers import Layer, LayerWriter
from rsrag.models.base import Picture, Prompt
from rsrag.models.boxes import as_boxes
from rsrag.models.boxtext import BoxConvention
from rsrag.models.groundhead import Detections
from rsrag.models.registry import load_profile
from rsrag.types import QueryImage, Window

SETTINGS = Settings()


@pytest.fixture(scope="module")
def context() -> Context:
    return Context(load_profile(SETTINGS), SETTINGS)


def picture(height: int = 160, width: int = 192, seed: int = 0) -> Picture:
    """A meadow with a pond in the upper left."""
    rng = np.random.default_rng(seed)
    base = np.full((height, width, 3), (88, 116, 62), dtype=np.float32)
    base += cv2.GaussianBlur(rng.normal(0, 14, (height, width)).astype(np.float32), (0, 0), 1.2)[..., None]
    cv2.circle(base, (width // 4, height // 4), height // 5, (24, 52, 88), -1)
    return np.clip(base + rng.normal(0, 3, base.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "pond.tif"
    data = picture()
    profile = {"driver": "GTiff", "width": 192, "height": 160, "count": 3, "dtype": "uint8", "crs": "EPSG:32614"}
    with rasterio.open(path, "w", transform=from_origin(500000, 5200000, 2, 2), **profile) as out:
        out.write(data.transpose(2, 0, 1))
    return path


def test_the_heat_map_gives_regions_with_outlines_and_map_coordinates(scene: Path, context: Context) -> None:
    found = GROUND.run(GroundRequest(scene, "ponds", method="heat"), context)
    assert found.method == "heat map"
    assert found.count == len(found.regions) == len(found.map_boxes) > 0
    assert found.layers[0].name == "heat"
    for region, bounds in zip(found.regions, found.map_boxes, strict=True):
        left, top, right, bottom = region.box
        assert bounds == pytest.approx((500000 + 2 * left, 5200000 - 2 * bottom, 500000 + 2 * right, 5200000 - 2 * top))
        assert region.footprint is not None
        assert region.rings


def test_results_open_again_with_the_scene_s_grid(scene: Path, context: Context, tmp_path: Path) -> None:
    import pyogrio

    found = GROUND.run(GroundRequest(scene, "water", method="heat"), context)
    for ending in ("geojson", "gpkg", "tif", "png", "html"):
        found.write(tmp_path / f"out.{ending}")
    info = pyogrio.read_info(tmp_path / "out.gpkg")
    assert (info["features"], info["crs"]) == (found.count, "EPSG:32614")
    with rasterio.open(tmp_path / "out.tif") as made, rasterio.open(scene) as given:
        assert (made.crs, made.transform, made.shape) == (given.crs, given.transform, given.shape)


def test_equal_requests_give_equal_results(scene: Path, context: Context) -> None:
    one, two = (GROUND.run(GroundRequest(scene, "the pond", method="heat"), context) for _ in range(2))
    assert one.regions == two.regions
    assert one.count == 1


def test_no_hit_is_an_answer(context: Context) -> None:
    flat = np.full((96, 96, 3), 128, dtype=np.uint8)
    found = GROUND.run(GroundRequest(flat, "how many airplanes", method="heat", least=1.0), context)
    assert found.count == 0
    assert found.regions == ()
    assert found.text.startswith("No airplane was found")


@pytest.mark.parametrize("text", ["", "the", "where is it?", "42", "?!", "the two largest", "where are they"])
def test_a_text_without_a_target_is_refused(text: str, context: Context) -> None:
    with pytest.raises(UsageError, match="names nothing to look for"):
        GROUND.run(GroundRequest(picture(), text), context)


@pytest.mark.parametrize(
    ("box", "why"),
    [
        ((0, 0, 500, 10), "outside of the image of 192×160"),
        ((-1, 0, 10, 10), "outside"),
        ((10, 10, 10, 20), "empty"),
        ((20, 10, 10, 20), "empty"),
        ((float("nan"), 0, 1, 1), "a box of nan"),
    ],
)
def test_boxes_outside_are_refused(box: tuple[float, float, float, float], why: str, context: Context) -> None:
    with pytest.raises(UsageError, match=why):
        GROUND.run(GroundRequest(picture(), box=box), context)


def test_the_last_pixel_is_inside() -> None:
    assert check_box((0, 0, 192, 160), 192, 160) == Window(0, 0, 192, 160)
    assert check_box((1.5, 2.5, 3.2, 4.1), 192, 160) == Window(1, 2, 3, 3)


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (GroundRequest(picture()), "give a text"),
        (GroundRequest(picture(), "ships", box=(0, 0, 9, 9)), "give a text"),
        (GroundRequest(picture(), "ships", method="magic"), "method 'magic'"),
        (GroundRequest(picture(), "ships", least=2.0), "least score"),
        (GroundRequest(picture(), "chimneys", method="detector"), "does not know 'chimneys'"),
        (GroundRequest(picture(), "ships", model="gpt"), "no model 'gpt'"),
        (GroundRequest(picture(), "ships", boxes="0-1000"), "how which model writes boxes"),
        (GroundRequest(picture(), "ships", model="mini-text"), "finds no boxes"),
        (GroundRequest(picture(), "ships", model="reader"), "sees no pictures"),
    ],
)
def test_requests_that_make_no_sense(request_: GroundRequest, why: str, context: Context) -> None:
    with pytest.raises(UsageError, match=why):
        GROUND.run(request_, context)


@pytest.mark.parametrize("text", ["ponds without trees", "ponds near a meadow without trees"])
def test_words_that_rule_out_are_told(text: str, context: Context) -> None:
    found = GROUND.run(GroundRequest(picture(), text, method="heat"), context)
    assert "'without' is not understood: what it rules out may be among what was found" in found.warnings


def test_tiny_pictures_are_refused(context: Context) -> None:
    with pytest.raises(SourceError, match="8×8 pixels"):
        GROUND.run(GroundRequest(np.zeros((8, 8, 3), dtype=np.uint8), "ships"), context)


def test_one_band_is_looked_at_as_grey(tmp_path: Path, context: Context) -> None:
    path = tmp_path / "grey.tif"
    place = {"crs": "EPSG:32614", "transform": from_origin(500000, 5200000, 2, 2)}
    with rasterio.open(path, "w", driver="GTiff", width=96, height=96, count=1, dtype="uint8", **place) as out:
        out.write(picture(96, 96)[..., 1], 1)
    found = GROUND.run(GroundRequest(path, "water", method="heat"), context)
    assert found.count >= 0
    assert found.subject.width == 96


def test_a_box_is_named(context: Context) -> None:
    found = GROUND.run(GroundRequest(picture(), box=(10, 4, 86, 76), labels=("pond", "tennis court")), context)
    assert found.method == "words"
    assert sum(p for _, p in found.names) == pytest.approx(1)
    assert found.target == found.names[0][0] == "pond"
    assert "The box shows pond" in found.text


# Windows


def bright(seen: Picture) -> Detections:
    """Boxes of bright connected patches: a detector whose answer is known."""
    mask = (seen.min(axis=2) > 200).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    rows = [[x, y, x + w, y + h] for x, y, w, h, _ in stats[1:].tolist()]
    return Detections(as_boxes(rows), np.full(len(rows), 0.9), np.zeros(len(rows), dtype=np.int64))


@pytest.fixture
def patches() -> Iterator[tuple[Picture, list[tuple[int, int, int, int]]]]:
    rng = np.random.default_rng(3)
    made = np.zeros((900, 1300, 3), dtype=np.uint8)
    boxes = []
    for row in range(20, 860, 70):
        for col in range(10, 1240, 80):
            width, height = rng.integers(8, 60, 2).tolist()
            boxes.append((col, row, col + width, row + min(height, 50)))
            made[row : row + min(height, 50), col : col + width] = 255
    yield made, boxes


@pytest.mark.parametrize("core", [256, 608, 2000])
def test_windows_find_every_thing_once(
    core: int, patches: tuple[Picture, list[tuple[int, int, int, int]]], context: Context
) -> None:
    made, boxes = patches
    with opened(made, context) as view:
        found = everywhere(view, bright, context, core=core)
    assert sorted(map(tuple, found.boxes.astype(int).tolist())) == sorted(boxes)


def fine(height: int, width: int, metres: float) -> QueryImage:
    """A black picture of so many metres a pixel with a bright thing that reaches to its right edge."""
    made = np.zeros((height, width, 3), dtype=np.uint8)
    made[height // 3 : height // 2, width // 2 :] = 255
    return QueryImage(made, "fine.png", gsd_m=metres)


def test_the_detector_sees_small_pictures_of_fine_pixels(context: Context) -> None:
    """Reduced to 0.3 m a pixel, 120 pixels of 2 cm would be 8: they are reduced as far as there is something to see."""
    with opened(fine(120, 120, 0.02), context) as view:
        assert reduction(view.subject, FINEST) == 4
        assert len(everywhere(view, bright, context, finest=FINEST).scores) == 1
        (told,) = too_fine(view.subject)
        assert told.startswith("120×120 pixels of 0.02 m show too little ground")
    with opened(fine(400, 400, 0.02), context) as view:
        assert reduction(view.subject, FINEST) == 16 and too_fine(view.subject) == ()
    found = GROUND.run(GroundRequest(fine(120, 120, 0.02), "cars"), context)
    assert found.method == "detector" and any("too little ground" in told for told in found.warnings)


def test_boxes_of_a_reduced_scene_end_with_it(context: Context) -> None:
    """205 pixels are 26 of eight: the last one stands for five pixels."""
    with opened(fine(205, 205, 0.03), context) as view:
        assert reduction(view.subject, FINEST) == 8
        found = everywhere(view, bright, context, finest=FINEST)
    assert found.boxes[0, 2] == 205


def test_what_a_relation_refers_to_must_be_named(context: Context) -> None:
    with pytest.raises(UsageError, match="near or beside is not named"):
        GROUND.run(GroundRequest(picture(), "the pond near the largest", method="heat"), context)


def test_proposals_are_the_warm_regions_by_falling_heat() -> None:
    heat = np.zeros((120, 150), dtype=np.float32)
    heat[10:40, 20:60], heat[70:100, 90:130], heat[60:62, 5:7] = 0.9, 0.6, 0.9
    with LayerWriter("heat", "score", 150, 120, None, None) as writer:
        writer.write(Window(0, 0, 150, 120), heat)
    found = proposals(writer.layer)
    assert [c.box for c in found] == [(20, 10, 60, 40), (90, 70, 130, 100)]
    assert [c.score for c in found] == pytest.approx([0.9, 0.6], abs=0.02)
    assert len(proposals(writer.layer, 0.8)) == 1
    with LayerWriter("cold", "score", 150, 120, None, None) as writer:
        writer.write(Window(0, 0, 150, 120), np.full((120, 150), 0.05, dtype=np.float32))
    assert proposals(writer.layer) == []


def heat_of(values: npt.NDArray[np.float64]) -> Layer:
    height, width = values.shape
    with LayerWriter("heat", "score", width, height, None, None) as writer:
        writer.write(Window(0, 0, width, height), values.astype(np.float32))
    return writer.layer


def test_what_is_cool_inside_a_warm_region_is_a_hole_of_it() -> None:
    heat = np.zeros((100, 100))
    heat[10:40, 10:40], heat[18:32, 18:32], heat[12:14, 12:14] = 0.5, 0.0, 0.0
    (ring,) = proposals(heat_of(heat), 0.5)
    assert ring.score == pytest.approx(0.5)
    assert ring.shape is not None and ring.shape.area == 30**2 - 14**2  # the small hole is filled


def test_the_lowest_score_asked_for_may_be_low() -> None:
    heat = np.zeros((50, 50))
    heat[10:30, 10:30] = 0.08
    assert proposals(heat_of(heat)) == []
    (faint,) = proposals(heat_of(heat), 0.05)
    assert faint.box == (10, 10, 30, 30)


def test_what_a_relation_refers_to_may_stand_in_a_relation_itself() -> None:
    boxes = {"ships": [(0, 0, 10, 10), (80, 0, 90, 10)], "bridge": [(12, 0, 20, 10), (70, 0, 78, 10)],
             "harbour": [(60, 0, 100, 50)]}  # fmt: skip
    asked: list[str] = []

    def find(phrase: str) -> Found:
        asked.append(phrase)
        return Found("detector", phrase, tuple(Candidate(box, 0.9) for box in boxes[phrase]))

    chosen, referred = refer(parse("ships near the bridge in the harbour"), find("ships"), find, (100, 80))
    assert [c.box for c in chosen] == [(80, 0, 90, 10)]
    assert asked == ["ships", "bridge", "harbour"] and [f.name for f in referred] == ["bridge", "harbour"]


def test_oriented_boxes_follow_what_stands_out() -> None:
    rng = np.random.default_rng(0)
    made = np.clip(rng.normal(70, 5, (100, 100, 3)), 0, 255).astype(np.uint8)
    corners = cv2.boxPoints(((50, 50), (60, 16), 30))
    cv2.fillPoly(made, [corners.astype(np.int32)], (230, 230, 235))
    left, top = corners.min(axis=0)
    right, bottom = corners.max(axis=0)
    found = np.array(turned_box(made, (float(left) - 1, float(top) - 1, float(right) + 1, float(bottom) + 1)))
    area = cv2.contourArea(found.astype(np.float32))
    assert found.shape == (4, 2)
    assert 0.8 * 60 * 16 < area < 1.3 * 60 * 16
    assert turned_box(made, (1, 1, 4, 4)) == ()


# Heat


def test_a_text_competes_only_with_what_means_something_else(context: Context) -> None:
    mapper = HeatMapper(context)
    water, ship = mapper.query("water"), mapper.query("ship")
    assert len(water.others) < 16
    assert len(ship.others) > 0
    heat = mapper.heats(picture(), [water, ship])
    assert heat.shape == (2, 160, 192)
    assert (heat >= 0).all()
    assert (heat <= 1).all()
    np.testing.assert_array_equal(heat[0], mapper.heat(picture(), water))
    with pytest.raises(UsageError, match="no words"):
        mapper.query(" ")


# Large models


class Writer:
    """A reader that writes boxes, and keeps the prompt that it was given."""

    name, fingerprint = "writer", "writer:1"

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.prompts: list[Prompt] = []

    def read(self, prompt: Prompt) -> Iterator[str]:
        self.prompts.append(prompt)
        yield from self.answer


def test_a_reader_s_boxes_come_in_pixels_of_the_picture() -> None:
    reader = Writer('[{"bbox_2d": [250, 500, 500, 1000], "label": "ship"}, {"bbox_2d": [2000, 0, 3000, 5]}]')
    model = ByReader(reader, BoxConvention.from_text("0-1000"))
    found = model.find(np.zeros((100, 200, 3), dtype=np.uint8), "ship", None)
    assert found.boxes.tolist() == [[50, 50, 100, 100]]
    assert model.warnings == ["1 box of the model: outside of the picture"]
    (prompt,) = reader.prompts
    assert "[left, top, right, bottom]" in prompt.system
    assert "from 0 to 1000" in prompt.system
    assert prompt.user == "Find: ship"


def test_absolute_pixels_are_those_of_the_picture_that_the_model_sees() -> None:
    assert seen_size(1536, 768, 1) == (768, 384)
    assert seen_size(100, 200, 28) == (112, 196)
    assert seen_size(40, 40, 28) == (56, 56)
    assert seen_size(10, 500, 28) == (28, 420)
    reader = Writer("[[56, 49, 112, 98]]")
    model = ByReader(reader, BoxConvention.from_text("absolute pixels"), 28)
    found = model.find(np.zeros((200, 100, 3), dtype=np.uint8), "ship", None)
    assert found.boxes[0].tolist() == pytest.approx([50, 50, 100, 100])


def test_a_reader_without_a_known_convention_is_refused(context: Context) -> None:
    served = Settings(reader="endpoint", endpoint_url="http://localhost:1/v1", endpoint_model="m")
    with pytest.raises(ConfigError, match="how endpoint writes boxes is not known"):
        open_model("endpoint", Context(context.profile, served))


@pytest.mark.parametrize("multiple", ["0", "28.5", "x"])
def test_a_multiple_that_is_no_size_is_refused(multiple: str, context: Context, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'image = "mini-image"\ntext = "mini-text"\n[reader]\nbackend = "endpoint"\nsource = ""\n'
        f'options = {{ boxes = "absolute pixels", multiple = "{multiple}" }}\n'
    )
    served = Settings(profile=str(path), endpoint_url="http://localhost:1/v1", endpoint_model="m")
    profile = replace(context.profile, reader=object())
    with pytest.raises(ConfigError, match="a whole number of pixels"):
        open_model("reader", Context(profile, served))


def test_settings_of_a_folder_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b'{"model_type": "grounding-dino", "note": "\xff"}')
    assert _row(str(tmp_path)).options == {"words": "list"}
    (tmp_path / "config.json").write_text('{"model_type": "grounding-dino"}', encoding="utf-8")
    assert _row(str(tmp_path)).options == {"words": "sentence"}
    (tmp_path / "config.json").write_text('{"model_type": "mm-grounding-dino"}', encoding="utf-8")
    assert _row(str(tmp_path)).options == {"words": "sentence"}
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").mkdir()
    assert _row(str(tmp_path)).options == {"words": "list"}


def test_a_detector_s_folder_is_a_model(tmp_path: Path, context: Context) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("torchvision")
    from tests.support import detectors

    request = GroundRequest(picture(), "the ships", least=0.0, model=str(detectors.owlv2(tmp_path)))
    found = GROUND.run(request, Context(context.profile, Settings(device="cpu")))
    assert found.method == str(tmp_path)
    assert found.count > 0
    assert found.provenance.models["model"].startswith("transformers_detector:")
    assert all(0 <= r.box[0] < r.box[2] <= 192 and 0 <= r.box[1] < r.box[3] <= 160 for r in found.regions)
