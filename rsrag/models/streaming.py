"""Text that arrives in pieces from a slow producer, within limits of time and length."""

from __future__ import annotations

import queue
import threading
import time
import warnings
from collections.abc import Callable, Iterator

from rsrag.errors import DegradedResult, ReaderError

Put = Callable[[str], None]


class Stopped(Exception):
    """Raised inside the producer when nobody waits for more; its text says why the answer is cut."""


def pieces(
    produce: Callable[[Put], None],
    *,
    name: str,
    seconds: float,
    characters: int,
    cancel: Callable[[], None] = lambda: None,
) -> Iterator[str]:
    """Run a producer in a thread and yield what it puts.

    The producer calls ``put(text)`` for every piece; ``put`` raises :class:`Stopped` once the time is over, the length
    is reached or the consumer has gone, and the producer lets that pass through. ``put("")`` only asks.

    Args:
        produce: does the work.
        name: the model, for messages.
        seconds: most time until the last piece.
        characters: most characters in all.
        cancel: called when the time is over, to wake a producer that waits for something.

    Raises:
        ReaderError: the producer failed, or nothing came in time. What came before the time ran out is kept, with a
            :class:`DegradedResult` warning that the answer is cut.
    """
    box: queue.SimpleQueue[str | BaseException | None] = queue.SimpleQueue()
    stop = threading.Event()
    deadline = time.monotonic() + seconds
    left = characters

    def put(text: str) -> None:
        nonlocal left
        if stop.is_set():
            raise Stopped("nobody waits")
        if time.monotonic() > deadline:
            raise Stopped(f"after {seconds:g} s")
        if text:
            box.put(text[:left])
            left -= len(text)
            if left < 0:  # an answer of just this length is whole
                raise Stopped(f"after {characters} characters")

    def work() -> None:
        try:
            produce(put)
            box.put(None)
        except BaseException as error:
            box.put(error)

    threading.Thread(target=work, name=f"rsrag-{name}", daemon=True).start()
    came = False
    try:
        while True:
            try:
                item = box.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                stop.set()
                cancel()
                item = Stopped(f"after {seconds:g} s")
            if item is None:
                return
            if isinstance(item, Stopped):
                if not came:
                    raise ReaderError(f"{name} gave no answer in {seconds:g} s")
                warnings.warn(DegradedResult(f"the answer of {name} was cut {item}"), stacklevel=2)
                return
            if isinstance(item, BaseException):
                raise item
            came = True
            yield item
    finally:
        stop.set()
