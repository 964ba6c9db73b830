"""Scenes and tiles of the archive as images: what the catalogue knows is not lost, and a tile is its window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from archives import ingest, open_archive, scene, sources
from PIL import Image
from rasters import TEN_METRES, UTM31, noise, stac_item, write_json, write_tiff

from rsrag.adapters.base import Context
from rsrag.adapters.caption.look import indices
from rsrag.adapters.catalogued import band_rule
from rsrag.adapters.look import opened, reading
from rsrag.engine import Engine
from rsrag.errors import UnreadableSource, UsageError
from rsrag.times import format_span
from rsrag.types import Band, Scene, Window

SAID = {"bands": "nir=1,red=2,green=3,blue=4", "crs": UTM31, "when": "2020-05-31", "sensor": "naip"}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with open_archive(tmp_path / "archive.rsrag") as engine:
        yield engine


def context_of(engine: Engine) -> Context:
    return Context(engine.profile, engine.settings, engine)


def only(engine: Engine) -> Scene:
    (found,) = engine.catalog.scenes()
    return found


def test_what_was_said_at_ingest_is_known(tmp_path: Path, engine: Engine) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    data = noise(4, 64, 80, "uint16", 3000)
    write_tiff(folder / "four.tif", data, crs=None)
    ingest(engine, folder, **SAID)
    known, context = only(engine), context_of(engine)
    for image in (known, known.id, f"scene:{known.id}"):
        with opened(image, context) as view:
            subject, source = view.subject, view.source
            assert (subject.crs, subject.transform, subject.gsd_m) == (UTM31, TEN_METRES, known.gsd_m)
            assert (subject.footprint, subject.scene_id) == (known.footprint, known.id)
            assert format_span(subject.time) == "2020-05-31" and source.scene.sensor == "naip"
            assert source.scene.bands == known.bands and source.scene.stretch == known.stretch
            assert source.scene.digest == known.digest
            values = view.physical(source.read(Window(0, 0, 80, 64)), "nir")
            assert values is not None and np.array_equal(values, data[0])
            assert {fact.name for fact in indices(view, context)[1]} >= {"ndvi_mean", "ndwi_mean"}


def test_what_the_user_says_goes_before(tmp_path: Path, engine: Engine) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    write_tiff(folder / "four.tif", noise(4, 64, 80, "uint16", 3000), crs=None)
    ingest(engine, folder, **SAID)
    options = reading("red=1,green=2,blue=3", "EPSG:32632")
    with opened(only(engine), context_of(engine), options=options) as view:
        assert view.subject.crs == "EPSG:32632" and view.subject.located
        assert view.band("red") == 0 and view.band("nir") is None


def test_what_a_stac_item_says_is_known(tmp_path: Path, engine: Engine) -> None:
    folder = tmp_path / "stac"
    folder.mkdir()
    Image.fromarray(noise(3).transpose(1, 2, 0)).save(folder / "image.png")
    asset = {"href": "image.png", "type": "image/png", "proj:transform": list(TEN_METRES), "proj:code": UTM31}
    write_json(folder / "item.json", stac_item(assets={"visual": asset}))
    ingest(engine, folder)
    known = only(engine)
    with opened(known.id, context_of(engine)) as view:
        subject = view.subject
        assert (subject.crs, subject.transform, subject.gsd_m) == (UTM31, TEN_METRES, 10)
        assert format_span(subject.time).startswith("2021-06-05") and subject.name == "scene-1"
        assert view.source.scene == known


def test_an_outline_alone_is_a_footprint(tmp_path: Path, engine: Engine) -> None:
    folder = tmp_path / "stac"
    folder.mkdir()
    Image.fromarray(noise(3).transpose(1, 2, 0)).save(folder / "image.png")
    assets = {"visual": {"href": "image.png", "type": "image/png"}}
    write_json(folder / "item.json", stac_item(assets=assets))
    ingest(engine, folder)
    known, context = only(engine), context_of(engine)
    with opened(known.id, context) as view:
        assert not view.subject.located and view.subject.footprint == known.footprint is not None
    part = next(t for t in engine.catalog.tiles_of(known.id) if t.window.width < known.width)
    with opened(f"tile:{part.id}", context) as view:
        assert view.subject.footprint is None and (view.subject.width, view.subject.height) == part.window[2:]


def test_a_place_is_compared_by_the_dates_of_the_catalogue(tmp_path: Path, engine: Engine) -> None:
    for number, when in enumerate(("2010-06-01", "2020-06-01")):
        folder = tmp_path / f"set{number}"
        folder.mkdir()
        write_tiff(folder / "survey.tif", np.clip(noise(3, 64, 64) + number, 0, 255).astype(np.uint8), crs=None)
        ingest(engine, folder, crs=UTM31, when=when)
    found = engine.change(where=(3.002, 45.152), between=("2010", "2020"), method="cva")
    assert (found.before.when, found.after.when) == ("2010-06-01", "2020-06-01") and found.subject.crs == UTM31


def test_a_tile_is_its_window(tmp_path: Path, engine: Engine) -> None:
    ingest(engine, sources(tmp_path / "sources"))
    known = next(iter(engine.catalog.scenes()))
    tile = next(t for t in engine.catalog.tiles_of(known.id) if t.window == Window(32, 64, 32, 32))
    context = context_of(engine)
    with opened(known, context) as whole:
        expected, coarse = whole.picture(tile.window), whole.picture(tile.window, longest=16)
    for image in (tile.id, f"tile:{tile.id}"):
        with opened(image, context) as view:
            subject = view.subject
            assert (subject.width, subject.height, subject.footprint) == (32, 32, tile.footprint)
            assert subject.transform == pytest.approx((0.004, 0, 3.128, 0, -0.004, 45.744))
            assert (subject.name, subject.scene_id) == ("survey_20200531.tif, tile at 32,64", known.id)
            assert np.array_equal(view.picture(), expected)
            assert np.array_equal(view.picture(longest=16), coarse)
            with view.source.reopen() as again:
                assert np.array_equal(again.read(Window(3, 5, 8, 4)).data, view.source.read(Window(3, 5, 8, 4)).data)
            with pytest.raises(ValueError, match="not inside"):
                view.source.read(Window(8, 0, 32, 32))
    everything = next(t for t in engine.catalog.tiles_of(known.id) if t.window.width == known.width)
    with opened(f"tile:{everything.id}", context) as view:
        assert view.subject.name == "survey_20200531.tif" and view.subject.width == known.width


def test_results_of_a_tile_lie_where_the_tile_lies(tmp_path: Path, engine: Engine) -> None:
    ingest(engine, sources(tmp_path / "sources"))
    known = next(iter(engine.catalog.scenes()))
    tile = next(t for t in engine.catalog.tiles_of(known.id) if t.window == Window(32, 64, 32, 32))
    made = engine.classify(f"tile:{tile.id}", ["open water", "desert"], everywhere=True)
    assert made.layers[0].transform == pytest.approx((0.004, 0, 3.128, 0, -0.004, 45.744))
    assert (made.layers[0].width, made.layers[0].height) == (32, 32)
    box = engine.ground(f"tile:{tile.id}", box=(0, 0, 32, 32)).map_boxes[0]
    assert box == pytest.approx((3.128, 45.616, 3.256, 45.744))


def test_a_file_that_changed_its_size(tmp_path: Path, engine: Engine) -> None:
    ingest(engine, sources(tmp_path / "sources"))
    known = next(iter(engine.catalog.scenes()))
    tile = engine.catalog.tiles_of(known.id)[0]
    scene(Path(known.source), size=64)
    for image in (known, f"tile:{tile.id}"):
        with pytest.raises(UnreadableSource, match="64×64 pixels, but 96×96 in the archive"):
            opened(image, context_of(engine)).__enter__()
    Path(known.source).unlink()
    with pytest.raises(UnreadableSource, match="no such file"):
        opened(known, context_of(engine)).__enter__()


def test_roles_that_can_be_said() -> None:
    def made(*roles: str | None) -> Scene:
        bands = tuple(Band(i, role, "uint8") for i, role in enumerate(roles, 1))
        return Scene("s", "x.tif", "", "", 16, 16, bands)

    rule = band_rule(made("nir", None, "red", "alpha"))
    assert rule is not None and rule.roles == {"nir": 1, "red": 3, "alpha": 4}
    assert band_rule(made("palette")) is None and band_rule(made("band1", "band2", "band3")) is None


def test_bands_that_cannot_be_read_are_named(engine: Engine) -> None:
    picture = noise(3).transpose(1, 2, 0)
    with pytest.raises(UsageError, match="band mapping"):
        engine.classify(picture, ["water", "sand"], bands="red")
    with pytest.raises(UsageError, match="band mapping"):
        engine.caption(picture, bands="red")
    with pytest.raises(UsageError, match="band mapping"):
        engine.ground(picture, "ships", bands="red")
