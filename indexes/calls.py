"""Calls to a server: tried again while it is away or busy, errors turned into ours, keys kept out of messages."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from rsrag.errors import IndexFailure, IndexUnavailable

_LONGEST_WAIT = 20.0
_LONGEST_TEXT = 400
_BUSY = {408, 429, 502, 503, 504, "UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED"}
_REFUSED = {401, 403, "UNAUTHENTICATED", "PERMISSION_DENIED"}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a call is tried, and the seconds before the second try; they double each time and are spread by ±50 %,
    so that clients do not come back together. A longer wait that the server asks for is kept, up to 20 s."""

    attempts: int = 4
    first_wait: float = 0.3

    def wait(self, failures: int, asked: float | None) -> float:
        """Seconds to wait after so many failures."""
        spread = self.first_wait * 2 ** (failures - 1) * random.uniform(0.5, 1.5)
        return float(min(_LONGEST_WAIT, max(spread, asked or 0.0)))


class Caller:
    """Runs client calls, each of which may be repeated without harm.

    Args:
        place: the server, as messages name it.
        secrets: what must not appear in a message.
        retry: when to try again.
    """

    def __init__(self, place: str, secrets: Sequence[str], retry: Retry) -> None:
        self._place = place
        self._secrets = tuple(secrets)
        self._retry = retry

    def __call__(self, doing: str, call: Callable[..., T], *args: Any, **options: Any) -> T:
        """The result of ``call(*args, **options)``; ``doing`` says what it is for.

        Raises:
            IndexUnavailable: no answer, or a busy server, at every try.
            IndexFailure: any other error.
        """
        failures = 0
        while True:
            try:
                return call(*args, **options)
            except Exception as error:
                busy = _is_busy(error)
                failures += 1
                if not busy or failures >= self._retry.attempts:
                    raise self._failure(doing, error, failures if busy else 0) from self._cause(error)
                wait = self._retry.wait(failures, getattr(error, "retry_after_s", None))
            time.sleep(wait)

    def _failure(self, doing: str, error: Exception, tries: int) -> IndexFailure:
        what = f"{doing} at {self._place}: {_describe(error)}"
        for secret in self._secrets:
            what = what.replace(secret, "***")
        if tries:
            return IndexUnavailable(f"{what} (tried {tries} times)", hint="is the server running, and the URL right?")
        hint = "the server wants another key: see the setting index_api_key" if _status(error) in _REFUSED else None
        return IndexFailure(what, hint=hint)

    def _cause(self, error: Exception) -> Exception | None:
        """The error itself, for the traceback, unless a secret shows in it."""
        shown = f"{error} {error!r} {getattr(error, '__dict__', '')}"
        return None if any(secret in shown for secret in self._secrets) else error


def _status(error: Exception) -> int | str | None:
    """HTTP status or name of the gRPC code, if the error has one."""
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return status
    code = getattr(error, "code", None)
    return getattr(code(), "name", None) if callable(code) else None


def _is_busy(error: Exception) -> bool:
    """Whether the same call may succeed a little later."""
    import httpx
    from qdrant_client.common.client_exceptions import ResourceExhaustedResponse

    source = getattr(error, "source", error)
    if isinstance(source, (httpx.TransportError, ResourceExhaustedResponse, ConnectionError, TimeoutError)):
        return True
    return _status(error) in _BUSY


def _describe(error: Exception) -> str:
    details = getattr(error, "details", None)
    text = str(details() if callable(details) else error).strip() or type(error).__name__
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 3]}..."
