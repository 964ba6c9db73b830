"""Where pictures lie: a holder of many, and the place of one in it, in a form that takes no object a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Holder(Protocol):
    """A folder, an archive or a table with pictures."""

    @property
    def about(self) -> tuple[str, ...] | None:
        """Kind, path and what else opens it again in another process; None when nothing can."""

    def picture(self, name: str, first: int, second: int) -> bytes:
        """Bytes of a picture, by its name or by two numbers, whichever the holder goes by.

        Raises:
            SourceError: there is none, or it cannot be read.
        """


@dataclass(frozen=True, slots=True)
class Place:
    """Where one picture lies; calling it reads the bytes."""

    holder: Holder
    name: str
    first: int = 0
    second: int = 0

    def __call__(self) -> bytes:
        return self.holder.picture(self.name, self.first, self.second)


class Calls:
    """Holds functions that give pictures; the first number tells which."""

    about = None

    def __init__(self) -> None:
        self._calls: list[Callable[[], bytes]] = []

    def add(self, call: Callable[[], bytes]) -> Place:
        """The place of what a function gives."""
        self._calls.append(call)
        return Place(self, "", len(self._calls) - 1)

    def picture(self, name: str, first: int, second: int) -> bytes:
        return self._calls[first]()
