"""A tiny archive, made once, and a way to run commands on it in this process."""

from __future__ import annotations

from pathlib import Path

import archives
import pytest
from commands import Ran, Run
from typer.testing import CliRunner

from rsrag.cli.app import app


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs ``rsrag`` with arguments, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, stdin: str | None = None) -> Ran:
        result = CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with two scenes, three places and a document."""
    folder = tmp_path_factory.mktemp("archive")
    sources = archives.sources(folder / "sources")
    with archives.open_archive(folder / "archive.rsrag") as engine:
        summary = archives.ingest(engine, sources)
    assert summary.exit_code == 0, summary
    return folder / "archive.rsrag"
