"""A comparison put before a real (tiny, random) vision-language reader: both dates and the marked changes reach it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from dates import built, ground, relit

from rsrag.adapters.base import Context
from rsrag.adapters.change import Change, ChangeRequest
from rsrag.adapters.change.dialogue import compose
from rsrag.config import Settings
from rsrag.models.base import ModelRow
from rsrag.models.registry import load_profile
from rsrag.models.vlm import VlmReader


@pytest.mark.filterwarnings("ignore:the answer of reader tiny was cut")
def test_three_pictures_reach_the_model(qwen_dir: Path) -> None:
    settings = Settings(device="cpu", endpoint_timeout=60.0)
    reader = VlmReader(ModelRow("tiny", "reader", "transformers_vlm", str(qwen_dir)), settings)
    context = Context(replace(load_profile(settings), reader=reader), settings)
    picture = ground()
    request = ChangeRequest(
        (picture, built(relit(picture), [(90, 60, 130, 92)])), questions=("Describe it.",), method="cva"
    )
    result = Change().run(request, context)
    (turn,) = result.answers
    assert turn.intent == "caption" and turn.answer and turn.by in ("tiny", "statistics")
    assert result.provenance.models["reader"] == reader.fingerprint and result.provenance.prompt == "change/v1"
    prompt = compose("Describe it.", result)
    network, processor = reader._ready()
    assert len(reader._inputs(prompt, network, processor)["image_grid_thw"]) == 3
