"""The adapter ``segment``: masks, outlines, areas and their files; index priors; what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from affine import Affine
from lakes import LAKE, SIDE, bands, scene
from rasters import TEN_METRES, UTM31, write_tiff
from segmenters import Scripted
from typer.testing import CliRunner

from rsrag.adapters import outlines
from rsrag.adapters.base import Context
from rsrag.adapters.heat import BACKGROUND
from rsrag.adapters.look import opened
from rsrag.adapters.segment import SEGMENT, SegmentRequest, means, things
from rsrag.adapters.segment import adapter as module
from rsrag.adapters.segment.priors import prior_for
from rsrag.adapters.segment.rivals import rivals
from rsrag.cli.app import app
from rsrag.config import Settings
from rsrag.errors import BadModelFile, UnsupportedSource, UsageError
from rsrag.models import groundhead, pixelhead
from rsrag.models.registry import load_profile
from rsrag.types import QueryImage


@pytest.fixture(scope="module")
def context() -> Context:
    settings = Settings()
    return Context(load_profile(settings), settings)


def test_an_index_outlines_a_lake_to_the_pixel(tmp_path: Path, context: Context) -> None:
    result = SEGMENT.run(SegmentRequest(scene(tmp_path / "lake.tif"), "the lake"), context)
    mask, score = result.layers
    truth = np.zeros((SIDE, SIDE), dtype=bool)
    truth[LAKE] = True
    found = mask.read() == 1
    assert (found & truth).sum() / (found | truth).sum() > 0.95
    assert result.method == "refined with ndwi"
    values = score.read()
    assert values.min() >= 0 and values.max() <= 1
    # 80 × 80 pixels of 10 m on the grid; UTM's scale differs from the ellipsoid's by less than a thousandth here.
    assert result.area_m2 == pytest.approx(640_000, rel=0.03)
    assert result.band_m2 is not None and result.band_m2[0] <= result.area_m2 <= result.band_m2[1]
    assert {f.name for f in result.facts} == {"share", "area", "area_low", "area_high"}
    assert result.regions and result.regions[0].footprint is not None
    area = next(f.value for f in result.regions[0].facts if f.name == "area")
    assert isinstance(area, float) and area == pytest.approx(640_000, rel=0.03)
    assert "NDWI was used" in result.text and "ha" in result.text


def test_islands_too_many_to_draw_are_told_and_not_counted_as_water(
    tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bands()
    for row in range(50, 110, 15):
        for col in range(40, 100, 15):
            data[:, row : row + 6, col : col + 6] = data[:, :6, :6]
    path = write_tiff(
        tmp_path / "islands.tif", data, descriptions=("red", "green", "blue", "nir"), crs=UTM31, transform=TEN_METRES
    )
    drawn = SEGMENT.run(SegmentRequest(path, "the lake"), context)
    monkeypatch.setattr(outlines, "HOLES", 3)
    closed = SEGMENT.run(SegmentRequest(path, "the lake"), context)
    assert (len(drawn.regions[0].rings), len(closed.regions[0].rings)) == (17, 4)
    assert "the smallest 13 holes are in the mask and the areas, not in the outlines" in closed.warnings
    areas = [next(f.value for f in result.regions[0].facts if f.name == "area") for result in (drawn, closed)]
    assert areas[1] == pytest.approx(areas[0], rel=1e-6) and closed.area_m2 == drawn.area_m2


def test_files_reopen_in_the_grid_of_the_scene(tmp_path: Path, context: Context) -> None:
    import pyogrio
    import rasterio

    result = SEGMENT.run(SegmentRequest(scene(tmp_path / "lake.tif"), "water"), context)
    mask, score = result.to_geotiff(tmp_path / "mask.tif")
    with rasterio.open(tmp_path / "lake.tif") as given:
        for path, kind in ((mask, "uint8"), (score, "float32")):
            with rasterio.open(path) as written:
                assert (written.crs, written.transform, written.shape) == (given.crs, given.transform, given.shape)
                assert written.dtypes == (kind,)
    assert result.to_gpkg(tmp_path / "m.gpkg") == len(result.regions)
    assert pyogrio.read_info(tmp_path / "m.gpkg")["crs"] == UTM31
    assert result.to_geojson(tmp_path / "m.geojson") == len(result.regions)
    result.to_png(tmp_path / "m.png")
    assert (tmp_path / "m.png").stat().st_size > 1000


def test_bands_by_name_bring_an_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_tiff(tmp_path / "nameless.tif", bands(), crs=UTM31, transform=TEN_METRES)
    said = CliRunner().invoke(app, ["segment", str(path), "water", "--bands", "red=1,green=2,blue=3,nir=4", "--json"])
    assert said.exit_code == 0 and json.loads(said.stdout)["method"] == "refined with ndwi"
    wrong = CliRunner().invoke(app, ["segment", str(path), "water", "--bands", "red"])
    assert wrong.exit_code == 2


def test_pictures_without_a_position_are_measured_in_pixels(context: Context) -> None:
    picture = np.ascontiguousarray(bands("uint8")[:3].transpose(1, 2, 0))
    result = SEGMENT.run(SegmentRequest(picture, "water"), context)
    assert result.area_m2 is None and result.band_m2 is None
    assert result.method == "refined" and all(f.unit in ("px", "1") for f in result.facts)
    low, area, high = (next(f.value for f in result.facts if f.name == n) for n in ("area_low", "area", "area_high"))
    assert low <= area <= high  # type: ignore[operator]


def test_things_are_cut_out_of_the_detectors_boxes(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two bright discs, one found surely and one below the threshold: the lax area has both, the mask has one."""
    y, x = np.mgrid[0:160, 0:200]
    discs = [(x - cx) ** 2 + (y - 80) ** 2 < 24**2 for cx in (50, 150)]
    picture = np.where((discs[0] | discs[1])[..., None], 220, 70) + np.random.default_rng(0).integers(
        -9, 9, (160, 200, 3)
    )
    found = things.Things(
        (
            things.Thing((24, 54, 76, 106), things.rescored(0.8, 0.5)),
            things.Thing((124, 54, 176, 106), things.rescored(0.4, 0.5)),
        ),
        "stub",
    )
    monkeypatch.setattr(means, "things_named", lambda *_: found)
    monkeypatch.setattr(means, "CORE", 64)  # the discs are painted from several windows each
    result = SEGMENT.run(SegmentRequest(picture.astype(np.uint8), "tanks", method="detector"), context)
    mask, score = (layer.read() for layer in result.layers)
    assert result.method == "detector" and len(result.regions) == 1
    assert ((mask == 1) & discs[0]).sum() / ((mask == 1) | discs[0]).sum() > 0.9
    assert score[80, 150] == pytest.approx(0.45, abs=0.01) and score[5, 5] == 0
    high = next(f.value for f in result.facts if f.name == "area_high")
    assert isinstance(high, float) and high > 1.7 * (mask == 1).sum()


def test_equal_requests_give_equal_masks(context: Context) -> None:
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 255, (96, 128, 3)).astype(np.uint8)
    first, second = (SEGMENT.run(SegmentRequest(picture, "houses"), context) for _ in range(2))
    assert np.array_equal(first.layers[1].read(), second.layers[1].read(), equal_nan=True)


def test_windows_agree(tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index does not depend on how the scene is cut into windows, nor does what is stitched have holes."""
    path = scene(tmp_path / "lake.tif")
    whole = SEGMENT.run(SegmentRequest(path, "water"), context)
    monkeypatch.setattr(means, "CORE", 64)
    monkeypatch.setattr(module, "MARGIN", 24)
    parts = SEGMENT.run(SegmentRequest(path, "water"), context)
    one, two = whole.layers[0].read() == 1, parts.layers[0].read() == 1
    assert (one & two).sum() / (one | two).sum() > 0.97
    assert np.isfinite(parts.layers[1].read()).all()


def test_ground_without_data_is_no_area(tmp_path: Path, context: Context) -> None:
    valid = np.ones((SIDE, SIDE), dtype=bool)
    valid[:, :30] = valid[:, 70:] = False
    result = SEGMENT.run(SegmentRequest(scene(tmp_path / "half.tif", mask=valid), "water"), context)
    mask, score = (layer.read() for layer in result.layers)
    assert (mask[~valid] == 255).all() and np.isnan(score[~valid]).all()
    assert result.share == pytest.approx(80 * 40 / valid.sum(), rel=0.05)


def test_areas_on_a_grid_in_degrees_are_those_of_the_regions(tmp_path: Path, context: Context) -> None:
    """A lake north of the middle of pixels of 0.1°: they are narrower there than on the average of the window."""
    path = write_tiff(
        tmp_path / "north.tif", np.roll(bands(), -40, axis=1), descriptions=("red", "green", "blue", "nir"),
        crs="EPSG:4326", transform=(0.1, 0, 10, 0, -0.1, 80),
    )  # fmt: skip
    result = SEGMENT.run(SegmentRequest(path, "water"), context)
    areas = [float(f.value) for region in result.regions for f in region.facts if f.name == "area"]
    assert areas and result.area_m2 == pytest.approx(sum(areas), rel=0.01)


def test_nothing_found_is_an_answer(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(means, "LEAST", 1.1)
    result = SEGMENT.run(SegmentRequest(np.full((64, 64, 3), 90, dtype=np.uint8), "glacier"), context)
    assert result.share == 0 and result.regions == () and result.text == "No glacier was found in the image."
    assert not (result.layers[0].read() == 1).any()


@pytest.mark.parametrize(
    ("text", "target", "said"),
    [
        ("the ships", "ships", "No ships were found in the image."),
        ("The  glacier", "glacier", "No glacier was found in the image."),
        ("ship", "ship", "No ship was found in the image."),
        ("white cars", "white cars", "No white cars were found in the image."),
    ],
)
def test_articles_are_not_looked_for_and_numbers_agree(
    text: str, target: str, said: str, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(means, "LEAST", 1.1)
    monkeypatch.setattr(pixelhead, "shipped", lambda: Decoder(lambda picture: picture[..., 0] > 255))
    result = SEGMENT.run(SegmentRequest(np.full((64, 64, 3), 90, dtype=np.uint8), text), context)
    assert (result.target, result.text) == (target, said)
    assert not any("'the'" in told for told in result.warnings)


def test_several_things_cover_and_one_covers(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    found = things.Things((things.Thing((20, 20, 40, 40), 0.9),), "stub")
    monkeypatch.setattr(means, "things_named", lambda *_: found)
    picture = np.full((64, 64, 3), 90, dtype=np.uint8)
    for text, said in (("the ships", "Ships cover "), ("a ship", "Ship covers ")):
        assert SEGMENT.run(SegmentRequest(picture, text, method="detector"), context).text.startswith(said)


def test_a_share_that_rounds_to_nothing_is_not_called_none(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    found = things.Things((things.Thing((20, 20, 22, 22), 0.9),), "stub")
    monkeypatch.setattr(means, "things_named", lambda *_: found)
    picture = np.full((200, 200, 3), 90, dtype=np.uint8)
    said = SEGMENT.run(SegmentRequest(picture, "ships", method="detector"), context).text
    assert said.startswith("Ships cover less than 0.1% of the image")


def test_pieces_are_counted_beyond_those_with_an_outline(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [things.Thing((x, y, x + 10, y + 10), 0.9) for x in (4, 24, 44) for y in (4, 24, 44)]
    monkeypatch.setattr(means, "things_named", lambda *_: things.Things(tuple(found), "stub"))
    monkeypatch.setattr(outlines, "MOST", 4)
    picture = np.full((64, 64, 3), 90, dtype=np.uint8)
    picture[0] = 120  # not of one colour all over
    result = SEGMENT.run(SegmentRequest(picture, "ships", method="detector"), context)
    assert len(result.regions) == 4 and "in 9 pieces" in result.text
    told = "only the largest 4 of 9 pieces have an outline; the mask and the areas have all"
    assert result.warnings == (told,)


def broken() -> None:
    raise BadModelFile("head.onnx: another digest")


def test_damaged_models_are_told_of(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for, it is an error; otherwise the next best means is used, and a warning says why."""
    picture = np.full((64, 64, 3), 90, dtype=np.uint8)
    picture[0] = 120  # not of one colour all over
    request = SegmentRequest(picture, "ships")
    monkeypatch.setattr(pixelhead, "shipped", broken)
    with pytest.raises(BadModelFile, match="another digest"):
        SEGMENT.run(replace(request, method="decoder"), context)
    first = "the pixel decoder was not used, since it cannot be: head.onnx: another digest"
    detected = SEGMENT.run(request, context)
    assert detected.method == "detector" and detected.warnings == (first,)
    monkeypatch.setattr(groundhead, "shipped", broken)
    with pytest.raises(BadModelFile, match="another digest"):
        SEGMENT.run(replace(request, method="detector"), context)
    second = "the heat map was used, since the detector cannot be: head.onnx: another digest"
    assert SEGMENT.run(request, context).warnings == (first, second)
    assert SEGMENT.run(replace(request, method="heat"), context).warnings == ()
    monkeypatch.setattr(means, "open_segmenter", lambda name, context: Scripted("boxes"))
    result = SEGMENT.run(replace(request, model="scripted"), context)
    assert result.method == "scripted" and second in result.warnings


@pytest.mark.parametrize("method", ["decoder", "detector"])
def test_pictures_too_small_for_what_is_known_are_told_of(method: str, context: Context) -> None:
    picture = QueryImage(np.full((120, 120, 3), 90, dtype=np.uint8), "fine.png", gsd_m=0.02)
    result = SEGMENT.run(SegmentRequest(picture, "cars", method=method), context)
    assert result.method == method and "show too little ground" in result.warnings[0]


class Decoder:
    """A pixel decoder whose answer is known: what is told of a picture is the first two of its classes."""

    classes, fingerprint = ("ship", "building", "vegetation", "vehicle"), "scripted:2"

    def __init__(self, told: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.bool_]]) -> None:
        self._told = told
        self.seen: list[tuple[int, ...]] = []

    def scores(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        self.seen.append(picture.shape)
        found = self._told(picture).astype(np.float32)
        return np.stack([found, found, np.zeros_like(found), np.zeros_like(found)])


def roofs(size: int = 160) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """A grey picture with a bright rectangle, and where that lies."""
    there = np.zeros((size, size), dtype=bool)
    there[size // 4 : size // 2, size // 8 : size * 3 // 4] = True
    return np.where(there[..., None], 220, 80).repeat(3, axis=2).astype(np.uint8), there


@pytest.fixture
def bright(monkeypatch: pytest.MonkeyPatch) -> Decoder:
    decoder = Decoder(lambda picture: picture[..., 0] > 150)
    monkeypatch.setattr(pixelhead, "shipped", lambda: decoder)
    return decoder


def test_the_decoder_outlines_what_it_was_trained_on(context: Context, bright: Decoder) -> None:
    picture, there = roofs()
    for text in ("the buildings", "Houses", "a roof", "boats"):
        result = SEGMENT.run(SegmentRequest(picture, text), context)
        assert result.method == "decoder" and result.provenance.models["decoder"] == "scripted:2"
        assert np.array_equal(result.layers[0].read() == 1, there)
    assert SEGMENT.run(SegmentRequest(picture, "vegetation"), context).share == 0
    for text in ("water", "red roofs", "forest"):  # not what it knows
        assert SEGMENT.run(SegmentRequest(picture, text), context).method == "refined"
    with pytest.raises(UsageError, match="the decoder does not know 'water'"):
        SEGMENT.run(SegmentRequest(picture, "water", method="decoder"), context)


def test_finer_scenes_are_reduced_for_the_decoder_and_windows_agree(
    context: Context, bright: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, there = roofs(512)
    fine = QueryImage(picture, "fine.png", gsd_m=0.02)
    result = SEGMENT.run(SegmentRequest(fine, "buildings"), context)
    assert bright.seen == [(128, 128, 3)], "0.02 m four times, the first power of two beyond 0.05 m"
    mask = result.layers[0].read() == 1
    assert (mask & there).sum() / (mask | there).sum() > 0.98
    monkeypatch.setattr(means, "CORE", 64)
    monkeypatch.setattr(module, "MARGIN", 8)
    parts = SEGMENT.run(SegmentRequest(fine, "buildings"), context)
    assert len(bright.seen) == 5 and np.array_equal(parts.layers[0].read(), result.layers[0].read())


def test_coarse_scenes_are_not_for_the_decoder(tmp_path: Path, context: Context, bright: Decoder) -> None:
    """Ground at ten metres a pixel looks like nothing that it was trained on: only who insists gets an answer."""
    path = write_tiff(tmp_path / "rgb.tif", bands("uint8")[:3], crs=UTM31, transform=TEN_METRES)
    result = SEGMENT.run(SegmentRequest(path, "buildings"), context)
    assert result.method == "refined" and "pixels of 10 m: buildings" in result.warnings[0]
    assert not any("pixels of" in told for told in SEGMENT.run(SegmentRequest(path, "a quarry"), context).warnings)
    insisted = SEGMENT.run(SegmentRequest(path, "buildings", method="decoder"), context)
    assert (
        insisted.method == "decoder"
        and "with 10 m a pixel, buildings may be taken for something else" in insisted.warnings[0]
    )


def test_an_index_goes_before_the_decoder(tmp_path: Path, context: Context, bright: Decoder) -> None:
    transform = Affine(0.1, 0, 500_000, 0, -0.1, 5_000_000)
    path = write_tiff(
        tmp_path / "s.tif", bands(), descriptions=("red", "green", "blue", "nir"), crs=UTM31, transform=transform
    )
    assert SEGMENT.run(SegmentRequest(path, "vegetation"), context).method == "refined with ndvi"
    assert SEGMENT.run(SegmentRequest(path, "vegetation", index=False), context).method == "decoder"


def test_ground_without_data_has_no_score(tmp_path: Path, context: Context, bright: Decoder) -> None:
    valid = np.ones((SIDE, SIDE), dtype=bool)
    valid[:, :30] = False
    transform = Affine(0.02, 0, 500_000, 0, -0.02, 5_000_000)
    path = write_tiff(tmp_path / "half.tif", bands("uint8")[:3], crs=UTM31, transform=transform, mask=valid)
    result = SEGMENT.run(SegmentRequest(path, "buildings"), context)
    assert np.array_equal(np.isnan(result.layers[1].read()), ~valid)


def test_scores_beside_ground_without_data_are_as_high_as_elsewhere(tmp_path: Path, context: Context) -> None:
    valid = np.ones((SIDE, SIDE), dtype=bool)
    valid[:, :40] = False
    transform = Affine(0.02, 0, 500_000, 0, -0.02, 5_000_000)
    path = write_tiff(tmp_path / "half.tif", bands("uint8")[:3], crs=UTM31, transform=transform, mask=valid)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixelhead, "shipped", lambda: Decoder(lambda picture: picture[..., 0] >= 0))
        score = SEGMENT.run(SegmentRequest(path, "buildings"), context).layers[1].read()
    assert score[valid].min() == pytest.approx(1) and np.isnan(score[~valid]).all()


def test_kinds_of_a_thing_do_not_compete_with_it() -> None:
    assert not {"grass", "trees", "forest", "farmland"} & set(rivals("the vegetation"))
    assert "water" in rivals("vegetation") and "grass" in rivals("forest")
    assert rivals("storage tanks") == rivals("boats on the water") == rivals("the water tower") == BACKGROUND


def test_which_words_ask_for_which_index(tmp_path: Path, context: Context) -> None:
    with opened(scene(tmp_path / "s.tif"), context) as view:
        water, green, forest = (prior_for(text, view) for text in ("a river", "vegetation", "the forest"))
        assert water is not None and (water.name, water.alone) == ("ndwi", True)
        assert green is not None and (green.name, green.alone) == ("ndvi", True)
        assert forest is not None and (forest.name, forest.alone) == ("ndvi", False)
        assert prior_for("storage tanks", view) is None
    photo = np.ascontiguousarray(bands("uint8")[:3].transpose(1, 2, 0))
    with opened(photo, context) as view:
        assert prior_for("water", view) is None


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("the blue lake", "ndwi"), ("river water", "ndwi"), ("lakes and rivers", "ndwi"), ("bodies of water", "ndwi"),
        ("lake north of the city", "ndwi"), ("mangrove forest", "ndvi"), ("trees along the river", "ndvi"),
        ("green areas", "ndvi"), ("plants", "ndvi"), ("boats on the lake", None), ("bridge over the river", None),
        ("water tower", None), ("river bank", None), ("green roof", None), ("water and trees", None),
        ("power plant", None), ("parking bay", None),
    ],
)  # fmt: skip
def test_an_index_is_of_the_thing_named_not_of_what_it_lies_at(
    text: str, index: str | None, tmp_path: Path, context: Context
) -> None:
    with opened(scene(tmp_path / "s.tif"), context) as view:
        prior = prior_for(text, view)
    assert (prior.name if prior is not None else None) == index


def test_an_image_that_shows_nothing_is_not_without_water(tmp_path: Path, context: Context) -> None:
    path = scene(tmp_path / "empty.tif", mask=np.zeros((SIDE, SIDE), dtype=bool))
    for request in (SegmentRequest(path, "water"), SegmentRequest(path, "ships", method="detector")):
        with pytest.raises(UnsupportedSource, match=r"empty\.tif: no valid pixels"):
            SEGMENT.run(request, context)


def test_the_detector_is_asked_for_what_it_does_not_know(context: Context) -> None:
    with pytest.raises(UsageError, match="does not know 'glaciers'"):
        SEGMENT.run(SegmentRequest(np.zeros((32, 32, 3), dtype=np.uint8), "glaciers", method="detector"), context)


GOOD = SegmentRequest(np.zeros((32, 32, 3), dtype=np.uint8), "water")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"text": "  "}, "nothing to outline"),
        ({"text": "42 ?"}, "nothing to outline"),
        ({"text": "the"}, "nothing to outline"),
        ({"method": "magic"}, "one of auto, decoder, detector, refined, heat"),
        ({"threshold": 1.5}, "between 0.1 and 0.9"),
        ({"threshold": float("nan")}, "between 0.1 and 0.9"),
        ({"simplify": -1.0}, "from 0 on"),
        ({"smallest": float("inf")}, "from 0 on"),
    ],
)
def test_requests_that_make_no_sense(context: Context, wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        SEGMENT.run(replace(GOOD, **wrong), context)
    assert says in f"{caught.value.message} {caught.value.hint}"


def test_pictures_of_one_colour_have_nothing_to_see(context: Context) -> None:
    black = np.zeros((64, 96, 3), dtype=np.uint8)
    told = "all pixels have the same colour: there is nothing to see, whatever the answer says"
    assert told in SEGMENT.run(SegmentRequest(black, "water"), context).warnings
    black[0, 0] = 9  # outside of the middle that is looked at first
    assert told not in SEGMENT.run(SegmentRequest(black, "water"), context).warnings


def test_pieces_below_the_least_area_are_no_specks(tmp_path: Path, context: Context) -> None:
    path = scene(tmp_path / "lake.tif")
    result = SEGMENT.run(SegmentRequest(path, "the lake", smallest=1e9), context)
    assert not result.regions and result.share > 0.2
    assert "in pieces below the least area of an outline" in result.text and "specks" not in result.text


def test_tiny_pictures_are_refused(context: Context) -> None:
    with pytest.raises(UnsupportedSource, match="show nothing"):
        SEGMENT.run(replace(GOOD, image=np.zeros((8, 40, 3), dtype=np.uint8)), context)


def test_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path, out = scene(tmp_path / "lake.tif"), tmp_path / "lake.geojson"
    ran = CliRunner().invoke(app, ["segment", str(path), "water", "--out", str(out), "--json"])
    assert ran.exit_code == 0, ran.stderr
    document = json.loads(ran.stdout)
    assert document["task"] == "segment" and document["target"] == "water" and len(document["layers"]) == 2
    assert len(json.loads(out.read_text())["features"]) == len(document["regions"]) > 0
    refused = CliRunner().invoke(app, ["segment", str(path), "?"])
    assert refused.exit_code == 2 and "nothing to outline" in refused.stderr
    ending = CliRunner().invoke(app, ["segment", str(path), "water", "--out", str(tmp_path / "a.doc")])
    assert ending.exit_code == 2
