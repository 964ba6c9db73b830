"""Where index tests keep their files: in memory if there is room, because an embedded collection costs 25 fsyncs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from engines import SPEC, Engine, edge, edge_indexed, live, local

from rsrag.indexes.base import VectorIndex

_MEMORY = Path("/dev/shm")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty directory."""
    if not _MEMORY.is_dir() or shutil.disk_usage(_MEMORY).free < 2**31:
        yield tmp_path
        return
    made = Path(tempfile.mkdtemp(prefix="rsrag-test-", dir=_MEMORY))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(params=[edge, edge_indexed, local, live], ids=["edge", "edge-indexed", "local", "live"])
def engine(request: pytest.FixtureRequest, folder: Path) -> Iterator[Engine]:
    steps = request.param(folder)
    made = next(steps)
    yield made
    made.close()
    next(steps, None)


@pytest.fixture
def index(engine: Engine) -> VectorIndex:
    made = engine.opened()
    made.ensure(SPEC)
    return made
