"""Batches: sized by memory, halved when it runs out, prepared ahead."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsrag.errors import ModelError
from rsrag.models import batching
from rsrag.models.batching import Feeder, ahead, out_of_memory
from rsrag.models.towers import Batch, Features

SIDE = 4


class Counting:
    """Notes the sizes of its batches; memory runs out above ``room`` pictures."""

    runtime, device = "ort", "cpu"

    def __init__(self, room: int = 10**6, error: type[Exception] = MemoryError) -> None:
        self.room, self.error = room, error
        self.sizes: list[int] = []
        self.threads: set[str] = set()

    def stage(self, batch: Batch) -> Batch:
        self.threads.add(threading.current_thread().name)
        return batch

    def launch(self, staged: Batch) -> Batch:
        if len(staged) > self.room:
            raise self.error("CUDA out of memory. Tried to allocate")
        self.sizes.append(len(staged))
        return staged

    def collect(self, launched: Batch) -> Features:
        return launched[:, 0, 0, :].astype(np.float32)


def pictures(count: int) -> Iterator[np.ndarray]:
    for number in range(count):
        yield np.full((SIDE, SIDE, 3), number % 251, dtype=np.uint8)


@pytest.fixture
def plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose memory tells nothing."""
    monkeypatch.setattr(batching, "peak_bytes", lambda device, work: work())
    monkeypatch.setattr(batching, "free_bytes", lambda device: None)


@pytest.mark.usefixtures("plenty")
@pytest.mark.parametrize("room", [1, 3, 7, 32, 1000])
@pytest.mark.parametrize("count", [0, 1, 8, 9, 33, 100])
def test_every_picture_comes_back_in_order_however_small_memory_is(room: int, count: int) -> None:
    feeder = Feeder(Counting(room), SIDE)
    found = [row for part in feeder.features(pictures(count), count) for row in part[:, 0]]
    assert found == [n % 251 for n in range(count)]


@pytest.mark.usefixtures("plenty")
def test_batches_stay_small_once_memory_ran_out() -> None:
    tower = Counting(10, RuntimeError)
    feeder = Feeder(tower, SIDE)
    list(feeder.features(pictures(96), 96))
    assert max(tower.sizes) <= 10
    tower.sizes.clear()
    list(feeder.features(pictures(96), 96))
    assert set(tower.sizes) == {8}
    assert feeder.batch_size == 8


@pytest.mark.usefixtures("plenty")
def test_not_even_one_picture(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ModelError, match="over one picture of 4 pixels"):
        list(Feeder(Counting(0), SIDE).features(pictures(20), 20))


@pytest.mark.usefixtures("plenty")
def test_other_errors_are_not_taken_for_memory() -> None:
    class Broken(Counting):
        def launch(self, staged: Batch) -> Batch:
            raise ValueError("wrong shape")

    with pytest.raises(ValueError, match="wrong shape"):
        list(Feeder(Broken(), SIDE).features(pictures(3), 3))
    assert out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert out_of_memory(RuntimeError("std::bad_alloc"))
    assert not out_of_memory(RuntimeError("shapes do not match"))


@pytest.mark.parametrize(("free", "expected"), [(10**12, batching.MOST_CPU), (2 * 10 * 5 * 10**6, 10), (1, 1)])
def test_the_size_follows_free_memory(free: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of what is free, at 5 MB a picture."""
    monkeypatch.setattr(batching, "peak_bytes", lambda device, work: batching._TRIAL * 5 * 10**6)
    monkeypatch.setattr(batching, "free_bytes", lambda device: free)
    assert Feeder(Counting(), SIDE).batch_size == expected


def test_few_pictures_need_no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("memory was looked at")

    monkeypatch.setattr(batching, "peak_bytes", never)
    tower = Counting()
    list(Feeder(tower, SIDE).features(pictures(batching.SMALL), batching.SMALL))
    assert tower.sizes == [batching.SMALL]


@pytest.mark.usefixtures("plenty")
def test_several_batches_are_prepared_by_another_thread() -> None:
    tower = Counting()
    feeder = Feeder(tower, SIDE)
    list(feeder.features(pictures(5), 5))
    assert tower.threads == {threading.current_thread().name}
    tower.threads.clear()
    _ = feeder.batch_size  # the trial stages in this thread
    tower.threads.clear()
    list(feeder.features(pictures(80), 80))
    assert len(tower.threads) == 1
    assert next(iter(tower.threads)).startswith("rsrag-ahead")


@settings(deadline=None)
@given(st.lists(st.integers() | st.none(), max_size=30))
def test_ahead_gives_what_it_is_given(items: list[int | None]) -> None:
    assert list(ahead(iter(items))) == items


def test_ahead_hands_on_errors_and_can_be_left() -> None:
    def torn() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    stream = ahead(torn())
    assert next(stream) == 1
    with pytest.raises(OSError, match="gone"):
        next(stream)
    endless = ahead(iter(int, 1))
    assert next(endless) == 0
    endless.close()  # type: ignore[attr-defined]


def test_memory_is_read_from_machine_and_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_PROC", tmp_path)
    monkeypatch.setattr(batching, "_CGROUP", tmp_path)
    assert batching.free_bytes("cpu") is None
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    5000 kB\n")
    assert batching.free_bytes("cpu") == 5000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert batching.free_bytes("cpu") == 5000 * 1024
    (tmp_path / "memory.max").write_text("4000\n")
    assert batching.free_bytes("cpu") == 3000


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the peak of memory")
def test_the_peak_of_some_work_is_measured() -> None:
    size = 60 * 2**20

    def work() -> None:
        with mmap.mmap(-1, size) as fresh:  # an array may lie in memory that was taken before and never given back
            for start in range(0, size, mmap.PAGESIZE):
                fresh[start] = 1

    found = batching.peak_bytes("cpu", work)
    assert found is not None
    assert size * 0.8 < found < size * 4
    assert (batching.peak_bytes("cpu", lambda: None) or 0) < size / 2


def test_a_peak_that_reads_nothing_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other threads may give back more meanwhile than the work takes."""
    for told, found in (([0, 7, 9], 7), ([0, 0, 0, 5], 0), ([None, 3], None)):
        read = iter(told)
        monkeypatch.setattr(batching, "_peak_here", lambda work, read=read: next(read))
        assert batching.peak_bytes("cpu", lambda: None) == found
