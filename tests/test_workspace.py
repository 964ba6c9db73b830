"""Workspaces: made once, never over something else, and their settings are read back as they were given."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsrag import workspace
from rsrag.config import FILE_NAME, resolve
from rsrag.errors import ConfigError, UsageError, WorkspaceError, WorkspaceNotFound


def test_making_a_workspace_twice_keeps_its_settings(tmp_path: Path) -> None:
    first = workspace.create(tmp_path / "new" / "archive", {"tile_size": 64, "overlap": 0.25, "profile": None})
    written = (first.path / FILE_NAME).read_text(encoding="utf-8")
    again = workspace.create(first.path, {"tile_size": 512})
    assert (first.path / FILE_NAME).read_text(encoding="utf-8") == written
    assert (again.resolved.settings.tile_size, again.resolved.settings.overlap) == (64, 0.25)
    assert again.resolved.sources["tile_size"] == "file"
    assert again.resolved.sources["profile"] == "default"


def test_without_settings_the_file_is_readable_and_empty(tmp_path: Path) -> None:
    made = workspace.create(tmp_path / "archive")
    assert set(made.resolved.sources.values()) == {"default"}
    assert made.resolved.path == made.path / FILE_NAME


def test_an_empty_folder_becomes_a_workspace(tmp_path: Path) -> None:
    assert workspace.create(tmp_path).path == tmp_path
    assert workspace.locate_workspace(tmp_path, {"limit": 3}).resolved.settings.limit == 3


def test_folders_with_something_else_are_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"a photo")
    with pytest.raises(UsageError, match="not empty"):
        workspace.create(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["photo.jpg"]
    with pytest.raises(UsageError, match="is a file"):
        workspace.create(tmp_path / "photo.jpg")
    with pytest.raises(UsageError, match="cannot make"):
        workspace.create(tmp_path / "photo.jpg" / "archive")
    assert (tmp_path / "photo.jpg").read_bytes() == b"a photo"


@pytest.mark.parametrize("settings", [{"tile_size": 3}, {"colour": "red"}, {"fusion": "max"}, {"limit": "many"}])
def test_wrong_settings_make_no_workspace(settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        workspace.create(tmp_path / "archive", settings)
    assert not (tmp_path / "archive").exists()


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceNotFound, match="rsrag init"):
        workspace.locate_workspace(tmp_path)


def test_catalogue_and_index_lie_inside_unless_set(tmp_path: Path) -> None:
    inside = workspace.create(tmp_path / "one")
    assert inside.catalog == inside.path / "catalog.sqlite"
    assert inside.index == inside.path / "index"
    outside = workspace.create(tmp_path / "two", {"catalog": "postgresql://db/x", "index": "http://localhost:6333"})
    assert (outside.catalog, outside.index) == ("postgresql://db/x", "http://localhost:6333")


def test_relative_paths_mean_the_same_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    for name, settings in {
        "files": {"profile": "mine.toml", "catalog": "c.sqlite", "index": "points"},
        "url": {"profile": "base", "catalog": "sqlite:///c.sqlite?timeout=3", "index": "http://localhost:6333"},
        "memory": {"catalog": "sqlite:///:memory:"},
    }.items():
        workspace.create(Path(name), settings)
    monkeypatch.chdir(tmp_path / "elsewhere")
    files, url, memory = (resolve(tmp_path / name, environ={}).settings for name in ("files", "url", "memory"))
    inside = (str(tmp_path / name) for name in ("mine.toml", "c.sqlite", "points"))
    assert (files.profile, files.catalog, files.index) == tuple(inside)
    assert (url.profile, url.index) == ("base", "http://localhost:6333")
    assert url.catalog == f"sqlite:///{tmp_path / 'c.sqlite'}?timeout=3"
    assert memory.catalog == "sqlite:///:memory:"


def test_relative_paths_written_into_the_settings_count_from_their_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "archive").mkdir()
    file = tmp_path / "archive" / "rsrag.toml"
    file.write_text('profile = "mine.toml"\ncatalog = "sqlite:///../c.sqlite"\nindex = "points"\n')
    monkeypatch.chdir(tmp_path)
    settings = workspace.locate_workspace(Path("archive")).resolved.settings
    assert settings.profile == str(tmp_path / "archive" / "mine.toml")
    assert settings.catalog == f"sqlite:///{tmp_path / 'archive' / '..' / 'c.sqlite'}"
    assert settings.index == str(tmp_path / "archive" / "points")
    named = workspace.locate_workspace(Path("archive"), {"index": "points"}).resolved.settings
    assert named.index == "points"  # of the working directory
    file.write_text('profile = "base"\ncatalog = "postgresql://db/x"\nindex = "http://localhost:6333"\n')
    settings = workspace.locate_workspace(Path("archive")).resolved.settings
    assert (settings.profile, settings.catalog) == ("base", "postgresql://db/x")
    assert settings.index == "http://localhost:6333"


def test_paths_that_the_system_refuses(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot make"):
        workspace.create(tmp_path / ("a" * 300))
    with pytest.raises(WorkspaceError, match="cannot open the workspace"):
        workspace.locate_workspace(tmp_path / ("a" * 300))


def test_a_full_disk_leaves_no_half_written_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *_: Any, **__: Any) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(UsageError, match="No space left"):
        workspace.create(tmp_path / "archive", {"limit": 3})
    assert list((tmp_path / "archive").iterdir()) == []


@given(
    text=st.text(st.characters(exclude_categories=["Cs"])),
    tile_size=st.integers(32, 4096),
    overlap=st.floats(0, 0.75),
    offline=st.booleans(),
)
def test_settings_come_back_as_they_were_given(
    tmp_path_factory: pytest.TempPathFactory, text: str, tile_size: int, overlap: float, offline: bool
) -> None:
    folder = tmp_path_factory.mktemp("workspace")
    given = {"endpoint_model": text, "tile_size": tile_size, "overlap": overlap, "offline": offline}
    workspace.create(folder / "archive", given)
    settings = resolve(folder / "archive", environ={}).settings
    assert {name: getattr(settings, name) for name in given} == given
