"""Every way of tuning with few weights: it learns, leaves the rest alone bit for bit, and can be merged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from tiny_clip import ARCHITECTURE, clip_table, write_architecture

torch = pytest.importorskip("torch")
pytest.importorskip("open_clip")

from rsrag.errors import BadModelFile, ConfigError  # noqa: E402
from rsrag.models import architectures  # noqa: E402
from rsrag.train import adapters, tuning  # noqa: E402
from rsrag.train.config import ModelConfig, TuningConfig, parse_config  # noqa: E402
from rsrag.train.losses import multi_positive_nce  # noqa: E402
from rsrag.train.towers.openclip import OpenClipTower  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
TEXTS = ["a red roof", "many green trees", "boats", "a wide river"]
METHODS = ["lora", "adapter", "prompt", "prefix", "bitfit", "probe"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tower(folder: Path) -> OpenClipTower:
    torch.manual_seed(0)
    return OpenClipTower(ModelConfig(kind="open_clip", architecture=str(write_architecture(folder))))


def config(method: str) -> TuningConfig:
    if method == "prefix":
        return TuningConfig(method="prompt", tokens=2, depth=0)
    return TuningConfig(method=method, rank=4, width=6, tokens=3)


def pixels() -> torch.Tensor:
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))


def learn(made: Any, steps: int = 12, lr: float = 1e-2) -> list[float]:
    """Losses of some steps on four pairs."""
    optimiser = torch.optim.AdamW([p for p in made.parameters() if p.requires_grad], lr=lr)
    made.train()
    losses = []
    for _ in range(steps):
        features = made(pixels(), made.prepare_texts(TEXTS))
        loss = multi_positive_nce(features.semantic, features.words, torch.arange(4), features.scale)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    made.eval()
    return losses


@pytest.mark.parametrize("method", METHODS)
def test_a_method_learns_leaves_the_rest_alone_and_merges(method: str, tmp_path: Path) -> None:
    made = tower(tmp_path)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    tuning.apply(made, config(method))
    counts = made.counts()
    assert 0 < counts["trainable"] < 0.1 * counts["parameters"]
    frozen = {name: p.detach().clone() for name, p in made.named_parameters() if not p.requires_grad}
    losses = learn(made)
    assert losses[-1] < 0.9 * losses[0]
    for name, value in made.named_parameters():
        if name in frozen:
            assert torch.equal(value, frozen[name]), name
            plain = name.replace("parametrizations.", "").replace(".original", "")
            assert torch.equal(value, before[plain]), name
    rows = made.prepare_texts(TEXTS)
    with torch.no_grad():
        unmerged = made(pixels(), rows)
        tuning.merge(made)
        merged = made(pixels(), rows)
        assert (merged.semantic - unmerged.semantic).abs().max() < 1e-5
        assert (merged.words - unmerged.words).abs().max() < 1e-5
        # what is exported is the plain architecture, with another width or with named tokens
        network = architectures.build(made.architecture)
        network.load_state_dict(made.network.state_dict())
        images = network.encode_image((pixels() - made.mean) / made.std, normalize=True)
    assert (images - unmerged.semantic).abs().max() < 1e-5


@pytest.mark.parametrize("method", ["lora", "adapter", "bitfit", "probe"])
def test_the_start_is_that_of_the_frozen_network(method: str, tmp_path: Path) -> None:
    made = tower(tmp_path).eval()
    rows = made.prepare_texts(TEXTS)
    with torch.no_grad():
        before = made(pixels(), rows)
        tuning.apply(made, config(method))
        after = made(pixels(), rows)
    assert torch.allclose(before.semantic, after.semantic, atol=1e-6)
    assert torch.allclose(before.words, after.words, atol=1e-6)


def test_low_rank_matrices_are_those_of_peft(tmp_path: Path) -> None:
    """On linear layers peft, given the same matrices, computes the same vectors.

    For nn.MultiheadAttention, which all blocks of open_clip have, peft (0.21, its pull request 3774) adds the matrices
    to the output projection twice, and moves the frozen weights back and forth in every pass: hence an own way.
    """
    peft = pytest.importorskip("peft")
    made = tower(tmp_path)
    visual = deepcopy(made.network.visual)
    tuning.apply(made, TuningConfig(method="lora", rank=4, alpha=8.0, sides=["image"], targets=["*.mlp.*"]))
    learn(made, steps=4)
    settings = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["c_fc", "c_proj"], lora_dropout=0.0)
    reference = peft.get_peft_model(visual, settings)
    own = dict(made.network.visual.named_modules())
    count = 0
    for name, module in reference.base_model.model.named_modules():
        if hasattr(module, "lora_A"):
            addition = own[name].parametrizations["weight"][0]
            with torch.no_grad():
                module.lora_A["default"].weight.copy_(addition.a)
                module.lora_B["default"].weight.copy_(addition.b)
            count += 1
    assert count == 4
    reference.eval()
    inputs = (pixels() - made.mean) / made.std
    with torch.no_grad():
        assert torch.allclose(reference(inputs), made.network.visual(inputs), atol=1e-5)


def test_attention_gets_its_matrices_once(tmp_path: Path) -> None:
    made = tower(tmp_path)
    attention = made.network.visual.transformer.resblocks[0].attn
    before = {name: value.clone() for name, value in attention.state_dict().items()}
    tuning.apply(made, TuningConfig(method="lora", rank=4, alpha=8.0, sides=["image"], targets=["*.attn*"]))
    learn(made, steps=4)
    additions = attention.parametrizations["in_proj_weight"][0], attention.out_proj.parametrizations["weight"][0]
    expected = [2.0 * addition.b @ addition.a for addition in additions]
    tuning.merge(made)
    for name, change in zip(("in_proj_weight", "out_proj.weight"), expected, strict=True):
        assert change.abs().max() > 1e-4
        assert torch.allclose(attention.state_dict()[name] - before[name], change, atol=1e-6), name


def test_patterns_choose_what_is_tuned(tmp_path: Path) -> None:
    made = tower(tmp_path)
    chosen = TuningConfig(method="lora", rank=2, targets=["*.resblocks.1.mlp.*"], also=["*.ln_post.*"], sides=["image"])
    tuning.apply(made, chosen)
    trained = {name for name, p in made.named_parameters() if p.requires_grad}
    below = "network.visual.transformer.resblocks.1.mlp"
    matrices = {f"{below}.{layer}.parametrizations.weight.0.{part}" for layer in ("c_fc", "c_proj") for part in "ab"}
    assert trained == matrices | {"network.visual.ln_post.weight", "network.visual.ln_post.bias", "network.logit_scale"}


def test_a_locked_side_is_not_tuned(tmp_path: Path) -> None:
    made = tower(tmp_path)
    tuning.apply(made, TuningConfig(method="lora", lock="text"))
    assert made.trains("image")
    assert not made.trains("text")


def test_what_a_model_does_not_have_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="finds nothing"):
        tuning.apply(tower(tmp_path), TuningConfig(method="lora", targets=["*.nowhere"]))
    with pytest.raises(ConfigError, match="image transformer"):
        tuning.apply(tower(tmp_path), TuningConfig(method="prompt", sides=["text"]))


def test_mini_towers_are_tuned_too() -> None:
    pytest.importorskip("timm")
    pytest.importorskip("model2vec")
    from rsrag.train.towers.mini import MiniTower

    model = ModelConfig(architecture="resnet10t", instance_hidden=16, instance_dim=8, text_hidden=8)
    for method in ("lora", "bitfit", "probe"):
        torch.manual_seed(0)
        made = MiniTower(model)
        statistics = made.image.trunk.bn1.running_mean.clone()
        tuning.apply(made, TuningConfig(method=method, rank=2, alpha=2.0))
        losses = learn(made, steps=8, lr=2e-3)
        assert losses[-1] < losses[0], method
        if method != "bitfit":
            assert torch.equal(made.image.trunk.bn1.running_mean, statistics), method
        rows = made.prepare_texts(TEXTS)
        with torch.no_grad():
            unmerged = made(pixels(), rows)
            tuning.merge(made)
            assert (made(pixels(), rows).semantic - unmerged.semantic).abs().max() < 1e-5
    with pytest.raises(ConfigError, match="finds nothing"):
        tuning.apply(MiniTower(model), TuningConfig(method="adapter"))


OTHERS: dict[str, dict[str, Any]] = {
    "text tower of its own": {**ARCHITECTURE, "custom_text": True},
    "timm": {**ARCHITECTURE, "vision_cfg": {"timm_model_name": "resnet10t", "timm_proj": "linear", "image_size": 32}},
    "convolutions": {**ARCHITECTURE, "vision_cfg": {"layers": [1, 1, 1, 1], "width": 16, "image_size": 32}},
}


@pytest.mark.parametrize("method", ["lora", "probe"])
@pytest.mark.parametrize("name", OTHERS)
def test_other_architectures_of_open_clip(name: str, method: str, tmp_path: Path) -> None:
    pytest.importorskip("timm")
    path = tmp_path / "other.json"
    path.write_text(json.dumps(OTHERS[name]), encoding="utf-8")
    torch.manual_seed(0)
    made = OpenClipTower(ModelConfig(kind="open_clip", architecture=str(path)))
    tuning.apply(made, config(method))
    assert made.trains("image")
    assert made.trains("text")
    losses = learn(made, steps=12, lr=1e-3)
    assert losses[-1] < losses[0]
    rows = made.prepare_texts(TEXTS)
    with torch.no_grad():
        unmerged = made(pixels(), rows)
        tuning.merge(made)
        merged = made(pixels(), rows)
    assert (merged.semantic - unmerged.semantic).abs().max() < 1e-5
    assert (merged.words - unmerged.words).abs().max() < 1e-5


@pytest.mark.parametrize("method", ["lora", "prefix"])
def test_an_adapter_is_small_and_comes_back(method: str, toy_table: dict[str, Any], tmp_path: Path) -> None:
    made = tower(tmp_path)
    tuning.apply(made, config(method))
    learn(made, steps=3)
    table = clip_table(toy_table, tmp_path)
    path = adapters.save(made, parse_config(table | {"tuning": vars(config(method))}), tmp_path / "a.safetensors")
    assert path.stat().st_size < 0.05 * 4 * made.counts()["parameters"]
    back = tower(tmp_path)
    adapters.load(back, path)
    back.eval()
    rows = made.prepare_texts(TEXTS)
    with torch.no_grad():
        assert torch.equal(back(pixels(), rows).semantic, made(pixels(), rows).semantic)


def test_an_adapter_of_other_weights_is_refused(toy_table: dict[str, Any], tmp_path: Path) -> None:
    made = tower(tmp_path)
    tuning.apply(made, TuningConfig(method="bitfit"))
    table = clip_table(toy_table, tmp_path) | {"tuning": {"method": "bitfit"}}
    path = adapters.save(made, parse_config(table), tmp_path / "a.safetensors")
    other = tower(tmp_path)
    with torch.no_grad():
        other.network.visual.proj.mul_(2)
    with pytest.raises(BadModelFile, match="frozen"):
        adapters.load(other, path)
    path.write_bytes(b"junk")
    with pytest.raises(BadModelFile, match="no adapter"):
        adapters.load(tower(tmp_path), path)
