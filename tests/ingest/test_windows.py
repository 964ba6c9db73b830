"""Plans of tiles, and reading them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rasters import noise, write_rgb, write_tiff

from rsrag.errors import SourceTooLarge, UsageError
from rsrag.ingest import windows
from rsrag.ingest.guard import SourceType
from rsrag.ingest.readers.raster import RasterFile, open_raster
from rsrag.ingest.windows import TilePixels, TilePlan, TileWindow, plan_tiles, read_tile, read_tiles
from rsrag.types import Window


def tiles_of(source: RasterFile, plan: TilePlan) -> list[TilePixels]:
    read = list(read_tiles(source, plan))
    assert all(isinstance(tile, TilePixels) for tile in read)
    return [tile for tile in read if isinstance(tile, TilePixels)]


def test_scales_double_until_the_scene_fits_into_one_tile() -> None:
    plan = plan_tiles(934, 723, 256)
    assert plan.scales == (1, 2, 4)
    assert plan.count == 4 * 3 + 2 * 2 + 1
    assert [t.out_size for t in plan][-1] == (234, 181)
    assert plan_tiles(100, 80, 256).scales == (1,)
    assert next(iter(plan_tiles(100, 80, 256))).window == Window(0, 0, 100, 80)


def test_the_last_tile_is_moved_inside() -> None:
    assert plan_tiles(600, 256, 256, [1]).columns(1) == [(0, 256), (256, 256), (344, 256)]


def test_scales_beyond_the_whole_scene_are_left_out() -> None:
    assert plan_tiles(600, 600, 256, [8, 1, 4, 16]).scales == (1, 4)


@settings(max_examples=200)
@given(
    width=st.integers(1, 3000),
    height=st.integers(1, 3000),
    size=st.sampled_from([16, 100, 256]),
    overlap=st.sampled_from([0.0, 0.25, 0.5]),
    scales=st.sampled_from(["auto", [1], [3], [1, 4]]),
)
def test_a_plan_covers_the_scene_and_knows_its_count(
    width: int, height: int, size: int, overlap: float, scales: str | Sequence[int]
) -> None:
    plan = plan_tiles(width, height, size, scales, overlap, max_tiles=10**9)  # type: ignore[arg-type]
    for scale in plan.scales:
        for spans, length in ((plan.columns(scale), width), (plan.rows(scale), height)):
            assert spans[0][0] == 0
            assert all(start % scale == 0 and start + extent <= length for start, extent in spans)
            assert len({start for start, _ in spans}) == len(spans)
            assert all(b[0] <= a[0] + a[1] for a, b in pairwise(spans))
            # Less than one tile pixel may be left at the far edge.
            assert length - sum(spans[-1]) < scale
            assert all(extent == size * scale for _, extent in spans) or len(spans) == 1
    assert plan.count == sum(1 for _ in plan) if plan.count < 5000 else True


def test_too_many_tiles_are_refused_by_arithmetic() -> None:
    with pytest.raises(SourceTooLarge, match="the limit is 100000") as caught:
        plan_tiles(10**6, 10**6)
    assert "--max-tiles 20" in (caught.value.hint or "")


@pytest.mark.parametrize("arguments", [{"tile_size": 0}, {"overlap": 1.0}, {"scales": []}, {"scales": [0]}])
def test_plans_that_make_no_sense_are_usage_errors(arguments: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        plan_tiles(100, 100, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("overviews", [(), (2, 4), (8,), (3, 8)])
@pytest.mark.parametrize("layout", [{"tiled": True, "blockxsize": 64, "blockysize": 64}, {"blockysize": 3}])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_tiles_are_the_same_alone_and_in_a_stream(
    tmp_path: Path, overviews: tuple[int, ...], layout: dict[str, object], dtype: str
) -> None:
    data = noise(3, 275, 203, dtype)
    data[:, 100:140, 30:90] = 0
    path = write_tiff(
        tmp_path / "a.tif", data, descriptions=["red", "green", "blue"], nodata=0, overviews=overviews, **layout
    )
    with open_raster(path, SourceType.GEOTIFF) as source:
        plan = plan_tiles(203, 275, 24, overlap=0.25)
        assert plan.scales == (1, 2, 4, 8, 16)
        tiles = tiles_of(source, plan)
        assert {t.tile for t in tiles} == set(plan) and len(tiles) == plan.count
        for tile in tiles:
            alone = read_tile(source, tile.tile)
            np.testing.assert_array_equal(tile.picture, alone.picture)
            np.testing.assert_array_equal(tile.data, alone.data)
            np.testing.assert_array_equal(tile.mask, alone.mask)
            assert tile.picture.shape[:2] == tile.mask.shape == tile.tile.out_size[::-1]


@pytest.mark.parametrize("budget", [0, 10**9])
def test_the_reduced_copy_changes_speed_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: int) -> None:
    path = write_rgb(tmp_path / "a.tif", 300, 300, tiled=True, blockxsize=64, blockysize=64)
    reads: list[int] = []
    real = RasterFile.read

    def counted(self: RasterFile, window: Window, scale: int = 1) -> object:
        reads.append(scale)
        return real(self, window, scale)

    monkeypatch.setattr(RasterFile, "read", counted)
    monkeypatch.setattr(windows, "REDUCED_BYTES", budget)
    with open_raster(path, SourceType.GEOTIFF) as source:
        plan = plan_tiles(300, 300, 16)
        tiles = tiles_of(source, plan)
        assert set(reads) == ({1} if budget else {1, 8})
        whole = next(t for t in tiles if t.tile.scale == plan.scales[-1])
        np.testing.assert_array_equal(whole.data, read_tile(source, whole.tile).data)


def test_a_coarse_tile_is_the_average_of_its_scene(tmp_path: Path) -> None:
    """Averages in three steps of rounding stay within one grey level of the average in one."""
    with open_raster(write_rgb(tmp_path / "a.tif", 512, 512), SourceType.GEOTIFF) as source:
        coarse = read_tile(source, TileWindow(Window(0, 0, 512, 512), 128))
    exact = noise(3, 512, 512).reshape(3, 4, 128, 4, 128).mean(axis=(2, 4))
    assert np.abs(coarse.data - exact).max() <= 1.0


def test_native_tiles_hold_the_files_values(tmp_path: Path) -> None:
    with open_raster(write_rgb(tmp_path / "a.tif", 100, 130), SourceType.GEOTIFF) as source:
        for tile in tiles_of(source, plan_tiles(130, 100, 32, [1])):
            col, row, width, height = tile.tile.window
            np.testing.assert_array_equal(tile.data, noise(3, 100, 130)[:, row : row + height, col : col + width])


def test_only_wanted_tiles_are_read(tmp_path: Path) -> None:
    with open_raster(write_rgb(tmp_path / "a.tif"), SourceType.GEOTIFF) as source:
        plan = plan_tiles(64, 64, 16)
        read = list(read_tiles(source, plan, lambda tile: tile.scale == 2))
        assert {t.tile for t in read} == {t for t in plan if t.scale == 2}
        assert list(read_tiles(source, plan, lambda tile: False)) == []


def test_reads_stay_within_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = 3 * 128 * 256
    monkeypatch.setattr(windows, "READ_VALUES", budget)
    sizes = []
    real = RasterFile.read

    def counted(self: RasterFile, window: Window, scale: int = 1) -> object:
        pixels = real(self, window, scale)
        sizes.append(pixels.data.size)
        return pixels

    monkeypatch.setattr(RasterFile, "read", counted)
    path = write_rgb(tmp_path / "a.tif", 512, 512, tiled=True, blockxsize=64, blockysize=64)
    with open_raster(path, SourceType.GEOTIFF) as source:
        tiles_of(source, plan_tiles(512, 512, 32))
    assert max(sizes) <= budget


def test_leaving_early_ends_the_reading_thread(tmp_path: Path) -> None:
    with open_raster(write_rgb(tmp_path / "a.tif", 256, 256), SourceType.GEOTIFF) as source:
        stream = read_tiles(source, plan_tiles(256, 256, 16))
        next(stream)
        stream.close()
    assert not [t for t in threading.enumerate() if t.name == "rsrag-reader"]


def test_a_fault_of_the_reader_itself_reaches_the_consumer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> object:
        raise RuntimeError("programming error")

    with open_raster(write_rgb(tmp_path / "a.tif"), SourceType.GEOTIFF) as source:
        monkeypatch.setattr(RasterFile, "read", broken)
        with pytest.raises(RuntimeError, match="programming error"):
            list(read_tiles(source, plan_tiles(64, 64, 16)))


def test_the_stretch_is_the_same_for_every_tile(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(128, dtype=np.uint16) * 100, (128, 1))[None]
    with open_raster(write_tiff(tmp_path / "a.tif", ramp), SourceType.GEOTIFF) as source:
        tiles = tiles_of(source, plan_tiles(128, 128, 32, [1]))
    means = {t.tile.window.col: t.picture.mean() for t in tiles}
    assert means[0] < means[32] < means[64] < means[96]


def test_reduced_copies_of_a_rounded_size_are_not_used(tmp_path: Path) -> None:
    """A COG of 270 rows has copies of 67 and 33 rows, where 68 and 34 would hold the whole scene."""
    path = tmp_path / "rounded.tif"
    write_rgb(path, 270, 540, driver="COG", blocksize=128)
    with open_raster(path, SourceType.GEOTIFF) as source:
        plan = plan_tiles(540, 270, 16, overlap=0.5)
        tiles = tiles_of(source, plan)
        assert len(tiles) == plan.count
        for tile in tiles[:: max(1, len(tiles) // 40)]:
            assert np.array_equal(tile.picture, read_tile(source, tile.tile).picture)


def test_a_damaged_first_block_costs_the_tiles_that_lie_on_it(tmp_path: Path) -> None:
    path = write_rgb(tmp_path / "a.tif", 512, 512, tiled=True, blockxsize=32, blockysize=32, compress="deflate")
    with Image.open(path) as image:
        start, size = image.tag_v2[324][0], image.tag_v2[325][0]
    content = bytearray(path.read_bytes())
    content[start : start + size] = b"\xaa" * size
    path.write_bytes(content)
    with open_raster(path, SourceType.GEOTIFF) as source:
        plan = plan_tiles(512, 512, tile_size=32)
        read = list(read_tiles(source, plan))
    failed = [one.tile for one in read if not isinstance(one, TilePixels)]
    assert len(read) == plan.count
    assert [(tile.window.col, tile.window.row, tile.scale) for tile in failed] == [(0, 0, s) for s in plan.scales]
