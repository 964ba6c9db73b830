"""Facts from pixels, and what identifies them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rasters import TEN_METRES, UTM31, noise, write_tiff

from rsrag import geo
from rsrag.ingest.enrich import (
    blank_reason,
    perceptual_hash,
    pixel_digest,
    tile_facts,
    tile_footprint,
)
from rsrag.ingest.guard import SourceType
from rsrag.ingest.readers.raster import open_raster
from rsrag.ingest.windows import TilePixels, TileWindow, read_tile
from rsrag.types import Band, BBox, Fact, Scene, Window


def tile(data: np.ndarray, mask: np.ndarray | None = None, picture: np.ndarray | None = None) -> TilePixels:
    _, height, width = data.shape
    mask = np.ones((height, width), bool) if mask is None else mask
    picture = np.full((height, width, 3), 51, np.uint8) if picture is None else picture
    return TilePixels(TileWindow(Window(0, 0, width, height), 1), picture, data, mask)


def by_name(facts: tuple[Fact, ...]) -> dict[str, tuple[float | str, str]]:
    return {fact.name: (fact.value, fact.unit) for fact in facts}


def test_indices_from_physical_values(tmp_path: Path) -> None:
    """Green vegetation left, water right, by reflectances that scale and offset give."""
    reflectance = {"green": (0.08, 0.06), "red": (0.04, 0.03), "nir": (0.46, 0.02), "swir16": (0.20, 0.01)}
    data = np.zeros((4, 10, 10), np.uint16)
    for i, (plants, water) in enumerate(reflectance.values()):
        data[i, :, :5], data[i, :, 5:] = round((plants + 0.1) * 10_000), round((water + 0.1) * 10_000)
    path = write_tiff(
        tmp_path / "S2A_x.tif", data, descriptions=list(reflectance), scales=[1e-4] * 4, offsets=[-0.1] * 4
    )
    with open_raster(path, SourceType.GEOTIFF) as source:
        pixels = read_tile(source, TileWindow(Window(0, 0, 10, 10), 1))
        footprint = tile_footprint(source.scene, Window(0, 0, 10, 10))
        facts = by_name(tile_facts(pixels, source.bands, source.units, footprint))
    assert facts["mean_red"] == (pytest.approx(0.035, abs=1e-5), "reflectance")
    assert facts["std_nir"] == (pytest.approx(0.22, abs=1e-5), "reflectance")
    assert facts["ndvi_mean"] == (pytest.approx((0.42 / 0.5 - 0.01 / 0.05) / 2, abs=1e-4), "1")
    assert facts["ndwi_mean"] == (pytest.approx((-0.38 / 0.54 + 0.04 / 0.08) / 2, abs=1e-4), "1")
    assert facts["ndbi_mean"] == (pytest.approx((-0.26 / 0.66 - 0.01 / 0.03) / 2, abs=1e-4), "1")
    assert facts["vegetation_fraction"] == (0.5, "1")
    assert facts["water_fraction"] == (0.5, "1")
    assert facts["valid_fraction"] == (1.0, "1")
    assert facts["area_km2"] == (pytest.approx(0.01, rel=0.01), "km2")


def test_eight_bit_pictures_have_indices_but_no_fractions() -> None:
    bands = [Band(1, "red", "uint8"), Band(2, "nir", "uint8")]
    facts = by_name(tile_facts(tile(noise(2)), bands, ["DN", "DN"]))
    assert "ndvi_mean" in facts
    assert not {"vegetation_fraction", "water_fraction", "ndwi_mean", "area_km2"} & set(facts)
    assert facts["brightness"] == (pytest.approx(0.2, abs=1e-6), "1")


def test_invalid_pixels_do_not_count() -> None:
    data = np.full((1, 10, 10), 5.0, np.float32)
    mask = np.ones((10, 10), bool)
    data[0, :5], mask[:5] = 999.0, False
    facts = by_name(tile_facts(tile(data, mask), [Band(1, "vv", "float32")], ["dB"]))
    assert facts["mean_vv"] == (5.0, "dB")
    assert facts["valid_fraction"] == (0.5, "1")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
@pytest.mark.parametrize("share", [1.0, 0.7])
def test_whole_numbers_have_the_facts_that_they_have_as_floats(dtype: str, share: float) -> None:
    rng = np.random.default_rng(5)
    limits = np.iinfo(dtype)
    data = rng.integers(max(0, limits.max - 300), limits.max, (2, 40, 50)).astype(dtype)
    mask = rng.random((40, 50)) < share if share < 1 else None
    found = []
    for values in (data, data.astype(np.float64)):
        bands = [Band(1, "red", str(values.dtype), scale=-2e-4, offset=0.1), Band(2, "nir", str(values.dtype))]
        found.append(by_name(tile_facts(tile(values, mask), bands, ["reflectance", "DN"])))
    for name in ("mean_red", "std_red", "mean_nir", "std_nir", "ndvi_mean", "valid_fraction", "brightness"):
        assert found[0][name][0] == pytest.approx(found[1][name][0], rel=2e-6), name


def test_nothing_valid_gives_no_measures() -> None:
    facts = tile_facts(tile(noise(1), np.zeros((64, 64), bool)), [Band(1, "grey", "uint8")], ["DN"])
    assert facts == (Fact("valid_fraction", 0.0),)


def test_indices_leave_out_pixels_without_a_meaning() -> None:
    data = np.array([[[100.0, -5.0, np.nan, 0.0]], [[300.0, 5.0, 4.0, 0.0]]], np.float32)
    bands = [Band(1, "red", "float32"), Band(2, "nir", "float32")]
    assert by_name(tile_facts(tile(data), bands, ["DN", "DN"]))["ndvi_mean"] == (0.5, "1")


def test_blank_tiles() -> None:
    mask = np.zeros((64, 64), bool)
    assert blank_reason(tile(noise(1), mask)) == "no valid pixels"
    mask[:6] = True
    assert blank_reason(tile(noise(1), mask)) == "9% of its pixels are valid"
    assert blank_reason(tile(noise(1))) == "all pixels alike"
    last = np.full((64, 64, 3), 51, np.uint8)
    last[-1, -1, 2] = 52
    assert blank_reason(tile(noise(1), picture=last)) is None
    picture = noise(3).transpose(1, 2, 0)
    assert blank_reason(tile(noise(1), picture=picture)) is None
    assert blank_reason(tile(noise(1), mask, picture), min_valid=0.05) is None


def test_a_digest_is_of_pixels_and_shape() -> None:
    picture = noise(3, 8, 16).transpose(1, 2, 0)
    assert pixel_digest(picture) == pixel_digest(np.ascontiguousarray(picture))
    assert pixel_digest(picture) != pixel_digest(np.ascontiguousarray(picture).reshape(16, 8, 3))
    changed = picture.copy()
    changed[0, 0, 0] ^= 1
    assert pixel_digest(changed) != pixel_digest(picture)


def test_a_hash_survives_light_changes_and_tells_pictures_apart() -> None:
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 200, (8, 9, 3)).astype(np.uint8)
    picture = np.repeat(np.repeat(coarse, 16, axis=0), 16, axis=1)
    brighter = picture + 20
    other = np.ascontiguousarray(picture[::-1, ::-1])
    value = perceptual_hash(picture)
    assert 0 <= value < 2**64
    assert (value ^ perceptual_hash(brighter)).bit_count() <= 2
    assert (value ^ perceptual_hash(other)).bit_count() >= 16
    falling = np.tile(np.linspace(255, 0, 90).astype(np.uint8)[None, :, None], (80, 1, 3))
    assert perceptual_hash(falling) == 2**64 - 1


def test_where_a_tile_lies() -> None:
    scene = Scene("id", "a.tif", "d", "c", 100, 100, (), None, UTM31, TEN_METRES)
    footprint = tile_footprint(scene, Window(0, 0, 50, 100))
    assert footprint is not None and geo.area_km2(footprint) == pytest.approx(0.5, rel=0.01)
    outline = geo.footprint_from_bbox(BBox(1, 2, 3, 4))
    outlined = Scene("id", "a.png", "d", "c", 100, 100, (), outline)
    assert tile_footprint(outlined, Window(0, 0, 100, 100)) == outline
    assert tile_footprint(outlined, Window(0, 0, 50, 50)) is None
