"""Settings: what is refused, and that importing the package needs no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rsrag.errors import ConfigError
from rsrag.train.config import load_config, parse_config

MINI = Path(__file__).parents[2] / "rsrag" / "train" / "configs" / "mini.toml"


def test_the_shipped_configuration_reads() -> None:
    config = load_config(MINI)
    assert config.name == "mini"
    assert [source.path for source in config.data.sources] == ["eurosat.zip", "ucm_captions.zip", "rsicd.zip"]
    assert all(source.split == "train" for source in config.data.sources)
    assert config.optim.size_at(0.99) >= config.optim.size_at(0.0) >= 32


@pytest.mark.parametrize("path", sorted(MINI.parent.glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_reads_and_trains_on_train_splits(path: Path) -> None:
    config = load_config(path)
    assert config.data.sources
    assert {source.split for source in config.data.sources} == {"train"}


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"optim": {"learning_rate": 1.0}}, "learning_rate"),
        ({"modle": {}}, "modle"),
        ({"data": {"sources": [{"path": "a", "kind": "folders", "klass": 1}]}}, "klass"),
        ({"data": {"sources": [{"path": "a", "kind": "tfrecord"}]}}, "tfrecord"),
        ({"data": {"sources": [{"path": "a"}]}}, "kind"),
        ({"optim": {"epochs": "ten"}}, "epochs"),
        ({"optim": {"epochs": True}}, "epochs"),
        ({"optim": {"epochs": 0}}, "epochs"),
        ({"optim": {"precision": "int4"}}, "int4"),
        ({"optim": {"views": 1}}, "instance"),
        ({"optim": {"views": 3}}, "views"),
        ({"optim": {"accumulate": 0}}, "accumulate"),
        ({"optim": {"accumulate": 9, "batch": 8}}, "accumulate"),
        ({"optim": {"threads": -1}}, "threads"),
        ({"optim": {"sizes": [[]]}}, "sizes"),
        ({"optim": {"sizes": [[0.0]]}}, "sizes"),
        ({"optim": {"sizes": [[0.0, 0]]}}, "sizes"),
        ({"optim": {"sizes": [[0.0, 64], [0.7, 96], [0.5, 80]]}}, "sizes"),
        ({"optim": {"clip": 0.0}}, "clip"),
        ({"optim": {"lr": float("nan")}}, "lr"),
        ({"optim": {"instance_temperature": 0}}, "instance_temperature"),
        ({"optim": {"ema": 1.5}}, "ema"),
        ({"optim": {"warmup": 2}}, "warmup"),
        ({"optim": {"lr": float("inf")}}, "lr"),
        ({"optim": {"weight_decay": -0.1}}, "weight_decay"),
        ({"optim": {"instance_weight": -1.0}}, "instance_weight"),
        ({"optim": {"class_weight": float("nan")}}, "class_weight"),
        ({"model": {"instance_dim": 0}}, "dimensions"),
        ({"model": {"drop_path": 1.0}}, "drop_path"),
        ({"model": {"kind": "open_clip", "architecture": "ViT-B-32", "image_size": -5}}, "image_size"),
        ({"tuning": {"method": "lora", "alpha": float("nan")}}, "alpha"),
        ({"seed": 2**63}, "seed"),
        ({"seed": -1}, "seed"),
        ({"data": {"mosaic": {"crops": -5}}}, "mosaic"),
        ({"data": {"mosaic": {"min_size": 0}}}, "mosaic"),
        ({"data": {"landscape": {"crops": -1}}}, "landscape"),
        ({"optim": {"loss": "triplet"}}, "triplet"),
        ({"model": {"kind": "open_clip"}}, "architecture"),
        ({"model": {"kind": "open_clip", "architecture": "ViT-B-32", "text_hidden": 3}}, "text_hidden"),
        ({"model": {"image_size": 128}}, "image_size"),
        ({"model": {"kind": "open_clip", "architecture": "a"}, "optim": {"sizes": [[0, 64]]}}, "sizes"),
        ({"tuning": {"method": "dora"}}, "dora"),
        ({"tuning": {"lock": "both"}}, "both"),
        ({"tuning": {"sides": ["image"]}}, "lock"),
        ({"tuning": {"rank": 0}}, "rank"),
    ],
)
def test_wrong_settings_are_refused_by_name(table: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        parse_config(table)


@pytest.mark.parametrize(
    ("table", "near"),
    [
        ({"optim": {"epoch": 3}}, "'epochs'"),
        ({"tuning": {"metod": "lora"}}, "'method'"),
        ({"model": {"kind": "openclip"}}, "'open_clip'"),
        ({"optim": {"xyzzy": 1}}, "known: epochs"),
    ],
)
def test_the_nearest_name_is_offered(table: dict, near: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(table)
    assert near in (caught.value.hint or "")


def test_settings_replace_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('name = "a"\n[[data.sources]]\npath = "x"\nkind = "folders"\n', encoding="utf-8")
    settings = [
        "optim.lr=1e-5",
        "data.sources.0.path=y.zip",
        "name='b = c'",
        'tuning.sides=["text"]',
        "tuning.method=lora",
    ]
    config = load_config(path, settings)
    assert (config.optim.lr, config.data.sources[0].path, config.name) == (1e-5, "y.zip", "b = c")
    assert (config.tuning.method, config.tuning.sides) == ("lora", ["text"])
    assert load_config(path).name == "a"


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("optim.lr", "no setting"),
        ("=1", "no setting"),
        ("optim.epoch=1", "'epochs'"),
        ("data.sources.1.path=a", "number"),
        ("data.sources.first.path=a", "number"),
        ("data.sources.².path=a", "number"),
        ("name.first=a", "no table"),
        ("name.first.second=a", "leads nowhere"),
    ],
)
def test_settings_that_lead_nowhere_are_refused(setting: str, named: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('name = "a"\n[[data.sources]]\npath = "x"\nkind = "folders"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=named):
        load_config(tmp_path / "a.toml", [setting])


def test_whole_numbers_count_as_real_ones() -> None:
    assert parse_config({"optim": {"lr": 1}}).optim.lr == 1.0


def test_broken_toml_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("a = [", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"x\.toml"):
        load_config(tmp_path / "x.toml")


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, rsrag.train; sys.exit(bool({'torch', 'cv2', 'timm'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=MINI.parents[3]).returncode == 0
