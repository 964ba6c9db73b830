"""Properties that several threads ask for at the same time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rsrag.once import once


class Shop:
    """Counts what was made; the slow part waits until everybody has asked for it."""

    def __init__(self, pause: threading.Barrier | None = None) -> None:
        self.made: list[str] = []
        self._pause = pause

    @once
    def part(self) -> object:
        """A part."""
        self.made.append("part")
        time.sleep(0.05)
        return object()

    @once
    def whole(self) -> tuple[object]:
        self.made.append("whole")
        return (self.part,)

    @once
    def meeting(self) -> int:
        assert self._pause is not None
        return self._pause.wait(10)

    @once
    def broken(self) -> object:
        self.made.append("broken")
        raise OSError("not now")


def test_threads_get_the_same_value_made_once() -> None:
    shop, start = Shop(), threading.Barrier(8)

    def ask(number: int) -> object:
        start.wait(10)
        return shop.part if number % 2 else shop.whole[0]

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(ask, range(8)))
    assert found == {shop.part}
    assert sorted(shop.made) == ["part", "whole"]


def test_instances_do_not_wait_for_each_other() -> None:
    pause = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(lambda shop: shop.meeting, [Shop(pause), Shop(pause)])) == [0, 1]


def test_what_could_not_be_made_is_tried_again_and_what_was_taken_out_is_made_again() -> None:
    shop = Shop()
    for _ in range(2):
        with pytest.raises(OSError, match="not now"):
            _ = shop.broken
    first = shop.part
    assert shop.__dict__.pop("part") is first
    assert shop.part is not first
    assert shop.made == ["broken", "broken", "part", "part"]
    assert Shop.part.__doc__ == "A part."
