"""Progress as bars and as lines."""

from __future__ import annotations

import io

from rich.console import Console

from rsrag.cli.progress import Bars, Lines, Rate, progress_for


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_lines_come_now_and_then() -> None:
    said: list[str] = []
    clock = Clock()
    with Lines(said.append, clock) as progress:
        progress.start("scene\x1b[1m a", 100, unit="tiles", done=20)
        for _ in range(40):
            clock.now += 1
            progress.advance(1)
        progress.finish()
    assert len(said) == 4
    assert said[0] == "scene[1m a: 30/100 tiles (1/s), 1:10 left\n"
    assert said[3] == "scene[1m a: 60/100 tiles (1/s), 0:40 left\n"


def test_short_work_says_nothing() -> None:
    said: list[str] = []
    clock = Clock()
    with Lines(said.append, clock) as progress:
        for _ in range(50):
            progress.start("scene", None)
            progress.advance()
            progress.finish()
    assert said == []


def test_many_short_stages_say_something() -> None:
    said: list[str] = []
    clock = Clock()
    with Lines(said.append, clock) as progress:
        for _ in range(50):
            progress.start("scene", None)
            clock.now += 1
            progress.advance()
            progress.finish()
    assert len(said) == 5


def test_rate_and_remaining_time() -> None:
    clock = Clock()
    rate = Rate(clock)
    assert str(rate) == ""
    assert rate.remaining(5) == ""
    clock.now += 10
    rate.add(5)
    assert str(rate) == "0.5/s"
    assert rate.remaining(1830) == "1:01:00"
    assert rate.remaining(None) == ""
    rate.add(12345)
    assert str(rate) == "1,235/s"


def test_bars_on_a_terminal() -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=120, highlight=False)
    progress = progress_for(screen)
    assert isinstance(progress, Bars)
    with progress:
        progress.start("[bold]scene", 10, unit="tiles")
        progress.advance(3, note="a\x1b[2Jb.tif")
        progress._bars.refresh()
        progress.finish()
        progress.advance()
        progress.finish()
    assert isinstance(screen.file, io.StringIO)
    text = screen.file.getvalue()
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    assert "[bold]scene" in text
    assert "3/10" in text
    assert "\x1b[2J" not in text


def test_bars_without_a_block_end_with_the_stage() -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=120, highlight=False)
    bars = Bars(screen)
    for _ in range(2):
        bars.start("stage", 3)
        bars.advance(3)
        bars.finish()
    assert isinstance(screen.file, io.StringIO)
    text = screen.file.getvalue()
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 2


def test_lines_elsewhere() -> None:
    assert isinstance(progress_for(Console(file=io.StringIO())), Lines)
