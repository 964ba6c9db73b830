"""The registry on the base install: rows, profiles, what is available, what may be fetched."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
from hub_server import COMMIT, HubServer

from rsrag.config import Settings
from rsrag.errors import ConfigError, MissingExtra, ModelError
from rsrag.models import registry
from rsrag.models.base import ModelRow

OPEN_CLIP = [row for row in registry.MODELS if row.backend == "open_clip"]


def test_rows_are_frozen_complete_and_named_once() -> None:
    names = [row.name for row in registry.MODELS]
    assert len(names) == len(set(names))
    for row in registry.MODELS:
        assert row.licence != "unknown"
        assert row.backend in registry._BACKENDS
        assert (row.dim > 0) == (row.kind in ("image", "text"))
        assert (row.input_size > 0) == (row.kind == "image")
    with pytest.raises(FrozenInstanceError):
        registry.MODELS[0].name = "other"  # type: ignore[misc]


def test_every_hub_id_is_pinned_to_a_commit() -> None:
    on_hub = [
        row for row in registry.MODELS if re.fullmatch(r"[\w.-]+/[\w.-]+", row.source) and "weights" not in row.source
    ]
    assert len(on_hub) >= 8
    assert all(re.fullmatch(r"[0-9a-f]{40}", row.revision or "") for row in on_hub)
    digests = [row.options["sha256"] for row in registry.MODELS if "sha256" in row.options]
    assert digests
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in digests)


@pytest.mark.parametrize("row", OPEN_CLIP, ids=lambda row: row.name)
def test_open_clip_rows_agree_with_open_clip(row: ModelRow) -> None:
    pytest.importorskip("open_clip")
    from rsrag.models import architectures

    config = architectures.read_config(row.options["architecture"])
    assert config["embed_dim"] == row.dim
    assert config["vision_cfg"]["image_size"] == row.input_size
    # Weights that continue OpenAI's run with QuickGELU, those that continue LAION's with the exact GELU.
    from_openai = row.name in ("georsclip-vit-b-32", "remoteclip-vit-b-32", "remoteclip-vit-l-14")
    assert config.get("quick_gelu", False) is from_openai


@pytest.mark.parametrize("name", registry.PROFILES)
def test_profiles_name_models_of_the_right_kind(name: str) -> None:
    rows = registry.rows_of(Settings(profile=name))
    assert {role: row.kind for role, row in rows.items()} == {role: role for role in rows}
    assert {"image", "text", "reader"} <= set(rows)


def test_the_default_profile_loads_without_the_large_libraries() -> None:
    code = (
        "import sys; from rsrag.config import Settings; from rsrag.models.registry import load_profile\n"
        "p = load_profile(Settings()); print(p.image.fingerprint, p.text.fingerprint)\n"
        "print([m for m in ('torch', 'transformers', 'open_clip', 'langchain_openai') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = done.stdout.strip().splitlines()
    assert first.startswith("mini-image:")
    assert second == "[]"


def test_a_profile_file_mixes_known_and_own_models(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'text = "mini-text"\n'
        'reranker = "mini-ranker"\n'
        '[image]\nbackend = "open_clip"\nsource = "/models/own.safetensors"\ndim = 512\ninput_size = 224\n'
        'options = { architecture = "ViT-B-32" }\n'
        '[reader]\nbackend = "transformers_vlm"\nname = "mine"\nsource = "org/model"\nrevision = "abc"\n'
    )
    rows = registry.rows_of(Settings(profile=str(path)))
    assert rows["text"] == registry.find("mini-text")
    assert rows["image"].name == "/models/own.safetensors"
    assert rows["image"].kind == "image"
    assert rows["image"].options == {"architecture": "ViT-B-32"}
    assert (rows["reader"].name, rows["reader"].revision) == ("mine", "abc")
    assert rows["image"].bands == ("red", "green", "blue")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('image = "mini-image"', "must name image and text"),
        ('image = "mini-image"\ntext = "mini-text"\neye = "x"', "roles: image, text, reranker, reader"),
        ('image = "mini-text"\ntext = "mini-text"', "mini-text is a model for text, not for image"),
        ('image = "mini-image"\n[text]\nsize = 3', "unexpected keyword argument 'size'"),
        ('image = "mini-image"\ntext = 3', "profile .*, text"),
        ('image = "mini-image"\n[text]\nbackend = "mini_text"\nsource = 5', "text: source must be a text"),
        ('text = "mini-text"\n[image]\nbackend = ["a"]\nsource = "x"', "image: backend must be a text"),
        ('text = "mini-text"\n[image]\nbackend = "open_clip"\nsource = "x"\noptions = "a"', "options must be a table"),
        ('text = "mini-text"\n[image]\nbackend = "open_clip"\nsource = "x"\ndim = "a"', "dim must be a whole number"),
        ('text = "mini-text"\n[image]\nbackend = "open_clip"\nsource = "x"\ndim = -4', "dim must be a whole number"),
        ('text = "mini-text"\n[image]\nbackend = "open_clip"\nsource = "x"\ndim = true', "dim must be a whole number"),
        (
            'text = "mini-text"\n[image]\nbackend = "open_clip"\nsource = "x"\noptions = { file = ["a"] }',
            "image: option file must be a text",
        ),
        ('image = "mini-image"\n[text]\nbackend = "open_clip"\nsource = "x"', "open_clip is for image, not for text"),
        ("image = ", "cannot read profile"),
    ],
)
def test_bad_profile_files(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=reason):
        registry.rows_of(Settings(profile=str(path)))


def test_numbers_among_the_options_of_a_profile_may_stand_without_quotes(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'image = "mini-image"\ntext = "mini-text"\n[reader]\nbackend = "transformers_vlm"\nsource = "x"\n'
        'options = { boxes = "absolute pixels", multiple = 28 }\n'
    )
    row = registry.rows_of(Settings(profile=str(path)))["reader"]
    assert row.options == {"boxes": "absolute pixels", "multiple": "28"}


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="known models: mini-image"):
        registry.find("gpt")
    with pytest.raises(ConfigError, match="one of mini, base, large"):
        registry.rows_of(Settings(profile="huge"))
    with pytest.raises(ConfigError, match="unknown backend 'pickle'"):
        registry.load(ModelRow("x", "image", "pickle", "y"), Settings())
    with pytest.raises(ConfigError, match="cannot read profile"):
        registry.rows_of(Settings(profile=str(tmp_path / "none.toml")))


def test_the_setting_reader_replaces_the_profile_s() -> None:
    assert registry.rows_of(Settings(reader="endpoint"))["reader"].backend == "endpoint"
    own = registry.rows_of(Settings(reader="org/vlm@abc"))["reader"]
    assert (own.backend, own.source) == ("transformers_vlm", "org/vlm@abc")


def test_what_is_available_is_told_without_loading(
    home: Path, no_socket: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings()
    assert registry.available(registry.find("mini-image"), settings) == (True, "part of rsrag")
    monkeypatch.setattr(registry, "find_spec", lambda name: object())
    here, why = registry.available(registry.find("georsclip-vit-b-32"), settings)
    assert (here, "rsrag models convert FILE --model georsclip-vit-b-32" in why) == (False, True)
    here, why = registry.available(registry.find("skyclip-vit-b-32"), settings)
    assert (here, "SkyCLIP_ViT_B32_top50pct.zip" in why) == (False, True)
    weights = home / "data" / "rsrag" / "models" / "georsclip-vit-b-32.safetensors"
    weights.parent.mkdir(parents=True)
    weights.touch()
    assert registry.available(registry.find("georsclip-vit-b-32"), settings) == (True, str(weights))
    endpoint = registry.find("endpoint")
    assert not registry.available(endpoint, settings)[0]
    served = replace(settings, endpoint_url="http://localhost:1/v1", endpoint_model="m")
    assert registry.available(endpoint, served) == (True, "m at http://localhost:1/v1")


def test_missing_packages_are_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    why = registry.available(registry.find("all-minilm-l6-v2"), Settings())[1]
    assert why == "needs torch, sentence_transformers: pip install 'rsrag[models]'"
    with pytest.raises(MissingExtra, match="conversion of weights"):
        registry.pull("georsclip-vit-b-32", Settings(offline=False))
    assert "rsrag[endpoint]" in registry.available(registry.find("endpoint"), Settings())[1]


@pytest.mark.parametrize(
    ("backend", "package"),
    [("open_clip", "open_clip"), ("sentence_transformers", "sentence_transformers"), ("endpoint", "langchain_openai")],
)
def test_without_the_extra_loading_says_which_one(
    backend: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "model.safetensors").touch()
    settings = Settings(endpoint_url="http://localhost:1/v1", endpoint_model="m")
    options = {"architecture": "ViT-B-32"}
    model = registry.load(ModelRow("x", "image", backend, str(tmp_path), dim=4, options=options), settings)
    uses: dict[str, Any] = {
        "open_clip": lambda: model.encode_words(["x"]),
        "sentence_transformers": lambda: model.encode_passages(["x"]),
        "endpoint": lambda: model.read(None),
    }
    with pytest.raises(MissingExtra, match=r"pip install 'rsrag\[(models|endpoint)\]'"):
        uses[backend]()


def test_offline_nothing_is_pulled(home: Path, no_socket: None) -> None:
    with pytest.raises(ModelError, match="offline: Qwen/Qwen3-VL-4B-Instruct is not fetched"):
        registry.pull("qwen3-vl-4b", Settings())


def test_what_cannot_be_pulled(home: Path, no_socket: None) -> None:
    online = Settings(offline=False)
    for name in ("mini-text", "extractive", "endpoint"):
        with pytest.raises(ModelError, match="no weights to fetch"):
            registry.pull(name, online)
    with pytest.raises(ModelError, match=r"download https://.*\.zip, then rsrag models convert"):
        registry.pull("skyclip-vit-b-32", online)
    with pytest.raises(ModelError, match="no revision of org/model is pinned"):
        registry.pull("org/model", online)
    with pytest.raises(ModelError, match="unknown model 'gpt'"):
        registry.pull("gpt", online)
    with pytest.raises(ModelError, match="needs no conversion"):
        registry.install("qwen3-vl-4b", Path("x.pt"))


def run_pull(hub: HubServer, home: Path, name: str) -> dict[str, str]:
    """``pull`` in a process of its own, because the hub's client reads its environment when it is imported."""
    code = (
        "import json, sys; from rsrag.config import Settings; from rsrag.errors import RsragError\n"
        "from rsrag.models import registry\n"
        "try: print(json.dumps({'path': str(registry.pull(sys.argv[1], Settings(offline=False)))}))\n"
        "except RsragError as error: print(json.dumps({'error': str(error), 'code': error.code}))"
    )
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(home / "hf"),
        "XDG_DATA_HOME": str(home / "data"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "*",
    }
    done = subprocess.run(
        [sys.executable, "-c", code, name], env=environment, capture_output=True, text=True, check=True
    )
    found: dict[str, str] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def test_pull_fetches_safetensors_and_settings_only(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    files = {"model.safetensors": b"weights", "config.json": b"{}", "pytorch_model.bin": b"pickle", "evil.py": b"code"}
    with HubServer("org/model", files) as hub:
        found = run_pull(hub, tmp_path, f"org/model@{COMMIT}")
    path = Path(found["path"])
    assert path.name == COMMIT
    assert sorted(p.name for p in path.iterdir()) == ["config.json", "model.safetensors"]
    assert (path / "model.safetensors").read_bytes() == b"weights"
    assert not any(name in asked for asked in hub.paths for name in ("pytorch_model.bin", "evil.py"))


def test_pull_of_a_repository_without_safetensors_or_at_an_unknown_commit(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    with HubServer("org/model", {"pytorch_model.bin": b"pickle", "config.json": b"{}"}) as hub:
        assert "holds no .safetensors files" in run_pull(hub, tmp_path, f"org/model@{COMMIT}")["error"]
        lost = run_pull(hub, tmp_path, "other/model@main")
    assert lost["code"] == "ModelError"
    assert "cannot fetch other/model at main" in lost["error"]


def test_pull_checks_the_digest_of_a_published_pickle_before_it_is_read(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    pytest.importorskip("torch")
    row = registry.find("georsclip-vit-b-32")
    with HubServer(row.source, {"ckpt/RS5M_ViT-B-32.pt": b"something else"}) as hub:
        hub.commit = str(row.revision)
        found = run_pull(hub, tmp_path, row.name)
    assert found["code"] == "BadModelFile"
    assert "has sha256" in found["error"]


def test_install_converts_to_where_the_model_is_looked_for(
    published: dict[str, Path], home: Path, monkeypatch: pytest.MonkeyPatch, no_socket: None
) -> None:
    options = {"architecture": str(published["architecture"]), "file": "x.pt"}
    row = ModelRow("tiny", "image", "open_clip", "org/tiny", dim=32, input_size=32, licence="none", options=options)
    monkeypatch.setattr(registry, "MODELS", (*registry.MODELS, row))
    assert not registry.available(row, Settings())[0]
    done = registry.install("tiny", published["georsclip"])
    assert registry.available(row, Settings()) == (True, str(done.path))
    assert registry.load(row, Settings()).encode_words(["a lake"]).shape == (1, 32)
