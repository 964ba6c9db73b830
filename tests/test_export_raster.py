"""Computed rasters reach a GIS with their position, and a failed write leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasters import TEN_METRES, UTM31

from rsrag.errors import UsageError
from rsrag.export_raster import write_float_raster, write_picture_raster


def test_a_float_band_with_gaps(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 600 * 700).reshape(600, 700)
    values[:5] = np.nan
    path = tmp_path / "map.tif"
    write_float_raster(path, values, UTM31, TEN_METRES, description="likelihood", tags={"QUERY": "a lake"})
    with rasterio.open(path) as raster:
        assert (raster.crs.to_string(), tuple(raster.transform)[:6]) == (UTM31, TEN_METRES)
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG" and raster.tags()["QUERY"] == "a lake"
        assert raster.descriptions == ("likelihood",) and np.isnan(raster.nodata)
        assert np.array_equal(raster.read(1), values.astype(np.float32), equal_nan=True)
        assert not raster.read_masks(1)[:5].any() and raster.read_masks(1)[5:].all()


def test_a_picture_comes_back_as_it_was(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 30, 3)).astype(np.uint8)
    write_picture_raster(tmp_path / "scene.tif", picture, UTM31, TEN_METRES)
    with rasterio.open(tmp_path / "scene.tif") as raster:
        assert np.array_equal(raster.read().transpose(1, 2, 0), picture)
        assert [band.name for band in raster.colorinterp] == ["red", "green", "blue"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "map.tif"
    write_float_raster(path, np.zeros((4, 4)), UTM31, TEN_METRES)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"cannot write .*map\.tif"):
        write_float_raster(path, np.zeros((4, 4)), "no such system", TEN_METRES)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    with pytest.raises(UsageError, match="cannot write"):
        write_float_raster(tmp_path / "missing" / "map.tif", np.zeros((4, 4)), UTM31, TEN_METRES)
