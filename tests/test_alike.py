"""Words of like meaning, from several threads."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from rsrag import alike
from rsrag.alike import WordSpace
from rsrag.config import Settings


class Lengths:
    """An encoder that tells words by their length."""

    def encode_questions(self, texts: list[str]) -> np.ndarray:
        return np.array([[len(text), 1.0] for text in texts], dtype=np.float32)


@pytest.fixture
def hurried() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_a_full_memory_is_emptied_while_others_read(hurried: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alike, "_VOCABULARY", 50)
    space = WordSpace(Settings(), Lengths())  # type: ignore[arg-type]

    def read(start: int) -> bool:
        words = [["w" * (1 + (start * 7 + i * j) % 90) for j in range(20)] for i in range(60)]
        return all(space._of(some)[:, 0].tolist() == [len(word) for word in some] for some in words)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(8)))
