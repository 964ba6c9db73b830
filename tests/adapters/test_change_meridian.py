"""Dates across the antimeridian: longitudes a whole turn apart are the same ground."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from dates import Picture, built, ground, relit, truth, write
from rasterio.warp import Resampling, reproject
from rasterio.warp import transform as to_crs

from rsrag.adapters.base import Context
from rsrag.adapters.change import Change, ChangeRequest, ChangeResult
from rsrag.config import Settings
from rsrag.errors import UsageError
from rsrag.models.registry import load_profile

SIDE, STEP, WEST, NORTH = 200, 1e-4, 179.99, 10.01
BLOCKS = [(20, 20, 60, 60), (130, 120, 170, 160)]  # one on either side
WGS84 = "EPSG:4326"


@pytest.fixture(scope="module")
def context() -> Context:
    settings = Settings()
    return Context(load_profile(settings), settings)


def run(context: Context, *images: Path) -> ChangeResult:
    return Change().run(ChangeRequest(images, method="cva", kinds=False), context)


def degrees(path: Path, picture: Picture, west: float) -> Path:
    return write(path, picture, transform=(STEP, 0, west, 0, -STEP, NORTH), crs=WGS84)


def metres(path: Path, picture: Picture, crs: str, size: float) -> Path:
    """The picture, which starts at WEST, in a projection."""
    (left, right), (top, bottom) = to_crs(WGS84, crs, [WEST - 2e-3, WEST + 0.022 - 360], [NORTH + 2e-3, NORTH - 0.022])
    grid = rasterio.Affine(size, 0, left, 0, -size, top)
    values = np.zeros((3, round((top - bottom) / size), round((right - left) / size)), dtype=np.uint8)
    reproject(
        np.ascontiguousarray(picture.transpose(2, 0, 1)), values, dst_transform=grid, dst_crs=crs, src_crs=WGS84,
        src_transform=rasterio.Affine(STEP, 0, WEST, 0, -STEP, NORTH), resampling=Resampling.bilinear,
    )  # fmt: skip
    return write(path, values.transpose(1, 2, 0), transform=tuple(grid)[:6], crs=crs, nodata=0)


def f1(mask: np.ndarray, real: np.ndarray) -> float:
    return float(2 * (mask & real).sum() / max(1, mask.sum() + real.sum()))


@pytest.mark.parametrize(("first", "second"), [(WEST, WEST - 360), (WEST - 360, WEST)])
def test_the_same_longitudes_on_either_turn(context: Context, tmp_path: Path, first: float, second: float) -> None:
    picture = ground(SIDE, SIDE)
    result = run(
        context,
        degrees(tmp_path / "a_20100101.tif", picture, first),
        degrees(tmp_path / "b_20200101.tif", built(relit(picture), BLOCKS), second),
    )
    assert (result.subject.width, result.subject.height, result.compared) == (SIDE, SIDE, 1.0)
    assert result.count == 2 and f1(result.layers[0].read() == 1, truth(picture, BLOCKS)) > 0.85
    assert result.subject.footprint is not None and result.subject.footprint.bbox.crosses_antimeridian


@pytest.mark.parametrize("west", [WEST, WEST - 360])
@pytest.mark.parametrize("crs", ["EPSG:32660", "EPSG:32601"])
def test_a_grid_in_degrees_and_an_image_in_metres(context: Context, tmp_path: Path, west: float, crs: str) -> None:
    picture = ground(SIDE, SIDE)
    result = run(
        context,
        degrees(tmp_path / "a_20100101.tif", picture, west),
        metres(tmp_path / "b_20200101.tif", built(relit(picture), BLOCKS), crs, 8.0),
    )
    assert (result.subject.crs, result.subject.width, result.subject.height) == (WGS84, SIDE, SIDE)
    assert result.compared == 1.0 and result.count == 2
    assert f1(result.layers[0].read() == 1, truth(picture, BLOCKS)) > 0.85


@pytest.mark.parametrize("west", [WEST, WEST - 360])
@pytest.mark.parametrize("crs", ["EPSG:32660", "EPSG:32601"])
def test_a_grid_in_metres_and_an_image_in_degrees(context: Context, tmp_path: Path, west: float, crs: str) -> None:
    picture = ground(SIDE, SIDE)
    result = run(
        context,
        degrees(tmp_path / "a_20100101.tif", picture, west),
        metres(tmp_path / "b_20200101.tif", built(relit(picture), BLOCKS), crs, 12.0),
    )
    assert result.subject.crs == crs and result.compared > 0.95 and result.count == 2
    assert result.area_m2 == pytest.approx(3200 * 11.06 * 10.97, rel=0.1)  # metres of 1e-4 degrees at 10° north


def test_the_whole_earth_from_another_meridian(context: Context, tmp_path: Path) -> None:
    picture = ground(360, 180)
    after = built(relit(picture), [(0, 60, 10, 80), (350, 60, 360, 80)])  # one change, cut by the edge of the map
    first = write(tmp_path / "a_20100101.tif", picture, transform=(1, 0, -180, 0, -1, 90), crs=WGS84)
    turned = np.roll(after, 180, axis=1)
    second = write(tmp_path / "b_20200101.tif", turned, transform=(1, 0, 0, 0, -1, 90), crs=WGS84)
    result = run(context, first, second)
    assert result.subject.width == 360 and result.compared == 1.0 and result.count == 2
    # Pixels shrink towards the poles: the sum is that of the regions, not of as many mean pixels.
    areas = [float(fact.value) for region in result.regions for fact in region.facts if fact.name == "area"]
    assert result.area_m2 == pytest.approx(sum(areas), rel=2e-3)
    assert result.area_m2 == pytest.approx(20 * 20 * 111_195**2 * np.cos(np.radians(20)), rel=0.05)


def test_half_a_turn_apart_is_other_ground(context: Context, tmp_path: Path) -> None:
    picture = ground(SIDE, SIDE)
    first = degrees(tmp_path / "a_20100101.tif", picture, WEST)
    second = degrees(tmp_path / "b_20200101.tif", relit(picture), WEST - 180)
    with pytest.raises(UsageError, match="do not overlap"):
        run(context, first, second)
