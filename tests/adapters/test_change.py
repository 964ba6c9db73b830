"""Change between dates, end to end on made-up ground whose change is known."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pyogrio
import pytest
import rasterio
from dates import Picture, built, ground, multiband, relit, truth, write
from PIL import Image
from rasters import TEN_METRES, noise, write_tiff

from rsrag.adapters.base import Context
from rsrag.adapters.change import Change, ChangeRequest, ChangeResult
from rsrag.config import Settings
from rsrag.errors import BadFootprint, UnsupportedSource, UsageError
from rsrag.models.registry import load_profile

BLOCKS = [(10, 12, 34, 30), (90, 60, 130, 92)]


@pytest.fixture(scope="module")
def context() -> Context:
    settings = Settings()
    return Context(load_profile(settings), settings)


def run(context: Context, *images: object, **said: object) -> ChangeResult:
    return Change().run(ChangeRequest(images=images, **said), context)  # type: ignore[arg-type]


def f1(mask: np.ndarray, real: np.ndarray) -> float:
    return float(2 * (mask & real).sum() / max(1, mask.sum() + real.sum()))


@pytest.fixture(scope="module")
def dates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("dates")
    picture = ground()
    return (
        write(folder / "field_20100610.tif", picture),
        write(folder / "field_20200612.tif", built(relit(picture), BLOCKS)),
    )


@pytest.mark.parametrize("method", ["cva", "irmad"])
def test_blocks_on_a_field_are_found_with_their_area(context: Context, dates: tuple[Path, Path], method: str) -> None:
    result = run(context, *dates, method=method)
    mask = result.layers[0].read() == 1
    assert f1(mask, truth(ground(), BLOCKS)) > 0.85
    assert result.changed and result.count == 2 and result.method == method
    assert result.area_m2 == pytest.approx(100 * mask.sum(), rel=0.01)  # ten metres a pixel, scale of UTM
    named = [{fact.name: fact.value for fact in region.facts} for region in result.regions]
    assert [facts["cell"] for facts in named] == ["center-right", "top-left"]
    assert named[0]["area"] == pytest.approx(40 * 32 * 100, rel=0.15)
    assert result.cells["center-right"] > 0.2 and result.cells["top-right"] == 0
    assert "two changed areas in the" in result.text and "2010-06-10 and 2020-06-12" in result.text


def test_order_comes_from_the_dates(context: Context, dates: tuple[Path, Path]) -> None:
    result = run(context, dates[1], dates[0], method="cva")
    assert result.before.name == "field_20100610.tif" and "given in reverse" in result.warnings[0]
    kept = run(context, dates[1], dates[0], method="cva", in_order=True)
    assert kept.before.name == "field_20200612.tif" and not any("reverse" in w for w in kept.warnings)


def test_results_reopen_with_crs_and_transform(context: Context, dates: tuple[Path, Path], tmp_path: Path) -> None:
    result = run(context, *dates, method="cva")
    with rasterio.open(dates[0]) as given:
        crs, transform = given.crs, given.transform
    written = result.to_geotiff(tmp_path / "c.tif")
    for path in written:
        with rasterio.open(path) as found:
            assert found.crs == crs and found.transform == transform and found.shape == (128, 160)
            assert found.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert result.to_gpkg(tmp_path / "c.gpkg") == 2
    info = pyogrio.read_info(tmp_path / "c.gpkg")
    assert info["crs"] == "EPSG:32631" and info["features"] == 2 and "area_m2" in info["fields"]
    result.to_geojson(tmp_path / "c.geojson")
    collection = json.loads((tmp_path / "c.geojson").read_text())
    assert {f["properties"]["cell"] for f in collection["features"]} == {"top-left", "center-right"}
    for ending in ("png", "html"):
        result.write(tmp_path / f"c.{ending}")
    with Image.open(tmp_path / "c.png") as drawn:
        assert drawn.width > 2 * 420 and np.asarray(drawn).std() > 10


def test_another_crs_and_size_are_brought_to_the_coarser_grid(context: Context, tmp_path: Path) -> None:
    from rasterio.warp import Resampling, reproject
    from rasterio.warp import transform as to_crs

    picture = ground()
    after = built(relit(picture), BLOCKS)
    write(tmp_path / "a_20100101.tif", picture)
    (west,), (north,) = to_crs("EPSG:32631", "EPSG:4326", [500_000], [5_000_000])
    fine = rasterio.Affine(0.9e-4, 0, west - 0.001, 0, -0.6e-4, north + 0.0005)
    target = np.zeros((3, 240, 260), dtype=np.uint8)
    reproject(
        np.ascontiguousarray(after.transpose(2, 0, 1)), target, src_transform=rasterio.Affine(*TEN_METRES),
        src_crs="EPSG:32631", dst_transform=fine, dst_crs="EPSG:4326", resampling=Resampling.bilinear,
    )  # fmt: skip
    write(tmp_path / "b_20200101.tif", target.transpose(1, 2, 0), transform=tuple(fine)[:6], crs="EPSG:4326", nodata=0)
    result = run(context, tmp_path / "a_20100101.tif", tmp_path / "b_20200101.tif", method="cva")
    assert result.subject.crs == "EPSG:32631"
    mask = result.layers[0].read() == 1
    real = truth(picture, BLOCKS)[: mask.shape[0], : mask.shape[1]]
    assert f1(mask, real) > 0.8


@pytest.mark.parametrize("shift", [(2, 0), (-3, 2), (1, -1)])
def test_a_small_shift_is_corrected(context: Context, shift: tuple[int, int]) -> None:
    picture = ground(320, 288)
    moved = np.roll(built(relit(picture), BLOCKS), (shift[1], shift[0]), axis=(0, 1))
    result = run(context, picture, moved, method="cva")
    assert result.shift_px == pytest.approx(shift, abs=0.3)
    assert f1(result.layers[0].read() == 1, truth(picture, BLOCKS)) > 0.7
    assert run(context, picture, moved, method="cva", register=False).shift_px == (0.0, 0.0)


ALTERED = {
    "light": lambda p: np.clip(255 * (p / 255) ** 0.7 * (1.05, 1.0, 0.95), 0, 255).astype(np.uint8),
    "blur": lambda p: cv2.GaussianBlur(p, (0, 0), 1.0),
    "noise": lambda p: np.clip(p + np.random.default_rng(2).normal(0, 8, p.shape), 0, 255).astype(np.uint8),
    "shift": lambda p: np.roll(p, (1, 2), axis=(0, 1)),
}


@pytest.mark.parametrize("kind", sorted(ALTERED))
@pytest.mark.parametrize("method", ["cva", "irmad"])
def test_unchanged_ground_stays_unchanged(context: Context, kind: str, method: str) -> None:
    picture = ground(256, 256)
    result = run(context, picture, ALTERED[kind](picture), method=method)
    assert result.share < 0.02


def test_nothing_valid_is_an_answer(context: Context, tmp_path: Path) -> None:
    write(tmp_path / "a_20100101.tif", np.zeros((64, 64, 3), np.uint8), nodata=0)
    write(tmp_path / "b_20200101.tif", ground(64, 64), nodata=0)
    result = run(context, tmp_path / "a_20100101.tif", tmp_path / "b_20200101.tif", questions=("Did it change?",))
    assert not result.changed and result.text.startswith("No change was found.") and result.regions == ()
    assert "no pixel is valid" in " ".join(result.warnings)
    result.write(tmp_path / "n.tif")
    result.write(tmp_path / "n.geojson")
    result.write(tmp_path / "n.png")


def test_constant_images_do_not_fail(context: Context) -> None:
    flat = np.full((48, 48, 3), 90, np.uint8)
    assert not run(context, flat, flat + 1, method="irmad").changed
    assert not run(context, flat, flat.copy(), method="cva").changed


def test_kinds_of_ground_by_indices(context: Context, tmp_path: Path) -> None:
    river = np.zeros((96, 120), dtype=np.bool_)
    river[:, 20:40] = True
    later = np.zeros((96, 120), dtype=np.bool_)
    later[:, 60:90] = True
    first = multiband(tmp_path / "s_20000101.tif", river)
    second = multiband(tmp_path / "s_20200101.tif", later, seed=2)
    result = run(context, first, second, method="cva", questions=("How much water was gained?", "Where was it lost?"))
    told = {(t.before, t.after): t.area_m2 for t in result.transitions}
    assert told["water", "vegetation"] == pytest.approx(20 * 96 * 100, rel=0.1)
    assert told["vegetation", "water"] == pytest.approx(30 * 96 * 100, rel=0.1)
    assert {region.label for region in result.regions} == {"water to vegetation", "vegetation to water"}
    assert "Water took the place of vegetation on" in result.text
    assert result.answers[0].answer.endswith("of water was gained.") and "ha" in result.answers[0].answer
    assert "left" in result.answers[1].answer
    assert run(context, first, second, method="index").share == pytest.approx(50 / 120, rel=0.1)
    names = [layer.name for layer in result.layers]
    assert names == ["change", "magnitude", "ground before", "ground after", "transition"]


@pytest.mark.parametrize("method", ["cva", "irmad"])
def test_holes_in_a_band_outside_the_picture_are_not_compared(context: Context, tmp_path: Path, method: str) -> None:
    bare = np.array([50, 60, 90, 110])[:, None, None] + 4 * np.random.default_rng(5).normal(0, 1, (4, 96, 120))
    paths = []
    for seed, year in ((1, 2000), (2, 2020)):
        data = (bare + np.random.default_rng(seed).normal(0, 1, bare.shape)).astype(np.float32)
        if year == 2020:
            data[3, 40:56, 30:60] = -9999
        names = ["blue", "green", "red", "nir"]
        paths.append(write_tiff(tmp_path / f"s_{year}0101.tif", data, descriptions=names, nodata=-9999))
    result = run(context, *paths, method=method)
    mask = result.layers[0].read()
    assert (mask[40:56, 30:60] == 255).all() and (mask == 255).sum() == 16 * 30
    assert result.compared == pytest.approx(1 - 16 * 30 / mask.size)
    assert not result.changed and "ater" not in result.text


def test_a_trend_with_an_undated_image_keeps_one_order(context: Context, tmp_path: Path) -> None:
    picture = ground()
    names = ("late_20200101.tif", "undated.tif", "early_20100101.tif")
    paths = [write(tmp_path / name, built(relit(picture, n), BLOCKS[:n])) for n, name in enumerate(names)]
    result = run(context, *paths, method="cva", kinds=False)
    told = [(s.before.when, s.after.when) for s in (result, *result.steps)]
    assert told == [("2020-01-01", "2010-01-01"), ("2020-01-01", "undated.tif"), ("undated.tif", "2010-01-01")]
    assert "Between 2020-01-01 and 2010-01-01" in result.text and "Between 2010" not in result.text
    assert result.warnings[0] == "no date is known of undated.tif: the images are compared in the order given"
    assert not any("reverse" in warning for warning in result.warnings)


def test_three_dates_give_a_trend(context: Context, tmp_path: Path) -> None:
    paths = []
    for number, year in enumerate((2000, 2010, 2020)):
        water = np.zeros((96, 120), dtype=np.bool_)
        water[:, 10 : 30 + 20 * number] = True
        paths.append(multiband(tmp_path / f"s_{year}0101.tif", water, seed=number))
    result = run(context, paths[2], paths[0], paths[1], method="cva")
    assert [(s.before.when, s.after.when) for s in result.steps] == [
        ("2000-01-01", "2010-01-01"),
        ("2010-01-01", "2020-01-01"),
    ]
    assert (
        "Open water gained" in result.text and "in every step" in result.text and "The pace was steady." in result.text
    )
    assert "sorted" in result.warnings[0]
    result.to_png(tmp_path / "t.png")
    with Image.open(tmp_path / "t.png") as drawn:
        assert drawn.width == 3 * 428 + 8


def test_clouds_are_left_out_of_coarse_images(context: Context, dates: tuple[Path, Path], tmp_path: Path) -> None:
    cloudy = built(relit(ground()), [(40, 40, 90, 90)], 250)
    path = write(tmp_path / "c_20210101.tif", cloudy)
    result = run(context, dates[0], path, method="cva")
    assert not result.changed and "clouds" in " ".join(result.warnings)
    assert run(context, dates[0], path, method="cva", mask_clouds=False).changed


# --- bad input ---


def test_what_cannot_be_compared_is_refused_by_name(
    context: Context, dates: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, c, d, e, f = TEN_METRES
    far = write(tmp_path / "far_20200101.tif", ground(), transform=(a, b, c + 90_000, d, e, f))
    with pytest.raises(UsageError, match="do not overlap"):
        run(context, dates[0], far)
    edge = write(tmp_path / "edge_20200101.tif", ground(), transform=(a, b, c + 10 * 150, d, e, f))
    with pytest.raises(UsageError, match="share only 10×128 pixels"):
        run(context, dates[0], edge)
    with pytest.raises(UsageError, match="are the same image"):
        run(context, dates[0], dates[0])
    grey = write_tiff(tmp_path / "grey_20200101.tif", noise(1, 128, 160), colours=["gray"])
    with pytest.raises(UsageError, match="is grey and"):
        run(context, dates[0], grey)
    with pytest.raises(UsageError, match="without a position, and the sizes differ"):
        run(context, dates[0], ground(60, 50))
    with pytest.raises(UnsupportedSource, match="show nothing"):
        run(context, ground(160, 12), ground(160, 12))
    with pytest.raises(UsageError, match="two dates"):
        run(context, dates[0])
    with pytest.raises(UsageError, match="empty question"):
        run(context, *dates, questions=(" ",))
    with pytest.raises(UsageError, match="empty question"):  # before any image is looked at
        run(context, "no such image.tif", dates[1], questions=("What changed?", ""))
    with pytest.raises(UsageError, match="no bands for an index"):
        run(context, *dates, method="index")
    with pytest.raises(UsageError, match="without a scale"):
        run(context, ground(), relit(ground()), min_area_m2=100.0)


def test_the_same_flight_is_no_pair(context: Context, tmp_path: Path) -> None:
    one = write(tmp_path / "m_4709963_se_14_1_20200831.tif", ground())
    two = write(tmp_path / "again_naip_20200831.tif", relit(ground()))
    with pytest.raises(UsageError, match="same acquisition: naip, 2020-08-31"):
        run(context, one, two)


def test_coordinates_that_cannot_be_related(context: Context, dates: tuple[Path, Path], tmp_path: Path) -> None:
    local = 'LOCAL_CS["site grid",UNIT["metre",1]]'
    path = write(tmp_path / "local_20200101.tif", ground(), crs=local)
    with pytest.raises(BadFootprint):
        run(context, dates[0], path)


def test_one_image_without_position_is_taken_at_its_word(context: Context, dates: tuple[Path, Path]) -> None:
    result = run(context, dates[0], built(relit(ground()), BLOCKS), method="cva")
    assert "no position" in result.warnings[0] and result.subject.located and result.count == 2


def test_without_a_map_shares_are_said(context: Context) -> None:
    result = run(context, ground(), built(relit(ground()), BLOCKS), method="cva")
    assert result.area_m2 is None and "% of the pixels changed" in result.text
    with pytest.raises(UsageError, match="no position"):
        result.to_geojson("x.geojson")


def test_windows_do_not_show(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    from rsrag.adapters.change import compare

    picture = ground(200, 150)
    other: Picture = built(relit(picture), [(50, 40, 90, 70), (120, 100, 126, 104)])
    whole = run(context, picture, other, method="cva").layers[0].read()
    monkeypatch.setattr(compare, "CORE", 64)
    assert np.array_equal(run(context, picture, other, method="cva").layers[0].read(), whole)


def test_equal_requests_give_equal_results(context: Context, dates: tuple[Path, Path]) -> None:
    one, two = (run(context, *dates) for _ in range(2))
    assert one.text == two.text and one.facts == two.facts and one.regions == two.regions
