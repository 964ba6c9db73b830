"""The benchmark of training lists, in miniature."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("cv2")

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "eval" / "benchmarks"))

import training_list


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no figures of memory")
def test_a_miniature_list_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(training_list, "SHARD", 8)
    pattern = training_list.write_shards(tmp_path, 20)
    assert pattern == "pub11-train-{0000..0002}.tar"
    first, again = (training_list.measure(tmp_path, pattern) for _ in range(2))
    assert first["samples"] == again["samples"] == 20
    assert first["peak_mb"] >= 0 and list((tmp_path / "cache" / "rsrag" / "training").iterdir())


def test_pictures_and_captions_of_the_list_differ() -> None:
    assert len({training_list.bitmap(number) for number in range(50)}) == 50
    assert {len(training_list.caption(number)) for number in (0, 999_999_999)} == {100}
