"""Images on the grids of others: whole offsets are read as they are, everything else is warped window by window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dates import ground, write
from rasterio.warp import transform as to_crs
from rasters import TEN_METRES, UTM31

from rsrag.crs import full_turn
from rsrag.errors import BadFootprint
from rsrag.ingest import guard
from rsrag.ingest.readers.aligned import AlignedSource, Grid
from rsrag.ingest.readers.base import RasterSource, ReadOptions
from rsrag.ingest.readers.images import open_image
from rsrag.types import Window


def source(path: Path) -> RasterSource:
    return open_image(path, guard.sniff(path), ReadOptions())


def test_a_part_at_whole_pixels_is_read_as_it_is(tmp_path: Path) -> None:
    picture = ground()
    a, b, c, d, e, f = TEN_METRES
    grid = Grid(100, 90, (a, b, c + 20 * a, d, e, f - 30 * 10), UTM31)
    with AlignedSource(source(write(tmp_path / "s.tif", picture)), grid) as found:
        pixels = found.read(Window(0, 0, 100, 90))
        assert pixels.data.dtype == np.uint8 and pixels.mask.all()
        assert np.array_equal(pixels.data.transpose(1, 2, 0), picture[30:120, 20:120])


def test_outside_the_image_nothing_is_valid(tmp_path: Path) -> None:
    a, b, c, d, e, f = TEN_METRES
    grid = Grid(60, 60, (a, b, c - 300, d, e, f), UTM31)
    with AlignedSource(source(write(tmp_path / "s.tif", ground())), grid) as found:
        pixels = found.read(Window(0, 0, 60, 60))
        assert not pixels.mask[:, :30].any() and pixels.mask[:, 30:].all()
        assert not found.read(Window(0, 0, 20, 20)).mask.any()


def test_windows_of_another_crs_agree_with_the_whole(tmp_path: Path) -> None:
    (west,), (north,) = to_crs(UTM31, "EPSG:4326", [500_150], [4_999_850])
    grid = Grid(90, 70, (1.25e-4, 0, west, 0, -0.9e-4, north), "EPSG:4326")
    with AlignedSource(source(write(tmp_path / "s.tif", ground())), grid) as found:
        whole = found.read(Window(0, 0, 90, 70))
        part = found.read(Window(33, 21, 40, 30))
        assert whole.mask.mean() > 0.95
        both = part.mask & whole.mask[21:51, 33:73]
        difference = np.abs(part.data - whole.data[:, 21:51, 33:73])[:, both]
        # GDAL interpolates coordinates along rows within an eighth of a pixel.
        assert np.median(difference) < 1 and difference.mean() < 2
        small = found.read(Window(0, 0, 90, 70), 2)
        assert small.mask.shape == (35, 45)


def test_a_finer_image_is_averaged_first(tmp_path: Path) -> None:
    checks = np.indices((128, 160)).sum(axis=0) % 2 * 200 + 20
    path = write(tmp_path / "s.tif", np.repeat(checks[..., None], 3, axis=2).astype(np.uint8))
    a, b, c, d, e, f = TEN_METRES
    with AlignedSource(source(path), Grid(30, 24, (4 * a, b, c + 40, d, 4 * e, f - 40), UTM31)) as found:
        values = found.read(Window(0, 0, 30, 24)).data[0]
        assert np.abs(values - 120).max() <= 1


def test_a_shift_is_taken_back(tmp_path: Path) -> None:
    picture = ground()
    moved = np.roll(picture, (2, 3), axis=(0, 1))
    grid = Grid(160, 128, TEN_METRES, UTM31)
    with AlignedSource(source(write(tmp_path / "s.tif", moved)), grid, (3.0, 2.0)) as found:
        pixels = found.read(Window(20, 20, 100, 80))
        assert np.abs(pixels.data.transpose(1, 2, 0) - picture[20:100, 20:120]).max() <= 1


def test_an_image_without_position_fits_no_map(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(ground()).save(tmp_path / "p.png")
    found = open_image(tmp_path / "p.png", guard.sniff(tmp_path / "p.png"), ReadOptions(allow_unlocated=True))
    with found, pytest.raises(BadFootprint, match="no position"):
        AlignedSource(found, Grid(10, 10, TEN_METRES, UTM31))
    grid = Grid(160, 128, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
    with AlignedSource(found, grid) as same, same.moved((0.5, 0.0)) as half:
        values = half.read(Window(10, 10, 50, 50)).data
        own = same.read(Window(10, 10, 51, 50)).data.astype(np.float32)
        assert np.abs(values - (own[..., :-1] + own[..., 1:]) / 2).max() <= 1


@pytest.mark.parametrize(("west", "start"), [(179.99, -180.01), (-180.01, 179.99)])
def test_longitudes_a_turn_apart_are_the_same_ground(tmp_path: Path, west: float, start: float) -> None:
    picture = ground(200, 100)
    path = write(tmp_path / "s.tif", picture, transform=(1e-4, 0, west, 0, -1e-4, 10.0), crs="EPSG:4326")
    with AlignedSource(source(path), Grid(200, 100, (1e-4, 0, start, 0, -1e-4, 10.0), "EPSG:4326")) as found:
        pixels = found.read(Window(0, 0, 200, 100))
        assert pixels.mask.all() and np.array_equal(pixels.data.transpose(1, 2, 0), picture)
        half = found.moved((0.5, 0.0)).read(Window(50, 10, 100, 50))
        own = picture[10:60, 50:151].astype(np.float32)
        assert half.mask.all() and np.abs(half.data.transpose(1, 2, 0) - (own[:, :-1] + own[:, 1:]) / 2).max() <= 1


@pytest.mark.parametrize("west", [179.99, -180.01])
def test_a_grid_in_metres_across_the_antimeridian_is_filled(tmp_path: Path, west: float) -> None:
    picture = ground(200, 100)
    path = write(tmp_path / "s.tif", picture, transform=(1e-4, 0, west, 0, -1e-4, 10.0), crs="EPSG:4326")
    (middle,), (top,) = to_crs("EPSG:4326", "EPSG:32660", [180.0], [9.999])
    with AlignedSource(source(path), Grid(120, 60, (11.0, 0, middle - 660, 0, -11.0, top), "EPSG:32660")) as found:
        whole = found.read(Window(0, 0, 120, 60))
        assert whole.mask.all()
        part = found.read(Window(50, 20, 30, 20))
        assert part.mask.all() and np.abs(part.data - whole.data[:, 20:40, 50:80]).mean() < 2
        columns = np.round((whole.data[0] - whole.data[0].mean()).mean(axis=0), 3)
        assert columns.std() > 0  # ground on both sides, not one column repeated


def test_a_grid_across_the_edge_of_a_map_of_the_earth_is_read_from_both_ends(tmp_path: Path) -> None:
    picture = ground(360, 180)
    path = write(tmp_path / "s.tif", picture, transform=(1.0, 0, -180.0, 0, -1.0, 90.0), crs="EPSG:4326")
    with AlignedSource(source(path), Grid(40, 30, (1.0, 0, 160.0, 0, -1.0, 20.0), "EPSG:4326")) as found:
        pixels = found.read(Window(0, 0, 40, 30))
        assert pixels.mask.all()
        there = np.concatenate([picture[70:100, 340:], picture[70:100, :20]], axis=1)
        assert np.abs(pixels.data.transpose(1, 2, 0) - there).max() <= 1
    with AlignedSource(source(path), Grid(360, 180, (1.0, 0, -180.0, 0, -1.0, 90.0), "EPSG:4326")) as same:
        assert same.read(Window(0, 0, 360, 180)).data.dtype == np.uint8  # its own grid: read as it is


def test_a_turn_is_told_in_the_units_of_the_longitude() -> None:
    assert full_turn("EPSG:4326") == 360.0 and full_turn("EPSG:4807") == 400.0  # grads
    assert full_turn(UTM31) is None and full_turn("nonsense") is None
    around = 2 * np.pi * 6378137
    assert full_turn("EPSG:3857") == pytest.approx(around) and full_turn("EPSG:3832") == pytest.approx(around)
    assert full_turn("ESRI:54009") is None  # Mollweide: x depends on the latitude
    assert full_turn("+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=40 +lon_0=10") is None


@pytest.mark.parametrize("turns", [0, -1])
def test_web_mercator_across_the_antimeridian_fills_a_grid(tmp_path: Path, turns: int) -> None:
    around = full_turn("EPSG:3857")
    assert around is not None
    west = around / 2 - 1000 + turns * around
    path = write(tmp_path / "s.tif", ground(200, 100), transform=(11.0, 0, west, 0, -11.0, 1e6), crs="EPSG:3857")
    (middle,), (top,) = to_crs("EPSG:3857", "EPSG:32660", [around / 2], [1e6 - 50])
    with AlignedSource(source(path), Grid(120, 60, (11.0, 0, middle - 660, 0, -11.0, top), "EPSG:32660")) as found:
        whole = found.read(Window(0, 0, 120, 60))
        assert whole.mask.all()
        columns = (whole.data[0] - whole.data[0].mean()).mean(axis=0)
        assert columns.std() > 0
    other = Grid(180, 100, (11.0, 0, west + 110 - (2 * turns + 1) * around, 0, -11.0, 1e6), "EPSG:3857")
    with AlignedSource(source(path), other) as moved:
        assert moved.read(Window(0, 0, 180, 100)).mask.all()
