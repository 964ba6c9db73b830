"""Several torch models in several threads, as the channels of a question use them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rsrag.config import Settings
from rsrag.models import registry
from rsrag.models.base import ModelRow, Prompt


@pytest.mark.filterwarnings("ignore:the answer of reader read was cut")
def test_models_that_load_at_the_same_time_do_not_disturb_each_other(
    tiny_clip: Path, sentence_dir: Path, cross_dir: Path, qwen_dir: Path, pictures: list[np.ndarray[Any, Any]]
) -> None:
    """transformers sets torch's default number format for the whole process while it reads a model."""
    settings = Settings(device="cpu")
    prompt = Prompt("You answer.", "What?", "What?", (), tuple(pictures[:2]), max_tokens=6)

    def models() -> list[Any]:
        rows = [
            ModelRow("clip", "image", "open_clip", str(tiny_clip)),
            ModelRow("text", "text", "sentence_transformers", str(sentence_dir)),
            ModelRow("rank", "reranker", "cross_encoder", str(cross_dir)),
            ModelRow("read", "reader", "transformers_vlm", str(qwen_dir)),
        ]
        clip, text, rank, read = (registry.load(row, settings) for row in rows)
        return [
            lambda: clip.encode_images(pictures),
            lambda: clip.encode_words(["a lake", "dunes"]),
            lambda: text.encode_passages(["a lake", "salt dunes"]),
            lambda: rank.score("a lake ?", ["lake", "dunes"]),
            lambda: np.array(list("".join(read.read(prompt)))),
        ]

    alone = [work() for work in models()]
    for _ in range(3):
        with ThreadPoolExecutor(5) as pool:
            together = [future.result(120) for future in [pool.submit(work) for work in models()]]
        for one, other in zip(alone, together, strict=True):
            assert np.array_equal(one, other) if one.dtype.kind == "U" else np.allclose(one, other, atol=2e-2)
