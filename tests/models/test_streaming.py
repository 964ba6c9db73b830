"""Text from a slow, endless or failing producer."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from rsrag.errors import DegradedResult, ReaderError
from rsrag.models.streaming import Put, Stopped, pieces


def run(produce: Callable[[Put], None], seconds: float = 30.0, characters: int = 100) -> list[str]:
    return list(pieces(produce, name="model", seconds=seconds, characters=characters))


def test_pieces_come_in_order() -> None:
    assert run(lambda put: [put(t) for t in ("a", "", "b")] and None) == ["a", "b"]
    assert run(lambda put: None) == []


def test_an_endless_answer_is_cut_with_a_warning() -> None:
    def endless(put: Put) -> None:
        while True:
            put("lake ")

    with pytest.warns(DegradedResult, match="answer of model was cut after 12 characters"):
        assert "".join(run(endless, characters=12)) == "lake lake la"


def test_an_answer_of_just_the_limit_is_whole() -> None:
    assert "".join(run(lambda put: [put(t) for t in ("lake", "", " of", "")] and None, characters=7)) == "lake of"

    def one_more(put: Put) -> None:
        put("lake of")
        put("x")

    with pytest.warns(DegradedResult, match="cut after 7 characters"):
        assert "".join(run(one_more, characters=7)) == "lake of"


def test_silence_is_an_error_and_wakes_the_producer() -> None:
    woken = threading.Event()

    def silent(put: Put) -> None:
        woken.wait(30)

    with pytest.raises(ReaderError, match=r"model gave no answer in 0\.05 s"):
        list(pieces(silent, name="model", seconds=0.05, characters=9, cancel=woken.set))
    assert woken.is_set()


def test_what_came_before_the_time_ran_out_is_kept() -> None:
    woken = threading.Event()

    def stalls(put: Put) -> None:
        put("half an ")
        woken.wait(30)
        put("answer")

    with pytest.warns(DegradedResult, match=r"cut after 0\.5 s"):
        assert list(pieces(stalls, name="model", seconds=0.5, characters=99, cancel=woken.set)) == ["half an "]


def test_a_producer_that_never_pauses_is_stopped_too() -> None:
    def busy(put: Put) -> None:
        put("x")
        while True:
            put("")

    with pytest.warns(DegradedResult, match=r"cut after 0\.3 s"):
        assert run(busy, seconds=0.3) == ["x"]


def test_errors_of_the_producer_reach_the_consumer_after_what_came() -> None:
    def fails(put: Put) -> None:
        put("a")
        raise ReaderError("broken")

    answer = pieces(fails, name="model", seconds=30, characters=9)
    assert next(answer) == "a"
    with pytest.raises(ReaderError, match="broken"):
        next(answer)


def test_leaving_early_stops_the_producer() -> None:
    stopped = threading.Event()

    def endless(put: Put) -> None:
        put("x")
        try:
            while True:
                put("")
        except Stopped:
            stopped.set()

    answer = pieces(endless, name="model", seconds=30, characters=9)
    assert next(answer) == "x"
    answer.close()  # type: ignore[attr-defined]
    assert stopped.wait(10)
