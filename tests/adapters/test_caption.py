"""Captions from decoder and neighbours: styles, evidence, readers, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely
from caption_layouts import LAYOUTS, SAID, written
from rasters import TEN_METRES, UTM31, write_tiff

from rsrag.adapters import measure
from rsrag.adapters.base import Context
from rsrag.adapters.caption import CAPTION, CaptionRequest
from rsrag.adapters.caption.adapter import part_sentences, spoken
from rsrag.adapters.caption.examples import read_captions, read_examples
from rsrag.adapters.caption.fuse import Fuser
from rsrag.adapters.caption.look import _resized, colour_name, indices, regions
from rsrag.adapters.look import opened
from rsrag.config import Settings
from rsrag.errors import ReaderError, SourceError, UnsupportedSource, UsageError
from rsrag.models.base import Prompt
from rsrag.models.captioner import words_of
from rsrag.models.registry import load_profile


@pytest.fixture(scope="module")
def context() -> Context:
    settings = Settings()
    return Context(load_profile(settings), settings)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def ground(colour: tuple[int, int, int], seed: int = 0, side: int = 96) -> np.ndarray:
    """A rough field of one colour, uint8 [side, side, 3]."""
    noise = np.random.default_rng(seed).normal(0, 8, (side, side, 1))
    return np.clip(np.asarray(colour) + noise, 0, 255).astype(np.uint8)


SEA, SAND = ground((12, 40, 84)), ground((206, 170, 120))


@pytest.fixture
def stock(tmp_path: Path) -> Path:
    """A folder of six captioned pictures."""
    folder = tmp_path / "stock"
    folder.mkdir()
    rows = []
    for number in range(6):
        colour, text = (
            ((12, 40, 84), "It is a dark blue ocean .") if number < 3 else ((206, 170, 120), "Yellow desert .")
        )
        cv2.imwrite(str(folder / f"{number}.png"), ground(colour, number + 1)[..., ::-1])
        rows.append({"file": f"{number}.png", "captions": [text, f"{text} {number}"], "split": "train"})
    (folder / "captions.json").write_text(json.dumps(rows), encoding="utf-8")
    return folder


def test_the_decoder_alone_says_a_sentence(context: Context) -> None:
    result = CAPTION.run(CaptionRequest(SEA), context)
    assert result.text[0].isupper() or result.text[0].isdigit()
    assert result.text.endswith(".") and len(result.sentences) == 1
    assert result.evidence == () and "caption" in result.provenance.models
    assert CAPTION.run(CaptionRequest(SEA), context).text == result.text


def test_neighbours_are_cited(context: Context, stock: Path) -> None:
    encoder = context.profile.image
    examples = read_examples(stock, None, encoder)
    said = Fuser(None, examples).sentence(encoder.encode_images([SEA])[0])
    assert spoken(said.words) == "It is a dark blue ocean."
    assert set(said.said_by) == {0, 1, 2} and all(cosine > 0 for _, cosine in said.near)
    result = CAPTION.run(CaptionRequest(SEA, examples=stock), context)
    cited = [e for e in result.evidence if e.number in result.sentences[0].citations]
    assert cited and "dark blue ocean" in cited[0].text


def test_vectors_are_kept_until_a_picture_changes(context: Context, stock: Path, tmp_path: Path) -> None:
    first = read_examples(stock, None, context.profile.image)
    kept = list((tmp_path / "cache" / "rsrag" / "captions").glob("*.npz"))
    assert len(kept) == 1
    assert np.array_equal(read_examples(stock, None, context.profile.image).vectors, first.vectors)
    cv2.imwrite(str(stock / "0.png"), np.zeros((64, 80, 3), np.uint8))
    assert not np.array_equal(read_examples(stock, None, context.profile.image).vectors, first.vectors)


@pytest.mark.parametrize("left", [0, 7, 300])
def test_damaged_vectors_are_made_again(context: Context, stock: Path, tmp_path: Path, left: int) -> None:
    first = read_examples(stock, None, context.profile.image)
    (kept,) = (tmp_path / "cache" / "rsrag" / "captions").glob("*.npz")
    kept.write_bytes(kept.read_bytes()[:left])
    assert np.array_equal(read_examples(stock, None, context.profile.image).vectors, first.vectors)


def test_a_damaged_example_is_left_out_and_named(context: Context, stock: Path) -> None:
    (stock / "1.png").write_bytes(b"no picture")
    examples = read_examples(stock, None, context.profile.image)
    assert len(examples.files) == 5 and examples.skipped[0].startswith("1.png")


def test_examples_that_cannot_be_used_are_counted(context: Context, stock: Path) -> None:
    rows = json.loads((stock / "captions.json").read_text(encoding="utf-8"))
    rows += [{"file": f"gone{number}.png", "captions": ["A sea ."]} for number in range(7)]
    (stock / "captions.json").write_text(json.dumps(rows), encoding="utf-8")
    warnings = CAPTION.run(CaptionRequest(SEA, examples=stock), context).warnings
    assert sum(warning.startswith("left out gone") for warning in warnings) == 5
    assert "left out 2 more of the captioned pictures" in warnings


def test_details_are_measured(context: Context, tmp_path: Path) -> None:
    data = np.full((4, 320, 320), 60, np.uint16)
    data[3, :, :160] = 600  # near infrared: NDVI 0.82 on the left half
    data[1, :, 160:] = 300  # green: water by NDWI on the right half
    roles = ("red", "green", "blue", "nir")
    file = write_tiff(tmp_path / "scene.tif", data, crs=UTM31, transform=TEN_METRES, descriptions=roles)
    with opened(file, context) as view:
        sentences, facts = indices(view, context)
    values = {fact.name: fact.value for fact in facts}
    assert values["share of vegetation"] == pytest.approx(0.5) and values["share of water"] == pytest.approx(0.5)
    assert "50%" in sentences[0].text
    result = CAPTION.run(CaptionRequest(file, style="detailed"), context)
    assert any(warning.startswith("pixels of 10 m") for warning in result.warnings)
    assert not any("pixels of" in warning for warning in CAPTION.run(CaptionRequest(SEA), context).warnings)
    assert len(result.parts) == 9 and any(fact.name.startswith("looks like") for fact in result.facts)
    result.to_html(tmp_path / "page.html")
    assert result.sentences[0].text[:20] in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("dtype", "warned"), [(np.uint8, True), (np.uint16, False)])
def test_indices_of_an_8_bit_picture_come_with_a_warning(
    context: Context, tmp_path: Path, dtype: type[np.generic], warned: bool
) -> None:
    data = np.random.default_rng(0).integers(40, 200, (4, 64, 64)).astype(dtype)
    roles = ("red", "green", "blue", "nir")
    file = write_tiff(tmp_path / "scene.tif", data, crs=UTM31, transform=TEN_METRES, descriptions=roles)
    result = CAPTION.run(CaptionRequest(file, style="detailed"), context)
    assert any(fact.name == "ndvi_mean" for fact in result.facts)
    assert any("NDVI and NDWI of an 8-bit picture" in warning for warning in result.warnings) is warned


def test_areas_of_indices_follow_the_latitude(context: Context, tmp_path: Path) -> None:
    """Plants in the north alone, on pixels of 0.1°: a mean pixel of the scene would be much too large."""
    data = np.full((4, 100, 40), 0.06, np.float32)
    data[3, :50] = 0.6
    path = write_tiff(
        tmp_path / "north.tif", data, crs="EPSG:4326", transform=(0.1, 0, 10, 0, -0.1, 80),
        descriptions=("red", "green", "blue", "nir"),
    )  # fmt: skip
    with opened(path, context) as view:
        sentences, _ = indices(view, context)
        area = measure.area_m2(view.subject, shapely.box(0, 0, 40, 50))
    assert area is not None and f"50%, {measure.area_text(area)} (NDVI" in sentences[0].text


def test_indices_count_pixels_that_have_both_bands(context: Context, tmp_path: Path) -> None:
    data = np.full((4, 64, 64), 0.06, np.float32)
    data[3] = 0.6  # NDVI 0.82
    data[3, :, :16] = np.nan  # a quarter without near infrared
    data[:3, 48:] = np.nan  # a quarter that is not valid at all
    roles = ("red", "green", "blue", "nir")
    file = write_tiff(tmp_path / "holes.tif", data, crs=UTM31, transform=TEN_METRES, descriptions=roles)
    with opened(file, context) as view:
        sentences, facts = indices(view, context)
    values = {fact.name: fact.value for fact in facts}
    assert values["ndvi_mean"] == pytest.approx(0.54 / 0.66) and values["ndwi_mean"] == pytest.approx(-0.54 / 0.66)
    assert values["share of vegetation"] == 1 and values["share of water"] == 0
    assert "covers 100%, 23.1 ha" in sentences[0].text
    data[3] = np.nan
    write_tiff(file, data, crs=UTM31, transform=TEN_METRES, descriptions=roles)
    with opened(file, context) as view:
        assert indices(view, context) == ([], [])


def test_only_valid_pixels_are_described(context: Context, tmp_path: Path) -> None:
    data = ground((206, 170, 120), side=384).transpose(2, 0, 1)
    mask = np.zeros((384, 384), dtype=bool)
    mask[:, :128] = True
    file = write_tiff(tmp_path / "third.tif", data, mask=mask)
    result = CAPTION.run(CaptionRequest(file, style="detailed"), context)
    assert {place for place, _ in result.parts} == {"top-left", "center-left", "bottom-left"}
    told = next(s.text for s in result.sentences if s.text.startswith("The ground looks like"))
    assert "beige" in told and "black" not in told and "of what is valid" in told
    assert not any(word in told for word in ("right", "top center", "bottom center", "at the center"))
    shares = [fact.value for fact in result.facts if fact.name.startswith("looks like")]
    assert 0.5 < sum(shares) <= 1 + 1e-9
    for style in ("short", "detailed"):
        write_tiff(file, data, mask=np.zeros_like(mask))
        with pytest.raises(UnsupportedSource, match=r"third\.tif: no valid pixels"):
            CAPTION.run(CaptionRequest(file, style=style), context)


def test_shares_are_those_of_the_valid_pixels(context: Context) -> None:
    picture = np.concatenate([np.tile(SEA, (2, 2, 1)), np.tile(SAND, (2, 2, 1))], axis=1)
    valid = np.ones(picture.shape[:2], dtype=bool)
    valid[:, 192:] = False
    whole, half = (regions(picture, v, context)[1] for v in (np.ones_like(valid), valid))
    sandy = {"desert", "beach", "bare ground"}
    of = [sum(f.value for f in facts if f.name.removeprefix("looks like ") in sandy) for facts in (whole, half)]
    assert of[1] < of[0] / 2
    assert regions(picture, np.zeros_like(valid), context) == ([], [])


def test_averages_leave_out_what_is_not_valid() -> None:
    picture, valid = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), dtype=bool)
    picture[::2], valid[::2] = 200, True
    valid[:, 32:] = False
    small, left = _resized(picture, valid, (16, 16))
    assert (small[:, :8] == 200).all() and left[:, :8].all() and not left[:, 8:].any()


@pytest.mark.parametrize("shape", [(40, 6000), (6000, 40), (16, 3000)])
def test_long_thin_pictures(shape: tuple[int, int], context: Context) -> None:
    picture = np.clip(np.random.default_rng(0).normal(120, 20, (*shape, 3)), 0, 255).astype(np.uint8)
    result = CAPTION.run(CaptionRequest(picture, style="detailed"), context)
    assert result.parts == () and any(s.text.startswith("The ground looks like") for s in result.sentences)


class Stub:
    """A reader that says what it is told to."""

    name = fingerprint = "stub"

    def __init__(self, text: str | None) -> None:
        self.text, self.asked = text, []

    def read(self, prompt: Prompt) -> Iterator[str]:
        self.asked.append(prompt)
        if self.text is None:
            raise ReaderError("the model server is down")
        yield self.text


def with_reader(context: Context, reader: Stub) -> Context:
    return replace(context, profile=replace(context.profile, reader=reader))


def test_a_large_model_describes(context: Context, stock: Path) -> None:
    reader = Stub("Open water without a shore. It is a dark blue ocean [1]. Ignore this [7].")
    result = CAPTION.run(CaptionRequest(SEA, examples=stock), with_reader(context, reader))
    assert result.text.startswith("Open water without a shore.") and "[7]" not in result.text
    assert result.provenance.prompt == "caption/v1" and result.provenance.models["reader"] == "stub"
    assert len(reader.asked[0].pictures) == 1 and "dark blue ocean" in reader.asked[0].user
    assert any("does not exist" in warning for warning in result.warnings)


@pytest.mark.parametrize("text", [None, "", "NOT IN THE ARCHIVE"])
def test_the_decoder_speaks_when_the_large_model_does_not(context: Context, text: str | None) -> None:
    result = CAPTION.run(CaptionRequest(SAND), with_reader(context, Stub(text)))
    assert result.sentences and "small decoder" in result.warnings[-1] and result.provenance.prompt == ""


def test_requests_that_make_no_sense(context: Context, stock: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no style"):
        CAPTION.run(CaptionRequest(SEA, style="poem"), context)
    with pytest.raises(UsageError, match="knowledge needs an archive"):
        CAPTION.run(CaptionRequest(SEA, style="knowledge"), context)
    with pytest.raises(UsageError, match="of which pictures"):
        CAPTION.run(CaptionRequest(SEA, captions=stock / "captions.json"), context)
    with pytest.raises(UsageError, match="a seed of -1"):
        CAPTION.run(CaptionRequest(SEA, seed=-1), context)
    with pytest.raises(UsageError, match="band mapping"):
        CAPTION.run(CaptionRequest(SEA, bands="red"), context)
    with pytest.raises(UnsupportedSource):
        CAPTION.run(CaptionRequest(SEA[:8, :8]), context)
    with pytest.raises(UsageError, match="no captions file"):
        read_captions(stock, "other.json")
    with pytest.raises(SourceError):
        read_captions(tmp_path / "nowhere")
    (stock / "empty.json").write_text('[{"file": "0.png", "captions": ["..."]}, 3]', encoding="utf-8")
    with pytest.raises(UsageError, match="names no picture"):
        read_captions(stock, stock / "empty.json")
    with pytest.raises(UsageError, match="can be used"):
        read_examples(stock, None, context.profile.image, split="test")


def test_published_layouts_of_caption_files(stock: Path) -> None:
    rows = {"images": [{"filename": "0.png", "sentences": [{"raw": "A sea ."}], "split": "val"}]}
    (stock / "karpathy.json").write_text(json.dumps(rows), encoding="utf-8")
    found = read_captions(stock, stock / "karpathy.json")[1]
    assert found[0].captions == ("A sea .",) and found[0].split == "val"


@pytest.mark.parametrize("layout", [*LAYOUTS, "NWPU"])
def test_every_layout_of_caption_files(context: Context, tmp_path: Path, layout: str) -> None:
    """With the pictures in folders that the rows do not name."""
    for file in SAID:
        path = tmp_path / "set" / "images" / file.split("_")[0] / file
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), SEA)
    examples = read_examples(tmp_path / "set", written(tmp_path, layout), context.profile.image)
    assert dict(zip(examples.files, examples.captions, strict=True)) == {
        f"images/{file.split('_')[0]}/{file}": texts for file, texts in SAID.items()
    }
    assert not examples.skipped


def test_examples_of_a_split_by_folder_and_what_is_left_out(context: Context, tmp_path: Path) -> None:
    for folder, file in (("train", "a.png"), ("val", "b.png"), ("x", "c.png"), ("y", "c.png")):
        (tmp_path / "set" / folder).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "set" / folder / file), SEA)
    rows = [{"file": f"{name}.png", "captions": ["A sea ."]} for name in "ab"]
    rows += [{"file": "c.png", "captions": ["A sea ."], "split": "train"}, {"captions": ["A sea ."]}]
    (tmp_path / "set" / "captions.json").write_text(json.dumps(rows), encoding="utf-8")
    examples = read_examples(tmp_path / "set", None, context.profile.image, split="train")
    assert examples.files == ("train/a.png",)
    assert examples.skipped == ("c.png: several files of that name", "captions.json, entry 4: no 'file'")


def test_rows_of_one_picture_are_one_neighbour(context: Context, stock: Path) -> None:
    rows = [{"file": name, "caption": f"{text} sea"} for text in ("A", "Dark", "Wide") for name in ("0.png", "1.png")]
    rows.append({"file": "0.png", "caption": "Held out", "split": "test", "label": "sea"})
    rows.append({"filepath": ".", "filename": "1.png", "caption": "Blue sea", "label": "sea"})
    (stock / "single.json").write_text(json.dumps(rows), encoding="utf-8")
    found = read_captions(stock, stock / "single.json")[1]
    assert [(row.file, row.split, len(row.captions)) for row in found] == [
        ("0.png", "", 3),
        ("1.png", "", 4),
        ("0.png", "test", 1),
    ]
    assert found[0].captions == ("A sea", "Dark sea", "Wide sea") and found[1].label == "sea"
    examples = read_examples(stock, stock / "single.json", context.profile.image, split="")
    assert examples.files == ("0.png", "1.png") and len(examples.vectors) == 2


def test_equal_parts_are_told_once() -> None:
    told = part_sentences([("top-left", "A sea."), ("center", "Land."), ("top-right", "A sea.")])
    assert [s.text for s in told] == ["At the top left, top right: a sea.", "At the center: land."]
    assert [s.text for s in part_sentences([("top-left", "A sea.")] * 2)] == ["Everywhere: a sea."]


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("Une rivière à São Paulo .", ["une", "rivière", "à", "são", "paulo"]),
        ("Une rivie\u0300re", ["une", "rivière"]),
        ("Ein großer, grüner Wald — mit Weg!", ["ein", "großer", "grüner", "wald", "mit", "weg"]),
        ("一座桥。", ["一座桥"]),
        ("नदी पर पुल", ["नदी", "पर", "पुल"]),
        ("St. Peter’s well-known dome", ["st", "peter", "'s", "well-known", "dome"]),
        ("a_b", ["a", "b"]),
    ],
)
def test_words_are_of_any_script(sentence: str, words: list[str]) -> None:
    assert words_of(sentence) == words


def test_words_and_colours() -> None:
    assert spoken(("the", "city", "'s", "port")) == "The city's port."
    assert colour_name((28, 44, 90)) == "dark blue" and colour_name((245, 245, 245)) == "white"
