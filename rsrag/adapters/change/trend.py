"""More than two dates: every step compared, what it adds up to in words, and the dates side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rsrag.adapters.change import describe
from rsrag.adapters.change.indices import CLASSES, WATER
from rsrag.adapters.change.request import ChangeResult
from rsrag.adapters.draw import drawable
from rsrag.adapters.measure import area_text
from rsrag.models.base import Picture
from rsrag.types import Fact, Sentence

PANEL = 420
"""Longer side of a panel in pixels."""
_INK, _PAPER, _CHANGED = (20, 24, 32), (255, 255, 255), (255, 64, 48)
_STEADY = 0.2
"""Rates that differ by less than this share count as steady."""


def joined(whole: ChangeResult, steps: Sequence[ChangeResult]) -> ChangeResult:
    """First against last date, with the steps between and what they say together."""
    facts = list(whole.facts)
    for step in steps:
        name = f"changed_{step.before.when}_{step.after.when}".replace("-", "")
        value = step.area_m2 if step.area_m2 is not None else step.share
        facts.append(Fact(name, value, "m2" if step.area_m2 is not None else "1"))
    warnings = tuple(dict.fromkeys([*whole.warnings, *(w for step in steps for w in step.warnings)]))
    return replace(
        whole, steps=tuple(steps), facts=tuple(facts), warnings=warnings,
        sentences=(*whole.sentences, *(Sentence(text, ()) for text in statements(steps))),
    )  # fmt: skip


def statements(steps: Sequence[ChangeResult]) -> list[str]:
    """How change went over the steps: how much in each, whether it sped up, and what each kind of ground did."""
    metric = all(step.area_m2 is not None for step in steps)  # else areas and pixels would be compared and added up
    sizes = [_size(step, metric) for step in steps]
    parts = [
        f"{text} from {step.before.when} to {step.after.when}" for step, (_, text) in zip(steps, sizes, strict=True)
    ]
    said = [f"Step by step, what changed was {describe.listed(parts)}."]
    rates = [_rate(step, size) for step, (size, _) in zip(steps, sizes, strict=True)]
    if all(rate is not None for rate in rates) and len(rates) > 1:
        said.append(_pace(steps, [float(rate or 0.0) for rate in rates]))
    for name in CLASSES:
        if text := _balance(name, steps, metric):
            said.append(text)
    return said


def _size(step: ChangeResult, metric: bool) -> tuple[float, str]:
    if metric and step.area_m2 is not None:
        return step.area_m2, area_text(step.area_m2)
    return step.share, f"{100 * step.share:.1f} %"


def years(step: ChangeResult) -> float | None:
    """Years between the dates of a step, by the middles of their spans."""
    middles = []
    for span in (step.before.time, step.after.time):
        ends = [t.timestamp() for t in (span.start, span.end) if t is not None] if span is not None else []
        if not ends:
            return None
        middles.append(sum(ends) / len(ends))
    between = (middles[1] - middles[0]) / (365.25 * 86_400)
    return between if between > 0 else None


def _rate(step: ChangeResult, size: float) -> float | None:
    between = years(step)
    return None if between is None else size / between


def _pace(steps: Sequence[ChangeResult], rates: Sequence[float]) -> str:
    top = int(np.argmax(rates))
    fastest = f"{steps[top].before.when} to {steps[top].after.when}"
    if max(rates) <= 0:
        return "Nothing changed in any step."
    if min(rates) >= (1 - _STEADY) * max(rates):
        return "The pace was steady."
    differences = np.diff(rates)
    if (differences > 0).all():
        return f"The pace grew from step to step; it was highest from {fastest}."
    if (differences < 0).all():
        return f"The pace fell from step to step; it was highest from {fastest}."
    return f"The pace varied; it was highest from {fastest}."


def _balance(name: str, steps: Sequence[ChangeResult], metric: bool) -> str:
    """Gains less losses of a kind of ground over the steps; empty where they cannot be told or are small."""
    if not all(step.transitions or not step.changed for step in steps):
        return ""
    net = [_net(name, step, metric) for step in steps]
    areas = [value for value, _ in net]
    total = sum(areas)
    volume = sum(v for _, v in net)
    if not volume or abs(total) < 0.1 * volume:
        return ""
    size = area_text(abs(total)) if metric else f"{abs(total):,.0f} pixels"
    always = all(a >= 0 for a in areas) if total > 0 else all(a <= 0 for a in areas)
    verb = "gained" if total > 0 else "lost"
    what = f"open {name}" if name == WATER else name
    each = ", some of it in every step" if always and len(steps) > 1 else ""
    return f"{what.capitalize()} {verb} {size} over the steps together{each}."


def _net(name: str, step: ChangeResult, metric: bool) -> tuple[float, float]:
    """Gains less losses, and their sum: in square metres, or else in pixels."""
    gained = lost = 0.0
    for found in step.transitions:
        size = found.area_m2 if metric and found.area_m2 is not None else float(found.pixels)
        if found.before != found.after:
            gained += size if found.after == name else 0.0
            lost += size if found.before == name else 0.0
    return gained - lost, gained + lost


# --- the picture ---


def multiples(result: ChangeResult) -> Picture:
    """All dates side by side, and below each step what changed in it: uint8 RGB [H, W, 3]."""
    steps = result.steps or (result,)
    looks: list[tuple[str, Any]] = []
    for number, step in enumerate(steps):
        if step.looks is None:
            continue
        if number == 0:
            looks.append((step.before.when, step.looks[0]))
        looks.append((step.after.when, step.looks[1]))
    masks = [(f"changed {s.before.when} to {s.after.when}", marked(s)) for s in steps if s.looks is not None]
    width, height = _panel_size(result)
    columns = max(len(looks), len(masks), 1)
    sheet = Image.new("RGB", (columns * (width + 8) + 8, 2 * (height + 30) + 8), _PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    offset = (width + 8) // 2 if len(masks) < len(looks) else 0
    for row, (panels, start) in enumerate(((looks, 0), (masks, offset))):
        for column, (title, picture) in enumerate(panels):
            x, y = 8 + start + column * (width + 8), 4 + row * (height + 30)
            pen.text((x, y), drawable(title)[:60], _INK, font)
            shrink = cv2.INTER_AREA if picture.shape[1] > width else cv2.INTER_CUBIC
            panel = cv2.resize(picture, (width, height), interpolation=shrink)
            sheet.paste(Image.fromarray(np.asarray(panel, dtype=np.uint8)), (x, y + 20))
    return np.asarray(sheet)


def _panel_size(result: ChangeResult) -> tuple[int, int]:
    longest = max(result.subject.width, result.subject.height)
    return (
        max(16, round(result.subject.width * PANEL / longest)),
        max(16, round(result.subject.height * PANEL / longest)),
    )


def marked(step: ChangeResult) -> Picture:
    """The later date greyed, changes in red."""
    assert step.looks is not None
    after = step.looks[1]
    height, width = after.shape[:2]
    grey = np.repeat(cv2.cvtColor(after, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2).astype(np.float32) * 0.5 + 110
    if step.layers:
        mask = step.layers[0].read(longest=max(width, height))
        changed = cv2.resize((mask == 1).astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
        grey[changed] = 0.25 * grey[changed] + 0.75 * np.asarray(_CHANGED, dtype=np.float32)
    return np.asarray(np.clip(grey, 0, 255), dtype=np.uint8)
