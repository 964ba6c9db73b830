"""An archive as a LangChain retriever."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import archives
import pytest

CODE = (
    "import sys\nsys.modules['langchain_core.documents'] = None\n"
    "try:\n    import rsrag.integrations.langchain\n"
    "except Exception as error:\n    print(type(error).__name__, error)"
)


def test_retriever_gives_documents(tmp_path: Path) -> None:
    pytest.importorskip("langchain_core")
    from rsrag.integrations.langchain import RsragRetriever
    from rsrag.types import BBox, Filters

    with archives.open_archive(tmp_path / "archive.rsrag") as engine:
        archives.ingest(engine, archives.sources(tmp_path / "sources"))
        found = RsragRetriever(engine=engine, kind="passage", limit=2).invoke("Which quarry gave sandstone?")
        assert len(found) == 2
        first = found[0]
        assert "sandstone" in first.page_content
        assert first.id == first.metadata["id"]
        assert (first.metadata["kind"], first.metadata["place"]) == ("passage", "Red Quarry")
        assert first.metadata["citation"].startswith("Red Quarry")
        west = Filters(bbox=BBox(2.9, 45, 3.1, 47))
        tiles = RsragRetriever(engine=engine, kind="tile", filters=west).invoke("water")
        assert {t.metadata["title"] for t in tiles} == {"survey_20200531.tif"}
        assert tiles[0].metadata["datetime"] == "2020-05-31"
        assert tiles[0].metadata["bbox"][0] < 3.1


def test_missing_package_says_what_to_install() -> None:
    shown = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout
    assert shown.startswith("MissingExtra The LangChain retriever".replace("The", "the"))
    assert "pip install 'rsrag[langchain]'" in shown
