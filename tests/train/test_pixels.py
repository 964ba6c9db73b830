"""The pixel decoder's training in miniature: archives, views, folds, export, and the shipped way to run it."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from PIL import Image  # noqa: E402

from rsrag.errors import BadModelFile, UsageError  # noqa: E402
from rsrag.models.pixelhead import SHIPPED, PixelDecoder  # noqa: E402
from rsrag.train import pixel_data, pixels  # noqa: E402
from rsrag.train.pixel_data import COVERS, UNKNOWN, Outlined, Shown, cut  # noqa: E402
from rsrag.train.pixel_head import Memory, PixelHead, loss  # noqa: E402
from rsrag.train.projecting import CHANNELS  # noqa: E402

SIDE = 96
CLASSES = ("storage tank", "ship", "building", "vegetation", "water", "bare ground", "vehicle")


def png(values: npt.NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()


def noise(rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    return rng.integers(60, 90, (SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pictures with a white square each (a tank), ten chips whose left part is green and whose top is not known."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    images, annotations = [], []
    with zipfile.ZipFile(folder / "vhr10.zip", "w") as out:
        for number in range(10):
            picture = noise(rng)
            left, top = (int(v) for v in rng.integers(4, 50, 2))
            picture[top : top + 40, left : left + 40] = 245
            out.writestr(f"images/{number:03}.png", png(picture))
            images.append({"id": number * 5, "file_name": f"{number:03}.png", "width": SIDE, "height": SIDE})
            ring = [left, top, left + 40, top, left + 40, top + 40, left, top + 40]
            box = [left, top, 40, 40]
            annotations.append({"image_id": number * 5, "category_id": 1, "bbox": box, "segmentation": [ring]})
        categories = [{"id": 1, "name": "storage_tank"}, {"id": 2, "name": "ship"}]
        table = {"images": images, "annotations": annotations, "categories": categories}
        out.writestr("annotations.json", json.dumps(table))
    with zipfile.ZipFile(folder / "drone_segmentation.zip", "w") as out:
        for number in range(10):
            picture, labels = noise(rng), np.full((SIDE, SIDE), 160, dtype=np.uint8)
            wide = int(rng.integers(30, 70))
            picture[:, :wide] = (40, 150, 40)
            labels[:, :wide], labels[:8] = 80, 40
            flight = "a" if number < 7 else "b"
            out.writestr(f"images/{flight}-{number * 20:06}.png", png(picture))
            out.writestr(f"labels/{flight}-{number * 20:06}.png", png(labels))
    with zipfile.ZipFile(folder / "ucm_captions.zip", "w") as out:
        for number in range(6):
            out.writestr(f"ucm/train/{number}.png", png(noise(rng)))
    return folder


def test_a_run_goes_from_archives_to_a_decoder(data: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    arguments = ["--data", str(data), "--cache", str(tmp_path / "cache"), "--steps", "40"]
    assert pixels.main([*arguments, "--folds", "0", "--out", str(tmp_path / "out")]) == 0
    made = PixelDecoder(tmp_path / "out")
    assert made.classes == CLASSES
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["cross_validated"]["things"]["masks"] == 2 and config["cross_validated"]["covers"]["masks"] == 4
    rows = pixel_data.read_things(data / "vhr10.zip", CLASSES) + pixel_data.read_covers(
        data / "drone_segmentation.zip", CLASSES
    )
    tallies = pixels.judge(lambda row: made.scores(row.picture), rows, CLASSES)
    assert tallies["things"].figures()["mIoU"] > 0.6 and tallies["covers"].figures()["mIoU"] > 0.6
    # A second run takes maps and networks from the cache and gives the same file.
    first = (tmp_path / "out" / "head.onnx").read_bytes()
    assert pixels.main([*arguments, "--folds", "0", "--out", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "head.onnx").read_bytes() == first


def test_archives_give_bits_of_classes(data: Path, tmp_path: Path) -> None:
    thing = pixel_data.read_things(data / "vhr10.zip", CLASSES)[3]
    assert thing.asked == (0, 1) and thing.source == "things"
    white = thing.picture[..., 0] == 245
    assert np.array_equal(thing.bits == 1, white)
    cover = pixel_data.read_covers(data / "drone_segmentation.zip", CLASSES)[0]
    assert [CLASSES[n] for n in cover.asked] == list(COVERS.values())
    assert (cover.bits[:8] == UNKNOWN).all() and set(np.unique(cover.bits[8:])) == {1 << 3, 1 << 5}
    with pytest.raises(UsageError, match="cannot read"):
        pixel_data.read_covers(data / "vhr10.zip", ("airplane", *COVERS.values()))
    with pytest.raises(UsageError, match="cannot read"):
        pixel_data.read_things(tmp_path / "nowhere.zip", CLASSES)


def outlined(key: str, source: str, group: str) -> Outlined:
    empty = np.zeros((8, 8), dtype=np.uint16)
    return Outlined(key, source, group, np.zeros((8, 8, 3), dtype=np.uint8), empty, (0,))


def test_pictures_of_one_place_stay_in_one_fold_and_every_fold_has_both_kinds() -> None:
    sources = ("things", "covers")
    rows = [outlined(f"{source}-{n}", source, f"{source} {n // 3}") for source in sources for n in range(30)]
    dealt = pixels.fold_of(rows)
    for source in sources:
        own = {(row.group, fold) for row, fold in zip(rows, dealt, strict=True) if row.source == source}
        assert len(own) == 10 and {fold for _, fold in own} == set(range(5))


def test_a_crop_beyond_the_edge_is_unknown_there() -> None:
    grid = np.ones((8, 8, 3), dtype=np.float16)
    shown = Shown(grid, np.full((64, 64, 3), 9, dtype=np.uint8), np.ones((64, 64), dtype=np.uint16))
    part = cut(shown, 10, np.random.default_rng(0))
    assert part.grid.shape == (10, 10, 3) and part.picture.shape == (80, 80, 3)
    assert (
        (part.bits[:64, :64] == 1).all() and (part.bits[64:] == UNKNOWN).all() and (part.bits[:, 64:] == UNKNOWN).all()
    )
    inner = cut(shown, 4, np.random.default_rng(0))
    assert inner.grid.shape == (4, 4, 3) and (inner.bits == 1).all()


def test_the_truth_of_a_scored_square_is_that_of_all_its_pixels() -> None:
    bits = np.zeros((16, 16), dtype=np.uint16)
    bits[4:8, 5:10], bits[0, 1] = 1 << 1, UNKNOWN
    shown = Shown(np.zeros((2, 2, CHANNELS), dtype=np.float16), np.zeros((16, 16, 3), dtype=np.uint8), bits)
    _, _, truth, known = pixels.batch_of([(shown, Outlined("a", "things", "a", shown.picture, bits, (0, 1)))], 3)
    assert truth.shape == known.shape == (1, 3, 8, 8)
    assert truth[0, 1, 2].tolist() == [0, 0, 0.5, 1, 1, 0, 0, 0] and truth.sum() == 2 * 2.5
    assert known[0, :2, 0, 0].sum() == 0 and known[0, :2].sum() == 2 * 63 and known[0, 2].sum() == 0


def test_what_is_not_known_costs_nothing() -> None:
    torch.manual_seed(0)
    out = torch.randn(2, 3, 8, 8, requires_grad=True)
    truth, known = (torch.rand(2, 3, 8, 8) > 0.5).float(), torch.zeros(2, 3, 8, 8)
    known[:, 0, :4] = 1
    loss(out, truth, known).backward()  # type: ignore[no-untyped-call]
    assert out.grad is not None
    assert (out.grad[:, 0, :4] != 0).all() and (out.grad[:, 0, 4:] == 0).all() and (out.grad[:, 1:] == 0).all()
    sure = (truth * 2 - 1) * 9
    assert loss(sure, truth, torch.ones_like(truth)) < 0.01 < loss(-sure, truth, torch.ones_like(truth))


@pytest.mark.parametrize("memory", [False, True])
def test_a_network_scores_every_second_pixel(memory: bool) -> None:
    head = PixelHead(4, memory=memory).eval()
    assert (head.memory is not None) == memory
    out = head(torch.zeros(1, CHANNELS, 3, 5), torch.zeros(1, 3, 24, 40))
    assert out.shape == (1, 4, 12, 20)


def test_a_memory_scores_what_is_like_its_slots() -> None:
    memory = Memory(2, width=4, slots=3, dim=4)
    with torch.no_grad():
        memory.ask.weight.copy_(torch.eye(4)[:, :, None, None])
        memory.ask.bias.zero_()  # type: ignore[union-attr]
        memory.slots.zero_()
        memory.slots[0, 1, 0] = 4.0
        memory.slots[1, 2, 1] = 4.0
    seen = torch.zeros(1, 4, 1, 2)
    seen[0, 0, 0, 0] = seen[0, 1, 0, 1] = 4.0
    score = memory(seen)[0, :, 0]
    assert score[0, 0] > 4 > 0.5 > abs(score[0, 1]) and score[1, 1] > 4 > 0.5 > abs(score[1, 0])


def test_a_decoder_of_another_encoder_or_a_changed_file_is_refused(tmp_path: Path) -> None:
    for name in ("head.onnx", "config.json"):
        (tmp_path / name).write_bytes((SHIPPED / name).read_bytes())
    config: dict[str, Any] = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "encoder": "mini-dense:0"}))
    with pytest.raises(BadModelFile, match=r"python -m rsrag\.train\.pixels"):
        PixelDecoder(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "classes"}))
    with pytest.raises(BadModelFile, match="no pixel decoder"):
        PixelDecoder(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "head.onnx").write_bytes(b"x")
    with pytest.raises(BadModelFile, match="not the file"):
        PixelDecoder(tmp_path)


def test_folds_are_named_or_refused() -> None:
    assert pixels.folds_named("all") == [0, 1, 2, 3, 4] and pixels.folds_named("none") == []
    assert pixels.folds_named("0,3") == [0, 3]
    for text in ("5", "", "x", "0,", "-1"):
        with pytest.raises(UsageError, match="folds"):
            pixels.folds_named(text)
