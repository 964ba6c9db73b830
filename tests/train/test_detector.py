"""The object detector's training in miniature: cache, folds, export, and the shipped way to run it."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from PIL import Image  # noqa: E402

from rsrag.errors import BadModelFile  # noqa: E402
from rsrag.models.boxes import as_boxes, ious  # noqa: E402
from rsrag.models.dense import DenseEncoder  # noqa: E402
from rsrag.models.groundhead import ObjectDetector, decode  # noqa: E402
from rsrag.models.groundviews import CELL, LEVELS, views  # noqa: E402
from rsrag.train import detector, detector_cache  # noqa: E402
from rsrag.train.augment import turned  # noqa: E402
from rsrag.train.detector_cache import Labelled  # noqa: E402
from rsrag.train.detector_head import Head, targets  # noqa: E402
from rsrag.train.projecting import CHANNELS  # noqa: E402

SIDE = 128


def scene(rng: np.random.Generator) -> tuple[np.ndarray, list[tuple[int, list[int]]]]:
    """Noise with a white square (a tank) and a red bar (a ship)."""
    made = rng.integers(60, 90, (SIDE, SIDE, 3), dtype=np.uint8)
    rows = []
    for kind, (width, height, colour) in enumerate([(26, 26, (245, 245, 245)), (44, 16, (220, 30, 30))]):
        col, row = rng.integers(4, SIDE - width - 4), rng.integers(4 + 60 * kind, 60 * kind + 60 - height)
        made[row : row + height, col : col + width] = colour
        rows.append((kind + 1, [int(col), int(row), width, height]))
    return made, rows


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    images, annotations = [], []
    with zipfile.ZipFile(folder / "vhr10.zip", "w") as out:
        for number in range(10):
            made, rows = scene(rng)
            stream = io.BytesIO()
            Image.fromarray(made).save(stream, "PNG")
            out.writestr(f"images/{number:03}.png", stream.getvalue())
            images.append({"id": number, "file_name": f"{number:03}.png", "width": SIDE, "height": SIDE})
            annotations += [{"image_id": number, "category_id": kind, "bbox": box} for kind, box in rows]
        categories = [{"id": 1, "name": "storage_tank"}, {"id": 2, "name": "ship"}]
        table = {"images": images, "annotations": annotations, "categories": categories}
        out.writestr("annotations.json", json.dumps(table))
    with zipfile.ZipFile(folder / "ucm_captions.zip", "w") as out:
        for number in range(6):
            stream = io.BytesIO()
            Image.fromarray(scene(rng)[0]).save(stream, "PNG")
            out.writestr(f"ucm/train/{number}.png", stream.getvalue())
    return folder


def test_a_run_goes_from_pictures_to_a_detector(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detector, "NEIGHBOURS", 1)
    torch.set_num_threads(1)
    arguments = ["--data", str(data), "--cache", str(tmp_path / "cache"), "--epochs", "12"]
    assert detector.main([*arguments, "--fold", "0", "--out", str(tmp_path / "out")]) == 0
    assert '"fold": 0' in capsys.readouterr().out
    made = ObjectDetector(tmp_path / "out")
    assert made.classes == ("storage tank", "ship")
    names, rows = detector_cache.read_coco(data / "vhr10.zip")
    assert names == made.classes
    overlaps = []
    with zipfile.ZipFile(data / "vhr10.zip") as opened:
        for row in rows[:4]:
            found = made.detect(detector_cache.read_picture(opened, f"images/{row.member}"))
            for box, label in zip(row.boxes, row.labels, strict=True):
                own = found.chosen(found.labels == label)
                overlaps.append(float(ious(own.boxes[:1], box[None]).max(initial=0)))
    assert np.mean([value >= 0.5 for value in overlaps]) >= 0.6, overlaps
    # A second run takes folds, maps and network from the cache and gives the same file.
    first = (tmp_path / "out" / "head.onnx").read_bytes()
    assert detector.main([*arguments, "--fold", "0", "--out", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "head.onnx").read_bytes() == first


def test_a_detector_of_another_encoder_or_a_changed_file_is_refused(tmp_path: Path) -> None:
    from rsrag.models.groundhead import SHIPPED

    for name in ("head.onnx", "config.json"):
        (tmp_path / name).write_bytes((SHIPPED / name).read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "encoder": "mini-dense:0"}))
    with pytest.raises(BadModelFile, match=r"python -m rsrag\.train\.detector"):
        ObjectDetector(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "head.onnx").write_bytes(b"x")
    with pytest.raises(BadModelFile, match="not the file"):
        ObjectDetector(tmp_path)
    with pytest.raises(BadModelFile, match="no object detector"):
        ObjectDetector(tmp_path / "nowhere")


def test_levels_line_up() -> None:
    found = views(DenseEncoder(), np.zeros((70, 150, 3), dtype=np.uint8))
    assert set(found) == {level.name for level in LEVELS}
    for level in LEVELS:
        assert found[level.name].shape == (level.channels, 128 // level.stride, 192 // level.stride)
    assert sum(level.kept for level in LEVELS) == CHANNELS


@given(st.integers(0, 7))
def test_boxes_turn_with_the_picture(turn: int) -> None:
    made = np.zeros((40, 60, 3), dtype=np.uint8)
    made[5:15, 30:54] = 255
    row = Labelled("1", "", 60, 40, as_boxes([[30, 5, 54, 15]]), np.zeros(1, dtype=np.int64)).turned(turn)
    seen = turned(made, turn)
    assert seen.shape[:2] == (row.height, row.width)
    y, x = np.nonzero(seen[..., 0])
    assert row.boxes[0].tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]


@given(st.integers(0, 2**32 - 1))
def test_what_cells_should_say_decodes_to_the_boxes(seed: int) -> None:
    """Targets are the inverse of decoding: perfect answers give the boxes back."""
    rng = np.random.default_rng(seed)
    corners = np.array([[4, 4], [140, 10], [10, 150], [150, 160]]) + rng.uniform(0, 20, (4, 2))
    boxes = as_boxes(np.hstack([corners, corners + rng.uniform(14, 70, (4, 2))]))
    labels = rng.integers(0, 3, 4)
    kind, sides, unsure = targets(boxes, labels, 256 // CELL, 256 // CELL)
    scores = np.stack([(kind == n) * 0.9 for n in range(3)]).astype(np.float32)
    found = decode(scores, sides.transpose(2, 0, 1), 256, 256)
    assert not (unsure & (kind >= 0)).any()
    for box, label in zip(boxes, labels, strict=True):
        own = found.boxes[found.labels == label]
        assert ious(own, box[None]).max() > 0.85


def test_single_cells_and_whole_maps_give_the_same() -> None:
    from rsrag.train.detector_cells import patches_at

    torch.manual_seed(0)
    head = Head(3).eval()
    grid = np.random.default_rng(0).normal(size=(6, 7, CHANNELS)).astype(np.float16)
    whole = head(torch.from_numpy(grid.astype(np.float32)).permute(2, 0, 1)[None])[0]
    cells = head.cells(patches_at(grid, np.arange(42)))
    torch.testing.assert_close(cells, whole.flatten(1).T, atol=1e-4, rtol=1e-4)
