"""Which runtime is taken: measured, kept, pinned, and only with the model's vectors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rsrag.errors import BadModelFile, ConfigError, ModelError
from rsrag.models import runtime
from rsrag.models.runtime import Candidate, Measured
from rsrag.models.towers import Batch, Features
from rsrag.models.vectors import unit

SIDE = 24


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "rsrag" / "runtimes.json"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """A clock that moves only when a tower says so."""
    now = {"t": 0.0}
    monkeypatch.setattr(runtime.time, "perf_counter", lambda: now["t"])
    return now


class Slow:
    """A tower of known speed: features are block means, turned a little where ``error`` says so."""

    device = "cpu"

    def __init__(self, name: str, clock: dict[str, float], seconds: float, error: float = 0.0) -> None:
        self.runtime, self._clock, self._seconds, self._error = name, clock, seconds, error

    def stage(self, batch: Batch) -> Batch:
        return batch

    def launch(self, staged: Batch) -> Batch:
        self._clock["t"] += self._seconds
        return staged

    def collect(self, launched: Batch) -> Features:
        blocks = launched.reshape(len(launched), 4, SIDE // 4, 4, SIDE // 4, 3).mean(axis=(2, 4, 5)).reshape(-1, 16)
        return (blocks - 100 + self._error * np.roll(blocks - 100, 1, axis=1)).astype(np.float32)


def candidates(clock: dict[str, float], *rows: tuple[str, float, float]) -> tuple[list[Candidate], list[str]]:
    """Candidates by name, seconds a batch and error, and the names of those made ready, as they are."""
    made: list[str] = []

    def maker(name: str, seconds: float, error: float) -> Callable[[], Any]:
        def make() -> Slow:
            made.append(name)
            return Slow(name, clock, seconds, error)

        return make

    return [Candidate(name, maker(name, seconds, error)) for name, seconds, error in rows], made


def test_the_fastest_faithful_one_is_taken_and_remembered(clock: dict[str, float], own_cache: Path) -> None:
    given, made = candidates(clock, ("torch-f32", 0.8, 0), ("torch-bf16", 0.2, 0.005), ("openvino-bf16", 0.1, 2.0))
    assert runtime.choose(given, "auto", "m:1", SIDE).runtime == "torch-bf16"
    assert made == ["torch-f32", "torch-bf16", "openvino-bf16", "torch-bf16"]
    rows = next(iter(json.loads(own_cache.read_text()).values()))
    assert [row["runtime"] for row in rows] == ["torch-f32", "torch-bf16", "openvino-bf16"]
    assert rows[1]["ms"] == pytest.approx(200 / runtime.PICTURES)
    assert rows[1]["least"] > runtime.LEAST > rows[2]["least"]
    made.clear()
    assert runtime.choose(given, "auto", "m:1", SIDE).runtime == "torch-bf16"
    assert made == ["torch-bf16"]  # not measured again
    runtime.choose(given, "auto", "m:2", SIDE)
    assert len(made) == 5  # another model is


def test_a_small_gain_is_not_worth_the_rounding(clock: dict[str, float]) -> None:
    given, _ = candidates(clock, ("torch-f32", 0.8, 0), ("torch-bf16", 0.75, 0.001))
    assert runtime.choose(given, "auto", "m", SIDE).runtime == "torch-f32"


def test_a_single_candidate_is_not_measured(clock: dict[str, float], own_cache: Path) -> None:
    given, made = candidates(clock, ("ort", 0.5, 0))
    assert runtime.choose(given, "auto", "m", SIDE).runtime == "ort"
    assert made == ["ort"]
    assert not own_cache.exists()


def test_a_pinned_runtime_is_taken_however_slow_but_not_with_other_vectors(clock: dict[str, float]) -> None:
    given, _ = candidates(clock, ("torch-f32", 0.1, 0), ("torch-bf16", 0.9, 0.005), ("openvino-bf16", 0.1, 2.0))
    assert runtime.choose(given, "torch-f32", "m", SIDE).runtime == "torch-f32"
    assert runtime.choose(given, "torch-bf16", "m", SIDE).runtime == "torch-bf16"
    with pytest.raises(ModelError, match=r"openvino-bf16 .* not the vectors of the model"):
        runtime.choose(given, "openvino-bf16", "m", SIDE)
    with pytest.raises(ConfigError, match=r"'ort'.*auto, torch-f32, torch-bf16"):
        runtime.choose(given, "ort", "m", SIDE)


def test_vectors_made_elsewhere_are_compared_with(clock: dict[str, float]) -> None:
    given, _ = candidates(clock, ("ort", 0.5, 0))
    tower = given[0].make()
    right = unit(tower.collect(runtime.drawn(SIDE)))
    assert runtime.choose(given, "auto", "m", SIDE, reference=right).runtime == "ort"
    with pytest.raises(ModelError, match="export it again"):
        runtime.choose(given, "auto", "other", SIDE, reference=np.roll(right, 3, axis=1))


def test_a_candidate_that_breaks_is_left_out_but_the_first_must_work(clock: dict[str, float]) -> None:
    given, _ = candidates(clock, ("torch-f32", 0.5, 0))

    def broken() -> Any:
        raise BadModelFile("cannot run")

    other = Candidate("openvino-f32", broken)
    assert runtime.choose([*given, other], "auto", "m", SIDE).runtime == "torch-f32"
    with pytest.raises(BadModelFile):
        runtime.choose([other, *given], "auto", "m2", SIDE)


@pytest.mark.parametrize("content", ["", "[1]", '{"k": [{"a": 1}]}', '{"k": 3}', "\x00"])
def test_a_damaged_cache_is_measured_again(content: str, clock: dict[str, float], own_cache: Path) -> None:
    own_cache.parent.mkdir(parents=True)
    own_cache.write_text(content)
    given, _ = candidates(clock, ("torch-f32", 0.8, 0), ("torch-bf16", 0.2, 0.001))
    assert runtime.choose(given, "auto", "m", SIDE).runtime == "torch-bf16"
    assert len(json.loads(own_cache.read_text())) == 1


def test_a_cache_that_cannot_be_written_is_no_error(
    clock: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    given, _ = candidates(clock, ("torch-f32", 0.8, 0), ("torch-bf16", 0.2, 0.001))
    assert runtime.choose(given, "auto", "m", SIDE).runtime == "torch-bf16"


def test_the_machine_is_part_of_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("model name : A\nflags : avx2 avx512_vnni\ncpu MHz : 1\n")
    two.write_text("model name : A\nflags : avx2\ncpu MHz : 2\n")
    assert runtime.machine(one) != runtime.machine(two)
    first = runtime._key("m", 8, ["ort"])
    monkeypatch.setattr(runtime, "machine", lambda: "another")
    assert runtime._key("m", 8, ["ort"]) != first


def test_drawn_pictures_are_the_same_everywhere_and_differ_from_each_other() -> None:
    pictures = runtime.drawn(48)
    assert (pictures.shape, pictures.dtype) == ((runtime.PICTURES, 48, 48, 3), np.uint8)
    assert np.array_equal(pictures, runtime.drawn(48))
    flat = pictures.reshape(len(pictures), -1).astype(float)
    assert np.corrcoef(flat)[np.triu_indices(len(flat), 1)].max() < 0.9
    assert flat.std(axis=1).min() > 15


def test_faithful_needs_both_mean_and_least() -> None:
    assert Measured("x", 1, 0.9995, 0.996).faithful
    assert not Measured("x", 1, 0.9985, 0.998).faithful
    assert not Measured("x", 1, 0.9995, 0.99).faithful
