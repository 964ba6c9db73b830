"""Classes in the user's words: probabilities, unknown, examples, knowledge, and maps that keep their place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from archives import ingest, open_archive, sources
from hypothesis import given
from hypothesis import strategies as st
from rasters import TEN_METRES, UTM31, write_tiff

from rsrag.adapters import measure, outlines
from rsrag.adapters.base import Context
from rsrag.adapters.cells import CellEncoder
from rsrag.adapters.classify import CLASSIFY, ClassifyRequest, examples
from rsrag.adapters.classify.adapter import ClassScore, _sentences
from rsrag.adapters.classify.examples import blended, read_examples
from rsrag.adapters.classify.labels import check_labels, read_labels, split_labels
from rsrag.adapters.classify.wall import MEAN, Map, cell_words, classify_everywhere, dense_cells
from rsrag.adapters.look import opened, reading
from rsrag.config import Settings
from rsrag.errors import UnsupportedSource, UsageError
from rsrag.models.base import ImageEncoder, Picture, Vectors
from rsrag.models.calibration import Calibration, bank_vectors, calibration, softmax
from rsrag.models.mini import MiniImageEncoder
from rsrag.models.registry import load_profile
from rsrag.models.turns import turned, vectors_of
from rsrag.train.prompts import TEMPLATES
from tests.support.towers import SIZES, semantic_of

LABELS = ("open water", "dense forest", "desert")


@pytest.fixture(scope="module")
def context() -> Context:
    settings = Settings()
    return Context(load_profile(settings), settings)


def ground(colour: tuple[int, int, int], side: int = 128, rough: float = 6.0, seed: int = 0) -> np.ndarray:
    """A field of one colour with a little smooth texture, uint8 [side, side, 3]."""
    noise = np.random.default_rng(seed).normal(0, rough, (side, side, 1))
    noise = cv2.GaussianBlur(noise, (0, 0), 1.2)[..., None] * 2
    return np.clip(np.asarray(colour) + noise, 0, 255).astype(np.uint8)


SEA, SAND = ground((12, 40, 84), rough=1), ground((206, 170, 120), rough=8)


def test_probabilities_of_the_labels(context: Context) -> None:
    result = CLASSIFY.run(ClassifyRequest(SAND, LABELS), context)
    assert result.scores[0].label == "desert" == result.label
    assert sum(s.probability for s in result.scores) == pytest.approx(1.0)
    assert result.calibrated and result.warnings == () and result.layers == ()
    assert CLASSIFY.run(ClassifyRequest(SEA, LABELS), context).label == "open water"
    again = CLASSIFY.run(ClassifyRequest(SAND, LABELS), context)
    assert again.scores == result.scores and result.text.startswith("The image shows desert")


def test_order_and_case_of_labels_do_not_matter(context: Context) -> None:
    first = CLASSIFY.run(ClassifyRequest(SAND, LABELS), context)
    second = CLASSIFY.run(ClassifyRequest(SAND, LABELS[::-1]), context)
    ours, theirs = ({s.label: s.probability for s in r.scores} for r in (first, second))
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_eight_turns_do_not_know_which_way_is_up(context: Context) -> None:
    picture = ground((90, 110, 70), rough=25, seed=3)
    one = CLASSIFY.run(ClassifyRequest(picture, LABELS, turns=8), context)
    other = CLASSIFY.run(ClassifyRequest(np.ascontiguousarray(np.rot90(picture)[::-1]), LABELS, turns=8), context)
    assert {s.label: s.probability for s in one.scores} == pytest.approx(
        {s.label: s.probability for s in other.scores}, abs=1e-4
    )


def test_an_unlikely_class_is_unknown(context: Context) -> None:
    result = CLASSIFY.run(ClassifyRequest(SAND, LABELS, unknown=1.0), context)
    assert not result.known and result.label == "unknown" and "likely enough" in result.text


def test_areas_of_classes_follow_the_latitude(tmp_path: Path, context: Context) -> None:
    """Pixels of 0.1° between 80° and 67° north: those of the class in the north are the smaller ones."""
    picture = np.zeros((3, 128, 96), dtype=np.uint8)
    picture[:, :64], picture[:, 64:] = 60, 200
    path = write_tiff(tmp_path / "north.tif", picture, crs="EPSG:4326", transform=(0.1, 0, 10, 0, -0.1, 80))

    def cells(seen: Picture) -> tuple[np.ndarray, int]:
        dark = (seen[8::16, 8::16, 0] < seen.mean()).astype(np.float32)
        return np.stack([dark, 1 - dark]), 16

    with opened(path, context) as view:
        found = classify_everywhere(view, ("dark", "bright"), cells, 0.05, 0.0, context)
        pieces = found.layers[0].polygons()
        areas = {value: measure.area_m2(view.subject, shape) for value, shape in pieces}
    assert found.square_metres[:2] == pytest.approx([areas[0], areas[1]], rel=1e-6) and areas[0] < 0.75 * areas[1]
    without = np.ascontiguousarray(picture.transpose(1, 2, 0))
    with opened(without, context) as view:
        assert classify_everywhere(view, ("dark", "bright"), cells, 0.05, 0.0, context).square_metres == (None,) * 3


def test_a_map_keeps_grid_and_areas(tmp_path: Path, context: Context) -> None:
    scene = np.concatenate([np.tile(SEA, (3, 2, 1)), np.tile(SAND, (3, 2, 1))], axis=1)
    scene[:16] = 0
    mask = np.ones(scene.shape[:2], dtype=bool)
    mask[:16] = False
    path = write_tiff(tmp_path / "coast.tif", scene.transpose(2, 0, 1), mask=mask)
    result = CLASSIFY.run(ClassifyRequest(path, LABELS, everywhere=True), context)
    assert [layer.name for layer in result.layers] == ["classes", "probability"]
    written = result.to_geotiff(tmp_path / "map.tif")
    with rasterio.open(written[0]) as raster:
        assert (raster.crs.to_string(), tuple(raster.transform)[:6]) == (UTM31, TEN_METRES)
        values = raster.read(1)
        assert (values[:16] == 255).all() and raster.tags()["CLASS_0"] == "open water"
        assert (values[64:, :192] == 0).mean() > 0.95 and (values[64:, 320:] == 2).mean() > 0.95
    with rasterio.open(written[1]) as raster:
        assert np.isnan(raster.read(1)[:16]).all() and 0 < np.nanmin(raster.read(1)) <= np.nanmax(raster.read(1)) <= 1
    counted = {fact.name: fact.value for fact in result.facts}
    total = sum(v for k, v in counted.items() if k.startswith("area of"))
    assert total == pytest.approx(368 * 512 * 100, rel=3e-3)
    assert counted["share of open water"] == pytest.approx(0.5, abs=0.06)
    result.to_png(tmp_path / "map.png")
    result.to_html(tmp_path / "map.html")
    largest = {region.label: region for region in reversed(result.regions)}
    outlined = sum(fact.value for region in result.regions for fact in region.facts if fact.name == "area")
    assert {"open water", "desert"} <= set(largest) and outlined == pytest.approx(total, rel=0.02)
    assert largest["desert"].box[0] == pytest.approx(256, abs=24) and 0.3 < largest["desert"].score <= 1
    assert (
        result.to_gpkg(tmp_path / "map.gpkg") == len(result.regions)
        and "<script" not in (tmp_path / "map.html").read_text()
    )


def test_examples_teach_a_class_that_words_do_not(tmp_path: Path, context: Context) -> None:
    for name, colour in (("kelp", (60, 20, 90)), ("slag", (150, 150, 30))):
        (tmp_path / name).mkdir()
        for seed in range(4):
            cv2.imwrite(str(tmp_path / name / f"{seed}.png"), ground(colour, 64, 20, seed)[..., ::-1])
    (tmp_path / "slag" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    for name, colour in (("kelp", (62, 24, 88)), ("slag", (146, 150, 36))):
        request = ClassifyRequest(ground(colour, 64, 20, 9), ("kelp", "slag"), examples=tmp_path)
        result = CLASSIFY.run(request, context)
        assert result.label == name and any("broken.png" in warning for warning in result.warnings)
    shown = read_examples(tmp_path, context, 1)
    assert shown.labels == ("kelp", "slag") and shown.counts == (4, 4)
    words = bank_vectors(context.profile.image.encode_words, [["kelp"], ["slag"], ["sea"]], ["{}"])
    moved = blended(words, shown, ("kelp", "slag", "sea"))
    assert moved.shape == words.shape and np.array_equal(moved[2], words[2])
    assert moved[:2].mean(axis=0) == pytest.approx(words[:2].mean(axis=0), abs=1e-6)
    request = ClassifyRequest(ground((62, 24, 88)), ("kelp", "slag", "sea"), examples=tmp_path)
    assert not CLASSIFY.run(request, context).calibrated
    (tmp_path / "slag").rename(tmp_path / "cinder")
    with pytest.raises(UsageError, match="examples of 1 of the labels"):
        CLASSIFY.run(request, context)


@pytest.mark.parametrize("turn", range(4))
def test_a_border_is_drawn_where_it_is(turn: int, context: Context) -> None:
    scene = np.concatenate([np.tile(SEA, (3, 3, 1)), np.tile(SAND, (3, 3, 1))], axis=1)
    drawn = CLASSIFY.run(ClassifyRequest(np.ascontiguousarray(np.rot90(scene, turn)), LABELS, everywhere=True), context)
    classes = np.rot90(drawn.layers[0].read(longest=1024), -turn)
    assert ((classes == 0).mean(axis=0) > 0.5).sum() == pytest.approx(384, abs=8)


def test_borders_between_cells_lie_aside_to_no_side(context: Context) -> None:
    """A map that lies aside lies aside the other way once the scene is turned round; a tower that sees more of one
    class at a border does so whichever way it is turned."""
    off = []
    for border in (376, 392, 408):  # cells are 32 pixels wide
        scene = np.tile(SAND, (6, 6, 1))
        scene[:, :border] = np.tile(SEA, (6, 6, 1))[:, :border]
        for turn in range(4):
            turned = np.ascontiguousarray(np.rot90(scene, turn))
            drawn = CLASSIFY.run(ClassifyRequest(turned, LABELS, everywhere=True), context)
            classes = np.rot90(drawn.layers[0].read(longest=1024), -turn)
            off.append(int(((classes == 0).mean(axis=0) > 0.5).sum()) - border)
    right, down, left, up = np.reshape(off, (3, 4)).mean(axis=0)
    assert abs(right - left) / 2 < 8 and abs(down - up) / 2 < 8, off
    assert float(np.mean(off)) == pytest.approx(0, abs=12), off


def test_areas_beyond_the_most_outlines_are_told(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = np.concatenate([np.tile(SEA, (2, 2, 1)), np.tile(SAND, (2, 2, 1)), np.tile(SEA, (2, 2, 1))], axis=1)
    request = ClassifyRequest(scene, LABELS, everywhere=True)
    whole = CLASSIFY.run(request, context)
    assert len(whole.regions) >= 3 and not any("outline" in warning for warning in whole.warnings)
    monkeypatch.setattr(outlines, "MOST", 2)
    cut = CLASSIFY.run(request, context)
    assert len(cut.regions) == 2 and cut.text == whole.text
    assert f"only the largest 2 of {len(whole.regions)} areas have an outline" in cut.warnings


@pytest.mark.parametrize("side", [1, 8, 10, 11, 16, 33])
def test_small_pictures_have_cells_too(side: int, context: Context) -> None:
    picture = np.full((side, 40, 3), 90, dtype=np.uint8)
    cells, step = CellEncoder(context).grid(picture, MEAN)
    assert (step, cells.shape[1:]) == (32, (1 if side <= 32 else 2, 2)) and np.isfinite(cells).all()


def test_cells_and_pictures_of_the_words_tower_share_a_scale(context: Context, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    classes = bank_vectors(cell_words(context), [[label] for label in LABELS], ["{}"])
    side = SIZES["words"]
    cells, pictures = dense_cells(context, classes)[0], [ground((90, 110, 70), side, 20, seed) for seed in range(8)]
    pictures += [ground((12, 40, 84), side, rough=1), ground((206, 170, 120), side, rough=8)]
    near = np.stack([cells(picture)[0].mean(axis=(1, 2)) for picture in pictures])
    whole = semantic_of("words", pictures, tmp_path) @ classes[:, :256].T * np.float32(0.5**0.5)
    assert np.abs(near - whole).mean() < 0.05


def test_cells_have_a_head_of_their_own(context: Context) -> None:
    image = context.profile.image
    assert isinstance(image, MiniImageEncoder)
    found = cell_words(context)(["a lake", "a village"])
    np.testing.assert_array_equal(found[:, :256], image.semantic_words(["a lake", "a village"]))
    assert found.shape == (2, image.dim) and not found[:, 256:].any()
    scene = np.vstack([np.hstack([SEA, SAND]), np.hstack([ground((90, 110, 70), rough=25), SEA])])
    classes = bank_vectors(cell_words(context), [[label] for label in LABELS], TEMPLATES)
    with opened(scene, context) as view:
        wall = classify_everywhere(view, LABELS, *dense_cells(context, classes), 0.0, context)
    facts = {f.name: f.value for f in CLASSIFY.run(ClassifyRequest(scene, LABELS, everywhere=True), context).facts}
    for label, pixels in zip(LABELS, wall.pixels, strict=False):
        assert facts.get(f"share of {label}", 0) == pytest.approx(pixels / 256**2)


def test_cells_and_pictures_share_a_scale(context: Context) -> None:
    classes = bank_vectors(context.profile.image.encode_words, [[label] for label in LABELS], ["{}"])
    own = bank_vectors(cell_words(context), [[label] for label in LABELS], ["{}"])
    cells, pictures = dense_cells(context, own)[0], [ground((90, 110, 70), 128, 20, seed) for seed in range(8)]
    pictures += [SEA, SAND]
    near = np.stack([cells(picture)[0].mean(axis=(1, 2)) for picture in pictures])
    whole = vectors_of(context.profile.image, pictures, 1) @ classes.T
    assert np.abs(near - whole).mean() < 0.05


def test_knowledge_weighs_and_is_cited(tmp_path: Path) -> None:
    with open_archive(tmp_path / "archive.rsrag") as engine:
        ingest(engine, sources(tmp_path / "sources"))
        scene = next(s for s in engine.catalog.scenes() if s.footprint is not None)
        plain = engine.classify(scene.id, ["harbour", "lake", "glacier"])
        told = engine.classify(scene.id, ["harbour", "lake", "glacier"], knowledge=True)
        other = engine.classify(scene.id, ["zeppelin", "submarine"], knowledge=True)
        unweighed = "no passage about the place speaks for a label: nothing was weighed"
        assert other.evidence == () and unweighed in other.warnings and unweighed not in plain.warnings
        assert (unweighed in told.warnings) == (told.evidence == ())
        assert plain.evidence == () and sum(s.probability for s in told.scores) == pytest.approx(1.0)
        for sentence in told.sentences[:1]:
            assert set(sentence.citations) == {e.number for e in told.evidence}


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([], "0 label"),
        (["water"], "1 label"),
        (["water", " "], "empty"),
        (["Water", "water"], "twice"),
        (["a  b", "A b"], "twice"),
        (["x" * 300, "y"], "characters"),
        ([f"label {n}" for n in range(1001)], "limit"),
    ],
)
def test_labels_that_are_refused(labels: list[str], said: str, context: Context) -> None:
    with pytest.raises(UsageError, match=said):
        CLASSIFY.run(ClassifyRequest(SAND, labels), context)


@pytest.mark.parametrize("everywhere", [False, True])
def test_nothing_valid_has_no_class(everywhere: bool, tmp_path: Path, context: Context) -> None:
    path = write_tiff(tmp_path / "empty.tif", np.zeros((3, 64, 64), np.uint8), nodata=0)
    with pytest.raises(UnsupportedSource, match=r"empty\.tif: no valid pixels"):
        CLASSIFY.run(ClassifyRequest(path, LABELS, everywhere=everywhere), context)


def test_a_map_without_classes_is_not_told() -> None:
    wall = Map((), (), 0, (0, 0, 0), (None, None, None))
    areas = dict.fromkeys(("sea", "sand", "unknown"))
    (sentence,) = _sentences([ClassScore("sea", 0.9, 0.3)], True, wall, areas, [])
    assert sentence.text.startswith("The image shows sea")


def test_a_label_that_a_map_needs_itself(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = ("open water", "Unknown")
    assert len(CLASSIFY.run(ClassifyRequest(SAND, labels), context).scores) == 2
    monkeypatch.setattr("rsrag.adapters.classify.adapter.bank_vectors", None)  # no work is begun
    with pytest.raises(UsageError, match="'Unknown' is what a map calls"):
        CLASSIFY.run(ClassifyRequest(SAND, labels, everywhere=True), context)


def test_bands_are_as_said(tmp_path: Path, context: Context) -> None:
    data = np.concatenate([np.full((1, 64, 64), 200), np.moveaxis(ground((206, 170, 120), 64), 2, 0)[::-1]])
    path = write_tiff(tmp_path / "four.tif", data.astype(np.uint16))
    with pytest.raises(UnsupportedSource, match="4 bands of unknown meaning"):
        CLASSIFY.run(ClassifyRequest(path, LABELS), context)
    assert CLASSIFY.run(ClassifyRequest(path, LABELS, bands="nir=1,blue=2,green=3,red=4"), context).scores


def test_an_example_without_valid_pixels_is_left_out(tmp_path: Path, context: Context) -> None:
    for name in ("kelp", "slag"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "0.png"), ground((60, 20, 90), 64))
    (tmp_path / ".hidden").mkdir()
    write_tiff(tmp_path / "kelp" / "1.tif", np.zeros((3, 64, 64), np.uint8), nodata=0)
    shown = read_examples(tmp_path, context, 1)
    assert shown.labels == ("kelp", "slag") and shown.counts == (1, 1)
    assert shown.skipped == ("kelp/1.tif: 1.tif: no valid pixels",)


def test_examples_are_looked_at_in_batches_and_those_beyond_are_told(
    tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, colour in (("kelp", (60, 20, 90)), ("slag", (150, 150, 30))):
        (tmp_path / name).mkdir()
        for seed in range(5):
            cv2.imwrite(str(tmp_path / name / f"{seed}.png"), ground(colour, 64, 20, seed))
    (tmp_path / "slag" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    at_once = read_examples(tmp_path, context, 2)
    held: list[int] = []

    def counted(encoder: ImageEncoder, pictures: Sequence[Picture], turns: int) -> Vectors:
        held.append(len(pictures))
        return vectors_of(encoder, pictures, turns)

    monkeypatch.setattr(examples, "vectors_of", counted)
    monkeypatch.setattr(examples, "_BATCH", 2)
    batched = read_examples(tmp_path, context, 2)
    assert held == [2, 2, 1, 1, 2, 1] and batched.counts == at_once.counts == (5, 4)
    assert batched.prototypes == pytest.approx(at_once.prototypes, abs=1e-5)
    monkeypatch.setattr(examples, "_MOST", 3)
    few = read_examples(tmp_path, context, 1)
    assert few.counts == (3, 2)
    assert few.skipped[:2] == ("kelp: 2 pictures beyond the first 3", "slag: 2 pictures beyond the first 3")
    assert few.skipped[2].startswith("slag/0.png: ")


def test_bands_are_those_of_example_rasters_too(tmp_path: Path, context: Context) -> None:
    for name, colour in (("kelp", (60, 20, 90)), ("slag", (150, 150, 30))):
        (tmp_path / name).mkdir()
        write_tiff(tmp_path / name / "0.tif", np.moveaxis(ground(colour, 64)[..., ::-1], 2, 0))
        cv2.imwrite(str(tmp_path / name / "1.png"), ground(colour, 64)[..., ::-1])
    as_stored = read_examples(tmp_path, context, 1)
    told = read_examples(tmp_path, context, 1, options=reading("red=3,green=2,blue=1"))
    assert told.counts == as_stored.counts == (2, 2)
    for row, colour in enumerate(((60, 20, 90), (150, 150, 30))):
        (alone,) = vectors_of(context.profile.image, [ground(colour, 64)], 1)
        assert told.prototypes[row] @ alone > 0.999 > as_stored.prototypes[row] @ alone
    missing = read_examples(tmp_path, context, 1, options=reading("red=7,green=2,blue=1"))
    assert missing.counts == (1, 1) and [line.split(":")[0] for line in missing.skipped] == ["kelp/0.tif", "slag/0.tif"]


def test_other_bad_requests(tmp_path: Path, context: Context) -> None:
    with pytest.raises(UsageError, match="unknown below"):
        CLASSIFY.run(ClassifyRequest(SAND, LABELS, unknown=1.5), context)
    with pytest.raises(UsageError, match="turns"):
        CLASSIFY.run(ClassifyRequest(SAND, LABELS, turns=3), context)
    with pytest.raises(UsageError, match="archive"):
        CLASSIFY.run(ClassifyRequest(SAND, LABELS, knowledge=True), context)
    with pytest.raises(UsageError, match="no folder"):
        CLASSIFY.run(ClassifyRequest(SAND, LABELS, examples=tmp_path / "none"), context)
    with pytest.raises(UsageError, match="no class folders"):
        CLASSIFY.run(ClassifyRequest(SAND, LABELS, examples=tmp_path), context)
    with pytest.raises(UnsupportedSource, match="show nothing"):
        CLASSIFY.run(ClassifyRequest(SAND[:10, :10], LABELS), context)
    with pytest.raises(UsageError, match="no position"):
        CLASSIFY.run(ClassifyRequest(SAND, LABELS), context).to_geojson(tmp_path / "x.geojson")


@given(st.lists(st.text(alphabet="abc XY", min_size=1, max_size=8), min_size=2, max_size=6))
def test_checked_labels_are_clean_or_refused(labels: list[str]) -> None:
    try:
        found = check_labels(labels)
    except UsageError:
        return
    assert len(found) == len(labels) and len({label.casefold() for label in found}) == len(found)
    assert all(label == " ".join(label.split()) and label for label in found)


def test_label_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("# classes\nwater\n\ndense forest\n")
    (tmp_path / "b.json").write_text('{"W": ["water", "sea"], "F": "forest"}')
    (tmp_path / "c.json").write_text('["water", 3]')
    (tmp_path / "d.json").write_text("{")
    (tmp_path / "e.json").write_text("[" * 100_000)
    assert read_labels(tmp_path / "a.txt") == ("water", "dense forest")
    assert read_labels(tmp_path / "b.json") == ("water", "forest") and split_labels("a, b") == ("a", "b")
    (tmp_path / "f.csv").write_text("forest,Forest land\n")  # what the evaluation reads, as labels two in one
    for name in ("c.json", "d.json", "e.json", "f.csv", "none.txt"):
        with pytest.raises(UsageError):
            read_labels(tmp_path / name)


def test_turns_are_those_of_a_square() -> None:
    picture = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    assert len({view.tobytes() for view in turned(picture, 8)}) == 8


def test_a_temperature_belongs_to_one_encoder(context: Context, tmp_path: Path) -> None:
    own = calibration(context.profile.image.fingerprint)
    assert own.fitted and 0.005 < own.temperature < 0.2
    assert calibration("another encoder") == Calibration(0.01, False)
    assert calibration("x", tmp_path / "none.json") == Calibration(0.01, False)
    likely = softmax(np.array([[0.1, 0.3]]), 0.05)
    assert likely.sum() == pytest.approx(1) and likely[0, 1] == pytest.approx(1 / (1 + np.exp(-4)))
