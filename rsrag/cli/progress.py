"""Progress on standard error: bars with rate and remaining time on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rsrag.cli.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

_EVERY = 10.0
"""Seconds between two lines when there is no terminal."""


def progress_for(console: Console) -> Bars | Lines:
    """What draws progress on a console: bars or lines."""
    return Bars(console) if console.is_terminal else Lines(console.file.write)


class Bars:
    """A bar for the present stage, with count, rate and remaining time.

    As a context manager it stays on the screen between stages, and leaves clean lines whatever happens.
    """

    def __init__(self, console: Console) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}  {task.fields[rate]}", markup=False, style="dim"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}", markup=False, style="dim"),
            console=console,
            transient=True,
        )
        self._rate = Rate()
        self._task: int | None = None
        self._stays = False

    def __enter__(self) -> Bars:
        self._stays = True
        return self

    def __exit__(self, *_: object) -> None:
        self._stays = False
        self.finish()
        self._bars.stop()

    def start(self, stage: str, total: int | None, *, done: int = 0, unit: str = "items") -> None:
        self._rate = Rate()
        self._bars.start()
        fields = {"unit": one_line(unit), "rate": "", "note": ""}
        self._task = self._bars.add_task(one_line(stage), total=total, completed=done, **fields)  # type: ignore[arg-type]

    def advance(self, steps: int = 1, note: str | None = None) -> None:
        if self._task is None:
            return
        self._rate.add(steps)
        shown = {} if note is None else {"note": one_line(note)[-40:]}
        self._bars.update(self._task, advance=steps, rate=str(self._rate), **shown)  # type: ignore[arg-type]

    def finish(self) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)  # type: ignore[arg-type]
            self._task = None
        if not self._stays:
            self._bars.stop()


class Lines:
    """A line every ten seconds while there is work.

    Args:
        write: takes one line with its line end.
        clock: seconds; for tests.
    """

    def __init__(self, write: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._stage, self._unit = "", "items"
        self._total: int | None = None
        self._done, self._last = 0, clock()
        self._rate = Rate(clock)

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start(self, stage: str, total: int | None, *, done: int = 0, unit: str = "items") -> None:
        self._stage, self._unit, self._total, self._done = one_line(stage), one_line(unit), total, done
        self._rate = Rate(self._clock)

    def advance(self, steps: int = 1, note: str | None = None) -> None:
        self._done += steps
        self._rate.add(steps)
        now = self._clock()
        if now - self._last >= _EVERY:
            self._last = now
            left = self._rate.remaining(None if self._total is None else self._total - self._done)
            self._say(f", {left} left" if left else "")

    def finish(self) -> None:
        self._done, self._total = 0, None

    def _say(self, tail: str) -> None:
        of = f"/{self._total}" if self._total is not None else ""
        rate = f" ({self._rate})" if str(self._rate) else ""
        self._write(f"{self._stage}: {self._done}{of} {self._unit}{rate}{tail}\n")


class Rate:
    """Steps a second since a stage began."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._start, self._steps = clock, clock(), 0

    def add(self, steps: int) -> None:
        self._steps += steps

    @property
    def value(self) -> float:
        """Steps a second, 0 before the first."""
        seconds = self._clock() - self._start
        return self._steps / seconds if seconds > 0 else 0.0

    def remaining(self, steps: int | None) -> str:
        """Time for further steps as ``1:05`` or ``2:00:05``; empty when unknown."""
        if steps is None or steps <= 0 or not self.value:
            return ""
        minutes, seconds = divmod(round(steps / self.value), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"

    def __str__(self) -> str:
        value = self.value
        if not value:
            return ""
        return f"{value:,.0f}/s" if value >= 10 else f"{value:.2g}/s"


__all__ = ["Bars", "Lines", "Rate", "progress_for"]
