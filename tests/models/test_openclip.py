"""open_clip encoders: loading, preprocessing, vectors, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest

from rsrag.config import Settings
from rsrag.errors import BadModelFile, ConfigError, ModelError
from rsrag.models import devices, weights
from rsrag.models.base import ImageEncoder, ModelRow
from rsrag.models.openclip import OpenClipEncoder

Pictures = list[np.ndarray[Any, Any]]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing measured before reaches a test."""
    pytest.importorskip("open_clip")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def encoder(
    source: Path, dim: int = 0, input_size: int = 0, runtime: str = "torch-f32", **options: str
) -> OpenClipEncoder:
    """An encoder with exact numbers on every processor."""
    row = ModelRow("tiny", "image", "open_clip", str(source), dim=dim, input_size=input_size, options=options)
    return OpenClipEncoder(row, Settings(device="cpu", runtime=runtime))


def test_vectors_are_those_of_open_clip_itself(tiny_clip: Path, pictures: Pictures, no_socket: None) -> None:
    import open_clip
    import torch
    from PIL import Image

    tiny = encoder(tiny_clip)
    assert isinstance(tiny, ImageEncoder)
    assert (tiny.dim, tiny.input_size) == (32, 32)
    network = checkpoints.clip_network()
    transform = open_clip.image_transform(32, is_train=False)
    with torch.no_grad():
        batch = torch.stack([transform(Image.fromarray(p)) for p in pictures])
        expected = network.encode_image(batch, normalize=True).numpy()
        words = network.encode_text(open_clip.tokenize(["a lake", "salt dunes"]), normalize=True).numpy()
    found = tiny.encode_images(pictures)
    assert found.dtype == np.float32
    assert np.allclose(found, expected, atol=1e-5)
    assert np.allclose(tiny.encode_words(["a lake", "salt dunes"]), words, atol=1e-5)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_pictures_are_prepared_as_the_file_beside_the_weights_says(
    tiny_clip: Path, pictures: Pictures, tmp_path: Path
) -> None:
    import json
    import shutil

    import open_clip
    import torch
    from PIL import Image

    file = weights.one_weights_file(tiny_clip, None)
    note = weights.read_side_car(file)
    assert note is not None
    shutil.copyfile(file, tmp_path / "open_clip_model.safetensors")
    own = {"mean": [0.5, 0.4, 0.3], "std": 0.5, "interpolation": "bilinear", "resize_mode": "squash"}
    said = {"model_cfg": note["config"], "preprocess_cfg": own}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(said), encoding="utf-8")
    tiny, plain = encoder(tmp_path), encoder(tiny_clip)
    cfg = open_clip.transform.PreprocessCfg(
        size=32, mean=(0.5, 0.4, 0.3), std=(0.5,) * 3, **dict(list(own.items())[2:])
    )
    transform = open_clip.transform.image_transform_v2(cfg, is_train=False)
    with torch.no_grad():
        batch = torch.stack([transform(Image.fromarray(p)) for p in pictures])
        expected = checkpoints.clip_network().encode_image(batch, normalize=True).numpy()
    assert np.allclose(tiny.encode_images(pictures), expected, atol=1e-5)
    assert not np.allclose(plain.encode_images(pictures), expected, atol=1e-3)
    assert tiny.fingerprint != plain.fingerprint
    assert encoder(tmp_path, resize="crop").pictures.way == "crop"


def test_weights_without_an_architecture_say_what_to_do(tiny_clip: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copyfile(weights.one_weights_file(tiny_clip, None), tmp_path / "model.safetensors")
    with pytest.raises(BadModelFile) as refused:
        _ = encoder(tmp_path).dim
    assert "open_clip_config.json" in str(refused.value.hint)


def test_batches_do_not_change_vectors(tiny_clip: Path, pictures: Pictures) -> None:
    tiny = encoder(tiny_clip)
    many = tiny.encode_images(pictures * 12)
    assert many.shape == (48, 32)
    assert np.allclose(many[:4], many[-4:], atol=1e-5)
    assert tiny.encode_images([]).shape == (0, 32)
    assert tiny.encode_words([]).shape == (0, 32)


def test_crop_and_squash_differ_and_have_their_own_fingerprint(tiny_clip: Path, pictures: Pictures) -> None:
    crop, squash = encoder(tiny_clip), encoder(tiny_clip, resize="squash")
    assert crop.prepare(pictures[0]).shape == squash.prepare(pictures[0]).shape == (32, 32, 3)
    assert crop.fingerprint != squash.fingerprint
    edge = np.zeros((32, 96, 3), dtype=np.uint8)
    edge[:, :20] = 255
    assert crop.prepare(edge).max() == 0
    assert squash.prepare(edge).max() == 255


def test_bfloat16_gives_nearly_the_same_vectors(
    tiny_clip: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact, exact_words = encoder(tiny_clip).encode_images(pictures), encoder(tiny_clip).encode_words(["lake"])
    monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: True)
    tiny = encoder(tiny_clip, runtime="torch-bf16")
    rough = tiny.encode_images(pictures)
    assert rough.dtype == np.float32
    assert not np.array_equal(rough, exact)
    assert (np.sum(rough * exact, axis=1) > 0.999).all()
    assert np.sum(tiny.encode_words(["lake"]) * exact_words) > 0.999


def test_quick_gelu_matters_and_is_guarded(tiny_clip: Path, pictures: Pictures, tmp_path: Path) -> None:
    """The keys are the same with either activation; only the note of the conversion can tell them apart."""
    wrong = checkpoints.clip_architecture(tmp_path / "gelu.json", quick_gelu=False)
    with pytest.raises(BadModelFile, match="was converted for tiny-"):
        encoder(tiny_clip, architecture=str(wrong)).encode_images(pictures)
    bare = tmp_path / "bare.safetensors"
    bare.write_bytes(tiny_clip.read_bytes())
    silently = encoder(bare, architecture=str(wrong)).encode_images(pictures)
    assert not np.allclose(silently, encoder(tiny_clip).encode_images(pictures), atol=1e-3)


def test_fingerprint_names_architecture_and_weights(
    tiny_clip: Path, tmp_path: Path, published: dict[str, Path]
) -> None:
    tiny = encoder(tiny_clip)
    assert weights.file_digest(tiny_clip)[:16] in tiny.fingerprint
    assert encoder(tiny_clip, architecture=str(published["architecture"])).fingerprint == tiny.fingerprint
    half = weights.convert(published["remoteclip"], tmp_path / "h.safetensors", str(published["architecture"]))
    assert encoder(half.path).fingerprint != tiny.fingerprint


def test_missing_keys_are_refused(tiny_clip: Path, published: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(tiny_clip)
    del tensors["visual.proj"], tensors["logit_scale"]
    save_file(tensors, tmp_path / "part.safetensors")
    with pytest.raises(BadModelFile, match=r"1 missing: visual\.proj"):
        encoder(tmp_path / "part.safetensors", architecture=str(published["architecture"])).encode_words(["x"])


def test_damaged_file_wrong_dim_and_unknown_architecture(
    tiny_clip: Path, published: dict[str, Path], tmp_path: Path
) -> None:
    architecture = str(published["architecture"])
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(tiny_clip.read_bytes()[:5000])
    with pytest.raises(BadModelFile, match="cannot read"):
        encoder(damaged, architecture=architecture).encode_words(["x"])
    with pytest.raises(BadModelFile, match="gives 32 dimensions, not 512"):
        encoder(tiny_clip, dim=512).encode_words(["x"])
    with pytest.raises(ModelError, match="knows no architecture 'ViT-Z-1'"):
        encoder(tiny_clip, architecture="ViT-Z-1").encode_words(["x"])
    with pytest.raises(BadModelFile, match="nothing says which architecture"):
        bare = tmp_path / "bare.safetensors"
        bare.write_bytes(tiny_clip.read_bytes())
        encoder(bare).encode_words(["x"])
    with pytest.raises(ConfigError, match="resize is 'pad'"):
        encoder(tiny_clip, resize="pad")


def test_pickles_and_text_towers_from_the_hub_are_refused(published: dict[str, Path], tiny_clip: Path) -> None:
    with pytest.raises(BadModelFile, match="pickled checkpoint"):
        encoder(published["georsclip"])
    with pytest.raises(ModelError, match="from the hub"):
        encoder(tiny_clip, architecture="roberta-ViT-B-32").encode_words(["x"])


def test_devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import torch

    monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: False)
    assert devices.choose(Settings(device="cpu")) == (torch.device("cpu"), torch.float32)
    with pytest.raises(ConfigError, match="'toaster'"):
        devices.choose(Settings(device="toaster"))
    with pytest.raises(ModelError, match="no device 'cuda:99'"):
        devices.choose(Settings(device="cuda:99"))
    monkeypatch.undo()
    (tmp_path / "cpuinfo").write_text("processor : 0\nflags\t\t: fpu avx2 avx512_bf16\n")
    assert devices.cpu_has_bfloat16(tmp_path / "cpuinfo")
    (tmp_path / "old").write_text("flags : fpu avx2\n")
    assert not devices.cpu_has_bfloat16(tmp_path / "old")
    assert not devices.cpu_has_bfloat16(tmp_path / "none")


def test_damaged_weights_give_no_vectors(
    tiny_clip: Path, published: dict[str, Path], pictures: Pictures, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    tensors = {name: torch.full_like(tensor, torch.nan) for name, tensor in load_file(tiny_clip).items()}
    save_file(tensors, tmp_path / "broken.safetensors")
    broken = encoder(tmp_path / "broken.safetensors", architecture=str(published["architecture"]))
    with pytest.raises(ModelError, match="weights may be damaged"):
        broken.encode_images(pictures)
    with pytest.raises(ModelError, match="weights may be damaged"):
        broken.encode_words(["a lake"])


def test_an_input_size_that_the_network_does_not_take_is_refused(tiny_clip: Path, pictures: Pictures) -> None:
    with pytest.raises(BadModelFile, match="takes pictures of 32 pixels, not 64"):
        encoder(tiny_clip, input_size=64).encode_images(pictures)


def test_weights_in_the_layout_of_transformers_are_named(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    folder = tmp_path / "clip"
    folder.mkdir()
    save_file({"vision_model.post_layernorm.weight": torch.zeros(3)}, folder / "model.safetensors")
    architecture = checkpoints.clip_architecture(tmp_path / "tiny.json")
    with pytest.raises(BadModelFile, match="layout of transformers"):
        encoder(folder, architecture=str(architecture)).network()
