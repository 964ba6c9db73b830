"""What a task may be about: files, bytes, arrays, scenes and tiles of the archive; all else is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from archives import ingest, open_archive, scene, sources
from PIL import Image
from rasters import noise, write_tiff

from rsrag.adapters.base import Context
from rsrag.adapters.caption import CAPTION, CaptionRequest
from rsrag.adapters.classify import CLASSIFY, ClassifyRequest
from rsrag.adapters.look import colour_warning, opened
from rsrag.adapters.segment import SEGMENT, SegmentRequest
from rsrag.config import Settings
from rsrag.errors import RefusedSource, SourceError, UnreadableSource, UnsupportedSource, UsageError
from rsrag.models.registry import load_profile
from rsrag.types import QueryImage, Window


@pytest.fixture(scope="module")
def context() -> Context:
    settings = Settings()
    return Context(load_profile(settings), settings)


def test_a_located_raster(tmp_path: Path, context: Context) -> None:
    path = scene(tmp_path / "scene.tif")
    with opened(path, context) as view:
        subject = view.subject
        assert subject.located and (subject.width, subject.height) == (96, 96) and subject.name == "scene.tif"
        assert view.picture().shape == (96, 96, 3) and view.picture(longest=50).shape == (48, 48, 3)
        assert view.picture(Window(10, 20, 30, 40)).shape == (40, 30, 3)
    with opened(path.read_bytes(), context) as view:
        assert view.subject.located


def test_arrays_and_photos_have_no_position(tmp_path: Path, context: Context) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    for image in (pixels, QueryImage(pixels, "photo"), tmp_path / "photo.png", (tmp_path / "photo.png").read_bytes()):
        with opened(image, context) as view:
            assert not view.subject.located and np.array_equal(view.picture(), pixels)
            assert view.band("red") == 0 and view.band("nir") is None
            values = view.physical(view.source.read(Window(0, 0, 60, 40)), "green")
            assert values is not None and np.array_equal(values, pixels[..., 1].astype(np.float32))


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("red", "green", "blue", "nir"), None),
        ((None, None, None), None),  # told by the reader
        (("vv",), "one band, vv"),
        ((None,), "one band, grey"),
        (("nir", "red", "green"), "bands nir, red, green"),
    ],
)
def test_images_that_are_not_in_natural_colour(
    names: tuple[str | None, ...], told: str | None, tmp_path: Path, context: Context
) -> None:
    path = write_tiff(tmp_path / "scene.tif", noise(len(names)), descriptions=names, photometric="minisblack")
    with opened(path, context) as view:
        warning = colour_warning(view)
    assert warning is None if told is None else told in str(warning)
    for result in (
        CAPTION.run(CaptionRequest(path), context),
        CLASSIFY.run(ClassifyRequest(path, ["water", "forest"]), context),
        SEGMENT.run(SegmentRequest(path, "harbour"), context),
    ):
        assert (warning in result.warnings) is (warning is not None)
    if len(names) > 1 and told is not None:  # bands are what an index is for
        assert warning not in SEGMENT.run(SegmentRequest(path, "water"), context).warnings


def test_ids_of_the_archive(tmp_path: Path) -> None:
    with open_archive(tmp_path / "archive.rsrag") as engine:
        ingest(engine, sources(tmp_path / "sources"))
        context = Context(engine.profile, engine.settings, engine)
        first = next(iter(engine.catalog.scenes()))
        tile = engine.catalog.tiles_of(first.id)[0]
        for image in (first.id, f"scene:{first.id}", tile.id, first):
            with opened(image, context) as view:
                assert view.subject.source == first.source and view.subject.located


@pytest.mark.parametrize(
    ("image", "error"),
    [
        ("nothing-there.tif", UnreadableSource),
        ("/vsicurl/http://example.org/x.tif", RefusedSource),
        ("http://example.org/x.tif", RefusedSource),
        ("", UnreadableSource),
        ("x" * 5000, UnreadableSource),
        ("tile:" + "y/" * 5000, UnreadableSource),
        (np.zeros((20, 20), np.uint8), UsageError),
        (np.zeros((20, 20, 3), np.float32), UsageError),
        (np.zeros((8, 40, 3), np.uint8), UnsupportedSource),
        (b"no image at all", SourceError),
        (Path(), UnsupportedSource),
    ],
)
def test_what_is_refused(image: object, error: type[Exception], context: Context) -> None:
    with pytest.raises(error), opened(image, context):
        pass


def test_a_text_too_long_for_a_path_is_no_id_either(tmp_path: Path) -> None:
    with open_archive(tmp_path / "archive.rsrag") as engine:
        context = Context(engine.profile, engine.settings, engine)
        with pytest.raises(UnreadableSource, match=r"xxx\.\.\.: File name too long"), opened("x" * 5000, context):
            pass


def test_a_raster_whose_name_is_no_unicode_is_refused_by_name(tmp_path: Path, context: Context) -> None:
    path = tmp_path / "caf\udce9.tif"
    try:
        scene(tmp_path / "scene.tif").rename(path)
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    with (
        pytest.raises(UnreadableSource, match=r"caf\\udce9\.tif: a name that is not valid Unicode"),
        opened(path, context),
    ):
        pass


def test_valid_pixels_are_seen(tmp_path: Path, context: Context) -> None:
    mask = np.zeros((64, 64), dtype=bool)
    mask[:32] = True
    path = write_tiff(tmp_path / "half.tif", noise(), mask=mask)
    with opened(path, context) as view:
        picture, valid = view.seen()
        assert np.array_equal(picture, view.picture()) and np.array_equal(valid, mask)
        assert view.seen(longest=16)[1].sum() == 8 * 16
        with pytest.raises(UnsupportedSource, match=r"half\.tif: no valid pixels in window 4,40 20×10"):
            view.seen(Window(4, 40, 20, 10))
    write_tiff(path, noise(), mask=np.zeros_like(mask))
    with opened(path, context) as view, pytest.raises(UnsupportedSource, match=r"half\.tif: no valid pixels$"):
        view.seen()


def test_buffers_are_bytes_and_hidden_pixels_of_an_array_are_invalid(tmp_path: Path, context: Context) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    file = (tmp_path / "photo.png").read_bytes()
    for image in (bytearray(file), memoryview(file)):
        with opened(image, context) as view:
            assert np.array_equal(view.picture(), pixels)
    hidden = np.zeros(pixels.shape, dtype=bool)
    hidden[:10, :, 1] = True
    with opened(np.ma.masked_array(pixels, hidden), context) as view:
        assert np.array_equal(view.seen()[1], ~hidden.any(axis=2))


@pytest.mark.parametrize("image", [5, None, [[1]], (1, 2), {}, Image.new("RGB", (32, 32))])
def test_what_is_no_image_is_a_usage_error(image: object, context: Context) -> None:
    with pytest.raises(UsageError, match="an image cannot be given as"), opened(image, context):
        pass
