"""The public interface is what ``__all__`` says, and costs nothing before it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import rsrag

NAMES = {
    "Answer", "BBox", "Chat", "Document", "Engine", "Evidence", "Fact", "Filters", "Footprint", "Hit",
    "IngestOptions", "IngestSummary", "Location", "Passage", "Place", "QueryImage", "RsragError", "RsragWarning",
    "Scene", "Sentence", "Tile", "TimeSpan", "__version__", "open",
}  # fmt: skip


def test_public_names_are_these_and_resolve() -> None:
    assert set(rsrag.__all__) == NAMES
    assert list(rsrag.__all__) == sorted(rsrag.__all__)
    for name in rsrag.__all__:
        assert getattr(rsrag, name) is not None
    assert set(dir(rsrag)) == NAMES


def test_names_come_from_where_they_live() -> None:
    from rsrag import engine, errors, types

    assert rsrag.open is engine.open
    assert rsrag.Filters is types.Filters
    assert rsrag.RsragError is errors.RsragError


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = rsrag.nonsense


def test_import_resolves_nothing() -> None:
    code = "import rsrag, sys; print(sorted(m for m in sys.modules if m.startswith('rsrag.')), 'numpy' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "['rsrag._version'] False"
