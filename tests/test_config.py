"""Settings: precedence, sources, and wrong values."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsrag.config import Settings, resolve, without_password
from rsrag.errors import ConfigError


def write(folder: Path, text: str) -> Path:
    (folder / "rsrag.toml").write_text(text, encoding="utf-8")
    return folder


def test_precedence_and_sources(tmp_path: Path) -> None:
    workspace = write(tmp_path, 'profile = "base"\nlimit = 3\ntile_size = 128\n')
    environ = {"RSRAG_LIMIT": "4", "RSRAG_TILE_SIZE": "64"}
    result = resolve(workspace, {"tile_size": 512, "alpha": None}, environ)
    assert (result.settings.profile, result.settings.limit, result.settings.tile_size) == ("base", 4, 512)
    sources = {name: source for name, _, source, _ in result.rows()}
    assert sources["profile"] == "file"
    assert sources["limit"] == "environment"
    assert sources["tile_size"] == "argument"
    assert sources["alpha"] == "default"


def test_secrets_are_masked() -> None:
    rows = resolve(None, {}, {"RSRAG_INDEX_API_KEY": "hush"}).rows()
    assert "hush" not in str(rows)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://rsrag:h@/ush@db.example:5432/x", "postgresql://rsrag:•••@db.example:5432/x"),
        ("postgresql://db.example/x?user=rsrag&password=hush", "postgresql://db.example/x?user=rsrag&password=•••"),
        ("postgresql://rsrag@db.example:5432/x", "postgresql://rsrag@db.example:5432/x"),
        ("sqlite:////data/a.sqlite", "sqlite:////data/a.sqlite"),
    ],
)
def test_passwords_in_addresses_are_masked(url: str, shown: str) -> None:
    values = {name: value for name, value, _, _ in resolve(None, {"catalog": url}, {}).rows()}
    assert values["catalog"] == without_password(url) == shown


def test_every_setting_says_what_it_means() -> None:
    assert all(about for _, _, _, about in resolve(None, {}, {}).rows())
    assert resolve(None, {}, {}).settings == Settings()


@pytest.mark.parametrize(
    "text",
    [
        "colour = 1",
        'limit = "many"',
        "limit = 2.5",
        "limit = 0",
        'fusion = "magic"',
        "offline = 3",
        "limit = true",
        "limit = inf",
        "endpoint_timeout = nan",
        "endpoint_timeout = 0",
        "index_shards = -3",
        "index_replicas = -1",
        'index = "localhost:6333"',
        'index_prefix = "a/b"',
        "=",
    ],
)
def test_wrong_values_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        resolve(write(tmp_path, text), {}, {})


def test_environment_values_are_converted() -> None:
    settings = resolve(None, {}, {"RSRAG_OFFLINE": "false", "RSRAG_ALPHA": "0.25"}).settings
    assert settings.offline is False
    assert settings.alpha == 0.25


def test_a_secret_of_the_wrong_type_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        resolve(write(tmp_path, "index_api_key = 31415926"), {}, {})
    assert "index_api_key" in str(refused.value) and "31415926" not in str(refused.value)
