"""How long work tells of its steps: one small protocol, and the silent default."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told of stages with a known total and of each step; a face draws it."""

    def start(self, stage: str, total: int | None, *, done: int = 0, unit: str = "items") -> None:
        """A stage begins; ``done`` steps were finished by an earlier run."""

    def advance(self, steps: int = 1, note: str | None = None) -> None:
        """Steps of the current stage are finished."""

    def finish(self) -> None:
        """The current stage is over."""


class Silent:
    """Says nothing."""

    def start(self, stage: str, total: int | None, *, done: int = 0, unit: str = "items") -> None:
        pass

    def advance(self, steps: int = 1, note: str | None = None) -> None:
        pass

    def finish(self) -> None:
        pass
