"""The towers behind their interface: open_clip's own vectors, locking, starts, parts of a batch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_clip import clip_table, write_architecture

torch = pytest.importorskip("torch")
pytest.importorskip("open_clip")
pytest.importorskip("cv2")

from rsrag.config import Settings  # noqa: E402
from rsrag.errors import BadModelFile, ConfigError  # noqa: E402
from rsrag.models import registry, weights  # noqa: E402
from rsrag.models.base import ModelRow  # noqa: E402
from rsrag.models.openclip import OpenClipEncoder  # noqa: E402
from rsrag.train import cached, train_encoder, tuning  # noqa: E402
from rsrag.train.config import ModelConfig, TuningConfig, parse_config  # noqa: E402
from rsrag.train.finish import write_profile  # noqa: E402
from rsrag.train.losses import multi_positive_nce, nt_xent  # noqa: E402
from rsrag.train.restore import load_tower  # noqa: E402
from rsrag.train.towers import Features  # noqa: E402
from rsrag.train.towers.openclip import OpenClipTower  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
TEXTS = ["a red roof", "many green trees stand near a wide grey river", "boats", "a red roof"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tower(folder: Path, **options: Any) -> OpenClipTower:
    torch.manual_seed(0)
    config = ModelConfig(kind="open_clip", architecture=str(write_architecture(folder)), instance_dim=8)
    return OpenClipTower(config, **options)


def pixels(count: int = 4) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))


def test_texts_without_their_padding_have_open_clips_vectors(tmp_path: Path) -> None:
    made = tower(tmp_path).eval()
    rows = made.prepare_texts(TEXTS)
    with torch.no_grad():
        own, reference = made.text_vectors(rows), made.network.encode_text(rows, normalize=True)
    assert torch.allclose(own, reference, atol=1e-6)
    assert made.text_vectors(rows[:0]).shape == (0, 24)


def test_bytes_and_floats_are_the_same_picture(tmp_path: Path) -> None:
    made = tower(tmp_path).eval()
    rows = made.prepare_texts(TEXTS)
    with torch.no_grad():
        assert torch.equal(made(pixels(), rows).semantic, made(pixels().float() / 255, rows).semantic)


@pytest.mark.parametrize("side", ["text", "image"])
def test_a_locked_side_gets_no_gradient(side: str, tmp_path: Path) -> None:
    made = tower(tmp_path)
    tuning.apply(made, TuningConfig(lock=side))
    other = {"text": "image", "image": "text"}[side]
    assert made.trains(other)
    assert not made.trains(side)
    made.train()
    features = made(pixels(), made.prepare_texts(TEXTS))
    multi_positive_nce(features.semantic, features.words, torch.tensor([0, 1, 2, 0]), features.scale).backward()
    for name, parameter in made.named_parameters():
        assert (parameter.grad is None) == (made.side_of(name) == side), name


def test_the_names_of_both_sides(tmp_path: Path) -> None:
    made = tower(tmp_path, with_bias=True, with_instance=True)
    sides: dict[str, set[str]] = {}
    for name, _ in made.named_parameters():
        sides.setdefault(made.side_of(name), set()).add(name.split(".")[1] if name.startswith("network") else name)
    assert sides["loss"] == {"logit_scale", "logit_bias"}
    assert "visual" in sides["image"]
    assert sides["text"] == {"positional_embedding", "text_projection", "transformer", "token_embedding", "ln_final"}


def test_the_loss_by_pairs_begins_where_its_authors_began(tmp_path: Path) -> None:
    made = tower(tmp_path, with_bias=True)
    assert float(made.scale()) == pytest.approx(10.0, rel=1e-5)
    assert made.logit_bias is not None
    assert float(made.logit_bias) == -10.0


def objective(features: Features) -> dict[str, torch.Tensor]:
    text = multi_positive_nce(features.semantic, features.words, torch.tensor([0, 1, 2, 0, 4, 5]), features.scale)
    assert features.instance is not None
    instance = nt_xent(features.instance[:3], features.instance[3:], 0.2)
    return {"text": text, "loss": text + 0.5 * instance}


def test_parts_of_a_batch_give_the_gradients_of_the_whole(tmp_path: Path) -> None:
    made = tower(tmp_path, with_instance=True).train()
    rows = made.prepare_texts([*TEXTS, "sand", "a bridge"])
    gradients, values = [], []
    for parts in (1, 2, 4):
        made.zero_grad(set_to_none=True)
        values.append(cached.backward(made, pixels(6), rows, objective, parts=parts, seed=1))
        gradients.append({name: p.grad.clone() for name, p in made.named_parameters()})
    for other, value in zip(gradients[1:], values[1:], strict=True):
        assert float(value["loss"]) == pytest.approx(float(values[0]["loss"]), abs=1e-5)
        for name, gradient in gradients[0].items():
            assert torch.allclose(gradient, other[name], atol=1e-5), name


def test_adding_up_parts_without_the_cache_is_something_else(tmp_path: Path) -> None:
    made = tower(tmp_path, with_instance=True).train()
    rows = made.prepare_texts([*TEXTS, "sand", "a bridge"])

    def naive(features: Features) -> dict[str, torch.Tensor]:
        groups = torch.arange(len(features.semantic))
        return {"loss": multi_positive_nce(features.semantic, features.words, groups, features.scale)}

    cached.backward(made, pixels(6), rows, naive, parts=1, seed=1)
    whole = made.network.text_projection.grad.clone()
    made.zero_grad(set_to_none=True)
    for part in range(2):
        own = slice(3 * part, 3 * part + 3)
        cached.backward(made, pixels(6)[own], rows[own], lambda f: {"loss": naive(f)["loss"] / 2}, parts=1, seed=1)
    assert not torch.allclose(whole, made.network.text_projection.grad, rtol=0.1)


def test_parts_drop_the_same_in_both_passes_and_count_statistics_once(tmp_path: Path) -> None:
    class Noisy(OpenClipTower):
        def image_vectors(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
            return super().image_vectors(self.drop(self.norm(pixels)))

    torch.manual_seed(0)
    config = ModelConfig(kind="open_clip", architecture=str(write_architecture(tmp_path)))
    made = Noisy(config, with_instance=True)
    made.norm, made.drop = torch.nn.BatchNorm2d(3), torch.nn.Dropout(0.5)
    made.train()
    rows = made.prepare_texts([*TEXTS, "sand", "a bridge"])
    seen = []

    def spy(features: Features) -> dict[str, torch.Tensor]:
        seen.append(features.semantic.detach().clone())
        return objective(features)

    cached.backward(made, pixels(6), rows, spy, parts=3, seed=5)
    assert int(made.norm.num_batches_tracked) == 3
    expected = []
    with torch.no_grad():
        for number, part in enumerate(pixels(6).tensor_split(3)):
            torch.manual_seed(5 + number)
            expected.append(made.image_vectors(part.float() / 255)[0])
    assert torch.allclose(seen[0], torch.cat(expected), atol=1e-6)


def test_recomputed_activations_give_the_same_gradients(tmp_path: Path) -> None:
    found = []
    for on in (False, True):
        made = tower(tmp_path, with_instance=True).train()
        made.set_checkpointing(on)
        rows = made.prepare_texts([*TEXTS, "sand", "a bridge"])
        cached.backward(made, pixels(6), rows, objective, parts=1, seed=1)
        found.append({name: p.grad for name, p in made.named_parameters()})
    assert all(torch.allclose(gradient, found[1][name], atol=1e-6) for name, gradient in found[0].items())


def test_a_run_is_loaded_as_any_other_encoder_and_begins_another_one(
    toy_data: Path, toy_table: dict[str, Any], tmp_path: Path
) -> None:
    table = clip_table(toy_table, tmp_path)
    table["optim"] |= {"epochs": 1, "loss": "siglip"}
    run_dir = tmp_path / "run"
    train_encoder(parse_config(table), run_dir=run_dir, data_dir=toy_data)
    rows = registry.rows_of(Settings(profile=str(run_dir / "profile.toml")))
    encoder = registry.load(rows["image"], Settings(device="cpu"))
    _, trained = load_tower(run_dir)
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    with torch.no_grad():
        semantic, _ = trained.image_vectors(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255)
    assert float((torch.from_numpy(encoder.encode_images([picture])) @ semantic.T).item()) > 0.995  # bf16 on some CPUs
    cosine = (encoder.encode_words(TEXTS) * trained.embed_texts(TEXTS)).sum(axis=1)
    assert cosine.min() > 0.995

    model = {**table["model"], "pretrained": str(run_dir / "export" / "model.safetensors")}
    begun = OpenClipTower(ModelConfig(**model), with_bias=True)
    assert torch.equal(begun.network.visual.proj, trained.network.visual.proj)
    assert float(begun.scale()) == pytest.approx(float(trained.scale()), rel=1e-6)
    larger = OpenClipTower(ModelConfig(**model, image_size=64))
    assert larger.input_size == 64
    assert larger.network.visual.positional_embedding.shape[0] == 17
    with pytest.raises(ConfigError, match="no file"):
        OpenClipTower(ModelConfig(**{**model, "pretrained": str(tmp_path / "none.safetensors")}))


def test_a_profile_names_runs_of_any_script(tmp_path: Path) -> None:
    run_dir = tmp_path / "läufe 🛰"
    run_dir.mkdir()
    path = write_profile(parse_config({"name": "mein 🛰"}), run_dir, "open_clip", run_dir / "a.safetensors", {"a": "b"})
    row = registry.rows_of(Settings(profile=str(path)))["image"]
    assert (row.name, row.source) == ("mein 🛰", str((run_dir / "a.safetensors").resolve()))


def test_weights_of_another_activation_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import save_file

    table = json.loads(write_architecture(tmp_path).read_text(encoding="utf-8"))
    quick, plain = tmp_path / "quick.json", tmp_path / "plain.json"
    quick.write_text(json.dumps({**table, "quick_gelu": True}), encoding="utf-8")
    plain.write_text(json.dumps({**table, "quick_gelu": False}), encoding="utf-8")
    file = tmp_path / "w.safetensors"
    save_file(OpenClipTower(ModelConfig(kind="open_clip", architecture=str(quick))).network.state_dict(), file)
    note = {"architecture": "quick", "config": json.loads(quick.read_text()), "sha256": weights.file_digest(file)}
    weights.side_car(file).write_text(json.dumps(note), encoding="utf-8")
    OpenClipTower(ModelConfig(kind="open_clip", architecture=str(quick), pretrained=str(file)))
    with pytest.raises(ConfigError, match="made for quick, whose activation"):
        OpenClipTower(ModelConfig(kind="open_clip", architecture=str(plain), pretrained=str(file)))
    weights.side_car(file).unlink()  # without a note the row of the registry tells
    row = ModelRow("known", "image", "open_clip", str(file), options={"architecture": str(quick)})
    monkeypatch.setattr("rsrag.train.towers.openclip.MODELS", (row,))
    with pytest.raises(ConfigError, match="whose activation"):
        OpenClipTower(ModelConfig(kind="open_clip", architecture=str(plain), pretrained="known"))


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"no weights")
    architecture = str(write_architecture(tmp_path))
    with pytest.raises(BadModelFile, match=r"cannot read .*w\.safetensors"):
        OpenClipTower(ModelConfig(kind="open_clip", architecture=architecture, pretrained=f"{tmp_path}/w.safetensors"))


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"visual.proj": torch.zeros(3, 3)}, tmp_path / "other.safetensors")
    config = ModelConfig(
        kind="open_clip",
        architecture=str(write_architecture(tmp_path)),
        pretrained=str(tmp_path / "other.safetensors"),
    )
    with pytest.raises(BadModelFile, match="does not fit"):
        OpenClipTower(config)


def test_a_start_that_is_nowhere_and_a_picture_smaller_than_a_patch(tmp_path: Path) -> None:
    architecture = str(write_architecture(tmp_path))
    with pytest.raises(ConfigError, match="no weights in laion400m") as caught:
        OpenClipTower(ModelConfig(kind="open_clip", architecture=architecture, pretrained="laion400m"))
    assert "rsrag models list" in (caught.value.hint or "")
    with pytest.raises(ConfigError, match="image_size 8 is less than a patch"):
        OpenClipTower(ModelConfig(kind="open_clip", architecture=architecture, image_size=8))


@pytest.mark.parametrize("parts", [1, 30])
def test_a_set_smaller_than_a_batch_is_one_step(
    parts: int, toy_data: Path, toy_table: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = clip_table(toy_table, tmp_path)
    table["data"] |= {"sources": [{"path": "told", "kind": "captions"}], "holdout": 0.0}
    table["optim"] |= {"epochs": 1, "batch": 64, "accumulate": parts}
    result = train_encoder(parse_config(table), run_dir=tmp_path / "run", data_dir=toy_data, export=False)
    assert result.steps == 1 and np.isfinite(result.metrics["loss"])
    assert "optim.batch is 64, but an epoch has 16 pictures" in caplog.text
    assert result.metrics["views_per_s"] * result.metrics["seconds"] < 40  # 16, but for rounding


def test_pictures_without_a_text_teach_nothing(toy_data: Path, toy_table: dict[str, Any], tmp_path: Path) -> None:
    import tarfile

    with tarfile.open(toy_data / "untold.tar", "w") as archive:
        for path in (toy_data / "told" / "train").iterdir():
            archive.add(path, path.name)
    table = clip_table(toy_table, tmp_path)
    table["data"]["sources"] = [{"path": "untold.tar", "kind": "webdataset"}]
    with pytest.raises(ConfigError, match=r"nothing to learn from: none of \d+ pictures has a caption or a class"):
        train_encoder(parse_config(table), run_dir=tmp_path / "run", data_dir=toy_data, export=False)


def test_held_out_pictures_are_measured_as_the_finished_encoder_sees_them(
    toy_data: Path, toy_table: dict[str, Any], tmp_path: Path
) -> None:
    table = clip_table(toy_table, tmp_path)
    table["optim"]["epochs"] = 1
    run_dir = tmp_path / "run"
    train_encoder(parse_config(table), run_dir=run_dir, data_dir=toy_data)
    _, tower = load_tower(run_dir)
    row = registry.rows_of(Settings(profile=str(run_dir / "profile.toml")))["image"]
    wide = np.random.default_rng(0).integers(0, 256, (50, 90, 3), dtype=np.uint8)
    finished = OpenClipEncoder(row, Settings())
    assert np.array_equal(tower.resized(wide, tower.input_size), finished.prepare(wide))
