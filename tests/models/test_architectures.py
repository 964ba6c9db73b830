"""Architectures from names and files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rsrag.errors import BadModelFile, ModelError
from rsrag.models import architectures

TINY = {"embed_dim": 8, "vision_cfg": {"image_size": 32}, "text_cfg": {"context_length": 16}}


def test_a_file_is_judged_by_what_it_says_not_by_where_it_lies(tmp_path: Path) -> None:
    folder = tmp_path / "siglip-runs"
    folder.mkdir()
    path = folder / "architecture.json"
    path.write_text(json.dumps(TINY), encoding="utf-8")
    assert architectures.read_config(str(path)) == TINY


def test_how_pictures_are_prepared_is_read_where_it_is_not_as_for_clip(tmp_path: Path) -> None:
    path = tmp_path / "open_clip_config.json"

    def read(**own: object) -> architectures.Config:
        path.write_text(json.dumps({"model_cfg": TINY, "preprocess_cfg": own}), encoding="utf-8")
        return architectures.read_config(str(path))

    usual = read(
        mean=list(architectures.MEAN), std=list(architectures.STD), resize_mode="shortest", size=32, mode="RGB"
    )
    assert usual == TINY  # and its label stays what it was
    assert architectures.pictures(usual) == architectures.Pictures()
    other = read(mean=0.5, std=[0.5, 0.25, 0.5], interpolation="bilinear", resize_mode="squash")
    assert architectures.pictures(other) == architectures.Pictures(
        (0.5,) * 3, (0.5, 0.25, 0.5), "squash", bilinear=True
    )
    assert architectures.label(str(path), other) != architectures.label(str(path), usual)
    with pytest.raises(ModelError, match="longest"):
        read(resize_mode="longest")
    for wrong in ({"mean": [0.5, 0.5]}, {"std": "0.5"}, {"std": 0}, {"interpolation": "nearest"}):
        with pytest.raises(BadModelFile, match="architecture"):
            read(**wrong)


def test_a_text_tower_from_the_hub_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "architecture.json"
    path.write_text(json.dumps({**TINY, "text_cfg": {"hf_model_name": "owner/name"}}), encoding="utf-8")
    with pytest.raises(ModelError, match="hub"):
        architectures.read_config(str(path))


def test_a_named_architecture_with_the_hub_s_tokenizer_is_refused() -> None:
    pytest.importorskip("open_clip")
    with pytest.raises(ModelError, match="hub"):
        architectures.read_config("ViT-B-16-SigLIP")
