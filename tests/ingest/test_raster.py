"""GeoTIFF and JPEG 2000 files as scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rasters import TEN_METRES, UTM31, noise, write_rgb, write_tiff

from rsrag import geo
from rsrag.errors import BadFootprint, SourceTooLarge, UnsupportedSource
from rsrag.ingest.guard import Limits, SourceType, sniff
from rsrag.ingest.readers.bands import parse_bands
from rsrag.ingest.readers.base import Pixels, ReadOptions
from rsrag.ingest.readers.raster import RasterFile, open_raster
from rsrag.times import format_span
from rsrag.types import Scene, Window


def opened(path: Path, options: ReadOptions | None = None) -> RasterFile:
    return open_raster(path, sniff(path), options)


def whole(path: Path, options: ReadOptions | None = None) -> tuple[Scene, Pixels, np.ndarray]:
    with opened(path, options) as source:
        pixels = source.read(Window(0, 0, source.scene.width, source.scene.height))
        return source.scene, pixels, source.stretch.apply(pixels)


def test_an_rgb_scene_is_read_as_it_is(tmp_path: Path) -> None:
    path = write_rgb(tmp_path / "m_4709963_se_14_1_20090818.tif", 40, 60)
    scene, pixels, picture = whole(path)
    assert (scene.width, scene.height, scene.crs, scene.transform) == (60, 40, UTM31, TEN_METRES)
    assert [b.role for b in scene.bands] == ["red", "green", "blue"]
    assert (scene.sensor, format_span(scene.time), scene.collection) == ("naip", "2009-08-18", tmp_path.name)
    assert scene.footprint is not None
    assert geo.area_km2(scene.footprint) == pytest.approx(0.24, rel=0.01)
    assert scene.gsd_m == pytest.approx(10, rel=0.01)
    assert scene.stretch == "identity: red; green; blue"
    assert pixels.mask.all()
    np.testing.assert_array_equal(picture.transpose(2, 0, 1), noise(3, 40, 60))


def test_the_id_follows_from_content_and_what_the_user_said(tmp_path: Path) -> None:
    first, second = write_rgb(tmp_path / "a.tif"), tmp_path / "b.tif"
    second.write_bytes(first.read_bytes())
    scene = whole(first)[0]
    assert whole(second)[0].id == scene.id
    assert whole(first, ReadOptions(bands=(parse_bands("red=3,green=2,blue=1"),)))[0].id != scene.id
    assert whole(first, ReadOptions(bands=(parse_bands("other/*.tif:red=3,green=2,blue=1"),)))[0].id == scene.id
    write_rgb(second, transform=(10.0, 0.0, 500_010.0, 0.0, -10.0, 5_000_000.0))
    assert whole(second)[0].id != scene.id


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "uint64", "float32", "float64"]
)
def test_every_real_type_gives_a_picture(tmp_path: Path, dtype: str) -> None:
    path = write_tiff(tmp_path / "a.tif", noise(3, 64, 64, dtype, top=120), descriptions=["red", "green", "blue"])
    scene, pixels, picture = whole(path)
    assert scene.bands[0].dtype == dtype
    assert pixels.mask.all()
    assert picture.std() > 20
    again = whole(path)
    assert again[0].stretch == scene.stretch
    np.testing.assert_array_equal(again[2], picture)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_values_are_refused_by_name(tmp_path: Path, dtype: str) -> None:
    with pytest.raises(UnsupportedSource, match=f"complex values .{dtype}"):
        opened(write_tiff(tmp_path / "a.tif", noise(1).astype(dtype)))


def test_a_palette_becomes_its_colours(tmp_path: Path) -> None:
    data = np.zeros((1, 20, 20), np.uint8)
    data[0, :10], data[0, 10:, :5] = 1, 2
    palette = {0: (9, 9, 9, 255), 1: (200, 10, 20, 255), 2: (0, 0, 255, 255)}
    scene, pixels, picture = whole(write_tiff(tmp_path / "a.tif", data, palette=palette, nodata=0))
    assert scene.bands[0].role == "palette"
    assert picture[0, 0].tolist() == [200, 10, 20]
    assert picture[15, 2].tolist() == [0, 0, 255]
    assert not pixels.mask[15, 15] and pixels.mask.sum() == 250


@pytest.mark.parametrize("bits", [1, 4])
def test_less_than_eight_bits_use_the_full_range(tmp_path: Path, bits: int) -> None:
    data = np.zeros((1, 20, 20), np.uint8)
    data[0, :10] = 2**bits - 1
    picture = whole(write_tiff(tmp_path / "a.tif", data, nbits=bits))[2]
    assert (picture[0, 0, 0], picture[15, 0, 0]) == (255, 0)


def test_sentinel_2_with_thirteen_bands(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "S2A_MSIL1C_20210605T104021.tif", noise(13, 32, 32, "uint16", 9000))
    with opened(path) as source:
        assert len(source.bands) == 13
        assert source.scene.stretch is not None and source.scene.stretch.startswith("percentile 2-98: red ")
        assert [c.position for c in source.stretch.channels] == [3, 2, 1]


def test_radar_in_decibel_is_grey_with_its_unit(tmp_path: Path) -> None:
    values = -noise(1, 64, 64, "float32", 25)
    with opened(write_tiff(tmp_path / "sentinel1_vv_db.tif", values, nodata=-99)) as source:
        assert [b.role for b in source.bands] == ["vv"]
        assert source.units == ("dB",)
        assert source.scene.stretch == "percentile 2-98: vv -24..-1"


def test_scaled_values_of_a_known_sensor_are_reflectance(tmp_path: Path) -> None:
    path = write_tiff(
        tmp_path / "LC08_x.tif",
        noise(3, 32, 32, "uint16", 40_000),
        descriptions=["SR_B4", "SR_B3", "SR_B2"],
        scales=[2.75e-5] * 3,
        offsets=[-0.2] * 3,
    )
    with opened(path) as source:
        assert source.units == ("reflectance",) * 3
        assert (source.bands[0].scale, source.bands[0].offset) == (2.75e-5, -0.2)


# --- which pixels are valid -----------------------------------------------------------------------------------------


def test_eight_bit_nodata_counts_only_where_all_picture_bands_have_it(tmp_path: Path) -> None:
    data = noise(3, 20, 20)
    data[0, :5] = 0
    data[:, 10:] = 0
    path = write_tiff(tmp_path / "a.tif", data, colours=["red", "green", "blue"], photometric="RGB", nodata=0)
    mask = whole(path)[1].mask
    assert mask[:10].all() and not mask[10:].any()


def test_a_value_no_sensor_measures_counts_in_any_picture_band(tmp_path: Path) -> None:
    data = noise(4, 20, 20, "int16", 3000)
    data[0, :5], data[3, 15:] = -9999, -9999
    path = write_tiff(tmp_path / "a.tif", data, descriptions=["red", "green", "blue", "nir"], nodata=-9999)
    pixels = whole(path)[1]
    assert not pixels.mask[:5].any() and pixels.mask[5:].all()
    assert np.isnan(pixels.data[3, 15:]).all() and not np.isnan(pixels.data[3, :15]).any()


def test_an_internal_mask_comes_before_nodata(tmp_path: Path) -> None:
    data = noise(3, 20, 20)
    data[:, :5] = 0
    mask = np.ones((20, 20), bool)
    mask[15:] = False
    colours = ["red", "green", "blue"]
    path = write_tiff(tmp_path / "a.tif", data, colours=colours, photometric="RGB", nodata=0, mask=mask)
    np.testing.assert_array_equal(whole(path)[1].mask, mask)


def test_alpha_comes_before_nodata(tmp_path: Path) -> None:
    data = noise(4, 20, 20)
    data[:3, :5], data[3], data[3, 15:] = 0, 255, 0
    colours = ["red", "green", "blue", "alpha"]
    path = write_tiff(tmp_path / "a.tif", data, colours=colours, photometric="RGB", nodata=0)
    scene, pixels, picture = whole(path)
    assert scene.bands[3].role == "alpha"
    assert len(pixels.data) == 3
    assert pixels.mask[:15].all() and not pixels.mask[15:].any()
    assert not picture[15:].any()


def test_nan_is_never_valid(tmp_path: Path) -> None:
    data = noise(1, 20, 20, "float32")
    data[0, :5] = np.nan
    data[0, 5] = np.inf
    mask = whole(write_tiff(tmp_path / "a.tif", data))[1].mask
    assert not mask[:6].any() and mask[6:].all()


def test_doubles_beyond_single_precision_are_handled(tmp_path: Path) -> None:
    data = noise(1, 20, 20, "float64")
    data[0, :5] = -1.7976931348623157e308
    mask = whole(write_tiff(tmp_path / "a.tif", data, nodata=-1.7976931348623157e308))[1].mask
    assert not mask[:5].any() and mask[5:].all()


# --- where it lies --------------------------------------------------------------------------------------------------


def test_nodata_in_decimals_means_the_nearest_single(tmp_path: Path) -> None:
    """A tag of eight digits, and a reduced copy that holds the value as single precision wrote it."""
    data = np.full((1, 64, 64), 5.0)
    data[0, :32] = -1.2676506002282294e30
    mask = whole(write_tiff(tmp_path / "a.tif", data, nodata=-1.2676506e30))[1].mask
    assert not mask[:32].any() and mask[32:].all()


def test_without_a_position_only_on_request(tmp_path: Path) -> None:
    path = write_rgb(tmp_path / "a.tif", crs=None, transform=None)
    with pytest.raises(BadFootprint, match="no position") as caught:
        opened(path)
    assert "--allow-unlocated" in (caught.value.hint or "")
    scene = whole(path, ReadOptions(allow_unlocated=True))[0]
    assert (scene.footprint, scene.crs, scene.transform, scene.gsd_m) == (None, None, None, None)


def test_coordinates_without_a_system_take_the_users(tmp_path: Path) -> None:
    path = write_rgb(tmp_path / "a.tif", crs=None)
    with pytest.raises(BadFootprint, match="without a coordinate reference system"):
        opened(path)
    scene = whole(path, ReadOptions(crs="EPSG:32633"))[0]
    assert scene.crs == "EPSG:32633" and scene.footprint is not None


def test_a_world_file_places_a_bare_tiff(tmp_path: Path) -> None:
    path = write_rgb(tmp_path / "a.tif", crs=None, transform=None)
    (tmp_path / "a.tfw").write_text("10\n0\n0\n-10\n500005\n4999995\n")
    scene = whole(path, ReadOptions(crs=UTM31))[0]
    assert scene.transform == TEN_METRES
    assert scene.footprint == whole(write_rgb(tmp_path / "b.tif"))[0].footprint


# --- reading --------------------------------------------------------------------------------------------------------


def test_windows_outside_the_scene_are_errors(tmp_path: Path) -> None:
    with opened(write_rgb(tmp_path / "a.tif")) as source:
        for window in (Window(-1, 0, 10, 10), Window(60, 0, 10, 10), Window(0, 0, 0, 5), Window(512, 0, 4, 4)):
            with pytest.raises(ValueError, match="not inside"):
                source.read(window)


def test_smaller_reads_are_averages(tmp_path: Path) -> None:
    data = np.repeat(np.repeat(noise(3, 16, 16), 4, axis=1), 4, axis=2)
    path = write_tiff(tmp_path / "a.tif", data, colours=["red", "green", "blue"], photometric="RGB")
    with opened(path) as source:
        small = source.read(Window(0, 0, 64, 64), 4)
    np.testing.assert_array_equal(small.data, noise(3, 16, 16))


def test_jpeg_2000(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.jp2", noise(3), driver="JP2OpenJPEG", quality=100, reversible="YES")
    assert sniff(path) is SourceType.JP2
    scene, _, picture = whole(path, ReadOptions(bands=(parse_bands("red=1,green=2,blue=3"),)))
    assert scene.crs == UTM31 and scene.footprint is not None
    np.testing.assert_array_equal(picture.transpose(2, 0, 1), noise(3))


def test_blocks_over_the_limit_are_refused_before_reading(tmp_path: Path) -> None:
    path = write_rgb(tmp_path / "a.tif")
    with pytest.raises(SourceTooLarge, match="block"):
        opened(path, ReadOptions(limits=Limits(max_block_bytes=1000)))


def test_real_files(shared_data: Path) -> None:
    """What the files beside the repository say about themselves."""
    folder = shared_data / "geotiff"
    expected = {
        "naip/m_4709963_se_14_1_20120731.tif": ("naip", "2012-07-31", 5.0, (-99.155, 47.020)),
        "landsat7_stack/LE70220492002106EDC00_stack.tif": ("landsat-7", "2002-04-16", 30.0, (-93.316, 15.721)),
        "landsat7_olinda.tif": ("landsat-7", "unknown date", 28.5, (-34.871, -7.995)),
        "sentinel1_vv_db.tif": ("sentinel-1", "unknown date", 20.0, (4.520, 43.594)),
        "odd/cog_int16.tif": (None, "unknown date", 100.0, (-56.808, 73.481)),
    }
    for name, (sensor, date, gsd, centre) in expected.items():
        with opened(folder / name) as source:
            scene = source.scene
        assert (scene.sensor, format_span(scene.time)) == (sensor, date), name
        assert scene.gsd_m == pytest.approx(gsd, rel=0.01), name
        assert scene.footprint is not None
        assert geo.centre(scene.footprint) == pytest.approx(centre, abs=0.002), name
    rule = ReadOptions(bands=(parse_bands("landsat/*.tif:swir16=1,nir=2,red=3,green=4"),))
    years = [format_span(whole(path, rule)[0].time) for path in sorted((folder / "landsat").glob("*.tif"))]
    assert years == ["1985", "1995", "2005", "2015", "2020"]
