"""PNG and JPEG pictures, and images to ask about."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rasters import TEN_METRES, UTM31, noise, write_rgb, write_tiff

from rsrag.errors import BadFootprint, RefusedSource, SourceTooLarge, UnreadableSource, UnsupportedSource, UsageError
from rsrag.ingest.guard import Limits, sniff
from rsrag.ingest.readers.base import Pixels, ReadOptions
from rsrag.ingest.readers.photo import load_picture, open_photo
from rsrag.times import format_span
from rsrag.types import Scene, Window

FREE = ReadOptions(allow_unlocated=True)


def save(path: Path, array: np.ndarray, mode: str | None = None, **options: Any) -> Path:
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def rgb(height: int = 32, width: int = 48) -> np.ndarray:
    return np.ascontiguousarray(noise(3, height, width).transpose(1, 2, 0))


def whole(path: Path, options: ReadOptions = FREE) -> tuple[Scene, Pixels, np.ndarray]:
    with open_photo(path, sniff(path), options) as source:
        pixels = source.read(Window(0, 0, source.scene.width, source.scene.height))
        return source.scene, pixels, source.stretch.apply(pixels)


def test_a_picture_without_a_position_only_on_request(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", rgb())
    with pytest.raises(BadFootprint, match="no position"):
        whole(path, ReadOptions())
    scene, pixels, picture = whole(path)
    assert scene.footprint is None and pixels.mask.all()
    np.testing.assert_array_equal(picture, rgb())


@pytest.mark.parametrize("suffix", [".pgw", ".pngw", ".wld"])
def test_a_world_file_and_a_projection_place_it(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / "a.png", rgb())
    (tmp_path / f"a{suffix}").write_text("10\n0\n0\n-10\n500005\n4999995\n")
    with pytest.raises(BadFootprint, match="without a coordinate reference system"):
        whole(path, ReadOptions())
    unplaced = whole(path, ReadOptions(crs=UTM31))[0]
    (tmp_path / "a.prj").write_text(UTM31)
    scene = whole(path)[0]
    assert (scene.transform, scene.crs) == (TEN_METRES, UTM31)
    assert scene.footprint == unplaced.footprint is not None
    assert scene.gsd_m == pytest.approx(10, rel=0.01)
    (tmp_path / f"a{suffix}").write_text("20\n0\n0\n-20\n500005\n4999995\n")
    assert whole(path)[0].id != scene.id


@pytest.mark.parametrize("text", ["", "1\n2\n3\n", "10\n0\n0\n-10\nnan\n0\n", "a\nb\nc\nd\ne\nf\n"])
def test_broken_world_files_are_errors(tmp_path: Path, text: str) -> None:
    path = save(tmp_path / "a.png", rgb())
    (tmp_path / "a.pgw").write_text(text)
    with pytest.raises(BadFootprint, match=r"a\.pgw"):
        whole(path, ReadOptions(crs=UTM31))


def test_a_rotated_photo_is_turned_upright_unless_a_world_file_speaks(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274], exif[306] = 6, "2021:06:05 10:40:00"
    path = save(tmp_path / "a.jpg", rgb(32, 48), exif=exif)
    scene = whole(path)[0]
    assert (scene.width, scene.height) == (32, 48)
    assert scene.time is not None and format_span(scene.time) == "2021-06-05"
    (tmp_path / "a.jgw").write_text("10\n0\n0\n-10\n500005\n4999995\n")
    placed = whole(path, ReadOptions(crs=UTM31))[0]
    assert (placed.width, placed.height) == (48, 32)


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "YCbCr", "RGBA", "LA", "1", "RGB"])
def test_every_colour_mode_gives_a_picture(tmp_path: Path, mode: str) -> None:
    name = "a.jpg" if mode in ("CMYK", "YCbCr") else "a.png"
    _, pixels, picture = whole(save(tmp_path / name, rgb(), mode))
    assert picture.shape == (32, 48, 3) and picture.std() > 20
    assert len(pixels.data) == (1 if mode in ("L", "1") else 3)


def test_transparent_pixels_are_invalid(tmp_path: Path) -> None:
    array = np.dstack([rgb(), np.full((32, 48), 255, np.uint8)])
    array[:8, :, 3] = 0
    _, pixels, picture = whole(save(tmp_path / "a.png", array))
    assert not pixels.mask[:8].any() and pixels.mask[8:].all() and not picture[:8].any()


def test_sixteen_bit_grey_is_stretched(tmp_path: Path) -> None:
    scene, pixels, picture = whole(save(tmp_path / "a.png", noise(1, 32, 48, "uint16", 60_000)[0]))
    assert pixels.data.dtype == np.uint16
    assert scene.stretch is not None and scene.stretch.startswith("percentile 2-98: grey")
    assert picture.std() > 20


def test_smaller_reads_average_the_valid_pixels(tmp_path: Path) -> None:
    array = np.zeros((8, 8, 4), np.uint8)
    array[..., 0], array[..., 3] = 100, 255
    array[:, ::2] = 0
    array[:4] = 0
    with open_photo(save(tmp_path / "a.png", array), sniff(tmp_path / "a.png"), FREE) as source:
        small = source.read(Window(0, 0, 8, 8), 2)
    assert not small.mask[:2].any() and small.mask[2:].all()
    assert (small.data[0][small.mask] == 100).all()


def test_animations_are_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(rgb()), Image.fromarray(255 - rgb())]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    with pytest.raises(UnsupportedSource, match="2 frames"):
        whole(tmp_path / "a.png")


def test_the_pixel_limit_is_the_callers(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", rgb())
    with pytest.raises(SourceTooLarge, match="48×32 pixels, the limit for a picture is 100"):
        whole(path, ReadOptions(allow_unlocated=True, limits=Limits(max_pixels_photo=100)))


# --- images to ask about --------------------------------------------------------------------------------------------


def test_a_query_from_a_geotiff_brings_place_time_and_scale(tmp_path: Path) -> None:
    query = load_picture(str(write_rgb(tmp_path / "a_20210605.tif", 100, 3000)))
    assert query.pixels.shape == (50, 1500, 3)
    assert query.name == "a_20210605.tif"
    assert query.footprint is not None and query.time is not None
    assert query.gsd_m == pytest.approx(20, rel=0.01)


def test_a_query_without_a_position_is_fine(tmp_path: Path) -> None:
    for path in (save(tmp_path / "a.png", rgb()), write_rgb(tmp_path / "b.tif", crs=None, transform=None)):
        query = load_picture(path)
        assert (query.footprint, query.gsd_m) == (None, None)
        assert query.pixels.dtype == np.uint8


def test_queries_from_bytes_and_arrays(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(rgb()).save(stream, "PNG")
    query = load_picture(stream.getvalue(), "../../upload.png")
    assert query.name == "upload.png"
    np.testing.assert_array_equal(query.pixels, rgb())
    np.testing.assert_array_equal(load_picture(rgb()).pixels, rgb())
    assert load_picture(rgb(3000, 500)).pixels.shape == (1500, 250, 3)
    tiff = write_rgb(tmp_path / "a.tif").read_bytes()
    assert load_picture(tiff).footprint is not None


@pytest.mark.parametrize(
    "array", [np.zeros((20, 20), np.uint8), np.zeros((20, 20, 3)), np.zeros((20, 20, 4), np.uint8)]
)
def test_arrays_of_another_kind_are_usage_errors(array: np.ndarray) -> None:
    with pytest.raises(UsageError, match="uint8 RGB"):
        load_picture(array)


def test_images_without_content_are_unsupported(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedSource, match="1×1 pixels"):
        load_picture(save(tmp_path / "a.png", rgb(1, 1)))
    nothing = np.full((3, 32, 32), np.nan, np.float32)
    path = write_tiff(tmp_path / "a.tif", nothing, descriptions=["red", "green", "blue"])
    with pytest.raises(UnsupportedSource, match="no valid pixels"):
        load_picture(path)


def test_other_files_are_refused_by_the_same_guard(tmp_path: Path) -> None:
    with pytest.raises(RefusedSource):
        load_picture("/vsicurl/http://127.0.0.1/a.tif")
    with pytest.raises(UnreadableSource):
        load_picture(b"")
    with pytest.raises(UnsupportedSource):
        load_picture(tmp_path)
    (tmp_path / "a.md").write_text("# Title\n")
    with pytest.raises(UnsupportedSource, match="not an image"):
        load_picture(tmp_path / "a.md")


def test_a_world_file_may_be_in_capitals_and_begin_with_a_mark(tmp_path: Path) -> None:
    Image.fromarray(noise(3, 64, 64).transpose(1, 2, 0)).save(tmp_path / "SHEET.JPG")
    (tmp_path / "SHEET.JGW").write_text("\ufeff10\n0\n0\n-10\n500000\n5000000\n", encoding="utf-8")
    (tmp_path / "SHEET.PRJ").write_text("\ufeffEPSG:32631", encoding="utf-8")
    with open_photo(tmp_path / "SHEET.JPG", sniff(tmp_path / "SHEET.JPG")) as source:
        assert (source.scene.crs, source.scene.transform) == (UTM31, (10, 0, 499_995, 0, -10, 5_000_005))


def test_queries_from_buffers_and_masked_arrays(tmp_path: Path) -> None:
    Image.fromarray(rgb()).save(tmp_path / "a.png")
    file = (tmp_path / "a.png").read_bytes()
    for image in (bytearray(file), memoryview(file)):
        np.testing.assert_array_equal(load_picture(image).pixels, rgb())
    hidden = np.zeros(rgb().shape, dtype=bool)
    hidden[:10] = True
    seen = load_picture(np.ma.masked_array(rgb(), hidden)).pixels
    assert not seen[:10].any() and np.array_equal(seen[10:], rgb()[10:])
    with pytest.raises(UnsupportedSource, match="no valid pixels"):
        load_picture(np.ma.masked_array(rgb(), True))


@pytest.mark.parametrize("image", [5, None, [[1]], Image.new("RGB", (32, 32))])
def test_what_is_no_image_is_a_usage_error(image: object) -> None:
    with pytest.raises(UsageError, match="an image cannot be given as"):
        load_picture(image)
