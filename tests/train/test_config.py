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
    assert config.optim.size_at(0.0) == 64
    assert config.optim.size_at(0.99) == 96


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
    ],
)
def test_wrong_settings_are_refused_by_name(table: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        parse_config(table)


def test_whole_numbers_count_as_real_ones() -> None:
    assert parse_config({"optim": {"lr": 1}}).optim.lr == 1.0


def test_broken_toml_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("a = [", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"x\.toml"):
        load_config(tmp_path / "x.toml")


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, rsrag.train; sys.exit(bool({'torch', 'cv2', 'timm'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=MINI.parents[3]).returncode == 0
