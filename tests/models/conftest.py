"""Tiny checkpoints for the loaders, built once a session, and a guard that no socket is opened."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import checkpoints
import numpy as np
import pytest

from rsrag.models import weights


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of the same weights in the three published layouts, and their architecture's JSON file."""
    pytest.importorskip("torch")
    pytest.importorskip("open_clip")
    folder = tmp_path_factory.mktemp("published")
    return {
        "georsclip": checkpoints.georsclip(folder / "RS5M_ViT-B-32.pt"),
        "remoteclip": checkpoints.remoteclip(folder / "RemoteCLIP-ViT-B-32.pt"),
        "skyclip": checkpoints.skyclip(folder / "epoch_20.pt"),
        "architecture": checkpoints.clip_architecture(folder / "tiny.json"),
    }


@pytest.fixture(scope="session")
def tiny_clip(published: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Converted weights of the tiny CLIP."""
    target = tmp_path_factory.mktemp("converted") / "tiny.safetensors"
    return weights.convert(published["skyclip"], target, str(published["architecture"])).path


@pytest.fixture(scope="session")
def sentence_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny sentence-transformers directory."""
    pytest.importorskip("sentence_transformers")
    return checkpoints.sentence_transformer(tmp_path_factory.mktemp("sentence"))


@pytest.fixture(scope="session")
def cross_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny cross-encoder directory."""
    pytest.importorskip("sentence_transformers")
    return checkpoints.cross_encoder(tmp_path_factory.mktemp("cross"))


@pytest.fixture(scope="session", params=["2.5", "3"])
def qwen_dir(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen2.5-VL and a tiny Qwen3-VL."""
    pytest.importorskip("torchvision")
    pytest.importorskip("transformers")
    return checkpoints.qwen_vl(tmp_path_factory.mktemp("qwen"), request.param)


@pytest.fixture
def pictures() -> list[np.ndarray[Any, Any]]:
    """RGB pictures of different sizes."""
    rng = np.random.default_rng(7)
    shapes = [(40, 60, 3), (90, 33, 3), (32, 32, 3), (8, 8, 3)]
    return [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]


@pytest.fixture
def no_socket(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever opens a socket or resolves a name fails the test, even when the exception is swallowed."""
    opened: list[str] = []

    def refuse(*args: object, **kwargs: object) -> NoReturn:
        opened.append(repr(args))
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    assert opened == []


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data directory and hub cache."""
    pytest.importorskip("huggingface_hub")
    from huggingface_hub import constants

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path
