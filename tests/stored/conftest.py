"""A catalogue with the places of the atlas."""

from __future__ import annotations

from collections.abc import Iterator

import atlas
import pytest

from rsrag.catalog import Catalog


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    with Catalog.open(tmp_path_factory.mktemp("atlas") / "catalog.sqlite") as opened:
        atlas.fill(opened)
        yield opened
