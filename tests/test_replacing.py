"""Files appear whole under their names, and nothing is left beside them when writing fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsrag.errors import UsageError
from rsrag.replacing import replacing

NAMES = ["a.tif", "a[1].tif", "a**b.tif", "what?.tif", "[!a]*.tif"]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_appears_once_it_is_complete(tmp_path: Path, name: str) -> None:
    with replacing(tmp_path / name) as partial:
        partial.write_text("new")
        assert not (tmp_path / name).exists()
    assert [(f.name, f.read_text()) for f in tmp_path.iterdir()] == [(name, "new")]


@pytest.mark.parametrize("name", NAMES)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("old")
    with pytest.raises(UsageError, match="cannot write"), replacing(tmp_path / name) as partial:
        partial.write_text("half")
        partial.with_name(f"{partial.name}.aux.xml").write_text("beside")
        raise OSError("no space left")
    assert [(f.name, f.read_text()) for f in tmp_path.iterdir()] == [(name, "old")]


def test_a_name_that_no_library_takes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not valid Unicode"), replacing(tmp_path / "a\udcff.gpkg") as partial:
        str(partial).encode()
    with pytest.raises(UnicodeEncodeError), replacing(tmp_path / "a.txt") as partial:
        partial.write_text("\udcff", encoding="utf-8")
    assert list(tmp_path.iterdir()) == []
