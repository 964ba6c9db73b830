"""Threads that work ahead step back; the one that calls them does not."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from rsrag.ingest.background import give_way


def priority() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own here")
def test_only_the_thread_that_asks_gives_way() -> None:
    before = priority()
    with ThreadPoolExecutor(1, initializer=give_way) as pool:
        assert pool.submit(priority).result() == min(19, before + 10)
        pool.submit(give_way).result()
        assert pool.submit(priority).result() == min(19, before + 20)
    assert priority() == before


def test_a_system_that_refuses_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Callable[[], None]:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    with ThreadPoolExecutor(1, initializer=give_way) as pool:
        assert pool.submit(lambda: 1).result() == 1
